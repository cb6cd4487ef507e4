"""Months and spans of months in local days, and the weeks in them. Pure."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, replace

__all__ = ["Period", "Week", "month_before", "parse"]

_DAY = datetime.timedelta(days=1)
_MONTH = re.compile(r"(2\d{3})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Week:
    """Days of a period that belong together: seven of them, the last ones of a period up to ten."""

    first: datetime.date
    days: int

    def __contains__(self, day: datetime.date) -> bool:
        return 0 <= (day - self.first).days < self.days


@dataclass(frozen=True, slots=True)
class Period:
    """Local days from ``first`` to ``last``, that included; ``whole`` unless it was cut."""

    name: str
    first: datetime.date
    last: datetime.date
    zone: datetime.tzinfo
    whole: bool = True

    @property
    def days(self) -> int:
        """Return how many days there are."""
        return (self.last - self.first).days + 1

    def midnight_ms(self, day: datetime.date) -> int:
        """Return when a local day begins."""
        at = datetime.datetime.combine(day, datetime.time(), tzinfo=self.zone)
        return round(at.timestamp() * 1000)

    @property
    def from_ms(self) -> int:
        """Return when it begins."""
        return self.midnight_ms(self.first)

    @property
    def to_ms(self) -> int:
        """Return when it is over."""
        return self.midnight_ms(self.last + _DAY)

    def day_of(self, at_ms: int) -> datetime.date:
        """Return the local date of a time."""
        return datetime.datetime.fromtimestamp(at_ms / 1000, self.zone).date()

    def dates(self) -> list[datetime.date]:
        """Return its days."""
        return [self.first + number * _DAY for number in range(self.days)]

    def weeks(self) -> list[Week]:
        """Return its weeks from its first day on; less than four days more belong to the last."""
        full, rest = divmod(self.days, 7)
        found = [Week(self.first + 7 * number * _DAY, 7) for number in range(full)]
        if rest >= 4 or not found:
            found.append(Week(self.first + 7 * full * _DAY, rest))
        elif rest:
            found[-1] = Week(found[-1].first, 7 + rest)
        return found

    def until(self, now_ms: int) -> Period | None:
        """Return what of it is over, None if that is not a day."""
        yesterday = self.day_of(now_ms) - _DAY
        if yesterday >= self.last:
            return self
        if yesterday < self.first:
            return None
        return replace(self, last=yesterday, whole=False)


def parse(text: str, zone: datetime.tzinfo) -> Period:
    """Read "2026-10", or "2026-06..2026-08" from the first month to the end of the last.

    Raises ValueError.
    """
    begin, dots, end = text.partition("..")
    found = [_MONTH.fullmatch(it) for it in ((begin, end) if dots else (begin, begin))]
    if found[0] is None or found[1] is None:
        raise ValueError(f"{text!r} is not a month as 2026-10, nor months as 2026-06..2026-08")
    first = datetime.date(int(found[0][1]), int(found[0][2]), 1)
    last = datetime.date(int(found[1][1]), int(found[1][2]), 28) + 4 * _DAY
    last = last.replace(day=1) - _DAY
    if last < first:
        raise ValueError(f"{text!r} ends before it begins")
    return Period(text, first, last, zone)


def month_before(now_ms: int, zone: datetime.tzinfo) -> Period:
    """Return the last month that is over."""
    today = datetime.datetime.fromtimestamp(now_ms / 1000, zone).date()
    return parse((today.replace(day=1) - _DAY).isoformat()[:7], zone)

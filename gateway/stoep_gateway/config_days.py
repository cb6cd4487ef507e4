"""Days and weekdays as tables of the configuration say them, and when the city empties what."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

__all__ = ["WEEK", "Date", "Dates", "ScheduledConfig", "Weekday", "Weekdays"]

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: list[Weekday] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_LONG = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DUTCH = ("maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag", "zondag")
_WEEKDAYS = {
    name[:length]: day
    for names in (_LONG, _DUTCH)
    for day, name in zip(WEEK, names, strict=True)
    for length in ((2, len(name)) if names is _DUTCH else (len(name),))
}
_DAY_FIRST = re.compile(r"(\d{1,2})[-./](\d{1,2})[-./](\d{4})")
_LONGEST_SPAN = 366


def _weekdays(value: object) -> object:
    """Take a single one, and those by other names: "monday", "ma", "maandag"."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list):
        return value
    folded = [it.strip().casefold() if isinstance(it, str) else it for it in names]
    return [_WEEKDAYS.get(it, it) if isinstance(it, str) else it for it in folded]


def _date(text: str) -> datetime.date:
    match = _DAY_FIRST.fullmatch(text)
    try:
        if match is not None:
            return datetime.date(int(match[3]), int(match[2]), int(match[1]))
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError("a date is written 2026-04-27 or 27-04-2026") from None


def _as_date(value: object) -> object:
    return _date(value.strip()) if isinstance(value, str) else value


def _as_dates(value: object) -> object:
    """Take dates, and strings of them; "2026-07-10/2026-07-19" are all from one to the other."""
    values = value if isinstance(value, list) else [value]
    return [date for it in values for date in (_span(it) if isinstance(it, str) else (it,))]


def _span(text: str) -> Iterator[datetime.date]:
    first, slash, last = text.partition("/")
    begin = _date(first.strip())
    end = _date(last.strip()) if slash else begin
    days = (end - begin).days
    if not 0 <= days <= _LONGEST_SPAN:
        raise ValueError("a span of dates ends after it begins, within a year")
    return (begin + datetime.timedelta(day) for day in range(days + 1))


Weekdays = Annotated[list[Weekday], BeforeValidator(_weekdays)]
Date = Annotated[datetime.date, BeforeValidator(_as_date)]
Dates = Annotated[list[datetime.date], BeforeValidator(_as_dates)]


class ScheduledConfig(BaseModel):
    """On which days the city empties: a weekday, of even or odd ISO weeks; or every so many days.

    ``not_on`` are days on which it does not, ``also_on`` those on which it does besides.
    """

    emptied_on: Weekdays = Field(default_factory=list)
    weeks: Literal["all", "even", "odd"] = "all"
    every_days: int | None = Field(default=None, ge=1, le=366)
    first_on: Date | None = None
    not_on: Dates = Field(default_factory=list)
    also_on: Dates = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if self.emptied_on and self.every_days is not None:
            raise ValueError(
                'has "emptied_on" and "every_days": leave one out; every second week is'
                ' "emptied_on" with weeks = "even" or "odd"'
            )
        if (self.every_days is None) != (self.first_on is None):
            raise ValueError('"every_days" and "first_on", a day on which it is emptied, are one')
        if self.weeks != "all" and not self.emptied_on:
            raise ValueError('"weeks" needs "emptied_on" beside it')
        return self

    @property
    def is_scheduled(self) -> bool:
        """Whether it says days of its own."""
        return bool(self.emptied_on or self.every_days or self.also_on)

    def falls_on(self, day: datetime.date) -> bool:
        """Tell whether it is emptied on a local day."""
        if day in self.also_on:
            return True
        if day in self.not_on:
            return False
        if self.every_days is not None and self.first_on is not None:
            return (day - self.first_on).days % self.every_days == 0
        is_even = day.isocalendar().week % 2 == 0
        is_week = self.weeks == "all" or (self.weeks == "even") == is_even
        return is_week and WEEK[day.weekday()] in self.emptied_on

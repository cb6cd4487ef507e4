"""How much is expected to come between two local times, and until when that much. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS, weekday
from stoep_gateway.forecast.occasions import Factors

__all__ = ["LONGEST_DAYS", "Course"]

LONGEST_DAYS = 60  # what is farther away is not asked for


class Course:
    """Points per day by weekday, ``before[h]`` the share of a day's that comes before hour h.

    ``factors`` are those of days, None if there are no events. All of them may change.
    """

    __slots__ = ("before", "factors", "rates")

    def __init__(
        self, rates: array[float], before: array[float], factors: Factors | None = None
    ) -> None:
        self.rates = rates
        self.before = before
        self.factors = factors

    def copy(self) -> Course:
        """Return it as it is now."""
        factors = None if self.factors is None else self.factors.copied()
        return Course(self.rates[:], self.before[:], factors)

    def day(self, day: int) -> float:
        """Return the points of a whole day."""
        rate = self.rates[weekday(day)]
        return rate if self.factors is None else rate * self.factors[day]

    def share(self, day: int, within_ms: int) -> float:
        """Return the share of a day's waste that comes before a time of day."""
        if within_ms >= DAY_MS:
            return 1.0
        hour, rest_ms = divmod(within_ms, HOUR_MS)
        before = self._before(day)
        share = before[hour]
        return share + (before[hour + 1] - share) * rest_ms / HOUR_MS

    def parts(self, from_ms: int, to_ms: int) -> list[float]:
        """Return the points by day between two local times, the second not before the first."""
        first, from_in_ms = divmod(from_ms, DAY_MS)
        last, to_in_ms = divmod(to_ms, DAY_MS)
        if first == last:
            return [self.day(first) * (self.share(first, to_in_ms) - self.share(first, from_in_ms))]
        return [
            self.day(first) * (1 - self.share(first, from_in_ms)),
            *(self.day(day) for day in range(first + 1, last)),
            self.day(last) * self.share(last, to_in_ms),
        ]

    def between(self, from_ms: int, to_ms: int) -> float:
        """Return the points between two local times, 0 or more."""
        return sum(self.parts(from_ms, to_ms)) if to_ms > from_ms else 0.0

    def doubt(self, from_ms: int, to_ms: int) -> float:
        """Return the variance between two local times that is of events alone, in points²."""
        if self.factors is None or to_ms <= from_ms:
            return 0.0
        first = from_ms // DAY_MS
        return sum(
            self.factors.vary(first + number) * points * points
            for number, points in enumerate(self.parts(from_ms, to_ms))
        )

    def until(self, from_ms: int, points: float) -> int | None:
        """Return the local time by which as much has come; None if not in `LONGEST_DAYS`."""
        if points <= 0:
            return from_ms
        day = from_ms // DAY_MS
        return self.until_of_day(day, points + self.day(day) * self.share(day, from_ms % DAY_MS))

    def until_of_day(self, day: int, points: float) -> int | None:
        """Return the same, from the beginning of a day."""
        rates, factors = self.rates, self.factors
        end = day + LONGEST_DAYS
        if factors is None and points > (week := sum(rates)):
            weeks = int(points / week)
            points -= weeks * week
            day += 7 * weeks
        while day < end:
            of_day = rates[(day + 3) % 7]
            if factors is not None:
                of_day *= factors[day]
            if points <= of_day:
                return day * DAY_MS + self._within_ms(day, points / of_day)
            points -= of_day
            day += 1
        return None

    def _before(self, day: int) -> Sequence[float]:
        factors = self.factors
        return self.before if factors is None else factors.shaped(day, self.before) or self.before

    def _within_ms(self, day: int, share: float) -> int:
        """Return the time of a day by which a share of its waste has come."""
        before = self._before(day)
        hour = bisect_left(before, share, 1, 24) - 1
        of_hour = before[hour + 1] - before[hour]
        part = (share - before[hour]) / of_hour if of_hour else 1.0
        return round((hour + min(max(part, 0.0), 1.0)) * HOUR_MS)

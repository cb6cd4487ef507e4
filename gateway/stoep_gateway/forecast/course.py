"""How much is expected to come between two local times, and until when that much. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS, weekday
from stoep_gateway.forecast.occasions import Factors, Timed

__all__ = ["LONGEST_DAYS", "Course"]

_LEAST_SHARE = 1e-6
_STEP_MS = 5 * 60_000  # between which a day of events is taken for even
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
        if within_ms <= 0 or within_ms >= DAY_MS:
            return 1.0 if within_ms > 0 else 0.0
        return self._share(within_ms, () if self.factors is None else self.factors.timed(day))

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
        total, factors = 0.0, self.factors
        if factors is None:
            return total
        for day in range(from_ms // DAY_MS, -(-to_ms // DAY_MS)):
            if vary := factors.vary(day):
                begin_ms, end_ms = max(from_ms, day * DAY_MS), min(to_ms, (day + 1) * DAY_MS)
                total += vary * self.between(begin_ms, end_ms) ** 2
        return total

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

    def _share(self, within_ms: int, timed: Timed) -> float:
        """Return the share before a time of day on which there are events of some hours."""
        if not timed:
            hour, rest_ms = divmod(within_ms, HOUR_MS)
            share = self.before[hour]
            return share + (self.before[hour + 1] - share) * rest_ms / HOUR_MS
        *others, (factor, first_ms, last_ms) = timed
        usual = tuple(others)
        begin = self._share(first_ms, usual)
        inside = max(self._share(last_ms, usual) - begin, _LEAST_SHARE)
        more = max((factor - 1) / inside, -1.0)
        so_far = self._share(min(max(within_ms, first_ms), last_ms), usual) - begin
        return (self._share(within_ms, usual) + more * so_far) / (1 + more * inside)

    def _within_ms(self, day: int, share: float) -> int:
        """Return the time of a day by which a share of its waste has come."""
        if self.factors is not None and self.factors.timed(day):
            times = range(0, DAY_MS, _STEP_MS)
            at = bisect_left(times, share, 1, key=lambda it: self.share(day, it)) - 1
            low, high = self.share(day, times[at]), self.share(day, times[at] + _STEP_MS)
            part = (share - low) / (high - low) if high > low else 1.0
            return round(times[at] + min(max(part, 0.0), 1.0) * _STEP_MS)
        before = self.before
        hour = bisect_left(before, share, 1, 24) - 1
        of_hour = before[hour + 1] - before[hour]
        part = (share - before[hour]) / of_hour if of_hour else 1.0
        return round((hour + min(max(part, 0.0), 1.0)) * HOUR_MS)

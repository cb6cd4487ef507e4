"""What containers of one kind have in common: the pattern of those that know too little. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoep_gateway.forecast.calendar import Calendar, weekday
from stoep_gateway.forecast.slowing import SLOW_MAX
from stoep_gateway.forecast.spread import NORMAL, SHARES

__all__ = ["Kind"]

# Until containers have said otherwise; all guesses.
_RATE = 6.0  # points a day
_UNIT = 2.0
_VARY = 0.03
_HOURS = (0.2,) * 7 + (1.4,) * 15 + (0.2,) * 2
_PRIOR_DAYS = 20.0  # how many days of containers a guess counts
_MOST_DAYS = 4000.0  # then what is older fades
_PRIOR_RISES = 100.0  # for which a guess counts that levels do not slow
_MOST_RISES = 1000.0
_STEP = 0.02  # of the quantiles
_EVENTS_VARY = 0.5  # variance of the factors of events
_NUMBERS = (
    "_days",
    "_rate",
    "_erred",
    "_error",
    "_weeks",
    "_week_error",
    "slow",
)
_LISTS = ("_came", "_expected", "_hours", "_rises", "quantiles")


class Kind:
    """Sums over days of containers: each of them tells what it learned of a day, once.

    ``factors`` are those of the calendar's events, by the days' numbers; ``quantiles`` those of
    standardised errors at `SHARES`; ``slow`` says how much more slowly levels rise the higher they
    are.
    """

    rates_vary = 1.0  # variance of containers' rates, by the square of their mean: a guess

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self._days = _PRIOR_DAYS
        self._rate = _PRIOR_DAYS * _RATE
        self._erred = _PRIOR_DAYS * _RATE
        self._error = _UNIT * self._erred
        self._weeks = _PRIOR_DAYS
        self._week_error = _PRIOR_DAYS * _VARY
        self.quantiles = list(NORMAL)
        self._came = [_PRIOR_DAYS / 7 * _RATE / _UNIT] * 7
        self._expected = list(self._came)
        self._hours = [_PRIOR_DAYS * it / sum(_HOURS) for it in _HOURS]
        self.slow = 0.0
        # Of rises that were the part y of what was expected, at level x: sums of 1, x, xx, y, xy.
        self._rises = [_PRIOR_RISES * it for it in (1.0, 1 / 2, 1 / 3, 1.0, 1 / 2)]
        self._events: dict[str, list[float]] = {}  # deposits that came, and without the event
        self.factors: dict[int, float] = {}
        self._set_factors()

    @property
    def rate(self) -> float:
        """Return the mean of containers' rates, in points a day."""
        return self._rate / self._days

    @property
    def unit(self) -> float:
        """Return the variance of a day's waste by its mean, in points."""
        return max(self._error / self._erred, 0.05)

    @property
    def vary(self) -> float:
        """Return the variance of a week's rate around what was expected, relative."""
        return max(self._week_error / self._weeks, 0.002)

    def weekdays(self) -> list[float]:
        """Return the factors of the weekdays, 1 in the mean."""
        factors = [came / of for came, of in zip(self._came, self._expected, strict=True)]
        mean = sum(factors) / 7
        return [it / mean for it in factors]

    def hours(self) -> list[float]:
        """Return which share of a day's waste comes in each hour."""
        return [it / self._days for it in self._hours]

    def learn_day(
        self,
        day: int,
        came: float,
        rate: float,
        unit: float,
        hours: Sequence[float],
    ) -> None:
        """Take in a container's day.

        ``came`` in points, ``rate`` what comes on a mean day; ``hours`` are shares.
        """
        if self._days > _MOST_DAYS:
            self._halve()
        self._days += 1
        self._rate += rate
        # What falls has risen on another day; and what fills evenly is not all of its kind.
        came, unit = max(came, 0.0), max(unit, self.unit / 4)
        number = weekday(day)
        event = self.calendar.events.get(day)
        if event is None:
            self._came[number] += came / unit
            self._expected[number] += rate / unit
        elif event.factor is None:
            sums = self._events.setdefault(event.name, [0.0, 0.0])
            sums[0] += came / unit
            sums[1] += rate * self.weekdays()[number] / unit
            self._set_factors()
        for hour, share in enumerate(hours):
            self._hours[hour] += share

    def learn_error(self, error: float, expected: float) -> None:
        """Take in a squared error, without what is not from deposits, of what was expected."""
        if self._erred > _MOST_DAYS * self.rate:
            self._erred /= 2
            self._error /= 2
        self._error += error
        self._erred += expected

    def judge(self, z: float, weight: float) -> None:
        """Move the quantiles after a standardised error."""
        quantiles = self.quantiles
        for at, share in enumerate(SHARES):
            quantiles[at] += weight * _STEP * (share - (z < quantiles[at]))

    def learn_week(self, vary: float) -> None:
        """Take in by how much a week's rate was another than expected, squared and relative."""
        self._weeks += 1
        self._week_error += vary

    def learn_rise(self, level_pct: float, part: float) -> None:
        """Take in that a rise at a level was that part of what it were if levels did not slow."""
        if self._rises[0] > _MOST_RISES:
            self._rises = [it / 2 for it in self._rises]
        x = level_pct / 100
        n, sx, sxx, sy, sxy = self._rises = [
            of + it for of, it in zip(self._rises, (1, x, x * x, part, part * x), strict=True)
        ]
        # Least squares of part = a + b x: slow is -b / a.
        self.slow = min(max((sx * sy - n * sxy) / (sxx * sy - sx * sxy), 0.0), SLOW_MAX)

    def values(self) -> dict[str, Any]:
        """Return all that it knows, for `restored`."""
        known: dict[str, Any] = {name.lstrip("_"): getattr(self, name) for name in _NUMBERS}
        known |= {name.lstrip("_"): list(getattr(self, name)) for name in _LISTS}
        return known | {"events": self._events}

    @classmethod
    def restored(cls, calendar: Calendar, values: dict[str, Any]) -> Kind:
        """Return it again. Raises ValueError for what are no such values."""
        kind = cls(calendar)
        for name in _NUMBERS:
            setattr(kind, name, float(values.get(name.lstrip("_"), getattr(kind, name))))
        for name in _LISTS:
            numbers = [float(it) for it in values.get(name.lstrip("_"), getattr(kind, name))]
            if len(numbers) != len(getattr(kind, name)):
                raise ValueError(f"{name.lstrip('_')} has {len(numbers)} numbers")
            setattr(kind, name, numbers)
        for name, (came, expected) in values.get("events", {}).items():
            kind._events[name] = [float(came), float(expected)]
        kind._set_factors()
        counted = (kind._days, kind._rate, kind._erred, kind._weeks, *kind._expected)
        if min(counted) <= 0 or not 0 <= kind.slow <= SLOW_MAX:
            raise ValueError("what is counted is over 0, and slow at most so much")
        return kind

    def _set_factors(self) -> None:
        for day, event in self.calendar.events.items():
            factor = event.factor
            if factor is None:
                came, of = self._events.get(event.name, (0.0, 0.0))
                factor = (came + 1 / _EVENTS_VARY) / (of + 1 / _EVENTS_VARY)
            self.factors[day] = factor

    def _halve(self) -> None:
        for name in ("_days", "_rate", "_weeks", "_week_error"):
            setattr(self, name, getattr(self, name) / 2)
        for sums in (self._came, self._expected, self._hours):
            sums[:] = [it / 2 for it in sums]

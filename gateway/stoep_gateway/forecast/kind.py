"""What containers of one kind have in common: the pattern of those that know too little. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoep_gateway.forecast.calendar import Calendar, weekday
from stoep_gateway.forecast.occasions import Effect, Event, Factors, Occasions
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
_EVENTS_VARY = 0.5  # variance of the factors of events of which nothing is known
_TIMES_VARY = 0.05  # of one event from time to time
_MOST_TIMES = 12.0  # then older ones fade
_LEAST_FACTOR = 0.05
_NO_EVENT = (0.0, 0.0, 0.0, -1.0)
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

    ``quantiles`` are those of standardised errors at `SHARES`; ``slow`` says how much more slowly
    levels rise the higher they are.
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
        # By event: deposits that came, those without it, how many times it was, the last day.
        self._events: dict[str, tuple[float, float, float, float]] = {}
        self._factors: list[Factors] = []

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

    def factors(self, occasions: Occasions | None) -> Factors | None:
        """Return those of containers with some events."""
        if occasions is None:
            return None
        for known in self._factors:
            if known.occasions is occasions:
                return known
        self._factors.append(Factors(occasions, self.effect))
        return self._factors[-1]

    def forget_factors(self) -> None:
        """Let go of events that are no more; what was learned of them stays."""
        self._factors.clear()

    def times(self) -> dict[str, float]:
        """Return how many times each event was of which something was learned, lately."""
        return {name: times for name, (_, _, times, _) in self._events.items()}

    def effect(self, event: Event) -> Effect:
        """Return what an event does: as given, else as learned, and 1 if it never was.

        What containers tell of one time is one time: deposits are many, but luck is shared.
        """
        if event.factor is not None:
            return Effect(event.factor, _TIMES_VARY)
        came, of, times, _ = self._events.get(event.name, _NO_EVENT)
        if not of or not times:
            return Effect(1.0, _EVENTS_VARY + _TIMES_VARY)
        known = _EVENTS_VARY / (_EVENTS_VARY + 1 / of + _TIMES_VARY / times)
        factor = max(1 + known * (came / of - 1), _LEAST_FACTOR)
        return Effect(factor, ((1 - known) * _EVENTS_VARY + _TIMES_VARY) / factor**2)

    def learn_day(
        self,
        day: int,
        came: float,
        rate: float,
        unit: float,
        hours: Sequence[float],
        events: Sequence[Event] = (),
    ) -> None:
        """Take in a container's day, with the events that were.

        ``came`` in points, ``rate`` what comes on a mean day; ``hours`` are shares.
        """
        if self._days > _MOST_DAYS:
            self._halve()
        self._days += 1
        self._rate += rate
        # What falls has risen on another day; and what fills evenly is not all of its kind.
        came, unit = max(came, 0.0), max(unit, self.unit / 4)
        number = weekday(day)
        if not events:
            self._came[number] += came / unit
            self._expected[number] += rate / unit
        else:
            self._learn_event(day, came / unit, rate * self.weekdays()[number] / unit, events)
        for hour, share in enumerate(hours):
            self._hours[hour] += share

    def _learn_event(self, day: int, came: float, of: float, events: Sequence[Event]) -> None:
        """Take in deposits of a day; of two events that are not known none is learned."""
        unknown = [event.name for event in events if event.factor is None]
        if len(unknown) != 1:
            return
        for event in events:
            of *= event.factor or 1.0
        came_before, of_before, times, last = self._events.get(unknown[0], _NO_EVENT)
        if day > last and times >= _MOST_TIMES:
            came_before, of_before, times = came_before / 2, of_before / 2, times / 2
        known = (came_before + came, of_before + of, times + (day > last), max(last, day))
        self._events[unknown[0]] = known
        for factors in self._factors:
            factors.clear()

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
        return known | {"events": {name: list(it) for name, it in self._events.items()}}

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
        for name, (came, of, times, last) in values.get("events", {}).items():
            kind._events[name] = (float(came), float(of), float(times), float(last))
        counted = (kind._days, kind._rate, kind._erred, kind._weeks, *kind._expected)
        if min(counted) <= 0 or not 0 <= kind.slow <= SLOW_MAX:
            raise ValueError("what is counted is over 0, and slow at most so much")
        return kind

    def _halve(self) -> None:
        for name in ("_days", "_rate", "_weeks", "_week_error"):
            setattr(self, name, getattr(self, name) / 2)
        for sums in (self._came, self._expected, self._hours):
            sums[:] = [it / 2 for it in sums]

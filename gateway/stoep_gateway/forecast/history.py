"""What is remembered of one container's filling, and the rates and errors learned from it. Pure.

A level that rose between two readings is waste of the hours between them. When a local day is
over, its sum is compared with what was expected, which is how errors are known, and the rates are
made anew: older days fade, and what a container cannot yet know of its weekdays and hours is taken
from its kind.

Rates, weekdays and hours are means of a Poisson process with a gamma prior: deposits are counted,
points divided by ``unit``, the variance of a day's waste by its mean.
"""

from __future__ import annotations

from array import array
from math import isfinite
from typing import Any

from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS, weekday
from stoep_gateway.forecast.course import Course
from stoep_gateway.forecast.kind import Kind
from stoep_gateway.forecast.occasions import Occasions
from stoep_gateway.forecast.slowing import gain, level_of, waste_of
from stoep_gateway.forecast.spread import Spread

__all__ = ["FULL_PCT", "NOISE", "History"]

FULL_PCT = 95.0  # beyond, a level does not show what comes
NOISE = 2.0  # what a good level is wrong by, in points
_FADE = 0.5 ** (1 / 42)  # a day counts half after six weeks
_WEEKDAYS_VARY = 0.05  # variance of a container's weekdays around those of its kind
_HOURS_VARY = 0.01  # as a Dirichlet's: a hundred deposits count as much as what the kind knows
_SEEN = 0.5  # of a day's waste, to know the day
_GAP_MS = 14 * DAY_MS  # what came in a longer one says nothing of its days
_LONGEST_DAYS = 60
_ERROR_DAYS = 10.0  # how many days the kind's errors count as the container's
_STEP_MS = 12 * HOUR_MS  # a longer gap is judged as a whole, not by the days in it
_STEP_PCT = 10.0  # a lesser rise says nothing of slowing: what levels are wrong by looks alike
_STEP_DAYS = 7.0
_SLOW = 0.05
_MOST_PART = 3.0
_STEP = 0.1  # of the quantiles
_RETURN = 0.1  # by which they go back to the kind's
_LEAST_UNIT = 0.05
_LEAST_RATE = 0.01
_USUAL = 2.5  # a standardised error that is larger counts as this
_FARTHEST = 4.0  # what is above this is not believed at once
_PROVEN_DAYS = 7.0  # then a container's days say something of its kind
_KNOWN_OF_WEEK = 5
_WEEK_WEIGHT = 0.5  # of an error over a week: the next one is nearly the same
_LEAST_SHARE = 1e-4
_LEAST_Z = 0.05  # between two quantiles
_MOST_VARY = 2.0
_UNKNOWN = -1e6
_NUMBERS = (
    "at_ms",
    "level_pct",
    "noise",
    "bad",
    "day",
    "_rise",
    "_seen",
    "_error",
    "_expected",
    "_doubtful",
    "_low",
    "_high",
)
_ARRAYS = ("_came", "_days", "_hours", "_week", "_ahead")


class History:
    """One container's. ``at_ms`` (UTC) and ``level_pct`` are the last level's, None before any.

    ``course`` is what it expects, ``unit`` the variance of a day's waste by its mean, in points;
    ``noise`` is what the last level may be wrong by, ``bad`` the share of readings of late that
    could not be used.
    """

    __slots__ = (
        "_ahead",
        "_came",
        "_coarse",
        "_days",
        "_doubtful",
        "_error",
        "_expected",
        "_high",
        "_hours",
        "_low",
        "_rise",
        "_seen",
        "_told",
        "_unknown",
        "_vary",
        "_week",
        "at_ms",
        "bad",
        "course",
        "day",
        "kind",
        "level_pct",
        "noise",
        "unit",
    )

    def __init__(self, kind: Kind, occasions: Occasions | None = None) -> None:
        self.kind = kind
        self.at_ms: int | None = None
        self.level_pct = 0.0
        self.noise = NOISE
        self.bad = 0.0
        self.day = 0  # the local day of at_ms
        self._rise = self._seen = 0.0  # points of the day so far, and the share of it they are of
        self._coarse = False  # it has a gap, over which errors were judged as a whole
        self._told = False  # the level is what an emptying has left, no reading
        # Fading sums: points and days by weekday, points by hour, squared errors and their days'.
        self._came = array("f", bytes(4 * 7))
        self._days = array("f", bytes(4 * 7))
        self._hours = array("f", bytes(4 * 24))
        self._error = self._expected = 0.0
        self._doubtful = 0.0  # points of days that were more than can be believed
        # The points of the last seven days; what was expected of the seven after each of them.
        self._week = array("f", [_UNKNOWN]) * 7
        self._ahead = array("f", bytes(4 * 7))
        self._low = self._high = 0.0  # by how much its quantiles differ from its kind's
        self.course = Course(
            array("f", bytes(4 * 7)), array("f", bytes(4 * 25)), kind.factors(occasions)
        )
        self.unit = 0.0
        self._unknown = self._vary = 0.0  # relative: of a rate that is not known yet, and in all
        self._fit()

    @property
    def days(self) -> float:
        """Return how many days are known, older ones counting less."""
        return sum(self._days)

    def attend(self, occasions: Occasions | None) -> None:
        """Expect other events from now on."""
        self.course.factors = self.kind.factors(occasions)

    def spread(self) -> Spread:
        """Return how far what comes may be from what is expected."""
        kind = self.kind
        low, lower, middle, upper, high = kind.quantiles
        lower, upper = min(lower, middle - _LEAST_Z), max(upper, middle + _LEAST_Z)
        low, high = min(low + self._low, lower - _LEAST_Z), max(high + self._high, upper + _LEAST_Z)
        noise = self.noise * (1 + 3 * self.bad) / gain(self.level_pct, kind.slow)
        return Spread(noise, self.unit, self._vary, (low, lower, middle, upper, high))

    def take(self, at_ms: int, level_pct: float, noise: float = NOISE) -> None:
        """Take in a cleaned level, unless it is older than the last."""
        if self.at_ms is not None and at_ms <= self.at_ms:
            return
        known = self.level_pct < FULL_PCT or level_pct < FULL_PCT - 2 * NOISE
        self._pass(at_ms, level_pct if known else None)
        self.level_pct, self.noise, self._told = level_pct, noise, False
        self.bad -= self.bad / 8

    def emptied(self, at_ms: int, from_pct: float | None = None, to_pct: float = 0.0) -> None:
        """Take in an emptying; without ``from_pct`` nothing is known of what came before it.

        With the level before it, a log of collections is enough to learn from.
        """
        if from_pct is not None:
            self.take(at_ms, from_pct)
        self.correct(at_ms, to_pct)

    def correct(self, at_ms: int, level_pct: float) -> None:
        """Go on from a level that says nothing of what came before it."""
        if self.at_ms is None or at_ms > self.at_ms:
            self._pass(at_ms, None)
        self.level_pct, self._told = level_pct, True
        self._doubtful = 0.0

    def forget_level(self) -> None:
        """Begin anew with the next level, whenever it was; rates and errors stay."""
        self.at_ms = None
        self._rise = self._seen = 0.0

    def refused(self) -> None:
        """Take note of a reading that could not be used."""
        self.bad += (1 - self.bad) / 8

    def values(self) -> dict[str, Any]:
        """Return all that it knows, for `restored`: numbers and lists of them."""
        known: dict[str, Any] = {name.lstrip("_"): getattr(self, name) for name in _NUMBERS}
        for name in _ARRAYS:
            known[name.lstrip("_")] = [float(f"{it:.5g}") for it in getattr(self, name)]
        return known

    @classmethod
    def restored(
        cls, kind: Kind, values: dict[str, Any], occasions: Occasions | None = None
    ) -> History:
        """Return it again. Raises ValueError for what are no such values."""
        history = cls(kind, occasions)
        for name in _NUMBERS:
            number = values.get(name.lstrip("_"), getattr(history, name))
            if not (isinstance(number, int | float) or (number is None and name == "at_ms")):
                raise ValueError(f"{name.lstrip('_')} is no number")
            setattr(history, name, number)
        for name in _ARRAYS:
            numbers = array("f", values.get(name.lstrip("_"), getattr(history, name)))
            if len(numbers) != len(getattr(history, name)):
                raise ValueError(f"{name.lstrip('_')} has {len(numbers)} numbers")
            if not all(map(isfinite, numbers)):
                raise ValueError(f"{name.lstrip('_')} has no end")
            setattr(history, name, numbers)
        history._fit()
        return history

    def _pass(self, at_ms: int, level_pct: float | None) -> None:
        """Let the time pass until ``at_ms``; with a level, it rose to that without an emptying."""
        calendar, course = self.kind.calendar, self.course
        to_ms = calendar.local_ms(at_ms)
        last, to_in_ms = divmod(to_ms, DAY_MS)
        before_ms, self.at_ms = self.at_ms, at_ms
        if before_ms is None:
            self.day = last
            return
        from_ms = calendar.local_ms(before_ms)
        from_in_ms = from_ms % DAY_MS
        rise, coarse = None, False
        if level_pct is not None and to_ms - from_ms <= _GAP_MS:
            slow = self.kind.slow
            rise = waste_of(level_pct, slow) - waste_of(self.level_pct, slow)
            coarse = to_ms - from_ms >= _STEP_MS
            if coarse:
                expected = course.between(from_ms, to_ms)
                if self._told:  # between readings, gaps say which of them were doubted: large rises
                    self._learn_slowing(expected, level_pct)
                self._learn_error(expected, rise, course.doubt(from_ms, to_ms))
        if self.day < last:
            if last - self.day > _LONGEST_DAYS:  # a clock that was wrong holds nothing up
                self._forget(last)
            rises = []
            if rise is not None:
                parts = course.parts(from_ms, to_ms)
                rises = [rise * it / sum(parts) for it in parts]
                rise = rises.pop()
            while self.day < last:
                if rises:
                    self._add(from_in_ms, DAY_MS, rises.pop(0))
                self._coarse |= coarse
                self._close()
                from_in_ms = 0
        self._coarse |= coarse
        if rise is not None:
            self._add(from_in_ms, to_in_ms, rise)

    def _learn_slowing(self, expected: float, level_pct: float) -> None:
        """Learn from a large rise whether levels rise more slowly the higher they are."""
        if expected < _STEP_PCT or self.days < _STEP_DAYS:
            return
        before_pct, slow = self.level_pct, self.kind.slow
        rise = level_of(waste_of(before_pct, slow) + expected, slow) - before_pct
        at_pct = before_pct + rise / 2
        if slow > _SLOW:  # the level at which a rise would be as much slower
            at_pct = 100 * (1 - rise / expected) / slow
        part = (level_pct - before_pct) / expected
        self.kind.learn_rise(at_pct, min(max(part, 0.0), _MOST_PART))

    def _add(self, from_in_ms: int, to_in_ms: int, rise: float) -> None:
        """Add what came between two times of a day."""
        course, day = self.course, self.day
        seen = course.share(day, to_in_ms) - course.share(day, from_in_ms)
        self._rise += rise
        self._seen += seen
        first, last = from_in_ms // HOUR_MS, min(max(to_in_ms - 1, 0), DAY_MS - 1) // HOUR_MS
        if first >= last or not seen:
            self._hours[last] += rise
            return
        for hour in range(first, last + 1):
            begin_ms, end_ms = max(from_in_ms, hour * HOUR_MS), min(to_in_ms, (hour + 1) * HOUR_MS)
            part = course.share(day, end_ms) - course.share(day, begin_ms)
            self._hours[hour] += rise * part / seen

    def _close(self) -> None:
        """End the day: compare it with what was expected, and learn from it."""
        day, course = self.day, self.course
        self._fade(_FADE)
        came = self._learn() if self._seen >= _SEEN else _UNKNOWN
        self._week[day % 7] = came
        self._judge_week()
        self._fit()
        self._ahead[day % 7] = sum(course.day(at) for at in range(day + 1, day + 8))
        self.day += 1
        self._rise = self._seen = 0.0
        self._coarse = False

    def _learn(self) -> float:
        """Learn from the day, and return its points."""
        day, course = self.day, self.course
        came, rise = self._rise / self._seen, self._rise
        if not self._coarse:
            expected = course.day(day)
            doubt = course.doubt(day * DAY_MS, (day + 1) * DAY_MS)
            believed, z = self._learn_error(expected, came, doubt)
            if z > _FARTHEST:
                came, rise = believed, believed * self._seen
        self._count(weekday(day), rise)
        factors = course.factors
        events = () if factors is None else factors.occasions.on(day)
        self._days[weekday(day)] += (1.0 if factors is None else factors[day]) * self._seen
        if self.days >= _PROVEN_DAYS:
            rate = sum(course.rates) / 7
            hours = [course.before[hour + 1] - course.before[hour] for hour in range(24)]
            self.kind.learn_day(day, came, rate, self.unit, hours, events)
        return came

    def _learn_error(self, expected: float, came: float, doubt: float) -> tuple[float, float]:
        """Learn from points that came where others were expected; ``doubt`` is of events.

        Return as many as can be believed, and the standardised error.
        """
        spread = self.spread().wider(doubt)
        scaled = spread.scaled(expected)
        z = spread.scaled(came) - scaled
        usual = spread.points(scaled + min(max(z, -_USUAL), _USUAL))
        error = (usual - expected) ** 2 - 2 * NOISE**2 - doubt - spread.vary * expected**2
        self._error += error
        self._expected += expected
        self._judge(z, 1.0)
        if self.days >= _PROVEN_DAYS:
            self.kind.learn_error(error, expected)
        return spread.points(scaled + min(z, _FARTHEST)), z

    def _count(self, number: int, points: float) -> None:
        """Count the points of a day that came on a weekday.

        What fell had risen before, who knows when, and was no waste: first what was most doubtful.
        """
        self._doubtful += self._rise - points
        if points < 0:
            paid = min(self._doubtful, -points)
            self._doubtful -= paid
            total = sum(self._came)
            left = max(total + points + paid, 0.0) / total if total else 0.0
            for at, it in enumerate(self._came):
                self._came[at] = it * left
        else:
            self._came[number] += points

    def _judge(self, z: float, weight: float) -> None:
        """Move the quantiles after a standardised error."""
        kind = self.kind
        low, *_, high = kind.quantiles
        self._low += weight * _STEP * (0.05 - (z < low + self._low) - _RETURN * self._low)
        self._high += weight * _STEP * (0.95 - (z < high + self._high) - _RETURN * self._high)
        if self.days >= _PROVEN_DAYS:
            kind.judge(z, weight)

    def _judge_week(self) -> None:
        """Compare the last seven days with what was expected of them before."""
        expected = self._ahead[self.day % 7]
        known = [it for it in self._week if it != _UNKNOWN]
        if not expected or len(known) < _KNOWN_OF_WEEK:
            return
        came = sum(known) * 7 / len(known)
        doubt = self.course.doubt((self.day - 6) * DAY_MS, (self.day + 1) * DAY_MS)
        spread = self.spread().wider(doubt)
        if not self._coarse:
            self._judge(spread.scaled(came) - spread.scaled(expected), _WEEK_WEIGHT)
        error = (came - expected) ** 2 - 2 * NOISE**2 - doubt - spread.unit * expected
        vary = error / expected**2 - self._unknown
        self.kind.learn_week(min(max(vary, -_MOST_VARY), _MOST_VARY))

    def _fit(self) -> None:
        """Make the rates, the hours and the law of errors anew."""
        kind, course = self.kind, self.course
        prior = _ERROR_DAYS * kind.rate
        unit = (self._error + prior * kind.unit) / (self._expected + prior)
        self.unit = unit = max(unit, _LEAST_UNIT)
        factors = kind.weekdays()
        prior = 1 / kind.rates_vary
        came = sum(self._came) / unit
        days = sum(days * of for days, of in zip(self._days, factors, strict=True)) / unit
        rate = max((came + prior) / (days + prior / kind.rate), _LEAST_RATE)
        prior = 1 / _WEEKDAYS_VARY
        for number, factor in enumerate(factors):
            deposits = rate * self._days[number] / unit
            own = (self._came[number] / unit + prior * factor) / (deposits + prior)
            course.rates[number] = max(rate * own, _LEAST_RATE)
        self._unknown = 1 / (self.days * rate / unit + 1 / kind.rates_vary)
        self._vary = kind.vary + self._unknown
        self._fit_hours(unit)

    def _fit_hours(self, unit: float) -> None:
        prior = 1 / _HOURS_VARY
        deposits = max(sum(self._hours), 0.0) / unit
        shares = []
        for points, share in zip(self._hours, self.kind.hours(), strict=True):
            own = (max(points, 0.0) / unit + prior * share) / (deposits + prior)
            shares.append(max(own, _LEAST_SHARE))
        total, so_far = sum(shares), 0.0
        for hour, share in enumerate(shares):
            self.course.before[hour] = so_far / total
            so_far += share
        self.course.before[24] = 1.0

    def _fade(self, by: float) -> None:
        for sums in (self._came, self._days, self._hours):
            for index, it in enumerate(sums):
                sums[index] = it * by
        self._error *= by
        self._expected *= by

    def _forget(self, last: int) -> None:
        """Pass many days at once."""
        self._fade(_FADE ** (last - self.day))
        self._week = array("f", [_UNKNOWN]) * 7
        self._ahead = array("f", bytes(4 * 7))
        self.day = last
        self._rise = self._seen = 0.0

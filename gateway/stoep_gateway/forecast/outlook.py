"""What is to come of one container: its level, whether it overflows, when it is full. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.forecast.course import LONGEST_DAYS
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.slowing import level_of, waste_of
from stoep_gateway.forecast.spread import Spread

__all__ = ["LEVEL_MAX_PCT", "OVERFLOW_PCT", "Hours", "Level", "Outlook"]

LEVEL_MAX_PCT = 200.0  # a forecast beyond twice full says no more than this
OVERFLOW_PCT = 100.0
_LEARNED_DAYS = 1.0
_FEW_DAYS = 7.0
_OLD_MS = 24 * HOUR_MS
_BAD = 0.5


class Level(NamedTuple):
    """A level in percent: as often above as below ``middle``, 5 of 100 times beyond each limit."""

    middle: float
    low: float
    high: float


class Hours(NamedTuple):
    """Hours until the expected level is as high; 5 of 100 times it is before and after the limits.

    None: not within `course.LONGEST_DAYS`.
    """

    expected: float | None
    low: float | None
    high: float | None


class Outlook:
    """From one container's last level on; good until its history takes the next, or `lasting`.

    Raises ValueError if no level is known. ``doubt`` says why not to rely on it: ``few_days`` are
    known, the level is old (``no_data``), or most readings of late could not be used
    (``bad_data``); None: nothing against it. In each case the intervals are wider. ``is_learned``
    is False as long as it says more of the kind, or of a guess, than of the container.
    """

    def __init__(self, history: History, now_ms: int) -> None:
        if history.at_ms is None:
            raise ValueError("no level is known yet")
        kind = history.kind
        self._now_ms = now_ms
        self._at_ms = history.at_ms
        self._slow = kind.slow
        self._waste = waste_of(max(history.level_pct, 0.0), kind.slow)
        self._course = history.course
        self._calendar = kind.calendar
        self._from_ms = kind.calendar.local_ms(history.at_ms)
        self._spread = history.spread()
        self.is_learned = history.days >= _LEARNED_DAYS
        self.doubt: str | None = None
        if history.bad > _BAD:
            self.doubt = "bad_data"
        elif now_ms - history.at_ms > _OLD_MS:
            self.doubt = "no_data"
        elif history.days < _FEW_DAYS:
            self.doubt = "few_days"

    def lasting(self) -> Outlook:
        """Return it, good whatever its history takes: for another thread."""
        self._course = self._course.copy()
        return self

    def level(self, at_ms: int, emptyings: Sequence[int] = ()) -> Level:
        """Return the level at a time, if it is emptied at those times (UTC ms, in order) only."""
        at = self._calendar.local_ms(at_ms)
        waste, from_ms = self._waste, self._from_ms
        for emptied_ms in emptyings:
            if self._at_ms < emptied_ms <= at_ms:
                waste, from_ms = 0.0, self._calendar.local_ms(emptied_ms)
        low, middle, high = (
            min(max(level_of(waste + it, self._slow), 0.0), LEVEL_MAX_PCT)
            for it in self._law(from_ms, at).interval(self._course.between(from_ms, at))
        )
        return Level(middle, low, high)

    def p_over(self, threshold_pct: float, until_ms: int, emptyings: Sequence[int] = ()) -> float:
        """Return the probability that the level reaches a threshold before a time.

        It is emptied at those times (UTC ms, in order) only.
        """
        threshold = waste_of(threshold_pct, self._slow)
        waste, from_ms, p_not = self._waste, self._from_ms, 1.0
        for end_ms in (*(it for it in emptyings if self._at_ms < it < until_ms), until_ms):
            to_ms = self._calendar.local_ms(end_ms)
            mean = self._course.between(from_ms, to_ms)
            p_not *= 1 - self._law(from_ms, to_ms).p_at_least(threshold - waste, mean)
            waste, from_ms = 0.0, to_ms
        return 1 - p_not

    def p_overflow_before(self, until_ms: int, emptyings: Sequence[int] = ()) -> float:
        """Return the probability that it is full before a time."""
        return self.p_over(OVERFLOW_PCT, until_ms, emptyings)

    def hours_to(self, threshold_pct: float) -> Hours:
        """Return the hours from now until the threshold is reached, without an emptying."""
        day = self._from_ms // DAY_MS
        of_day = self._course.day(day) * self._course.share(day, self._from_ms % DAY_MS)
        points = waste_of(threshold_pct, self._slow) - self._waste
        spread = self._spread
        if self._course.factors is not None:
            until_ms = self._course.until(self._from_ms, points)
            spread = self._law(self._from_ms, until_ms or self._from_ms + LONGEST_DAYS * DAY_MS)
        scaled = spread.scaled(points)
        low, *_, high = spread.quantiles
        return Hours(
            self._hours(day, of_day, spread.points(scaled)),
            self._hours(day, of_day, spread.points(scaled - high)),
            self._hours(day, of_day, spread.points(scaled - low)),
        )

    def _law(self, from_ms: int, to_ms: int) -> Spread:
        """Return the law of errors between two local times."""
        doubt = self._course.doubt(from_ms, to_ms)
        return self._spread.wider(doubt) if doubt else self._spread

    def _hours(self, day: int, of_day: float, points: float) -> float | None:
        """Return the hours until points have come, besides those of the day before now."""
        if points <= 0:
            return 0.0
        local_ms = self._course.until_of_day(day, of_day + points)
        if local_ms is None:
            return None
        return max(0.0, (self._calendar.utc_ms(local_ms) - self._now_ms) / HOUR_MS)

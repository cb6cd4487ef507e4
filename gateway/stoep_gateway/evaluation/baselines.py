"""What a forecast has to beat: simple ones, from the same cleaned levels. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import exp
from typing import Any

import numpy as np

from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS

__all__ = ["HOURS", "NAMES", "Baselines"]

NAMES = ("persistence", "linear_24h", "ewma_14d", "theil_sen_168h", "seasonal_8w")
HOURS = 168  # none looks farther ahead
_EWMA_MS = 14 * DAY_MS
_WEEK_H = 168
_WEEKS = 8

_Array = np.ndarray[Any, np.dtype[np.floating[Any]]]


class Baselines:
    """One container's."""

    def __init__(self) -> None:
        self._levels: deque[tuple[int, float]] = deque()  # of a week, since the last emptying
        self._ewma = 0.0  # points per hour
        self._known_ms = 0
        self._rates: _Array = np.full((_WEEKS, _WEEK_H), np.nan)  # by hour of the week

    def take(self, at_ms: int, level_pct: float, *, emptied: bool) -> None:
        """Take in a cleaned level; ``emptied``: since the one before."""
        levels = self._levels
        if emptied:
            levels.clear()
        if levels:
            self._learn(*levels[-1], at_ms, level_pct)
        levels.append((at_ms, level_pct))
        while levels[0][0] < at_ms - 7 * DAY_MS:
            levels.popleft()

    def ahead(self) -> dict[str, _Array]:
        """Return of each what it expects to have come 1, 2, … `HOURS` hours after the last."""
        at_ms = self._levels[-1][0]
        hours = np.arange(1, HOURS + 1)
        day = [it for it in self._levels if it[0] >= at_ms - DAY_MS]
        return {
            "persistence": 0.0 * hours,
            "linear_24h": _least_squares(day) * hours,
            "ewma_14d": self._ewma * hours,
            "theil_sen_168h": _theil_sen(self._levels) * hours,
            "seasonal_8w": np.cumsum(self._seasonal(at_ms)),
        }

    def _learn(self, from_ms: int, from_pct: float, to_ms: int, to_pct: float) -> None:
        span_ms = to_ms - from_ms
        rate = (to_pct - from_pct) / span_ms * HOUR_MS
        self._known_ms += span_ms
        # The mean at first, so that a beginning of 0 counts for nothing.
        self._ewma += max(1 - exp(-span_ms / _EWMA_MS), span_ms / self._known_ms) * (
            rate - self._ewma
        )
        if span_ms <= DAY_MS:
            for hour in range(from_ms // HOUR_MS, -(-to_ms // HOUR_MS)):
                week, of_week = divmod(hour, _WEEK_H)
                self._rates[week % _WEEKS, of_week] = rate

    def _seasonal(self, at_ms: int) -> _Array:
        known = ~np.isnan(self._rates)
        counts, sums = known.sum(axis=0), np.nansum(self._rates, axis=0)
        mean = sums.sum() / max(counts.sum(), 1)
        rates: _Array = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
        return np.roll(rates, -(at_ms // HOUR_MS % _WEEK_H))[:HOURS]


def _arrays(levels: Iterable[tuple[int, float]]) -> tuple[_Array, _Array]:
    points = np.array(list(levels), dtype=float)
    return points[:, 0] / HOUR_MS, points[:, 1]


def _least_squares(levels: Iterable[tuple[int, float]]) -> float:
    """Return the slope of a line through levels in points per hour, not negative."""
    hours, percents = _arrays(levels)
    away = hours - hours.mean()
    square = float(away @ away)
    return max(float(away @ percents) / square, 0.0) if square else 0.0


def _theil_sen(levels: Iterable[tuple[int, float]]) -> float:
    """Return the median of the slopes between all levels."""
    hours, percents = _arrays(levels)
    if len(hours) < 2:
        return 0.0
    first, second = np.triu_indices(len(hours), 1)
    slopes = (percents[second] - percents[first]) / (hours[second] - hours[first])
    return max(float(np.median(slopes)), 0.0)

"""What is known of a container's level over time: for how long, and how long it was full. Pure.

A level is taken to hold until the next one, for three of the usual intervals between levels at
most; what comes later is not known.
"""

from __future__ import annotations

import datetime
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from stoep_gateway.backtest.waste import FULL_PCT
from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.report.periods import Period

__all__ = ["FULL_PCT", "Course", "Held", "Told"]

_INTERVALS = 3
_HELD_MS = (1 * HOUR_MS, 26 * HOUR_MS)  # at least, at most


class Told(NamedTuple):
    """Somebody said, or the sensor found, that a container was emptied then."""

    at_ms: int
    to_pct: float | None


class Held(NamedTuple):
    """A level, from when it was known until when it is taken to be so."""

    from_ms: int
    to_ms: int
    fill_pct: float


class Course:
    """A container's levels: (UTC ms, percent) in order, those that were believed."""

    def __init__(self, levels: Sequence[tuple[int, float]], emptied: Sequence[Told] = ()) -> None:
        self._times = [at_ms for at_ms, _ in levels]
        self._held = _cut(_held(levels), emptied)
        self._starts = [it.from_ms for it in self._held]

    def held(self, from_ms: int, to_ms: int) -> list[Held]:
        """Return what is known of a time, in order."""
        first = max(0, bisect_right(self._starts, from_ms) - 1)
        found = []
        for it in self._held[first:]:
            if it.from_ms >= to_ms:
                break
            if it.to_ms > from_ms:
                found.append(Held(max(it.from_ms, from_ms), min(it.to_ms, to_ms), it.fill_pct))
        return found

    def known_ms(self, from_ms: int, to_ms: int) -> int:
        """Return for how long of a time the level is known."""
        return sum(it.to_ms - it.from_ms for it in self.held(from_ms, to_ms))

    def full_ms(self, from_ms: int, to_ms: int) -> int:
        """Return for how long it was full, of what is known."""
        full = (it for it in self.held(from_ms, to_ms) if it.fill_pct >= FULL_PCT)
        return sum(it.to_ms - it.from_ms for it in full)

    def full_days(self, period: Period) -> set[datetime.date]:
        """Return the local days on which it was full at some time."""
        days = set()
        for it in self.held(period.from_ms, period.to_ms):
            if it.fill_pct >= FULL_PCT:
                day, last = period.day_of(it.from_ms), period.day_of(it.to_ms - 1)
                while day <= last:
                    days.add(day)
                    day += datetime.timedelta(days=1)
        return days

    def before(self, at_ms: int) -> float | None:
        """Return the level just before a time, None if it is not known."""
        found = self.held(at_ms - 1, at_ms)
        return found[-1].fill_pct if found else None

    def last_before(self, at_ms: int) -> int | None:
        """Return when it was last measured before a time."""
        number = bisect_right(self._times, at_ms - 1)
        return self._times[number - 1] if number else None


def _held(levels: Sequence[tuple[int, float]]) -> list[Held]:
    gaps = [after[0] - before[0] for before, after in pairwise(levels)]
    least_ms, most_ms = _HELD_MS
    longest_ms = min(max(round(_INTERVALS * median(gaps)), least_ms), most_ms) if gaps else least_ms
    found = [
        Held(at_ms, min(next_ms, at_ms + longest_ms), fill_pct)
        for (at_ms, fill_pct), (next_ms, _) in pairwise(levels)
        if next_ms > at_ms
    ]
    if levels:
        found.append(Held(levels[-1][0], levels[-1][0] + longest_ms, levels[-1][1]))
    return found


def _cut(held: Sequence[Held], emptied: Sequence[Told]) -> list[Held]:
    """End levels where somebody says that the container was emptied."""
    found = []
    left = sorted(emptied, reverse=True)
    for it in held:
        while left and left[-1].at_ms <= it.from_ms:
            left.pop()
        from_ms, fill_pct = it.from_ms, it.fill_pct
        while left and left[-1].at_ms < it.to_ms:
            told = left.pop()
            found.append(Held(from_ms, told.at_ms, fill_pct))
            from_ms, fill_pct = told.at_ms, told.to_pct or 0.0
        found.append(Held(from_ms, it.to_ms, fill_pct))
    return found

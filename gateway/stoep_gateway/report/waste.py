"""The waste that came into containers by what was measured, and what another round meets. Pure.

Within a cycle, from one emptying to the next, levels do not fall: what they rise, noise taken off,
came. What came while nobody looked or while it was full is taken as usual for the container and the
hour of the day.
"""

from __future__ import annotations

import datetime
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from stoep_gateway.backtest.waste import never_falling
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.report.courses import FULL_PCT
from stoep_gateway.report.periods import Period

__all__ = ["Came", "Lived", "came", "lived"]


class Came:
    """The waste that came into one container, in points, by the hour from ``start_ms`` on."""

    def __init__(self, start_ms: int, hours: Iterable[float]) -> None:
        self.start_ms = start_ms
        self._sums = [0.0, *accumulate(hours)]

    def until(self, at_ms: int) -> float:
        """Return what came until a time."""
        hour, rest_ms = divmod(max(0, at_ms - self.start_ms), HOUR_MS)
        if hour >= len(self._sums) - 1:
            return self._sums[-1]
        return self._sums[hour] + (self._sums[hour + 1] - self._sums[hour]) * rest_ms / HOUR_MS

    def reaches(self, points: float) -> int | None:
        """Return when so much has come, None if it never has."""
        hour = bisect_left(self._sums, points) - 1
        if hour < 0:
            return self.start_ms
        if hour >= len(self._sums) - 1:
            return None
        share = (points - self._sums[hour]) / (self._sums[hour + 1] - self._sums[hour])
        return self.start_ms + round((hour + share) * HOUR_MS)


def came(
    levels: Sequence[tuple[int, float]], emptied: Sequence[int], from_ms: int, to_ms: int
) -> Came | None:
    """Return what came between two times; None if the levels do not tell of a day.

    ``emptied`` are the times of emptyings, in order, each not after the first level that shows it.
    """
    start_ms = from_ms // HOUR_MS * HOUR_MS
    count = -(-(to_ms - start_ms) // HOUR_MS)
    points, seen_ms = [0.0] * count, [0] * count
    for cycle in _cycles(levels, emptied):
        smooth = never_falling([level for _, level in cycle])
        for (one_ms, low), (two_ms, high) in pairwise(
            zip((at_ms for at_ms, _ in cycle), smooth, strict=True)
        ):
            if low >= FULL_PCT:  # what comes is not to be seen
                break
            for hour in range(
                max(0, (one_ms - start_ms) // HOUR_MS),
                min(count, -(-(two_ms - start_ms) // HOUR_MS)),
            ):
                begin_ms = start_ms + hour * HOUR_MS
                part_ms = min(two_ms, begin_ms + HOUR_MS) - max(one_ms, begin_ms)
                points[hour] += (high - low) * part_ms / (two_ms - one_ms)
                seen_ms[hour] += part_ms
    if sum(seen_ms) < DAY_MS:
        return None
    usual = _usual(points, seen_ms)
    hours = zip(points, seen_ms, strict=True)
    return Came(
        start_ms,
        (it + usual[hour % 24] * (HOUR_MS - ms) for hour, (it, ms) in enumerate(hours)),
    )


def _usual(points: Sequence[float], seen_ms: Sequence[int]) -> list[float]:
    """Return the points per millisecond of each hour of the day; nights are unlike days."""
    every = sum(points) / sum(seen_ms)
    rates = []
    for hour in range(24):
        ms = sum(seen_ms[hour::24])
        rates.append(sum(points[hour::24]) / ms if ms else every)
    return rates


def _cycles(
    levels: Sequence[tuple[int, float]], emptied: Sequence[int]
) -> Iterable[list[tuple[int, float]]]:
    times = [at_ms for at_ms, _ in levels]
    bounds = [0, *(bisect_left(times, at_ms) for at_ms in emptied), len(levels)]
    for first, last in pairwise(bounds):
        yield list(levels[first:last])


class Lived(NamedTuple):
    """What a container went through: when it was emptied and how full it was, when it was full.

    ``full`` are the times from when until when, ``full_days`` the local days with such a time.
    """

    fills: tuple[tuple[int, float], ...]
    full: tuple[tuple[int, int], ...]
    full_days: frozenset[datetime.date]


def lived(
    waste: Came, level_pct: float, emptied: Sequence[int], period: Period, from_ms: int
) -> Lived:
    """Return what happened in a period to a container that had ``level_pct`` at ``from_ms``.

    It is emptied at the times ``emptied``, of which those in the period are counted.
    """
    base = waste.until(from_ms) - level_pct
    fills, full, begin_ms = [], [], from_ms
    for end_ms in (*emptied[bisect_right(emptied, from_ms) :], period.to_ms):
        full_ms = waste.reaches(base + FULL_PCT)
        if full_ms is not None and full_ms < end_ms:
            full.append((max(full_ms, begin_ms), end_ms))
        if period.from_ms <= end_ms < period.to_ms:
            fills.append((end_ms, waste.until(end_ms) - base))
        base, begin_ms = waste.until(end_ms), end_ms
    within = tuple(
        (max(one, period.from_ms), min(two, period.to_ms))
        for one, two in full
        if two > period.from_ms and one < period.to_ms
    )
    return Lived(tuple(fills), within, frozenset(_days(within, period)))


def _days(full: Iterable[tuple[int, int]], period: Period) -> Iterable[datetime.date]:
    for from_ms, to_ms in full:
        day = period.day_of(from_ms)
        while day <= period.day_of(to_ms - 1):
            yield day
            day += datetime.timedelta(days=1)

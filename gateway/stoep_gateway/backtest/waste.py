"""The waste that comes into containers, whatever is done with them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.insight.filling import DROP_PCT

__all__ = ["FULL_PCT", "Perfect", "Waste", "from_levels", "never_falling"]

FULL_PCT = 100.0


class Waste:
    """Points by container and hour from ``start_ms`` on; none comes after the last hour."""

    def __init__(self, start_ms: int, hours: Mapping[str, Sequence[float]]) -> None:
        self.start_ms = start_ms
        self.came = {name: [0.0, *accumulate(of)] for name, of in hours.items()}

    def until(self, name: str, at_ms: int) -> float:
        """Return the points that came from the start until a time."""
        came = self.came[name]
        hour, rest_ms = divmod(max(0, at_ms - self.start_ms), HOUR_MS)
        if hour >= len(came) - 1:
            return came[-1]
        return came[hour] + (came[hour + 1] - came[hour]) * rest_ms / HOUR_MS

    def of_days(self, name: str, days: int) -> list[float]:
        """Return the points of each of the first days."""
        came = self.came[name]
        return [came[24 * day + 24] - came[24 * day] for day in range(days)]


class Perfect:
    """The outlook of somebody who knows what will come."""

    doubt: str | None = None

    def __init__(self, waste: Waste, name: str, now_ms: int, level_pct: float) -> None:
        self._waste = waste
        self._name = name
        self._offset = level_pct - waste.until(name, now_ms)

    def level(self, at_ms: int, emptyings: Sequence[int] = ()) -> tuple[float, float, float]:
        """Return the level; there is no interval."""
        offset = self._offset
        for emptied_ms in emptyings:
            if emptied_ms <= at_ms:
                offset = -self._waste.until(self._name, emptied_ms)
        level = self._waste.until(self._name, at_ms) + offset
        return level, level, level

    def p_overflow_before(self, until_ms: int, emptyings: Sequence[int] = ()) -> float:
        """Return 1 if it will be full before a time, or else 0."""
        before = [it for it in emptyings if it <= until_ms]
        # At an emptying: how full it is just before.
        levels = [self.level(it, before[:number])[0] for number, it in enumerate(before)]
        return float(max(*levels, self.level(until_ms, before)[0], -1.0) >= FULL_PCT)


def never_falling(levels: Sequence[float]) -> list[float]:
    """Return the nearest levels, by their squares, that never fall (isotonic regression)."""
    blocks: list[tuple[float, int]] = []  # mean, count
    for level in levels:
        mean, count = level, 1
        while blocks and blocks[-1][0] > mean:
            before, number = blocks.pop()
            mean = (mean * count + before * number) / (count + number)
            count += number
        blocks.append((mean, count))
    return [mean for mean, count in blocks for _ in range(count)]


def from_levels(rows: Mapping[str, Sequence[tuple[int, float]]]) -> Waste:
    """Return the waste that recorded levels tell of: (UTC ms, percent) by container, in order.

    Where a level fell it was emptied, and what is there afterwards came since; from then on it does
    not fall: else noise would be waste. What came between two levels came evenly. Raises ValueError
    for nothing.
    """
    times = [at_ms for of in rows.values() for at_ms, _ in of]
    if not times:
        raise ValueError("no levels")
    start_ms = min(times) // HOUR_MS * HOUR_MS
    hours = -(-(max(times) - start_ms) // HOUR_MS) + 1
    came = {}
    for name, of in rows.items():
        by_hour = [0.0] * hours
        for (from_ms, _), (to_ms, _), rise in zip(of, of[1:], _rises(of), strict=False):
            first, last = (from_ms - start_ms) // HOUR_MS, (to_ms - start_ms) // HOUR_MS
            for hour in range(first, max(first + 1, last)):
                by_hour[hour] += rise / max(1, last - first)
        came[name] = by_hour
    return Waste(start_ms, came)


def _rises(rows: Sequence[tuple[int, float]]) -> Iterator[float]:
    """Yield what came before each level but the first."""
    levels = [level for _, level in rows]
    ends = [at for at in range(1, len(levels)) if levels[at] < levels[at - 1] - DROP_PCT]
    for first, last in pairwise([0, *ends, len(levels)]):
        smooth = never_falling(levels[first:last])
        if first:
            yield smooth[0]
        yield from (high - low for low, high in pairwise(smooth))

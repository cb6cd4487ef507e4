"""Counters by name, and histograms, since the process began; pure.

A rejected frame or datagram is counted under its ``Rejected.reason``. The log gets all counters
every hour and when the gateway stops; `exposition` writes everything for Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

__all__ = ["Histogram", "Metrics"]


class Metrics:
    """``counts`` by what happened, ``rejected`` by reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()

    def count(self, name: str, by: int = 1) -> None:
        """Count an event that is not a rejection."""
        self.counts[name] += by

    def reject(self, reason: str) -> None:
        """Count a rejection."""
        self.rejected[reason] += 1

    def __str__(self) -> str:
        """Return all counters, names sorted, for the log."""
        parts = [f"{name}={value}" for name, value in sorted(self.counts.items())]
        parts += [f"rejected.{name}={value}" for name, value in sorted(self.rejected.items())]
        return " ".join(parts)


class Histogram:
    """How often a value was at most each of ``bounds``, which grow, or more than the last."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value. One thread observes; any may read."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[float, int]]:
        """Return ``(bound, how many values were at most that)``; the last bound is infinite."""
        counts = list(self._counts)
        bounds = [*self.bounds, float("inf")]
        return [(bound, sum(counts[: at + 1])) for at, bound in enumerate(bounds)]

    def above(self, bound: float) -> int:
        """Return how many values were more than one of the bounds."""
        return sum(self._counts[bisect_left(self.bounds, bound) + 1 :])

    def __len__(self) -> int:
        """Return how many values there were."""
        return sum(self._counts)

"""Counters by name, since the process began; pure.

A rejected frame or datagram is counted under its ``Rejected.reason``. The log gets all of them
every hour and when the gateway stops.
"""

from __future__ import annotations

from collections import Counter

__all__ = ["Metrics"]


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

"""Counters by name, since the process began; pure.

A rejected frame or datagram is counted under its ``Rejected.reason``. Gateway state messages carry
a snapshot, and so does the line that is logged when the gateway stops.
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

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Return all counters, names sorted, for messages and logs."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "rejected": dict(sorted(self.rejected.items())),
        }

    def __str__(self) -> str:
        parts = [f"{name}={value}" for name, value in sorted(self.counts.items())]
        parts += [f"rejected.{name}={value}" for name, value in sorted(self.rejected.items())]
        return " ".join(parts)

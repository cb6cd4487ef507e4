"""How well a container's readings were judged, where the truth is known. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["COUNTED_PCT", "BinScore", "Emptied", "rounded"]

_HOUR_MS = 3_600_000
COUNTED_PCT = 20.0  # an emptying of fewer points need not be told from settling
EARLY_MS = _HOUR_MS
LATE_MS = 36 * _HOUR_MS  # uplinks are missing in runs, and false echoes hide an emptying
_FIRST_MS = 24 * _HOUR_MS  # what happened before is not asked for: nothing was known


class Emptied(NamedTuple):
    """An emptying that there was: UTC ms, and the level before and after, None if not known."""

    at_ms: int
    from_pct: float | None = None
    to_pct: float | None = None

    def counts(self) -> bool:
        """Tell whether it has to be found."""
        known = self.from_pct is not None and self.to_pct is not None
        return not known or self.from_pct - self.to_pct >= COUNTED_PCT  # type: ignore[operator]


@dataclass
class BinScore:
    """Sums over readings whose true level is known, and over emptyings; errors in points of 100.

    ``error_pct`` is of the level that the gateway publishes, ``raw_error_pct`` of each distance as
    it came; ``rejected`` counts good readings of quality 2 or less. ``false`` emptyings were told
    and are none, ``missed`` ones (UTC ms) were not told.
    """

    readings: int = 0
    error_pct: float = 0.0
    raw_error_pct: float = 0.0
    good: int = 0
    rejected: int = 0
    emptyings: int = 0
    found: int = 0
    false: int = 0
    missed: list[int] = field(default_factory=list)

    def add(self, other: BinScore) -> None:
        """Add another unit's."""
        self.readings += other.readings
        self.error_pct += other.error_pct
        self.raw_error_pct += other.raw_error_pct
        self.good += other.good
        self.rejected += other.rejected
        self.emptyings += other.emptyings
        self.found += other.found
        self.false += other.false
        self.missed += other.missed

    def match(
        self, told: Sequence[int], truth: Sequence[Emptied], begin_ms: int, end_ms: int
    ) -> None:
        """Compare the emptyings that were told with those that were; both in order of time.

        One is found if it was told from an hour before to 36 hours after; those of the first day
        and the last 36 hours are not asked for.
        """
        due = deque(
            it.at_ms
            for it in truth
            if it.counts() and begin_ms + _FIRST_MS < it.at_ms < end_ms - LATE_MS
        )
        times = [it.at_ms for it in truth]
        self.emptyings += len(due)
        for at_ms in told:
            while due and due[0] < at_ms - LATE_MS:
                self.missed.append(due.popleft())
            nearest = bisect_left(times, at_ms - LATE_MS)
            if due and due[0] <= at_ms + EARLY_MS:
                due.popleft()
                self.found += 1
            elif nearest == len(times) or times[nearest] > at_ms + LATE_MS:
                self.false += 1
        self.missed += due

    def mae(self) -> float | None:
        """Return the mean absolute error of the published level in points."""
        return self.error_pct / self.readings if self.readings else None

    def raw_mae(self) -> float | None:
        """Return that of the distances as they came."""
        return self.raw_error_pct / self.readings if self.readings else None

    def false_reject_pct(self) -> float | None:
        """Return how many of 100 good readings were rejected."""
        return 100 * self.rejected / self.good if self.good else None

    def recall(self) -> float | None:
        """Return the share of emptyings that were found."""
        return self.found / self.emptyings if self.emptyings else None

    def precision(self) -> float | None:
        """Return the share of those told that were emptyings."""
        told = self.found + self.false
        return self.found / told if told else None


def rounded(number: float | None, digits: int = 2) -> float | None:
    """Round what is known."""
    return None if number is None else round(number, digits)

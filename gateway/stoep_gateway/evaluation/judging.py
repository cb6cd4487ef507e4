"""One container's recorded distances through the gateway's own filter, reading by reading. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.evaluation.scores import COUNTED_PCT, BinScore, Emptied
from stoep_gateway.insight.echoes import LEARNED, FalseDistance
from stoep_gateway.insight.filling import Emptying
from stoep_gateway.insight.levels import Level, likely_pct
from stoep_gateway.insight.readings import ACCEPTED, DOUBTED, Reading, judge

__all__ = ["GOOD_PCT", "BinUnit", "Judged"]

GOOD_PCT = 5.0  # a reading is good if it is no farther from the truth, where nothing else says so


class Judged(NamedTuple):
    """A reading as it was taken; ``raw_pct`` is by its distance, ``fill_pct`` what is published."""

    reading: Reading
    raw_pct: float | None
    fill_pct: float | None
    emptying: Emptying | None


class BinUnit:
    """A container's readings so far. ``emptyings`` are those that there were, if that is known."""

    def __init__(self, geometry: Inside, emptyings: Sequence[Emptied] | None = None) -> None:
        self.geometry = geometry
        self.qualities: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self.emptyings: list[Emptying] = []
        self._level = Level(geometry)
        self._truth = None if emptyings is None else sorted(emptyings)
        self._marked: list[Emptied] | None = None
        self._dropped: list[Emptied] = []
        self._true_pct: float | None = None
        self._was_emptied = False
        self._count = 0
        self._begin_ms = self._end_ms = 0
        self._score = BinScore()

    def take(
        self,
        at_ms: int,
        distance_mm: int | None,
        true_pct: float | None = None,
        *,
        good: bool | None = None,
        emptied: bool | None = None,
    ) -> Judged:
        """Take in a reading, later than all before; ``distance_mm`` None: no echo.

        ``true_pct`` is the true level, ``good`` whether the echo came from the waste, ``emptied``
        whether the container was emptied since the reading before; None where it is not known.
        """
        inside = self.geometry
        quality, reason = judge(distance_mm, ACCEPTED, 0, inside.depth_mm, inside.dead_zone_mm)
        reading, emptying = self._level.take(
            Reading(self._count, at_ms, distance_mm, quality, reason, True)
        )
        self._count += 1
        self._end_ms = at_ms
        if self._count == 1:
            self._begin_ms = at_ms
        self.qualities[reading.quality] += 1
        if reading.reason is not None:
            self.reasons[reading.reason] += 1
        if emptying is not None:
            self.emptyings.append(emptying)
        raw_pct = None if distance_mm is None else inside.fill_pct(distance_mm)
        level_pct = likely_pct(inside, self._level.track, self._level.likely_mm)
        self._compare(reading, raw_pct, level_pct, true_pct, good)
        self._note_truth(at_ms, true_pct, emptied)
        return Judged(reading, raw_pct, level_pct, emptying)

    def false_distances(self) -> tuple[FalseDistance, ...]:
        """Return the distances that are believed to be false."""
        echo = self._level.echo
        if echo is None:
            return ()
        return tuple(it for it in echo.false_distances if it.weight >= LEARNED)

    def score(self) -> BinScore:
        """Return how well the readings so far were judged."""
        score = BinScore()
        score.add(self._score)
        truth = self._truth
        if truth is None:
            truth = self._marked
        if truth is None and self._true_pct is not None:
            truth = self._dropped
        if truth is not None:
            told = [it.at_ms for it in self.emptyings]
            score.match(told, truth, self._begin_ms, self._end_ms)
        return score

    def _compare(
        self,
        reading: Reading,
        raw_pct: float | None,
        level_pct: float | None,
        true_pct: float | None,
        good: bool | None,
    ) -> None:
        score = self._score
        if good is None and true_pct is not None and raw_pct is not None:
            good = abs(raw_pct - true_pct) <= GOOD_PCT
        if good and raw_pct is not None:
            score.good += 1
            score.rejected += reading.quality <= DOUBTED
        if true_pct is not None and raw_pct is not None and level_pct is not None:
            score.readings += 1
            score.error_pct += abs(level_pct - true_pct)
            score.raw_error_pct += abs(raw_pct - true_pct)

    def _note_truth(self, at_ms: int, true_pct: float | None, emptied: bool | None) -> None:
        """Gather the emptyings that there were: as they are marked, else where the level falls."""
        before = self._true_pct
        if emptied is not None:
            self._marked = [] if self._marked is None else self._marked
            if emptied and not self._was_emptied:
                self._marked.append(Emptied(at_ms, before, true_pct))
            self._was_emptied = emptied
        if true_pct is not None:
            if before is not None and before - true_pct >= COUNTED_PCT:
                self._dropped.append(Emptied(at_ms, before, true_pct))
            self._true_pct = true_pct

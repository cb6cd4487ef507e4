"""How well container readings are judged: series with their truth, by the gateway's own filter.

    python bench/bins.py [--units 120] [--days 90] [--seed 1000] [--all]

Seeds from 0 to 999 are for training, what is printed comes from others. Every unit has a fixed
false distance, spikes, silent and missing uplinks, as measured in the field (`BinRanges`); with
``--all`` hanging bags and containers emptied half come on top. An error is that of the published
level against the surface under the sensor, at every reading that arrived, in points of 100.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from stoep_gateway.assets.geometry import fill_pct
from stoep_gateway.insight import echoes, filling
from stoep_gateway.insight.readings import DOUBTED
from stoep_hardware.labelled import BinRanges, BinSeries, bin_series

HOUR_MS = 3_600_000
COUNTED_PCT = 20.0  # an emptying of fewer points need not be told from settling
LATE_MS = 36 * HOUR_MS  # uplinks are missing in runs, and false echoes hide an emptying
FIELD = BinRanges(false_unit_share=1.0, hanging_per_day=(0.0, 0.0), half_share=0.0)
EVERYTHING = BinRanges(false_unit_share=1.0)


@dataclass
class Score:
    """Sums over the units."""

    readings: int = 0
    error_pct: float = 0.0
    raw_error_pct: float = 0.0
    good: int = 0
    rejected: int = 0
    emptyings: int = 0
    found: int = 0
    false: int = 0
    missed: list[int] = field(default_factory=list)

    def mae(self) -> float:
        """Return the mean absolute error in points."""
        return self.error_pct / self.readings

    def raw_mae(self) -> float:
        """Return that of the readings as they came."""
        return self.raw_error_pct / self.readings

    def false_reject_pct(self) -> float:
        """Return how many of 100 good readings were rejected."""
        return 100 * self.rejected / self.good

    def recall(self) -> float:
        """Return the share of emptyings that were found."""
        return self.found / self.emptyings

    def precision(self) -> float:
        """Return the share of those found that were emptyings."""
        return self.found / (self.found + self.false)


def score(series: BinSeries, total: Score) -> None:
    """Run one unit through the filter and add up what came of it."""
    depth_mm, full_mm = series.depth_mm, series.full_mm
    echo, track, level_pct = None, None, None
    told: list[int] = []
    for sample in series.samples:
        distance_mm = sample.distance_mm
        if distance_mm is not None and (echo is None or distance_mm <= depth_mm + depth_mm // 10):
            echo, verdict = echoes.advance(echo, sample.at_ms, distance_mm, depth_mm)
            level_pct = fill_pct(verdict.distance_mm, depth_mm, full_mm)
            if sample.label == "good":
                total.good += 1
                total.rejected += verdict.quality <= DOUBTED
            if verdict.believed and track is None:
                track = filling.start(sample.at_ms, level_pct)
            elif verdict.believed and verdict.undone:
                track = filling.correct(track, sample.at_ms, level_pct)
            elif verdict.believed:
                track, emptying = filling.advance(track, sample.at_ms, level_pct)
                told += [] if emptying is None else [emptying.at_ms]
        if level_pct is not None and distance_mm is not None:
            raw_pct = fill_pct(distance_mm, depth_mm, full_mm)
            total.readings += 1
            total.error_pct += abs(level_pct - sample.true_pct)
            total.raw_error_pct += abs(raw_pct - sample.true_pct)
    _match(series, told, total)


def _match(series: BinSeries, told: list[int], total: Score) -> None:
    begin_ms, end_ms = series.samples[0].at_ms, series.samples[-1].at_ms
    due = [
        at_ms
        for at_ms, before_pct, after_pct in series.emptyings
        if before_pct - after_pct >= COUNTED_PCT
        and begin_ms + 24 * HOUR_MS < at_ms < end_ms - LATE_MS
    ]
    total.emptyings += len(due)
    for at_ms in told:
        found = [it for it in due if -HOUR_MS <= at_ms - it <= LATE_MS]
        if found:
            due.remove(found[0])
            total.found += 1
        elif not any(abs(at_ms - it) <= LATE_MS for it, _, _ in series.emptyings):
            total.false += 1
    total.missed += due


def run(units: int, days: int, seed: int, ranges: BinRanges) -> Score:
    """Score that many units from a seed on."""
    total = Score()
    for unit in range(seed, seed + units):
        score(bin_series(unit, days, ranges), total)
    return total


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=120)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--all", action="store_true", help="every failure, not only the measured")
    options = parser.parse_args()
    ranges = EVERYTHING if options.all else FIELD
    total = run(options.units, options.days, options.seed, ranges)
    print(f"bins_raw_mae_pp {total.raw_mae():.2f} points")
    print(f"bins_mae_pp {total.mae():.2f} points")
    print(f"bins_false_reject_pct {total.false_reject_pct():.2f} %")
    print(f"bins_emptying_recall {total.recall():.4f} of {total.emptyings}")
    print(f"bins_emptying_precision {total.precision():.4f} of {total.found + total.false}")


if __name__ == "__main__":
    main()

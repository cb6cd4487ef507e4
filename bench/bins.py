"""How well container readings are judged: series with their truth, by the gateway's own filter.

    python bench/bins.py [--units 120] [--days 90] [--seed 1000] [--all]

Seeds from 0 to 999 are for training, what is printed comes from others. Every unit has a fixed
false distance, spikes, silent and missing uplinks, as measured in the field (`BinRanges`); with
``--all`` hanging bags and containers emptied half come on top. An error is that of the published
level against the surface under the sensor, at every reading that arrived, in points of 100.
"""

from __future__ import annotations

import argparse

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.evaluation.judging import BinUnit
from stoep_gateway.evaluation.scores import BinScore, Emptied
from stoep_hardware.labelled import BinRanges, BinSeries, bin_series

FIELD = BinRanges(false_unit_share=1.0, hanging_per_day=(0.0, 0.0), half_share=0.0)
EVERYTHING = BinRanges(false_unit_share=1.0)


def score(series: BinSeries) -> BinScore:
    """Run one unit through the filter and return what came of it."""
    inside = Inside(series.depth_mm, series.full_mm)
    unit = BinUnit(inside, [Emptied(*it) for it in series.emptyings])
    for it in series.samples:
        unit.take(it.at_ms, it.distance_mm, it.true_pct, good=it.label == "good")
    return unit.score()


def run(units: int, days: int, seed: int, ranges: BinRanges) -> BinScore:
    """Score that many units from a seed on."""
    total = BinScore()
    for unit in range(seed, seed + units):
        total.add(score(bin_series(unit, days, ranges)))
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

"""How well levels are forecast, against what needs no forecast.

    python bench/forecast.py [--units 60] [--days 84] [--seed 1000]

Made-up containers (`BinRanges`: weekdays of their own, deposits one by one, false echoes, missing
uplinks), as the gateway's filter sees them, each in the mean of kinds with the others; seeds from 0
to 999 are for training, what is printed comes from others. The first four weeks are for learning.
"""

from __future__ import annotations

import argparse
from datetime import UTC

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.evaluation.baselines import NAMES
from stoep_gateway.evaluation.forecasting import OURS, DistanceUnit, ForecastScore
from stoep_gateway.forecast.calendar import Calendar
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.kind import Kind
from stoep_hardware.labelled import BinRanges, bin_series


def simulated(units: int, days: int, seed: int, ranges: BinRanges | None = None) -> ForecastScore:
    """Score that many made-up containers of one kind, hour by hour."""
    kind = Kind(Calendar(UTC))
    readings = []
    for unit in range(seed, seed + units):
        series = bin_series(unit, days, ranges)
        one = DistanceUnit(Inside(series.depth_mm, series.full_mm), History(kind))
        readings += [(it.at_ms, unit, one, it) for it in series.samples]
    scored = {unit: one for _, unit, one, _ in readings}
    for _, _, one, it in sorted(readings, key=lambda it: it[:2]):
        one.take(it.at_ms, it.distance_mm, it.true_pct)
    total = ForecastScore()
    for one in scored.values():
        total.add(one.score)
    return total


def report(prefix: str, score: ForecastScore) -> None:
    """Print the figures of a score."""
    for name in (OURS, *NAMES):
        print(f"{prefix}_{name}_24h_mae {score.level[name].value():.2f} points")
    for name in (OURS, *NAMES):
        print(f"{prefix}_{name}_hours_to_80_mae {score.hours[name].value():.1f} h")
    for horizon, mean in score.inside.items():
        print(f"{prefix}_interval_{horizon} {100 * mean.value():.1f} %")
        print(f"{prefix}_interval_{horizon}_width {score.width[horizon].value():.1f} points")
    precision, recall = score.rule()
    print(f"{prefix}_rule_65_precision {precision:.3f} of {score.called.total()}")
    print(f"{prefix}_rule_65_recall {recall:.3f}")
    print(f"{prefix}_{OURS}_precision_at_that_recall {score.precision_at(recall):.3f}")
    precision, recall = score.forecast()
    print(f"{prefix}_{OURS}_precision {precision:.3f}")
    print(f"{prefix}_{OURS}_recall {recall:.3f}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=60)
    parser.add_argument("--days", type=int, default=84)
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    report("sim", simulated(options.units, options.days, options.seed))


if __name__ == "__main__":
    main()

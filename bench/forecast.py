"""How well levels are forecast, against what needs no forecast.

    python bench/forecast.py [--units 60] [--days 84] [--seed 1000]

- sim: made-up containers (`BinRanges`: weekdays of their own, deposits one by one, false echoes,
  missing uplinks) as the gateway's filter sees them; seeds from 0 to 999 are for training, what is
  printed comes from others. An error is that of the true level.
- edinburgh: a log of collections, how full each bin was found; nothing else is known of it.
- blantyre: what people noted of skips, in five steps. There is no aim for it.

All containers of one are of one kind, in the order of time. Four weeks, or three collections after
the first, are for learning. ``interval`` is how many of 100 levels as the gateway will publish them
were in the 90 % interval; ``unsure`` are chances of 10 to 90 % that it would be at 80 % a day
later: their mean, and how often it was.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.evaluation.baselines import NAMES
from stoep_gateway.evaluation.forecasting import (
    OURS,
    CollectionUnit,
    DistanceUnit,
    ForecastScore,
    LevelUnit,
    Mean,
)
from stoep_gateway.forecast.calendar import Calendar
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.kind import Kind
from stoep_hardware import blantyre
from stoep_hardware.labelled import BinRanges, bin_series

EDINBURGH = Path(__file__).parent / "data" / "edinburgh" / "collections.csv.gz"


def simulated(units: int, days: int, seed: int, ranges: BinRanges | None = None) -> ForecastScore:
    """Score that many made-up containers."""
    kind = Kind(Calendar(UTC))
    readings, scored = [], []
    for number in range(units):
        series = bin_series(seed + number, days, ranges)
        scored.append(DistanceUnit(Inside(series.depth_mm, series.full_mm), History(kind)))
        readings += [(it.at_ms, number, it) for it in series.samples]
    for at_ms, number, it in sorted(readings, key=lambda it: it[:2]):
        scored[number].take(at_ms, it.distance_mm, it.true_pct)
    return _sum(it.score for it in scored)


def edinburgh() -> ForecastScore:
    """Score the collections of Edinburgh."""
    kind = Kind(Calendar(ZoneInfo("Europe/London")))
    scored: dict[str, CollectionUnit] = {}
    with gzip.open(EDINBURGH) as file:
        for row in csv.DictReader(io.TextIOWrapper(file)):
            unit = scored.setdefault(row["device"], CollectionUnit(History(kind)))
            at = datetime.fromisoformat(row["time_utc"])
            unit.take(round(at.timestamp() * 1000), float(row["level_pct"]))
    return _sum(it.score for it in scored.values())


def skips() -> ForecastScore:
    """Score the visits to Blantyre's skips, each at noon."""
    zone = ZoneInfo(blantyre.TIMEZONE)
    kind = Kind(Calendar(zone))
    visits, scored = [], []
    for number, skip in enumerate(blantyre.skips()):
        scored.append(LevelUnit(History(kind)))
        visits += [(day, number, share) for day, share in skip.visits]
    for day, number, share in sorted(visits):
        at = datetime.combine(day, time(12), tzinfo=zone)
        scored[number].take_level(round(at.timestamp() * 1000), 100 * share)
    return _sum(it.score for it in scored)


def _sum(scores) -> ForecastScore:
    total = ForecastScore()
    for score in scores:
        total.add(score)
    return total


def _print(name: str, number: float | None, unit: str, digits: int = 2) -> None:
    if number is not None:
        print(f"forecast_{name} {number:.{digits}f} {unit}")


def report(prefix: str, score: ForecastScore) -> None:
    """Print the figures of a score."""
    for name in (OURS, *NAMES):
        _print(f"{prefix}_{name}_24h_mae", score.level.get(name, Mean()).value(), "points")
    for name in (OURS, *NAMES):
        _print(f"{prefix}_{name}_hours_to_80_mae", score.hours.get(name, Mean()).value(), "h", 1)
    for name, mean in score.found.items():
        _print(f"{prefix}_{name}_mae", mean.value(), "points")
    for horizon, mean in score.inside.items():
        _print(f"{prefix}_interval_{horizon}", 100 * mean.sum / mean.count, "%", 1)
        _print(f"{prefix}_interval_{horizon}_width", score.width[horizon].value(), "points", 1)
    if (honest := score.honesty()) is not None:
        _print(f"{prefix}_unsure_said", honest[0], "%", 1)
        _print(f"{prefix}_unsure_was", honest[1], "%", 1)
    precision, recall = score.rule()
    of = f"of {sum(count for (_, was), count in score.called.items() if was)}"
    _print(f"{prefix}_rule_65_precision", precision, of, 3)
    _print(f"{prefix}_rule_65_recall", recall, of, 3)
    if recall is not None:
        same = score.precision_at(recall)
        _print(f"{prefix}_{OURS}_precision_at_that_recall", same, of, 3)
    precision, recall = score.forecast()
    _print(f"{prefix}_{OURS}_precision", precision, of, 3)
    _print(f"{prefix}_{OURS}_recall", recall, of, 3)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=60)
    parser.add_argument("--days", type=int, default=84)
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    report("sim", simulated(options.units, options.days, options.seed))
    report("edinburgh", edinburgh())
    report("blantyre", skips())


if __name__ == "__main__":
    main()

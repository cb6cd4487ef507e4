"""What the planner's choice of containers costs, against fixed schedules and simple rules.

    python bench/waste_plan.py [--containers 200] [--days 30] [--seeds 101-104] [--iterations 160]
    python bench/waste_plan.py --risks [--seeds 1-2]

Made-up towns, as `stoep sim waste` makes them; seeds from 1 to 99 are for training, what is printed
comes from others. The tuned schedule has the risk of overflow that costs least on training seeds:
``--risks`` prints what each costs. ``waste_…_vs_tuned`` and ``_vs_perfect`` are ours by theirs; an
overflow is a container that is full at some time of a day. Searches are limited by iterations, so
that the same seeds give the same figures on any machine.
"""

from __future__ import annotations

import argparse
import sys

from stoep_gateway.backtest import cli, comparison
from stoep_gateway.backtest.comparison import Figures

LEARNING_DAYS = 28
RISK = 0.05
RISKS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
NAMES = tuple(it for it in comparison.NAMES if it != comparison.SCHEDULE)


def compared(
    seeds: list[int],
    containers: int,
    days: int,
    iterations: int,
    names: tuple[str, ...] = NAMES,
    risk: float = RISK,
) -> dict[str, Figures]:
    """Return the means over towns by policy's name."""
    trial = cli.Trial(containers, names, LEARNING_DAYS, days, risk, iterations)
    found = cli.of_towns(trial, seeds)
    return dict(zip(names, map(comparison.figures, found), strict=True))


def main() -> None:
    """Print a line per figure, and the table of all policies to standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=200)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seeds", type=cli.seeds, default=None)
    parser.add_argument("--iterations", type=int, default=160)
    parser.add_argument("--risks", action="store_true", help="of the tuned schedule, on training")
    given = parser.parse_args()
    size = given.containers, given.days, given.iterations
    if given.risks:
        for risk in RISKS:
            row = compared(given.seeds or [1, 2], *size, ("tuned",), risk)["tuned"]
            _print(f"waste_tuned_at_{round(100 * risk)}_cost", row.eur, "€", 0)
        return
    rows = compared(given.seeds or [101, 102, 103, 104], *size)
    print("\n".join(comparison.table(list(rows.values()))), file=sys.stderr)
    ours, tuned, perfect = rows["ours"], rows["tuned"], rows["perfect"]
    _print("waste_cost_vs_tuned", ours.eur / tuned.eur, "ratio", 3)
    _print("waste_cost_vs_perfect", ours.eur / perfect.eur, "ratio", 3)
    _print("waste_overflow_vs_tuned", ours.overflow_days / max(tuned.overflow_days, 1), "ratio", 3)
    _print("waste_km_vs_tuned", ours.km / tuned.km, "ratio", 3)
    for name, row in rows.items():
        prefix = f"waste_{name.replace('-', '_')}"
        _print(f"{prefix}_cost", row.eur, "€", 0)
        _print(f"{prefix}_overflow", row.overflow_days, "days", 1)
        _print(f"{prefix}_km", row.km, "km", 0)
        _print(f"{prefix}_emptyings", row.emptyings, "emptyings", 0)


def _print(name: str, value: float, unit: str, digits: int) -> None:
    print(f"{name} {value:.{digits}f} {unit}", flush=True)


if __name__ == "__main__":
    main()

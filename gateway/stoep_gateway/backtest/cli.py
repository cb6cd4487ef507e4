"""The command ``stoep sim waste``: policies side by side, over made-up towns or your own levels."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

from stoep_gateway import config as configuration
from stoep_gateway import recorded_levels
from stoep_gateway.assets.schedules import schedules
from stoep_gateway.backtest import comparison, town
from stoep_gateway.backtest.replay import Outcome
from stoep_gateway.backtest.waste import Waste, from_levels
from stoep_gateway.config import Config
from stoep_gateway.errors import ConfigError, FatalError, Mistake
from stoep_gateway.forecast.calendar import DAY_MS

__all__ = ["Trial", "main", "of_towns", "seeds"]

_LEAST_DAYS = 7
_MOST_SEEDS = 1000


def main(arguments: Sequence[str]) -> int:
    """Run ``stoep sim``; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _waste(options)
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoep sim", description="Simulations of a town.")
    actions = parser.add_subparsers(dest="action", required=True)
    waste = actions.add_parser(
        "waste",
        help="what ways of choosing containers cost, side by side",
        description=(
            "Empties the same containers for weeks as cities do, by simple rules, as the planner of"
            " stoep does, and as it would if it knew what comes. Sensors err and fall silent as in"
            " the field. With --config and --levels it is your town and what it recorded."
        ),
    )
    waste.add_argument("--containers", type=_count, default=100, help="of a made-up town (100)")
    waste.add_argument("--seeds", type=seeds, default=[1], help="made-up towns, as 1 or 1-4 (1)")
    waste.add_argument("--days", type=_count, default=28, help="that are counted (28)")
    waste.add_argument("--learning", type=_count, default=28, help="days before them (28)")
    waste.add_argument(
        "--policies",
        type=_names,
        default=list(comparison.NAMES),
        help=f"any of {', '.join(comparison.NAMES)} and other thresholds in percent",
    )
    waste.add_argument(
        "--risk", type=_percent, default=0.05, help="of the tuned schedule, in percent (5)"
    )
    waste.add_argument("--iterations", type=_count, default=160, help="of each search (160)")
    waste.add_argument("--config", type=Path, help="your stoep.toml")
    waste.add_argument(
        "--levels", type=Path, help="a CSV of container, time_utc and fill_pct, as exported"
    )
    waste.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return int(text)


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 50:
        raise argparse.ArgumentTypeError(f"{text!r} is not a risk between 0 and 50 percent")
    return value / 100


def seeds(text: str) -> list[int]:
    """Return the numbers that "3" or "1-4" means, for argparse."""
    first, dash, last = text.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()):
        raise argparse.ArgumentTypeError("seeds are written 1 or 1-4")
    numbers = range(int(first), int(last or first) + 1)
    if not 0 < len(numbers) <= _MOST_SEEDS:
        raise argparse.ArgumentTypeError(f"seeds are 1 to {_MOST_SEEDS}, the smaller one first")
    return list(numbers)


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in comparison.NAMES and not (name.isdigit() and 0 < int(name) <= 100):
            raise argparse.ArgumentTypeError(
                f"{name!r} is none of {', '.join(comparison.NAMES)} nor a threshold in percent"
            )
    return names


def _waste(options: argparse.Namespace) -> int:
    if (options.config is None) != (options.levels is None):
        raise FatalError("--config and --levels belong together")
    if options.config is not None:
        found = _of_levels(options)
    else:
        trial = Trial(
            options.containers,
            options.policies,
            options.learning,
            options.days,
            options.risk,
            options.iterations,
        )
        found = of_towns(trial, options.seeds)
    if not found:
        raise FatalError("no container has days on which it is emptied: emptied_on or every_days")
    rows = [comparison.figures(it) for it in found]
    if options.json:
        print(json.dumps([asdict(it) for it in rows]))
    else:
        print("\n".join(comparison.table(rows)))
    return 0


class Trial(NamedTuple):
    """Which policies, in towns of how many containers, for how many days."""

    containers: int
    policies: Sequence[str]
    learning_days: int
    days: int
    risk: float
    iterations: int


def of_towns(trial: Trial, seeds: Sequence[int]) -> list[list[Outcome]]:
    """Return what each policy comes to in made-up towns."""
    with ProcessPoolExecutor() as workers:
        towns = workers.map(partial(_of_town, trial), seeds)
        return [list(it) for it in zip(*towns, strict=True)]


def _of_town(it: Trial, seed: int) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stoep.toml"
        path.write_text(town.config_text(seed, it.containers), encoding="utf-8")
        config = _searching(configuration.load(path), it.iterations)
    names = [container.id for container in config.containers]
    waste = town.waste(seed, names, it.learning_days + it.days + 2)
    return list(
        comparison.compare(config, waste, it.policies, it.learning_days, it.days, seed, it.risk)
    )


def _searching(config: Config, iterations: int) -> Config:
    planning = config.planning.model_copy(update={"iterations": iterations, "solve_s": None})
    return config.model_copy(update={"planning": planning})


def _of_levels(options: argparse.Namespace) -> list[list[Outcome]]:
    config = _searching(configuration.load(options.config), options.iterations)
    if not config.trucks:
        raise ConfigError([Mistake(str(options.config), 0, "a round needs at least one [[truck]]")])
    waste = _recorded(options.levels, {it.id for it in config.containers})
    config = config.model_copy(
        update={"containers": tuple(it for it in config.containers if it.id in waste.came)}
    )
    known_days = min(len(it) for it in waste.came.values()) // 24
    unscheduled = len(config.containers) - len(schedules(config))
    if comparison.SCHEDULE in options.policies and 0 < unscheduled < len(config.containers):
        print(
            f"as now: {unscheduled} containers have no days, and are never emptied", file=sys.stderr
        )
    days = min(options.days, known_days - options.learning - 1)
    if days < min(_LEAST_DAYS, options.days):
        raise FatalError(
            f"{options.levels}: {known_days} days are too few for {options.learning} of learning"
            f" and {_LEAST_DAYS} that are counted"
        )
    compared = comparison.compare(
        config, waste, options.policies, options.learning, days, 0, options.risk
    )
    return [[it] for it in compared]


def _recorded(path: Path, names: set[str]) -> Waste:
    """Read levels. Raises `FatalError`; rows that cannot be used are told, and skipped."""
    levels, bad = recorded_levels.read(path, names)
    for words in bad:
        print(words, file=sys.stderr)
    usable = {name: of for name, of in levels.items() if of[-1][0] - of[0][0] > DAY_MS}
    if not usable:
        raise FatalError(f"{path}: has levels of none of the configured containers")
    return from_levels(usable)

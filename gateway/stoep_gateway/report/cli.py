"""The command ``stoep report``: what a month was, and whether it paid."""

from __future__ import annotations

import argparse
import datetime
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stoep_gateway import config as configuration
from stoep_gateway import config_path
from stoep_gateway.assets.schedules import schedules
from stoep_gateway.config import Config
from stoep_gateway.errors import FatalError
from stoep_gateway.forecast.calendar import DAY_MS
from stoep_gateway.keeping.files import replacing
from stoep_gateway.report import drive, making, periods, reading, table
from stoep_gateway.report.facts import Heard
from stoep_gateway.report.making import Report
from stoep_gateway.report.page import page
from stoep_gateway.report.periods import Period
from stoep_gateway.report.text import for_people
from stoep_gateway.report.words import LANGUAGES, Words

__all__ = ["main"]


def main(arguments: Sequence[str], now_ms: int | None = None) -> int:
    """Run ``stoep report``; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if now_ms is None:
            now_ms = round(datetime.datetime.now(datetime.UTC).timestamp() * 1000)
        return _month(options, now_ms)
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoep report", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    month = actions.add_parser(
        "month",
        help="a month's emptyings, overflow, kilometres and euros, and whether it paid",
        description=(
            "Counts a month by what sensors, logs and drivers told, and holds it against the city's"
            " own schedule of the configuration, or against months before."
        ),
    )
    month.add_argument(
        "month",
        nargs="?",
        metavar="2026-10",
        help="or 2026-09..2026-10; else the last that is over",
    )
    month.add_argument("--config", type=Path, help=config_path.HELP)
    against = month.add_mutually_exclusive_group()
    against.add_argument("--before", metavar="2026-06..2026-08", help="compare with these months")
    against.add_argument(
        "--schedule",
        action="store_true",
        help="compare with the city's own schedule (emptied_on, every_days); the default",
    )
    month.add_argument(
        "--levels",
        type=Path,
        metavar="FILE",
        help="a CSV of container, time_utc and fill_pct in place of what the gateway stored",
    )
    month.add_argument(
        "--collections",
        type=Path,
        metavar="FILE",
        help="a log of emptyings (CSV, as for stoep collections import) that tells of them besides"
        " --levels",
    )
    month.add_argument(
        "--monthly-cost",
        type=_euros,
        default=0.0,
        metavar="EUR",
        help="of sensors, gateway and connection: is taken off what was saved",
    )
    month.add_argument("--csv", type=Path, metavar="FILE", help="write all figures as a table")
    month.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")
    month.add_argument("--language", choices=LANGUAGES, default="en", help="of the page (en)")
    month.add_argument("--force", action="store_true", help="replace files that are there")
    return parser


def _euros(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of euros")
    return value


def _month(options: argparse.Namespace, now_ms: int) -> int:
    for target in filter(None, (options.csv, options.html)):
        if target.exists() and not options.force:
            raise FatalError(f"{target}: is there already; --force replaces it")
    if options.collections is not None and options.levels is None:
        raise FatalError("--collections goes with --levels; else: stoep collections import")
    config = configuration.load(config_path.named(options.config))
    period = _period(config, options.month, now_ms)
    before = None if options.before is None else _period(config, options.before, now_ms)
    if before is not None and before.last >= period.first:
        raise FatalError(f"--before {before.name} is not before {period.name}")
    own = None if before is not None else schedules(config) or None
    if options.schedule and own is None:
        raise FatalError(
            f"{config.path}: no container has a schedule: say emptied_on or every_days of them, or"
            " of their [[kind]]"
        )
    heard = _heard(options, config, before or period, period, now_ms)
    report = making.make(
        config,
        heard,
        period,
        drive.router(config),
        before=before,
        schedule=own,
        running_eur_per_month=options.monthly_cost,
    )
    words = Words(options.language)
    _write(options.csv, table.csv_text, report)
    _write(options.html, lambda it: page(it, words), report)
    print(for_people(report, words))
    return 0


def _period(config: Config, text: str | None, now_ms: int) -> Period:
    try:
        period = (
            periods.month_before(now_ms, config.timezone)
            if text is None
            else periods.parse(text, config.timezone)
        )
    except ValueError as error:
        raise FatalError(str(error)) from None
    cut = period.until(now_ms)
    if cut is None:
        raise FatalError(f"{period.name}: no day of it is over")
    return cut


def _heard(
    options: argparse.Namespace, config: Config, first: Period, last: Period, now_ms: int
) -> Heard:
    if options.levels is None:
        from_ms = min(first.from_ms, last.from_ms - making.WARM_UP_DAYS * DAY_MS)
        return reading.stored(config, from_ms, last.to_ms)
    heard, bad = reading.of_files(config, options.levels, options.collections, now_ms)
    for words in bad:
        print(words, file=sys.stderr)
    return heard


def _write(target: Path | None, text_of: Callable[[Report], str], report: Report) -> None:
    if target is None:
        return
    text = text_of(report)
    try:
        with replacing(target) as file:
            file.write(text.encode())
    except OSError as error:
        raise FatalError(f"{error.filename or target}: {error.strerror}") from None
    print(f"{target}: written", file=sys.stderr)

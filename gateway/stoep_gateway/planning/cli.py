"""The command ``stoep plan``: the round as the gateway would plan it, and what people decide."""

from __future__ import annotations

import argparse
import base64
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stoep_gateway import config as configuration
from stoep_gateway import control_client, recorded_levels
from stoep_gateway.assets import states
from stoep_gateway.assets.geometry import FILL_MAX_PCT
from stoep_gateway.assets.occasions import calendar
from stoep_gateway.assets.states import AssetState, ContainerState
from stoep_gateway.config import Config
from stoep_gateway.config_reader import did_you_mean
from stoep_gateway.control_client import GatewayAway
from stoep_gateway.errors import ConfigError, FatalError, Mistake
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.planning import apart, decide_cli, knowing, planner, recorded, solve_command
from stoep_gateway.planning.files import FORMATS, formats
from stoep_gateway.planning.files import command as files
from stoep_gateway.planning.selection import Known
from stoep_gateway.planning.text import for_people
from stoep_gateway.store.latest import read_forecasts, read_latest

__all__ = ["main"]


class _Level(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    fill_pct: float = Field(ge=0, le=FILL_MAX_PCT)
    rate_pct_per_day: float | None = Field(default=None, ge=0, le=2400)
    age_h: float = Field(default=0, ge=0, le=87_600)


class _Levels(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    containers: dict[str, _Level]


def main(arguments: Sequence[str]) -> int:
    """Run ``stoep plan``; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.action in decide_cli.ACTIONS:
            return decide_cli.run(options)
        if options.action == "solve":
            return solve_command.run(options)
        return files.run(options) if options.action == "files" else _show(options)
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except GatewayAway as error:
        hint = "; without a gateway, say --config" if options.action in ("show", "files") else ""
        print(f"{error}{hint}", file=sys.stderr)
        return GatewayAway.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoep plan", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    show = actions.add_parser(
        "show",
        help="plan now and print the round; nothing is published",
        epilog='FILE: {"containers": {"ID": {"fill_pct": 85, "rate_pct_per_day": 12, "age_h": 1}}}',
    )
    show.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="levels (JSON); else the gateway's own"
    )
    show.add_argument(
        "--levels",
        type=Path,
        metavar="CSV",
        help="or levels that were recorded until then: container, time_utc, fill_pct",
    )
    which = show.add_mutually_exclusive_group()
    which.add_argument(
        "--config", type=Path, help="plan here, with this stoep.toml and the levels in its store"
    )
    which.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help=f"else the running gateway's control socket (default: {control_client.DEFAULT_PATH})",
    )
    show.add_argument(
        "--at", type=decide_cli.utc_ms, help="plan for this time, e.g. 2026-01-31T06:00Z"
    )
    show.add_argument(
        "--format",
        choices=("text", "json", *FORMATS),
        default="text",
        help="json: the messages of the rounds; html and pdf: sheets to print (default: text)",
    )
    show.add_argument("--json", dest="format", action="store_const", const="json")
    files.add_language(show)
    files.add(actions)
    decide_cli.add(actions)
    solve_command.add(actions)
    return parser


def _show(options: argparse.Namespace) -> int:
    if options.config is None:
        return _asked(options)
    config = configuration.load(options.config)
    if not config.trucks:
        raise ConfigError([Mistake(str(options.config), 0, "a round needs at least one [[truck]]")])
    now = datetime.datetime.now(datetime.UTC)
    now_ms: int = round(now.timestamp() * 1000) if options.at is None else options.at
    if options.levels is not None and options.file is not None:
        raise FatalError("levels are from a FILE or from --levels, not from both")
    if options.levels is not None:
        known = _recorded(options.levels, config, now_ms)
    elif options.file is not None:
        known = knowing.known(_from_file(options.file, config, now_ms), config, now_ms)
    else:
        forecasts = Forecasts(calendar(config), read_forecasts(config.store.path))
        known = knowing.known(_stored(config), config, now_ms, forecasts)
    try:
        plan = planner.plan(known, config, now_ms, answer=apart.answer)
    except RuntimeError as error:
        raise FatalError(str(error)) from error
    if options.format in FORMATS:
        try:
            return _write(formats.document(plan, config, options.format, options.language), options)
        except RuntimeError as error:
            raise FatalError(str(error)) from None
    messages = [message.payload.decode() for message in planner.outputs(plan)]
    print("\n".join(messages) if options.format == "json" else for_people(plan, config))
    return 0


def _write(document: bytes, options: argparse.Namespace) -> int:
    if options.format == "pdf" and sys.stdout.isatty():
        raise FatalError("a PDF belongs in a file: stoep plan show --format pdf > rounds.pdf")
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()
    return 0


def _asked(options: argparse.Namespace) -> int:
    """Show the round that the running gateway plans, with its own configuration."""
    if options.file is not None or options.levels is not None:
        raise FatalError("a round from a file of levels needs --config")
    form = options.format if options.format in FORMATS else None
    with control_client.connect(options) as client:
        answer = client.ask(
            "plan.show", at_utc_ms=options.at, format=form, language=options.language
        )
    if "error" in answer:
        raise FatalError(answer["error"])
    if form is not None:
        return _write(base64.b64decode(answer["document"]), options)
    print("\n".join(answer["messages"]) if options.format == "json" else answer["text"])
    return 0


def _recorded(path: Path, config: Config, now_ms: int) -> dict[str, Known]:
    levels, bad = recorded_levels.read(path, {it.id for it in config.containers})
    for words in bad:
        print(words, file=sys.stderr)
    if not levels:
        raise FatalError(f"{path}: has levels of none of the configured containers")
    return recorded.known(levels, config, now_ms)


def _stored(config: Config) -> dict[str, AssetState]:
    known = {}
    for row in read_latest(config.store.path):
        try:
            known[row.asset] = states.loads(row.asset, row.state)
        except ValueError as error:
            raise FatalError(f"{config.store.path}: {error}") from None
    return known


def _from_file(path: Path, config: Config, now_ms: int) -> dict[str, AssetState]:
    try:
        levels = _Levels.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError([Mistake(str(path), 0, f"cannot be read: {error.strerror}")]) from None
    except ValidationError as error:
        raise ConfigError(
            [
                Mistake(str(path), 0, f"{'.'.join(map(str, it['loc'])) or 'JSON'}: {it['msg']}")
                for it in error.errors(include_url=False)
            ]
        ) from None
    ids = {container.id for container in config.containers}
    mistakes = [
        Mistake(str(path), 0, f'"{name}" is not a container{did_you_mean(name, ids)}')
        for name in levels.containers
        if name not in ids
    ]
    if mistakes:
        raise ConfigError(mistakes)
    return {f"container/{name}": _state(level, now_ms) for name, level in levels.containers.items()}


def _state(level: _Level, now_ms: int) -> ContainerState:
    at_ms = now_ms - round(level.age_h * 3_600_000)
    rate = None if level.rate_pct_per_day is None else level.rate_pct_per_day / 24
    track = FillTrack(at_ms, level.fill_pct, at_ms, level.fill_pct, rate_before=rate)
    return ContainerState(sequence=0, measured_ms=at_ms, quality=4, track=track)

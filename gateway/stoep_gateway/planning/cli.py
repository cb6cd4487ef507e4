"""The command ``stoep plan``: today's round as the gateway would plan it, for people or as JSON."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stoep_gateway import config as configuration
from stoep_gateway.assets import states
from stoep_gateway.assets.geometry import FILL_MAX_PCT
from stoep_gateway.assets.states import AssetState, ContainerState
from stoep_gateway.config import Config
from stoep_gateway.config_reader import did_you_mean
from stoep_gateway.errors import ConfigError, FatalError, Mistake
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.planning import planner
from stoep_gateway.planning.plan import LeftOut, Plan, Round
from stoep_gateway.store.latest import read_latest

__all__ = ["main"]

_SOURCES = {
    "table": "road distances",
    "estimate": "estimated distances",
    "mixed": "distances partly estimated",
}
_REASONS = {
    "overflow_risk": "full by the next round",
    "threshold": "at {threshold:g} % now",
    "expected": "at {threshold:g} % by the next round",
    "truck_full": "truck is full",
    "end_of_round": "end of the round",
    "shift_too_short": "the shift is too short",
    "larger_than_truck": "holds more than the truck",
    "below_threshold": "stays below {threshold:g} %",
    "no_data": "has sent no level yet",
}
_YEARS = (2000, 2999)
_STATUS = {
    "planned": "",
    "nothing_to_do": "nothing to do: no container is due",
    "not_needed": "not needed: other trucks do it all",
    "all_deferred": "no container could be taken, see below",
}


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
        return _show(options)
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stoep plan", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    show = actions.add_parser(
        "show",
        help="plan now and print the round; nothing is published",
        epilog='FILE: {"containers": {"ID": {"fill_pct": 85, "rate_pct_per_day": 12, "age_h": 1}}}',
    )
    show.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="levels (JSON); else from the store"
    )
    show.add_argument("--config", type=Path, required=True, help="stoep.toml")
    show.add_argument("--at", type=_time, help="plan for this time, e.g. 2026-01-31T06:00Z")
    show.add_argument("--json", action="store_true", help="print the messages of the rounds")
    return parser


def _time(text: str) -> int:
    """Return UTC milliseconds; a time without an offset is UTC."""
    try:
        parsed = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a time is written 2026-01-31T06:00Z") from None
    if not _YEARS[0] <= parsed.year <= _YEARS[1]:
        raise argparse.ArgumentTypeError("a time is of the years {} to {}".format(*_YEARS))
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.UTC)
    return round(parsed.timestamp() * 1000)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


def _show(options: argparse.Namespace) -> int:
    config = configuration.load(options.config)
    if not config.trucks:
        raise ConfigError([Mistake(str(options.config), 0, "a round needs at least one [[truck]]")])
    now_ms: int = _time(_now()) if options.at is None else options.at
    from_file = options.file is not None
    known = _from_file(options.file, config, now_ms) if from_file else _stored(config)
    plan = planner.plan(known, config, now_ms)
    if options.json:
        for message in planner.outputs(plan):
            print(message.payload.decode())
        return 0
    print("\n\n".join(_lines(plan, config)))
    return 0


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


def _lines(plan: Plan, config: Config) -> list[str]:
    """Return the plan as blocks of text."""
    blocks = [_round_lines(plan, truck_round, config) for truck_round in plan.rounds]
    if plan.deferred:
        blocks.append(_left_out_lines("Deferred", plan.deferred, plan))
    if plan.skipped:
        blocks.append(_left_out_lines("Not due", plan.skipped, plan))
    return blocks


def _round_lines(plan: Plan, truck_round: Round, config: Config) -> str:
    title = f"{plan.date}, {truck_round.truck}"
    if not truck_round.stops:
        return f"{title}: {_STATUS[truck_round.status]}"
    back = _clock(truck_round.return_utc, config)
    sums = (
        f"{truck_round.containers} container{'' if truck_round.containers == 1 else 's'},"
        f" {truck_round.volume_l} l, unloaded {truck_round.unloads} x, {truck_round.km:.1f} km,"
        f" {truck_round.hours:.1f} h ({_SOURCES[plan.distance_source]})"
    )
    lines = [
        f"{title}: {sums}",
        f"{'':>3}  {'at':5}  {'km':>6}  {'fill':>5}  {'load l':>6}  stop",
    ]
    for stop in truck_round.stops:
        fill = "" if stop.fill_pct is None else f"{stop.fill_pct:.0f} %"
        lines.append(
            f"{stop.sequence:>3}  {_clock(stop.eta_utc, config):5}  {stop.leg_km:>6.1f}"
            f"  {fill:>5}  {stop.load_after_l:>6}  {stop.name}: {_reason(stop.reason, plan)}"
        )
    lines.append(f"{'':>3}  {back:5}  {truck_round.return_km:>6.1f}  {'':>5}  {'0':>6}  back")
    return "\n".join(lines)


def _left_out_lines(title: str, left_out: Sequence[LeftOut], plan: Plan) -> str:
    lines = [f"{title}:"]
    for it in left_out:
        level = "" if it.fill_pct is None else f" ({it.fill_pct:.0f} %, {it.expected_pct:.0f} % by"
        level += " the next round)" if level else ""
        lines.append(f"  {it.container}: {_reason(it.reason, plan)}{level}")
    return "\n".join(lines)


def _reason(reason: str, plan: Plan) -> str:
    return _REASONS[reason].format(threshold=plan.threshold_pct)


def _clock(utc_text: str, config: Config) -> str:
    return datetime.datetime.fromisoformat(utc_text).astimezone(config.timezone).strftime("%H:%M")

"""A plan in words, for people. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from stoep_gateway.config import Config
from stoep_gateway.planning.plan import LeftOut, Plan, Round

__all__ = ["for_people"]

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
_STATUS = {
    "planned": "",
    "nothing_to_do": "nothing to do: no container is due",
    "not_needed": "not needed: other trucks do it all",
    "all_deferred": "no container could be taken, see below",
}


def for_people(plan: Plan, config: Config) -> str:
    """Return a plan as lines to read, in the site's own time."""
    blocks = [_round_lines(plan, truck_round, config) for truck_round in plan.rounds]
    if plan.deferred:
        blocks.append(_left_out_lines("Deferred", plan.deferred, plan))
    if plan.skipped:
        blocks.append(_left_out_lines("Not due", plan.skipped, plan))
    return "\n\n".join(blocks)


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

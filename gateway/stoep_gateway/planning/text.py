"""A plan in words, for people. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from stoep_gateway.config import Config
from stoep_gateway.planning.plan import LeftOut, Plan, Round, Stop

__all__ = ["for_people"]

_SOURCES = {
    "table": "road distances",
    "roads": "road distances",
    "osrm": "road distances",
    "estimate": "estimated distances",
    "mixed": "distances partly estimated",
}
_REASONS = {
    "manual": "as you said",
    "age": "too long since the last time",
    "overflow_risk": "would overflow",
    "on_the_way": "on the way",
    "truck_full": "truck is full",
    "end_of_round": "end of the round",
    "shift_too_short": "the shift is too short",
    "larger_than_truck": "holds more than the truck",
    "heavier_than_truck": "weighs more than the truck can take",
    "too_far": "too far for the truck",
    "window_missed": "nobody can be there at its hours",
    "no_truck": "no truck may empty it",
    "no_data": "has sent no level yet",
    "too_empty": "too empty",
    "not_worth_the_way": "not worth the way",
    "excluded": "excluded, as you said",
    "skipped": "skipped, as the driver said",
    "done": "done",
}
_STATUS = {
    "nothing_to_do": "nothing to do: no container is worth the way",
    "not_needed": "not needed: other trucks do it all",
    "all_deferred": "no container could be taken, see below",
    "out_of_service": "out of service",
}


def for_people(plan: Plan, config: Config) -> str:
    """Return a plan as lines to read, in the site's own time."""
    blocks = [_round_lines(plan, truck_round, config) for truck_round in plan.rounds]
    if plan.deferred:
        blocks.append(_left_out_lines("Deferred", plan.deferred))
    if plan.skipped:
        blocks.append(_left_out_lines("Not today", plan.skipped))
    if plan.notes:
        blocks.append("\n".join(["Of the distances:", *(f"  {it}" for it in plan.notes)]))
    return "\n\n".join(blocks)


def _round_lines(plan: Plan, truck_round: Round, config: Config) -> str:
    title = f"{plan.date}, {truck_round.truck}" + (" (provisional)" if plan.provisional else "")
    if not truck_round.stops:
        return f"{title}: {_STATUS[truck_round.status]}"
    back = _clock(truck_round.return_utc, config)
    sums = (
        f"{truck_round.containers} container{'' if truck_round.containers == 1 else 's'},"
        f" {truck_round.volume_l} l, unloaded {truck_round.unloads} x, {truck_round.km:.1f} km,"
        f" {truck_round.hours:.1f} h, {truck_round.eur:.2f} € ({_SOURCES[plan.distance_source]})"
    )
    lines = [
        f"{title}: {sums}",
        f"{'':>3}  {'at':5}  {'km':>6}  {'fill':>5}  {'load l':>6}  stop",
    ]
    for stop in truck_round.stops:
        fill = "" if stop.fill_pct is None else f"{stop.fill_pct:.0f} %"
        lines.append(
            f"{stop.sequence:>3}  {_clock(stop.eta_utc, config):5}  {stop.leg_km:>6.1f}"
            f"  {fill:>5}  {stop.load_after_l:>6}  {stop.name}: {_why(stop, config)}"
        )
    lines.append(f"{'':>3}  {back:5}  {truck_round.return_km:>6.1f}  {'':>5}  {'0':>6}  back")
    return "\n".join(lines)


def _left_out_lines(title: str, left_out: Sequence[LeftOut]) -> str:
    lines = [f"{title}:"]
    for it in left_out:
        line = f"  {it.container}: {_REASONS[it.reason]}"
        if it.fill_pct is not None and it.p_overflow is not None:
            line += f" ({it.fill_pct:.0f} %, overflows by the next round: {_percent(it.p_overflow)}"
            if it.reason == "not_worth_the_way" and it.detour_eur is not None:
                line += f"; worth {it.prize_eur:.2f} €, the way costs {it.detour_eur:.2f} €"
            line += f"{_doubt(it)})"
        lines.append(line)
    return "\n".join(lines)


def _why(stop: Stop, config: Config) -> str:
    if stop.status != "planned":
        at = "" if stop.done_utc is None else f" at {_clock(stop.done_utc, config)}"
        return f"{stop.status}{at}"
    if stop.p_overflow is None or stop.reason not in ("overflow_risk", "on_the_way"):
        return _REASONS[stop.reason]
    return f"{_REASONS[stop.reason]} ({_percent(stop.p_overflow)} by the next round{_doubt(stop)})"


def _doubt(of: Stop | LeftOut) -> str:
    """Return why hardly to rely on its level."""
    if of.doubt == "no_data" and of.data_age_h is not None:
        days = of.data_age_h / 24
        return f"; no level for {days:.0f} days" if days >= 2 else "; no level for over a day"
    return "; hardly a reading of it can be used" if of.doubt == "bad_data" else ""


def _percent(share: float) -> str:
    return "< 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _clock(utc_text: str, config: Config) -> str:
    return datetime.datetime.fromisoformat(utc_text).astimezone(config.timezone).strftime("%H:%M")

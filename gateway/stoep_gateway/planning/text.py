"""A plan in words, for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stoep_gateway.config import Config
from stoep_gateway.planning.files.words import Words
from stoep_gateway.planning.plan import LeftOut, Plan, Round, Stop

__all__ = ["for_people"]

# What is said otherwise than on paper: to whoever planned, or in less room.
_SHORT = {
    "manual": "as you said",
    "age": "too long since the last time",
    "overflow_risk": "would overflow",
    "on_the_way": "on the way",
    "excluded": "excluded, as you said",
    "skipped": "skipped, as the driver said",
    "done": "done",
    "all_deferred": "no container could be taken, see below",
}


def for_people(plan: Plan, config: Config) -> str:
    """Return a plan as lines to read, in the site's own time."""
    words = Words("en", config.timezone)
    blocks = [_round_lines(plan, truck_round, words) for truck_round in plan.rounds]
    if plan.deferred:
        blocks.append(_left_out_lines("Deferred", plan.deferred, words))
    if plan.skipped:
        blocks.append(_left_out_lines("Not today", plan.skipped, words))
    if plan.notes:
        blocks.append("\n".join(["Of the distances:", *(f"  {it}" for it in plan.notes)]))
    return "\n\n".join(blocks)


def _round_lines(plan: Plan, truck_round: Round, words: Words) -> str:
    title = f"{plan.date}, {truck_round.truck}" + (" (provisional)" if plan.provisional else "")
    status = _said(truck_round.status, words)
    if not truck_round.stops:
        return f"{title}: {status}"
    is_out = truck_round.status == "out_of_service"
    if is_out:
        title += f" ({status})"
    back = words.clock(truck_round.return_utc)
    distances = words(plan.distance_source).lower()
    sums = (
        f"{truck_round.containers} container{'' if truck_round.containers == 1 else 's'},"
        f" {truck_round.volume_l} l, unloaded {truck_round.unloads} x, {truck_round.km:.1f} km,"
        f" {truck_round.hours:.1f} h, {truck_round.eur:.2f} € ({distances})"
    )
    lines = [
        f"{title}: {sums}",
        f"{'':>3}  {'at':5}  {'km':>6}  {'fill':>5}  {'load l':>6}  stop",
    ]
    for stop in truck_round.stops:
        fill = "" if stop.fill_pct is None else f"{stop.fill_pct:.0f} %"
        lines.append(
            f"{stop.sequence:>3}  {words.clock(stop.eta_utc):5}  {stop.leg_km:>6.1f}"
            f"  {fill:>5}  {stop.load_after_l:>6}  {stop.name}: {_why(stop, words)}"
        )
    if not is_out:
        lines.append(f"{'':>3}  {back:5}  {truck_round.return_km:>6.1f}  {'':>5}  {'0':>6}  back")
    return "\n".join(lines)


def _left_out_lines(title: str, left_out: Sequence[LeftOut], words: Words) -> str:
    lines = [f"{title}:"]
    for it in left_out:
        line = f"  {it.container}: {_said(it.reason, words)}"
        if it.fill_pct is not None and it.p_overflow is not None:
            line += f" ({it.fill_pct:.0f} %, overflows by the next round: {_percent(it.p_overflow)}"
            if it.reason == "not_worth_the_way" and it.detour_eur is not None:
                line += f"; worth {it.prize_eur:.2f} €, the way costs {it.detour_eur:.2f} €"
            line += f"{_doubt(it)})"
        lines.append(line)
    return "\n".join(lines)


def _why(stop: Stop, words: Words) -> str:
    if stop.status != "planned":
        at = "" if stop.done_utc is None else f" at {words.clock(stop.done_utc)}"
        return f"{stop.status}{at}"
    why = _said(stop.reason, words)
    if stop.p_overflow is None or stop.reason not in ("overflow_risk", "on_the_way"):
        return why
    return f"{why} ({_percent(stop.p_overflow)} by the next round{_doubt(stop)})"


def _said(key: str, words: Words) -> str:
    return _SHORT.get(key) or words(key)


def _doubt(of: Stop | LeftOut) -> str:
    """Return why hardly to rely on its level."""
    if of.doubt == "no_data" and of.data_age_h is not None:
        days = of.data_age_h / 24
        return f"; no level for {days:.0f} days" if days >= 2 else "; no level for over a day"
    return "; hardly a reading of it can be used" if of.doubt == "bad_data" else ""


def _percent(share: float) -> str:
    return "< 1 %" if share < 0.01 else f"{100 * share:.0f} %"

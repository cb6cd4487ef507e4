"""Which missing readings to ask a device for, and when. Pure.

A device keeps its newest readings and tells a few of them again with every report. What that does
not bring is asked for: the newest gap first, one request at a time, ever more rarely while nothing
comes of it. What was asked is held in memory only; after a restart the gaps are still in the
container's state, and asking for them begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from stoep_protocol.messages import BinReport
from stoep_protocol.schema import HISTORY_MAX

from stoep_gateway.assets.states import ContainerState
from stoep_gateway.insight.readings import WINDOW
from stoep_gateway.values import value

__all__ = ["Asked", "Request", "after", "next_request"]

KEPT = 112  # of the 120 readings that a device keeps: the answer comes some readings later
MAX_AGE_MS = 7 * 86_400_000
TRIES = 8
PACE_MS = 50 * 60_000  # between two requests to one device, doubled after each that was in vain
_SLOWEST_PACE_MS = 86_400_000
_HOLE = 8  # known readings told again rather than asked around


@value
class Request:
    """A request for the reading ``newest`` (its full number) and those before it, ``count``."""

    newest: int
    count: int


@value
class Asked:
    """What a device was asked for: the last request, at what time, and what came of it.

    ``reports`` were heard since, ``in_vain`` requests in a row brought nothing. ``tries`` counts
    the requests for each number that is still missing; without any, nothing is waited for.
    """

    request: Request
    at_ms: int
    reports: int
    in_vain: int
    tries: Mapping[int, int]


def after(asked: Asked, state: ContainerState, *, newer: bool) -> Asked:
    """Return what is left of ``asked`` once a report made ``state``.

    ``newer`` tells whether it brought a newer reading than all before, as every report does that
    is no answer.
    """
    missing = set(state.missing)
    tries = {number: count for number, count in asked.tries.items() if number in missing}
    oldest = state.sequence - WINDOW  # what is older has not come, but is no longer expected
    brought = any(number > oldest and number not in missing for number in asked.tries)
    in_vain = 0 if brought else asked.in_vain
    return Asked(asked.request, asked.at_ms, asked.reports + newer, in_vain, tries)


def next_request(
    state: ContainerState, report: BinReport, asked: Asked | None, now_ms: int, *, delay: int = 0
) -> Asked | None:
    """Return what to ask for now that ``report`` has made ``state``.

    ``report`` has brought a newer reading than all before, so that the device listens now.
    ``delay`` is how many uplinks a downlink to this device comes late.
    """
    if len(report.history) >= HISTORY_MAX:
        return None  # it had more to tell than fits, and goes on by itself
    tries = {} if asked is None else asked.tries
    if asked is not None and not _is_over(asked, state, now_ms, delay):
        return None
    wanted = _wanted(state, report, tries, now_ms)
    if not wanted:
        return None
    newest = oldest = wanted[0]
    for number in wanted[1:]:
        if oldest - number > _HOLE or newest - number >= HISTORY_MAX:
            break
        oldest = number
    counted = dict(tries)
    for number in wanted:
        if oldest <= number:
            counted[number] = counted.get(number, 0) + 1
    in_vain = asked.in_vain + 1 if asked is not None and asked.tries else 0
    return Asked(Request(newest, newest - oldest + 1), now_ms, 0, in_vain, counted)


def _is_over(asked: Asked, state: ContainerState, now_ms: int, delay: int) -> bool:
    """Tell whether a request has been answered, or would have been."""
    if now_ms - asked.at_ms < min(PACE_MS << min(asked.in_vain, 8), _SLOWEST_PACE_MS):
        return False
    if not asked.tries:
        return True
    oldest = asked.request.newest - asked.request.count + 1
    # What a report's history does not reach comes after that report.
    reports = 1 if state.sequence - oldest <= HISTORY_MAX else 2
    return asked.reports >= reports + delay


def _wanted(
    state: ContainerState, report: BinReport, tries: Mapping[int, int], now_ms: int
) -> list[int]:
    """Return the missing numbers that are worth a request, newest first."""
    oldest = state.sequence - KEPT
    if state.interval_ms is not None:
        reach_ms = MAX_AGE_MS - (now_ms - state.measured_ms)
        oldest = max(oldest, state.sequence - reach_ms // state.interval_ms)
    # The next report repeats as many readings as this one, and begins with one more.
    newest = state.sequence - len(report.history)
    return [
        number
        for number in reversed(state.missing)
        if oldest < number <= newest and tries.get(number, 0) < TRIES
    ]

"""What a bay's report says about changes, those included whose own reports were lost. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stoep_protocol.messages import BayReport
from stoep_protocol.schema import (
    BASELINE_DRIFTED,
    CHANGE_COUNT_MODULUS,
    FIELD_SATURATED,
    NEIGHBOUR_SUSPECTED,
    NOT_CALIBRATED,
    UNCERTAIN,
)

from stoep_gateway.assets.states import BayState

__all__ = ["Change", "judge", "take"]

# A told duration is right to 2 s, then to a 32nd; an uplink may have been sent twice.
_LATE_S = 10
_COARSE = 32


@dataclass(frozen=True, slots=True)
class Change:
    """The bay changed at ``at_ms`` from ``previous`` (None: not known), ``missed`` times before."""

    at_ms: int
    previous: int | None
    missed: int


def judge(report: BayReport) -> tuple[int, str | None]:
    """Return the quality of a bay's state, 0 to 4 as for a reading, and why it is not 4."""
    flags = report.flags
    if flags & NOT_CALIBRATED:
        return 0, "not_calibrated"
    if flags & FIELD_SATURATED:
        return 1, "field_saturated"
    if report.state == UNCERTAIN:
        return 2, "neighbour_suspected" if flags & NEIGHBOUR_SUSPECTED else "uncertain"
    if flags & NEIGHBOUR_SUSPECTED:
        return 3, "neighbour_suspected"
    if flags & BASELINE_DRIFTED:
        return 3, "baseline_drifted"
    return 4, None


def take(
    report: BayReport, received_ms: int, previous: BayState | None
) -> tuple[BayState, Change | None]:
    """Return the bay's state after a report, and the change it tells of, if any.

    A heartbeat keeps the time of the change as first told, because ages grow coarse. A counter
    that differs although the state has held since before the last report was set anew by a
    restart: nothing changed. A bay whose car was but moved counts back what it had counted: if it
    was free before and is free again at the same count, a change was missed.
    """
    since_ms = received_ms - 1000 * report.age_s
    fresh = BayState(report.state, since_ms, report.change_count, received_ms)
    if previous is None:
        return fresh, None
    if previous.reported_ms > received_ms:  # the clock was set back: nothing was in the future
        previous = BayState(
            previous.state, min(previous.since_ms, since_ms), previous.change_count, received_ms
        )
    steps = (report.change_count - previous.change_count) % CHANGE_COUNT_MODULUS
    same_state = report.state == previous.state
    # A restart begins the state anew, too, but knows of none before.
    surely_ms = since_ms - 1000 * (_LATE_S + report.age_s // _COARSE)
    is_anew = report.previous_duration_s is not None and surely_ms > previous.reported_ms
    if same_state and ((steps == 0 and not is_anew) or since_ms <= previous.reported_ms):
        held = BayState(report.state, previous.since_ms, report.change_count, received_ms)
        return held, None
    if since_ms <= previous.since_ms:  # rounding of a coarse age must not turn time back
        since_ms = previous.since_ms + 1
        fresh = BayState(report.state, since_ms, report.change_count, received_ms)
    # After a restart the counter says little: then only the one change that shows is told.
    plausible = 0 < steps < CHANGE_COUNT_MODULUS // 2
    missed = steps - 1 if plausible else int(same_state)
    return fresh, Change(since_ms, previous.state if missed == 0 else None, missed)

"""Which readings of a bin report are new, and how far each is to be trusted. Pure.

A reading is known by its sequence number. Reports repeat earlier readings, arrive with gaps, and
a device that lost its memory begins to count anew; here that becomes a list of readings that were
never seen before, oldest first.
"""

from __future__ import annotations

from stoep_protocol.messages import BinReport
from stoep_protocol.reports import full_sequence
from stoep_protocol.schema import (
    ECHO_BLOCKED,
    ECHO_UNSTABLE,
    ECHO_WEAK,
    LID_OPEN,
    SEQUENCE_MODULUS,
    TILTED,
)

from stoep_gateway.assets.states import ContainerState
from stoep_gateway.values import value

__all__ = ["News", "Reading", "judge", "news"]

WINDOW = 256  # readings that are remembered as missing; older ones are no longer expected
_REPEATED_MS = 600_000  # the same number again within this is the same report again
_CLOCK_SLACK_MS = 90_000  # ages are whole minutes, and an uplink may have been sent twice
_BURST = 8  # readings that alarms may add to those expected by the interval
_MINUTE_MS = 60_000
_ELSEWHERE = LID_OPEN | TILTED  # then the sensor does not look down on the waste

# LwM2M "measurement quality indicator"; 0 is "unchecked"
REJECTED = 1
DOUBTED = 2
SUSPICIOUS = 3
ACCEPTED = 4


@value
class Reading:
    """One reading with its full number and time; ``distance_mm`` None: no echo.

    ``newer`` tells whether it is newer than all that was known before its report.
    """

    number: int
    at_ms: int
    distance_mm: int | None
    quality: int
    reason: str | None
    newer: bool


@value
class News:
    """What a report tells that was not known: readings oldest first, and the state's counters."""

    readings: tuple[Reading, ...]
    sequence: int
    measured_ms: int
    interval_ms: int | None
    missing: tuple[int, ...]


def judge(
    distance_mm: int | None, quality: int, flags: int, depth_mm: int, dead_zone_mm: int = 0
) -> tuple[int, str | None]:
    """Return the quality of a reading, 0 to 4, and why it is not 4.

    Besides the device's own verdict: none is rejected; doubted is what was measured past an open
    lid or aslant, and what is well beyond the floor, because nothing can be there; one in the dead
    zone says only that there is something.
    """
    if distance_mm is None:
        if flags & ECHO_BLOCKED:
            return REJECTED, "echo_blocked"
        return REJECTED, "out_of_range" if flags & ECHO_WEAK else "no_echo"
    if flags & _ELSEWHERE:
        # A board says that it rejects it, as it has no flags among earlier readings.
        return DOUBTED, "tilted" if flags & TILTED else "lid_open"
    if distance_mm > depth_mm + depth_mm // 10:
        return min(quality, DOUBTED) or DOUBTED, "beyond_floor"
    if flags & ECHO_BLOCKED:
        return min(quality, SUSPICIOUS), "echo_blocked"
    if distance_mm < dead_zone_mm:
        return min(quality, SUSPICIOUS) or SUSPICIOUS, "dead_zone"
    if flags & ECHO_UNSTABLE:
        return min(quality, SUSPICIOUS), "echo_unstable"
    if flags & ECHO_WEAK:
        return min(quality, SUSPICIOUS), "echo_weak"
    if quality >= ACCEPTED:
        return ACCEPTED, None
    return quality, "unspecified" if quality else "unchecked"


def news(
    report: BinReport,
    received_ms: int,
    depth_mm: int,
    previous: ContainerState | None,
    dead_zone_mm: int = 0,
) -> News | None:
    """Return what a report received at ``received_ms`` adds; None if it adds nothing."""
    newest_ms = received_ms - report.age_min * _MINUTE_MS
    number = report.sequence
    restarted = False
    if previous is None:
        if number < len(report.history):  # no reading has a number below 0
            number += SEQUENCE_MODULUS
    else:
        last = previous.sequence
        forward = (number - last) % SEQUENCE_MODULUS
        if report.age_min:
            number = full_sequence(last, number, _advance(newest_ms, previous))
        elif forward == 0 and newest_ms - previous.measured_ms < _REPEATED_MS:
            number = last
        else:
            # A fresh reading is newer than all before, whatever its number says.
            number = last + (forward or SEQUENCE_MODULUS)
            restarted = _is_restart(forward, newest_ms, previous)
    zone_mm = depth_mm, dead_zone_mm
    readings = _unknown(report, number, newest_ms, received_ms, zone_mm, previous, restarted)
    if not readings:
        return None
    return _counted(tuple(readings), number, newest_ms, previous, restarted)


def _advance(newest_ms: int, previous: ContainerState) -> int:
    """Return about how many readings after the last known one a reading was taken."""
    interval_ms = previous.interval_ms
    if interval_ms is None or interval_ms < _MINUTE_MS:
        return 0
    return (newest_ms - previous.measured_ms) // interval_ms


def _is_restart(forward: int, newest_ms: int, previous: ContainerState) -> bool:
    """Tell a device that counts anew from one whose readings were lost.

    Taking lost readings for a restart costs little: they are not counted as missing.
    """
    if previous.interval_ms is None:
        return not 0 < forward < SEQUENCE_MODULUS // 2
    expected = (newest_ms - previous.measured_ms) / previous.interval_ms
    return (forward or SEQUENCE_MODULUS) > 2 * expected + _BURST


def _unknown(
    report: BinReport,
    number: int,
    newest_ms: int,
    received_ms: int,
    zone_mm: tuple[int, int],
    previous: ContainerState | None,
    restarted: bool,
) -> list[Reading]:
    """Return the readings of a report that were not known, oldest first."""
    last = number - len(report.history) - 1 if previous is None else previous.sequence
    earliest_ms = -1
    if previous is not None:
        slack_ms = _CLOCK_SLACK_MS if restarted else -_CLOCK_SLACK_MS
        earliest_ms = previous.measured_ms + slack_ms
    readings: list[Reading] = []
    if report.history:
        missing = () if previous is None else previous.missing
        at_number = number - len(report.history)
        for age_min, distance_mm, quality in reversed(report.history):
            at_ms = received_ms - age_min * _MINUTE_MS
            newer = at_number > last
            if (at_ms > earliest_ms) if newer else (at_number in missing):
                quality, reason = judge(distance_mm, quality, 0, *zone_mm)  # noqa: PLW2901
                readings.append(Reading(at_number, at_ms, distance_mm, quality, reason, newer))
            at_number += 1
    if number > last or (previous is not None and number in previous.missing):
        quality, reason = judge(report.distance_mm, report.quality, report.flags, *zone_mm)
        readings.append(
            Reading(number, newest_ms, report.distance_mm, quality, reason, number > last)
        )
    return readings


def _counted(
    readings: tuple[Reading, ...],
    number: int,
    newest_ms: int,
    previous: ContainerState | None,
    restarted: bool,
) -> News:
    """Add to the new readings what the state is to remember: which are missing, how often."""
    if previous is None:
        return News(readings, number, newest_ms, None, ())
    last = previous.sequence
    missing = previous.missing
    if number <= last:
        arrived = {reading.number for reading in readings}
        left = tuple(it for it in missing if it not in arrived)
        return News(readings, last, previous.measured_ms, previous.interval_ms, left)
    interval_ms = previous.interval_ms
    steps = number - last
    if not restarted:
        # The longest of late: what an alarm sends in between says nothing about the interval.
        measured = (newest_ms - previous.measured_ms) // steps
        interval_ms = max(measured, (interval_ms or 0) * 9 // 10, 1)
    if missing or (steps > 1 and not restarted):
        arrived = {reading.number for reading in readings}
        oldest = number - WINDOW
        gap = () if restarted else range(max(last + 1, oldest + 1), number)
        missing = tuple(it for it in (*missing, *gap) if it > oldest and it not in arrived)
    return News(readings, number, newest_ms, interval_ms, missing)

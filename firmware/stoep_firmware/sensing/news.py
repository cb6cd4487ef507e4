"""What of a container's readings has to be told at once. Pure; loaded only where not all are told.

A change or an alarm is news if the reading is a good one (quality 3 or 4) or if a second one, taken
a minute later, says the same: one false echo tells nothing. No echo at all is never news. An alarm
that has begun ends `_HYSTERESIS_MM` farther away than it began.
"""

import struct

from stoep_protocol.schema import MODE_BOTH

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware.settings import Settings

# When to look again (first: bin_task reads it), when last reported, that distance, whether in
# alarm, what is doubted. All zeros: nothing yet.
FORMAT = "<qqHBB"

_HYSTERESIS_MM = const(100)
_RECHECK_MS = const(60_000)
_DAY_MS = const(86_400_000)
_GOOD = const(3)
_ALARM = const(1)
_CHANGE = const(2)


def weigh(
    state: bytes, now_ms: int, distance_mm: "int | None", quality: int, settings: "Settings"
) -> "tuple[bool, bytes]":
    """Return whether to report now, and the new state; `distance_mm` None is no echo."""
    _, reported_ms, reported_mm, alarm, doubted = struct.unpack(FORMAT, state)
    only_alarms = settings.level > 1
    news = again_ms = 0
    if distance_mm is not None:
        limit_mm = settings.alarm_distance_mm()
        if alarm and limit_mm:
            limit_mm += _HYSTERESIS_MM
        if (distance_mm <= limit_mm) != (alarm != 0):
            news = _ALARM
        change_mm = settings.change_mm()
        if not only_alarms and (not reported_mm or abs(distance_mm - reported_mm) >= change_mm):
            news |= _CHANGE
    if news and quality < _GOOD:
        if doubted:
            news &= doubted
            doubted = 0
        else:
            again_ms = now_ms + _RECHECK_MS
            doubted = news
            news = 0
    else:
        doubted = 0
    if news & _ALARM:
        alarm ^= 1
    due = news != 0
    if not only_alarms and not due:
        wait_ms = _DAY_MS
        if settings.mode() == MODE_BOTH:
            wait_ms = settings.report_ms()
        # A slot may come a little early.
        due = not reported_ms or now_ms - reported_ms >= wait_ms - settings.interval_ms() // 2
    if due:
        reported_ms = now_ms
        if distance_mm is not None:
            reported_mm = distance_mm
    return due, struct.pack(FORMAT, again_ms, reported_ms, reported_mm, alarm, doubted)

"""A bay's second sense: what a distance upward says where the field alone leaves a doubt.

It is asked only after a change, while the state is uncertain, and of a change that is too weak for
a car. Something above, in reach, is a vehicle; a clear view is none, from a sensor of which that
can be believed. Where the field tells that a bay has become free, it is believed, and what is
still seen then is dirt: at that distance nothing is a vehicle any more, until the view was clear
once. What has stood unmoved for three days while the field is uncertain is taken for dirt too.
So nothing on the lens makes a bay occupied for ever.

All but `ask` is pure. Loaded only for a look of a bay that has such a sensor.
"""

import struct

from stoep_protocol.schema import (
    BASELINE_DRIFTED,
    ERROR_SENSOR_BUS,
    FREE,
    NEIGHBOUR_SUSPECTED,
    UNCERTAIN,
)

from stoep_firmware.drivers import load
from stoep_firmware.sensing.detection import calibrate, compare, rebase

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any, Wait
    from stoep_firmware.sensing.bay import Bay, Field

CLEAR = 0  # in place of a distance
UNKNOWN = -1

_PINGS = const(5)
_SURE = "vl53l1x"  # of which 0 says that the view is clear; an A02YYUW's is also a finger on it

_FORMAT = "<IHH"  # memory: since when a doubt is resolved, in minutes; how far that is; dirt
_UNRESOLVED = b"\0\0\0\0"
_NEAREST_MM = const(100)  # nearer than a chassis: it lies on the lens
_FARTHEST_MM = const(1500)
_ALIKE_MM = const(30)
_LONG_MIN = const(3 * 24 * 60)
_NEVER = const(1 << 29)


def ask(
    task: "Any", before: bytes, field: "Field", threshold: int, temperature: int, changed: bool
) -> "Wait[bool]":
    """Ask the sensor if there is a doubt; return whether the bay's state has changed.

    `before` is the bay as it was before it took in the field, `changed` what came of that.
    """
    board = task._board
    bay = task._bay
    if not doubts(bay, task.second, field, threshold, temperature, changed):
        return changed
    name = board.config["second"]
    driver = load(name)
    begun_ms = board.clock.now_ms()
    distance_mm = UNKNOWN
    try:
        distances_mm, _ = yield from driver.sample(board, _PINGS, None)
        distance_mm = distance(distances_mm, name == _SURE)
    except OSError:
        task._fault(ERROR_SENSOR_BUS)
    now_ms = board.clock.now_ms()
    task._meter.draw(driver.SUPPLY_UA, now_ms - begun_ms)
    changed, task.second = judge(
        bay, task.second, before, field, now_ms, temperature, changed, distance_mm
    )
    return changed


def distance(distances_mm: "list[int]", can_be_clear: bool) -> int:
    """Return how far above something is, from a driver's burst; CLEAR, UNKNOWN.

    `can_be_clear`: whether the sensor's 0 says that there is nothing.
    """
    if len(distances_mm) < 3:
        return UNKNOWN
    ordered = sorted([mm or _NEVER for mm in distances_mm])
    middle = ordered[len(ordered) // 2]
    if middle < _NEAREST_MM or (middle == _NEVER and not can_be_clear):
        return UNKNOWN
    return middle if middle <= _FARTHEST_MM else CLEAR


def doubts(
    bay: "Bay", memory: bytes, field: "Field", threshold: int, temperature: int, changed: bool
) -> bool:
    """Whether the second sense is to be asked, after the bay has taken in a field."""
    if changed or memory[:4] != _UNRESOLVED or bay.told() == UNCERTAIN:
        return True
    return bay.state == FREE and compare(bay, field, 0, _NEVER, temperature) > threshold


def judge(
    bay: "Bay",
    memory: bytes,
    before: bytes,
    field: "Field",
    now_ms: int,
    temperature: int,
    changed: bool,
    distance_mm: int,
) -> "tuple[bool, bytes]":
    """Let a distance have its say; return whether the state has changed, and the memory."""
    since_min, last_mm, dirt_mm = struct.unpack(_FORMAT, memory)
    if distance_mm == CLEAR:
        dirt_mm = 0
    elif dirt_mm and abs(distance_mm - dirt_mm) <= _ALIKE_MM:
        distance_mm = UNKNOWN
    if bay.state == FREE:
        if changed:
            if distance_mm > 0:
                dirt_mm = distance_mm
        elif distance_mm > 0:
            # Weak, but above: a high chassis, or a motorcycle.
            compare(bay, field, now_ms, 0, temperature)
            changed = True
        since_min = 0
    elif distance_mm == CLEAR:
        if changed:
            # Strong, but beside: it becomes part of the empty bay's field, as a weak one would.
            bay.unpack(before)
            rebase(bay, field, temperature)
            bay.flags |= NEIGHBOUR_SUSPECTED
            changed = False
        else:
            calibrate(bay, field, now_ms, temperature)
            changed = True
        since_min = 0
    elif changed:
        since_min = 0
    elif since_min or distance_mm > 0:
        now_min = now_ms // 60_000
        if distance_mm > 0 and abs(distance_mm - last_mm) > _ALIKE_MM:
            since_min = 0
        if not 0 < since_min <= now_min:
            since_min = now_min or 1
            last_mm = distance_mm
        if now_min - since_min < _LONG_MIN:
            bay.flags &= ~BASELINE_DRIFTED
        else:
            bay.flags |= BASELINE_DRIFTED
            dirt_mm = last_mm
            since_min = 0
    return changed, struct.pack(_FORMAT, since_min, max(last_mm, 0), dirt_mm)

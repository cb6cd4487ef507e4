"""Magnetic fields -> whether a car stands over the sensor. Pure, integers only.

The field of the empty bay, the baseline, is learned and followed while the bay is free. A car is a
distance from the baseline over a threshold; it is gone when the field is back near the baseline,
nearer than a third of what the car itself made, or has made the car's own change backwards, so
that drift under a long stay does not hide its leaving. Under a car the baseline follows the
temperature, once it has been seen over a range of temperatures that is wide enough.

A weak change that is mostly level is a car in the next bay: the field below a car points up or
down, that beside it to the side. A field that was left under a car and is come back to is that of
the empty bay: so ends what was calibrated with a car over the sensor.
"""

from stoep_protocol.schema import (
    BASELINE_DRIFTED,
    CHANGE_COUNT_MODULUS,
    FREE,
    NEIGHBOUR_SUSPECTED,
    OCCUPIED,
)

from stoep_firmware.sensing.bay import LEARNED

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Sequence

    from stoep_firmware.sensing.bay import Bay, Field

_WARMTH = const(64)  # readings over which the drift with temperature is learned
_WIDE = const(400)  # variance of the temperature that is enough for it: 2.5 degrees, in 1/8 squared
_GAP_MS = const(120_000)  # a car that is back after this was not away
_MOVES_MS = const(120_000)  # a car moves to and fro after it has come
_AWAY_MIN = const(3)  # what passes a car, or waits beside it, is gone sooner
_LONG_MS = const(43_200_000)  # free for so long is surely free

# Places in `_kept`: vectors, and the drift's sums.
_BASE = const(0)
_CAR = const(3)  # what the car there makes, or the last one made
_LAST = const(6)  # the last field under a car
_HOME = const(9)  # a field under a car that was left
_DRIFT = const(12)  # covariance of field and temperature
_MEAN = const(15)  # of the field, 1/16 counts
_T_BASE = const(18)  # the temperature of the baseline
_T_MEAN = const(19)  # in 1/16 of its unit
_T_VAR = const(20)
_T_LAST = const(21)
_LEFT = const(22)  # when that was, in minutes; 0 for never


def update(bay: "Bay", field: "Field", now_ms: int, threshold: int, temperature: int) -> bool:
    """Take in a still field; True if the state has changed.

    `temperature` is the sensor's own, in eighths of a degree, of any origin.
    """
    kept = bay.kept
    if not bay.readings:
        # The device is calibrated on an empty bay: installation puts it there.
        rebase(bay, field, temperature)
        _put(bay, _MEAN, [16 * part for part in field])
        kept[_T_MEAN] = 16 * temperature
        bay.readings = 1
        bay.since_ms = now_ms
        return False
    base = _at(bay, _BASE, temperature - kept[_T_BASE])
    change = _less(field, base)
    away = _length(change)
    car = kept[_CAR:_LAST]
    if bay.state == FREE:
        if away <= threshold:
            _learn(bay, field, temperature, now_ms)
            return False
        level = _length((change[0], change[1], 0))
        if away < threshold * 5 // 4 and 2 * abs(change[2]) < level:
            # Seen twice alike it stays: a car on its way in does not.
            if (
                bay.flags & NEIGHBOUR_SUSPECTED
                and _length(_less(field, kept[_LAST:_HOME])) < threshold // 2
            ):
                rebase(bay, field, temperature)
            bay.flags |= NEIGHBOUR_SUSPECTED
            _stand(bay, field, temperature)
            return False
        merged = (
            now_ms - bay.since_ms < _GAP_MS
            and bay.previous_ms >= 0
            and _length(_less(change, car)) < away // 4
        )
        since_ms = bay.since_ms - bay.previous_ms
        _put(bay, _CAR, change)
        _change(bay, OCCUPIED, now_ms)
        if merged:  # neither of the two changes was one
            bay.change_count = (bay.change_count - 2) % CHANGE_COUNT_MODULUS
            bay.since_ms = since_ms
            bay.previous_ms = -1
        _stand(bay, field, temperature)
        kept[_LEFT] = 0
        return True
    last = _at(bay, _LAST, temperature - kept[_T_LAST])
    step = _less(field, last)
    moved = _length(step)
    size = _length(car)
    near = away < max(threshold * 2 // 3, size // 3)
    free = near
    young = now_ms - bay.since_ms < _MOVES_MS
    if not near and not young:
        if moved > threshold:
            free = _length([step[axis] + car[axis] for axis in range(3)]) < size // 3
        if not free:
            home = _length(_less(field, kept[_HOME:_DRIFT]))
            if kept[_LEFT] and home < threshold // 2:
                away_min = now_ms // 60_000 - kept[_LEFT]
                free = moved > 2 * threshold and away_min > _AWAY_MIN
                kept[_LEFT] += away_min
                bay.flags = 0
            elif moved > 2 * threshold:
                _put(bay, _HOME, last)
                kept[_LEFT] = now_ms // 60_000
                bay.flags = BASELINE_DRIFTED
    if free:
        rebase(bay, _between(base, field) if near else field, temperature)
        _change(bay, FREE, now_ms)
        return True
    if young:
        _put(bay, _CAR, change)
    _stand(bay, field, temperature)
    return False


def calibrate(bay: "Bay", field: "Field", now_ms: int, temperature: int) -> None:
    """Take a field as that of the empty bay; what was learned of the drift stays."""
    drift = bay.kept[_DRIFT:_MEAN]
    variance = bay.kept[_T_VAR]
    readings = bay.readings
    if bay.state != FREE:
        _change(bay, FREE, now_ms)
    bay.readings = bay.flags = bay.seen_begin = 0
    bay.previous_ms = -1
    bay.kept = [0] * len(bay.kept)
    update(bay, field, now_ms, 0, temperature)
    bay.readings = max(readings, LEARNED)
    bay.kept[_DRIFT:_MEAN] = drift
    bay.kept[_T_VAR] = variance


def compare(bay: "Bay", field: "Field", now_ms: int, threshold: int, temperature: int) -> int:
    """Return how far a field is from the empty bay's; if that is a car, it stands there."""
    kept = bay.kept
    change = _less(field, _at(bay, _BASE, temperature - kept[_T_BASE]))
    away = _length(change)
    if away > threshold:
        if bay.state == FREE:
            _change(bay, OCCUPIED, now_ms)
        bay.flags = kept[_LEFT] = 0
        _put(bay, _CAR, change)
        _stand(bay, field, temperature)
    return away


def rebase(bay: "Bay", field: "Sequence[int]", temperature: int) -> None:
    """Take a field as that of the empty bay from here on."""
    _put(bay, _BASE, field)
    bay.kept[_T_BASE] = temperature


def _change(bay: "Bay", state: int, now_ms: int) -> None:
    bay.previous_ms = now_ms - bay.since_ms if bay.seen_begin else -1
    bay.seen_begin = 1
    bay.since_ms = now_ms
    bay.state = state
    bay.flags = 0
    bay.change_count = (bay.change_count + 1) % CHANGE_COUNT_MODULUS


def _put(bay: "Bay", at: int, values: "Sequence[int]") -> None:
    bay.kept[at : at + 3] = values


def _stand(bay: "Bay", field: "Field", temperature: int) -> None:
    _put(bay, _LAST, field)
    bay.kept[_T_LAST] = temperature


def _at(bay: "Bay", at: int, warmer: int) -> "list[int]":
    """Return a kept field as it would be so much warmer."""
    kept = bay.kept
    variance = kept[_T_VAR]
    if variance < _WIDE:
        return kept[at : at + 3]
    return [kept[at + axis] + kept[_DRIFT + axis] * warmer // variance for axis in range(3)]


def _learn(bay: "Bay", field: "Field", temperature: int, now_ms: int) -> None:
    kept = bay.kept
    long = now_ms - bay.since_ms > _LONG_MS
    base = _at(bay, _BASE, temperature - kept[_T_BASE])
    rebase(bay, field if long else _between(base, field), temperature)
    bay.readings = min(bay.readings + 1, 255)
    count = min(bay.readings, _WARMTH)
    warmer = temperature - kept[_T_MEAN] // 16
    kept[_T_MEAN] += 16 * warmer // count
    kept[_T_VAR] += (warmer * warmer - kept[_T_VAR]) // count
    for axis in range(3):
        more = field[axis] - kept[_MEAN + axis] // 16
        kept[_MEAN + axis] += 16 * more // count
        kept[_DRIFT + axis] += (warmer * more - kept[_DRIFT + axis]) // count


def _between(one: "Sequence[int]", other: "Sequence[int]") -> "list[int]":
    return [(one[axis] + other[axis]) // 2 for axis in range(3)]


def _less(one: "Sequence[int]", other: "Sequence[int]") -> "list[int]":
    return [one[axis] - other[axis] for axis in range(3)]


def _length(vector: "Sequence[int]") -> int:
    square = sum([part * part for part in vector])
    root = 0
    bit = 1 << 16
    while bit:
        if (root | bit) * (root | bit) <= square:
            root |= bit
        bit >>= 1
    return root

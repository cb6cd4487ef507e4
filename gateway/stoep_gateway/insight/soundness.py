"""Whether a distance sensor still measures: one that is stuck, one that drifts. Pure.

A sensor that lives flickers by a millimetre and sees its container fill; one that gives the very
same distance for days, far longer than it ever did before it moved on, or although the lid was
opened all the time, is stuck. Where the floor is after each emptying is the same for years; a
sensor that sees it nearer or farther month by month drifts, or something grows on the floor. The
figures have no source but were tried on the series of bench/bins.py.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise
from statistics import median

from stoep_gateway.values import value

__all__ = ["Soundness", "emptied", "faults", "is_stuck", "seen"]

_HOUR_MIN = 60
_ROUNDED_MM = 10  # readings of a report's history come in whole centimetres
STUCK_H = 72  # the same distance for this long: nights and a weekend go by so
STUCK_FLAPS_H = 24  # with as many openings as this:
STUCK_FLAPS = 100
STUCK_COUNT = 12  # readings that say so
STUCK_TIMES = 3.0  # as long as ever before
MOVES = 20  # from which it is known how long it usually stays
FORGET = 0.998  # of the longest stay, at every move
PERIOD_DAYS = 14  # of which the farthest floor counts: what is left in a container is nearer
KEPT = 8  # periods
DRIFT_PERIODS = 6
DRIFT_SPAN = 5  # periods between the first and the last
DRIFT_MM = 40.0
DRIFT_SHARE = 0.03  # of the depth
DRIFT_AGREED = 0.9  # of all pairs of periods go the same way
_PERIOD_MIN = PERIOD_DAYS * 24 * _HOUR_MIN
_MONTH_PERIODS = 30.4 / PERIOD_DAYS


@value
class Soundness:
    """What is remembered of a sensor; stored as an array: new fields go to the end.

    Every reading since ``since_min`` (UTC minutes) was ``same_mm``, ``count`` of them, the last
    ``for_min`` minutes after the first, with ``flaps`` openings meanwhile. It has moved ``moves``
    times (up to `MOVES`), and never stayed for longer than ``longest_h``. ``floors`` is where the
    floor was seen in `PERIOD_DAYS` days: the number and distance of the first such period, then the
    differences from each to the next; by them it goes away from the sensor by ``drift_mm`` a month
    (None: not known yet), which ``drifting`` says is too much.
    """

    same_mm: int
    since_min: int
    count: int = 1
    flaps: int = 0
    moves: int = 0
    longest_h: float = 0.0
    floors: tuple[int, ...] = ()
    drift_mm: float | None = None
    drifting: bool = False
    for_min: int = 0


def seen(state: Soundness | None, at_ms: int, distance_mm: int, flaps: int) -> Soundness:
    """Return the state after one more reading, with the openings since the one before."""
    at_min = at_ms // 60_000
    if state is None:
        return Soundness(distance_mm, at_min)
    same_mm, since_min, moves, longest_h = (
        state.same_mm,
        state.since_min,
        state.moves,
        state.longest_h,
    )
    count, flaps = state.count + 1, min(state.flaps + flaps, STUCK_FLAPS)
    if distance_mm != same_mm:
        if abs(distance_mm - same_mm) <= _ROUNDED_MM // 2 and (
            not distance_mm % _ROUNDED_MM or not same_mm % _ROUNDED_MM
        ):  # one of them may be the other, rounded
            same_mm = same_mm if same_mm % _ROUNDED_MM else distance_mm
        else:
            longest_h *= FORGET
            if state.count > 1:
                # What was stuck and has come free may have been a holiday: it counts in part.
                stayed_h = max(at_min - since_min, 0) / _HOUR_MIN
                longest_h = max(longest_h, min(stayed_h, max(2 * longest_h, STUCK_FLAPS_H)))
            same_mm, since_min, count, flaps = distance_mm, at_min, 1, 0
            moves, longest_h = min(moves + 1, MOVES), round(longest_h, 1)
    return Soundness(
        same_mm,
        since_min,
        count,
        flaps,
        moves,
        longest_h,
        state.floors,
        state.drift_mm,
        state.drifting,
        max(at_min - since_min, 0),
    )


def is_stuck(state: Soundness) -> bool:
    """Tell whether a sensor should have given another distance by its last reading."""
    if state.count < STUCK_COUNT:
        return False
    hours = state.for_min / _HOUR_MIN
    if state.flaps >= STUCK_FLAPS and hours >= STUCK_FLAPS_H:
        return True
    return state.moves >= MOVES and hours >= max(STUCK_H, STUCK_TIMES * state.longest_h)


def faults(state: Soundness | None) -> list[str]:
    """Return what is wrong with a sensor, in the words of the published state."""
    if state is None:
        return []
    found = ["sensor_stuck"] if is_stuck(state) else []
    return [*found, "sensor_drifting"] if state.drifting else found


def emptied(state: Soundness, at_ms: int, floor_mm: int, depth_mm: int) -> Soundness:
    """Return the state after an emptying, with the distance of what was left then."""
    floors = _floors(state.floors)
    period = at_ms // 60_000 // _PERIOD_MIN
    if floors and period <= floors[-1][0]:
        last, farthest_mm = floors[-1]
        floors[-1] = last, max(farthest_mm, floor_mm)
    else:
        floors = [*floors, (period, floor_mm)][-KEPT:]
    packed = list(floors[0])
    for (period_0, mm_0), (period_1, mm_1) in pairwise(floors):
        packed += period_1 - period_0, mm_1 - mm_0
    drift_mm, drifting = None, False
    span = floors[-1][0] - floors[0][0]
    if len(floors) >= DRIFT_PERIODS and span >= DRIFT_SPAN:
        # The median of the slopes between all periods (Theil and Sen's).
        slopes = [
            (mm_1 - mm_0) / (at_1 - at_0) for (at_0, mm_0), (at_1, mm_1) in combinations(floors, 2)
        ]
        slope = median(slopes)
        drift_mm = round(slope * _MONTH_PERIODS, 1)
        is_far = abs(slope) * span >= max(DRIFT_MM, DRIFT_SHARE * depth_mm)
        drifting = is_far and sum(it * slope > 0 for it in slopes) >= DRIFT_AGREED * len(slopes)
    return replace(state, floors=tuple(packed), drift_mm=drift_mm, drifting=drifting)


def _floors(packed: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return period and distance of each floor."""
    floors: list[tuple[int, int]] = []
    period = floor_mm = 0
    for later, farther_mm in zip(packed[::2], packed[1::2], strict=True):
        period, floor_mm = period + later, floor_mm + farther_mm
        floors.append((period, floor_mm))
    return floors

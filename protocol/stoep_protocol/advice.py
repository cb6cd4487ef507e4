"""What came of a step of a calibration, for people: what was found, and what to do about it.

For the gateway and the bench; a device never loads this.
"""

from .calibration import (
    CALIBRATED,
    CALIBRATED_MOVING,
    CALIBRATED_NO_BASELINE,
    CALIBRATED_NO_SENSOR,
    CALIBRATED_SATURATED,
    CALIBRATED_UNSUPPORTED,
    CALIBRATED_WEAK,
    PINGS,
    STEP_CAR,
    STEP_ECHOES,
    STEP_EMPTY,
    Calibrated,
)

STEPS = {STEP_EMPTY: "empty_bay", STEP_CAR: "car", STEP_ECHOES: "echoes"}
RESULTS = {
    CALIBRATED: "done",
    CALIBRATED_MOVING: "moving",
    CALIBRATED_WEAK: "weak",
    CALIBRATED_NO_BASELINE: "no_baseline",
    CALIBRATED_NO_SENSOR: "no_sensor",
    CALIBRATED_SATURATED: "saturated",
    CALIBRATED_UNSUPPORTED: "unsupported",
}

FLOOR_MM = 100  # within which of where it should be an echo is the floor's; a guess
EXACT_MM = 30  # within which it is where it should be
_AMPLE_PCT = 150  # of the threshold; a car that changes the field by less may not be the weakest
_FEW = 3  # pings that may be lost without a word

_PLACE = "move the sensor to the middle of the bay or turn it; or lower the threshold, from 3 uT on"
_PLAIN = {
    CALIBRATED_NO_BASELINE: (
        "the field of the empty bay is not known",
        "calibrate the empty bay first",
    ),
    CALIBRATED_NO_SENSOR: ("the sensor does not answer", "check its plug, wires and supply"),
    CALIBRATED_SATURATED: (
        "the sensor is at the end of its range",
        "take magnets and iron away from it, and repeat it",
    ),
    CALIBRATED_UNSUPPORTED: ("this board is of another kind", ""),
}


class Echoes:
    """Where the echoes of a test came from: places are (mm, echoes).

    `level_mm` is where the floor or the waste is known to be, None if nobody said: then the
    farthest place is taken for it. `floor` is the place there, None if none is within FLOOR_MM.
    `fixed` lie nearer and cannot be waste, `beyond` farther. `dead` echoes came from within the
    sensor's dead zone, `lost` from no one place or not at all.
    """

    def __init__(self, values: "tuple[int | None, ...]", level_mm: "int | None" = None) -> None:
        places = [(value // 64 * 10, value % 64) for value in values[1:] if value]
        places = [place for place in places if place[1]]
        if values and values[0] is not None:
            level_mm = 10 * values[0]
        self.level_mm = level_mm
        self.dead = sum([count for mm, count in places if not mm])
        self.lost = max(0, PINGS - sum([count for _, count in places]))
        places = sorted([place for place in places if place[0]])
        self.floor = None
        if level_mm is None:
            self.floor = places.pop() if places else None
            level_mm = self.floor[0] if self.floor else 0
        near = [place for place in places if abs(place[0] - level_mm) <= FLOOR_MM]
        if self.floor is None and near:
            self.floor = max(near, key=lambda place: place[1])
        self.fixed = [place for place in places if place[0] < level_mm - FLOOR_MM]
        self.beyond = [place for place in places if place[0] > level_mm + FLOOR_MM]


def advice(answer: Calibrated, level_mm: "int | None" = None) -> "list[tuple[str, str]]":
    """List what was found, and for each what to do ("": nothing).

    `level_mm`: where the floor of a container is, if the test was not told where to expect it.
    """
    if answer.result in _PLAIN:
        return [_PLAIN[answer.result]]
    if answer.result not in RESULTS:
        return [("what came of it, this version does not know: %d" % answer.result, "")]
    if answer.step == STEP_ECHOES:
        return _of_echoes(Echoes(answer.values, level_mm))
    measured, against = [value or 0 for value in answer.values + (0, 0)][:2]
    if answer.result == CALIBRATED_MOVING:
        said = "the field did not rest: it moved by %s uT within 10 s, and may by %s"
        return [
            (
                said % (_ut(measured), _ut(against)) + "; nothing has changed",
                "keep cars, tools and telephones away, and repeat it",
            )
        ]
    if answer.step == STEP_EMPTY:
        said = "the field of the empty bay is known; it moved by %s uT, and may by %s"
        return [(said % (_ut(measured), _ut(against)), "")]
    percent = 100 * measured // max(against, 1)
    said = "the car changes the field by %s uT, %d %% of the threshold of %s uT"
    return [
        (said % (_ut(measured), percent, _ut(against)), "" if percent >= _AMPLE_PCT else _PLACE)
    ]


def _of_echoes(found: Echoes) -> "list[tuple[str, str]]":
    said = []
    floor, level_mm = found.floor, found.level_mm
    if floor is None:
        where = "" if level_mm is None else " within %d mm of %d mm" % (FLOOR_MM, level_mm)
        said.append(
            (
                "no floor answers" + where,
                "point the sensor straight down, and measure how far the floor is",
            )
        )
    else:
        off_mm = 0 if level_mm is None else floor[0] - level_mm
        text = "the floor, or what lies on it, answers at %d mm" % floor[0]
        remedy = ""
        if level_mm is not None and abs(off_mm) <= EXACT_MM:
            text += ", as expected"
        elif level_mm is not None:
            text += ", %d mm %s than expected" % (
                abs(off_mm),
                "farther" if off_mm > 0 else "nearer",
            )
            remedy = "measure how far it is, and correct what the gateway has"
        said.append((text + _of_pings(floor[1]), remedy))
    for mm, count in found.fixed:
        said.append(
            (
                "something fixed answers at %d mm" % mm + _of_pings(count),
                "a seam, hinge or grid: move or tilt the sensor; what stays, the gateway rejects",
            )
        )
    if found.dead:
        said.append(
            (
                "something answers from the dead zone" + _of_pings(found.dead),
                "clear what hangs before the sensor, dry it, or let it look out of its tube",
            )
        )
    for mm, count in found.beyond:
        text = "something answers at %d mm, beyond the floor" % mm + _of_pings(count)
        is_twice = floor is not None and abs(mm - 2 * floor[0]) <= FLOOR_MM
        said.append(
            (
                text,
                "an echo's echo: tilt the sensor a little" if is_twice else "is the depth right?",
            )
        )
    if found.lost > _FEW:
        said.append(
            (
                "%d of %d pings came back from nowhere" % (found.lost, PINGS),
                "point the sensor straight down at something hard",
            )
        )
    return said


def _of_pings(count: int) -> str:
    return " (%d of %d pings)" % (count, PINGS)


def _ut(nt: int) -> str:
    return "%.1f" % (nt / 1000)

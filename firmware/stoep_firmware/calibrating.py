"""Takes a step of a calibration: the empty bay, a car on it, a container's echoes.

Loaded only when a downlink or the bench has asked for one.
"""

from stoep_protocol.calibration import (
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
    Calibrated,
    decode_calibration,
    echo,
    encode_calibration,
)
from stoep_protocol.cbor import decode_array
from stoep_protocol.errors import DecodeError
from stoep_protocol.schema import CALIBRATION_DONE, F_PORT_CALIBRATE

from stoep_firmware import unload
from stoep_firmware.board import LIGHT
from stoep_firmware.drivers import load, loaded
from stoep_firmware.sensing.bay import settled

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any, Wait
    from stoep_firmware.board import Board
    from stoep_firmware.sensing.bay import Bay, Field
    from stoep_firmware.settings import Settings
    from stoep_firmware.talk import Talk

_FIELDS = const(30)
_PATIENCE_MS = const(10_000)
_COUNTS_PER_MT = const(68420)  # of every driver
_BURST = const(5)  # pings
_NOISE_MM = const(30)  # between two echoes from one place; a guess
_PLACES = const(3)


def carry_out(
    board: "Board", task: "Any", settings: "Settings", talk: "Talk", room: int
) -> "Wait[None]":
    """Take the step that `talk` has, and give it the answer, in at most `room` octets.

    What cannot be read is not answered.
    """
    octets = talk.step
    talk.step = b""
    talk.step_ms = 0
    try:
        order: Any = decode_calibration(F_PORT_CALIBRATE, decode_array(octets))
    except DecodeError:
        return
    result = CALIBRATED_UNSUPPORTED
    values: tuple[int | None, ...] = ()
    try:
        if order.step == STEP_ECHOES:
            if board.config["kind"] == "bin":
                result, values = yield from _echoes(board, task, order.distance_cm)
                if "motion" in board.config:
                    task.stands()
        elif board.config["kind"] == "bay":
            threshold_nt = settings.bay_threshold_nt()
            result, values = yield from _field(board, task._bay, threshold_nt, order.step)
            task.store_due = True
    except OSError:
        result = CALIBRATED_NO_SENSOR
    unload(
        "stoep_firmware.calibrating",
        "stoep_firmware.sensing.detection",
        "stoep_protocol.calibration",
        *loaded(),
    )
    while True:
        talk.step = encode_calibration(Calibrated(order.step, result, values))[1]
        if len(talk.step) <= room:
            return
        values = values[:-1]


def _field(
    board: "Board", bay: "Bay", threshold_nt: int, step: int
) -> "Wait[tuple[int, tuple[int, ...]]]":
    """Wait until the field rests, for longer than a look does; then calibrate the bay by it."""
    from stoep_firmware.sensing import detection  # noqa: PLC0415 - let go of afterwards

    if step == STEP_CAR and bay.calibration() < CALIBRATION_DONE:
        return CALIBRATED_NO_BASELINE, ()
    now_ms = board.clock.now_ms
    threshold = threshold_nt * _COUNTS_PER_MT // 1_000_000
    sensor = load(board.config.get("sensor", "lis3mdl")).open_sensor(board.i2c())
    sensor.measure()
    fields: list[Field] = []
    until_ms = now_ms() + _PATIENCE_MS
    still = None
    while still is None and now_ms() < until_ms:
        yield LIGHT, now_ms() + sensor.CONVERSION_MS
        if sensor.fresh():
            fields = fields[1 - _FIELDS :] + [sensor.field()]
            if sensor.saturated():
                return CALIBRATED_SATURATED, ()
            if len(fields) == _FIELDS:
                still = settled(fields, threshold)
    if not fields:
        return CALIBRATED_NO_SENSOR, ()
    result = CALIBRATED_MOVING
    if still is not None:
        result = CALIBRATED
        warm = sensor.temperature()
        if step == STEP_CAR:
            change = detection.compare(bay, still, now_ms(), threshold, warm)
            if change <= threshold:
                result = CALIBRATED_WEAK
            return result, _in_nt(change, threshold)
        detection.calibrate(bay, still, now_ms(), warm)
    spread = 0
    for axis in range(3):
        values = [field[axis] for field in fields]
        spread = max(spread, max(values) - min(values))
    return result, _in_nt(spread, threshold // 3)  # as `settled` has it


def _in_nt(*counts: int) -> "tuple[int, ...]":
    return tuple([min(0xFFFF, count * 1_000_000 // _COUNTS_PER_MT) for count in counts])


def _echoes(
    board: "Board", task: "Any", distance_cm: "int | None"
) -> "Wait[tuple[int, tuple[int | None, ...]]]":
    """Ping for long, and say where echoes came from."""
    driver = load(board.config.get("sensor", "a02yyuw"))
    distances_mm: list[int] = []
    signs = 0
    begun_ms = board.clock.now_ms()
    for _ in range(PINGS // _BURST):
        burst, alive = yield from driver.sample(board, _BURST, None)
        distances_mm += burst
        signs += alive
    task._meter.draw(driver.SUPPLY_UA, board.clock.now_ms() - begun_ms)
    found = places(distances_mm, driver.NEAREST_MM, driver.FARTHEST_MM)
    values = [distance_cm] + [echo(cm, count) for count, cm in found[:_PLACES]]
    if len(values) == 1 and distance_cm is None:
        values = []
    return CALIBRATED if signs else CALIBRATED_NO_SENSOR, tuple(values)


def places(distances_mm: "list[int]", nearest_mm: int, farthest_mm: int) -> "list[tuple[int, int]]":
    """Return (count, cm) of each place that more than one echo came from, most echoes first.

    All that is nearer than `nearest_mm` is at 0 cm: something in the dead zone.
    """
    found = []
    group: list[int] = []
    near = 0
    for distance_mm in sorted(distances_mm) + [farthest_mm + 10 * _NOISE_MM]:
        if 0 < distance_mm < nearest_mm:
            near += 1
        elif distance_mm and group and distance_mm - group[-1] > _NOISE_MM:
            if len(group) > 1:
                found.append((len(group), (group[len(group) // 2] + 5) // 10))
            group = []
        if nearest_mm <= distance_mm <= farthest_mm:
            group.append(distance_mm)
    if near > 1:
        found.append((near, 0))
    found.sort(reverse=True)
    return found

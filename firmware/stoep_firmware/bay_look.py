"""A bay's look: let the field settle, decide, watch for the next change. Loaded only for it."""

from stoep_protocol.schema import ERROR_SENSOR_BUS, ERROR_SENSOR_SILENT, FIELD_SATURATED

from stoep_firmware.board import LIGHT
from stoep_firmware.drivers import load
from stoep_firmware.sensing.bay import axis_threshold, settled

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Wait, Watch
    from stoep_firmware.bay_task import BayTask

_FIELDS = const(6)
_PATIENCE_MS = const(10_000)  # for a car that manoeuvres
_RECHECK_MS = const(60_000)
# Between two slots a look every five minutes, and a rush of 32: a field that never rests, or an
# interrupt that is stuck, costs 8 mAh a day, not 150.
_PACE_MS = const(300_000)
_RUSH_MS = const(32 * 300_000)
_BLIND_MS = const(600_000)  # until a sensor that failed is looked for again
_BLIND = const(0x80)  # as in bay_task
_MARGIN_MS = const(20)  # the sensor's rate is its own, to some percent
_COUNTS_PER_MT = const(68420)  # of every driver


def look(task: "BayTask", by_pin: bool) -> "Wait[bool]":
    """Look, and see to it that looks do not come too often; returns as `BayTask.sense`."""
    now_ms = task._board.clock.now_ms()
    spent = by_pin and task._paid_ms > now_ms
    if by_pin:
        task._paid_ms = max(task._paid_ms, now_ms - _RUSH_MS) + _PACE_MS
    news = yield from _look(task, by_pin)
    if spent:
        task._board.sensor_wakes = False
        task._recheck_ms = max(task._recheck_ms, task._paid_ms)
    return news


def _look(task: "BayTask", by_pin: bool) -> "Wait[bool]":
    clock = task._board.clock
    changed = False
    before = task._flags
    task._flags = _BLIND
    task._recheck_ms = clock.now_ms() + _BLIND_MS
    # The pin of a sensor that is not under control would end every sleep at once.
    task._board.sensor_wakes = False
    threshold = task._settings.bay_threshold_nt() * _COUNTS_PER_MT // 1_000_000
    try:
        config = task._board.config
        driver = load(config.get("sensor", "lis3mdl"))
        sensor: Watch = driver.open_sensor(task._board.i2c())
        poll_ms = sensor.POLL_S and config.get("poll_s", sensor.POLL_S) * 1000
        sensor.measure()
        if by_pin and poll_ms and not before & _BLIND:
            yield LIGHT, clock.now_ms() + sensor.CONVERSION_MS + _MARGIN_MS
            if sensor.fresh() and settled([task._watched, sensor.field()], threshold):
                # An interrupt would not have come, so nothing is judged, nor counted.
                sensor.rest()
                task._flags = before
                task._paid_ms -= _PACE_MS
                task._recheck_ms = clock.now_ms() + poll_ms
                return False
        if by_pin:
            # The first change is a bonnet; what stays is a car, or the lane's traffic is gone.
            yield LIGHT, clock.now_ms() + task._settings.settle_s() * 1000
        fields: list[tuple[int, int, int]] = []
        until_ms = clock.now_ms() + _PATIENCE_MS
        still = None
        while still is None and clock.now_ms() < until_ms:
            yield LIGHT, clock.now_ms() + sensor.CONVERSION_MS
            if sensor.fresh():
                fields = fields[1 - _FIELDS :] + [sensor.field()]
                if len(fields) == _FIELDS:
                    still = settled(fields, threshold)
        if not fields:
            task._fault(ERROR_SENSOR_SILENT)
            return not by_pin or not before & _BLIND
        task._flags = FIELD_SATURATED if sensor.saturated() else 0
        recheck_ms = -1
        if still is None:
            recheck_ms = clock.now_ms() + _RECHECK_MS
            still = fields[-1]
        else:
            warm = sensor.temperature()
            state = task._bay.pack()
            changed = task._bay.update(still, clock.now_ms(), threshold, warm)
            if "second" in config:
                from stoep_firmware.second import ask  # noqa: PLC0415 - few bays have it

                changed = yield from ask(task, state, still, threshold, warm, changed)
        if task._regular():
            sensor.rest()
            return not by_pin
        if poll_ms:
            sensor.rest()
            task._watched = (0, 0, 0)
            if recheck_ms < 0:
                task._watched = still
                recheck_ms = clock.now_ms() + poll_ms
        else:
            sensor.watch(still, axis_threshold(threshold))
            yield LIGHT, clock.now_ms() + sensor.CONVERSION_MS + _MARGIN_MS
            sensor.settle()
            if task._board.sensor_int():
                # It would wake us at once, again and again: wait with open eyes instead.
                sensor.measure()
                recheck_ms = clock.now_ms() + _RECHECK_MS
            else:
                task._board.sensor_wakes = True
        task._recheck_ms = recheck_ms
    except OSError:
        task._fault(ERROR_SENSOR_BUS)
    return changed or not by_pin or (task._flags ^ before) & _BLIND != 0

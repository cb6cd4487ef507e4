"""Looks after a container's body and lid in a wake: accelerometer, thermometer, lid switch.

Loaded only on a board that has one of them, and only for the look. config.json says which:
`motion` and `thermometer` (drivers) and `lid`. What it means is in sensing/alarms.py, what happens
between wakes in lid.py.
"""

from stoep_protocol.schema import ERROR_SENSOR_BUS, ERROR_SENSOR_SILENT

from stoep_firmware import unload
from stoep_firmware.board import LIGHT
from stoep_firmware.drivers import load
from stoep_firmware.sensing.alarms import UNKNOWN_C, Alarms, calm

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_firmware._types import Any, Wait
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter
    from stoep_firmware.settings import Settings

# Between two slots a look of its own accord every ten minutes, and a rush of 24: whom the wind
# never leaves alone, or whose line is stuck, spends 2 mAh a day on it.
_PACE_MS = const(600_000)
_RUSH_MS = const(24 * 600_000)
# Asleep, in whole uA: a TMP102, and 1 MOhm at 3.3 V as long as the lid is shut.
_THERMOMETER_UA = const(1)
_SWITCH_UA = const(3)
# EN 54-5 class B, for places of 65 degrees at most, such as under a lid in the sun: from 69 on.
_ALARM_TEMPERATURE_C = const(70)


def look(
    board: "Board",
    settings: "Settings",
    state: bytes,
    fault: "Callable[[int], None]",
    meter: "Meter",
    by_pin: bool,
) -> "Wait[tuple[bool, bytes]]":
    """Return whether there is news, and the new state; both for sensing/alarms.py."""
    alarms = Alarms(state)
    config = board.config
    now_ms = board.clock.now_ms()
    spent = by_pin and alarms.paid_ms > now_ms
    if by_pin:
        alarms.paid_ms = max(alarms.paid_ms, now_ms - _RUSH_MS) + _PACE_MS
    past_ms = now_ms - alarms.looked_ms if alarms.looked_ms else 0
    alarms.looked_ms = now_ms
    alarms.again_ms = 0
    alarms.temperature_c = UNKNOWN_C
    news = False
    try:
        if "motion" in config:
            # The pin of a sensor that is not under control would end every sleep at once.
            board.sensor_wakes = False
            driver = load(config["motion"])
            meter.draw(driver.WATCHING_UA, past_ms)
            news = yield from _feel(board, driver, alarms, fault)
            # What moves without an end is looked at by the clock.
            board.sensor_wakes = not spent and not board.sensor_int()
    except OSError:
        fault(ERROR_SENSOR_BUS)
    try:
        if "thermometer" in config:
            meter.draw(_THERMOMETER_UA, past_ms)
            now_c = yield from _temperature(board, config["thermometer"], alarms.before_c)
            if now_c is None:
                fault(ERROR_SENSOR_SILENT)
            limit_c = settings.value("alarm_temperature_c", _ALARM_TEMPERATURE_C)
            if alarms.warmed(now_c, limit_c, now_ms):
                news = True
    except OSError:
        fault(ERROR_SENSOR_BUS)
    if board.lid:
        from stoep_firmware import lid  # noqa: PLC0415 - let go of after the look

        meter.draw(_SWITCH_UA, past_ms)
        flaps, open_ms = lid.counted(board, meter)
        alarms.flaps = min(0xFFFF, alarms.flaps + flaps)
        if alarms.opened(open_ms, lid.Lid(board.lid).limit_ms):
            news = True
    return news, alarms.pack()


def _feel(
    board: "Board", driver: "Any", alarms: Alarms, fault: "Callable[[int], None]"
) -> "Wait[bool]":
    """Take in how it stands and whether it was moved; True if that is news."""
    clock = board.clock
    sensor = driver.Accelerometer(board.i2c())
    settled = sensor.watches()
    if not settled:
        sensor.watch()
        yield LIGHT, clock.now_ms() + driver.SETTLE_MS
    pull = sensor.position_mg()
    if not any(pull):
        fault(ERROR_SENSOR_SILENT)
    moved = sensor.moved() and settled
    if moved:
        yield LIGHT, clock.now_ms() + driver.SAMPLE_MS
        pull = calm(pull, sensor.position_mg())
    tipped = alarms.pulled(pull, clock.now_ms())
    return alarms.moved(moved, clock.now_ms()) or tipped


def _temperature(board: "Board", name: str, before_c: int) -> "Wait[int | None]":
    """Measure; a leap is believed if the next measurement confirms it."""
    measure = load(name).temperature_c
    now_c: int | None = yield from measure(board)
    if now_c is not None and (before_c == UNKNOWN_C or abs(now_c - before_c) > 2):
        again_c: int | None = yield from measure(board)
        if again_c is None or abs(again_c - now_c) > 2:
            now_c = None
    unload("stoep_firmware.drivers." + name)
    return now_c

"""The distance sensors that a board may carry, by their names in config.json, and their wires."""

from collections.abc import Callable
from functools import partial
from typing import Any

from stoep_hardware.board_data import BoardData
from stoep_hardware.esp32 import Esp32
from stoep_hardware.pins import Input, Output

from . import hcsr04
from .a02yyuw import A02yyuw
from .hcsr04 import Hcsr04
from .maxbotix import Maxbotix
from .talker import BAUDRATE, Air
from .vl53l1x import ADDRESS, Vl53l1x

Ranger = A02yyuw | Maxbotix | Hcsr04 | Vl53l1x

_SENSORS: dict[str, Callable[..., Ranger]] = {
    "a02yyuw": A02yyuw,
    "maxbotix": Maxbotix,
    "hcsr04": partial(Hcsr04, **hcsr04.HC_SR04),
    "jsnsr04t": partial(Hcsr04, **hcsr04.JSN_SR04T),
    "vl53l1x": Vl53l1x,
}


# Those whose answer depends on how fast sound is in the air that they hang in.
_IN_AIR = ("maxbotix", "hcsr04", "jsnsr04t")


def make(name: str, source: Any, air_c: Air | None, options: dict[str, Any]) -> Ranger:
    """Make the sensor of that name, which points at a DistanceSource. Raises KeyError."""
    if air_c is not None and name in _IN_AIR:
        options = {"air_c": air_c, **options}
    return _SENSORS[name](source, **options)


def wire(esp32: Esp32, data: BoardData, sensor: Ranger) -> bool:
    """Connect it to the pins that the board has for it; return whether they switch its supply."""
    tx, rx = data.uart["tx"], data.uart["rx"]
    if isinstance(sensor, Vl53l1x):
        esp32.buses.i2c_slaves[ADDRESS] = sensor
        sensor.power(True, esp32.t_us)
        return False  # it keeps its supply, with the others on the bus
    if isinstance(sensor, Hcsr04):
        esp32.outputs[tx] = Output(sensor.trigger, idle=False)
        esp32.inputs[rx] = Input(sensor.level, sensor.stable_until_us)
    else:
        esp32.buses.uart_source = sensor
        esp32.buses.uart_baudrate = BAUDRATE
        esp32.buses.uart_idles_low = sensor.IDLES_LOW
    if isinstance(sensor, Maxbotix):
        esp32.inputs[rx] = Input(sensor.level)
    if "sensor_power" not in data.pins:
        sensor.power(True, esp32.t_us)
        return False
    on_level = bool(data.pins.get("sensor_power_on", 0))
    esp32.outputs[data.pins["sensor_power"]] = Output(
        lambda level, t_us: sensor.power(level == on_level, t_us), idle=not on_level
    )
    return True

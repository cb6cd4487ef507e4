"""The distance sensors that a board may carry, by their names in config.json, and their wires."""

from typing import Any

from stoep_hardware.board_data import BoardData
from stoep_hardware.esp32 import Esp32, Input, Output
from stoep_hardware.world import DistanceSource

from .a02yyuw import A02yyuw
from .maxbotix import Maxbotix
from .talker import BAUDRATE

Ranger = A02yyuw | Maxbotix

_SENSORS: dict[str, type[Ranger]] = {"a02yyuw": A02yyuw, "maxbotix": Maxbotix}


def make(name: str, source: DistanceSource, **options: Any) -> Ranger:
    """Make the sensor of that name. Raises KeyError."""
    return _SENSORS[name](source, **options)


def wire(esp32: Esp32, data: BoardData, sensor: Ranger) -> bool:
    """Connect it to the pins that the board has for it; return whether they switch its supply."""
    esp32.buses.uart_source = sensor
    esp32.buses.uart_baudrate = BAUDRATE
    esp32.buses.uart_idles_low = sensor.IDLES_LOW
    if isinstance(sensor, Maxbotix):
        esp32.inputs[data.uart["rx"]] = Input(sensor.level)
    if "sensor_power" not in data.pins:
        sensor.power(True, esp32.t_us)
        return False
    on_level = bool(data.pins.get("sensor_power_on", 0))
    esp32.outputs[data.pins["sensor_power"]] = Output(
        lambda level, t_us: sensor.power(level == on_level, t_us), idle=not on_level
    )
    return True

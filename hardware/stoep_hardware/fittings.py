"""What a container's board may have beside its distance sensor: on its body and under its lid."""

from typing import Any

from .board_data import BoardData
from .chips.accelerometer import AccelerometerModel
from .chips.lis2dw12 import Lis2dw12
from .chips.lis3dh import Lis3dh
from .chips.state_log import StateLog
from .chips.tmp102 import ADDRESS, Tmp102
from .engine import Engine
from .esp32 import Esp32
from .handling import Handling
from .pins import Input

_ACCELEROMETERS: dict[str, type[AccelerometerModel]] = {"lis3dh": Lis3dh, "lis2dw12": Lis2dw12}
# A reed switch to ground and its pull-up of 1 MOhm, which takes that as long as the lid is shut.
_PULL_UP_UA = 3.3


class Fittings:
    """The accelerometer, thermometer and lid switch that config.json names, on one container."""

    def __init__(
        self,
        engine: Engine,
        esp32: Esp32,
        data: BoardData,
        config: dict[str, Any],
        handling: Handling,
        *,
        keep_states: bool = False,
    ) -> None:
        self.accelerometer: AccelerometerModel | None = None
        self.thermometer: Tmp102 | None = None
        self.switch: StateLog | None = None
        self._handling = handling
        if "motion" in config:
            self.accelerometer = _ACCELEROMETERS[config["motion"]](
                engine, handling, keep_states=keep_states
            )
            self._attach_accelerometer(esp32, data.pins["motion_int"], self.accelerometer)
        if "thermometer" in config:
            self.thermometer = Tmp102(handling, keep_states=keep_states)
            esp32.buses.i2c_slaves[ADDRESS] = self.thermometer
            self.thermometer.power(True, engine.now_us)
        if "lid" in config:
            self.switch = StateLog(keep=keep_states)
            self._attach_switch(esp32, data.pins["lid"], self.switch)

    def _attach_accelerometer(self, esp32: Esp32, pin: int, chip: AccelerometerModel) -> None:
        esp32.buses.i2c_slaves[chip.address] = chip
        esp32.inputs[pin] = Input(lambda _t_us: chip.int_level)
        chip.on_int = lambda level, t_us: esp32.line_changed(pin, level, t_us)

    def _attach_switch(self, esp32: Esp32, pin: int, log: StateLog) -> None:
        esp32.inputs[pin] = Input(lambda _t_us: self._handling.is_open())

        def changed(is_open: bool, t_us: int) -> None:
            log.enter(t_us, "open" if is_open else "shut", 0.0 if is_open else _PULL_UP_UA)
            esp32.line_changed(pin, is_open, t_us)

        self._handling.on_lid(changed)

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        if self.accelerometer is not None:
            self.accelerometer.power(on, t_us)
        if self.thermometer is not None:
            self.thermometer.power(on, t_us)
        if self.switch is not None:
            drawn = on and not self._handling.is_open()
            self.switch.enter(t_us, "shut" if drawn else "open", _PULL_UP_UA if drawn else 0.0)

    def logs(self) -> dict[str, StateLog]:
        """Return what each part was doing, by part."""
        logs = {}
        if self.accelerometer is not None:
            logs["accelerometer"] = self.accelerometer.log
        if self.thermometer is not None:
            logs["thermometer"] = self.thermometer.log
        if self.switch is not None:
            logs["lid"] = self.switch
        return logs

    @property
    def violations(self) -> list[str]:
        """What the chips would not have taken, each with its time."""
        found = []
        for chip in (self.accelerometer, self.thermometer):
            if chip is not None:
                found += [f"{type(chip).__name__} {what}" for what in chip.violations]
        return found

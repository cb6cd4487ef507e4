"""A board with its chips soldered on and its sensor wired, as boards/*.toml and config.json say."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .air import Air
from .board_data import BoardData
from .chips import magnetometers, radios, rangers
from .chips.ssd1306 import ADDRESS, Ssd1306
from .chips.state_log import StateLog
from .chips.sx1262 import Sx1262
from .chips.vl53l1x import Vl53l1x
from .engine import Engine
from .esp32 import Esp32
from .fittings import Fittings
from .handling import Handling
from .pins import Input, Output
from .supply import BROWN_OUT_MV, Supply
from .world import DistanceSource, FieldSource

# How far the ESP32's slow clock is off between two calibrations, as a standard deviation.
RTC_PPM = 150.0


class SimBoard:
    """One device's hardware.

    The distance sensor that config.json names (`sensor`, of a bay `second`), made with
    `sensor_options`, points at `distance`; a bay's magnetometer is in `field`. `rtc_ppm` is drawn
    from the engine's randomness unless given. `battery_mv` is the cell's voltage at rest and
    `battery_ohms` its inner resistance. Wrong pins in config.json reach no chip: the wiring
    is the board's.
    Accelerometer, thermometer and lid switch, where config.json names them, feel `handling`.
    """

    def __init__(
        self,
        engine: Engine,
        air: Air,
        data: BoardData,
        config: dict[str, Any],
        *,
        position_m: tuple[float, float] = (0.0, 0.0),
        distance: DistanceSource | None = None,
        field: FieldSource | None = None,
        handling: Handling | None = None,
        sensor_options: dict[str, Any] | None = None,
        rtc_ppm: float | None = None,
        battery_mv: Callable[[int], int] = lambda _t_us: 3_600,
        battery_ohms: float = 0.0,
        brown_out_mv: int = BROWN_OUT_MV,
        keep_states: bool = False,
    ) -> None:
        self._engine = engine
        name = config["dev_eui"]
        if rtc_ppm is None:
            rtc_ppm = engine.random(f"device/{name}/rtc").gauss(0, RTC_PPM)
        eui = bytes.fromhex(name)
        self.supply = Supply(battery_mv, battery_ohms, brown_out_mv)
        self.esp32 = esp32 = Esp32(
            engine,
            data,
            unique_id=eui[:3] + eui[5:],
            entropy=engine.random(f"device/{name}/entropy"),
            rtc_ppm=rtc_ppm,
            battery_mv=self.supply.mv,
            keep_states=keep_states,
        )
        self.radio = radio = radios.make(engine, air, data, position_m, keep_states=keep_states)
        self._radio_name: str = data.radio["chip"]
        self.sonar: rangers.Ranger | None = None
        self._is_sonar_switched = False
        self.magnetometer: magnetometers.Magnetometer | None = None
        esp32.buses.spi_slave = radio
        pins = data.radio
        esp32.outputs[pins["nss"]] = Output(radio.set_nss, idle=data.nss_pull_up)
        esp32.outputs[pins["reset"]] = Output(radio.set_reset, idle=True)
        self._is_busy_stuck = False
        if isinstance(radio, Sx1262):
            esp32.inputs[pins["busy"]] = Input(partial(self._busy, radio), radio.busy_until_us)
        for line in radio.LINES:
            esp32.inputs[pins[line]] = Input(partial(self._radio_line, line), from_air=True)
        radio.on_line = lambda line, level, t_us: esp32.line_changed(pins[line], level, t_us)
        if distance is not None and config.get("sensor") != "absent":
            name = config.get("second" if config.get("kind") == "bay" else "sensor", "a02yyuw")
            options = {"keep_states": keep_states, **(sensor_options or {})}
            air_c = None if handling is None else handling.temperature_c
            self.sonar = rangers.make(name, distance, air_c, options)
            self._sonar_name: str = name
            self._is_sonar_switched = rangers.wire(esp32, data, self.sonar)
        if field is not None:
            name = config.get("sensor", "lis3mdl")
            sensor = magnetometers.make(name, engine, field, keep_states=keep_states)
            self._attach_magnetometer(data, sensor)
        self.fittings: Fittings | None = None
        if handling is not None:
            self.fittings = Fittings(engine, esp32, data, config, handling, keep_states=keep_states)
        self.display: Ssd1306 | None = None
        if data.display is not None:
            self.display = Ssd1306(keep_states=keep_states)
            esp32.buses.display_slaves[ADDRESS] = self.display
        esp32.is_brown = self.supply.is_brown
        self.supply.feeds(list(self.logs().values()), esp32.brown_out)

    def hang(self, what: str) -> None:
        """Have a bus ("spi", "i2c", "uart") never come back from a call, or "busy" stay high."""
        if what == "busy":
            self._is_busy_stuck = True
        else:
            self.esp32.buses.hanging.add(what)

    def release(self, what: str) -> None:
        """End what `hang` began."""
        if what == "busy":
            self._is_busy_stuck = False
        else:
            self.esp32.buses.hanging.discard(what)

    def _busy(self, radio: Sx1262, t_us: int) -> bool:
        return self._is_busy_stuck or radio.busy(t_us)

    def _radio_line(self, line: str, t_us: int) -> bool:
        self.radio.settle(t_us)
        return self.radio.line(line)

    def _attach_magnetometer(self, data: BoardData, sensor: magnetometers.Magnetometer) -> None:
        self.magnetometer = sensor
        self.esp32.buses.i2c_slaves[sensor.address] = sensor
        int_pin = data.pins["sensor_int"]
        self.esp32.inputs[int_pin] = Input(sensor.line)
        sensor.on_int = lambda level, t_us: self.esp32.line_changed(int_pin, level, t_us)

    @property
    def violations(self) -> list[str]:
        """What the chips would not have taken, each with its time."""
        found = [f"{self._radio_name} {what}" for what in self.radio.violations]
        if isinstance(self.sonar, Vl53l1x):
            found += [f"vl53l1x {what}" for what in self.sonar.violations]
        if self.magnetometer is not None:
            name = self.magnetometer.NAME
            found += [f"{name} {what}" for what in self.magnetometer.violations]
        if self.fittings is not None:
            found += self.fittings.violations
        return found

    def logs(self) -> dict[str, StateLog]:
        """Return what each part was doing, by part."""
        logs = {"esp32": self.esp32.log, self._radio_name: self.radio.log}
        if self.sonar is not None:
            logs[self._sonar_name] = self.sonar.log
        if self.magnetometer is not None:
            logs[self.magnetometer.NAME] = self.magnetometer.log
        if self.fittings is not None:
            logs |= self.fittings.logs()
        if self.display is not None:
            logs["ssd1306"] = self.display.log
        return logs

    def charge_uc(self, t_us: int) -> float:
        """Return the charge that all parts together have taken by `t_us`."""
        return sum(log.charge_uc(t_us) for log in self.logs().values())

    def power_on(self) -> None:
        """Connect the battery, now."""
        now_us = self._engine.now_us
        self.radio.power(True, now_us)
        if self.magnetometer is not None:
            self.magnetometer.power(True, now_us)
        if self.fittings is not None:
            self.fittings.power(True, now_us)
        if self.display is not None:
            self.display.power(True, now_us)
        if self.sonar is not None and not self._is_sonar_switched:
            self.sonar.power(True, now_us)
        self.esp32.power_on()

    def power_off(self) -> None:
        """Take the battery out, now."""
        now_us = self._engine.now_us
        self.esp32.power_off()
        self.radio.power(False, now_us)
        if self.magnetometer is not None:
            self.magnetometer.power(False, now_us)
        if self.fittings is not None:
            self.fittings.power(False, now_us)
        if self.display is not None:
            self.display.power(False, now_us)
        if self.sonar is not None:
            self.sonar.power(False, now_us)

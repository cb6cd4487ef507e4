"""The thermometer's model, and the firmware's driver on it."""

import pytest
from chip_bench import BOARD
from stoep_firmware.board import Board
from stoep_firmware.drivers.tmp102 import temperature_c
from stoep_hardware import board_data
from stoep_hardware.chips import tmp102 as model
from stoep_hardware.chips.tmp102 import Tmp102
from stoep_hardware.cpython_machine import make_esp32, make_machine, make_time
from stoep_hardware.engine import Engine
from stoep_hardware.esp32 import Esp32


class Bench:
    """A board with nothing but the thermometer on its bus."""

    def __init__(self, celsius=21.0, **options):
        self.celsius = celsius
        self.engine = Engine()
        data = board_data.load(BOARD)
        self.mcu = Esp32(
            self.engine, data, unique_id=bytes(6), entropy=self.engine.random("entropy")
        )
        self.chip = Tmp102(self, keep_states=True, **options)
        self.chip.power(True, 0)
        self.mcu.buses.i2c_slaves[model.ADDRESS] = self.chip
        self.board = Board(
            make_machine(self.mcu),
            make_esp32(self.mcu),
            make_time(self.mcu, lambda: False),
            self.mcu.entropy,
            None,
            None,
            {"board": data.wiring(), "kind": "bin"},
        )

    def temperature_c(self, t_us):
        return self.celsius

    def measure(self):
        program = temperature_c(self.board)
        while True:
            try:
                _, until_ms = next(program)
            except StopIteration as end:
                return end.value
            self.mcu.advance(until_ms * 1000 - self.mcu.rtc_us())


@pytest.mark.parametrize(
    ("celsius", "degrees"),
    [(21.0, 21), (-0.3, 0), (-0.6, -1), (-25.5, -25), (-25.6, -26), (84.5, 85), (127.9, 128)],
)
def test_driver_measures(celsius, degrees):
    bench = Bench(celsius)
    assert bench.measure() == degrees
    assert bench.chip.violations == []


@pytest.mark.parametrize(
    ("celsius", "word"),
    # DS table 5: the format of twelve bits.
    [(128, 0x7FF0), (100, 0x6400), (25, 0x1900), (0.25, 0x0040), (-0.25, 0xFFC0), (-55, 0xC900)],
)
def test_model_shows_what_the_data_sheet_lists(celsius, word):
    bench = Bench(celsius)
    assert bench.chip.read(model.TEMPERATURE, 2, model.CONVERSION_US - 1) == b"\0\0"
    assert bench.chip.read(model.TEMPERATURE, 2, model.CONVERSION_US) == word.to_bytes(2, "big")


def test_it_sleeps_between_measurements_and_takes_a_new_one_each_time():
    bench = Bench()
    assert bench.measure() == 21
    asleep_us = bench.mcu.t_us
    bench.celsius = 70.0
    bench.mcu.advance(10_000_000)
    assert bench.chip.read(model.TEMPERATURE, 2, bench.mcu.t_us)[0] == 21
    assert bench.measure() == 70
    assert bench.chip.log.states() == {"continuous", "shutdown", "conversion"}
    assert bench.chip.log.us_in("shutdown", bench.mcu.t_us) > bench.mcu.t_us - asleep_us - 50_000


def test_slow_conversion_is_waited_for():
    bench = Bench(conversion_us=35_000)
    assert bench.measure() == 21
    bench = Bench(conversion_us=90_000)
    assert bench.measure() == 21


def test_conversion_that_never_ends_is_no_temperature():
    bench = Bench()
    assert bench.measure() == 21
    bench.chip.fault = "stuck"
    bench.celsius = 90.0
    assert bench.measure() is None


def test_bus_that_is_stuck_high_is_no_temperature():
    bench = Bench()
    bench.chip.fault = "high"  # would be -0.06 degrees
    assert bench.measure() is None


def test_sensor_that_does_not_answer_is_an_error():
    bench = Bench()
    bench.chip.fault = "silent"
    with pytest.raises(OSError, match="ENODEV"):
        bench.measure()

"""The time-of-flight sensor's model, and the firmware's driver on it."""

import pytest
from chip_bench import Bench
from stoep_firmware.drivers import vl53l1x as driver
from stoep_firmware.sensing.bin import reading
from stoep_hardware.buses import SimulationError
from stoep_hardware.chips import vl53l1x as model
from stoep_hardware.chips.vl53l1x import ADDRESS, Vl53l1x
from stoep_protocol.schema import ECHO_BLOCKED, ECHO_WEAK

MS = 1_000


class Target:
    def __init__(self, distance_mm):
        self.at_mm = distance_mm

    def distance_mm(self, t_us):
        return self.at_mm


def powered(distance_mm=1_000, **options):
    sensor = Vl53l1x(Target(distance_mm), **options)
    sensor.power(True, 0)
    return sensor


def test_it_boots():
    sensor = powered()
    assert sensor.read(model.MODEL_ID, 2, 1_199) is None
    assert not sensor.write(model.CLEAR, b"\1", 1_199)
    assert sensor.read(model.MODEL_ID, 2, 1_200) == b"\xea\xcc"
    assert sensor.read(model.SYSTEM_STATUS, 1, 1_200)[0] & 1
    sensor.power(False, 2_000)
    assert sensor.read(model.MODEL_ID, 2, 9_000) is None


def test_without_settings_it_does_not_measure():
    sensor = powered()
    sensor.write(model.MODE_START, b"\x40", 2_000)
    assert sensor.read(model.READY, 1, 1_000_000)[0] & 1 == 0
    assert "started without" in sensor.violations[0]


def test_settings_are_not_changed_while_it_measures():
    bench = Bench(distance=Target(1_000), sensor="vl53l1x")
    program = driver.sample(bench.board, 5, None)
    next(program)
    bench.hardware.sonar.write(0x64, b"\0", bench.mcu.t_us)
    assert "while it measures" in bench.hardware.violations[0]


def test_registers_have_sixteen_bits():
    """Half a number asks for nothing; and a number of another chip's would be data to this."""
    bench = Bench(distance=Target(1_000), sensor="vl53l1x")
    i2c = bench.board.i2c()
    assert i2c.readfrom_mem(ADDRESS, 0x0F, 1) == b"\xff"
    with pytest.raises(SimulationError, match="8 bits"):
        i2c.writeto_mem(ADDRESS, 0x87, b"\x40")
    field = Bench(kind="bay", field=Field()).board.i2c()
    with pytest.raises(SimulationError, match="16 bits"):
        field.readfrom_mem(0x1C, 0x0F, 1, addrsize=16)


class Field:
    def field_ut(self, t_us):
        return 0.0, 0.0, 0.0

    def temperature_c(self, t_us):
        return 20.0

    def on_change(self, callback):
        pass


# ---- the driver -------------------------------------------------------------------------------


def sample(distance_mm, setup=None, **options):
    bench = Bench(distance=Target(distance_mm), sensor="vl53l1x", sensor_options=options)
    if setup:
        setup(bench)
    distances_mm, signs = bench.drive(driver.sample(bench.board, 5, None))
    assert bench.hardware.violations == []
    judged = reading(distances_mm, 5, driver.NEAREST_MM, driver.FARTHEST_MM)
    return distances_mm, signs, judged, bench


def test_the_driver_measures():
    distances_mm, signs, judged, bench = sample(1_234)
    assert distances_mm == [1_234] * 5
    assert signs == 7
    assert judged == (1_234, 4, 0)
    assert bench.hardware.sonar.log.state == "standby"
    active_ms = bench.hardware.sonar.log.us_in("on", bench.mcu.t_us) / MS
    assert 700 < active_ms < 850
    assert bench.mcu.log.us_in("awake", bench.mcu.t_us) / MS < 60, "it sleeps meanwhile"


def test_the_settings_are_all_written():
    """Those of ST's ultra lite driver for long distances and 100 ms, from 0x2D to 0x85."""
    sensor = sample(1_000)[3].hardware.sonar
    sensor._registers[0x31] &= 0xFE  # that it is ready is its own
    written = sensor._registers[0x2D:0x86]
    assert written == bytes.fromhex(
        "00 01 01 01 02 00 02 08 00 08 10 01 01 00 00 00 00 ff 00 0f 00 00 00 00 00 20 0b 00 00"
        "02 0a 21 00 00 05 00 00 00 00 c8 00 00 38 ff 01 00 08 00 00 01 cc 0f 01 ea 0d 01 68 00"
        "80 08 b8 00 00 00 00 0f 89 00 00 00 00 00 00 00 01 0f 0d 0e 0e 00 00 02 c7 ff 9b 00 00"
        "00 01"
    )


@pytest.mark.parametrize(
    ("distance_mm", "options", "expected"),
    [
        (None, {}, (None, 0, 0)),
        (9_500, {}, (None, 0, 0)),
        (4_700, {}, (None, 0, ECHO_WEAK)),  # light from beyond the range
        (1_500, {"bright_mm": 730}, (None, 0, 0)),  # sunlight
        (600, {"bright_mm": 730}, (600, 4, 0)),
        (1_000, {"sigma_mm": 91}, (None, 0, 0)),
        (1_000, {"status": model.OUT_OF_PHASE}, (None, 0, 0)),
        (1_000, {"status": model.TOO_NEAR}, (None, 0, ECHO_BLOCKED)),
        (20, {}, (None, 0, ECHO_BLOCKED)),  # dirt or water on its window
        (0, {}, (None, 0, ECHO_BLOCKED)),
        (1_000, {"status": 22}, (1_000, 4, 0)),
        (1_000, {"status": 12}, (None, 0, 0)),
    ],
)
def test_what_is_no_distance_becomes_a_code(distance_mm, options, expected):
    _, signs, judged, _ = sample(distance_mm, **options)
    assert judged == expected
    assert signs == 7


def test_some_uncertain_measurements_make_the_reading_less_certain():
    def flicker(bench):
        sensor = bench.hardware.sonar
        measure = sensor._measure
        sensor._measure = lambda t_us: (
            (model.SIGMA_FAIL, 1_070) if sensor.measurements in (3, 5) else measure(t_us)
        )

    assert sample(1_000, setup=flicker)[2] == (1_000, 3, 0)


@pytest.mark.parametrize(
    "options", [{"fault": "dead"}, {"model": 0xEEAA}, {"status": model.HARDWARE_FAIL}]
)
def test_sensor_that_is_not_there_or_is_another_or_has_failed_is_an_error(options):
    with pytest.raises(OSError, match=r"19|5"):
        sample(1_000, **options)


def test_measurement_that_does_not_end_is_not_waited_for():
    distances_mm, signs, _, bench = sample(1_000, fault="stuck")
    assert (distances_mm, signs) == ([], 0)
    assert bench.mcu.t_us < bench.hardware.esp32._booted_us + 1_000 * MS
    assert bench.hardware.sonar.log.state == "standby"


def test_sensor_that_never_boots_is_asked_in_vain_for_a_while():
    bench = Bench(distance=Target(1_000), sensor="vl53l1x", sensor_options={"fault": "asleep"})
    distances_mm, _ = bench.drive(driver.sample(bench.board, 5, None))
    assert distances_mm == [1_000] * 5, "what it says of itself is not all that counts"


def test_it_is_set_up_anew_each_time():
    bench = Bench(distance=Target(1_000), sensor="vl53l1x")
    for _ in range(2):
        assert bench.drive(driver.sample(bench.board, 2, None)) == ([1_000] * 2, 4)
        bench.hardware.sonar.power(False, bench.mcu.t_us)
        bench.hardware.sonar.power(True, bench.mcu.t_us)
        bench.mcu.advance(2 * MS)
    bench.hardware.sonar._registers[0x87] = 0x40  # left measuring by a reset
    assert bench.drive(driver.sample(bench.board, 2, None)) == ([1_000] * 2, 4)
    assert bench.hardware.violations == []

"""The model of MaxBotix' sensors, and the firmware's driver on it."""

import pytest
from chip_bench import Bench
from stoep_firmware.drivers import maxbotix as driver
from stoep_hardware.chips.maxbotix import Maxbotix
from stoep_hardware.chips.talker import BYTE_US

MS = 1_000


class Target:
    def __init__(self, *distances_mm):
        self._left = list(distances_mm)

    def distance_mm(self, t_us):
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def powered(*distances_mm, **options):
    sensor = Maxbotix(Target(*distances_mm), **options)
    sensor.power(True, 0)
    return sensor


def test_text_comes_first_and_then_a_distance_a_cycle():
    sensor = powered(1234, 876)
    assert sensor.sent(0, 65 * MS) == b""
    text = sensor.sent(65 * MS, 160 * MS)
    assert text.startswith(b"HRXL")
    assert text.endswith(b"TempI\r")
    assert sensor.sent(160 * MS, 470 * MS) == b"R1234\rR0876\r"


@pytest.mark.parametrize(
    ("distance_mm", "options", "said"),
    [
        (120, {}, b"R0300"),
        (None, {}, b"R5000"),
        (6_000, {}, b"R5000"),
        (6_000, {"greatest": 9_999, "least": 500}, b"R6000"),
        (None, {"greatest": 9_999, "least": 500}, b"R9999"),
        (None, {"unit": "cm"}, b"R765"),
        (80, {"unit": "cm"}, b"R020"),
        (2_000, {"unit": "cm", "air_c": 22.5}, b"R200"),  # what 58 us per cm are made for
        (2_000, {"unit": "cm", "air_c": -10.0}, b"R212"),
    ],
)
def test_what_it_says(distance_mm, options, said):
    assert powered(distance_mm, **options).sent(200 * MS, 320 * MS) == said + b"\r"


@pytest.mark.parametrize("idles_low", [False, True])
def test_its_line(idles_low):
    sensor = powered(1234, idles_low=idles_low)
    begin_us = (160 + 148 - 10) * MS
    bits = [sensor.level(begin_us + BYTE_US * at // 20) for at in range(1, 20, 2)]
    # "R" is 0x52: a start bit, the bits from the lowest up, a stop bit.
    assert [bit != idles_low for bit in bits] == [0, 0, 1, 0, 0, 1, 0, 1, 0, 1]
    assert sensor.level(begin_us - 1) != idles_low


# ---- the driver -------------------------------------------------------------------------------


def sample(*distances_mm, temperature_c=None, setup=None, without=(), **options):
    target = Target(*distances_mm)
    bench = Bench(distance=target, sensor="maxbotix", sensor_options=options, without=without)
    if setup:
        setup(bench)
    return bench.drive(driver.sample(bench.board, 5, temperature_c)), bench


@pytest.mark.parametrize("idles_low", [False, True], ids=["ttl", "rs232"])
@pytest.mark.parametrize("period_ms", [133, 148, 181])
def test_the_driver_hears_either_kind_of_line(idles_low, period_ms):
    (distances_mm, octets), bench = sample(
        1201, 1202, 1203, 1204, 1205, 1206, idles_low=idles_low, period_ms=period_ms
    )
    assert distances_mm == [1201, 1202, 1203, 1204, 1205]
    assert octets >= 30
    awake_ms = bench.mcu.log.us_in("awake", bench.mcu.t_us) / MS
    assert awake_ms < 2 * period_ms + 3 * 60
    assert bench.hardware.sonar.log.state == "off"


def test_the_driver_is_not_misled_by_text_that_goes_on_when_it_begins_to_listen():
    (distances_mm, _), _ = sample(1201, without=("sensor_power", "sensor_power_on"), period_ms=100)
    assert distances_mm == [1201] * 5
    frames = driver.Frames()
    frames.feed(b"nar-WRL\rPN:MB7386\rRoHS 1.8b090  0713\rTempI\rR1234\r")
    assert frames.distances_mm == [1234]


@pytest.mark.parametrize(
    ("distance_mm", "options", "told_mm"),
    [
        (None, {}, 0),
        (5_600, {}, 0),
        (None, {"greatest": 4_999}, 0),
        (None, {"greatest": 9_999, "least": 500}, 0),
        (7_200, {"greatest": 9_999, "least": 500}, 7_200),
        (None, {"unit": "cm"}, 0),
        (250, {}, 1),
        (100, {"unit": "cm"}, 1),
        (301, {}, 301),
    ],
)
def test_the_driver_knows_what_is_no_distance(distance_mm, options, told_mm):
    assert sample(distance_mm, **options)[0][0] == [told_mm] * 5
    assert (0 < told_mm < driver.NEAREST_MM) == (told_mm == 1)


@pytest.mark.parametrize("air_c", [-10, 0, 20, 35])
def test_the_driver_corrects_centimetres_for_the_air(air_c):
    (distances_mm, _), _ = sample(2_000, unit="cm", air_c=air_c, temperature_c=air_c)
    assert distances_mm[0] == pytest.approx(2_000, abs=10)
    (distances_mm, _), _ = sample(2_000, unit="cm", air_c=air_c)
    assert distances_mm[0] == pytest.approx(2_000 * (1 + 0.0018 * (20 - air_c)), abs=15)
    (distances_mm, _), _ = sample(2_000, air_c=air_c, temperature_c=air_c)
    assert distances_mm[0] == 2_000, "an HRXL has done so itself"


def test_the_driver_without_a_sensor():
    def unplug(bench):
        bench.mcu.buses.uart_source = None

    (distances_mm, octets), bench = sample(1_000, setup=unplug)
    assert (distances_mm, octets) == ([], 0)
    assert bench.hardware.sonar.log.us_in("on", bench.mcu.t_us) < 1_900 * MS


def test_the_driver_hears_that_a_line_of_the_wrong_kind_is_alive():
    def float_high(bench):  # a pull-up against an output that has gone weak
        del bench.mcu.inputs[bench.config["board"]["uart"]["rx"]]
        bench.board.data_pin = lambda _name: lambda: 1

    (distances_mm, octets), _ = sample(1_000, setup=float_high, idles_low=True)
    assert distances_mm == []
    assert octets > 30

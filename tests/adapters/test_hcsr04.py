"""The models of HC-SR04 and JSN-SR04T, and the firmware's driver on them."""

from itertools import pairwise

import pytest
from chip_bench import Bench
from stoep_firmware.drivers import hcsr04 as driver
from stoep_firmware.drivers import jsnsr04t
from stoep_firmware.sensing.bin import reading
from stoep_hardware.chips.hcsr04 import HC_SR04, JSN_SR04T, RISE_US, Hcsr04
from stoep_protocol.schema import ECHO_BLOCKED, ECHO_WEAK

MS = 1_000


class Target:
    def __init__(self, distance_mm):
        self.at_mm = distance_mm

    def distance_mm(self, t_us):
        return self.at_mm


def pulse(distance_mm, trigger_us=10, on=True, **options):
    sensor = Hcsr04(Target(distance_mm), **(HC_SR04 | options))
    sensor.power(on, 0)
    sensor.trigger(True, 1_000)
    sensor.trigger(False, 1_000 + trigger_us)
    rise_us = sensor.stable_until_us(1_000 + trigger_us)
    if rise_us is None:
        return None
    assert rise_us == 1_000 + trigger_us + RISE_US
    assert not sensor.level(rise_us - 1)
    if sensor.stable_until_us(rise_us) is None:
        return "for ever" if sensor.level(rise_us) else 0
    fall_us = sensor.stable_until_us(rise_us)
    assert sensor.level(fall_us - 1)
    assert not sensor.level(fall_us)
    assert sensor.stable_until_us(fall_us) is None
    return fall_us - rise_us


@pytest.mark.parametrize(
    ("distance_mm", "options", "length_us"),
    [
        (1_000, {}, 5_827),
        (1_000, {"air_c": 0.0}, 6_037),  # 331.3 m/s
        (5, {}, 117),
        (100, JSN_SR04T, 1_457),
        (4_001, {}, 38 * MS),
        (None, {"no_echo_ms": 60}, 60 * MS),
        (None, {"no_echo_ms": 0}, 0),
        (None, {"no_echo_ms": None}, "for ever"),
        (1_000, {"trigger_us": 9}, None),
        (1_000, {"on": False}, None),
    ],
)
def test_pulse(distance_mm, options, length_us):
    assert pulse(distance_mm, **options) == length_us


def test_ping_while_it_waits_is_ignored():
    sensor = Hcsr04(Target(1_000), **HC_SR04)
    sensor.power(True, 0)
    for t_us in (0, 3_000, 7_000):
        sensor.trigger(True, t_us)
        sensor.trigger(False, t_us + 10)
    assert sensor.pings_us == [10, 7_010]


# ---- the driver -------------------------------------------------------------------------------


def sample(distance_mm, temperature_c=20, sensor="hcsr04", setup=None, seed=0, **options):
    bench = Bench(distance=Target(distance_mm), sensor=sensor, sensor_options=options, seed=seed)
    if setup:
        setup(bench)
    module = jsnsr04t if sensor == "jsnsr04t" else driver
    distances_mm, signs = bench.drive(module.sample(bench.board, 5, temperature_c))
    judged = reading(distances_mm, 5, module.NEAREST_MM, module.FARTHEST_MM)
    return distances_mm, signs, judged, bench


@pytest.mark.parametrize("sensor", ["hcsr04", "jsnsr04t"])
def test_the_driver_pings(sensor):
    distances_mm, signs, judged, bench = sample(1_200, sensor=sensor)
    assert len(distances_mm) == signs == 5
    assert bench.hardware.sonar.log.state == "off"
    assert judged == (pytest.approx(1_200, abs=4), 4, 0)
    on_ms = bench.hardware.sonar.log.us_in("on", bench.mcu.t_us) / MS
    assert on_ms < 650
    assert bench.mcu.log.us_in("awake", bench.mcu.t_us) / MS < 5 * 12 + 10
    gaps_us = [after - before for before, after in pairwise(bench.hardware.sonar.pings_us)]
    assert min(gaps_us) >= 60 * MS
    assert max(gaps_us) - min(gaps_us) > 2 * MS


@pytest.mark.parametrize("air_c", [-20, 0, 20, 40])
def test_the_driver_corrects_for_the_air(air_c):
    assert sample(2_000, air_c, air_c=air_c)[0][0] == pytest.approx(2_000, abs=8)
    unknown = sample(2_000, None, air_c=air_c)[0][0]
    assert unknown == pytest.approx(2_000 * (1 + 0.0018 * (20 - air_c)), abs=16)


@pytest.mark.parametrize(
    ("distance_mm", "options", "expected", "alive"),
    [
        (None, {"no_echo_ms": 38}, (None, 0, 0), True),
        (None, {"no_echo_ms": 60}, (None, 0, 0), True),
        (None, {"no_echo_ms": 200}, (None, 0, 0), True),
        (None, {"no_echo_ms": 0}, (None, 0, 0), False),  # as a dead one
        (None, {"no_echo_ms": None}, (None, 0, 0), True),
        (4_500, {"farthest_mm": 6_000}, (None, 0, ECHO_WEAK), True),
        (3, {}, (None, 0, ECHO_BLOCKED), True),
        (3, {"sensor": "jsnsr04t"}, (None, 0, ECHO_BLOCKED), True),
        (3, {"sensor": "jsnsr04t", "air_c": 0, "temperature_c": None}, (None, 0, 4), True),
    ],
)
def test_what_is_no_distance_becomes_a_code(distance_mm, options, expected, alive):
    _, signs, judged, _ = sample(distance_mm, **options)
    assert judged == expected
    assert (signs > 0) == alive


def test_line_that_stays_high_is_freed_by_a_cut_of_the_supply():
    _, signs, _, bench = sample(None, no_echo_ms=None)
    assert signs == 5
    assert len(bench.hardware.sonar.pings_us) == 5


@pytest.mark.parametrize("level", [False, True])
def test_line_that_does_not_move_is_given_up(level):
    def stick(bench):
        bench.hardware.sonar.stuck = level

    distances_mm, signs, _, bench = sample(1_000, setup=stick)
    assert (distances_mm, signs) == ([], 0)
    assert bench.mcu.log.us_in("awake", bench.mcu.t_us) / MS < 200


def test_unpowered_or_on_other_pins_nobody_answers():
    def invert(bench):
        bench.config["board"]["sensor_power_on"] = 1

    def swap(bench):
        line = bench.config["board"]["uart"]
        line["tx"], line["rx"] = line["rx"], line["tx"]

    assert sample(1_000, setup=invert)[:2] == ([], 0)
    assert sample(1_000, setup=swap)[:2] == ([], 0)


def test_ping_that_is_still_on_its_way_is_waited_for():
    """Floor and lid throw a ping to and fro; too early another would take it for its own."""
    assert sample(3_900)[2] == (pytest.approx(3_900, abs=10), 4, 0)


@pytest.mark.parametrize("other_ms", [33, 60, 65, 66, 90, 110])
def test_another_sensor_nearby_makes_no_reading_that_is_wrong_and_trusted(other_ms):
    """Whatever its pace: as pings come at random, its sound ends them at different places."""
    trusted = 0
    disturbed = 0
    for seed in range(40):
        distances_mm, _, (distance_mm, quality, _), _ = sample(2_000, other_ms=other_ms, seed=seed)
        disturbed += any(abs(one_mm - 2_000) > 30 for one_mm in distances_mm)
        if quality > 2:
            trusted += 1
            assert distance_mm == pytest.approx(2_000, abs=30)
    assert disturbed >= 5
    assert trusted > 5 or other_ms == 33  # which falls into every second ping

"""The ultrasonic sensor's model, and the firmware's driver on it."""

import pytest
from chip_bench import Bench
from stoep_firmware.drivers import a02yyuw as driver
from stoep_firmware.sensing.bin import reading
from stoep_hardware.chips.a02yyuw import A02yyuw
from stoep_hardware.chips.talker import BAUDRATE, BYTE_US
from stoep_protocol.schema import ECHO_BLOCKED

MS = 1_000


class Target:
    def __init__(self, *distances_mm):
        self.distances_mm = list(distances_mm)
        self.asked_us = []

    def distance_mm(self, t_us):
        self.asked_us.append(t_us)
        at = min(len(self.asked_us), len(self.distances_mm)) - 1
        return self.distances_mm[at]


def powered(*distances_mm, **options):
    sensor = A02yyuw(Target(*distances_mm), **options)
    sensor.power(True, 0)
    return sensor


def frames(data):
    assert len(data) % 4 == 0
    found = []
    for at in range(0, len(data), 4):
        head, high, low, check = data[at : at + 4]
        assert head == 0xFF
        assert check == (head + high + low) & 0xFF
        found.append(high << 8 | low)
    return found


def test_frames_come_ten_times_a_second():
    sensor = powered(1000, 1001, 1002, 1003)
    assert sensor.sent(0, 299 * MS) == b""
    assert frames(sensor.sent(299 * MS, 690 * MS)) == [1000, 1001, 1002, 1003]


def test_a_published_frame():
    """FF 07 A1 A7 is 1953 mm in the maker's description."""
    assert powered(1953).sent(0, 350 * MS) == bytes.fromhex("ff07a1a7")


def test_octets_come_one_by_one():
    sensor = powered(1000)
    for octet in range(4):
        before_us = 300 * MS + octet * BYTE_US
        assert len(sensor.sent(before_us, before_us + BYTE_US)) == 1
    assert len(sensor._source.asked_us) == 1


def test_without_power_it_is_silent():
    sensor = powered(1000, 2000)
    assert frames(sensor.sent(0, 350 * MS)) == [1000]
    sensor.power(False, 360 * MS)
    assert sensor.sent(360 * MS, 5_000 * MS) == b""
    sensor.power(True, 6_000 * MS)
    assert sensor.sent(6_000 * MS, 6_299 * MS) == b"", "it starts anew"
    assert frames(sensor.sent(6_299 * MS, 6_350 * MS)) == [2000]


def test_nearer_than_its_blind_zone():
    assert frames(powered(7).sent(0, 350 * MS)) == [30]


@pytest.mark.parametrize("distance_mm", [None, 4501])
def test_no_echo(distance_mm):
    assert powered(distance_mm).sent(0, 1_000 * MS) == b""
    assert set(frames(powered(distance_mm, sends_zero=True).sent(0, 1_000 * MS))) == {0}


def test_charge():
    sensor = powered(1000)
    sensor.power(False, 1_000 * MS)
    assert sensor.log.charge_uc(9_000 * MS) == pytest.approx(8_000)


# ---- the driver -------------------------------------------------------------------------------


def sample(distance, setup=None, period_ms=100):
    bench = Bench(distance=distance)
    bench.hardware.sonar._period_us = period_ms * MS
    if setup:
        setup(bench)
    burst = bench.drive(driver.sample(bench.board, 5, None))
    return burst, bench


def test_the_driver_collects_frames():
    (distances_mm, _), bench = sample(Target(1200, 1201, 1202, 1203, 1204, 1205))
    assert distances_mm[:5] == [1200, 1201, 1202, 1203, 1204]
    on_us = bench.hardware.sonar.log.us_in("on", bench.mcu.t_us)
    assert 700 * MS < on_us < 1_000 * MS, "powered no longer than it takes"


@pytest.mark.parametrize("period_ms", [60, 100, 150, 300])
def test_the_driver_sleeps_between_frames_once_it_knows_their_period(monkeypatch, period_ms):
    monkeypatch.setattr(driver, "_BURST_MS", 3_000)
    (distances_mm, _), bench = sample(Target(*range(1200, 1210)), period_ms=period_ms)
    assert distances_mm == [1200, 1201, 1202, 1203, 1204], "none is slept through"
    awake_ms = bench.mcu.log.us_in("awake", bench.mcu.t_us) / MS
    # Until two frames have come it has to be awake, from then on around each of three.
    assert awake_ms < 300 + period_ms + 3 * 45
    if period_ms > 60:
        assert bench.mcu.log.us_in("light", bench.mcu.t_us) > 3 * (period_ms - 45) * MS


def test_the_driver_stays_awake_for_a_frame_that_has_not_come():
    distances = Target(1200, 1201, 1202, None, None, 1205, 1206)
    (distances_mm, _), _ = sample(distances)
    assert distances_mm == [1200, 1201, 1202, 1205, 1206]


def test_the_driver_without_an_echo():
    burst, bench = sample(Target(None))
    assert burst == ([], 0)
    assert bench.hardware.sonar.log.state == "off"


@pytest.mark.parametrize(
    ("distance_mm", "options", "expected"),
    [
        (7, {}, (None, 0, ECHO_BLOCKED)),  # it says 30
        (None, {"sends_zero": True}, (None, 0, 0)),
        (4_501, {"sends_zero": True}, (None, 0, 0)),
        (31, {}, (31, 4, 0)),
        (4_500, {}, (4_500, 4, 0)),
    ],
)
def test_what_is_no_distance_becomes_a_code(distance_mm, options, expected):
    bench = Bench(distance=Target(distance_mm), sensor_options=options)
    distances_mm, octets = bench.drive(driver.sample(bench.board, 5, None))
    assert octets == 20
    assert reading(distances_mm, 5, driver.NEAREST_MM, driver.FARTHEST_MM) == expected


def test_some_frames_missing():
    (distances_mm, _), _ = sample(Target(1200, None, 1200, None, 1200, None, 1200))
    assert distances_mm[:3] == [1200, 1200, 1200]


def test_on_other_pins_nobody_talks():
    def swap(bench):
        line = bench.config["board"]["uart"]
        line["tx"], line["rx"] = line["rx"], line["tx"]

    assert sample(Target(1200), setup=swap)[0] == ([], 0)


def test_at_another_speed_nothing_is_understood():
    bench = Bench(distance=Target(1200))
    bench.board.sensor_power(True)
    uart = bench.board.uart(115_200)
    bench.mcu.advance(1_000 * MS)
    assert uart.any() == 0


def test_unpowered_nobody_talks():
    def invert(bench):
        bench.config["board"]["sensor_power_on"] = 1

    assert sample(Target(1200), setup=invert)[0] == ([], 0)


def test_light_sleep_loses_what_the_sensor_says():
    """Why the firmware stays awake for a frame: the UART has no clock in light sleep."""
    bench = Bench(distance=Target(1200))
    bench.board.sensor_power(True)
    uart = bench.board.uart(BAUDRATE)
    bench.pause(1_000)
    assert uart.any() < 4, "seven frames were sent meanwhile"
    bench.mcu.advance(300 * MS)
    assert uart.any() >= 8


def test_a_full_buffer_takes_no_more():
    bench = Bench(distance=Target(1200))
    bench.board.sensor_power(True)
    uart = bench.board.uart(BAUDRATE)
    bench.mcu.advance(20_000 * MS)
    assert uart.any() == 256


def test_a_sensor_without_a_switch_is_on_whenever_the_board_is():
    board = Bench(distance=Target(1200), without=("sensor_power", "sensor_power_on")).hardware
    assert board.sonar.sent(0, 1_000 * MS)
    board.power_off()
    board.power_on()
    assert board.sonar.sent(0, 1_000 * MS)

"""What of a container's readings is told at once: alarms, changes, and no false echo."""

from stoep_firmware.sensing import news
from stoep_firmware.settings import Settings
from stoep_protocol import schema

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
NOTHING = bytes(20)


class Container:
    """Weighs one reading after the other; a reading is (distance_mm, quality)."""

    def __init__(self, mode, **config):
        whole = {"kind": "bin", "interval_s": 3600, "mode": mode}
        whole.update(config)
        self.settings = Settings(whole)
        self.state = NOTHING
        self.now_ms = 5000

    def read(self, distance_mm, quality=4, after_ms=0):
        """Return whether it is told, and after how long the sensor wants another look."""
        self.now_ms += after_ms
        due, self.state = news.weigh(self.state, self.now_ms, distance_mm, quality, self.settings)
        again_ms = int.from_bytes(self.state[:8], "little")
        return due, again_ms - self.now_ms if again_ms else None


def test_the_first_reading_is_told_even_without_an_echo():
    for distance_mm in (900, None):
        for mode in (schema.MODE_ON_CHANGE, schema.MODE_BOTH):
            assert Container(mode).read(distance_mm) == (True, None)


def test_a_change_is_told_and_counts_from_what_was_told_last():
    here = Container(schema.MODE_ON_CHANGE)
    told = [
        distance_mm
        for distance_mm in (900, 801, 1000, 901, 899, 800, 790, 790)
        if here.read(distance_mm, after_ms=HOUR_MS)[0]
    ]
    assert told == [900, 1000, 899, 790]


def test_a_change_of_nothing_tells_every_reading():
    here = Container(schema.MODE_ON_CHANGE, change_cm=0)
    assert [here.read(900, after_ms=HOUR_MS)[0] for _ in range(3)] == [True] * 3


def test_without_a_change_a_day_is_not_left_without_a_report():
    here = Container(schema.MODE_ON_CHANGE)
    told = [hour for hour in range(100) if here.read(900, after_ms=HOUR_MS - 3)[0]]
    assert told == [0, 24, 48, 72, 96]


def test_both_tells_at_each_interval_and_at_once():
    here = Container(schema.MODE_BOTH)
    assert here.settings.interval_ms() == HOUR_MS // 4
    distances_mm = [900] * 9 + [750] * 6
    told = [
        at
        for at, distance_mm in enumerate(distances_mm)
        if here.read(distance_mm, after_ms=HOUR_MS // 4)[0]
    ]
    assert told == [0, 4, 8, 9, 13]


def test_an_alarm_begins_and_ends_with_a_report_each_and_does_not_flutter():
    here = Container(schema.MODE_ON_CHANGE, change_cm=1000, alarm_distance_cm=40)
    told = [
        distance_mm
        for distance_mm in (900, 401, 400, 350, 401, 500, 399, 501, 401, 500, 400)
        if here.read(distance_mm, after_ms=HOUR_MS)[0]
    ]
    assert told == [900, 400, 501, 400]


def test_one_false_echo_is_no_alarm_and_no_change():
    for quality in (1, 2):
        here = Container(schema.MODE_ON_CHANGE, alarm_distance_cm=40)
        here.read(900)
        assert here.read(300, quality, HOUR_MS) == (False, MINUTE_MS)
        assert here.read(900, 4, MINUTE_MS) == (False, None)
        assert here.read(300, quality, HOUR_MS) == (False, MINUTE_MS)
        assert here.read(None, 0, MINUTE_MS) == (False, None)
        # Another false echo, elsewhere, does not confirm the alarm; the change it does.
        assert here.read(300, quality, HOUR_MS) == (False, MINUTE_MS)
        assert here.read(700, quality, MINUTE_MS) == (True, None)
        assert here.read(300, 3, HOUR_MS) == (True, None)


def test_a_doubtful_echo_that_stays_is_an_alarm_and_a_good_one_at_once():
    here = Container(schema.MODE_BOTH, change_cm=1000, alarm_distance_cm=40)
    here.read(900)
    assert here.read(390, 1, HOUR_MS // 4) == (False, MINUTE_MS)
    assert here.read(380, 1, MINUTE_MS) == (True, None)
    # Its end, likewise.
    assert here.read(900, 2, HOUR_MS // 4) == (False, MINUTE_MS)
    assert here.read(900, 2, MINUTE_MS) == (True, None)
    assert here.read(390, 3, HOUR_MS // 4) == (True, None)
    assert here.read(900, 3, HOUR_MS // 4) == (True, None)


def test_an_unsure_sensor_is_not_looked_at_more_than_twice_a_slot():
    here = Container(schema.MODE_ON_CHANGE, alarm_distance_cm=40)
    here.read(900)
    for _ in range(10):
        assert here.read(300, 1, HOUR_MS) == (False, MINUTE_MS)
        assert here.read(920, 1, MINUTE_MS) == (False, None)


def test_no_echo_neither_begins_nor_ends_an_alarm():
    here = Container(schema.MODE_ON_CHANGE, alarm_distance_cm=40)
    here.read(900)
    assert here.read(None, 0, HOUR_MS) == (False, None)
    assert here.read(300, 4, HOUR_MS) == (True, None)
    assert here.read(None, 0, HOUR_MS) == (False, None)
    assert here.read(300, 4, HOUR_MS) == (False, None)


def test_a_battery_that_is_only_for_alarms_tells_no_change_and_no_day():
    for mode in (schema.MODE_REGULAR, schema.MODE_ON_CHANGE, schema.MODE_BOTH):
        here = Container(mode, alarm_distance_cm=40)
        here.read(900)
        here.settings.level = 2
        assert here.read(600, 4, HOUR_MS) == (False, None)
        assert here.read(600, 4, 2 * DAY_MS) == (False, None)
        assert here.read(400, 4, HOUR_MS) == (True, None)
        assert here.read(400, 4, HOUR_MS) == (False, None)
        assert here.read(600, 4, HOUR_MS) == (True, None)
        without = Container(mode)
        without.settings.level = 2
        assert without.read(30) == (False, None)


def test_an_alarm_that_is_no_longer_wanted_ends():
    here = Container(schema.MODE_ON_CHANGE, change_cm=1000, alarm_distance_cm=40)
    here.read(300)
    here.settings = Container(schema.MODE_ON_CHANGE, change_cm=1000).settings
    assert here.read(300, 4, HOUR_MS) == (True, None)
    assert here.read(300, 4, HOUR_MS) == (False, None)

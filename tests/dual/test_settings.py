"""Settings: what comes down replaces what was there, whole or not at all; what the levels do."""

from stoep_firmware.settings import Settings
from stoep_protocol import schema
from stoep_protocol.messages import Configuration, config_hash, encode

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def settings(kind="bin", **config):
    whole = {"kind": kind, "interval_s": 3600}
    whole.update(config)
    return Settings(whole)


def bytes_of(**fields):
    return encode(Configuration(**fields))[1]


def test_defaults_are_those_of_the_documentation():
    container = settings()
    assert container.mode() == schema.MODE_REGULAR
    assert container.interval_ms() == container.report_ms() == HOUR_MS
    assert (container.history(), container.confirmed_every()) == (6, 0)
    assert (container.change_mm(), container.alarm_distance_mm()) == (100, 0)
    bay = settings("bay")
    assert bay.mode() == schema.MODE_BOTH
    assert bay.interval_ms() == HOUR_MS
    assert (bay.bay_threshold_nt(), bay.settle_s()) == (6500, 4)


def test_a_downlink_goes_before_the_file_and_the_file_before_the_default():
    container = settings(change_cm=7, history=9)
    assert (container.change_mm(), container.history()) == (70, 9)
    assert container.receive(bytes_of(change_cm=0, alarm_distance_cm=45)) == 0
    assert (container.change_mm(), container.history()) == (0, 9)
    assert container.alarm_distance_mm() == 450
    # What the next one leaves out is the file's again.
    assert container.receive(bytes_of(history=2)) == 0
    assert (container.change_mm(), container.history()) == (70, 2)
    assert container.alarm_distance_mm() == 0
    assert container.receive(bytes_of()) == 0
    assert (container.change_mm(), container.history()) == (70, 9)


def test_the_hash_tells_what_is_in_force_however_it_came_to_be():
    one, other = settings(), settings(history=7)
    one.receive(bytes_of(interval_min=30, history=4))
    for device in (one, other):
        assert device.receive(bytes_of(interval_min=20)) == 0
        assert device.receive(bytes_of(interval_min=20)) == 0  # a repeated downlink
        answer = device.acknowledgement(0)
        assert answer.config_hash == config_hash(Configuration(interval_min=20))
        assert answer.refused == 0


def test_what_is_refused_leaves_everything_as_it_is():
    newer = bytes_of(settle_s=1)
    newer = bytes([newer[0] + 1]) + newer[1:] + b"\x01"  # an item more than we know
    for kind, data, refused in (
        ("bin", b"", schema.REFUSED_MALFORMED),
        ("bin", b"\xff", schema.REFUSED_MALFORMED),
        ("bin", b"\x81\xf6", schema.REFUSED_MALFORMED),
        ("bin", b"\x81\x41\x01", schema.REFUSED_MALFORMED),
        ("bin", newer, schema.REFUSED_MALFORMED),
        ("bay", newer, schema.REFUSED_MALFORMED),
        ("bin", b"\x82\x14\x03", schema.REFUSED_RANGE),  # mode 3
        ("bin", b"\x81\x18\x1f", schema.REFUSED_RANGE),  # 31 min
        ("bin", bytes_of(interval_min=20, alarm_temperature_c=60), schema.REFUSED_UNSUPPORTED),
        ("bin", bytes_of(interval_min=20, settle_s=2), schema.REFUSED_UNSUPPORTED),
        ("bin", bytes_of(interval_min=20, bay_threshold_nt=5000), schema.REFUSED_UNSUPPORTED),
        ("bay", bytes_of(interval_min=20, history=2), schema.REFUSED_UNSUPPORTED),
        ("bay", bytes_of(interval_min=20, change_cm=2), schema.REFUSED_UNSUPPORTED),
        ("bay", bytes_of(interval_min=20, alarm_distance_cm=2), schema.REFUSED_UNSUPPORTED),
        ("bay", bytes_of(interval_min=20, alarm_temperature_c=60), schema.REFUSED_UNSUPPORTED),
        ("bay", bytes_of(interval_min=20, bay_threshold_nt=2999), schema.REFUSED_RANGE),
    ):
        device = settings(kind)
        before = Configuration(interval_min=35, mode=schema.MODE_REGULAR, confirmed_every=6)
        assert device.receive(encode(before)[1]) == 0
        assert device.receive(data) == refused, (kind, data)
        answer = device.acknowledgement(refused)
        assert (answer.config_hash, answer.refused) == (config_hash(before), refused)
        assert (device.interval_ms(), device.confirmed_every()) == (35 * 60_000, 6)


def test_each_kind_takes_what_is_its_own():
    assert settings("bay").receive(bytes_of(bay_threshold_nt=3000, settle_s=0)) == 0
    taken = bytes_of(change_cm=1, alarm_distance_cm=1000, history=24)
    assert settings().receive(taken) == 0


def test_what_has_come_down_outlives_a_restart():
    before = settings()
    before.receive(bytes_of(interval_min=720, mode=schema.MODE_BOTH, change_cm=3))
    after = settings()
    after.unpack(before.pack())
    assert after.interval_ms() == 3 * HOUR_MS
    assert (after.mode(), after.change_mm()) == (schema.MODE_BOTH, 30)
    assert after.acknowledgement(0) == before.acknowledgement(0)


def test_a_container_looks_four_times_for_a_report_in_whole_minutes():
    for minutes, looks_min in ((60, 15), (35, 8), (1, 0.25), (2, 0.5), (4, 1), (7, 1), (1920, 480)):
        device = settings()
        device.receive(bytes_of(interval_min=minutes, mode=schema.MODE_BOTH))
        assert device.interval_ms() == looks_min * 60_000, minutes
        assert device.report_ms() == minutes * 60_000
        device.receive(bytes_of(interval_min=minutes, mode=schema.MODE_ON_CHANGE))
        assert device.interval_ms() == device.report_ms() == minutes * 60_000


def test_a_low_battery_stretches_what_is_asked_for():
    container = settings(confirmed_every=2)
    bay = settings("bay", confirmed_every=2)
    for level, container_ms, bay_ms, confirmed in (
        (0, HOUR_MS, HOUR_MS, 2),
        (1, 4 * HOUR_MS, 4 * HOUR_MS, 0),
        (2, 4 * HOUR_MS, DAY_MS, 0),
        (3, DAY_MS, DAY_MS, 0),
    ):
        container.level = bay.level = level
        assert container.interval_ms() == container_ms
        assert bay.interval_ms() == bay_ms
        assert container.confirmed_every() == bay.confirmed_every() == confirmed
        # A bay has no alarms: with a battery that is only for those its pin is left alone.
        assert bay.mode() == (schema.MODE_BOTH if level < 2 else schema.MODE_REGULAR)


def test_a_bay_that_tells_changes_has_a_heartbeat_a_day():
    bay = settings("bay")
    bay.receive(bytes_of(interval_min=20, mode=schema.MODE_ON_CHANGE))
    assert bay.interval_ms() == DAY_MS
    bay.receive(bytes_of(interval_min=20))
    assert bay.interval_ms() == 20 * 60_000

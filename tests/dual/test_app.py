"""Whole wakes of a container's device: what it says and keeps, what it does when things fail."""

from dual_wakes import HOUR_MS, Device, of
from stoep_firmware import talk
from stoep_firmware.board import DEEP
from stoep_protocol import messages, schema
from stoep_protocol.lorawan import frames


def test_first_wake_joins_reports_and_tells_its_status():
    device = Device()
    device.wake()
    heard = device.take()
    assert heard[0] == "join"
    assert heard[1] == messages.BinReport(0, 800, quality=4)
    status = heard[2]
    assert status.firmware == talk.FIRMWARE
    assert (status.hardware, status.battery_mv) == (1, 3600)
    assert status.reset_reason == schema.RESET_POWER_ON
    assert status.errors == ()
    assert status.link_margin_db == 12
    assert len(heard) == 3
    assert device.radio.state == "cold"
    assert not device.board.powered
    assert device.board.problems == []
    assert device.until_ms - device.board.clock.ms <= HOUR_MS


def test_later_wakes_report_with_history_every_interval():
    device = Device()
    device.wake()
    device.take()
    wakes = []
    for number in range(30):
        device.sleep()
        wakes.append(device.board.clock.ms)
        device.board.distances_mm = [700 - number] * 5
        device.wake()
    assert [wakes[at + 1] - wakes[at] for at in range(29)] == [HOUR_MS] * 29
    heard = device.take()
    reports = of(messages.BinReport, heard)
    assert [report.sequence for report in reports] == list(range(1, 31))
    assert reports[-1].distance_mm == 671
    assert [minutes for minutes, _, _ in reports[-1].history] == list(range(60, 7 * 60, 60))
    assert len(of(messages.Status, heard)) == 1  # a day later
    assert "join" not in heard


def test_storage_is_written_rarely():
    device = Device()
    device.wake()
    before = device.board.storage.writes
    for _ in range(100):
        device.sleep()
        device.wake()
    # FCntUp and the readings' numbers claim 32 at a time, each for itself.
    assert device.board.storage.writes - before <= 8


def test_no_echo_is_a_value():
    device = Device()
    device.board.distances_mm = []
    device.wake()
    assert device.take()[1] == messages.BinReport(0, None)


def test_dead_sensor_is_an_error_code_within_hours():
    device = Device()
    device.board.distances_mm = []
    for _ in range(7):
        device.wake()
        device.sleep()
    errors = [status.errors for status in of(messages.Status, device.take())]
    assert errors == [(), (schema.ERROR_SENSOR_SILENT,)]


def test_reading_waits_while_nobody_answers():
    device = Device()
    device.deaf = True
    while device.board.clock.ms < 5 * HOUR_MS:
        device.wake()
        device.sleep()
    device.deaf = False
    while not of(messages.BinReport, device.heard):
        device.wake()
        device.sleep()
    report = of(messages.BinReport, device.take())[0]
    assert len(report.history) >= 4
    assert report.sequence == len(report.history)


def test_configuration_comes_down_and_is_acknowledged():
    device = Device()
    wanted = messages.Configuration(interval_min=30, history=1)
    device.wake()
    device.sleep()
    device.take()
    device.down = [{"f_port": 13, "data": messages.encode(wanted)[1], "confirmed": True}]
    device.wake()
    heard = device.take()
    assert heard[1] == messages.ConfigurationAck(messages.config_hash(wanted))
    assert device.network.heard[-1][0].ack
    assert device.until_ms - device.board.clock.ms <= HOUR_MS // 2
    for _ in range(3):
        device.sleep()
        before_ms = device.board.clock.ms
        device.wake()
        assert device.until_ms - before_ms == HOUR_MS // 2
    assert of(messages.BinReport, device.take())[-1].history
    # In force after a power loss, too.
    device.lose_power()
    device.wake()
    device.sleep()
    device.wake()
    assert of(messages.BinReport, device.take())[-1].history


def test_configuration_that_cannot_be_is_refused():
    for data, refused in (
        (b"\xff", schema.REFUSED_MALFORMED),
        (
            messages.encode(messages.Configuration(alarm_temperature_c=60))[1],
            schema.REFUSED_UNSUPPORTED,
        ),
        (b"\x81\x19\xff\xff", schema.REFUSED_RANGE),
    ):
        device = Device()
        device.down = [{"f_port": 13, "data": data}]
        device.wake()
        acknowledgement = of(messages.ConfigurationAck, device.take())
        nothing = messages.config_hash(messages.Configuration())
        assert acknowledgement == [messages.ConfigurationAck(nothing, refused)], data
    device = Device()
    device.down = [{"f_port": 99, "data": b"x"}]
    device.wake()
    assert of(messages.ConfigurationAck, device.take()) == []


def test_every_nth_report_is_confirmed():
    device = Device(confirmed_every=3)
    device.wake()
    for _ in range(5):
        device.sleep()
        device.down = [{"ack": True}]
        device.wake()
    confirmed = [frame.confirmed for frame, _ in device.network.heard if frame.f_port == 10]
    assert confirmed == [False, False, True, False, False, True]


def test_reports_that_nobody_confirms_do_not_keep_the_status_back():
    device = Device(confirmed_every=1)  # heard, but out of reach of every downlink
    for _ in range(30):
        device.wake()
        device.sleep()
    heard = device.take()
    assert len(of(messages.Status, heard)) == 2
    assert len(of(messages.BinReport, heard)) >= 28
    assert {report.sequence for report in of(messages.BinReport, heard)} >= set(range(28))


def test_session_survives_a_power_loss_and_skips_ahead():
    device = Device()
    device.wake()
    for _ in range(3):
        device.sleep()
        device.wake()
    last = device.network.f_cnt_up
    device.take()
    device.lose_power()
    device.wake()
    heard = device.take()
    assert "join" not in heard
    counters = [frame.f_cnt for frame, _ in device.network.heard]
    assert min(counters[-len(heard) :]) == 32 > last
    assert of(messages.Status, heard)[0].reset_reason == schema.RESET_POWER_ON


def test_power_fails_at_every_sleep_of_a_wake():
    device = Device()
    count = 0
    finished = 0
    while finished < 3:
        count += 1
        if not device.wake(stop_after=count):
            count = 0
            finished += 1
        device.lose_power()
        device.board.clock.ms = 1000
    # Network.accept and .open have refused every DevNonce that comes twice; and FCntUp:
    device.wake()
    seen = {}
    for frame, payload in device.network.heard:
        key = (device.network.dev_addr, frame.f_cnt, frame.mic)
        assert seen.setdefault(key, payload) == payload
    assert device.network.dev_nonces == sorted(device.network.dev_nonces)


def test_reset_keeps_what_rtc_memory_holds():
    device = Device()
    device.wake()
    device.take()
    device.sleep()
    device.wake(stop_after=8)  # the watchdog bites in the middle of an uplink
    device.board.reason = "watchdog"
    device.wake()
    counters = [frame.f_cnt for frame, _ in device.network.heard]
    assert max(counters) < 10
    assert "join" not in device.take()


def test_broken_radio_does_not_keep_the_device_awake_and_is_told_later():
    device = Device()
    device.wake()
    device.sleep()
    device.take()
    device.radio.broken = 64
    yielded = device.wake()
    assert yielded[-1][0] == DEEP
    assert device.board.problems == []
    device.radio.broken = None
    device.sleep()
    device.wake()
    heard = device.take()
    assert of(messages.Status, heard)[0].errors == (schema.ERROR_RADIO, 64)
    assert of(messages.BinReport, heard)[0].sequence == 2


def test_full_storage_keeps_the_device_off_the_air_until_it_is_not():
    device = Device()
    device.board.storage.broken = True
    device.wake()
    assert device.radio.sent == []
    device.board.storage.broken = False
    while not of(messages.Status, device.heard):
        device.sleep()
        device.wake()
    heard = device.take()
    assert heard[0] == "join"
    assert schema.ERROR_STORAGE in of(messages.Status, heard)[0].errors


def test_exception_ends_in_deep_sleep_and_a_code():
    device = Device()
    device.wake()
    device.take()
    device.sleep()
    uart = device.board.uart

    def broken(baudrate):
        raise KeyError("uart")

    device.board.uart = broken
    yielded = device.wake()
    assert yielded[-1][0] == DEEP
    assert len(device.board.problems) == 1
    device.board.uart = uart
    device.sleep()
    device.wake()
    assert schema.ERROR_PROGRAM in of(messages.Status, device.take())[0].errors


def test_unreadable_configuration_still_ends_in_deep_sleep():
    device = Device()
    device.board.config["app_key"] = "not a key"
    yielded = device.wake()
    assert len(yielded) == 1
    assert device.board.problems


def test_clock_that_begins_anew_does_not_silence_the_device():
    device = Device()
    device.wake()
    for _ in range(50):
        device.sleep()
        device.wake()
    device.take()
    device.board.clock.ms = 1000  # RTC memory has survived, its clock has not
    device.board.reason = "reset"
    device.wake()
    heard = device.take()
    assert len(of(messages.BinReport, heard)) == 1
    assert schema.ERROR_CLOCK in of(messages.Status, heard)[0].errors
    assert device.until_ms - device.board.clock.now_ms() <= HOUR_MS
    for _ in range(3):  # its time goes on from where it was, through every sleep
        device.sleep()
        device.wake()
    reports = of(messages.BinReport, device.take())
    assert [minutes for minutes, _, _ in reports[-1].history][:2] == [60, 120]
    assert len(reports) == 3


def test_pending_downlinks_are_fetched_at_once():
    device = Device()
    device.wake()
    device.sleep()
    device.take()
    device.down = [{"f_pending": True}, {"f_pending": True}, {}]
    device.wake()
    assert [message is None for message in device.take()] == [False, True, True]
    assert [frame.m_type for frame, _ in device.network.heard[-2:]] == [frames.UNCONFIRMED_UP] * 2

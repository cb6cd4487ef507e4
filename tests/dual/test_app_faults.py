"""Whole wakes with everything against them: each ends in deep sleep, and the next ones work."""

from dual_device import new_key
from dual_wakes import HOUR_MS, Device, of
from stoep_firmware import meter
from stoep_firmware.board import DEEP
from stoep_protocol import messages, schema
from stoep_protocol.lorawan import crypto, mac_commands
from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.regions import EU868


class PowerFailsError(BaseException):
    """Not an Exception: no firmware survives it."""


def test_power_fails_at_every_write_to_storage_before_and_after_it():
    for after in (False, True):
        device = Device()
        files = device.board.storage
        write = files.write

        left = [0]

        def failing(name, data, write=write, after=after, left=left):
            left[0] -= 1
            if left[0] >= 0 or after:
                write(name, data)
            if left[0] < 0:
                raise PowerFailsError()

        readings = 0
        files.write = failing
        for number in range(12):
            device.lose_power()
            left[0] = number % 4
            for _ in range(150):
                readings += 1
                device.board.distances_mm = [500 + readings] * 5
                try:
                    device.wake()
                except PowerFailsError:
                    break
                device.sleep()
            else:
                raise AssertionError("storage is written within 32 reports")
        files.write = write
        device.lose_power()
        device.wake()
        # Network.accept has refused every DevNonce that comes twice. FCntUp and the readings':
        said = {}
        for frame, payload in device.network.heard:
            assert said.setdefault(frame.f_cnt, payload) == payload
        reports = of(messages.BinReport, device.take())
        measured = {}
        for report in reports:
            assert measured.setdefault(report.sequence, report.distance_mm) == report.distance_mm
        assert len(reports) > 100


def test_storage_that_fails_for_good_costs_no_report_until_counters_are_used_up():
    device = Device()
    device.wake()
    device.take()
    device.board.storage.broken = True
    for _ in range(20):
        device.sleep()
        device.wake()
    heard = device.take()
    assert len(of(messages.BinReport, heard)) == 20


def test_missing_or_senseless_configuration_ends_in_deep_sleep():
    whole = Device().board.config
    for name in sorted(whole):
        for value in (None, "", "zz", -1, 0, [], "missing"):
            device = Device()
            device.board.config[name] = value
            if value == "missing":
                del device.board.config[name]
            for _ in range(3):
                yielded = device.wake()
                assert yielded[-1][0] == DEEP
                assert device.until_ms >= device.board.clock.now_ms() + 1000
                device.sleep()
            assert not device.board.powered
    device = Device()
    del device.board.wiring["id"]
    device.wake()
    assert of(messages.Status, device.take())[0].hardware is None


def test_garbage_in_rtc_memory_is_a_power_loss():
    device = Device()
    device.wake()
    device.sleep()
    device.wake()
    record = device.board.rtc_memory()
    highest = device.network.f_cnt_up
    for garbage in (b"", b"\0" * 2048, b"\xff" * 2048, b"SW2", record[:-1], record[3:]):
        device.take()
        device.sleep()
        device.board.rtc_memory(garbage)
        device.board.reason = "watchdog"
        device.wake()
        assert "join" not in device.take()
        assert device.board.problems == []
        assert device.network.f_cnt_up > highest
        highest = device.network.f_cnt_up


def test_board_with_other_keys_joins_anew_and_goes_on_with_its_nonces():
    for rtc_too in (False, True):
        device = Device()
        device.wake()
        device.take()
        device.config["app_key"] = "202122232425262728292a2b2c2d2e2f"
        device.network.app_key = new_key(bytes(range(32, 48)))
        if rtc_too:
            device.lose_power()
        else:
            device.board.config.update(device.config)
            device.board.reason = "reset"
        device.wake()
        assert device.take()[0] == "join"
        assert device.network.dev_nonces == [0, 1]
        device.sleep()
        device.wake()
        assert "join" not in device.take()


def test_board_of_a_container_that_becomes_a_bays_starts_without_a_crash():
    device = Device()
    device.wake()
    device.config["kind"] = device.board.config["kind"] = "bay"

    def absent():
        raise OSError(19)

    device.board.i2c = absent
    device.wake()
    assert device.board.problems == []
    device.lose_power()
    device.board.i2c = absent
    device.wake()
    assert device.board.problems == []


def test_clock_that_begins_anew_leaves_the_duty_cycle_as_it_was():
    device = Device()
    device.wake()
    for _ in range(10):
        device.board.clock.ms = 1000
        device.board.reason = "reset"
        device.wake()
    assert len(device.radio.sent) > 10
    quiet = {}
    for sent_ms, freq_hz, sf, _, octets in device.radio.sent:
        band = EU868.sub_band(freq_hz)
        assert sent_ms >= quiet.get(band.low_hz, 0)
        airtime_ms = time_on_air_us(len(octets), sf, 125000) // 1000
        quiet[band.low_hz] = sent_ms + airtime_ms * band.duty_cycle


def test_sensing_that_raises_is_told_in_a_status_and_leaves_the_sensor_without_power():
    device = Device()
    device.wake()
    device.take()

    def broken(baudrate):
        raise KeyError("uart")

    device.board.uart = broken
    device.sleep()
    due_ms = device.board.clock.ms
    device.wake()
    assert not device.board.powered
    statuses = of(messages.Status, device.take())
    assert schema.ERROR_PROGRAM in statuses[0].errors
    assert device.until_ms == due_ms + HOUR_MS


def test_charge_and_voltage_out_of_range_do_not_end_the_reports():
    device = Device()
    device.board.battery_mv = lambda: 99_999
    device.wake()
    device.take()
    meter.Meter.used_mah, used_mah = lambda self: 99_999, meter.Meter.used_mah
    device.sleep()
    device.board.clock.ms += 25 * HOUR_MS
    device.wake()
    meter.Meter.used_mah = used_mah
    status = of(messages.Status, device.take())[0]
    assert (status.charge_used_mah, status.battery_mv) == (0xFFFF, 0xFFFF)


def test_interval_of_nothing_is_no_busy_loop():
    device = Device(interval_s=0)
    for _ in range(20):
        device.wake()
        assert device.until_ms - device.board.clock.ms >= 1000
        device.sleep()


def test_any_downlink_on_any_port_leaves_a_device_that_reports():
    device = Device()
    device.wake()
    state = 1
    for port in list(range(1, 16)) + [99, 223, 224]:
        for length in (0, 1, 2, 7, 40, 200):
            data = b""
            while len(data) < length:
                state = (state * 1103515245 + 12345) & 0x7FFFFFFF
                data += bytes((state >> 16 & 0xFF,))
            if length == 7:
                data = b"\x81" + data[1:2]
            device.take()
            device.down = [{"f_port": port, "data": data, "f_pending": length == 2}]
            device.sleep()
            device.wake()
            assert device.down == []
            assert of(messages.BinReport, device.take()), (port, data)
            assert device.board.problems == []
            assert device.until_ms - device.board.clock.ms <= 32 * HOUR_MS


class Chatter(Device):
    """A device far away, and a network that answers every uplink."""

    def __init__(self, **down):
        super().__init__()
        self.said = None
        self.wake()
        self.sleep()
        slow = mac_commands.encode(crypto.DOWN, ((mac_commands.LINK_ADR, 0, 0, 0xFF, 0, 1),))
        self.down = [{"f_opts": slow}]
        self.wake()
        self.take()
        self.said = down

    def _answer(self, freq_hz, sf, phy_payload):
        if self.said:
            self.down = [self.said]
        return super()._answer(freq_hz, sf, phy_payload)


def test_network_that_answers_every_uplink_gets_no_more_than_eight_in_an_hour():
    for down in ({"f_pending": True}, {"confirmed": True}, {"f_port": 13, "data": b"\x81\x18\x3c"}):
        device = Chatter(**down)
        since_ms = device.board.clock.now_ms()
        sent = len(device.radio.sent)
        while device.board.clock.now_ms() - since_ms < 48 * HOUR_MS:
            device.sleep()
            device.wake()
        assert len(device.radio.sent) - sent <= 8 * 49
        heard = device.take()
        assert len(of(messages.BinReport, heard)) >= 48
        assert of(messages.Status, heard)


class Timekeeper(Device):
    """A device whose network always says what time it is; `lost_ms` the board's clock missed."""

    lost_ms = 0

    def _answer(self, freq_hz, sf, phy_payload):
        s = (self.board.clock.now_ms() + self.lost_ms) // 1000 + 1_000_000_000
        self.down = [{"f_opts": b"\x0d" + s.to_bytes(4, "little") + b"\0"}]
        return super()._answer(freq_hz, sf, phy_payload)


def test_time_that_a_clock_has_lost_is_not_taken_for_its_drift():
    device = Timekeeper()
    device.wake()
    for _ in range(70):
        device.sleep()
        device.wake()
    before_ppm = device.board.clock.error_ppm()
    assert before_ppm < 1000
    device.lost_ms = HOUR_MS // 2  # three per cent of most of a day
    device.board.clock.ms = 1000
    device.board.reason = "reset"
    device.wake()
    for _ in range(48):
        device.sleep()
        device.wake()
        assert device.board.clock.error_ppm() <= before_ppm

"""A device whose wakes fail, again and again: it says so, and comes back when it can."""

from dual_wakes import HOUR_MS, Device, of
from stoep_firmware import bin_task
from stoep_firmware.board import DEEP
from stoep_protocol import messages, schema

QUARTER_MS = HOUR_MS // 4


def unusable(*arguments):
    raise ValueError("no such thing")


class Broken:
    """While it lasts, the task of a container cannot be made."""

    def __enter__(self):
        self._task = bin_task.BinTask
        bin_task.BinTask = unusable

    def __exit__(self, *_):
        bin_task.BinTask = self._task


def fail(device, times):
    for _ in range(times):
        before = len(device.board.problems)
        yielded = device.wake()
        assert yielded[-1][0] == DEEP
        assert device.take() == []
        assert len(device.board.problems) == before + 1
        assert device.until_ms == device.board.clock.ms + QUARTER_MS
        device.sleep()


def test_three_failed_starts_end_in_safe_mode_which_joins_and_says_so():
    device = Device()
    with Broken():
        fail(device, 3)
        device.wake()
        join, status = device.take()
        assert join == "join"
        assert status.errors == (schema.ERROR_SAFE_MODE,)
        assert status.reset_reason == schema.RESET_CRASH
        assert device.until_ms == device.board.clock.ms + 6 * HOUR_MS
        assert device.radio.state == "cold"


def test_device_in_safe_mode_tries_again_and_says_again_that_it_is():
    device = Device()
    with Broken():
        fail(device, 3)
        for _ in range(4):
            device.wake()
            assert [type(heard) for heard in device.take()][-1] is messages.Status
            device.sleep()
            fail(device, 1)
    assert len(device.network.dev_nonces) == 1


def test_device_that_has_joined_needs_no_join_in_safe_mode_nor_after_it():
    device = Device()
    for _ in range(5):
        device.wake()
        device.sleep()
    device.take()
    with Broken():
        fail(device, 3)
        device.wake()
        assert of(messages.Status, device.take())
    for _ in range(3):
        device.sleep()
        device.wake()
    heard = device.take()
    assert "join" not in heard
    reports = of(messages.BinReport, heard)
    assert len(reports) == 3
    # What RTC memory held is given up, so the readings' numbers skip ahead like FCntUp.
    assert [report.sequence for report in reports] == list(range(32, 35))
    assert device.board.problems[3:] == []


def test_safe_mode_lasts_until_it_has_been_said():
    device = Device()
    device.deaf = True
    with Broken():
        fail(device, 3)
        for _ in range(3):
            device.wake()
            assert device.until_ms - device.board.clock.ms <= 6 * HOUR_MS
            device.sleep()
        device.deaf = False
        for _ in range(50):
            device.wake()
            heard = device.take()
            if heard:
                break
            device.sleep()
        assert heard[0] == "join"
        assert heard[1].errors == (schema.ERROR_SAFE_MODE,)
        device.sleep()
        fail(device, 1)


def test_clock_that_begins_anew_in_safe_mode_does_not_silence_the_device():
    for before in range(2):
        device = Device()
        sent = device.radio.sent
        device.board.random = lambda below, sent=sent: (len(sent) * 7 + 3) % max(1, below)
        device.wake()
        device.board.clock.ms += 3 * 8766 * HOUR_MS
        for _ in range(20):
            device.sleep()
            device.wake()
        if before:  # the clock has an offset already
            device.board.clock.ms = 1000
            device.board.reason = "reset"
            device.wake()
        device.take()
        device.sleep()
        with Broken():
            fail(device, 3)
            if not before:
                device.board.clock.ms = 1000
                device.board.reason = "reset"
            device.wake()
            assert of(messages.Status, device.take())
            assert device.until_ms - device.board.clock.now_ms() == 6 * HOUR_MS
        for _ in range(3):
            device.sleep()
            device.wake()
        assert len(of(messages.BinReport, device.take())) == 3


class BrownOutError(BaseException):
    """Not an Exception: no firmware survives it."""


def test_cell_that_gives_in_at_every_uplink_is_asked_ever_more_rarely():
    for joined in range(2):
        device = Device()
        if joined:
            device.wake()
            device.sleep()
        begun_ms = device.board.clock.now_ms()
        tries = [device.board.clock.now_ms()]
        sends = device.radio.transmit

        def gives_in(*_, device=device, tries=tries):
            tries.append(device.board.clock.now_ms())
            raise BrownOutError

        device.radio.transmit = gives_in
        while device.board.clock.now_ms() < begun_ms + 48 * HOUR_MS:
            try:
                device.wake()
                device.sleep()
            except BrownOutError:
                device.board.clock.ms += 3000
                device.board.reason = "power"
        assert 9 <= len(tries) <= 16
        for last in (-1, -2):
            assert 6 * HOUR_MS <= tries[last] - tries[last - 1] < 7 * HOUR_MS
        device.radio.transmit = sends
        device.take()
        device.wake()
        device.sleep()
        assert device.radio.state == "cold"
        while not of(messages.BinReport, device.heard):
            device.wake()
            device.sleep()
        assert device.board.clock.now_ms() < tries[-1] + 24 * HOUR_MS
        status = of(messages.Status, device.take())[0]
        assert status.reset_reason == schema.RESET_BROWN_OUT


def test_power_loss_in_safe_mode_loses_no_counter():
    for stop_after in range(1, 9):
        device = Device()
        device.wake()
        device.take()
        device.sleep()
        with Broken():
            fail(device, 3)
            device.wake(stop_after)
            device.take()
            device.lose_power()
            fail(device, 3)
            device.wake()
            device.lose_power()
        device.take()
        device.wake()
        heard = device.take()
        assert "join" not in heard
        assert of(messages.BinReport, heard)


class HangsError(BaseException):
    """Not an Exception: only the watchdog ends it."""


def hangs(*arguments):
    raise HangsError()


def test_hung_sensor_is_told_and_left_alone_for_longer_and_longer():
    device = Device()
    device.wake()
    device.take()
    uart = device.board.uart
    device.board.uart = hangs
    slots_between = []
    slots = 0
    while len(slots_between) < 6:
        device.sleep()
        try:
            device.wake()
        except HangsError:
            slots_between.append(slots)
            slots = 0
            device.board.clock.ms += 30_000
            device.board.reason = "watchdog"
            device.wake()
            heard = device.take()
            assert not of(messages.BinReport, heard)
            assert device.until_ms - device.board.clock.ms <= HOUR_MS
            if len(slots_between) == 1:
                (status,) = heard
                assert status.errors == (schema.ERROR_WATCHDOG, schema.ERROR_SENSOR_BUS)
                assert status.reset_reason == schema.RESET_WATCHDOG
        else:
            slots += 1
    assert slots_between == [0, 0, 1, 3, 7, 15]
    # The day it answers, all is well again.
    device.board.uart = uart
    for _ in range(26):
        device.sleep()
        device.wake()
    assert of(messages.BinReport, device.take())
    device.sleep()
    device.board.uart = hangs
    try:
        device.wake()
        raise AssertionError("the sensor hangs")
    except HangsError:
        device.board.reason = "watchdog"
    device.wake()
    device.board.uart = uart
    device.sleep()
    device.wake()
    assert of(messages.BinReport, device.take())
    assert device.board.problems == []


def test_hung_radio_is_told_once_it_works_again():
    device = Device()
    device.wake()
    device.take()
    transmit = device.radio.transmit
    device.radio.transmit = hangs
    device.sleep()
    try:
        device.wake()
        raise AssertionError("the radio hangs")
    except HangsError:
        device.board.reason = "watchdog"
    device.wake()
    assert device.take() == []
    device.radio.transmit = transmit
    device.sleep()
    device.wake()
    heard = device.take()
    (status,) = of(messages.Status, heard)
    assert status.errors == (schema.ERROR_WATCHDOG, schema.ERROR_RADIO)
    assert status.reset_reason == schema.RESET_WATCHDOG
    reports = of(messages.BinReport, heard)
    assert len(reports) == 1
    assert len(reports[0].history) >= 1


def test_low_battery_stretches_then_silences_then_recovers():
    device = Device()
    device.wake()
    device.take()
    board = device.board

    def hours(count, millivolts):
        begun_ms = board.clock.ms
        wakes = 0
        device.board.battery_mv = lambda: millivolts
        while board.clock.ms < begun_ms + count * HOUR_MS:
            device.sleep()
            device.wake()
            wakes += 1
        return wakes, device.take()

    wakes, heard = hours(48, 3250)
    assert wakes <= 14
    assert schema.ERROR_BATTERY_LOW in of(messages.Status, heard)[0].errors
    wakes, heard = hours(96, 3050)
    assert not of(messages.BinReport, heard)[2:]
    assert of(messages.Status, heard)
    wakes, heard = hours(240, 2700)
    assert wakes <= 15
    assert len(heard) <= 3
    hours(72, 3600)
    wakes, heard = hours(24, 3600)
    assert len(of(messages.BinReport, heard)) >= 23
    assert board.problems == []

"""RTC memory holds 2048 octets: the longest record that can be, and what comes of a longer one."""

from dual_device import Board
from dual_wakes import Device, of
from stoep_firmware import store as s
from stoep_firmware.meter import Meter
from stoep_firmware.wake import Wake
from stoep_protocol import messages, schema

LONGEST_FRAME = 255  # that a radio sends
F_OPTS = 15


def filled_wake(region, kind, channels, mask):
    """Return a wake in which everything that can grow has grown, and its board."""
    board = Board(region=region, kind=kind)
    store = s.Store(board.rtc_memory, board.storage)
    wake = Wake(board, store, Meter(board.wiring))
    session = wake._session
    session.joined = 1
    session.ch_mask = mask
    session.channels = [(923_200_000, 923_400_000, 0x50)] * channels
    session.answers = session.sticky = b"\x06" * F_OPTS
    session.kept = b"\x40" * LONGEST_FRAME
    wake._settings.receive(
        messages.encode(
            messages.Configuration(
                interval_min=1440,
                mode=schema.MODE_BOTH,
                confirmed_every=255,
                history=24,
                change_cm=255 if kind == "bin" else None,
                alarm_distance_cm=255 if kind == "bin" else None,
                bay_threshold_nt=None if kind == "bin" else 65535,
                settle_s=None if kind == "bin" else 255,
            )
        )[1]
    )
    for code in range(schema.ERRORS_MAX + 5):
        wake._talk.fault(200 + code)
    return wake, board


def test_longest_record_of_a_container_fits():
    for region, channels, mask in (("AS923", 16, 0xFFFF), ("US915", 0, (1 << 72) - 1)):
        wake, board = filled_wake(region, "bin", channels, mask)
        for number in range(200):
            board.clock.ms += 60_000
            wake._task._outbox.add(board.clock.now_ms(), 500 + number, 4)
        assert wake._save(True)
        size = len(board.rtc_memory())
        assert 1000 < size < s.RTC_SIZE - 512, size  # room for what is to come
        again = Wake(board, s.Store(board.rtc_memory, board.storage), Meter(board.wiring))
        assert len(again._session.kept) == LONGEST_FRAME
        assert again._session.channels == wake._session.channels


def test_longest_record_of_a_bay_fits():
    wake, board = filled_wake("AS923", "bay", 16, 0xFFFF)
    assert wake._save(True)
    size = len(board.rtc_memory())
    assert 700 < size < s.RTC_SIZE - 512, size


def test_record_that_does_not_fit_is_told_and_the_next_start_is_as_after_a_power_loss():
    device = Device()
    device.wake()
    device.sleep()
    highest = device.network.f_cnt_up
    device.take()
    s.RTC_SIZE, size = 200, s.RTC_SIZE
    try:
        for _ in range(3):
            device.wake()
            device.sleep()
    finally:
        s.RTC_SIZE = size
    heard = device.take()
    assert "join" not in heard
    assert len(of(messages.BinReport, heard)) == 3
    errors = [status.errors for status in of(messages.Status, heard)]
    assert (schema.ERROR_MEMORY,) in errors
    # The counters go on beyond those that storage has claimed, each time.
    counters = [frame.f_cnt for frame, _ in device.network.heard]
    assert len(set(counters)) == len(counters)
    assert counters == sorted(counters)
    assert counters[-1] > highest + 32
    device.wake()
    assert of(messages.BinReport, device.take())

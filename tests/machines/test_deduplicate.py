"""Gathering receptions: one transmission, one set."""

import pytest
from lns_values import GATEWAY, OTHER_GATEWAY, reception
from stoep_gateway.lns.deduplicate import Deduplicator
from stoep_gateway.lns.frames import Rejected, Tick, UplinkFrameSet

ONE, TWO = b"one frame", b"another frame"


@pytest.fixture
def deduplicator() -> Deduplicator:
    return Deduplicator(200, memory_ms=1000)


def test_nothing_is_due_without_receptions(deduplicator):
    assert deduplicator.next_deadline() is None
    assert deduplicator.handle(Tick(), 10_000) == []


def test_receptions_within_the_window_are_one_set_best_signal_first(deduplicator):
    weak = reception(ONE, at=1000, snr_db=-3.0)
    strong = reception(ONE, at=1150, gateway=OTHER_GATEWAY, snr_db=8.0)
    assert deduplicator.handle(weak, 1000) == []
    assert deduplicator.handle(strong, 1150) == []
    assert deduplicator.next_deadline() == 1200
    assert deduplicator.handle(Tick(), 1199) == []
    assert deduplicator.handle(Tick(), 1200) == [UplinkFrameSet(ONE, (strong, weak), 1000)]
    assert deduplicator.next_deadline() is None


def test_at_equal_snr_the_stronger_signal_is_first(deduplicator):
    far = reception(ONE, rssi_dbm=-110.0)
    near = reception(ONE, gateway=OTHER_GATEWAY, rssi_dbm=-60.0)
    deduplicator.handle(far, 0)
    deduplicator.handle(near, 0)
    (frames,) = deduplicator.handle(Tick(), 200)
    assert [frame.gateway_eui for frame in frames.receptions] == [OTHER_GATEWAY, GATEWAY]


def test_one_gateway_that_hears_a_device_on_two_channels(deduplicator):
    deduplicator.handle(reception(ONE, freq_hz=868_100_000), 0)
    deduplicator.handle(reception(ONE, freq_hz=868_300_000, snr_db=-12.0), 1)
    (frames,) = deduplicator.handle(Tick(), 200)
    assert [frame.freq_hz for frame in frames.receptions] == [868_100_000, 868_300_000]


def test_each_transmission_has_its_own_window(deduplicator):
    deduplicator.handle(reception(ONE), 0)
    deduplicator.handle(reception(TWO), 50)
    assert [s.phy_payload for s in deduplicator.handle(Tick(), 200)] == [ONE]
    assert deduplicator.next_deadline() == 250
    assert [s.phy_payload for s in deduplicator.handle(Tick(), 250)] == [TWO]


def test_a_late_tick_closes_all_that_is_due_in_order(deduplicator):
    deduplicator.handle(reception(TWO), 0)
    deduplicator.handle(reception(ONE), 1)
    assert [s.phy_payload for s in deduplicator.handle(Tick(), 5000)] == [TWO, ONE]


def test_a_copy_after_the_window_is_no_repetition(deduplicator):
    deduplicator.handle(reception(ONE), 0)
    deduplicator.handle(Tick(), 200)
    assert deduplicator.handle(reception(ONE), 1199) == [Rejected("late_copy")]
    assert deduplicator.handle(reception(ONE), 1200) == []
    assert deduplicator.next_deadline() == 1400


def test_what_is_remembered_is_forgotten(deduplicator):
    for number in range(1000):
        deduplicator.handle(reception(number.to_bytes(4, "big")), number * 10)
        deduplicator.handle(Tick(), number * 10)
    deduplicator.handle(Tick(), 20_000)
    deduplicator.handle(Tick(), 30_000)
    assert not deduplicator._closed
    assert not deduplicator._open


def test_a_gateway_that_stops_closes_everything(deduplicator):
    deduplicator.handle(reception(ONE), 0)
    deduplicator.handle(reception(TWO), 10)
    assert [s.phy_payload for s in deduplicator.close_all(20)] == [ONE, TWO]
    assert deduplicator.next_deadline() is None


def test_no_window_at_all():
    deduplicator = Deduplicator(0)
    deduplicator.handle(reception(ONE), 7)
    assert deduplicator.next_deadline() == 7
    assert len(deduplicator.handle(Tick(), 7)) == 1

"""The link: a MAC, a radio and a clock, with every wait a sleep that is yielded."""

from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Board, Network, Radio, new_key, run
from stoep_firmware import mac as m
from stoep_firmware.board import LIGHT
from stoep_firmware.link import PENDING, SILENT, Link
from stoep_firmware.mac import Mac
from stoep_firmware.meter import Meter
from stoep_firmware.radio import RX_DONE, STOPPED, TX_DONE
from stoep_firmware.session import Session
from stoep_protocol.lorawan import frames, regions


class Device:
    """A link whose radio reaches `network`; `down` holds what to answer uplinks with."""

    def __init__(self):
        self.board = Board()
        self.network = Network()
        self.down = []
        self.saves = []
        self.storage_works = True
        self.faults = []
        self.deaf = False
        self.radio = Radio(self.board.clock, self._answer)
        self.mac = Mac(regions.EU868, Session(), new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY)
        self.meter = Meter({})
        self.link = Link(self.board, self.mac, self._save, self.faults.append, self.meter)
        self.link._radio = self.radio

    def _save(self, durable):
        self.saves.append((len(self.radio.sent), durable))
        return self.storage_works or not durable

    def _answer(self, freq_hz, sf, phy_payload):
        if self.deaf:
            return None
        if phy_payload[0] == 0:
            return self.network.accept(phy_payload)
        self.network.open(phy_payload)
        return self.down.pop(0) if self.down else None

    def perform(self, *event):
        return run(self.board.clock, self.link.perform(event), self.radio)


def joined():
    device = Device()
    result, _ = device.perform(m.JOIN)
    assert result == (m.JOINED, 0)
    return device


def test_join_sleeps_lightly_until_the_window_opens():
    device = Device()
    result, yielded = device.perform(m.JOIN)
    assert result == (m.JOINED, 0)
    assert device.saves[0] == (0, True)  # durable before anything was sent
    assert device.radio.sent[0][3] == 14  # dBm: 16 EIRP less the antenna's 2
    assert [mode for mode, _ in yielded] == [LIGHT] * len(yielded)
    assert len(yielded) == 3  # TxDone, until RX1, in RX1
    begin_ms, freq_hz, sf, _ = device.radio.windows[0]
    assert 4900 < begin_ms < 5000
    assert (freq_hz, sf) == (device.radio.sent[0][1], 7)
    assert device.radio.state == "warm"


def test_accept_in_rx2():
    device = Device()
    device.radio.second = True
    result, _ = device.perform(m.JOIN)
    assert result == (m.JOINED, 0)
    assert [(hz, sf) for _, hz, sf, _ in device.radio.windows][1:] == [(869525000, 12)]


def test_uplink_without_a_downlink():
    device = joined()
    before = len(device.radio.windows)
    result, _ = device.perform(m.SEND, 10, b"hello", False)
    assert result == (m.SENT, 0)
    assert device.network.heard[-1][1] == b"hello"
    windows = device.radio.windows[before:]
    assert 950 < windows[0][0] < 1000
    assert 1900 < windows[1][0] < 2000


def test_downlink_lands_in_the_inbox():
    device = joined()
    device.down = [device.network.down(f_port=13, data=b"abc")]
    result, _ = device.perform(m.SEND, 10, b"hello", False)
    assert result == (m.SENT, 0)
    assert device.link.inbox == [(13, b"abc")]
    assert device.saves[-1][1] is True  # its counter, in storage


def test_lost_acknowledgement_brings_the_same_frame_again():
    device = joined()
    device.mac.session.nb_trans = 2
    device.down = [None, device.network.down(ack=True)]
    result, _ = device.perform(m.SEND, 10, b"hello", True)
    assert result == (m.SENT, 0)
    assert [frame.f_cnt for frame, _ in device.network.heard] == [0, 0]
    assert device.radio.sent[-1][4] == device.radio.sent[-2][4]


def test_long_wait_is_left_to_deep_sleep():
    device = joined()
    device.mac.session.dr = 0
    # All at SF12: the duty cycle makes the repetition wait for minutes.
    for _ in range(2):
        device.perform(m.SEND, 10, bytes(40), False)
    device.mac.session.nb_trans = 3
    (result, until_ms), _ = device.perform(m.SEND, 10, bytes(40), True)
    if result == m.BUSY:
        device.board.clock.ms = until_ms
        (result, until_ms), _ = device.perform(m.SEND, 10, bytes(40), True)
    assert result == PENDING
    assert until_ms - device.board.clock.ms > 20_000
    device.board.clock.ms = until_ms
    device.down = [device.network.down(ack=True)]
    result, _ = device.perform(m.TIMER)
    assert result == (m.SENT, 0)


def test_nonce_that_storage_refuses_is_not_sent():
    device = Device()
    device.storage_works = False
    (result, _), _ = device.perform(m.JOIN)
    assert result == m.NO_ANSWER
    assert device.radio.sent == []


def test_broken_radio_is_a_fault_and_no_uplink():
    device = Device()
    device.radio.broken = 64
    (result, _), _ = device.perform(m.JOIN)
    assert result == m.NO_ANSWER
    assert device.faults == [64]
    device.radio.broken = None
    device.board.clock.ms += 60_000
    assert device.perform(m.JOIN)[0] == (m.JOINED, 0)


def test_interrupt_that_never_comes_ends_the_try():
    device = joined()
    device.radio.interrupted = lambda: False
    (result, _), _ = device.perform(m.SEND, 10, b"hello", False)
    assert result == m.NO_ANSWER
    assert len(device.faults) == 1


def test_interrupt_that_does_not_tell_of_an_end_is_a_fault_too():
    device = joined()
    device.radio.interrupted = lambda: True  # DIO1 shorted to the supply
    device.radio.outcome = lambda: 0
    (result, _), _ = device.perform(m.SEND, 10, b"hello", False)
    assert result == m.NO_ANSWER
    assert device.faults == [SILENT]


def test_radio_that_cannot_end_a_sleep_is_looked_at():
    """Its line is at a pin that wakes nobody: sleeps end by the clock, soon after they might."""
    device = Device()
    device.board.wiring["radio"]["dio_wakes"] = False
    result, yielded = run(device.board.clock, device.link.perform((m.JOIN,)))
    assert result == (m.JOINED, 0)
    begin_ms, _, _, _ = device.radio.windows[0]
    assert 4900 < begin_ms < 5000
    assert len(yielded) <= 4  # as many as with a line that wakes, and a second look
    assert device.faults == []


def test_end_of_a_transmission_is_seen_within_two_milliseconds():
    """However late it is: the windows count from then."""
    for late_ms in range(8):
        device = Device()
        device.board.wiring["radio"]["dio_wakes"] = False
        transmit = device.radio.transmit

        def slow(*arguments, transmit=transmit, device=device, late_ms=late_ms):
            transmit(*arguments)
            device.radio.event_ms += late_ms
            device.radio._end_ms += late_ms

        device.radio.transmit = slow
        result, _ = run(device.board.clock, device.link.perform((m.JOIN,)))
        assert result == (m.JOINED, 0)
        first_ms, _, _, _ = device.radio.windows[0]
        if late_ms == 0:
            exact_ms = first_ms
        assert 0 <= first_ms - exact_ms <= 2


def test_false_preamble_costs_a_window_and_is_no_fault():
    """An SX127x then listens on for ever: whoever waits ends it, and opens the next window."""
    device = joined()
    windows = len(device.radio.windows)
    device.radio.interrupted = lambda: device.radio.state != "receive"
    device.radio.outcome = lambda: STOPPED if device.radio.state == "receive" else TX_DONE
    (result, _), _ = device.perform(m.SEND, 10, b"hello", False)
    assert result == m.SENT
    assert len(device.radio.windows) == windows + 2
    assert device.faults == []
    assert device.radio.state == "warm"


def test_frame_under_way_is_waited_for():
    """Longer than its header takes: the radio has not ended, and does not say it stopped."""
    device = joined()
    device.down = [device.network.down(f_port=13, data=b"long")]
    receive, outcome = device.radio.receive, device.radio.outcome
    asked = []

    def slow(freq_hz, sf, bw_hz, symbols, timeout_ms):
        receive(freq_hz, sf, bw_hz, symbols, timeout_ms)
        device.radio.event_ms += timeout_ms + 200

    def look():
        if not device.radio.interrupted():
            asked.append(device.board.clock.now_ms())
            return 0
        return outcome()

    device.radio.receive, device.radio.outcome = slow, look
    (result, _), _ = device.perform(m.SEND, 10, b"hello", False)
    assert result == m.SENT
    assert len(asked) == 1
    assert device.link.inbox == [(13, b"long")]
    assert device.faults == []


def test_frame_that_never_ends_is_a_fault():
    for told in (0, RX_DONE):  # nothing, or an end that the line did not tell of
        device = joined()
        device.radio.interrupted = lambda device=device: device.radio.state != "receive"
        device.radio.outcome = lambda device=device, told=told: (
            told if device.radio.state == "receive" else TX_DONE
        )
        (result, _), _ = device.perform(m.SEND, 10, b"hello", False)
        assert result == m.SENT  # for it has gone out
        assert device.faults == [SILENT]


def test_closed_link_leaves_the_radio_in_its_deepest_sleep():
    device = joined()
    device.link.close()
    assert device.radio.state == "cold"


def test_charge_is_counted():
    device = joined()
    # 62 ms at 45 mA for the join-request, and the window.
    assert 2_700 < device.meter.used_uc < 4_000


def test_frames_are_what_the_specification_says():
    device = joined()
    device.perform(m.SEND, 10, b"hello", False)
    request = frames.parse(device.radio.sent[0][4])
    assert (request.join_eui, request.dev_eui, request.dev_nonce) == (JOIN_EUI, DEV_EUI, 0)


def test_window_longer_than_a_chip_can_listen_keeps_its_middle():
    device = joined()
    device.mac.session.rx_delay_s = 5
    device.mac.error_ppm = 60_000
    windows = len(device.radio.windows)
    device.perform(m.SEND, 10, b"hello", False)
    begin_ms, _, sf, symbols = device.radio.windows[windows]
    assert (sf, symbols) == (7, 248)
    assert begin_ms < 4900
    assert begin_ms + symbols * 1.024 > 5100

"""A radio for tests on both runtimes that hears only what is sent where and when it listens."""

from dual_device import RX_DONE, TIMEOUT, TX_DONE, Radio
from stoep_protocol.lorawan.airtime import time_on_air_us

DETECTED = 5  # symbols of a preamble that a receiver has to have heard


class Air(Radio):
    """Sends to `answer(ms, airtime_ms, freq_hz, sf, bw_hz, power_dbm, phy_payload)`.

    That returns None, or what is sent back: (s after the uplink's end, Hz, SF, Hz of bandwidth),
    octets, SNR in dB. `fast_ppm` is what the board's clock gains on the sender's; `received` is
    called when the device has taken the downlink from the radio.
    """

    def __init__(self, clock, answer, received=lambda: None, fast_ppm=0):
        super().__init__(clock, answer)
        self.received = received
        self.fast_ppm = fast_ppm

    def transmit(self, freq_hz, sf, bw_hz, power_dbm, data, timeout_ms):
        assert self.state != "off"
        now_ms = self.clock.now_ms()
        airtime_ms = (time_on_air_us(len(data), sf, bw_hz) + 999) // 1000
        assert timeout_ms > airtime_ms
        self.event_ms = self._end_ms = now_ms + airtime_ms
        self._outcome = TX_DONE
        self._down = self.answer(now_ms, airtime_ms, freq_hz, sf, bw_hz, power_dbm, data)

    def receive(self, freq_hz, sf, bw_hz, symbols, timeout_ms):
        self.state = "receive"
        now_ms = self.clock.now_ms()
        self._outcome = TIMEOUT
        self.event_ms = now_ms + ((symbols << sf) * 1000 + bw_hz - 1) // bw_hz
        if self._down is None:
            return
        (delay_s, down_hz, down_sf, down_bw_hz), octets, _ = self._down
        at_ms = self._end_ms + 1000 * delay_s + delay_s * self.fast_ppm // 1000
        latest_ms = now_ms + ((symbols - DETECTED) << sf) * 1000 // bw_hz
        there = (freq_hz, sf, bw_hz) == (down_hz, down_sf, down_bw_hz)
        if there and now_ms <= at_ms <= latest_ms:
            self._outcome = RX_DONE
            self.event_ms = at_ms + (time_on_air_us(len(octets), sf, bw_hz) + 999) // 1000
            self._heard = self._down
            self._down = None

    def outcome(self):
        if self.event_ms is not None and self.clock.now_ms() < self.event_ms:
            return 0  # a frame is still coming in
        return super().outcome()

    def frame(self):
        self.received()
        return self._heard[1], -80, self._heard[2]

    def missed(self):
        """Whether a downlink that was on the air has not been heard."""
        return self._down is not None

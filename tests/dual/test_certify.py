"""A device at the certification test bench: it stays awake, and does what fPort 224 says."""

from dual_device import Board, Network, Radio
from stoep_firmware import app
from stoep_firmware.board import DEEP, LIGHT
from stoep_firmware.radio import sx126x

PACKAGE_VERSION = b"\x00"
RESET = b"\x01"
JOIN = b"\x02"
CONFIRMED = b"\x07\x02"
EVERY_MINUTE = b"\x06\x07"


class Bench:
    """A device under test, driven until it has been heard often enough."""

    def __init__(self):
        self.network = Network()
        self.board = Board(certification=True)
        self.radio = Radio(self.board.clock, self._answer)
        self.down = []
        self.heard = []  # (ms, f_port or "join", payload, confirmed)
        self.last_mode = None

    def _answer(self, freq_hz, sf, phy_payload):
        now_ms = self.board.clock.ms
        if phy_payload[0] == 0:
            self.heard.append((now_ms, "join", b"", False))
            return self.network.accept(phy_payload)
        frame, payload = self.network.open(phy_payload)
        self.heard.append((now_ms, frame.f_port, payload, frame.confirmed))
        if self.down:
            return self.network.down(f_port=224, data=self.down.pop(0), ack=frame.confirmed)
        return self.network.down(ack=True) if frame.confirmed else None

    def run(self, uplinks):
        """Run until that many uplinks more were heard, or the device sleeps deeply."""
        made = sx126x.Sx126x
        sx126x.Sx126x = lambda *_: self.radio
        clock = self.board.clock
        try:
            clock.anew()
            program = app.run(self.board)
            for mode, until_ms in program:
                self.last_mode = mode
                if mode == DEEP or len(self.heard) >= uplinks:
                    break
                assert mode == LIGHT
                before_ms = clock.ms
                event_ms = self.radio.event_ms
                clock.ms = until_ms
                if event_ms is not None and before_ms < event_ms < until_ms:
                    clock.ms = event_ms
        finally:
            sx126x.Sx126x = made
        assert self.board.problems == []
        heard, self.heard = self.heard, []
        return heard


def test_bench_device_joins_and_sends_of_itself():
    heard = Bench().run(4)
    assert [port for _, port, _, _ in heard] == ["join", 1, 1, 1]
    assert [payload for _, _, payload, _ in heard[1:]] == [b"\x01", b"\x02", b"\x03"]
    assert heard[3][0] - heard[2][0] >= 10_000


def test_harness_is_answered_in_the_next_uplink():
    bench = Bench()
    bench.down = [PACKAGE_VERSION]
    assert [(port, payload) for _, port, payload, _ in bench.run(4)][2] == (224, b"\x00\x06\x01")


def test_harness_sets_period_and_confirmation():
    bench = Bench()
    bench.down = [EVERY_MINUTE, CONFIRMED]
    heard = bench.run(7)
    assert [confirmed for _, _, _, confirmed in heard] == [False] * 3 + [True] * 4
    assert heard[6][0] - heard[5][0] >= 60_000


def test_harness_has_the_device_join_anew():
    bench = Bench()
    bench.down = [JOIN]
    assert [port for _, port, _, _ in bench.run(4)] == ["join", 1, "join", 1]


def test_harness_resets_the_device():
    bench = Bench()
    bench.down = [RESET]
    assert len(bench.run(9)) == 2
    assert bench.last_mode == DEEP
    bench.board.reason = "timer"
    assert bench.run(1)[0][1] == "join"
    assert bench.network.dev_nonces == [0, 1]

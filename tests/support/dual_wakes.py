"""A container's device, wake by wake, and the network that hears it; both runtimes."""

from dual_device import Board, Network, Radio, run
from stoep_firmware import app
from stoep_firmware.board import DEEP
from stoep_firmware.radio import sx126x
from stoep_protocol import messages

HOUR_MS = 3_600_000


class Device:
    """A board that wakes, its radio, and the network that hears it."""

    def __init__(self, **config):
        self.config = config
        self.network = Network()
        self.board = Board(**config)
        self.down = []
        self.deaf = False
        self.radio = Radio(self.board.clock, self._answer)
        self.until_ms = 0
        self.heard = []

    def _answer(self, freq_hz, sf, phy_payload):
        if self.deaf:
            return None
        if phy_payload[0] == 0:
            self.heard.append("join")
            return self.network.accept(phy_payload)
        frame, payload = self.network.open(phy_payload)
        message = None
        if frame.f_port is not None:
            message = messages.decode(frame.f_port, payload)
        self.heard.append(message)
        return self.network.down(**self.down.pop(0)) if self.down else None

    def wake(self, stop_after=None):
        """Run one wake, or only its first sleeps: then the power fails."""
        made = sx126x.Sx126x
        sx126x.Sx126x = lambda *_: self.radio
        try:
            self.board.clock.anew()  # every wake makes the board anew
            program = app.run(self.board)
            if stop_after is not None:
                for _ in range(stop_after):
                    mode, until_ms = next(program)
                    if mode == DEEP:
                        return False
                    self.board.clock.ms = max(until_ms, self.board.clock.ms)
                return True
            _, yielded = run(self.board.clock, program, self.radio)
        finally:
            sx126x.Sx126x = made
        assert yielded[-1][0] == DEEP
        self.until_ms = yielded[-1][1]
        assert self.until_ms > self.board.clock.now_ms()
        return yielded

    def sleep(self):
        self.board.clock.ms = self.until_ms - self.board.clock.offset_ms
        self.board.reason = "timer"

    def lose_power(self):
        files, distances_mm = self.board.storage, self.board.distances_mm
        self.board = Board(**self.config)
        self.board.storage = files
        self.board.distances_mm = distances_mm
        self.radio = Radio(self.board.clock, self._answer)

    def take(self):
        heard, self.heard = self.heard, []
        return heard


def of(kind, heard):
    return [message for message in heard if isinstance(message, kind)]

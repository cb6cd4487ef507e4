"""A02YYUW ultrasonic distance sensor on a serial line.

It sends a frame about ten times a second, unasked, for as long as it has power: 0xFF, the distance
in mm (high octet, low octet), and the low octet of the sum of the three, at 9600 baud.
"""

from stoep_firmware.board import IDLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoep_firmware._types import Uart, Wait
    from stoep_firmware.clock import Clock

BAUDRATE = 9600

_POLL_MS = 100
_HEADER = 0xFF


def sample(uart: "Uart", clock: "Clock", count: int, timeout_ms: int) -> "Wait[Burst]":
    """Collect `count` frames, or what comes within `timeout_ms`."""
    burst = Burst()
    until_ms = clock.now_ms() + timeout_ms
    while len(burst.distances_mm) < count and clock.now_ms() < until_ms:
        yield IDLE, clock.now_ms() + _POLL_MS
        waiting = uart.any()
        if waiting:
            burst.feed(uart.read(waiting) or b"")
    return burst


class Burst:
    """Frames taken out of a stream of octets."""

    def __init__(self) -> None:
        self.distances_mm: list[int] = []
        self.octets = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take octets in any portions; those of damaged frames are skipped."""
        self.octets += len(data)
        data = self._rest + data
        at = 0
        while at + 4 <= len(data):
            high, low = data[at + 1], data[at + 2]
            if data[at] == _HEADER and (_HEADER + high + low) & 0xFF == data[at + 3]:
                self.distances_mm.append(high << 8 | low)
                at += 4
            else:
                at += 1
        self._rest = data[at:]

"""A02YYUW ultrasonic distance sensor on a serial line.

It sends a frame every 100 to 300 ms, unasked, for as long as it has power: 0xFF, the distance in
mm (high octet, low octet), and the low octet of the sum of the three, at 9600 baud.

A UART hears nothing in light sleep, and waiting awake costs thirty times as much. So the processor
stays awake until two frames have come, and from then on sleeps until shortly before the next.
"""

from stoep_firmware.board import IDLE, LIGHT

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Burst, Wait
    from stoep_firmware.board import Board

NEAREST_MM = 30
FARTHEST_MM = 4500
SUPPLY_UA = 8000

_BAUDRATE = const(9600)
_START_MS = const(300)  # from power to the first frame
_BURST_MS = const(1500)
_POLL_MS = const(10)
_EARLY_MS = const(20)  # before a frame is expected: waking up, and a poll's grain twice
_HEADER = const(0xFF)


def sample(board: "Board", pings: int, temperature_c: "int | None") -> "Wait[Burst]":
    """Collect so many frames, or what comes in time; see the package."""
    clock = board.clock
    uart = board.uart(_BAUDRATE)
    yield LIGHT, clock.now_ms() + _START_MS
    frames = Frames()
    until_ms = clock.now_ms() + _BURST_MS
    last_ms = period_ms = 0
    while len(frames.distances_mm) < pings and clock.now_ms() < until_ms:
        next_ms = last_ms + period_ms - _EARLY_MS
        if period_ms and clock.now_ms() < next_ms:
            yield LIGHT, min(next_ms, until_ms)
        found = len(frames.distances_mm)
        yield IDLE, clock.now_ms() + _POLL_MS
        waiting = uart.any()
        if not waiting:
            continue
        frames.feed(uart.read(waiting) or b"")
        if len(frames.distances_mm) > found:
            now_ms = clock.now_ms()
            if last_ms and not 0 < period_ms <= now_ms - last_ms:
                period_ms = now_ms - last_ms
            last_ms = now_ms
    return frames.distances_mm, frames.octets


class Frames:
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

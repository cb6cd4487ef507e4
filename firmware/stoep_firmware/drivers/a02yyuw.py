"""A02YYUW ultrasonic distance sensor on a serial line.

It sends a frame every 100 to 300 ms, unasked, for as long as it has power: 0xFF, the distance in
mm (high octet, low octet), and the low octet of the sum of the three, at 9600 baud. Of what is
nearer than 30 mm it says 30 (the maker's sample program calls that "below the lower limit");
without an echo most say nothing, some 0, which is also said with a finger on the transducer.
Whether it knows the air's temperature its maker does not say, so its figure is taken as it is.
"""

from stoep_firmware.board import LIGHT
from stoep_firmware.drivers.frames import collect

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Burst, Wait
    from stoep_firmware.board import Board

NEAREST_MM = 31
FARTHEST_MM = 4500
SUPPLY_UA = 8000

_BAUDRATE = const(9600)
_START_MS = const(300)  # from power to the first frame
_BURST_MS = const(1500)
_HEADER = const(0xFF)


def sample(board: "Board", pings: int, temperature_c: "int | None") -> "Wait[Burst]":
    """Collect so many frames, or what comes in time; see the package."""
    board.sensor_power(True)
    try:
        uart = board.uart(_BAUDRATE)
        yield LIGHT, board.clock.now_ms() + _START_MS
        return (yield from collect(board.clock, uart, Frames(), pings, _BURST_MS))
    finally:
        board.sensor_power(False)


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

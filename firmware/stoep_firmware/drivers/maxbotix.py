"""MaxBotix ultrasonic sensors on a serial line: HRXL-MaxSonar-WR (MB73xx), HRLV, XL-MaxSonar.

Unasked, for as long as it has power, a sensor sends "R", the distance and a carriage return at 9600
baud: four digits of mm, or of an XL-MaxSonar three of cm (but an MB7066 sends cm with four, and is
not for this driver). DS is the data sheet PD11500 of the HRXL-MaxSonar-WR, MS what EnviroDIY's
ModularSensors has found out (MaxBotixSonar.cpp).

- After power lines of text come, from 65 to 160 ms (MS), one of which begins with "RoHS 1".
- Without an echo it says its greatest value (DS: 5000 and 9999 mm; MS: also 4999; 765 cm), and of
  what stands too near its least: 300 mm, 20 cm. The 500 mm of those that reach 10 m may as well be
  a distance, and is taken for one.
- MB736x and MB737x speak at RS232's levels, idle low, MB738x and MB739x at a UART's: the driver
  looks at the line.
- The mm of an HRXL are corrected by its own thermometer (DS "Temperature Compensation"); the cm are
  echoes' times at 58 us each (data sheet of the MB1240, pin 2).
"""

from stoep_firmware.board import LIGHT
from stoep_firmware.drivers.frames import collect

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Burst, Wait
    from stoep_firmware.board import Board

NEAREST_MM = 201
FARTHEST_MM = 9998
SUPPLY_UA = 3100  # HRXL: a guess

_BAUDRATE = const(9600)
_QUIET_MS = const(200)  # from power until the lines of text are over
_START_MS = const(270)  # and until the first distance
_FRAME_MS = const(10)  # is longer than a frame
_BURST_MS = const(1500)  # the slowest sends 5 times a second (DS)
_NEAR_MM = const(1)  # told for what is too near
_US_PER_CM = const(58)


def sample(board: "Board", pings: int, temperature_c: "int | None") -> "Wait[Burst]":
    """Collect so many frames, or what comes in time; see the package."""
    board.sensor_power(True)
    try:
        now_ms = board.clock.now_ms
        begun_ms = now_ms()
        line = board.data_pin("rx")
        high = 0
        for look in range(3):  # of which no more than one can fall into a frame
            yield LIGHT, begun_ms + _QUIET_MS + look * _FRAME_MS
            high += line()
        uart = board.uart(_BAUDRATE, high < 2)
        yield LIGHT, begun_ms + _START_MS
        return (yield from collect(board.clock, uart, Frames(temperature_c), pings, _BURST_MS))
    finally:
        board.sensor_power(False)


class Frames:
    """Distances out of a stream of octets."""

    def __init__(self, temperature_c: "int | None" = None) -> None:
        self.distances_mm: list[int] = []
        self.octets = 0
        self._temperature_c = temperature_c
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take octets in any portions; what is no frame is skipped."""
        self.octets += len(data)
        lines = (self._rest + data).split(b"\r")
        self._rest = lines.pop()[-8:]
        for line in lines:
            at = line.rfind(b"R")
            digits = line[at + 1 :].rstrip()  # an HRUSB adds a blank
            if at >= 0 and digits.isdigit():
                self._take(len(digits), int(digits))

    def _take(self, digits: int, value: int) -> None:
        if digits == 4:
            if value in (4999, 5000, 9999):
                value = 0
            elif value <= 300:
                value = _NEAR_MM
        elif digits == 3:
            from stoep_firmware.drivers.echo import echo_mm  # noqa: PLC0415 - few need it

            if value == 765:
                value = 0
            elif value <= 20:
                value = _NEAR_MM
            else:
                value = echo_mm(value * _US_PER_CM, self._temperature_c)
        else:
            return
        self.distances_mm.append(value)

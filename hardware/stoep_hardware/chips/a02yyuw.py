"""A model of the A02YYUW ultrasonic sensor: once powered it talks, 9600 baud, and never listens.

Figures: DFRobot's SEN0311 page (A02YYUW, UART): 3 to 450 cm, 3.3 to 5 V, less than 8 mA, a value
every 100 ms, frames `FF high low sum` with the low eight bits of the sum of the first three. What
it sends without an echo is not documented: most units say nothing, some send a distance of 0.
"""

from stoep_hardware.engine import US_PER_MS
from stoep_hardware.world import DistanceSource

from .state_log import StateLog

BAUDRATE = 9_600
BYTE_US = 10 * 1_000_000 // BAUDRATE  # start bit, eight bits, stop bit
NEAREST_MM = 30
FARTHEST_MM = 4_500
ACTIVE_UA = 8_000.0


class A02yyuw:
    """One sensor that points at `source`.

    `startup_ms` until the first value is an assumption; `sends_zero` picks the units that send 0
    without an echo.
    """

    def __init__(
        self,
        source: DistanceSource,
        *,
        period_ms: int = 100,
        startup_ms: int = 300,
        sends_zero: bool = False,
        keep_states: bool = False,
    ) -> None:
        self.log = StateLog(keep=keep_states)
        self._source = source
        self._period_us = period_ms * US_PER_MS
        self._startup_us = startup_ms * US_PER_MS
        self._sends_zero = sends_zero
        self._on_since_us: int | None = None
        self._frame_number = -1
        self._frame = b""

    def power(self, on: bool, t_us: int) -> None:
        """Switch the supply."""
        if on == (self._on_since_us is not None):
            return
        self._on_since_us = t_us if on else None
        self._frame_number = -1
        self.log.enter(t_us, "on" if on else "off", ACTIVE_UA if on else 0.0)

    def sent(self, after_us: int, until_us: int) -> bytes:
        """Return the bytes whose stop bits end after `after_us` and not after `until_us`.

        Ask for one stretch of time after the other: a value is measured when it is first asked for.
        """
        if self._on_since_us is None:
            return b""
        first_us = self._on_since_us + self._startup_us
        number = max((after_us - first_us) // self._period_us, 0)
        data = bytearray()
        while (frame_us := first_us + number * self._period_us) < until_us:
            for index, byte in enumerate(self._frame_of(number, frame_us)):
                if after_us < frame_us + (index + 1) * BYTE_US <= until_us:
                    data.append(byte)
            number += 1
        return bytes(data)

    def _frame_of(self, number: int, t_us: int) -> bytes:
        if number != self._frame_number:
            self._frame_number = number
            distance_mm = self._source.distance_mm(t_us)
            if distance_mm is not None and distance_mm > FARTHEST_MM:
                distance_mm = None
            if distance_mm is None:
                self._frame = _frame(0) if self._sends_zero else b""
            else:
                self._frame = _frame(max(distance_mm, NEAREST_MM))
        return self._frame


def _frame(distance_mm: int) -> bytes:
    head = b"\xff" + distance_mm.to_bytes(2, "big")
    return head + bytes((sum(head) & 0xFF,))

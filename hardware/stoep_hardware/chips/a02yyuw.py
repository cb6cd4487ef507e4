"""A model of the A02YYUW ultrasonic sensor: once powered it talks, 9600 baud, and never listens.

Figures: DFRobot's SEN0311 page (A02YYUW, UART): 3 to 450 cm, 3.3 to 5 V, less than 8 mA, a value
every 100 ms, frames `FF high low sum` with the low eight bits of the sum of the first three. What
it sends without an echo is not documented: most units say nothing, some send a distance of 0.
"""

from stoep_hardware.world import DistanceSource

from .talker import Talker

NEAREST_MM = 30
FARTHEST_MM = 4_500
ACTIVE_UA = 8_000.0


class A02yyuw(Talker):
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
        super().__init__(
            period_ms=period_ms,
            startup_ms=startup_ms,
            active_ua=ACTIVE_UA,
            intro=b"",
            keep_states=keep_states,
        )
        self._source = source
        self._sends_zero = sends_zero

    def _measure(self, t_us: int) -> bytes:
        distance_mm = self._source.distance_mm(t_us)
        if distance_mm is None or distance_mm > FARTHEST_MM:
            return _frame(0) if self._sends_zero else b""
        return _frame(max(distance_mm, NEAREST_MM))


def _frame(distance_mm: int) -> bytes:
    head = b"\xff" + distance_mm.to_bytes(2, "big")
    return head + bytes((sum(head) & 0xFF,))

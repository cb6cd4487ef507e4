"""HC-SR04 and its like: a pulse asks on the trigger, and as long as the way takes is the echo's.

Trigger and echo are at the serial line's pins, tx and rx (a JSN-SR04T calls them RX and TX). There
is no data sheet that all copies keep to. Common to the sellers' pages: a trigger of 10 us or more
(20 for a JSN-SR04T), eight waves of 40 kHz, an echo's pulse of 58 us per cm, 60 ms from one ping to
the next. Without an echo the pulse lasts 38 ms, 60 ms or 200 ms; or none comes; or it never ends
until the supply is cut (Arduino forum, "HC-SR04 lack of timeout problem").

A sensor nearby that pings at the same pace would be heard at the same place in each ping: the
pauses between them are drawn by lot, so that it makes the distances unsteady and not wrong.
"""

from stoep_firmware.board import LIGHT
from stoep_firmware.drivers.echo import echo_mm

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Burst, Wait
    from stoep_firmware.board import Board

NEAREST_MM = 25  # 20, told of the nearer too, taken for air that is warmer than it is
FARTHEST_MM = 4000
SUPPLY_UA = 15000

_START_MS = const(100)  # after power, and for what the supply is cut
_TRIGGER_US = const(20)
_LONGEST_US = const(30_000)  # 4.7 m at -20 degrees
_PAUSE_MS = const(60)
_LOT_MS = const(30)
_LATE_MS = const(150)  # until the longest pulse without an echo is over


def sample(board: "Board", pings: int, temperature_c: "int | None") -> "Wait[Burst]":
    """Ping so often; see the package."""
    now_ms = board.clock.now_ms
    distances_mm: list[int] = []
    signs = 0
    trigger = board.data_pin("tx", out=True)
    echo = board.data_pin("rx")
    board.sensor_power(True)
    try:
        yield LIGHT, now_ms() + _START_MS
        for _ in range(pings):
            if echo():
                yield LIGHT, now_ms() + _LATE_MS
            if echo():
                board.sensor_power(False)
                yield LIGHT, now_ms() + _START_MS
                board.sensor_power(True)
                yield LIGHT, now_ms() + _START_MS
                if echo():
                    break
            trigger(1)
            board.delay_us(_TRIGGER_US)
            trigger(0)
            us = board.pulse_us(echo, _LONGEST_US)
            if us > -2:
                signs += 1
                distances_mm.append(max(echo_mm(us, temperature_c), 1) if us >= 0 else 0)
            yield LIGHT, now_ms() + _PAUSE_MS + board.random(_LOT_MS)
    finally:
        board.sensor_power(False)
    return distances_mm, signs

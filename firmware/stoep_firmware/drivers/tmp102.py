"""TMP102 thermometer on I2C, asleep but for one conversion at a time.

DS is TI's data sheet SBOS397. It sleeps in 0.5 uA, typically, and converts in 35 ms at most. After
power-up it converts four times a second, and shows 0 degrees until the first has ended.
"""

from stoep_firmware.board import LIGHT

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Wait
    from stoep_firmware.board import Board

_ADDRESS = const(0x48)  # with ADD0 at ground
_TEMPERATURE = const(0)
_CONFIGURATION = const(1)
_CONVERSION_MS = const(36)
_LOOKS = const(3)


def temperature_c(board: "Board") -> "Wait[int | None]":
    """Measure; None for an answer that is no temperature. `OSError` without an answer.

    Needs the sensor's bus and gives nobody power: the sensor is on the board's 3.3 V.
    """
    i2c = board.i2c()
    # Shutdown, and in it one shot; 12 bits, comparator, 4 Hz (DS 7.4.4, 7.5.3).
    for first in (b"\x61\xa0", b"\xe1\xa0"):
        i2c.writeto_mem(_ADDRESS, _CONFIGURATION, first)
    for _ in range(_LOOKS):
        yield LIGHT, board.clock.now_ms() + _CONVERSION_MS
        # The one-shot bit is 0 during a conversion (DS 7.4.4).
        if i2c.readfrom_mem(_ADDRESS, _CONFIGURATION, 1)[0] & 0x80:
            data = i2c.readfrom_mem(_ADDRESS, _TEMPERATURE, 2)
            if data[1] & 0x0F:
                break  # of 12 bits the last four are 0: another chip, or a bus that is stuck high
            sixteenths = ((data[0] << 4 | data[1] >> 4) ^ 0x800) - 0x800
            return sixteenths + 8 >> 4
    return None

"""LIS2DW12 accelerometer on I2C, watching for movement while the processor sleeps deeply.

DS is ST's data sheet DocID029682, AN its application note AN5038. In its lowest mode at 1.6 Hz it
takes 0.38 uA and gives 12 bits: 0.98 mg at +-2 g. Two things raise INT1 and keep it: movement in
three samples on end, less what always pulls (USR_OFF_ON_WU 0: by the high-pass filter), and another
side that is down (6D). Between two samples a lid's slam goes by unseen.
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c

WATCHING_UA = 1  # in whole ones
SAMPLE_MS = 700  # a sample and a little
SETTLE_MS = 6400  # until the filter has let go of the pull with which it began

_ENODEV = const(19)
_ADDRESSES = (0x18, 0x19)  # by the SA0 pin
_WHO_AM_I = const(0x0F)
_CTRL1 = const(0x20)
_OUT = const(0x28)
_TAP_THS_X = const(0x30)
_WAKE_UP_THS = const(0x34)
_WAKE_UP_SRC = const(0x38)
_CTRL7 = const(0x3F)
_IDENTITY = const(0x44)

# CTRL1..6: 1.6 Hz, low power mode 1; several octets in a row, both of one sample; latched; wake-up
# and 6D on INT1; nothing on INT2; the slowest filters, +-2 g.
_CONTROL = b"\x10\x0c\x10\xa0\x00\xc0"
_SIXD = b"\x40"  # another side from 60 degrees on
_WATCH = b"\x08\x40"  # WAKE_UP_THS, WAKE_UP_DUR: over 250 mg for two samples more
_ENABLED = b"\x21"  # the sides as the low-pass filter sees them: no knock is one


class Accelerometer:
    """One sensor. Every method may raise `OSError` when it does not answer, or is another chip."""

    def __init__(self, i2c: "I2c") -> None:
        self._i2c = i2c
        self._address = 0
        for address in _ADDRESSES:
            try:
                if i2c.readfrom_mem(address, _WHO_AM_I, 1)[0] == _IDENTITY:
                    self._address = address
            except OSError:
                pass
        if not self._address:
            raise OSError(_ENODEV)

    def watches(self) -> bool:
        """Whether it does what `watch` has told it: not after a loss of its power."""
        return (
            self._read(_CTRL1, len(_CONTROL)) == _CONTROL
            and self._read(_TAP_THS_X, 1) == _SIXD
            and self._read(_WAKE_UP_THS, len(_WATCH)) == _WATCH
            and self._read(_CTRL7, 1) == _ENABLED
        )

    def watch(self) -> None:
        """Begin to measure and to watch; what it tells counts after `SETTLE_MS`."""
        self._write(_CTRL7, b"\0")
        self._write(_TAP_THS_X, _SIXD)
        self._write(_WAKE_UP_THS, _WATCH)
        self._write(_CTRL1, _CONTROL)
        self._write(_CTRL7, _ENABLED)

    def position_mg(self) -> "tuple[int, int, int]":
        """Return the newest sample."""
        out = self._read(_OUT, 6)
        return _mg(out, 0), _mg(out, 2), _mg(out, 4)

    def moved(self) -> bool:
        """Whether it has been moved since this was last asked; lets go of INT1."""
        # WAKE_UP_SRC, TAP_SRC, SIXD_SRC, ALL_INT_SRC: reading a source lets go of it.
        wake_up, _, sixd, _ = self._read(_WAKE_UP_SRC, 4)
        return wake_up & 0x08 != 0 or sixd & 0x40 != 0

    def _read(self, register: int, length: int) -> bytes:
        return self._i2c.readfrom_mem(self._address, register, length)

    def _write(self, register: int, data: bytes) -> None:
        self._i2c.writeto_mem(self._address, register, data)


def _mg(data: bytes, at: int) -> int:
    value = (data[at] | data[at + 1] << 8) >> 4
    value = value - 0x1000 if value & 0x800 else value
    return value * 976 // 1000

"""LIS3DH accelerometer on I2C, watching for movement while the processor sleeps deeply.

DS is ST's data sheet DocID17530 rev. 2, AN its application note AN3308. In low power at 10 Hz it
takes 3 uA (DS table 12) and gives 8 bits: 16 mg at +-2 g. What has been moved for two seconds and
more on end, less what always pulls (a high-pass filter of 0.02 Hz), raises INT1 and keeps it: the
slam of a lid does not, a lorry's lift, a ride and a fall do.
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c

WATCHING_UA = 3
SETTLE_MS = 150
SAMPLE_MS = 250  # two samples and a little

_ENODEV = const(19)
_ADDRESSES = (0x18, 0x19)  # by the SDO/SA0 pin
_WHO_AM_I = const(0x0F)
_CTRL_REG1 = const(0x20)
_REFERENCE = const(0x26)
_OUT = const(0x28)
_INT1_CFG = const(0x30)
_INT1_SRC = const(0x31)
_INT1_THS = const(0x32)
_SEVERAL = const(0x80)  # of a register number: count up (DS 6.1.1)
_IDENTITY = const(0x33)
_MG = const(16)

# CTRL_REG1..5: 10 Hz, low power, three axes; the slowest high-pass filter for INT1's generator
# alone; that generator on the pin; +-2 g, both octets of one sample; latched.
_CONTROL = b"\x2f\x31\x40\x80\x08"
_WATCH = b"\x10\x14"  # INT1_THS, INT1_DURATION: over 256 mg for 20 samples
_ANY_AXIS = b"\x2a"  # high on any axis, of whatever sign


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
            self._read(_CTRL_REG1, len(_CONTROL)) == _CONTROL
            and self._read(_INT1_CFG, 1) == _ANY_AXIS
            and self._read(_INT1_THS, len(_WATCH)) == _WATCH
        )

    def watch(self) -> None:
        """Begin to measure and to watch; what it tells counts after `SETTLE_MS`."""
        self._write(_INT1_CFG, b"\0")
        self._write(_CTRL_REG1, _CONTROL)
        self._write(_INT1_THS, _WATCH)
        self._write(_INT1_CFG, _ANY_AXIS)

    def position_mg(self) -> "tuple[int, int, int]":
        """Return the newest sample."""
        out = self._read(_OUT, 6)
        return _signed(out[1]) * _MG, _signed(out[3]) * _MG, _signed(out[5]) * _MG

    def moved(self) -> bool:
        """Whether it has been moved since this was last asked; lets go of INT1."""
        # What pulls now is the rest from which movement counts (AN, "High-pass filter": its reset).
        self._read(_REFERENCE, 1)
        return self._read(_INT1_SRC, 1)[0] & 0x40 != 0

    def _read(self, register: int, length: int) -> bytes:
        if length > 1:
            register |= _SEVERAL
        return self._i2c.readfrom_mem(self._address, register, length)

    def _write(self, register: int, data: bytes) -> None:
        if len(data) > 1:
            register |= _SEVERAL
        self._i2c.writeto_mem(self._address, register, data)


def _signed(octet: int) -> int:
    return octet - 256 if octet & 0x80 else octet

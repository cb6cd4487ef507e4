"""LIS3MDL magnetometer on I2C, watching a field by itself while the processor sleeps deeply.

DS is ST's data sheet DocID024204. Full scale is +-4 gauss: 6842 counts per gauss, so a count is
14.6 nT. The sensor subtracts its OFFSET registers from every measurement, before it compares each
axis' magnitude with the threshold; with the present field as offset, INT says "this has changed".
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c

    Field = tuple[int, int, int]

SATURATED = 32000  # counts on an axis, near the end of 16 bits

_ADDRESSES = (0x1C, 0x1E)  # by the SDO/SA1 pin
_OFFSET = const(0x05)
_WHO_AM_I = const(0x0F)
_CTRL_REG1 = const(0x20)
_CTRL_REG3 = const(0x22)
_STATUS = const(0x27)
_OUT = const(0x28)
_TEMP_OUT = const(0x2E)
_INT_CFG = const(0x30)
_INT_SRC = const(0x31)
_INT_THS = const(0x32)
_SEVERAL = const(0x80)  # of a register number: count up (DS 5.1.1)
_IDENTITY = const(0x3D)
_ENODEV = const(19)


class Lis3mdl:
    """One sensor: a `Magnetometer`. Where there is none, `OSError`."""

    CONVERSION_MS = 100  # of the fast mode, 10 Hz
    POLL_S = 0

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

    def measure(self) -> None:
        """Measure continuously, ten times a second, with medium averaging; no interrupt."""
        self._write(_INT_CFG, b"\x0c")  # disabled, so low; bit 3 has to be 1 (DS 7.13)
        self._setup(False)

    def fresh(self) -> bool:
        """Whether a new measurement is there."""
        return self._read(_STATUS, 1)[0] & 0x08 != 0

    def field(self) -> "Field":
        """Return the newest measurement in counts, as if the OFFSET registers were zero."""
        out = self._read(_OUT, 6)
        offset = self._read(_OFFSET, 6)
        return (
            _signed(out, 0) + _signed(offset, 0),
            _signed(out, 2) + _signed(offset, 2),
            _signed(out, 4) + _signed(offset, 4),
        )

    def temperature(self) -> int:
        """Return the sensor's temperature in eighths of a degree, 0 at about 25 (DS table 4)."""
        return _signed(self._read(_TEMP_OUT, 2), 0)

    def saturated(self) -> bool:
        """Whether the newest measurement lies at the end of an axis."""
        out = self._read(_OUT, 6)
        return max([abs(_signed(out, at)) for at in (0, 2, 4)]) >= SATURATED

    def watch(self, field: "Field", threshold: int) -> None:
        """Raise INT when an axis differs from `field` by over `threshold` counts.

        Takes effect with the next conversion; call `settle` after it.
        """
        offset = b""
        for value in field:
            low = min(32767, max(-32768, value))
            offset += bytes((low & 0xFF, low >> 8 & 0xFF))
        threshold = min(threshold, 0x7FFF)
        self._write(_OFFSET, offset)
        self._write(_INT_THS, bytes((threshold & 0xFF, threshold >> 8)))
        self._write(_INT_CFG, b"\xed")  # all axes, 01, active high, latched, enabled (DS 7.13)

    def settle(self) -> None:
        """Let go of what INT latched, and go on at 0.625 Hz in low power."""
        self._read(_INT_SRC, 1)
        self._setup(True)

    def rest(self) -> None:
        """Measure nothing until `measure`."""
        self._write(_CTRL_REG3, b"\x03")

    def _setup(self, low_power: bool) -> None:
        # CTRL_REG1..5 (DS 7.2 to 7.6): medium x and y at 10 Hz, with the thermometer or, in low
        # power, which overrules rate and averaging, without; 4 gauss; continuous; medium z; both
        # octets of one measurement.
        first, third = (0x30, 0x20) if low_power else (0xB0, 0x00)
        self._write(_CTRL_REG1, bytes((first, 0x00, third, 0x04, 0x40)))

    def _read(self, register: int, length: int) -> bytes:
        if length > 1:
            register |= _SEVERAL
        return self._i2c.readfrom_mem(self._address, register, length)

    def _write(self, register: int, data: bytes) -> None:
        if len(data) > 1:
            register |= _SEVERAL
        self._i2c.writeto_mem(self._address, register, data)


def _signed(data: bytes, at: int) -> int:
    value: int = data[at] | data[at + 1] << 8
    return value - 0x10000 if value & 0x8000 else value


open_sensor = Lis3mdl

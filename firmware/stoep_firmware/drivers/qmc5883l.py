"""QMC5883L magnetometer on I2C, the "GY-271" at 0x0D. Not for batteries: it has no threshold.

DS is QST's data sheet 13-52-04. Its one interrupt says that there is a measurement, so the board
has to look by the clock.
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c

    Field = tuple[int, int, int]

_ADDRESS = const(0x0D)
_OUT = const(0x00)
_STATUS = const(0x06)
_TEMP = const(0x07)
_CONTROL = const(0x09)
_SET_RESET = const(0x0B)
_IDENTITY = const(0x0D)
_ENODEV = const(19)


class Qmc5883l:
    """One sensor: a `Magnetometer`. Where there is none, `OSError`."""

    CONVERSION_MS = 100  # long enough at 50 Hz
    POLL_S = 60

    def __init__(self, i2c: "I2c") -> None:
        self._i2c = i2c
        if self._read(_IDENTITY, 1) != b"\xff":
            raise OSError(_ENODEV)

    def measure(self) -> None:
        """Measure 50 times a second, in a range of 8 gauss, with the most averaging."""
        self._write(_SET_RESET, b"\x01")  # as DS 9.2.5 says
        self._write(_CONTROL, b"\x15")
        # One that was left unread before the sensor rested would pass for a new one.
        self._read(_OUT, 6)

    def fresh(self) -> bool:
        """Whether a new measurement is there."""
        return self._read(_STATUS, 1)[0] & 1 != 0

    def field(self) -> "Field":
        """Return the newest measurement: 3000 counts to the gauss (DS table 2)."""
        out = self._read(_OUT, 6)
        return _scaled(out, 0), _scaled(out, 2), _scaled(out, 4)

    def temperature(self) -> int:
        """Return the sensor's temperature in eighths of a degree, of any origin (DS 9.2.3)."""
        return _signed(self._read(_TEMP, 2), 0) * 2 // 25

    def saturated(self) -> bool:
        """Whether the newest measurement lies at the end of an axis."""
        return self._read(_STATUS, 1)[0] & 2 != 0

    def rest(self) -> None:
        """Measure nothing until `measure`."""
        self._write(_CONTROL, b"\x10")

    def _read(self, register: int, length: int) -> bytes:
        return self._i2c.readfrom_mem(_ADDRESS, register, length)

    def _write(self, register: int, data: bytes) -> None:
        self._i2c.writeto_mem(_ADDRESS, register, data)


def _signed(data: bytes, at: int) -> int:
    value: int = data[at] | data[at + 1] << 8
    return value - 0x10000 if value & 0x8000 else value


def _scaled(data: bytes, at: int) -> int:
    return _signed(data, at) * 6842 // 3000


open_sensor = Qmc5883l

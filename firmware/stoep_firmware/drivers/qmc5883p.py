"""QMC5883P magnetometer on I2C, the "GY-271" at 0x2C. Not for batteries: it has no interrupt.

DS is QST's data sheet 13-52-19. It has no thermometer that can be read either.
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c

    Field = tuple[int, int, int]

_ADDRESS = const(0x2C)
_CHIP_ID = const(0x00)
_OUT = const(0x01)
_STATUS = const(0x09)
_CONTROL_1 = const(0x0A)
_CONTROL_2 = const(0x0B)
_SIGN = const(0x29)
_IDENTITY = b"\x80"
_ENODEV = const(19)


class Qmc5883p:
    """One sensor: a `Magnetometer`. Where there is none, `OSError`."""

    CONVERSION_MS = 100  # long enough at 50 Hz
    POLL_S = 60

    def __init__(self, i2c: "I2c") -> None:
        self._i2c = i2c
        self._status = 0  # as it was last read: reading takes its flags away (DS 9.2.2)
        if self._read(_CHIP_ID, 1) != _IDENTITY:
            raise OSError(_ENODEV)

    def measure(self) -> None:
        """Measure 50 times a second, in a range of 8 gauss, each by SET and RESET."""
        self._write(_SIGN, b"\x06")  # no table has it, but every example begins with it (DS 7)
        self._write(_CONTROL_2, b"\x08")
        self._write(_CONTROL_1, b"\x05")
        # What was measured before the sensor rested would pass for new.
        self._read(_STATUS, 1)

    def fresh(self) -> bool:
        """Whether a new measurement is there."""
        self._status = self._read(_STATUS, 1)[0]
        return self._status & 1 != 0

    def field(self) -> "Field":
        """Return the newest measurement: 3750 counts to the gauss (DS table 2)."""
        out = self._read(_OUT, 6)
        return _scaled(out, 0), _scaled(out, 2), _scaled(out, 4)

    def temperature(self) -> int:
        """Return 0: not known."""
        return 0

    def saturated(self) -> bool:
        """Whether the newest measurement lies at the end of an axis."""
        return self._status & 2 != 0

    def rest(self) -> None:
        """Measure nothing until `measure`."""
        self._write(_CONTROL_1, b"\x00")

    def _read(self, register: int, length: int) -> bytes:
        return self._i2c.readfrom_mem(_ADDRESS, register, length)

    def _write(self, register: int, data: bytes) -> None:
        self._i2c.writeto_mem(_ADDRESS, register, data)


def _scaled(data: bytes, at: int) -> int:
    value: int = data[at] | data[at + 1] << 8
    return (value - 0x10000 if value & 0x8000 else value) * 6842 // 3750


open_sensor = Qmc5883p

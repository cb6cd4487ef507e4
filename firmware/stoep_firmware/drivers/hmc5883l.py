"""HMC5883L magnetometer on I2C, the "GY-271" at 0x1E. Not for batteries: it has no threshold.

DS is Honeywell's data sheet 900405. It has no thermometer; SET and RESET around each measurement
take its own drift away (DS page 10).
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c

    Field = tuple[int, int, int]

_ADDRESS = const(0x1E)
_CONFIG_A = const(0x00)
_CONFIG_B = const(0x01)
_MODE = const(0x02)
_OUT = const(0x03)
_STATUS = const(0x09)
_CHIP_ID = const(0x0A)
_IDENTITY = b"H43"
_GAIN = b"\x60"  # 2.5 gauss
_OVERFLOW = const(-42462)  # -4096 counts (DS page 15), scaled
_ENODEV = const(19)


class Hmc5883l:
    """One sensor: a `Magnetometer`. Where there is none, `OSError`."""

    # At 15 Hz two: the first after a change of gain is made with the old one (DS page 18), and RDY
    # says nothing of how old a measurement is (DS table 17).
    CONVERSION_MS = 150
    POLL_S = 60

    def __init__(self, i2c: "I2c") -> None:
        self._i2c = i2c
        self._field: Field = (0, 0, 0)
        if self._read(_CHIP_ID, 3) != _IDENTITY:
            raise OSError(_ENODEV)

    def measure(self) -> None:
        """Measure 15 times a second, the mean of 8, in a range of 2.5 gauss."""
        self._write(_CONFIG_A, b"\x70")
        self._write(_CONFIG_B, _GAIN)
        self._write(_MODE, b"\x00")

    def fresh(self) -> bool:
        """Whether a measurement is there; a new one, if CONVERSION_MS have passed."""
        return self._read(_STATUS, 1)[0] & 1 != 0

    def field(self) -> "Field":
        """Return the newest measurement: 660 counts to the gauss (DS table 9)."""
        # All six octets, else the next measurement has no place (DS page 16).
        out = self._read(_OUT, 6)
        self._field = _scaled(out, 0), _scaled(out, 4), _scaled(out, 2)
        return self._field

    def temperature(self) -> int:
        """Return 0: not known."""
        return 0

    def saturated(self) -> bool:
        """Whether the newest measurement lies beyond the end of an axis."""
        return _OVERFLOW in self._field

    def rest(self) -> None:
        """Measure nothing until `measure`."""
        self._write(_MODE, b"\x02")

    def _read(self, register: int, length: int) -> bytes:
        return self._i2c.readfrom_mem(_ADDRESS, register, length)

    def _write(self, register: int, data: bytes) -> None:
        self._i2c.writeto_mem(_ADDRESS, register, data)


def _scaled(data: bytes, at: int) -> int:
    value: int = data[at] << 8 | data[at + 1]
    return (value - 0x10000 if value & 0x8000 else value) * 6842 // 660


open_sensor = Hmc5883l

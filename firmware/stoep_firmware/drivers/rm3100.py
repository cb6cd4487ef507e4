"""RM3100 magnetometer on I2C, watching a field by itself while the processor sleeps deeply.

UM is PNI's user manual 1017252. In continuous mode each measurement is compared with limits, and
DRDY can be told to rise for those beyond them alone (UM tables 5-3 and 5-5): wire it to the
board's `sensor_int`. It has no thermometer.

The manual has the limits unsigned and the measurements signed. Where both limits of an axis have
the same sign, it is the same; where they have not, a sensor that compares unsigned says "beyond"
at once, and the board looks by the clock, as it does for any line that is stuck.
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c

    Field = tuple[int, int, int]

_ADDRESSES = (0x20, 0x21, 0x22, 0x23)  # by the SA0 and SA1 pins
_CMM = const(0x01)
_CYCLES = const(0x04)
_TMRC = const(0x0B)
_LIMITS = const(0x0C)
_OUT = const(0x24)
_STATUS = const(0x34)
_REVISION = const(0x36)
_IDENTITY = b"\x22"
_OFF = b"\x00"
_ALL = b"\x79"  # three axes, DRDY for each measurement of all, start (UM 5.2)
_BEYOND = b"\x7d"  # the same, DRDY for an alarm
# 100 cycles: 38.21 counts to the microtesla (0.3671 per cycle and 1.5), where a LIS3MDL has 68.42.
_CYCLE_COUNTS = b"\x00\x64\x00\x64\x00\x64"
_OURS = const(3821)
_LIS3MDL = const(6842)
_MOST = const(30_000)  # counts, near the end of its 800 uT
_ENODEV = const(19)


class Rm3100:
    """One sensor: a `Watch`. Where there is none, `OSError`."""

    CONVERSION_MS = 140  # at 9 Hz, to 7 % as one standard deviation (UM 5.2.1)
    POLL_S = 0

    def __init__(self, i2c: "I2c") -> None:
        self._i2c = i2c
        self._over = False
        self._address = 0
        for address in _ADDRESSES:
            try:
                if i2c.readfrom_mem(address, _REVISION, 1) == _IDENTITY:
                    self._address = address
                    break
            except OSError:
                pass
        if not self._address:
            raise OSError(_ENODEV)

    def measure(self) -> None:
        """Measure nine times a second."""
        self._write(_CMM, _OFF)
        self._write(_CYCLES, _CYCLE_COUNTS)
        self._write(_TMRC, b"\x98")
        self._write(_CMM, _ALL)

    def fresh(self) -> bool:
        """Whether a new measurement is there."""
        return self._read(_STATUS, 1)[0] & 0x80 != 0

    def field(self) -> "Field":
        """Return the newest measurement."""
        out = self._read(_OUT, 9)
        field = []
        self._over = False
        for at in (0, 3, 6):
            value = out[at] << 16 | out[at + 1] << 8 | out[at + 2]
            if value & 0x800000:
                value -= 0x1000000
            if abs(value) > _MOST:
                self._over = True
            field.append(value * _LIS3MDL // _OURS)
        return field[0], field[1], field[2]

    def temperature(self) -> int:
        """Return 0: not known."""
        return 0

    def saturated(self) -> bool:
        """Whether the newest measurement lies at the end of an axis."""
        return self._over

    def watch(self, field: "Field", threshold: int) -> None:
        """Raise DRDY when an axis differs from `field` by over `threshold`, looking every 1.6 s."""
        limits = b""
        for value in field:
            for limit in (value - threshold, value + threshold):
                counts = limit * _OURS // _LIS3MDL
                limits += bytes((counts >> 16 & 0xFF, counts >> 8 & 0xFF, counts & 0xFF))
        self._write(_CMM, _OFF)
        self._write(_LIMITS, limits)
        self._write(_TMRC, b"\x9c")
        self._write(_CMM, _BEYOND)

    def settle(self) -> None:
        """Nothing is left to be done: DRDY fell with what was written."""

    def rest(self) -> None:
        """Measure nothing until `measure`."""
        self._write(_CMM, _OFF)

    def _read(self, register: int, length: int) -> bytes:
        return self._i2c.readfrom_mem(self._address, register, length)

    def _write(self, register: int, data: bytes) -> None:
        self._i2c.writeto_mem(self._address, register, data)


open_sensor = Rm3100

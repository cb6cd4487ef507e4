"""MMC5983MA magnetometer on I2C. Not for batteries: its interrupt says that a measurement is done.

DS is MEMSIC's data sheet, revision A of 2019. Each field is half the difference of two
measurements, after a SET and after a RESET of the film, which takes the bridge's offset and its
drift away (DS, "Using SET and RESET to remove bridge offset"). The control registers cannot be
read, and the bits that begin something go by themselves.

It has a thermometer of which PX4's driver (pull request 22895) says that it does not work.
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c

    Field = tuple[int, int, int]

_ADDRESS = const(0x30)
_OUT = const(0x00)
_STATUS = const(0x08)
_CONTROL_0 = const(0x09)
_CONTROL_1 = const(0x0A)
_PRODUCT = const(0x2F)
_DONE = const(0x11)  # the measurement, and at power-on the reading of what it was trimmed to
_MEASURE = b"\x01"
_SET = b"\x08"
_RESET = b"\x10"
_MOST = const(260_000)  # of 18 bits; the others are near the end of an axis
_LOOKS = const(8)
_ENODEV = const(19)


class Mmc5983ma:
    """One sensor: a `Magnetometer`. Where there is none, `OSError`."""

    CONVERSION_MS = 100
    POLL_S = 60

    def __init__(self, i2c: "I2c") -> None:
        self._i2c = i2c
        self._over = False
        self._field: Field = (0, 0, 0)
        if self._read(_PRODUCT, 1) != b"\x30":
            raise OSError(_ENODEV)

    def measure(self) -> None:
        """Be ready to measure, each time when asked, in 0.5 ms: 0.12 uT of noise."""
        self._i2c.writeto_mem(_ADDRESS, _CONTROL_1, b"\x03\x00")

    def fresh(self) -> bool:
        """Measure twice, in some 5 ms; whether it was done."""
        self._over = False
        after_set = self._after(_SET)
        after_reset = self._after(_RESET)
        if not after_set or not after_reset:
            return False
        # 16384 counts to the gauss (DS table 1); each is the field in one of them, so twice.
        x, y, z = [
            (one - other) * 3421 // 16384
            for one, other in zip(after_set, after_reset)  # noqa: B905 - MicroPython has no `strict`
        ]
        self._field = x, y, z
        return True

    def field(self) -> "Field":
        """Return the newest measurement."""
        return self._field

    def temperature(self) -> int:
        """Return 0: not known."""
        return 0

    def saturated(self) -> bool:
        """Whether the newest measurement lies at the end of an axis."""
        return self._over

    def rest(self) -> None:
        """It rests after each measurement."""

    def _after(self, pulse: bytes) -> "list[int]":
        self._i2c.writeto_mem(_ADDRESS, _CONTROL_0, pulse)
        self._read(_STATUS, 1)  # with the next write over 0.5 ms at 100 kHz: the pulse's time
        self._i2c.writeto_mem(_ADDRESS, _CONTROL_0, _MEASURE)
        for _ in range(_LOOKS):
            if self._read(_STATUS, 1)[0] & _DONE == _DONE:
                break
        else:
            return []
        out = self._read(_OUT, 7)
        values = [
            out[2 * axis] << 10 | out[2 * axis + 1] << 2 | out[6] >> 6 - 2 * axis & 3
            for axis in range(3)
        ]
        if min(values) < (1 << 18) - _MOST or max(values) > _MOST:
            self._over = True
        return values

    def _read(self, register: int, length: int) -> bytes:
        return self._i2c.readfrom_mem(_ADDRESS, register, length)


open_sensor = Mmc5983ma

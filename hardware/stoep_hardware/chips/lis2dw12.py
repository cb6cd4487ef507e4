"""A model of the LIS2DW12 accelerometer, as far as its wake-up and 6D interrupts go.

"DS" is ST DocID029682 rev. 3, "AN" its application note AN5038. Wake-up sees what passes the
high-pass filter (USR_OFF_ON_WU 0) in WAKE_DUR samples and one more; 6D tells that another side is
down than the last it was sure of, and of a chip that has just begun that any is.
"""

import math

from stoep_hardware.world import Vector

from .accelerometer import AccelerometerModel

CTRL1, CTRL2, CTRL3, CTRL4_INT1, CTRL5_INT2, CTRL6 = range(0x20, 0x26)
TAP_THS_X = 0x30
WAKE_UP_THS, WAKE_UP_DUR = 0x34, 0x35
WAKE_UP_SRC, TAP_SRC, SIXD_SRC, ALL_INT_SRC = range(0x38, 0x3C)
CTRL7 = 0x3F

# DS, low-power mode 1 by ODR: 1.6 and 12.5 Hz; beyond that in proportion, a guess.
_RATE_HZ = {1: 1.5625, 2: 12.5, 3: 25, 4: 50, 5: 100, 6: 200}
_LOW_POWER_UA = {1: 0.38, 2: 1.0, 3: 2.0, 4: 4.0, 5: 8.0, 6: 16.0}
_POWER_DOWN_UA = 0.05
_SIXD_DEGREES = (80, 70, 60, 50)
_BANDWIDTH = (2, 4, 10, 20)


class Lis2dw12(AccelerometerModel):
    """One sensor."""

    IDENTITY = 0x44
    DEFAULTS = {  # noqa: RUF012 - DS, "Register mapping"
        **dict.fromkeys(range(CTRL1, 0x40), 0),
        CTRL2: 0x04,
    }
    READ_ONLY = frozenset((0x26, 0x27, *range(0x28, 0x2E), 0x2F, *range(0x37, 0x3C)))
    STARTS = frozenset((CTRL1,))

    _samples = 0
    _side: int | None = None

    def _addresses(self, sub_address: int, count: int, t_us: int) -> list[int]:
        if count > 1 and not self._registers[CTRL2] & 0x04:
            self._violate(t_us, f"{count} bytes at {sub_address:#04x} without IF_ADD_INC")
            return [sub_address] * count
        return [sub_address + index for index in range(count)]

    def _period_us(self) -> int:
        rate_hz = _RATE_HZ.get(self._registers[CTRL1] >> 4)
        return round(1e6 / rate_hz) if rate_hz else 0

    def _current_ua(self) -> float:
        return _LOW_POWER_UA.get(self._registers[CTRL1] >> 4, _POWER_DOWN_UA)

    def _restart(self, t_us: int) -> None:
        self._side = None
        self._samples = 0
        super()._restart(t_us)

    def _octets(self, sample: Vector) -> bytes:
        octets = bytearray()
        range_mg = 2000 << (self._registers[CTRL6] >> 4 & 3)
        for part in sample:
            counts = min(max(round(part / range_mg * 32768), -32768), 32767)
            octets += (counts & 0xFFF0).to_bytes(2, "little")  # twelve bits, left-justified
        return bytes(octets)

    def _judge(self, sample: Vector, t_us: int) -> bool:
        registers = self._registers
        passed = self._filter.feed(sample, 1 / _BANDWIDTH[registers[CTRL6] >> 6])
        if not registers[CTRL7] & 0x20:
            self._samples = 0
            return False
        limit_mg = (registers[WAKE_UP_THS] & 0x3F) * (2000 << (registers[CTRL6] >> 4 & 3)) / 64
        axes = [4 >> axis for axis, part in enumerate(passed) if abs(part) > limit_mg]
        self._samples = self._samples + 1 if axes else 0
        is_latched = registers[CTRL3] & 0x10
        if self._samples > registers[WAKE_UP_DUR] >> 5 & 3:
            registers[WAKE_UP_SRC] = 0x08 | sum(axes)
        elif not is_latched:
            registers[WAKE_UP_SRC] = 0
        if registers[CTRL7] & 0x01:  # LPASS_ON6D
            x, y, z = (part - over for part, over in zip(sample, passed, strict=True))
            sample = x, y, z
        side = self._side_of(sample)
        if side is not None and side != self._side:
            self._side = side
            registers[SIXD_SRC] = 0x40 | 1 << side
        elif not is_latched:
            registers[SIXD_SRC] = 0
        self._drive(t_us)
        return bool(axes)

    def _side_of(self, sample: Vector) -> int | None:
        """Return which of the six sides points upward, None between them."""
        degrees = _SIXD_DEGREES[self._registers[TAP_THS_X] >> 5 & 3]
        for axis, part in enumerate(sample):
            if abs(part) > 1000 * math.sin(math.radians(degrees)):
                return 2 * axis + (part > 0)
        return None

    def _drive(self, t_us: int) -> None:
        registers = self._registers
        routed = registers[CTRL4_INT1]
        wake_up, sixd = registers[WAKE_UP_SRC] & 0x08, registers[SIXD_SRC] & 0x40
        registers[ALL_INT_SRC] = (0x02 if wake_up else 0) | (0x10 if sixd else 0)
        self._set_int(bool((wake_up and routed & 0x20) or (sixd and routed & 0x80)), t_us)

    def _was_read(self, address: int, t_us: int) -> None:
        if address in (WAKE_UP_SRC, SIXD_SRC, ALL_INT_SRC):
            for source in (WAKE_UP_SRC, SIXD_SRC) if address == ALL_INT_SRC else (address,):
                self._registers[source] = 0
            self._drive(t_us)
            self._stirred()

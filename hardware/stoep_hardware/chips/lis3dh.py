"""A model of the LIS3DH accelerometer, as far as one interrupt generator and its filter go.

"DS" is ST DocID17530 rev. 2, "AN" its application note AN3308. In low power the samples have eight
bits, and INT1's generator sees them through the high-pass filter when HPIS1 says so. The filter of
a chip that has just begun to measure lets the earth's pull through until it has been reset.
"""

from stoep_hardware.world import Vector

from .accelerometer import AccelerometerModel

CTRL_REG1, CTRL_REG2, CTRL_REG3, CTRL_REG4, CTRL_REG5, CTRL_REG6 = range(0x20, 0x26)
REFERENCE = 0x26
INT1_CFG, INT1_SRC, INT1_THS, INT1_DURATION = range(0x30, 0x34)

# DS table 12, low power, by ODR.
_RATE_HZ = {1: 1, 2: 10, 3: 25, 4: 50, 5: 100, 6: 200, 7: 400}
_LOW_POWER_UA = {1: 2.0, 2: 3.0, 3: 4.0, 4: 6.0, 5: 10.0, 6: 18.0, 7: 36.0}
_NORMAL_UA = {1: 2.0, 2: 4.0, 3: 6.0, 4: 11.0, 5: 20.0, 6: 38.0, 7: 73.0}
_POWER_DOWN_UA = 0.5  # DS table 5
WATCHING_UA = _LOW_POWER_UA[2]
# AN, "High-pass filter": the cut-off by HPCF, at 10 Hz 0.2, 0.1, 0.05 and 0.02 Hz; of the rate.
_CUTOFF = (1 / 50, 1 / 100, 1 / 200, 1 / 500)
_MG_OF_THRESHOLD = 16  # at +-2 g
_ACTIVE = 0x40


class Lis3dh(AccelerometerModel):
    """One sensor."""

    IDENTITY = 0x33
    DEFAULTS = {  # noqa: RUF012 - DS, "Register mapping"
        **dict.fromkeys(range(CTRL_REG1, INT1_DURATION + 1), 0),
        CTRL_REG1: 0x07,
        **dict.fromkeys(range(0x34, 0x3E), 0),
    }
    READ_ONLY = frozenset((0x27, *range(0x28, 0x2E), 0x2F, INT1_SRC, 0x35))
    STARTS = frozenset((CTRL_REG1,))

    _samples = 0  # on end over the threshold

    def _addresses(self, sub_address: int, count: int, t_us: int) -> list[int]:
        address = sub_address & 0x7F
        if sub_address & 0x80:
            return [address + index for index in range(count)]
        if count > 1:
            self._violate(t_us, f"{count} bytes at {address:#04x} without bit 7 (DS 6.1.1)")
        return [address] * count

    def _period_us(self) -> int:
        rate_hz = _RATE_HZ.get(self._registers[CTRL_REG1] >> 4)
        return round(1e6 / rate_hz) if rate_hz else 0

    def _current_ua(self) -> float:
        rate = self._registers[CTRL_REG1] >> 4
        table = _LOW_POWER_UA if self._registers[CTRL_REG1] & 0x08 else _NORMAL_UA
        return table.get(rate, _POWER_DOWN_UA)

    def _octets(self, sample: Vector) -> bytes:
        octets = bytearray()
        mg = 16 << (self._registers[CTRL_REG4] >> 4 & 3)
        is_low_power = self._registers[CTRL_REG1] & 0x08
        for part in sample:
            counts = min(max(round(part / mg * 256), -32768), 32767)
            # Left-justified: eight bits in low power, ten else.
            octets += (counts & (0xFF00 if is_low_power else 0xFFC0)).to_bytes(2, "little")
        return bytes(octets)

    def _judge(self, sample: Vector, t_us: int) -> bool:
        registers = self._registers
        cutoff = _CUTOFF[registers[CTRL_REG2] >> 4 & 3]
        passed = self._filter.feed(sample, cutoff)
        config = registers[INT1_CFG]
        if not config:
            self._samples = 0
            return False
        seen = passed if registers[CTRL_REG2] & 0x01 else sample
        limit_mg = registers[INT1_THS] * _MG_OF_THRESHOLD
        source = 0
        for axis, part in enumerate(seen):
            # "High" and "low" are of the magnitude: free fall is low on all three (AN).
            event = (2 if abs(part) > limit_mg else 1) << 2 * axis
            source |= event & config
        self._samples = self._samples + 1 if source else 0
        if self._samples > registers[INT1_DURATION]:
            registers[INT1_SRC] = source | _ACTIVE
        elif not registers[CTRL_REG5] & 0x08:
            registers[INT1_SRC] = 0
        is_routed = registers[CTRL_REG3] & 0x40
        self._set_int(bool(is_routed and registers[INT1_SRC] & _ACTIVE), t_us)
        return bool(source)

    def _was_read(self, address: int, t_us: int) -> None:
        if address == REFERENCE:
            period_us = self._period_us()
            if period_us:
                self._filter.reset(self._source.acceleration_mg(t_us))
                self._samples = 0
                self._stirred()
        elif address == INT1_SRC:
            self._registers[INT1_SRC] = 0
            self._set_int(False, t_us)
            self._stirred()

"""A model of the LIS3MDL magnetometer: registers over I2C, samples at its own rate, the INT pin.

"DS" is ST DocID024204 rev. 6, "AN" its application note AN4602. The field comes from the world in
microtesla, with noise and drift. The threshold is looked at when the world says that the field has
changed, at the sample after, and when a setting changes: not at every sample, so noise alone
raises no interrupt.

    power-down ── MD 00 ──► continuous ── sample ──► |OUT| > THS ──► INT, until INT_SRC is read
        ▲ └────── MD 01 ──► single ── one sample ──┐                 (LIR 0: latched)
        └──────────────────────────────────────────┘
"""

from collections.abc import Callable

from stoep_hardware.engine import Engine, Handle
from stoep_hardware.world import FieldSource

from .state_log import StateLog

ADDRESS_SA1_LOW = 0x1C
ADDRESS_SA1_HIGH = 0x1E
WHO_AM_I_VALUE = 0x3D

OFFSET_X_L = 0x05
WHO_AM_I = 0x0F
CTRL_REG1, CTRL_REG2, CTRL_REG3, CTRL_REG4, CTRL_REG5 = range(0x20, 0x25)
STATUS_REG = 0x27
OUT_X_L = 0x28
OUT_Z_H = 0x2D
TEMP_OUT_L = 0x2E
INT_CFG = 0x30
INT_SRC = 0x31
INT_THS_L = 0x32
INT_THS_H = 0x33

# DS 7, table 16; what is not here is reserved.
_DEFAULTS = {
    **dict.fromkeys(range(OFFSET_X_L, OFFSET_X_L + 6), 0),
    WHO_AM_I: WHO_AM_I_VALUE,
    CTRL_REG1: 0x10,
    CTRL_REG2: 0x00,
    CTRL_REG3: 0x03,
    CTRL_REG4: 0x00,
    CTRL_REG5: 0x00,
    **dict.fromkeys(range(STATUS_REG, INT_CFG), 0),
    INT_CFG: 0xE8,
    INT_SRC: 0x00,
    INT_THS_L: 0x00,
    INT_THS_H: 0x00,
}
_READ_ONLY = {WHO_AM_I, *range(STATUS_REG, INT_CFG), INT_SRC}

# DS table 3, by CTRL_REG2's FS bits; one gauss is 100 uT.
_COUNTS_PER_UT = (68.42, 34.21, 22.81, 17.11)
# DS table 20, by DO; below, DS table 19's FAST_ODR rates are the reciprocals, by OM.
_RATE_HZ = (0.625, 1.25, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
_CONVERSION_US = (1_000, 1_786, 3_333, 6_452)
_LOW_POWER_HZ = 0.625
# DS table 4: 40 uA at 20 Hz in low-power mode, 270 uA in ultra-high performance, 1 uA asleep; the
# two modes between and other rates in proportion to the time of conversion.
_POWER_DOWN_UA = 1.0
_UA_PER_HZ_AND_US = 39 / 20 / 1_000
WATCHING_UA = _POWER_DOWN_UA + _UA_PER_HZ_AND_US * _LOW_POWER_HZ * _CONVERSION_US[0]

_CONTINUOUS, _SINGLE = 0, 1
_INT_ENABLED = 0x01
_INT_NOT_LATCHED = 0x02
_INT_ACTIVE_HIGH = 0x04
_SOFT_RESET = 0x0C


class Lis3mdl:
    """One sensor at `address` in the field of `source`. `on_int(level, t_us)` follows its pin."""

    NAME = "lis3mdl"
    WATCHING_UA = WATCHING_UA

    def __init__(
        self,
        engine: Engine,
        source: FieldSource,
        *,
        address: int = ADDRESS_SA1_LOW,
        keep_states: bool = False,
    ) -> None:
        self.address = address
        self.violations: list[str] = []
        self.log = StateLog(keep=keep_states)
        self.on_int: Callable[[bool, int], None] | None = None
        self._engine = engine
        self._source = source
        self._registers = dict(_DEFAULTS)
        self._int_level = False
        self._is_int_active = False
        self._since_us = 0  # when the present mode began
        self._sample_number = -1
        self._is_new = False
        self._look: Handle | None = None  # at the threshold
        self._look_at_us: int | None = None
        self._is_powered = False
        source.on_change(self.field_changed)
        self.power(True, engine.now_us)

    @property
    def int_level(self) -> bool:
        """The level of the INT pin."""
        return self._int_level

    def line(self, _t_us: int) -> bool:
        """Return that level; it changes by what the engine brings."""
        return self._int_level

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        self._is_powered = on
        self._reset(t_us)
        if not on:
            self.log.enter(t_us, "off", 0.0)

    def field_changed(self) -> None:
        """Look at the threshold at the next sample; the world calls this."""
        self._look_after(self._engine.now_us)

    # ---- I2C ------------------------------------------------------------------------------------

    def read(self, sub_address: int, count: int, t_us: int) -> bytes | None:
        """Read registers; None is a NAK. Bit 7 of the sub-address counts up (DS 5.1.1)."""
        if not self._is_powered:
            return None
        self._advance(t_us)
        data = bytearray()
        for address in self._addresses(sub_address, count, t_us):
            if address not in _DEFAULTS:
                self._violate(t_us, f"reads reserved register {address:#04x}")
            data.append(self._registers.get(address, 0))
            if address == INT_SRC:
                self._registers[INT_SRC] = 0
                self._set_int(False, t_us)
                self._look_after(t_us)
            elif OUT_X_L <= address <= OUT_Z_H:
                self._is_new = False
                self._registers[STATUS_REG] = 0
        return bytes(data)

    def write(self, sub_address: int, data: bytes, t_us: int) -> bool:
        """Write registers; False is a NAK."""
        if not self._is_powered:
            return False
        self._advance(t_us)
        for address, value in zip(self._addresses(sub_address, len(data), t_us), data, strict=True):
            self._write(address, value, t_us)
        return True

    def _addresses(self, sub_address: int, count: int, t_us: int) -> list[int]:
        address = sub_address & 0x7F
        if sub_address & 0x80:
            return [address + index for index in range(count)]
        if count > 1:
            self._violate(t_us, f"{count} bytes at {address:#04x} without bit 7 (DS 5.1.1)")
        return [address] * count

    def _write(self, address: int, value: int, t_us: int) -> None:
        if address not in _DEFAULTS or address in _READ_ONLY:
            self._violate(t_us, f"writes register {address:#04x}")
            return
        if address == INT_CFG and value & 0x18 != 0x08:
            self._violate(t_us, f"INT_CFG {value:#04x}: bit 4 is 0, bit 3 is 1 (DS 7.13)")
        if address == INT_THS_H and value & 0x80:
            self._violate(t_us, "INT_THS_H: bit 7 is 0 (DS 7.15)")
        if address == CTRL_REG2 and value & _SOFT_RESET:
            self._reset(t_us)
            return
        self._registers[address] = value
        if address in (CTRL_REG1, CTRL_REG3):
            self._restart(t_us)
        elif address == INT_CFG and not value & _INT_ENABLED:
            self._registers[INT_SRC] = 0
            self._set_int(False, t_us)
        else:
            self._drive_int(t_us)  # the polarity may have changed
        self._look_after(t_us)

    def _violate(self, t_us: int, what: str) -> None:
        self.violations.append(f"{t_us} us: {what}")

    # ---- samples --------------------------------------------------------------------------------

    def _reset(self, t_us: int) -> None:
        self._registers = dict(_DEFAULTS)
        self._set_int(False, t_us)
        self._restart(t_us)

    def _restart(self, t_us: int) -> None:
        """Begin a mode: the first sample comes one conversion later."""
        self._since_us = t_us
        self._sample_number = -1
        mode = self._mode()
        if mode not in (_CONTINUOUS, _SINGLE):
            self.log.enter(t_us, "power_down", _POWER_DOWN_UA)
            return
        rate_hz = 1e6 / self._period_us() if mode == _CONTINUOUS else 80.0
        current_ua = _POWER_DOWN_UA + _UA_PER_HZ_AND_US * rate_hz * self._conversion_us()
        self.log.enter(t_us, "continuous" if mode == _CONTINUOUS else "single", current_ua)

    def _mode(self) -> int:
        return self._registers[CTRL_REG3] & 3

    def _is_low_power(self) -> bool:
        return bool(self._registers[CTRL_REG3] & 0x20)

    def _conversion_us(self) -> int:
        om = 0 if self._is_low_power() else self._registers[CTRL_REG1] >> 5 & 3
        return _CONVERSION_US[om]

    def _period_us(self) -> int:
        if self._is_low_power():
            return round(1e6 / _LOW_POWER_HZ)
        if self._registers[CTRL_REG1] & 2:
            return self._conversion_us()
        return round(1e6 / _RATE_HZ[self._registers[CTRL_REG1] >> 2 & 7])

    def _last_sample(self, t_us: int) -> tuple[int, int]:
        """Return number and time of the last sample taken by `t_us`, number -1 before the first."""
        mode = self._mode()
        first_us = self._since_us + self._conversion_us()
        if mode not in (_CONTINUOUS, _SINGLE) or t_us < first_us:
            return -1, 0
        if mode == _SINGLE:
            return 0, first_us
        number = (t_us - first_us) // self._period_us()
        return number, first_us + number * self._period_us()

    def _advance(self, t_us: int) -> None:
        """Bring registers up to the last sample, and do a look that is due."""
        number, sample_us = self._last_sample(t_us)
        if number > self._sample_number:
            self._sample_number = number
            self._sample(sample_us)
        if self._look_at_us is not None and self._look_at_us <= t_us:
            self._look_at_us = None
            self._compare(t_us)

    def _sample(self, t_us: int) -> None:
        registers = self._registers
        scale = _COUNTS_PER_UT[registers[CTRL_REG2] >> 5 & 3]
        is_big_endian = bool(registers[CTRL_REG4] & 2)
        for axis, field_ut in enumerate(self._source.field_ut(t_us)):
            at = OFFSET_X_L + 2 * axis
            offset = int.from_bytes((registers[at], registers[at + 1]), "little", signed=True)
            counts = min(max(round(field_ut * scale), -32768), 32767) - offset
            counts = min(max(counts, -32768), 32767)
            low, high = counts.to_bytes(2, "little", signed=True)
            at = OUT_X_L + 2 * axis
            registers[at], registers[at + 1] = (high, low) if is_big_endian else (low, high)
        if registers[CTRL_REG1] & 0x80:
            counts = round((self._source.temperature_c(t_us) - 25) * 8)
            low, high = counts.to_bytes(2, "little", signed=True)
            registers[TEMP_OUT_L], registers[TEMP_OUT_L + 1] = low, high
        registers[STATUS_REG] = 0xFF if self._is_new else 0x0F
        self._is_new = True
        if self._mode() == _SINGLE:
            registers[CTRL_REG3] |= 3  # DS 7.4: back to power-down
            self.log.enter(self._since_us + self._conversion_us(), "power_down", _POWER_DOWN_UA)

    # ---- the interrupt --------------------------------------------------------------------------

    def _look_after(self, t_us: int) -> None:
        """Ask for a look at the first sample after `t_us`."""
        if self._mode() != _CONTINUOUS or not self._registers[INT_CFG] & _INT_ENABLED:
            return
        first_us = self._since_us + self._conversion_us()
        period_us = self._period_us()
        number = 0 if t_us < first_us else (t_us - first_us) // period_us + 1
        at_us = first_us + number * period_us
        if self._look is not None:
            self._look.cancel()
        self._look_at_us = at_us
        self._look = self._engine.at(at_us, lambda: self._advance(at_us))

    def _compare(self, t_us: int) -> None:
        """Compare the last sample with the threshold (DS 7.13 to 7.15, AN 6)."""
        registers = self._registers
        config = registers[INT_CFG]
        if self._mode() != _CONTINUOUS or not config & _INT_ENABLED:
            return
        threshold = registers[INT_THS_L] | registers[INT_THS_H] << 8
        is_big_endian = bool(registers[CTRL_REG4] & 2)
        source = 0
        for axis in range(3):
            if not config & 0x80 >> axis:
                continue
            at = OUT_X_L + 2 * axis
            pair = (registers[at], registers[at + 1])
            counts = int.from_bytes(pair, "big" if is_big_endian else "little", signed=True)
            if counts > threshold:
                source |= 0x80 >> axis
            elif counts < -threshold:
                source |= 0x10 >> axis
        if source:
            registers[INT_SRC] = source | 1
            self._set_int(True, t_us)
        elif config & _INT_NOT_LATCHED:
            registers[INT_SRC] = 0
            self._set_int(False, t_us)

    def _set_int(self, active: bool, t_us: int) -> None:
        self._is_int_active = active
        self._drive_int(t_us)

    def _drive_int(self, t_us: int) -> None:
        is_active_high = bool(self._registers[INT_CFG] & _INT_ACTIVE_HIGH)
        level = self._is_int_active == is_active_high
        if level != self._int_level:
            self._int_level = level
            if self.on_int is not None:
                self.on_int(level, t_us)

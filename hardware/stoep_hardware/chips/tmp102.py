"""A model of the TMP102 thermometer: pointer, four registers of 16 bits, conversions in real time.

"DS" is TI's SBOS397. What it takes in a conversion is the TMP104's figure (SBOS564, "Conversion
Rate"), its next of kin.

    power-up ──► continuous, 4 Hz ── SD 1 ──► shutdown ── OS 1 ──► one conversion ──► shutdown
"""

from typing import Protocol

from .state_log import StateLog

ADDRESS = 0x48  # ADD0 at ground
TEMPERATURE, CONFIGURATION = 0, 1
CONVERSION_US = 26_000  # DS 6.5, typical; 35 ms at most
SHUTDOWN_UA = 0.5
_CONVERSION_UA = 40.0
_CONTINUOUS_UA = 7.0  # DS 6.5, at 4 Hz
_RATE_US = 250_000
_DEFAULTS = (0x0000, 0x60A0, 0x4B00, 0x5000)  # DS 7.5; 75 and 80 degrees
_SHUTDOWN, _ONE_SHOT = 0x0100, 0x8000
_READ_ONLY = 0xE020  # OS, the resolution and AL are kept by the chip


class Warm(Protocol):
    """What a thermometer measures."""

    def temperature_c(self, t_us: int) -> float:
        """Return the temperature."""
        ...


class Tmp102:
    """One sensor. `fault` is how it misbehaves: "" not at all, "silent" it does not answer, "high"
    it answers with ones alone, "stuck" a conversion never ends.
    """

    def __init__(
        self, source: Warm, *, conversion_us: int = CONVERSION_US, keep_states: bool = False
    ) -> None:
        self.log = StateLog(keep=keep_states)
        self.violations: list[str] = []
        self.fault = ""
        self._source = source
        self._conversion_us = conversion_us
        self._registers = list(_DEFAULTS)
        self._is_powered = False
        self._since_us = 0  # when the conversion, or the first of many, began
        self._is_converting = False

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        self._is_powered = on
        self._registers = list(_DEFAULTS)
        self._since_us = t_us
        self._is_converting = False
        self.log.enter(t_us, "continuous" if on else "off", _CONTINUOUS_UA if on else 0.0)

    def read(self, sub_address: int, count: int, t_us: int) -> bytes | None:
        """Read from a register on; None is a NAK."""
        if not self._is_powered or self.fault == "silent":
            return None
        if self.fault == "high":
            return b"\xff" * count
        self._advance(t_us)
        register = sub_address & 3
        value = self._registers[register]
        if register == CONFIGURATION and not self._is_converting:
            value |= _ONE_SHOT
        return (value.to_bytes(2, "big") * count)[:count]

    def write(self, sub_address: int, data: bytes, t_us: int) -> bool:
        """Write a register; False is a NAK."""
        if not self._is_powered or self.fault == "silent":
            return False
        self._advance(t_us)
        register = sub_address & 3
        if register == TEMPERATURE or len(data) != 2:
            self.violations.append(f"{t_us} us: writes {data.hex()} to register {register}")
            return True
        value = int.from_bytes(data, "big")
        if register != CONFIGURATION:
            self._registers[register] = value
            return True
        was_asleep = self._registers[CONFIGURATION] & _SHUTDOWN
        self._registers[CONFIGURATION] = value & ~_READ_ONLY | _DEFAULTS[CONFIGURATION] & _READ_ONLY
        if not value & _SHUTDOWN:
            self._since_us = t_us
            self.log.enter(t_us, "continuous", _CONTINUOUS_UA)
        elif was_asleep and value & _ONE_SHOT:
            self._is_converting = True
            self._since_us = t_us
            self.log.enter(t_us, "conversion", _CONVERSION_UA)
        elif not was_asleep:
            self.log.enter(t_us, "shutdown", SHUTDOWN_UA)
        return True

    def _advance(self, t_us: int) -> None:
        """End the conversions that are over by now."""
        ends_us = self._since_us + self._conversion_us
        if t_us < ends_us or self.fault == "stuck":
            return
        if self._is_converting:
            self._is_converting = False
            self.log.enter(ends_us, "shutdown", SHUTDOWN_UA)
        elif self._registers[CONFIGURATION] & _SHUTDOWN:
            return
        else:
            ends_us += (t_us - ends_us) // _RATE_US * _RATE_US
        sixteenths = round(self._source.temperature_c(ends_us) * 16)
        self._registers[TEMPERATURE] = (min(max(sixteenths, -0x800), 0x7FF) & 0xFFF) << 4

"""A model of MEMSIC's MMC5983MA: 18 bits unsigned, a film that SET and RESET turn over.

"DS" is the data sheet, revision A. Its bridges have an offset that drifts; a measurement has the
field with the sign that the last pulse gave the film. Status bits stay until the next measurement
begins; what begins one clears itself; control registers cannot be read back. It has no threshold.
"""

from typing import ClassVar

from stoep_hardware.engine import Engine
from stoep_hardware.world import FieldSource

from .compass import Compass

OUT, TEMPERATURE, STATUS = 0x00, 0x07, 0x08
CONTROL_0, CONTROL_1, CONTROL_2, CONTROL_3, PRODUCT = 0x09, 0x0A, 0x0B, 0x0C, 0x2F
_MEASURED, _TRIMMED = 0x01, 0x10
_CONVERSION_US = (8_000, 4_000, 2_000, 500)  # DS, internal control 1, by BW
COUNTS_PER_UT = 163.84
NULL = 1 << 17
PULSE_US = 500  # the data sheet says 0.5 us, MEMSIC's own code waits 500
POWER_ON_US = 10_000
# Guesses, all four.
OFFSET_UT = (14.0, -9.0, 22.0)
DRIFT_UT_PER_C = 0.4
DOWN_UA = 1.0
ACTIVE_UA = 1_000.0


class Mmc5983ma(Compass):
    """DS, "Register map"."""

    NAME = "mmc5983ma"
    ADDRESS = 0x30
    WATCHING_UA = DOWN_UA
    DEFAULTS: ClassVar = {**dict.fromkeys(range(CONTROL_3 + 1), 0), PRODUCT: 0x30}
    WRITABLE = frozenset((STATUS, CONTROL_0, CONTROL_1, CONTROL_2, CONTROL_3))

    def __init__(self, engine: Engine, source: FieldSource, *, keep_states: bool = False) -> None:
        self.is_trimmed = True  # whether what it was trimmed to can be read at power-on
        self._polarity = 1
        self._pulse_us = 0  # until when the last pulse lasts
        self._ready_us = 0
        super().__init__(engine, source, keep_states=keep_states)

    def _reset(self, t_us: int) -> None:
        super()._reset(t_us)
        self._polarity = 1
        self._ready_us = t_us + POWER_ON_US if t_us else 0
        self.log.enter(t_us, "down", DOWN_UA)

    def _advance(self, t_us: int) -> None:
        super()._advance(t_us)
        if self.is_trimmed and t_us >= self._ready_us:
            self.registers[STATUS] |= _TRIMMED

    def _was_read(self, address: int, t_us: int) -> None:
        if CONTROL_0 <= address <= CONTROL_3:
            self._violate(t_us, f"reads control register {address:#04x}, which is for writing")

    def _put(self, address: int, value: int, t_us: int) -> None:
        if address == CONTROL_1 and value & 0x80:
            self._reset(t_us)
            return
        if address == STATUS:
            return  # clears the interrupt, which nobody has asked for
        self.registers[address] = 0 if address == CONTROL_0 else value
        if address != CONTROL_0:
            return
        if bin(value & 0x1B).count("1") > 1:
            self._violate(t_us, f"begins several things at once ({value:#04x})")
        if value & 0x18:
            self._polarity = 1 if value & 0x08 else -1
            self._pulse_us = t_us + PULSE_US
        if value & 0x01:
            if t_us < self._pulse_us:
                self._violate(t_us, "measures while a pulse lasts")
            self.registers[STATUS] &= ~_MEASURED
            self._begin(t_us, _CONVERSION_US[self.registers[CONTROL_1] & 3])
            self.log.enter(t_us, "measuring", ACTIVE_UA)

    def _measured(self, t_us: int) -> None:
        self.log.enter(t_us, "down", DOWN_UA)
        warmer = self._source.temperature_c(t_us) - 25
        low = 0
        for axis, field_ut in enumerate(self._source.field_ut(t_us)):
            bridge_ut = OFFSET_UT[axis] + DRIFT_UT_PER_C * warmer + self._polarity * field_ut
            value = min(max(NULL + round(bridge_ut * COUNTS_PER_UT), 0), 2 * NULL - 1)
            self.registers[OUT + 2 * axis] = value >> 10
            self.registers[OUT + 2 * axis + 1] = value >> 2 & 0xFF
            low |= (value & 3) << 6 - 2 * axis
        self.registers[OUT + 6] = low
        self.registers[STATUS] |= _MEASURED

"""A model of PNI's RM3100: 24 bits signed, continuous measurements, alarm limits, the DRDY pin.

"UM" is the user manual 1017252. The limits are looked at when the world says that the field has
changed, and at the first measurement of a continuous mode: noise alone raises no alarm. Writing
any register, and reading a measurement, lets DRDY fall (UM 5.6.2, the default); reading CMM or
writing TMRC ends the continuous mode (UM 5.2).

The manual says that limits are unsigned integers and measurements signed: `is_unsigned` has the
chip compare that way.
"""

from typing import ClassVar

from stoep_hardware.engine import Engine, Handle
from stoep_hardware.world import FieldSource

from .compass import Compass

POLL, CMM, CYCLES, TMRC, LIMITS, HYSTERESIS = 0x00, 0x01, 0x04, 0x0B, 0x0C, 0x1E
OUT, BIST, STATUS, HSHAKE, REVISION = 0x24, 0x33, 0x34, 0x35, 0x36
_READY = 0x80
_START, _ALARM = 0x01, 0x02
_AXES = (0x10, 0x20, 0x40)
_RANGE_UT = 1_100.0  # where its counts end; linear to 800 (UM table 3-1)
CONVERSION_US = 6_800  # of three axes with 200 cycles: 147 Hz
# Guesses; the second at 8 Hz with 200 cycles, in proportion to rate and cycles.
IDLE_UA = 1.0
ACTIVE_UA = 260.0


def continuous_ua(period_us: int, cycles: int) -> float:
    """Return the current in continuous mode."""
    return IDLE_UA + ACTIVE_UA * 1e6 / period_us / 8 * cycles / 200


def counts_per_ut(cycles: int) -> float:
    """Return the gain."""
    return 0.3671 * cycles + 1.5


class Rm3100(Compass):
    """UM tables 5-1 to 5-8."""

    NAME = "rm3100"
    ADDRESS = 0x20
    WATCHING_UA = continuous_ua(1_700 << 10, 100)  # as the firmware's driver has it
    DEFAULTS: ClassVar = {
        POLL: 0,
        CMM: 0,
        **{CYCLES + at: (0x00, 0xC8)[at % 2] for at in range(6)},
        TMRC: 0x96,
        **dict.fromkeys(range(LIMITS, OUT + 9), 0),
        BIST: 0,
        STATUS: 0,
        HSHAKE: 0x1B,
        REVISION: 0x22,
    }
    WRITABLE = frozenset((POLL, CMM, TMRC, BIST, HSHAKE, *range(CYCLES, 10), *range(LIMITS, OUT)))

    def __init__(
        self,
        engine: Engine,
        source: FieldSource,
        *,
        keep_states: bool = False,
        is_unsigned: bool = False,
    ) -> None:
        self._is_unsigned = is_unsigned
        self._look: Handle | None = None
        super().__init__(engine, source, keep_states=keep_states)
        source.on_change(self.field_changed)

    def field_changed(self) -> None:
        """Look at the limits at the next measurement; the world calls this."""
        now_us = self._engine.now_us
        first_us = self._first_us
        if first_us is None or self.registers[CMM] & 0x0C != 0x0C:
            return
        at_us = first_us
        if now_us >= first_us:
            at_us += ((now_us - first_us) // self._period_us + 1) * self._period_us
        if self._look is not None:
            self._look.cancel()
        self._look = self._engine.at(max(at_us, now_us), lambda: self._advance(at_us))

    def _reset(self, t_us: int) -> None:
        super()._reset(t_us)
        self._ready(False, t_us)
        self.log.enter(t_us, "idle", IDLE_UA)

    def _ready(self, ready: bool, t_us: int) -> None:
        self.registers[STATUS] = _READY if ready else 0
        if ready != self.int_level:
            self.int_level = ready
            if self.on_int is not None:
                self.on_int(ready, t_us)

    def _stop(self, t_us: int) -> None:
        self.registers[CMM] &= ~_START
        self._end()
        self.log.enter(t_us, "idle", IDLE_UA)

    def _was_read(self, address: int, t_us: int) -> None:
        if address == CMM:
            self._stop(t_us)
        elif OUT <= address < OUT + 9:
            if address == OUT and not self.registers[STATUS]:
                self._violate(t_us, "reads a measurement that is not there (UM 5.6.2, NACK2)")
            self._ready(False, t_us)

    def _put(self, address: int, value: int, t_us: int) -> None:
        self._ready(False, t_us)
        if address == POLL and self.registers[CMM] & _START:
            self._violate(t_us, "POLL in continuous mode (UM 5.6.2, NACK1)")
            return
        if address == TMRC and not 0x92 <= value <= 0x9F:
            self._violate(t_us, f"TMRC {value:#04x}")
        self.registers[address] = value
        cycles = self.registers[CYCLES] << 8 | self.registers[CYCLES + 1]
        conversion_us = CONVERSION_US * cycles // 200
        if address == POLL and value:
            self._begin(t_us, conversion_us)
        elif address == TMRC:
            self._stop(t_us)
        elif address == CMM:
            self._stop(t_us)
            if value & _START:
                self.registers[CMM] |= _START
                period_us = max(1_700 << (self.registers[TMRC] - 0x92), conversion_us)
                self._begin(t_us, conversion_us, period_us)
                self.log.enter(t_us, "continuous", continuous_ua(period_us, cycles))
                self.field_changed()

    def _measured(self, t_us: int) -> None:
        mode = self.registers[CMM]
        is_alarm = False
        for axis, field_ut in enumerate(self._source.field_ut(t_us)):
            if mode & _START and not mode & _AXES[axis]:
                continue
            at = CYCLES + 2 * axis
            gain = counts_per_ut(self.registers[at] << 8 | self.registers[at + 1])
            value = round(min(max(field_ut, -_RANGE_UT), _RANGE_UT) * gain)
            self._store(OUT + 3 * axis, [value], 3, big_endian=True)
            is_alarm |= self._is_beyond(axis)
        if mode & _START and mode & 0x0C in (0x00, 0x0C):
            self.registers[CMM] = mode & ~_ALARM | _ALARM * is_alarm
            if is_alarm:
                self._ready(True, t_us)
        else:
            self._ready(True, t_us)

    def _is_beyond(self, axis: int) -> bool:
        at = LIMITS + 6 * axis
        data = bytes(self.registers[at + octet] for octet in range(6))
        if not any(data):
            return False
        out = bytes(self.registers[OUT + 3 * axis + octet] for octet in range(3))
        lower, upper, value = (
            int.from_bytes(one, "big", signed=not self._is_unsigned)
            for one in (data[:3], data[3:], out)
        )
        return not lower <= value <= upper

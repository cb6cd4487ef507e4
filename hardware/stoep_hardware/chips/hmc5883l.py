"""A model of Honeywell's HMC5883L: three axes of 12 bits, X, Z, Y, and a lock on what is read.

"DS" is Honeywell's data sheet 900405. A measurement that has begun to be read stays until all of
it was, RDY is not taken away by reading, and the first measurement after a change of gain is still
made with the old one. Overflow is -4096. There is no threshold.
"""

from typing import ClassVar

from stoep_hardware.engine import Engine
from stoep_hardware.world import FieldSource

from .compass import Compass

CONFIG_A, CONFIG_B, MODE, OUT, STATUS, IDENTITY = 0x00, 0x01, 0x02, 0x03, 0x09, 0x0A
_OUTS = frozenset(range(OUT, OUT + 6))
_RATE_HZ = (0.75, 1.5, 3.0, 7.5, 15.0, 30.0, 75.0)
COUNTS_PER_GAUSS = (1370, 1090, 820, 660, 440, 390, 330, 230)  # DS table 9
CONVERSION_US = 6_000  # DS page 18, of one sample; with averaging in proportion: a guess
IDLE_UA = 2.0  # DS table 1
ACTIVE_UA = 100.0  # DS table 1, at 7.5 Hz without averaging
OVERFLOW = -4096


class Hmc5883l(Compass):
    """DS table 2."""

    NAME = "hmc5883l"
    ADDRESS = 0x1E
    WATCHING_UA = IDLE_UA
    DEFAULTS: ClassVar = {
        CONFIG_A: 0x10,
        CONFIG_B: 0x20,
        MODE: 0x01,
        **dict.fromkeys(range(OUT, STATUS + 1), 0),
        IDENTITY: ord("H"),
        IDENTITY + 1: ord("4"),
        IDENTITY + 2: ord("3"),
    }
    WRITABLE = frozenset((CONFIG_A, CONFIG_B, MODE))

    def __init__(self, engine: Engine, source: FieldSource, *, keep_states: bool = False) -> None:
        self._unread: set[int] = set()  # of a measurement that has begun to be read
        self._gain = 0
        super().__init__(engine, source, keep_states=keep_states)

    def _reset(self, t_us: int) -> None:
        super()._reset(t_us)
        self._unread.clear()
        self._gain = self.registers[CONFIG_B] >> 5
        self.log.enter(t_us, "idle", IDLE_UA)

    def _put(self, address: int, value: int, t_us: int) -> None:
        if address == CONFIG_A and value & 0x80:
            self._violate(t_us, "CRA7 is 0")
        if address == CONFIG_B and value & 0x1F:
            self._violate(t_us, "CRB4 to CRB0 are 0")
        self.registers[address] = value
        if address in (CONFIG_A, MODE):
            self._unlock()
        if address != MODE:
            return
        rate_hz = _RATE_HZ[min(self.registers[CONFIG_A] >> 2 & 7, 6)]
        averaged = 1 << (self.registers[CONFIG_A] >> 5 & 3)
        if value & 2:
            self._end()
            self.log.enter(t_us, "idle", IDLE_UA)
        else:
            conversion_us = CONVERSION_US * averaged
            self._begin(t_us, conversion_us, 0 if value & 1 else round(1e6 / rate_hz))
            current_ua = IDLE_UA + (ACTIVE_UA - IDLE_UA) * rate_hz / 7.5 * averaged
            self.log.enter(t_us, "continuous", current_ua)

    def _unlock(self) -> None:
        self._unread.clear()
        self.registers[STATUS] &= ~2

    def _was_read(self, address: int, t_us: int) -> None:
        if address in _OUTS:
            if not self._unread:
                self._unread = set(_OUTS)
            self._unread.discard(address)
        elif address == MODE and not self._unread:
            self._unread = set(_OUTS)
        self.registers[STATUS] = self.registers[STATUS] & ~2 | (2 if self._unread else 0)

    def _measured(self, t_us: int) -> None:
        if self.registers[MODE] & 1:
            self.registers[MODE] |= 2
            self.log.enter(t_us, "idle", IDLE_UA)
        if self._unread:
            return
        per_ut = COUNTS_PER_GAUSS[self._gain] / 100
        self._gain = self.registers[CONFIG_B] >> 5
        x, y, z = (
            OVERFLOW if count in (-2048, 2047) else count
            for count in self._counts(t_us, per_ut, 2047)
        )
        self._store(OUT, [x, z, y], 2, big_endian=True)
        self.registers[STATUS] |= 1

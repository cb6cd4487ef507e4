"""Models of QST's QMC5883L and QMC5883P, on what is sold as "GY-271".

"DS" is QST's data sheet: 13-52-04 of the QMC5883L, 13-52-19 of the QMC5883P. Neither has a
threshold: all that the L's DRDY pin says is that there is a measurement, and the P has no pin.
Measurements stay in their registers, and DRDY as it is, while a chip stands by.
"""

from typing import ClassVar

from .compass import Compass

_DRDY, _OVERFLOW, _SKIPPED = 1, 2, 4
_RATE_HZ = (10, 50, 100, 200)


class Qmc5883l(Compass):
    """DS table 13. DRDY goes when a measurement is read."""

    NAME = "qmc5883l"
    ADDRESS = 0x0D
    STATUS, TEMPERATURE, CONTROL_1, CONTROL_2, SET_RESET = 0x06, 0x07, 0x09, 0x0A, 0x0B
    IDENTITY = 0x0D
    DEFAULTS: ClassVar = {**dict.fromkeys(range(0x0D), 0), SET_RESET: 0, IDENTITY: 0xFF}
    WRITABLE = frozenset((CONTROL_1, CONTROL_2, SET_RESET))
    COUNTS_PER_UT = (120.0, 30.0)  # DS table 2, by RNG: 2 and 8 gauss
    # 75 uA is on the data sheet's first page. With the least oversampling, more with more, and
    # 3 uA standing by: guesses.
    STANDBY_UA = WATCHING_UA = 3.0
    ACTIVE_UA = 75.0

    def _put(self, address: int, value: int, t_us: int) -> None:
        if address == self.CONTROL_2 and value & 0x80:
            self._reset(t_us)
            return
        self.registers[address] = value
        if address != self.CONTROL_1:
            return
        if value & 2 or value & 0x20:
            self._violate(t_us, f"control register 1 {value:#04x}: mode or range is reserved")
        if value & 1:
            if self.registers[self.SET_RESET] != 1:
                self._violate(t_us, "the SET/RESET period is to be 1 (DS 9.2.5)")
            period_us = 1_000_000 // _RATE_HZ[value >> 2 & 3]
            self._begin(t_us, period_us, period_us)
            more = 8 >> (value >> 6)
            self.log.enter(t_us, "continuous", self.ACTIVE_UA * (1 + more) / 2)
        else:
            self._end()
            self.log.enter(t_us, "standby", self.STANDBY_UA)

    def _reset(self, t_us: int) -> None:
        super()._reset(t_us)
        self.log.enter(t_us, "standby", self.STANDBY_UA)

    def _was_read(self, address: int, t_us: int) -> None:
        if address < self.STATUS:
            self.registers[self.STATUS] &= ~(_DRDY | _SKIPPED)

    def _measured(self, t_us: int) -> None:
        counts = self._counts(
            t_us, self.COUNTS_PER_UT[self.registers[self.CONTROL_1] >> 4 & 1], 32767
        )
        self._store(0, counts, 2, big_endian=False)
        over = any(count in (-32768, 32767) for count in counts)
        skipped = bool(self.registers[self.STATUS] & _DRDY)
        self.registers[self.STATUS] = _DRDY | _OVERFLOW * over | _SKIPPED * skipped
        # Any origin; 100 counts to the degree (DS 9.2.3).
        warmth = round((self._source.temperature_c(t_us) - 40) * 100)
        self._store(self.TEMPERATURE, [warmth], 2, big_endian=False)


class Qmc5883p(Compass):
    """DS table 14. Reading the status takes its flags away (DS 9.2.2)."""

    NAME = "qmc5883p"
    ADDRESS = 0x2C
    IDENTITY, STATUS, CONTROL_1, CONTROL_2, SIGN = 0x00, 0x09, 0x0A, 0x0B, 0x29
    DEFAULTS: ClassVar = {
        IDENTITY: 0x80,
        **dict.fromkeys(range(1, 7), 0),
        **dict.fromkeys((STATUS, CONTROL_1, CONTROL_2, SIGN), 0),
    }
    WRITABLE = frozenset((CONTROL_1, CONTROL_2, SIGN))
    COUNTS_PER_UT = (10.0, 25.0, 37.5, 150.0)  # DS table 2, by RNG: 30, 12, 8 and 2 gauss
    OVER = 30_000  # DS 9.2.2
    SUSPENDED_UA = WATCHING_UA = 22.0  # a guess
    ACTIVE_UA = 35.0  # the data sheet's first page; which mode it does not say

    def _put(self, address: int, value: int, t_us: int) -> None:
        if address == self.CONTROL_2 and value & 0x80:
            self._reset(t_us)
            return
        self.registers[address] = value
        if address != self.CONTROL_1:
            return
        if value & 3 == 0:
            self._end()
            self.log.enter(t_us, "suspended", self.SUSPENDED_UA)
            return
        if self.registers[self.SIGN] != 0x06:
            self._violate(t_us, "the axes have no sign (DS 7.1 to 7.3)")
        period_us = 1_000_000 // _RATE_HZ[value >> 2 & 3]
        self._begin(t_us, period_us, 0 if value & 3 == 2 else period_us)
        self.log.enter(t_us, "normal", self.ACTIVE_UA)

    def _reset(self, t_us: int) -> None:
        super()._reset(t_us)
        self.log.enter(t_us, "suspended", self.SUSPENDED_UA)

    def _was_read(self, address: int, t_us: int) -> None:
        if address == self.STATUS:
            self.registers[self.STATUS] = 0

    def _measured(self, t_us: int) -> None:
        counts = self._counts(
            t_us, self.COUNTS_PER_UT[self.registers[self.CONTROL_2] >> 2 & 3], 32767
        )
        self._store(1, counts, 2, big_endian=False)
        over = any(abs(count) > self.OVER for count in counts)
        self.registers[self.STATUS] = _DRDY | _OVERFLOW * over

"""What the models of magnetometers have in common: registers over I2C, measurements by the clock.

A chip is its registers, and what it does when one is read or written. It measures when its model
has said so by `_begin`: once, or again and again. Only the last two measurements before somebody
looks are made, so a chip that nobody asks costs the engine nothing.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from stoep_hardware.engine import Engine
from stoep_hardware.world import FieldSource

from .state_log import StateLog


class Compass:
    """A chip at `address` in the field of `source`. `on_int(level, t_us)` follows its pin."""

    NAME = ""
    ADDRESS = 0
    WATCHING_UA = 0.0  # while the board sleeps deeply
    DEFAULTS: ClassVar[Mapping[int, int]] = {}  # after power-on; what is not here is reserved
    WRITABLE: frozenset[int] = frozenset()

    def __init__(self, engine: Engine, source: FieldSource, *, keep_states: bool = False) -> None:
        self.address = self.ADDRESS
        self.violations: list[str] = []
        self.log = StateLog(keep=keep_states)
        self.on_int: Callable[[bool, int], None] | None = None
        self.int_level = False
        self.registers: dict[int, int] = {}
        self._engine = engine
        self._source = source
        self._is_powered = False
        self._first_us: int | None = None  # when the first measurement is done
        self._period_us = 0  # of further ones; 0 for none
        self._taken = 0
        self.power(True, engine.now_us)

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        self._is_powered = on
        self._reset(t_us)
        if not on:
            self.log.enter(t_us, "off", 0.0)

    def line(self, t_us: int) -> bool:
        """Return the level of its pin."""
        self._advance(t_us)
        return self.int_level

    def read(self, sub_address: int, count: int, t_us: int) -> bytes | None:
        """Read registers; None is a NAK."""
        if not self._is_powered:
            return None
        self._advance(t_us)
        data = bytearray()
        for address in range(sub_address, sub_address + count):
            if address not in self.DEFAULTS:
                self._violate(t_us, f"reads reserved register {address:#04x}")
            data.append(self.registers.get(address, 0))
            self._was_read(address, t_us)
        return bytes(data)

    def write(self, sub_address: int, data: bytes, t_us: int) -> bool:
        """Write registers; False is a NAK."""
        if not self._is_powered:
            return False
        self._advance(t_us)
        for address, value in enumerate(data, sub_address):
            if address not in self.WRITABLE:
                self._violate(t_us, f"writes register {address:#04x}")
                continue
            self._put(address, value, t_us)
        return True

    # ---- what a chip says of itself -------------------------------------------------------------

    def _was_read(self, address: int, t_us: int) -> None:
        """Do what the reading of a register does."""

    def _put(self, address: int, value: int, t_us: int) -> None:
        """Take what is written to a register that can be."""
        self.registers[address] = value

    def _measured(self, t_us: int) -> None:
        """Put a measurement that ended at `t_us` into the registers."""
        raise NotImplementedError

    def _reset(self, t_us: int) -> None:
        """Be as after power-on."""
        self.registers = dict(self.DEFAULTS)
        self._end()

    # ---- for its use ----------------------------------------------------------------------------

    def _violate(self, t_us: int, what: str) -> None:
        self.violations.append(f"{t_us} us: {what}")

    def _begin(self, t_us: int, conversion_us: int, period_us: int = 0) -> None:
        """Have a measurement done after `conversion_us`, and every `period_us` from then on."""
        self._first_us = t_us + conversion_us
        self._period_us = period_us
        self._taken = 0

    def _end(self) -> None:
        """Measure no more."""
        self._first_us = None

    def _advance(self, t_us: int) -> None:
        """Bring the registers up to the last measurement."""
        first_us = self._first_us
        if first_us is None or t_us < first_us:
            return
        number = 1 + ((t_us - first_us) // self._period_us if self._period_us else 0)
        for one in range(max(self._taken, number - 2), number):
            self._measured(first_us + one * self._period_us)
        self._taken = number

    def _counts(self, t_us: int, per_ut: float, most: int) -> list[int]:
        """Return the field in counts, at most `most` either way."""
        field_ut = self._source.field_ut(t_us)
        return [min(max(round(part * per_ut), -most - 1), most) for part in field_ut]

    def _store(self, address: int, values: list[int], octets: int, *, big_endian: bool) -> None:
        """Put signed values into registers, one after the other."""
        for value in values:
            for octet in value.to_bytes(octets, "big" if big_endian else "little", signed=True):
                self.registers[address] = octet
                address += 1

"""What models of accelerometers share: samples at the chip's own rate, registers, a latched pin.

Between movements nothing is computed: a chip looks at its samples one by one from a change of its
world on, until what its filter lets through has died away.
"""

import math
from collections.abc import Callable
from typing import Protocol

from stoep_hardware.engine import Engine, Handle
from stoep_hardware.world import Vector

from .state_log import StateLog

ADDRESS_LOW = 0x18  # SA0 low, of both chips
_QUIET_MG = 8.0
_PATIENCE = 3  # samples with nothing to see, and it is over


class MotionSource(Protocol):
    """What an accelerometer is fastened to."""

    def acceleration_mg(self, t_us: int) -> Vector:
        """Return what pulls along the sensor's axes: at rest the earth, 1000 mg, upward."""
        ...

    def is_still(self, t_us: int) -> bool:
        """Tell whether nothing moves now."""
        ...

    def on_motion(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called, by the engine, whenever a movement begins."""
        ...


class HighPass:
    """A filter of the first order, per axis; `cutoff` is in parts of the sampling rate."""

    def __init__(self) -> None:
        self._before: Vector | None = None
        self.output: Vector = (0.0, 0.0, 0.0)

    def reset(self, sample: Vector) -> None:
        """Take this for what always pulls."""
        self._before = sample
        self.output = (0.0, 0.0, 0.0)

    def forget(self) -> None:
        """Begin anew, from nothing."""
        self._before = (0.0, 0.0, 0.0)
        self.output = (0.0, 0.0, 0.0)

    def feed(self, sample: Vector, cutoff: float) -> Vector:
        """Take a sample; return what passes."""
        before = sample if self._before is None else self._before
        keep = 1 / (1 + 2 * math.pi * cutoff)
        x, y, z = (
            keep * (passed + new - old)
            for passed, new, old in zip(self.output, sample, before, strict=True)
        )
        self._before = sample
        self.output = (x, y, z)
        return self.output


class AccelerometerModel:
    """One sensor on `source`. `on_int(level, t_us)` follows its INT1 pin, active high.

    `stuck`: its measuring part has stopped, with these octets for ever; its registers still answer.
    """

    IDENTITY = 0
    DEFAULTS: dict[int, int] = {}  # noqa: RUF012 - what is not here is reserved
    READ_ONLY: frozenset[int] = frozenset()
    STARTS: frozenset[int] = frozenset()  # registers whose writing begins a mode
    OUT = range(0x28, 0x2E)
    WHO_AM_I = 0x0F

    def __init__(
        self,
        engine: Engine,
        source: MotionSource,
        *,
        address: int = ADDRESS_LOW,
        keep_states: bool = False,
    ) -> None:
        self.address = address
        self.violations: list[str] = []
        self.log = StateLog(keep=keep_states)
        self.on_int: Callable[[bool, int], None] | None = None
        self.int_level = False
        self.stuck: bytes | None = None
        self._engine = engine
        self._source = source
        self._filter = HighPass()
        self._registers = dict(self.DEFAULTS)
        self._is_powered = False
        self._since_us = 0  # when the present mode began
        self._number = -1  # of the last sample that has been looked at
        self._quiet = 0  # samples on end without anything
        self._look: Handle | None = None
        source.on_motion(self._stirred)
        self.power(True, engine.now_us)

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        self._is_powered = on
        self._registers = dict(self.DEFAULTS)
        self._set_int(False, t_us)
        self._restart(t_us)
        if not on:
            self.log.enter(t_us, "off", 0.0)

    def read(self, sub_address: int, count: int, t_us: int) -> bytes | None:
        """Read registers; None is a NAK."""
        if not self._is_powered:
            return None
        self._advance(t_us)
        data = bytearray()
        for address in self._addresses(sub_address, count, t_us):
            if address == self.WHO_AM_I:
                data.append(self.IDENTITY)
            elif address in self.OUT:
                data.append(self._out(t_us)[address - self.OUT.start])
            else:
                if address not in self._registers:
                    self._violate(t_us, f"reads reserved register {address:#04x}")
                data.append(self._registers.get(address, 0))
                self._was_read(address, t_us)
        return bytes(data)

    def write(self, sub_address: int, data: bytes, t_us: int) -> bool:
        """Write registers; False is a NAK."""
        if not self._is_powered:
            return False
        self._advance(t_us)
        for address, value in zip(self._addresses(sub_address, len(data), t_us), data, strict=True):
            if address not in self._registers or address in self.READ_ONLY:
                self._violate(t_us, f"writes register {address:#04x}")
                continue
            self._registers[address] = value
            if address in self.STARTS:
                self._restart(t_us)
            self._stirred()
        return True

    # ---- what differs ---------------------------------------------------------------------------

    def _addresses(self, sub_address: int, count: int, t_us: int) -> list[int]:
        raise NotImplementedError

    def _period_us(self) -> int:
        """Return the time between samples, 0 in power-down."""
        raise NotImplementedError

    def _current_ua(self) -> float:
        raise NotImplementedError

    def _octets(self, sample: Vector) -> bytes:
        """Return what OUT shows of a sample."""
        raise NotImplementedError

    def _judge(self, sample: Vector, t_us: int) -> bool:
        """Look at a sample for the interrupts; True while there is something to look at."""
        raise NotImplementedError

    def _was_read(self, address: int, t_us: int) -> None:
        """Take notice that a register has been read."""

    # ---- samples --------------------------------------------------------------------------------

    def _violate(self, t_us: int, what: str) -> None:
        self.violations.append(f"{t_us} us: {what}")

    def _set_int(self, level: bool, t_us: int) -> None:
        if level != self.int_level:
            self.int_level = level
            if self.on_int is not None:
                self.on_int(level, t_us)

    def _restart(self, t_us: int) -> None:
        self._since_us = t_us
        self._number = -1
        self._filter.forget()
        if self._look is not None:
            self._look.cancel()
            self._look = None
        running = self._period_us() > 0
        self.log.enter(t_us, "measuring" if running else "power_down", self._current_ua())

    def _out(self, t_us: int) -> bytes:
        if self.stuck is not None:
            return self.stuck
        period_us = self._period_us()
        number = (t_us - self._since_us) // period_us if period_us else 0
        if number < 1:
            return bytes(len(self.OUT))
        return self._octets(self._source.acceleration_mg(self._since_us + number * period_us))

    def _stirred(self) -> None:
        """Look at each sample from now on."""
        self._quiet = 0
        if self._look is None and self._is_powered and self._period_us():
            self._number = max(
                self._number, (self._engine.now_us - self._since_us) // self._period_us()
            )
            self._look_again()

    def _look_again(self) -> None:
        at_us = self._since_us + (self._number + 1) * self._period_us()
        self._look = self._engine.at(max(at_us, self._engine.now_us), lambda: self._advance(at_us))

    def _advance(self, t_us: int) -> None:
        """Look at the samples until now, if there is anything to see."""
        period_us = self._period_us()
        if self._look is None or not period_us:
            return
        while (sample_us := self._since_us + (self._number + 1) * period_us) <= t_us:
            self._number += 1
            if self.stuck is not None:
                continue
            busy = self._judge(self._source.acceleration_mg(sample_us), sample_us)
            still = not busy and self._source.is_still(sample_us)
            still = still and max(map(abs, self._filter.output)) < _QUIET_MG
            self._quiet = self._quiet + 1 if still else 0
        self._look.cancel()
        self._look = None
        if self._quiet < _PATIENCE:
            self._look_again()

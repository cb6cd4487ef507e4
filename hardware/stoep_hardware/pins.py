"""The pins of a microcontroller: what it drives, what drives it, and for how long a level stays."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from .buses import CALL_US, SimulationError
from .engine import US_PER_MS, Engine

PIN_IN, PIN_OUT, PIN_OPEN_DRAIN = 1, 3, 7
PULL_DOWN, PULL_UP = 1, 2
# A stable level that only a write of the firmware's own can change.
STABLE = 0xFFFF_FFFF

PIN_US = 10

_LONGEST_RADIO_POLL_US = 100 * US_PER_MS


@dataclass(slots=True)
class Input:
    """A line that a chip drives.

    `stable_until_us(t_us)` tells until when it keeps its level unless the firmware acts, None for
    ever; without it nothing is promised. A line `from_air` changes by what the engine brings.
    """

    level: Callable[[int], bool]
    stable_until_us: Callable[[int], int | None] | None = None
    from_air: bool = False


@dataclass(slots=True)
class Output:
    """A line that the microcontroller drives, and the level it has when nobody does."""

    drive: Callable[[bool, int], None]
    idle: bool


@dataclass(slots=True)
class Pin:
    """What the firmware has made of a pin."""

    mode: int = PIN_IN
    pull: int = 0
    level: bool = False
    held: bool = False


class Pins(ABC):
    """`inputs` and `outputs` are lines by pin number; every call takes some of the time `t_us`."""

    def __init__(self, engine: Engine) -> None:
        self.t_us = engine.now_us
        self.inputs: dict[int, Input] = {}
        self.outputs: dict[int, Output] = {}
        self._engine = engine
        self._pins: dict[int, Pin] = {}

    @abstractmethod
    def advance(self, us: int) -> None:
        """Let the processor spend time."""

    def pin_init(
        self, number: int, mode: int, pull: int, value: int | None, hold: int | None
    ) -> None:
        """machine.Pin(): mode 0, value None and hold None leave what is."""
        self.advance(CALL_US)
        pin = self._pins.setdefault(number, Pin())
        if hold is not None:
            pin.held = bool(hold) and pin.held
        if mode:
            pin.mode, pin.pull = mode, pull
        if value is not None:
            pin.level = bool(value)
        if mode or value is not None:
            self._drive(number, pin)
        if hold:
            pin.held = True

    def pin_level(self, number: int) -> bool:
        """pin(), the short way."""
        line = self.inputs.get(number)
        if line is None or line.from_air:
            return self.pin_read(number)[0]
        self.t_us += PIN_US
        return line.level(self.t_us)

    def pin_read(self, number: int) -> tuple[bool, int]:
        """Return the level and for how many microseconds it is sure to stay (STABLE: for ever)."""
        self.advance(PIN_US)
        line = self.inputs.get(number)
        if line is None:
            pin = self._pins.get(number)
            if pin is None:
                return False, 0
            return (pin.level if pin.mode != PIN_IN else pin.pull == PULL_UP), 0
        if line.from_air and self.t_us - self._engine.now_us > _LONGEST_RADIO_POLL_US:
            raise SimulationError(f"the firmware polls pin {number} in place of sleeping")
        level = line.level(self.t_us)
        if line.stable_until_us is None:
            return level, 0
        until_us = line.stable_until_us(self.t_us)
        return level, STABLE if until_us is None else until_us - self.t_us

    def time_pulse(self, number: int, level: bool, timeout_us: int) -> int:
        """machine.time_pulse_us(): -2 if no pulse begins in that time, -1 if it does not end."""
        self.advance(PIN_US)
        if self._stays(number, not level, timeout_us):
            return -2
        begun_us = self.t_us
        return -1 if self._stays(number, level, timeout_us) else self.t_us - begun_us

    def _stays(self, number: int, level: bool, longest_us: int) -> bool:
        """Wait while a pin has a level; tell whether it still has it after the longest time."""
        until_us = self.t_us + longest_us
        line = self.inputs.get(number)
        while self.pin_level(number) == level:
            if self.t_us >= until_us:
                return True
            changes_us: int | None = until_us
            if line is not None:
                known = line.stable_until_us
                changes_us = self.t_us + PIN_US if known is None else known(self.t_us)
            if changes_us is None or changes_us > until_us:
                changes_us = until_us
            self.advance(max(changes_us - self.t_us, 0))
        return False

    def pin_write(self, number: int, level: int) -> None:
        """pin(level)."""
        self.advance(PIN_US)
        pin = self._pins.setdefault(number, Pin())
        pin.level = bool(level)
        self._drive(number, pin)

    def _drive(self, number: int, pin: Pin) -> None:
        line = self.outputs.get(number)
        if line is not None and not pin.held:
            line.drive(pin.level if pin.mode != PIN_IN else line.idle, self.t_us)

    def _forget_pins(self, *, keep_held: bool) -> None:
        """Let every output go that is not held."""
        for number, pin in self._pins.items():
            if pin.held and keep_held:
                continue
            pin.mode, pin.held = PIN_IN, False
            self._drive(number, pin)
        self._pins = {number: pin for number, pin in self._pins.items() if pin.held}

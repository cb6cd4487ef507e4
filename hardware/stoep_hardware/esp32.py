"""The microcontroller as firmware sees it: pins, buses, clocks, sleep, RTC memory.

One runtime-neutral model serves the objects of CPython (cpython_machine.py) and the wire to a real
MicroPython (micropython_device.py). Every call takes time: `t_us` is the device's own now, ahead
of the engine's by what its processor has done since it woke.

    power on ─► boot ─► awake ─── lightsleep ──► light ──┐ timer, armed pin
                 ▲        ▲ └──── long sleep_ms ► idle ──┤
                 │        └──────────── on_resume ───────┘
                 └── timer, armed pin ── deep ◄── deepsleep      (on_boot)

The watchdog of machine.WDT is ESP-IDF's task watchdog, on a timer group: it counts while the
processor runs, stands still in light sleep, where the digital peripherals have no clock (ESP-IDF,
"Sleep Modes"), and is gone after deep sleep and every reset. What it ends, it ends by `Reset`.
A brown-out ends it too. It is a PWRON_RESET to MicroPython's port (mp_machine_reset_cause), and
RTC memory stays: ESP-IDF's handler restarts the program, and machine.RTC's memory is not cleared.

Times of single calls are estimates for MicroPython at 80 MHz; the wire times follow the bus speed.
"""

import random
from collections.abc import Callable
from typing import NoReturn

from .board_data import BoardData
from .buses import CALL_US, Buses, SimulationError
from .chips.state_log import StateLog
from .engine import US_PER_MS, US_PER_S, Engine, Handle
from .pins import PIN_IN, Pins

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
UNDEFINED_WAKE, EXT0_WAKE, EXT1_WAKE, TIMER_WAKE = 0, 2, 3, 4
UART_INV_RX = 4

RTC_MEMORY_BYTES = 2048
# The pins that can end a deep sleep, and a light one by ext0 and ext1 (Espressif's ESP-IDF,
# esp_sleep_enable_ext1_wakeup).
RTC_PINS = {
    "esp32s3": frozenset(range(22)),
    "esp32": frozenset((0, 2, 4, *range(12, 16), *range(25, 28), *range(32, 40))),
}
ADC_US = 100
SLEEP_CALL_US = 10
SLEEP_ENTRY_US = 300
# From here on a busy wait hands over to the engine.
IDLE_FROM_US = 8 * US_PER_MS

_LONGEST_RUN_US = 60 * US_PER_S


class Reset(BaseException):  # no Exception: nothing in the firmware may catch it
    """The chip starts anew in the middle of a call: the program that made the call is gone."""

    def __init__(self, cause: int) -> None:
        super().__init__(cause)
        self.cause = cause


class Esp32(Pins):
    """One microcontroller. `on_boot` and `on_resume` are called by the engine when code may run.

    A reset that comes while code runs is a `Reset` out of the call; one that comes while the
    processor waits or sleeps is `on_reset(cause)`. Whoever runs the code answers both with
    `reset(cause)`.
    """

    def __init__(
        self,
        engine: Engine,
        data: BoardData,
        *,
        unique_id: bytes,
        entropy: random.Random,
        rtc_ppm: float = 0.0,
        battery_mv: Callable[[int], int] = lambda _t_us: 3_600,
        keep_states: bool = False,
    ) -> None:
        super().__init__(engine)
        self.unique_id = unique_id
        self.rtc_pins = RTC_PINS[data.chip]
        self.log = StateLog(keep=keep_states)
        self.buses = Buses(self, data)
        self.on_boot: Callable[[], None] = lambda: None
        self.on_resume: Callable[[], None] = lambda: None
        self.on_reset: Callable[[int], None] = self.reset
        self.is_brown: Callable[[int], bool] = lambda _t_us: False  # whether the supply is too low
        self.wakes = 0
        self.reset_cause = PWRON_RESET
        self.wake_reason = UNDEFINED_WAKE
        self.rtc_memory = b""
        self._data = data
        self._entropy = entropy
        self._rtc_rate = 1 + rtc_ppm * 1e-6
        self._battery_mv = battery_mv
        self._handles: list[Handle] = []
        self._asleep = ""  # "light", "deep", "idle" or awake
        self._asleep_since_us = 0
        self._armed: tuple[frozenset[int], bool] = (frozenset(), True)
        self._ext0: tuple[frozenset[int], bool] = (frozenset(), True)
        self._rtc_us = 0  # at _rtc_at_us
        self._rtc_at_us = engine.now_us
        self._booted_us = engine.now_us
        self._watchdog_us: int | None = None  # how long it waits
        self._watchdog_at_us: int | None = None  # when it ends what runs
        self._ending: Reset | None = None  # of the program that runs, until it is over
        self.freq_hz = 160_000_000

    # ---- power and sleep ------------------------------------------------------------------------

    @property
    def is_awake(self) -> bool:
        """Tell whether code runs: not asleep, not booting, not off."""
        return self._asleep == ""

    def power_on(self) -> None:
        """Start, now, with everything lost but the file system."""
        self.rtc_memory = b""
        self.t_us = self._rtc_at_us = self._engine.now_us
        self._rtc_us = 0
        self._forget_pins(keep_held=False)
        self._boot(PWRON_RESET, UNDEFINED_WAKE)

    def power_off(self) -> None:
        """Lose everything but the file system, now."""
        self._cancel()
        self._asleep = "off"
        self.t_us = self._engine.now_us
        self._forget_pins(keep_held=False)
        self.log.enter(self.t_us, "off", 0.0)

    def reset(self, cause: int) -> None:
        """Start anew, now; RTC memory and clock go on (a watchdog, machine.reset()).

        Without power nothing starts.
        """
        if self._asleep == "off":
            return
        now_us = self._engine.now_us
        if self._asleep in ("light", "deep"):
            self._end_sleep(now_us)
        self.t_us = max(self.t_us, now_us)
        self._forget_pins(keep_held=True)
        self._boot(cause, UNDEFINED_WAKE)

    def brown_out(self, t_us: int) -> None:
        """Take notice that the supply has become too low: what runs is over."""
        if self._asleep in ("off", "boot") or self._ending is not None:
            return
        ending = self._ending = Reset(PWRON_RESET)

        def end() -> None:
            # Code that ran has come to its end by now, unless there was none.
            if self._ending is ending:
                self._ending = None  # whoever ends the program may let it clear up
                self.on_reset(PWRON_RESET)

        self._engine.at(max(t_us, self._engine.now_us), end)

    def begin_light(self, ms: int) -> None:
        """Light sleep for `ms` of the RTC (0: for ever) or until an armed pin; then on_resume."""
        self._begin("light", ms)

    def begin_deep(self, ms: int) -> None:
        """Deep sleep; then on_boot. Outputs that are not held float."""
        self._forget_pins(keep_held=True)
        self._begin("deep", ms)

    def begin_idle(self, us: int) -> None:
        """Stay awake for so long and let the world go on; then on_resume."""
        self.advance(0)
        self._asleep = "idle"
        until_us = self.t_us + us + SLEEP_CALL_US
        ends_us = self._watchdog_at_us
        if ends_us is not None and ends_us <= until_us:
            ends_us = max(ends_us, self._engine.now_us)
            self._handles = [self._engine.at(ends_us, lambda: self.on_reset(WDT_RESET))]
            return
        self._handles = [self._engine.at(until_us, lambda: self._resume(until_us))]

    def line_changed(self, number: int, level: bool, t_us: int) -> None:
        """Take notice that a chip has changed a line; an armed one ends sleep."""
        if self._asleep not in ("light", "deep"):
            return
        cause = self._cause_of(number, level)
        if cause:
            self._wake_at(max(t_us, self._asleep_since_us), cause)

    def _begin(self, kind: str, ms: int) -> None:
        self.advance(SLEEP_ENTRY_US)
        self._asleep, self._asleep_since_us = kind, self.t_us
        self.log.enter(self.t_us, kind, self._data.currents_ua[kind])
        self._rtc_us, self._rtc_at_us = self.rtc_us(), self.t_us
        for number, line in self.inputs.items():
            cause = self._cause_of(number, line.level(self.t_us))
            if cause:
                self._wake_at(self.t_us, cause)
                return
        if ms > 0:
            due_us = self.t_us + round(ms * US_PER_MS / self._rtc_rate)
            self._handles.append(self._engine.at(due_us, lambda: self._wake(TIMER_WAKE)))

    def _cause_of(self, number: int, level: bool) -> int:
        for (pins, wanted), cause in ((self._armed, EXT1_WAKE), (self._ext0, EXT0_WAKE)):
            if number in pins and level == wanted:
                return cause
        return 0

    def _wake_at(self, t_us: int, cause: int) -> None:
        self._handles.append(
            self._engine.at(max(t_us, self._engine.now_us), lambda: self._wake(cause))
        )

    def _wake(self, cause: int) -> None:
        now_us = self._engine.now_us
        kind = self._asleep
        self._end_sleep(now_us)
        if kind == "deep":
            self._boot(DEEPSLEEP_RESET, cause)
            return
        self.wake_reason = cause
        self.log.enter(now_us, "awake", self._awake_ua())
        self._asleep = "idle"
        self.buses.uart_lost(now_us)
        until_us = now_us + self._data.light_wake_us
        self._handles = [self._engine.at(until_us, lambda: self._resume(until_us))]

    def _end_sleep(self, now_us: int) -> None:
        self._cancel()
        slept_us = now_us - self._rtc_at_us
        if self._watchdog_at_us is not None:
            self._watchdog_at_us += slept_us
        self._rtc_us += round(slept_us * self._rtc_rate)
        self._rtc_at_us = now_us
        self._asleep = ""
        self.t_us = now_us

    def _resume(self, t_us: int) -> None:
        self._asleep = ""
        self.t_us = t_us
        self.on_resume()

    def _boot(self, cause: int, wake_reason: int) -> None:
        self._cancel()
        self._asleep = "boot"
        self.reset_cause, self.wake_reason = cause, wake_reason
        self._armed = self._ext0 = (frozenset(), True)
        self._watchdog_us = self._watchdog_at_us = self._ending = None
        self.buses.forget()
        self.freq_hz = 160_000_000
        self._booted_us = max(self._engine.now_us, self.t_us)
        self.log.enter(self._booted_us, "boot", self._data.currents_ua["boot"])
        until_us = self._booted_us + self._data.boot_us
        self._handles = [self._engine.at(until_us, lambda: self._start(until_us))]

    def _start(self, t_us: int) -> None:
        self.t_us = t_us
        if self.is_brown(t_us):
            self._boot(PWRON_RESET, UNDEFINED_WAKE)
            return
        self._asleep = ""
        self.wakes += 1
        self.log.enter(t_us, "awake", self._awake_ua())
        self.on_boot()

    def _awake_ua(self) -> int:
        currents = self._data.currents_ua
        slow, fast = currents["awake"], currents["awake_240mhz"]
        return round(slow + (fast - slow) * (self.freq_hz - 80_000_000) / 160_000_000)

    def _cancel(self) -> None:
        for handle in self._handles:
            handle.cancel()
        self._handles.clear()

    # ---- time -----------------------------------------------------------------------------------

    def advance(self, us: int) -> None:
        """Let the processor spend time.

        Raises Reset when the watchdog's time is over, and to whatever the program that it ended
        still asks for; SimulationError when the firmware never comes to sleep.
        """
        if self._ending is not None:
            raise self._ending
        self.t_us += us
        if self._watchdog_at_us is not None and self.t_us >= self._watchdog_at_us:
            self.hang("the firmware")
        if self.t_us - self._engine.now_us > _LONGEST_RUN_US:
            raise SimulationError("the firmware has been awake for a minute without sleeping")

    def hang(self, what: str) -> NoReturn:
        """Never return: the watchdog ends it. Raises SimulationError when there is none."""
        if self._watchdog_at_us is None:
            raise SimulationError(f"{what} hangs, and there is no watchdog")
        self.t_us = self._watchdog_at_us
        self._ending = Reset(WDT_RESET)
        raise self._ending

    def start_watchdog(self, timeout_ms: int) -> None:
        """machine.WDT(timeout=): from now on it wants to be fed."""
        self.advance(CALL_US)
        if timeout_ms <= 0:
            raise ValueError("WDT timeout too short")
        self._watchdog_us = timeout_ms * US_PER_MS
        self._watchdog_at_us = self.t_us + self._watchdog_us

    def feed_watchdog(self) -> None:
        """wdt.feed()."""
        self.advance(CALL_US)
        if self._watchdog_us is not None:
            self._watchdog_at_us = self.t_us + self._watchdog_us

    def rtc_us(self) -> int:
        """Return the RTC: microseconds since power-on, by a clock that drifts in sleep."""
        return self._rtc_us + self.t_us - self._rtc_at_us

    def time_ns(self) -> int:
        """time.time_ns()."""
        self.advance(CALL_US)
        return self.rtc_us() * 1000

    def ticks_us(self) -> int:
        """time.ticks_us() before it wraps: since this start."""
        self.advance(CALL_US)
        return self.t_us - self._booted_us

    def set_freq(self, freq_hz: int) -> None:
        """machine.freq(): the current follows, the speed of code does not."""
        self.freq_hz = freq_hz
        self.log.enter(self.t_us, "awake", self._awake_ua())

    def entropy(self, count: int) -> bytes:
        """os.urandom(), reproducible."""
        self.advance(CALL_US)
        return self._entropy.randbytes(count)

    # ---- battery --------------------------------------------------------------------------------

    def adc_read_uv(self, number: int) -> int:
        """machine.ADC(pin).read_uv(): the battery behind its divider, when that is connected."""
        self.advance(ADC_US)
        pins = self._data.pins
        if number != pins.get("battery_adc"):
            return 0
        enable = pins.get("battery_enable")
        if enable is not None:
            pin = self._pins.get(enable)
            if pin is None or pin.mode == PIN_IN or pin.level:
                return 0
        return self._battery_mv(self.t_us) * 1_000_000 // pins["battery_permille"]

    # ---- RTC memory and waking ------------------------------------------------------------------

    def get_rtc_memory(self) -> bytes:
        """RTC().memory()."""
        self.advance(CALL_US)
        return self.rtc_memory

    def set_rtc_memory(self, data: bytes) -> None:
        """RTC().memory(data); raises ValueError when it does not fit."""
        self.advance(CALL_US)
        if len(data) > RTC_MEMORY_BYTES:
            raise ValueError("buffer too long")
        self.rtc_memory = bytes(data)

    def wake_on_ext0(self, number: int | None, level: bool) -> None:
        """esp32.wake_on_ext0(); raises ValueError for a pin that cannot wake."""
        self.advance(CALL_US)
        self._ext0 = (self._wake_pins(() if number is None else (number,)), level)

    def wake_on_ext1(self, numbers: tuple[int, ...], level: bool) -> None:
        """esp32.wake_on_ext1(); no pins disarm. Raises ValueError for a pin that cannot wake."""
        self.advance(CALL_US)
        self._armed = (self._wake_pins(numbers), level)

    def _wake_pins(self, numbers: tuple[int, ...]) -> frozenset[int]:
        for number in numbers:
            if number not in self.rtc_pins:
                raise ValueError("invalid pin")
        return frozenset(numbers)

"""MicroPython's `machine`, `esp32` and `time` as objects around one simulated microcontroller.

Only what firmware/stoep_firmware/board.py lists is here; anything else is an AttributeError, as a
hint that it has to be simulated first.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from . import esp32 as soc
from . import pins
from .buses import ENODEV, UART_BUFFER_BYTES
from .esp32 import Esp32


class _PinBase:
    """machine.Pin; a subclass names the microcontroller."""

    IN = pins.PIN_IN
    OUT = pins.PIN_OUT
    OPEN_DRAIN = pins.PIN_OPEN_DRAIN
    PULL_DOWN = pins.PULL_DOWN
    PULL_UP = pins.PULL_UP
    _soc: Esp32

    def __init__(
        self,
        number: int,
        mode: int = 0,
        pull: int | None = None,
        *,
        value: int | None = None,
        hold: bool | None = None,
    ) -> None:
        self.number = number
        self._soc.pin_init(number, mode, pull or 0, value, None if hold is None else int(hold))

    def __call__(self, level: int | None = None) -> int | None:
        if level is None:
            return int(self._soc.pin_level(self.number))
        self._soc.pin_write(self.number, level)
        return None

    value = __call__


class _Spi:
    """machine.SPI."""

    def __init__(
        self,
        mcu: Esp32,
        *,
        baudrate: int,
        polarity: int,
        phase: int,
        sck: _PinBase,
        mosi: _PinBase,
        miso: _PinBase,
    ) -> None:
        self._transfer = mcu.buses.spi_transfer
        mcu.buses.spi_init(baudrate, polarity, phase, sck.number, mosi.number, miso.number)

    def write(self, out: Any) -> None:
        self._transfer(bytes(out))

    def readinto(self, buffer: Any, write: int = 0) -> None:
        buffer[:] = self._transfer(bytes((write,)) * len(buffer))

    def write_readinto(self, out: Any, buffer: Any) -> None:
        buffer[:] = self._transfer(bytes(out))


class _I2c:
    """machine.I2C."""

    def __init__(self, mcu: Esp32, *, scl: _PinBase, sda: _PinBase, freq: int) -> None:
        self._mcu = mcu
        mcu.buses.i2c_init(freq, scl.number, sda.number)

    def readfrom_mem(self, address: int, register: int, count: int, *, addrsize: int = 8) -> bytes:
        data = self._mcu.buses.i2c_read(address, register, count, addrsize)
        if data is None:
            raise OSError(ENODEV, "ENODEV")
        return data

    def readfrom_mem_into(self, address: int, register: int, buffer: Any) -> None:
        buffer[:] = self.readfrom_mem(address, register, len(buffer))

    def writeto_mem(self, address: int, register: int, data: Any, *, addrsize: int = 8) -> None:
        if not self._mcu.buses.i2c_write(address, register, bytes(data), addrsize):
            raise OSError(ENODEV, "ENODEV")

    def scan(self) -> list[int]:
        return self._mcu.buses.i2c_scan()


class _Uart:
    """machine.UART; a subclass names the microcontroller."""

    INV_RX = soc.UART_INV_RX
    _soc: Esp32

    def __init__(
        self,
        _id: int,
        *,
        baudrate: int,
        tx: _PinBase,
        rx: _PinBase,
        timeout: int = 0,
        invert: int = 0,
    ) -> None:
        buses = self._soc.buses
        self._read = buses.uart_read
        self.any = buses.uart_any
        buses.uart_init(baudrate, tx.number, rx.number, timeout, invert == self.INV_RX)

    def read(self, count: int | None = None) -> bytes | None:
        return self._read(UART_BUFFER_BYTES if count is None else count) or None

    def readinto(self, buffer: Any, count: int | None = None) -> int | None:
        data = self._read(len(buffer) if count is None else count)
        buffer[: len(data)] = data
        return len(data) or None

    def write(self, data: Any) -> int:
        return len(data)  # nobody listens


class _Wdt:
    """machine.WDT."""

    def __init__(self, mcu: Esp32, _id: int = 0, *, timeout: int = 5_000) -> None:
        self.feed = mcu.feed_watchdog
        mcu.start_watchdog(timeout)


def make_machine(mcu: Esp32) -> SimpleNamespace:
    """Return what `import machine` gives."""

    class Pin(_PinBase):
        _soc = mcu

    class UART(_Uart):
        _soc = mcu

    def memory(data: Any = None) -> bytes | None:
        if data is None:
            return mcu.get_rtc_memory()
        mcu.set_rtc_memory(bytes(data))
        return None

    def freq(freq_hz: int | None = None) -> int | None:
        if freq_hz is None:
            return mcu.freq_hz
        mcu.set_freq(freq_hz)
        return None

    return SimpleNamespace(
        Pin=Pin,
        SPI=lambda _id, **options: _Spi(mcu, **options),
        I2C=lambda _id, **options: _I2c(mcu, **options),
        UART=UART,
        ADC=lambda pin: SimpleNamespace(read_uv=lambda: mcu.adc_read_uv(pin.number)),
        WDT=partial(_Wdt, mcu),
        RTC=lambda: SimpleNamespace(memory=memory),
        PWRON_RESET=soc.PWRON_RESET,
        HARD_RESET=soc.HARD_RESET,
        WDT_RESET=soc.WDT_RESET,
        DEEPSLEEP_RESET=soc.DEEPSLEEP_RESET,
        SOFT_RESET=soc.SOFT_RESET,
        EXT0_WAKE=soc.EXT0_WAKE,
        PIN_WAKE=soc.EXT0_WAKE,
        EXT1_WAKE=soc.EXT1_WAKE,
        TIMER_WAKE=soc.TIMER_WAKE,
        freq=freq,
        time_pulse_us=lambda pin, level, timeout_us=1_000_000: mcu.time_pulse(
            pin.number, bool(level), timeout_us
        ),
        unique_id=lambda: mcu.unique_id,
        reset_cause=lambda: mcu.reset_cause,
        wake_reason=lambda: mcu.wake_reason,
        lightsleep=lambda ms=0: mcu.begin_light(ms),
        deepsleep=lambda ms=0: mcu.begin_deep(ms),
    )


def make_esp32(mcu: Esp32) -> SimpleNamespace:
    """Return what `import esp32` gives."""

    def wake_on_ext0(pin: _PinBase | None, level: bool) -> None:
        mcu.wake_on_ext0(None if pin is None else pin.number, level)

    def wake_on_ext1(pins: Any, level: bool) -> None:
        mcu.wake_on_ext1(tuple(pin.number for pin in pins or ()), level)

    return SimpleNamespace(
        WAKEUP_ALL_LOW=False,
        WAKEUP_ANY_HIGH=True,
        wake_on_ext0=wake_on_ext0,
        wake_on_ext1=wake_on_ext1,
    )


def make_time(mcu: Esp32, is_waiting: Callable[[], bool]) -> SimpleNamespace:
    """Return what `import time` gives.

    While `is_waiting()`, a sleep hands over to the engine in place of running ahead of it: the
    caller has to return to the engine next.
    """

    def sleep_us(us: int) -> None:
        mcu.advance(us + soc.SLEEP_CALL_US)

    def sleep_ms(ms: int) -> None:
        if is_waiting() and ms * 1000 >= soc.IDLE_FROM_US:
            mcu.begin_idle(ms * 1000)
        else:
            sleep_us(ms * 1000)

    return SimpleNamespace(
        time_ns=mcu.time_ns,
        ticks_ms=lambda: mcu.ticks_us() // 1000 & 0x3FFFFFFF,
        ticks_us=lambda: mcu.ticks_us() & 0x3FFFFFFF,
        ticks_add=lambda ticks, delta: (ticks + delta) & 0x3FFFFFFF,
        ticks_diff=lambda end, start: ((end - start + 0x20000000) & 0x3FFFFFFF) - 0x20000000,
        sleep_ms=sleep_ms,
        sleep_us=sleep_us,
    )

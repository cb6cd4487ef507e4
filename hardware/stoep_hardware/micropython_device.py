"""A device whose firmware runs under the real MicroPython, in a process of its own per wake.

The process asks over a socket for every pin, bus and clock (micropython/_link.py is its end of the
wire) and waits for the answer, so simulated time passes only here. Deep sleep ends it with exit
code 75; the next wake starts another. RTC memory is kept here, files in the device's folder.
"""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import esp32 as soc
from .buses import CALL_US, SimulationError
from .devices import Device, DeviceCrashedError
from .engine import Engine
from .esp32 import Reset
from .micropython_runtime import MicroPythonRuntime, Program, shared_by
from .pins import PIN_US
from .sim_board import SimBoard

_EXIT_ASLEEP = 75
_HEAD = struct.Struct("<BIH")
_RECEIVE_BYTES = 65_536
# Real seconds without a message after which the firmware counts as hung.
_PATIENCE_S = 30.0
_CONSOLE_BYTES = 20_000
_TRACEBACK = "Traceback (most recent call last)"

_IDLE, _LIGHT, _DEEP = 19, 20, 21


class MicroPythonDevice(Device):
    """One device under MicroPython; its files live in a folder of the runtime's.

    Without a `runtime` it shares one with the other devices of its engine.
    """

    runtime = "micropython"

    def __init__(
        self,
        engine: Engine,
        board: SimBoard,
        config: dict[str, Any],
        runtime: MicroPythonRuntime | None = None,
    ) -> None:
        super().__init__(engine, board, config)
        if runtime is None:
            runtime = shared_by(engine)
        self.folder: Path = runtime.add_device(self.name)
        self._runtime = runtime
        self._number = 0  # of the wake that is to come
        self._program: Program | None = None  # of this wake
        self._over: Program | None = None  # of the last, which has gone to sleep
        self._next: Program | None = None  # of the next, loading
        self._received = bytearray()
        self._wire = Wire(board.esp32)
        self.write_file("config.json", json.dumps(config).encode())

    @property
    def console(self) -> str:
        """What the firmware printed in its last wake, and its traceback if it had one."""
        try:
            data = self._console(self._number - 1).read_bytes()
        except FileNotFoundError:
            return ""
        return data[-_CONSOLE_BYTES:].decode(errors="replace")

    def _console(self, number: int) -> Path:
        """Return where a wake's output goes: three files in turn are enough."""
        return self.folder.with_name(f"{self.folder.name}.console-{number % 3}")

    def close(self) -> None:
        """End what runs; the device does not wake again, and its files may be gone.

        Raises DeviceCrashedError when its last wake ended in a mistake.
        """
        try:
            super().close()
        finally:
            self._runtime.remove_device(self.folder)

    def read_file(self, name: str) -> bytes | None:
        """Return a file of the device, None if there is none."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write_file(self, name: str, data: bytes) -> None:
        """Replace a file of the device."""
        (self.folder / name).write_bytes(data)

    # ---- a wake ---------------------------------------------------------------------------------

    def _run(self) -> None:
        self._forget_program()
        program = self._next or self._runtime.start(self.folder, self._console(self._number))
        self._program, self._next = program, None
        self._number += 1
        program.link.settimeout(_PATIENCE_S)
        self._received.clear()
        mcu = self.board.esp32
        self._send(
            struct.pack(
                "<6sBBQIIIII",
                mcu.unique_id,
                mcu.reset_cause,
                mcu.wake_reason,
                sum(1 << number for number in mcu.rtc_pins),
                mcu.freq_hz,
                PIN_US,
                CALL_US,
                soc.SLEEP_CALL_US,
                soc.IDLE_FROM_US,
            )
        )
        self._serve()

    def _resume(self) -> None:
        self._answer(bytes((self.board.esp32.wake_reason,)))
        self._serve()

    def _answer(self, answer: bytes) -> None:
        self._send(self.board.esp32.rtc_us().to_bytes(8, "little") + answer)

    def _serve(self) -> None:
        """Answer until the firmware sleeps, or is ended."""
        mcu = self.board.esp32
        wire = self._wire
        try:
            while mcu.is_awake:
                operation, payload = self._next_message()
                answer = wire.perform(operation, payload)
                if answer is not None:
                    self._answer(answer)
        except Reset as reset:
            self._reset(reset.cause)
        if wire.is_deep:
            wire.is_deep = False
            self._over, self._program = self._program, None
            # The next wake's program loads while the rest of the street goes on.
            self._next = self._runtime.start(self.folder, self._console(self._number))

    def _next_message(self) -> tuple[int, bytes]:
        received = self._received
        while True:
            if len(received) >= _HEAD.size:
                operation, spent_us, size = _HEAD.unpack_from(received)
                end = _HEAD.size + size
                if len(received) >= end:
                    payload = bytes(received[_HEAD.size : end])
                    del received[:end]
                    self.board.esp32.advance(spent_us)
                    return operation, payload
            assert self._program is not None
            try:
                data = self._program.link.recv(_RECEIVE_BYTES)
            except TimeoutError:
                self._fail(f"says nothing for {_PATIENCE_S:.0f} s")
            if not data:
                self._fail("has ended without going to sleep")
            received += data

    def _send(self, data: bytes) -> None:
        assert self._program is not None
        try:
            self._program.link.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self._fail("has gone")

    def _fail(self, what: str) -> None:
        program, self._program = self._program, None
        status = program.kill() if program is not None else 0
        raise DeviceCrashedError(
            f"device {self.name} under MicroPython {what} (exit {status}):\n{self.console}"
        )

    def _forget_program(self) -> None:
        """End the program of this wake, and see that the last one went to sleep properly."""
        program, self._program = self._program, None
        if program is not None:
            program.kill()
        over, self._over = self._over, None
        if over is None:
            return
        status = over.wait()
        console = self.console
        if status != _EXIT_ASLEEP or _TRACEBACK in console:
            # In the field a mistake becomes an error code; here it shall be seen.
            raise DeviceCrashedError(
                f"device {self.name} under MicroPython went to sleep after a mistake"
                f" (exit {status}):\n{console}"
            )

    def _stop(self) -> None:
        following, self._next = self._next, None
        if following is not None:
            following.kill()
        self._forget_program()


class Wire:
    """Performs what a program asks of its microcontroller; the operations of _link.py."""

    def __init__(self, mcu: soc.Esp32) -> None:
        self.is_deep = False
        self._mcu = mcu
        self._operations: dict[int, Callable[[bytes], bytes | None]] = {
            1: self._pin_init,
            2: self._pin_write,
            3: self._pin_read,
            4: self._spi_init,
            5: self._spi_write,
            6: mcu.buses.spi_transfer,
            7: self._i2c_init,
            8: self._i2c_read,
            9: self._i2c_write,
            10: self._i2c_scan,
            11: self._uart_init,
            12: self._uart_any,
            13: self._uart_read,
            14: self._rtc_get,
            15: self._rtc_set,
            16: self._clock,
            17: self._ticks_us,
            18: self._adc_read,
            _IDLE: self._idle,
            _LIGHT: self._light,
            _DEEP: self._deep,
            22: self._ext0,
            23: self._ext1,
            24: self._entropy,
            25: self._freq,
            26: lambda _payload: b"",
            27: self._start_watchdog,
            28: lambda _payload: mcu.feed_watchdog(),
            29: self._time_pulse,
        }

    def perform(self, operation: int, payload: bytes) -> bytes | None:
        """Do one operation; returns its answer, None where it has none or has it later."""
        handler = self._operations.get(operation)
        if handler is None:
            raise SimulationError(f"unknown operation {operation} from MicroPython")
        return handler(payload)

    def _pin_init(self, payload: bytes) -> None:
        number, mode, pull, value, hold = struct.unpack("BBBbb", payload)
        self._mcu.pin_init(
            number, mode, pull, None if value < 0 else value, None if hold < 0 else hold
        )

    def _pin_write(self, payload: bytes) -> None:
        self._mcu.pin_write(payload[0], payload[1])

    def _pin_read(self, payload: bytes) -> bytes:
        level, stays_us = self._mcu.pin_read(payload[0])
        return struct.pack("<BI", level, stays_us)

    def _spi_init(self, payload: bytes) -> None:
        self._mcu.buses.spi_init(*struct.unpack("<IBBBBB", payload))

    def _spi_write(self, payload: bytes) -> None:
        self._mcu.buses.spi_transfer(payload)

    def _i2c_init(self, payload: bytes) -> None:
        self._mcu.buses.i2c_init(*struct.unpack("<IBB", payload))

    def _i2c_read(self, payload: bytes) -> bytes:
        address, register, bits, count = struct.unpack("<BHBH", payload)
        data = self._mcu.buses.i2c_read(address, register, count, bits)
        return b"\0" + bytes(count) if data is None else b"\1" + data

    def _i2c_write(self, payload: bytes) -> bytes:
        address, register, bits = struct.unpack_from("<BHB", payload)
        return bytes((self._mcu.buses.i2c_write(address, register, payload[4:], bits),))

    def _i2c_scan(self, _payload: bytes) -> bytes:
        found = self._mcu.buses.i2c_scan()[:15]
        return (bytes((len(found),)) + bytes(found)).ljust(16, b"\0")

    def _uart_init(self, payload: bytes) -> None:
        baudrate, tx, rx, timeout_ms, inverted = struct.unpack("<IBBIB", payload)
        self._mcu.buses.uart_init(baudrate, tx, rx, timeout_ms, bool(inverted))

    def _uart_any(self, _payload: bytes) -> bytes:
        return struct.pack("<H", self._mcu.buses.uart_any())

    def _uart_read(self, payload: bytes) -> bytes:
        data = self._mcu.buses.uart_read(struct.unpack("<H", payload)[0])
        return struct.pack("<H", len(data)) + data

    def _time_pulse(self, payload: bytes) -> bytes:
        number, level, timeout_us = struct.unpack("<BBI", payload)
        return struct.pack("<i", self._mcu.time_pulse(number, bool(level), timeout_us))

    def _rtc_get(self, _payload: bytes) -> bytes:
        data = self._mcu.get_rtc_memory()
        return struct.pack("<H", len(data)) + data

    def _rtc_set(self, payload: bytes) -> None:
        self._mcu.set_rtc_memory(payload)

    def _clock(self, _payload: bytes) -> bytes:
        self._mcu.time_ns()
        return b""  # every answer begins with the clock

    def _ticks_us(self, _payload: bytes) -> bytes:
        return struct.pack("<Q", self._mcu.ticks_us())

    def _adc_read(self, payload: bytes) -> bytes:
        return struct.pack("<I", self._mcu.adc_read_uv(payload[0]))

    def _idle(self, payload: bytes) -> None:
        self._mcu.begin_idle(struct.unpack("<I", payload)[0])

    def _light(self, payload: bytes) -> None:
        self._mcu.begin_light(struct.unpack("<I", payload)[0])

    def _deep(self, payload: bytes) -> None:
        self.is_deep = True
        self._mcu.begin_deep(struct.unpack("<I", payload)[0])

    def _ext0(self, payload: bytes) -> None:
        self._mcu.wake_on_ext0(payload[1] if len(payload) > 1 else None, bool(payload[0]))

    def _ext1(self, payload: bytes) -> None:
        self._mcu.wake_on_ext1(tuple(payload[1:]), bool(payload[0]))

    def _entropy(self, payload: bytes) -> bytes:
        return self._mcu.entropy(struct.unpack("<H", payload)[0])

    def _start_watchdog(self, payload: bytes) -> None:
        self._mcu.start_watchdog(struct.unpack("<I", payload)[0])

    def _freq(self, payload: bytes) -> None:
        self._mcu.set_freq(struct.unpack("<I", payload)[0])

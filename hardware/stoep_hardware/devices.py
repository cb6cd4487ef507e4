"""Devices that run the real firmware: what is common, and the one on CPython, in this process.

A device wakes by events of the engine, runs until it sleeps, and gives control back. Both kinds
(the other is in micropython_device.py) drive the same simulated hardware through the same calls,
so the same seed gives the same frames at the same times.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from importlib import resources
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from stoep_firmware import app, lid
from stoep_firmware.board import Board, hold

from .buses import SimulationError
from .cpython_machine import make_esp32, make_machine, make_time
from .engine import Engine
from .esp32 import HARD_RESET, WDT_RESET, Reset
from .sim_board import SimBoard


class DeviceCrashedError(SimulationError):
    """The firmware ended with an exception, or without going to sleep."""


class Device:
    """One device: its hardware, its files, and how many times it woke."""

    runtime = ""

    def __init__(self, engine: Engine, board: SimBoard, config: dict[str, Any]) -> None:
        self.engine = engine
        self.board = board
        self.config = config
        self.name: str = config["dev_eui"]
        board.esp32.on_boot = self._run
        board.esp32.on_resume = self._resume
        board.esp32.on_reset = self._reset

    @property
    def sent(self) -> int:
        """Frames whose transmission has ended."""
        return self.board.radio.frames_sent

    @property
    def wakes(self) -> int:
        """Starts of the firmware."""
        return self.board.esp32.wakes

    def start(self, at_us: int) -> None:
        """Put the battery in at `at_us`."""
        self.board.power_off()
        self.engine.at(at_us, self.board.power_on)

    def reset(self, *, watchdog: bool = False) -> None:
        """Start the firmware anew, now; RTC memory survives."""
        self._reset(WDT_RESET if watchdog else HARD_RESET)

    def power_cycle(self, off_us: int = 1_000_000) -> None:
        """Take the battery out now and put it back after `off_us`; only files survive."""
        self._stop()
        self.board.power_off()
        self.engine.after(off_us, self.board.power_on)

    def close(self) -> None:
        """End what runs; the device does not wake again."""
        self.board.power_off()
        self._stop()

    def read_file(self, name: str) -> bytes | None:
        """Return a file of the device, None if there is none."""
        raise NotImplementedError

    def write_file(self, name: str, data: bytes) -> None:
        """Replace a file of the device."""
        raise NotImplementedError

    def _reset(self, cause: int) -> None:
        self._stop()
        self.board.esp32.reset(cause)

    def _run(self) -> None:
        raise NotImplementedError

    def _resume(self) -> None:
        raise NotImplementedError

    def _stop(self) -> None:
        raise NotImplementedError


class _Files:
    """The firmware's storage, in memory: a file is replaced whole or not at all."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.content.get(name)

    def write(self, name: str, data: bytes) -> None:
        self.content[name] = bytes(data)


class _Aes:
    """cryptolib.aes(key, 1) as far as a device needs it."""

    def __init__(self, key: bytes) -> None:
        # ECB is the bare block cipher that LoRaWAN builds its own modes from.
        self.encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update  # noqa: S305


class CPythonDevice(Device):
    """One device in this process."""

    runtime = "cpython"

    def __init__(self, engine: Engine, board: SimBoard, config: dict[str, Any]) -> None:
        super().__init__(engine, board, config)
        mcu = board.esp32
        self._is_sleeping = False
        self._machine = make_machine(mcu)
        self._esp32 = make_esp32(mcu)
        self._time = make_time(mcu, lambda: self._is_sleeping)
        self._files = _Files()
        self._program: Iterator[Callable[[], None]] | None = None
        self.write_file("config.json", json.dumps(config).encode())

    def read_file(self, name: str) -> bytes | None:
        """Return a file of the device, None if there is none."""
        return self._files.read(name)

    def write_file(self, name: str, data: bytes) -> None:
        """Replace a file of the device."""
        self._files.write(name, data)

    def _run(self) -> None:
        self._stop()
        try:
            _run_boot(self._machine)
            self._is_sleeping = True
            hold(self._machine, self._time)
            self._is_sleeping = False
        except Reset as reset:
            self._reset(reset.cause)
            return
        if self.board.esp32.is_awake:
            self._resume()

    def _sleeps(self) -> Iterator[Callable[[], None]]:
        """Do what device/main.py does; yields where it sleeps."""
        if self._machine.wake_reason() == self._machine.EXT0_WAKE:
            for mode, ms in lid.run(self._machine, self._esp32, self._time):
                yield partial(self._machine.deepsleep if mode else self._machine.lightsleep, ms)
        board = Board(
            self._machine,
            self._esp32,
            self._time,
            self.board.esp32.entropy,
            _Aes,
            self._files,
            json.loads(self._files.content["config.json"]),
        )
        # In the field a mistake becomes an error code; here it shall be seen.
        board.on_problem = _raise
        for mode, until_ms in app.run(board):
            yield partial(board.sleep, mode, until_ms)

    def _resume(self) -> None:
        """Run until the firmware sleeps."""
        mcu = self.board.esp32
        try:
            if self._program is None:
                self._program = self._sleeps()
            while mcu.is_awake:
                sleep = next(self._program)
                self._is_sleeping = True
                sleep()
                self._is_sleeping = False
        except Reset as reset:
            self._reset(reset.cause)
        except SimulationError:
            raise
        except StopIteration:
            raise DeviceCrashedError(
                f"device {self.name} has ended without going to sleep"
            ) from None
        except Exception as error:
            raise self._crashed(error) from error

    def _crashed(self, error: Exception) -> DeviceCrashedError:
        return DeviceCrashedError(f"device {self.name} under CPython: {error!r}")

    def _stop(self) -> None:
        self._is_sleeping = False
        self._program = None


def _raise(problem: BaseException) -> None:
    raise problem


_BOOT = compile(
    (resources.files("stoep_firmware") / "device" / "boot.py").read_text("utf-8"),
    "boot.py",
    "exec",
)


def _run_boot(machine: SimpleNamespace) -> None:
    """Run boot.py as it is, with this device's `machine` for its import."""

    def import_module(name: str, *_rest: object) -> SimpleNamespace:
        if name != "machine":
            raise ImportError(f"boot.py imports {name}, which is not simulated")
        return machine

    builtins: dict[str, Callable[..., object]] = {
        "__import__": import_module,
        "hasattr": hasattr,
    }
    exec(_BOOT, {"__builtins__": builtins, "__name__": "boot"})  # noqa: S102 - our own file

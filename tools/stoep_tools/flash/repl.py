"""Talks to MicroPython on a board over its serial line: raw REPL by mpremote's transport.

A board in the field is in deep sleep but for a few seconds an hour, and from its first act on a
watchdog resets it, which cannot be stopped (only given more time). So the bench resets the board
and interrupts it in the seconds in which `device/main.py` waits for just that (`board.hold`):
nothing runs then, no watchdog either. Where the line cannot reset, as over the chip's own USB, a
finger has to; the port may go and come again by it.

Files are written beside the old one, compared by hash on the board and renamed, so each is whole:
the old or the new.
"""

import ast
import re
import secrets
import struct
import time
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib import resources
from types import TracebackType
from typing import Any

from mpremote import transport_serial
from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from . import together
from .errors import BOARD_FAILED, NO_BOARD, FlashError

BAUD = 115_200
CHUNK = 1024  # octets of a file in one command
_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_BEAT_S = 0.05  # between two Ctrl-C: a start can be interrupted for three seconds
# Before the first of them: one that comes earlier finds a board without its file system, which
# MicroPython's _boot.py mounts in the first tenths of a second. Longer at each further try.
_MOUNT_S = 0.3
_LONGEST_REST_S = 2.0
# Of silence, after which the board is reset again: nobody may have caught it before it slept. Who
# has never heard it asks for a hand, for a board that can be reset by its lines has answered.
_ASK_AFTER_S = 4.0
_PULSES = 3
_RUN_S = 30.0  # of silence while a program runs: importing the firmware is seconds of work
_START_S = 10.0  # within which a board that was reset answers
_CATCHES = 8  # of a board that is always caught too early or too late
_READ_S = 10.0  # a laptop may stand still for seconds, too
_GREETINGS = 3
_LINES_S = 0.1
_ENOSPC = 28

# What the ROM and the bootloader say where no program is, or none that starts.
_EMPTY = (b"invalid header", b"flash read err", b"No bootable app", b"ets_main.c", b"boot:0x")
_DOWNLOAD = (b"waiting for download", b"DOWNLOAD")


vars(transport_serial)["print"] = lambda *_: None  # mpremote's own words on what is garbled


class BoardError(FlashError):
    """A program on the board has raised; `what` is its traceback's last line."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the board says: {what}", "", BOARD_FAILED)
        self.what = what
        found = re.match(r"OSError: (?:\[Errno )?(\d+)", what)
        self.errno = int(found[1]) if found else 0


class Unflashed(FlashError):  # noqa: N818 (it says the situation)
    """What is on the board is not what we have flashed, or does not start."""


def pulse_reset(serial: Any) -> None:
    """Reset by the lines of a USB bridge: RTS is at EN, DTR at IO0, both by inverters.

    They are left asserted together, which neither resets nor selects the bootloader and is what
    a board on its chip's own USB takes for "somebody listens". A line without lines stays as it is.
    """
    try:
        serial.dtr = False
        serial.rts = True
        time.sleep(_LINES_S)
        serial.rts = False
        time.sleep(_LINES_S)
        serial.dtr = True
        serial.rts = True
    except OSError:
        pass  # a pseudo-terminal


class Repl:
    """A board held at its prompt; a context manager.

    `ask` is told what a person has to do while this listens, up to `wait_s`; `pulse` resets the
    board by its open port. Every failure is a `FlashError`; no message holds what a file holds.
    """

    def __init__(
        self,
        device: str,
        *,
        baud: int = BAUD,
        wait_s: float = 30.0,
        ask: Callable[[str], object] = lambda _text: None,
        pulse: Callable[[Any], object] = pulse_reset,
    ) -> None:
        self.device = device
        self._baud = baud
        self._wait_s = wait_s
        self._ask = ask
        self._pulse = pulse
        self._line: SerialTransport | None = None

    def __enter__(self) -> "Repl":
        try:
            self.hold()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- the board ------------------------------------------------------------------------------

    def hold(self) -> None:
        """Reset the board and get hold of it before its program begins."""
        rest_s = _MOUNT_S
        self._catch(self._wait_s, self._pulse, rest_s)
        catches = 1
        while (state := self.run(_STATE).strip()) != "ready":
            if catches == _CATCHES:
                raise Unflashed(
                    f"the board at {self.device} cannot be held: {state}",
                    "flash it: stoep flash --port " + self.device,
                )
            # Too late: its watchdog runs. Too early: no files yet. This reset needs no lines.
            self._send_off("import machine\nmachine.reset()")
            catches += 1
            rest_s = min(rest_s * 2, _LONGEST_REST_S) if state == "no files" else rest_s / 2
            self._catch(max(self._wait_s, _START_S), lambda _serial: None, rest_s)
        self.run(helper("files"))

    def reset(self) -> None:
        """Start the board's own program and let go of the port."""
        self._send_off("import machine\nmachine.reset()")
        self.close()

    def close(self) -> None:
        """Let go of the port; the board stays at its prompt."""
        line, self._line = self._line, None
        if line is not None:
            try:
                line.close()
            except OSError:
                line.serial.close()

    def run(self, source: str, timeout_s: float = _RUN_S) -> str:
        """Run a program; returns what it printed. `timeout_s`: the longest silence.

        Raises BoardError when it ends in an exception.
        """
        line = self._need_line()
        try:
            out, error = line.exec_raw(source, timeout=timeout_s)
        except TransportError as problem:
            raise self._silent() from problem
        except (OSError, struct.error) as problem:
            raise self._gone() from problem
        if error:
            raise BoardError(error.decode(errors="replace").strip().splitlines()[-1])
        return bytes(out).decode(errors="replace").replace("\r\n", "\n")

    def value(self, expression: str, timeout_s: float = _RUN_S) -> Any:
        """Return what an expression is on the board: numbers, texts, octets, lists of them."""
        said = self.run(f"print(repr({expression}))", timeout_s)
        try:
            return ast.literal_eval(said.strip())
        except (ValueError, SyntaxError) as problem:
            raise self._garbled() from problem

    # ---- files ----------------------------------------------------------------------------------

    def list(self, folder: str = "/") -> dict[str, int]:
        """Return the files in and below a folder with their sizes, by path from the root."""
        found: dict[str, int] = self.value(f"_s_tree({folder!r})", 30)
        return found

    def hashes(self, paths: Iterable[str]) -> dict[str, str]:
        """Return SHA-256 in hexadecimal of those files that are there."""
        found = {path: self.value(f"_s_hash({path!r})", 30) for path in paths}
        return {path: octets.hex() for path, octets in found.items() if octets}

    def free(self) -> tuple[int, int]:
        """Return octets free in the file system, and its size."""
        free, size = self.value("_s_free()")
        return free, size

    def read(self, path: str) -> bytes | None:
        """Return a file, None if there is none."""
        for _ in range(2):
            expected = self.value(f"_s_hash({path!r})", 30)
            if expected is None:
                return None
            self.run(f"_s_f = open({path!r}, 'rb')")
            data = bytearray()
            while chunk := self._chunk():
                data += chunk
            self.run("_s_f.close()")
            if sha256(data).digest() == expected:
                return bytes(data)
        raise self._garbled()

    def write(
        self,
        path: str,
        data: bytes,
        progress: Callable[[int, int], object] = lambda _done, _all: None,
    ) -> None:
        """Replace a file, whole or not at all; `progress(done, all)` in octets."""
        for _ in range(2):
            try:
                if self._write(path, data, progress):
                    return
            except BoardError as problem:
                self.run(f"_s_drop({path!r})")
                if problem.errno == _ENOSPC:
                    raise self._full(path, len(data)) from problem
                raise
        raise self._garbled()

    def remove(self, path: str) -> None:
        """Remove a file; it may be gone already. Folders that are empty then go with it."""
        self.run(f"_s_remove({path!r})")

    def _write(self, path: str, data: bytes, progress: Callable[[int, int], object]) -> bool:
        self.run(f"_s_begin({path!r})")
        for at in range(0, len(data), CHUNK):
            part = b64encode(data[at : at + CHUNK]).decode()
            self.run(f"_s_f.write(a2b_base64('{part}'))")
            progress(min(at + CHUNK, len(data)), len(data))
        return bool(self.value(f"_s_end({path!r}, {sha256(data).digest()!r})", 30))

    def _chunk(self) -> bytes:
        text = self.value(f"b2a_base64(_s_f.read({CHUNK}))")
        try:
            return a2b_base64(text)
        except (ValueError, TypeError) as problem:
            raise self._garbled() from problem

    # ---- the line -------------------------------------------------------------------------------

    def _catch(self, wait_s: float, pulse: Callable[[Any], object], rest_s: float) -> None:
        """Interrupt whatever begins until the raw REPL answers.

        Its time is counted in what it listens: a laptop that stands still hears nothing.
        """
        heard = bytearray()
        pulses = 0
        quiet_s = 0.0
        is_asked = False
        while _BANNER not in heard:
            if wait_s <= 0:
                raise self._unheard(bytes(heard))
            is_quiet = quiet_s > _ASK_AFTER_S
            if is_quiet and not heard and not is_asked:
                is_asked = True
                self._ask(f"{self.device}: press the RESET button of the board")
            wait_s -= _BEAT_S
            quiet_s += _BEAT_S
            try:
                line = self._line or self._open()
                if not pulses or (is_quiet and pulses < _PULSES):
                    pulses += 1
                    pulse(line.serial)
                    together.rest(rest_s)
                    quiet_s = 0.0
                line.serial.write(b"\r\x03\x03\x01")  # interrupt; enter the raw REPL
                if said := self._hear(_BEAT_S):
                    heard += said
                    quiet_s = 0.0
            except OSError:
                # A board's own USB goes with a reset and comes again.
                self._drop()
                together.rest(_BEAT_S)
        try:
            self._greet(self._need_line())
        except OSError as problem:
            raise self._gone() from problem

    def _greet(self, line: SerialTransport) -> None:
        """Leave behind what the board still says to each Ctrl-C that it was sent."""
        for _ in range(_GREETINGS):
            word = secrets.token_hex(4)
            line.serial.write(f"\r\x03\x01print('{word}', end='')\x04".encode())
            answer = f"{word}\x04\x04".encode()  # a prompt follows, which is waited for first
            if line.read_until(1, answer, timeout=_READ_S).endswith(answer):
                line.in_raw_repl = True
                return
        raise self._silent()

    def _open(self) -> SerialTransport:
        try:
            self._line = SerialTransport(self.device, self._baud, timeout=_READ_S)
        except TransportError as problem:
            raise OSError(str(problem)) from problem
        serial = self._line.serial
        serial.write_timeout = _READ_S

        def waiting() -> int:
            together.check()
            return int(serial.in_waiting)

        serial.inWaiting = waiting  # what mpremote asks a hundred times a second while it waits
        self._line.is_pty = False  # or it would not
        return self._line

    def _hear(self, for_s: float) -> bytes:
        """Return what comes in within that time."""
        serial = self._need_line().serial
        together.rest(for_s)
        waiting: int = serial.in_waiting
        heard: bytes = serial.read(waiting) if waiting else b""
        return heard

    def _need_line(self) -> SerialTransport:
        if self._line is None:
            raise self._gone()
        return self._line

    def _send_off(self, source: str) -> None:
        """Run what does not come back."""
        try:
            self._need_line().exec_raw_no_follow(source)
            self._need_line().serial.flush()
            time.sleep(_LINES_S)
        except (TransportError, struct.error, OSError):
            pass  # it has begun already

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.serial.close()

    # ---- what is said ---------------------------------------------------------------------------

    def _unheard(self, heard: bytes) -> FlashError:
        if any(sign in heard for sign in _DOWNLOAD):
            return FlashError(
                f"the board at {self.device} waits in its bootloader",
                "press RESET without holding BOOT, then run the same command again",
            )
        if self._line is None:
            return FlashError(
                f"{self.device} cannot be opened",
                "plug the board in, press its RESET button, and close what else uses the port",
                NO_BOARD,
            )
        if not heard.strip(b"\x00\xff\r\n"):
            return FlashError(
                f"the board at {self.device} is silent",
                "press its RESET button and run the same command again; try another cable, many"
                " carry power only",
                NO_BOARD,
            )
        if any(sign in heard for sign in _EMPTY):
            return Unflashed(
                f"no MicroPython answers at {self.device}: flash it first",
                "stoep flash --port " + self.device,
            )
        return Unflashed(
            f"no MicroPython answers at {self.device}, another program is on the board: flash it"
            " first",
            "stoep flash --port " + self.device,
        )

    def _gone(self) -> FlashError:
        self._drop()
        return FlashError(
            f"the board at {self.device} is gone in the middle",
            "plug it in again and run the same command once more",
            BOARD_FAILED,
        )

    def _silent(self) -> FlashError:
        return FlashError(
            f"the board at {self.device} answers no more",
            "press its RESET button and run the same command once more",
            BOARD_FAILED,
        )

    def _garbled(self) -> FlashError:
        return FlashError(
            f"what comes from {self.device} is garbled",
            "use a shorter cable, without a hub, and run the same command once more",
            BOARD_FAILED,
        )

    def _full(self, path: str, octets: int) -> FlashError:
        free, _ = self.free()
        return FlashError(
            f"the board's storage is full: {path} takes {octets} octets, {free} are free",
            "remove what is not ours (stoep flash backup keeps a copy), or flash the board anew",
            BOARD_FAILED,
        )


# What app.run loads once the watchdog has begun, and nothing loads before.
_STATE = """
import os, sys
state = "ready" if os.statvfs("/")[2] else "no files"
for name in ("wake", "safe", "certify"):
    if "stoep_firmware." + name in sys.modules:
        state = "its program runs"
print(state)
"""


def helper(name: str) -> str:
    """Return a program of on_board/, to be run on the board."""
    folder = resources.files("stoep_tools.flash") / "on_board"
    return (folder / f"{name}.py").read_text("utf-8")

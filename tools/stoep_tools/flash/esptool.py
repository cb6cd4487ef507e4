"""Flash, read and erase a board with Espressif's esptool, which runs as a program of its own.

What is written goes in pieces, each checked by its MD5 in the chip. A piece that is in flash
already is not written again, so a run that was cut short goes on where it was, and esptool is run
again by itself where the line was bad for a moment. No key is ever in an argument: what is written
lies in a folder that only its owner may enter, in RAM where it can.
"""

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from . import esptool_output as output
from . import ports, together
from .errors import NO_BOARD, FlashError

Chip = output.Chip
Progress = output.Progress
Region = tuple[int, Path | bytes]
Result = TypeVar("Result")

PIECE = 256 * 1024  # octets: 2 to 3 s at 921600 baud is the most that is written twice
SECTOR = 4096  # what flash erases at once
_SILENCE_S = 180.0  # erasing 16 MB says nothing for over a minute
_PREFIX = "stoep-flash-"
_TRIES = 3  # of which each goes on where the one before was
_ANSWER_S = 8.0  # esptool's own is 3 s, for which a laptop under load may stand still


class Run(Protocol):
    """Runs a command in a folder, tells of every line; returns exit code and all that was said."""

    def __call__(
        self, command: Sequence[str], folder: Path, line: Callable[[str], None] | None
    ) -> tuple[int, str]:
        """Run it to its end."""


class Esptool:
    """One board's ROM bootloader.

    `chip` refuses every other one; `hint` says how the bootloader is started by hand (boot_hint);
    `stay` leaves the board in its bootloader, lest what runs on it goes to sleep: the port of a
    board without a USB chip of its own goes with it. Every method raises FlashError, which says
    what to do.
    """

    def __init__(
        self,
        port: str,
        baud: int = 921600,
        *,
        chip: str = "auto",
        hint: str = "",
        stay: bool = False,
        attempts: int = 7,
        run: Run | None = None,
    ) -> None:
        if importlib.util.find_spec("esptool") is None:
            raise ports.missing("esptool")
        self.port = port
        self._hint = hint or boot_hint({})
        self._run = run or run_program
        self._command = [
            *(sys.executable, "-m", "esptool", "--chip", chip, "--port", port),
            *("--baud", str(baud), "--connect-attempts", str(attempts)),
            *("--after", "no-reset" if stay else "hard-reset"),
        ]

    def detect(self) -> Chip:
        """Ask which chip it is, its base MAC and how large its flash is."""
        with _private_folder() as folder:
            return output.chip(_again(lambda: self._call(folder, ["flash-id"])))

    def write(self, regions: Sequence[Region], progress: Progress | None = None) -> int:
        """Write regions (offset, what); return how many octets were in flash already.

        `progress` is told (octets done, of all); what is in flash already counts as done.
        """
        pieces = _pieces(regions)
        with _private_folder() as folder:
            files = _store(pieces, folder)

            def write() -> output.Writing:
                sizes = [(offset, len(data)) for offset, data in pieces]
                writing = output.Writing(sizes, progress)
                self._call(folder, ["write-flash", "--skip-flashed", *files], writing.line)
                return writing

            writing = _again(write)
        if writing.finished != len(pieces):
            raise FlashError(
                f"{self.port}: {writing.finished} of {len(pieces)} pieces were verified",
                "run it again; what is in flash already is not written again",
            )
        return writing.skipped

    def verify(self, regions: Sequence[Region]) -> None:
        """Compare what is in flash with the regions; writes nothing."""
        with _private_folder() as folder:
            files = _store(_pieces(regions), folder)
            _again(lambda: self._call(folder, ["verify-flash", *files]))

    def read(self, offset: int, size: int, path: Path, progress: Progress | None = None) -> None:
        """Read flash into a file that only its owner may read."""
        data = self.fetch(offset, size, progress)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)

    def fetch(self, offset: int, size: int, progress: Progress | None = None) -> bytes:
        """Read flash."""
        with _private_folder() as folder:
            reading = output.Reading(size, progress)
            what = ["read-flash", hex(offset), hex(size), "flash"]
            _again(lambda: self._call(folder, what, reading.line))
            data = (folder / "flash").read_bytes()
        if len(data) != size:
            raise FlashError(f"{self.port}: {len(data)} of {size} octets came", "try again")
        return data

    def erase(self) -> None:
        """Erase all flash: MicroPython, our files, and the identity with its DevNonce."""
        with _private_folder() as folder:
            _again(lambda: self._call(folder, ["erase-flash"]))

    def _call(
        self, folder: Path, what: list[str], line: Callable[[str], None] | None = None
    ) -> str:
        (folder / "esptool.cfg").write_text(f"[esptool]\ntimeout = {_ANSWER_S}\n")
        code, said = self._run([*self._command, *what], folder, line)
        if code != 0:
            raise output.failure(said, self.port, self._hint)
        return said


def _again(act: Callable[[], Result]) -> Result:
    """Do it, and once more where the line was bad: that may have been a moment's work."""
    bad: output.BadLine | None = None
    for _ in range(_TRIES):
        try:
            return act()
        except output.BadLine as problem:
            bad = problem
        except FlashError as problem:
            if bad is None or problem.exit_code != NO_BOARD:
                raise
            break  # it has answered before, so that is not what is wrong
    assert bad is not None
    raise bad


def boot_hint(buttons: Mapping[str, str]) -> str:
    """Return how the bootloader is started by hand; `buttons` as in the board's file."""
    reset = f"press {buttons['reset']}" if "reset" in buttons else "reset the board"
    if "boot" in buttons:
        return f"hold {buttons['boot']} (GPIO0), {reset}, let go, and run it again"
    return f"connect GPIO0 to GND, {reset}, take the wire away, and run it again"


def _pieces(regions: Sequence[Region]) -> list[tuple[int, bytes]]:
    pieces = []
    end = 0
    for offset, what in sorted(regions, key=lambda region: region[0]):
        if offset % SECTOR or offset < end:
            raise ValueError(f"the region at {offset:#x} is within a sector or another region")
        data = what if isinstance(what, bytes) else what.read_bytes()
        end = offset + len(data)
        pieces += [(offset + at, data[at : at + PIECE]) for at in range(0, len(data), PIECE)]
    return pieces


def _store(pieces: Sequence[tuple[int, bytes]], folder: Path) -> list[str]:
    """Put the pieces into files; return them as esptool's arguments."""
    arguments = []
    for offset, data in pieces:
        name = f"{offset:08x}"
        (folder / name).write_bytes(data)
        arguments += [hex(offset), name]
    return arguments


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder of mode 0700, in RAM if the system offers that."""
    places = (os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm")  # noqa: S108 - made by mkdtemp
    place = next((one for one in places if os.access(one, os.W_OK)), tempfile.gettempdir())
    _sweep(Path(place))
    try:
        with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place) as folder:
            yield Path(folder)
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FlashError(
            f"no room is left in {place}", "delete something there, and run it again"
        ) from None


def _sweep(place: Path) -> None:
    """Remove what runs that were killed have left: it may hold keys."""
    if os.name == "nt":
        return
    for folder in place.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, OSError):
            pass  # not ours, or another user's


def run_program(
    command: Sequence[str], folder: Path, line: Callable[[str], None] | None = None
) -> tuple[int, str]:
    """Run a program that does not outlive us; returns its exit code and all that it said.

    Kills it on an exception (Ctrl-C) and when it is silent for minutes. If we die, Linux kills it
    at once; elsewhere it ends at the next line that it cannot say.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    environment = {key: v for key, v in os.environ.items() if not key.startswith("ESPTOOL_")}
    environment |= {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    said: list[str] = []
    ended = threading.Event()
    with together.program(
        [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is ours to pass on
    ) as child:
        heard_s = time.monotonic()

        def watch() -> None:
            while not ended.wait(1.0):
                if time.monotonic() - heard_s > _SILENCE_S:
                    child.kill()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            assert child.stdout is not None
            for text in child.stdout:
                heard_s = time.monotonic()
                said.append(text)
                if line is not None:
                    line(text.rstrip("\n"))
            code = child.wait()
        finally:
            ended.set()
            watcher.join()
    return code, "".join(said)

"""Serial ports with what is on them, why one cannot be used, and who uses it."""

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Protocol

from . import start
from .errors import BOARD_FAILED, NO_BOARD, USAGE, FlashError

# USB vendor and product of what the boards' serial ports are made of; sources: the Linux kernel's
# cp210x and ch341 drivers, usb.ids, ESP-IDF's "USB Serial/JTAG Controller Console".
_KNOWN = {
    (0x10C4, 0xEA60): "Silicon Labs CP210x",
    (0x10C4, 0xEA70): "Silicon Labs CP2105",
    (0x1A86, 0x7522): "WCH CH340K",
    (0x1A86, 0x7523): "WCH CH340",
    (0x1A86, 0x55D3): "WCH CH343",
    (0x1A86, 0x55D4): "WCH CH9102",
    (0x0403, 0x6001): "FTDI FT232R",
    (0x0403, 0x6015): "FTDI FT231X",
    (0x303A, 0x1001): "Espressif USB JTAG/serial",
    (0x303A, 0x4001): "MicroPython's USB",
}
_ESPRESSIF = 0x303A
_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port; `problem` is why it cannot be opened, with what to do about it."""

    device: str
    description: str
    vid: int | None
    pid: int | None
    serial: str | None
    problem: str | None

    @property
    def likely(self) -> bool:
        """Whether one of our boards may be behind it."""
        return (self.vid, self.pid) in _KNOWN or self.vid == _ESPRESSIF


class _Found(Protocol):
    """What pyserial tells of a port."""

    device: str
    description: str
    vid: int | None
    pid: int | None
    serial_number: str | None


def list_ports(
    find: Callable[[], Iterable[_Found]] | None = None,
    problem_of: "Callable[[str], str | None] | None" = None,
) -> list[Port]:
    """List the ports of USB devices, those that are likely a board first.

    A serial port that is not on USB (a computer's own) is no board of ours.
    """
    if find is None:
        find = _comports()
    ports = [
        Port(
            device=found.device,
            description=_KNOWN.get((found.vid or 0, found.pid or 0), found.description),
            vid=found.vid,
            pid=found.pid,
            serial=found.serial_number,
            problem=(problem_of or problem)(found.device),
        )
        for found in find()
        if found.vid is not None
    ]
    return sorted(ports, key=lambda port: (not port.likely, port.device))


def _comports() -> Callable[[], Iterable[_Found]]:
    try:
        from serial.tools import list_ports as pyserial  # noqa: PLC0415 - an extra
    except ImportError:
        raise missing("pyserial") from None
    return pyserial.comports


def missing(package: str) -> FlashError:
    """Say which package is not installed, and how it is."""
    return FlashError(
        f"the Python package {package} is not installed",
        "\n".join(start.remedy([package])),
        USAGE,
    )


def no_board(ports: list[Port]) -> FlashError:
    """Say why there is no board to work on, from what ports there are."""
    refused = next((port for port in ports if port.problem is not None), None)
    if refused is not None:
        return FlashError(
            f"{refused.device} ({refused.description}) is there, but cannot be used",
            refused.problem or "",
            NO_BOARD,
        )
    return FlashError(
        "no board is connected",
        "plug it in with a cable that carries data (many only charge); a LilyGO T3-S3 that is "
        "asleep has no port: hold BOOT, press RST; on Windows a CP210x or CH9102 needs the driver "
        "of its maker",
        NO_BOARD,
    )


def problem(device: str, platform: str = sys.platform) -> str | None:
    """Return why a port that is there cannot be opened, with its remedy; None if it can.

    Does not open it: opening resets most boards.
    """
    if not platform.startswith("linux"):
        return None  # Windows and macOS let everybody; that another program has it shows in use
    try:
        status = Path(device).stat()
    except OSError:
        return f"{device} has gone: plug the board in again"
    if os.access(device, os.R_OK | os.W_OK):
        return None
    return _not_allowed(device, _group_name(status.st_gid))


def _group_name(gid: int) -> str:
    import grp  # noqa: PLC0415 - Unix only

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _not_allowed(device: str, group: str) -> str:
    if group == "root":
        return (
            f"only root may open {device}: install systemd's udev rules for serial ports, or for "
            f"now: sudo chmod a+rw {device}"
        )
    return (
        f"you are not in the group {group}: sudo usermod -aG {group} $USER, then log out and in "
        f"again (at once, for this terminal only: newgrp {group})"
    )


def cannot_open(device: str, platform: str = sys.platform) -> FlashError:
    """Say why a port could not be opened, once a program has failed to."""
    known = problem(device, platform) if Path(device).exists() else None
    if known is not None:
        return FlashError(f"{device} cannot be opened", known, NO_BOARD)
    if platform.startswith("win"):
        return FlashError(
            f"{device} cannot be opened",
            "another program has it, or the board was unplugged: close serial monitors (Thonny, "
            "Arduino, PuTTY), look under Ports in the Device Manager whether it is there",
            NO_BOARD,
        )
    if not Path(device).exists():
        return FlashError(
            f"{device} is not there",
            "plug the board in, with a cable that carries data",
            NO_BOARD,
        )
    return FlashError(
        f"{device} is used by another program",
        f"close serial monitors; who has it: fuser -v {device}",
        NO_BOARD,
    )


@contextmanager
def lock(device: str, folder: Path | None = None) -> Iterator[None]:
    """Hold a port for one run; raises FlashError if another run holds it.

    Keyed by the device itself, whatever link it was named by. Given back when the process dies.
    """
    folder = _lock_folder() if folder is None else folder
    real = os.path.realpath(device) if os.name != "nt" else device.upper()
    path = folder / f"stoep-flash-{sha256(real.encode()).hexdigest()[:16]}.lock"
    with _open(path) as file:
        with suppress(PermissionError):
            path.chmod(0o666)  # whoever comes next may lock it, whatever the umask
        if not _take(file):
            raise _held(device, file.read(20).decode("ascii", "replace").strip())
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            file.truncate(0)


def _open(path: Path) -> IO[bytes]:
    try:  # without O_CREAT first: Linux refuses that for another user's file in /run/lock
        number = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    return os.fdopen(number, "r+b", buffering=0)


def _held(device: str, pid: str) -> FlashError:
    by = f" (process {pid})" if pid else ""
    return FlashError(
        f"another run of stoep flash{by} is working on {device}",
        "wait until it has finished, or name another port",
        BOARD_FAILED,
    )


def _lock_folder() -> Path:
    # Shared by all users where that can be: two of them may have the same port.
    shared = Path("/run/lock")
    if os.name != "nt" and os.access(shared, os.W_OK):
        return shared
    return Path(tempfile.gettempdir())


def _take(file: IO[bytes]) -> bool:
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - Windows only

        file.seek(1024)  # past the text, which stays readable so
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(0)
        return True
    import fcntl  # noqa: PLC0415 - Unix only

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno not in _TAKEN:
            raise
        return False
    return True

"""What esptool 5 says, and what it means to a technician. No input or output."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import ports
from .errors import NO_BOARD, USAGE, FlashError

Progress = Callable[[int, int], None]

_CONNECTED = re.compile(r"^Connected to (ESP\S+) on ", re.MULTILINE)
_MAC = re.compile(r"^(?:BASE )?MAC:\s+((?:[0-9a-f]{2}:){5}[0-9a-f]{2})\s*$", re.MULTILINE)
_FLASH = re.compile(r"^Detected flash size: (\d+)([KM])B", re.MULTILINE)
_AT = re.compile(r"^Writing at 0x([0-9a-f]+)")
_PERCENT = re.compile(r"\b(\d+(?:\.\d+)?) ?%")
_FATAL = re.compile(r"(?:fatal|serial exception) error occurred: (.*)", re.DOTALL)

_AGAIN = "run it again; what is in flash already is not written again"
_CABLE = "plug the board in again, straight into the computer, with a short cable; then "
_SLOWER = "plug in a shorter cable or give --baud 115200; then "


class BadLine(FlashError):  # noqa: N818 (it says the situation)
    """What came from the board made no sense, or came too late: it may be better next time."""


@dataclass(frozen=True, slots=True)
class Chip:
    """What is on a board; `name` as in the board files."""

    name: str
    mac: bytes
    flash_bytes: int


def chip(output: str) -> Chip:
    """Read what `flash-id` said. Raises FlashError if it did not say all."""
    name, mac, size = _CONNECTED.search(output), _MAC.search(output), _FLASH.search(output)
    if name is None or mac is None:
        raise FlashError("esptool did not say which chip is connected", _CABLE + "run it again")
    if size is None:
        raise FlashError(
            "the size of the board's flash cannot be read",
            "another module may be needed: its flash does not answer",
        )
    return Chip(
        name=name[1].lower().replace("-", ""),
        mac=bytes.fromhex(mac[1].replace(":", "")),
        flash_bytes=int(size[1]) << {"K": 10, "M": 20}[size[2]],
    )


class Writing:
    """How far `write-flash` is, line by line; each piece is (offset, octets), in their order."""

    def __init__(self, pieces: Sequence[tuple[int, int]], progress: Progress | None) -> None:
        self._pieces = pieces
        self._progress = progress
        self._total = sum(size for _, size in pieces)
        self._done = 0  # octets of pieces that are finished
        self.finished = 0  # pieces: in flash, as their MD5 says
        self.skipped = 0  # octets that were there already

    def line(self, line: str) -> None:
        """Take one line of output."""
        if self.finished == len(self._pieces):
            return
        offset, size = self._pieces[self.finished]
        if (at := _AT.match(line)) is not None:
            self._tell(self._done + min(max(int(at[1], 16) - offset, 0), size))
        elif line.startswith("Hash of data verified") or "already in flash" in line:
            self.skipped += size if "already" in line else 0
            self.finished += 1
            self._done += size
            self._tell(self._done)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._total)


class Reading:
    """How far `read-flash` is."""

    def __init__(self, size: int, progress: Progress | None) -> None:
        self._size = size
        self._progress = progress

    def line(self, line: str) -> None:
        """Take one line of output."""
        percent = _PERCENT.search(line)
        if percent is not None and self._progress is not None:
            self._progress(round(self._size * min(float(percent[1]), 100) / 100), self._size)


def failure(output: str, port: str, hint: str) -> FlashError:
    """Say what went wrong, from all that esptool said, and what to do; `hint` starts the ROM."""
    fatal = _FATAL.search(output)
    said = " ".join((fatal[1] if fatal else output[-300:]).split())
    started = "Writing" in output or "Reading" in output
    if "Could not open" in said:
        return ports.cannot_open(port)
    if "This chip is" in said:
        found = re.search(r"This chip is (\S+?),? not (\S+?)\.", said)
        what = f"{found[1]}, not {found[2]}" if found else "another"
        return FlashError(
            f"{port}: the chip is an {what}", "name the board that is connected", USAGE
        )
    if "will not fit" in said:
        return FlashError(
            f"{port}: its flash is smaller than this board's",
            "name the board that is connected",
            USAGE,
        )
    if "Download mode" in said or "Failed to connect" in said or "download mode" in said:
        return FlashError(f"{port}: the board does not answer", hint, NO_BOARD)
    if "MD5" in said or "erification failed" in output:
        return FlashError(
            f"{port}: what is in flash is not what was written",
            f"{_SLOWER}{_AGAIN}. If it fails again, the flash is worn or the board damaged",
        )
    if "serial exception" in output or "reconnect" in output or "Errno 5" in said:
        return FlashError(f"{port}: the board was unplugged", _CABLE + _AGAIN)
    if "orrupt data" in said or "No more data" in said or "Packet content" in said or started:
        return BadLine(f"{port}: the line to the board is bad ({said})", _SLOWER + _AGAIN)
    return BadLine(f"{port}: esptool failed ({said})", f"{hint}. {_SLOWER}{_AGAIN}")

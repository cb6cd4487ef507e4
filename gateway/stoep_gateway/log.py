"""Logging: one format for everybody, and a throttle so that bad input cannot flood it.

Under systemd entries go to the journal by its native protocol, with fields to ask for:
``journalctl DEV_EUI=70b3d57ed0000001``. Else they are lines on standard error.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["Throttle", "UplinkLog", "fields", "set_up", "uplinks"]

JOURNAL = Path("/run/systemd/journal/socket")
IDENTIFIER = "stoep-gateway"
MAX_MESSAGE = 49_152  # characters; a datagram of the journal holds some 200 kB

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class UplinkLog:
    """An entry for each uplink, past the machinery of logging, which costs four times as much."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("stoep_gateway.uplinks")
        self._journal: _Journal | None = None
        self._head = _encoded([*_ALWAYS, ("PRIORITY", 6), ("LOGGER", self._logger.name)])
        self.enabled = False

    def set_up(self, journal: _Journal | None, *, enabled: bool) -> None:
        """Write to the journal, or where logging does."""
        self._journal = journal
        self.enabled = enabled

    def write(self, message: str, more: str) -> None:
        """Write one entry if ``enabled``; ``more`` are fields, "NAME=value" and a line feed each.

        Neither holds what strangers sent.
        """
        if self._journal is None:
            self._logger.info("%s", message)
        else:
            entry = self._head + f"MESSAGE={message}\n{more}".encode(errors="backslashreplace")
            if not self._journal.send(entry):
                self._logger.info("%s", message)


def set_up(
    *,
    verbose: bool = False,
    quiet: bool = False,
    environ: Mapping[str, str] = os.environ,
    journal: Path = JOURNAL,
) -> None:
    """Log to the journal if standard error leads there, else to standard error.

    Uplinks are logged one by one in the journal unless ``quiet``, on standard error if ``verbose``.
    """
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(_OneLine(_FORMAT))
    native = _Journal(journal, lines) if _leads_to_journal(environ) else None
    root = logging.getLogger("stoep_gateway")
    root.handlers[:] = [native or lines]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
    uplinks.set_up(native, enabled=verbose or not (native is None or quiet))


def fields(event: str, *more: tuple[str, object]) -> dict[str, object]:
    """Return the ``extra`` of an entry: fields for the journal, which hold no secrets.

    A name may come several times; what is None is left out.
    """
    return {"journal": (("EVENT", event), *more)}


class _OneLine(logging.Formatter):
    """Writes out control characters: a message may quote what strangers sent."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the library's name)
        return super().formatMessage(record).translate(_CONTROLS)


class _Journal(logging.Handler):
    """Sends entries by the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).

    Never waits: what the journal has no room for is counted and told later. While there is no
    journal, ``fallback`` gets the entries.
    """

    def __init__(self, path: Path, fallback: logging.Handler) -> None:
        super().__init__()
        self._path = str(path)
        self._fallback = fallback
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send one entry."""
        try:
            if not self.send(_entry(record)):
                self._fallback.emit(record)
        except Exception:  # noqa: BLE001 (as logging's own handlers do)
            self.handleError(record)

    def send(self, entry: bytes) -> bool:
        """Send what is encoded; return whether there is a journal."""
        try:
            try:
                self._socket.send(entry)
            except BlockingIOError:
                raise
            except OSError:  # not connected yet, or to a journal that was restarted
                self._socket.connect(self._path)
                self._socket.send(entry)
            if self._lost:
                text = f"{self._lost} entries are missing here: the journal had no room"
                self._socket.send(_encoded([*_ALWAYS, ("PRIORITY", 4), ("MESSAGE", text)]))
                self._lost = 0
        except BlockingIOError:
            self._lost += 1
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        super().close()


def _entry(record: logging.LogRecord) -> bytes:
    message = record.getMessage().translate(_CONTROLS)
    if record.exc_info:
        message += "\n" + (record.exc_text or logging.Formatter().formatException(record.exc_info))
    if len(message) > MAX_MESSAGE:
        message = message[:MAX_MESSAGE] + "…"
    named = getattr(record, "journal", ())
    return _encoded(
        [
            *_ALWAYS,
            ("MESSAGE", message),
            ("PRIORITY", _PRIORITIES.get(record.levelno, 5)),
            ("LOGGER", record.name),
            ("CODE_FILE", record.pathname),
            ("CODE_LINE", record.lineno),
            ("CODE_FUNC", record.funcName),
            *((name, value) for name, value in named if value is not None),
        ]
    )


def _encoded(named: Iterable[tuple[str, object]]) -> bytes:
    parts = []
    for name, value in named:
        octets = str(value).encode(errors="backslashreplace")
        if b"\n" in octets:
            parts.append(b"%s\n%s%s\n" % (name.encode(), len(octets).to_bytes(8, "little"), octets))
        else:
            parts.append(b"%s=%s\n" % (name.encode(), octets))
    return b"".join(parts)


_ALWAYS = (("SYSLOG_IDENTIFIER", IDENTIFIER),)
uplinks = UplinkLog()


def _leads_to_journal(environ: Mapping[str, str]) -> bool:
    """Whether standard error is the stream that systemd gave us (systemd.exec(5))."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        seen = os.fstat(sys.stderr.fileno())
        return (int(device), int(inode)) == (seen.st_dev, seen.st_ino)
    except (OSError, ValueError):
        return False


class Throttle:
    """Lets each key through once per interval and counts what it holds back."""

    def __init__(self, interval_ms: int = 60_000) -> None:
        self._interval_ms = interval_ms
        self._keys: dict[str, tuple[int, int]] = {}

    def passes(self, key: str, now: int) -> int:
        """Return how often ``key`` came since it last passed, this time included; 0: be silent."""
        until_ms, held_back = self._keys.get(key, (now, 0))
        if now < until_ms:
            self._keys[key] = (until_ms, held_back + 1)
            return 0
        self._keys[key] = (now + self._interval_ms, 0)
        return held_back + 1

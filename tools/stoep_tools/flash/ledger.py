"""Who was issued which identity: what a bench must never forget, and never does twice.

One SQLite file, whose commits are durable before anything is written to a board, and a key file
beside it. Several runs may use it at once. A chip and a DevEUI stand in it once: a chip that comes
again is given its identity back. What happened to a board is only ever added to.
"""

from __future__ import annotations

import csv
import hmac
import io
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stoep_tools.flash import sealing
from stoep_tools.flash.errors import USAGE, FlashError
from stoep_tools.flash.identity import (
    MAX_DEV_NONCE,
    SAFE_STEP,
    EuiRange,
    Identity,
    new_identity,
)

__all__ = ["STATES", "Entry", "Issued", "Ledger", "default_path", "listing"]

STATES = ("issued", "written", "verified", "registered", "labelled")

_APPLICATION_ID = 0x53744C67  # "StLg"
_PATIENCE_S = 30.0  # for another run at the same ledger
_RETRY_STEP = 16
# By version; each is run on what the one before has left.
_LAYOUTS = (
    """
    CREATE TABLE sealed (check_value BLOB NOT NULL) STRICT;
    CREATE TABLE board (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        mac BLOB NOT NULL UNIQUE CHECK (length(mac) = 6),
        dev_eui BLOB NOT NULL UNIQUE CHECK (length(dev_eui) = 8),
        join_eui BLOB NOT NULL CHECK (length(join_eui) = 8),
        app_key BLOB NOT NULL CHECK (length(app_key) = 44), -- sealed for dev_eui
        board TEXT NOT NULL,
        kind TEXT NOT NULL,
        region TEXT NOT NULL,
        lorawan TEXT NOT NULL,
        asset TEXT,
        name TEXT,
        serial TEXT,
        dev_nonce INTEGER NOT NULL -- where it was to begin when it was last issued
    ) STRICT;
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        number INTEGER NOT NULL REFERENCES board,
        state TEXT NOT NULL CHECK (state IN
            ('issued', 'written', 'verified', 'registered', 'labelled')),
        utc_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX event_by_board ON event (number, id);
    """,
)
_COLUMNS = (
    "number, mac, dev_eui, join_eui, app_key, board, kind, region, lorawan, asset, name, serial,"
    " dev_nonce"
)
_REMEDIES = {  # by SQLite's primary result code
    sqlite3.SQLITE_BUSY: "another run holds it: wait for that or end it",
    sqlite3.SQLITE_NOTADB: "put back a copy of the ledger",
    sqlite3.SQLITE_CORRUPT: "put back a copy of the ledger",
    sqlite3.SQLITE_READONLY: "name a place that you may write to",
}
_WHOSE = ("number", "mac", "dev_eui", "join_eui")
_HOW = ("board", "kind", "region", "lorawan")
_TEXTS = ("asset", "name", "serial")


@dataclass(frozen=True, slots=True)
class Entry:
    """A board in the ledger. ``times`` are UTC in ms, by state, since it was last issued."""

    number: int
    mac: bytes
    identity: Identity
    board: str
    kind: str
    region: str
    lorawan: str
    asset: str | None
    name: str | None
    serial: str | None
    dev_nonce: int  # with which it begins as it was last flashed
    times: Mapping[str, int]
    flashed: int  # how often it was issued

    @property
    def state(self) -> str:
        """The last of `STATES` that it has reached since it was last issued."""
        return max(self.times, key=STATES.index)


@dataclass(frozen=True, slots=True)
class Issued:
    """What `Ledger.issue` gives; ``again``: the chip was known and keeps its identity."""

    entry: Entry
    again: bool


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the ledger of this user is."""
    if os.name == "nt" and "LOCALAPPDATA" in environ:
        return Path(environ["LOCALAPPDATA"]) / "stoep" / "boards.db"
    share = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME", "~")) / ".local" / "share"
    return Path(share).expanduser() / "stoep" / "boards.db"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Ledger:
    """The ledger at a path; a context manager that any thread may use.

    ``secret`` is its key file, else ``PATH.key``. Every change is durable when its call returns;
    one that raises `FlashError` has changed nothing.
    """

    def __init__(
        self, path: Path, secret: Path | None = None, now_ms: Callable[[], int] = _now_ms
    ) -> None:
        self.path = path
        self._now_ms = now_ms
        self._lock = threading.RLock()
        secret = path.with_name(path.name + ".key") if secret is None else secret
        try:
            _make_folder(path.parent)
            _make_empty(path)
            self._connection = sqlite3.connect(
                path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise FlashError(
                f"the ledger {path} cannot be opened: {_reason(error)}",
                "name a place that you may write to",
                USAGE,
            ) from None
        try:
            with self._failures():
                # In this mode only EXTRA syncs the folder after the journal's end, which commits.
                self._connection.execute("PRAGMA journal_mode = DELETE")
                self._connection.execute("PRAGMA synchronous = EXTRA")
                self._connection.execute("PRAGMA foreign_keys = ON")
            self._sealer = self._begin(secret)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close it; nothing is lost without."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def issue(
        self,
        mac: bytes,
        board: str,
        kind: str,
        region: str,
        *,
        lorawan: str = "1.0.4",
        join_eui: bytes | None = None,
        euis: EuiRange | None = None,
        dev_nonce: int | None = None,
        new_key: bool = False,
        asset: str | None = None,
        name: str | None = None,
        serial: str | None = None,
    ) -> Issued:
        """Give a chip its identity: a new one, or the one that it has had.

        ``dev_nonce`` is what its own records say is next, None if they could not be read. With
        ``new_key`` a known one keeps its EUIs only. Asset, name and serial that are None stay as
        they were; empty ones are taken away.
        """
        said = {"asset": asset, "name": name, "serial": serial}
        with self._change() as run:
            known = self._find("mac", mac)
            if known is None:
                identity = new_identity(mac, self._is_taken, join_eui, euis)
                start = dev_nonce or 0
                sealed = self._sealer.seal(identity.app_key, identity.dev_eui)
                texts = tuple(text or None for text in said.values())
                what = (board, kind, region, lorawan)
                run(
                    f"INSERT INTO board ({_COLUMNS}) VALUES (NULL{', ?' * 12})",  # noqa: S608
                    (mac, identity.dev_eui, identity.join_eui, sealed, *what, *texts, start),
                )
            else:
                if join_eui is not None and join_eui != known.identity.join_eui:
                    raise FlashError(
                        f"this chip has JoinEUI {known.identity.join_eui.hex()} in the ledger,"
                        f" not {join_eui.hex()}",
                        "leave the JoinEUI out: the board keeps its identity",
                        USAGE,
                    )
                identity = known.identity
                key = secrets.token_bytes(len(identity.app_key)) if new_key else identity.app_key
                start = 0 if new_key else _next_start(known, dev_nonce)
                kept = [
                    getattr(known, text) if said[text] is None else said[text] or None
                    for text in _TEXTS
                ]
                sealed = self._sealer.seal(key, identity.dev_eui)
                run(
                    "UPDATE board SET app_key = ?, board = ?, kind = ?, region = ?, lorawan = ?,"
                    " asset = ?, name = ?, serial = ?, dev_nonce = ? WHERE number = ?",
                    (sealed, board, kind, region, lorawan, *kept, start, known.number),
                )
            self._add_event(self.of_mac(mac).number, "issued")
            entry = self.of_mac(mac)
        return Issued(entry, known is not None)

    def mark(self, dev_eui: bytes, state: str) -> Entry:
        """Note that a board has reached a state."""
        with self._change():
            self._add_event(self.of(dev_eui).number, state)
            return self.of(dev_eui)

    def place(
        self,
        dev_eui: bytes,
        *,
        asset: str | None = None,
        name: str | None = None,
        serial: str | None = None,
    ) -> Entry:
        """Note where a board belongs and what it is called.

        What is None stays as it was, what is empty is taken away.
        """
        said = {"asset": asset, "name": name, "serial": serial}
        with self._change() as run:
            number = self.of(dev_eui).number
            for key, value in said.items():
                if value is not None:
                    set_it = f"UPDATE board SET {key} = ? WHERE number = ?"  # noqa: S608
                    run(set_it, (value or None, number))
            return self.of(dev_eui)

    def move(self, dev_eui: bytes, mac: bytes, dev_nonce: int) -> Entry:
        """Note that another chip has a board's identity now, and with which DevNonce it begins.

        A chip that was issued one of its own gives that to the chip that is replaced: each stands
        in the ledger once, and nothing is issued twice.
        """
        with self._change() as run:
            entry, other = self.of(dev_eui), self._find("mac", mac)
            if other is not None and other.number != entry.number:
                set_mac = "UPDATE board SET mac = ? WHERE number = ?"
                run(set_mac, (secrets.token_bytes(len(mac)), entry.number))
                run(set_mac, (entry.mac, other.number))
            run(
                "UPDATE board SET mac = ?, dev_nonce = ? WHERE number = ?",
                (mac, max(entry.dev_nonce, dev_nonce), entry.number),
            )
            return self.of(dev_eui)

    def of(self, dev_eui: bytes) -> Entry:
        """Return a board by its DevEUI. Raises `FlashError` if there is none."""
        return self._one("dev_eui", dev_eui, "DevEUI")

    def of_mac(self, mac: bytes) -> Entry:
        """Return a board by its chip's MAC. Raises `FlashError` if there is none."""
        return self._one("mac", mac, "MAC")

    def find_mac(self, mac: bytes) -> Entry | None:
        """Return a board by its chip's MAC, None if it was never issued."""
        with self._lock, self._failures():
            return self._find("mac", mac)

    def entries(self) -> list[Entry]:
        """Return all boards, in the order in which they came."""
        with self._lock, self._failures():
            return list(self._entries("", ()))

    def unfinished(self) -> list[Entry]:
        """Return the boards that were issued and not verified since."""
        return [entry for entry in self.entries() if "verified" not in entry.times]

    def _one(self, column: str, value: bytes, what: str) -> Entry:
        with self._lock, self._failures():
            entry = self._find(column, value)
        if entry is None:
            raise FlashError(
                f"no board with {what} {value.hex()} is in the ledger {self.path}", exit_code=USAGE
            )
        return entry

    def _begin(self, secret: Path) -> sealing.Sealer:
        """Make the layout, or check that it is ours and the key the right one."""
        with self._change() as run:
            version = int(run("PRAGMA user_version").fetchone()[0])
            owner = int(run("PRAGMA application_id").fetchone()[0])
            is_new = version == 0 and not run("SELECT 1 FROM sqlite_schema").fetchall()
            if not is_new and owner != _APPLICATION_ID:
                raise FlashError(f"{self.path} is no ledger of boards", "name another", USAGE)
            if version > len(_LAYOUTS):
                raise FlashError(
                    f"the ledger {self.path} was written by a newer stoep", "update stoep", USAGE
                )
            for layout in _LAYOUTS[version:]:
                for statement in layout.split(";\n"):
                    run(statement)
            run(f"PRAGMA application_id = {_APPLICATION_ID}")
            run(f"PRAGMA user_version = {len(_LAYOUTS)}")
            row = run("SELECT check_value FROM sealed").fetchone()
            sealer = sealing.Sealer(sealing.load_key(secret, must_exist=row is not None))
            if row is None:
                run("INSERT INTO sealed VALUES (?)", (sealer.check_value,))
            elif not hmac.compare_digest(row[0], sealer.check_value):
                raise FlashError(
                    f"{secret} is not the key of the ledger {self.path}",
                    "put back the key file that belongs to it",
                    USAGE,
                )
        return sealer

    @contextmanager
    def _change(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Give what runs a statement within one change, all of it or nothing."""
        with self._lock, self._failures():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            raise FlashError(
                f"nothing was issued or noted, for the ledger {self.path} failed: {error}",
                _REMEDIES.get(code, "make room on the disk, or name another place"),
            ) from None

    def _add_event(self, number: int, state: str) -> None:
        self._connection.execute(
            "INSERT INTO event (number, state, utc_ms) VALUES (?, ?, ?)",
            (number, state, self._now_ms()),
        )

    def _is_taken(self, dev_eui: bytes) -> bool:
        statement = "SELECT 1 FROM board WHERE dev_eui = ?"
        return self._connection.execute(statement, (dev_eui,)).fetchone() is not None

    def _find(self, column: str, value: bytes) -> Entry | None:
        return next(self._entries(f"WHERE {column} = ?", (value,)), None)

    def _entries(self, where: str, values: tuple[Any, ...]) -> Iterator[Entry]:
        run = self._connection.execute
        rows = run(f"SELECT {_COLUMNS} FROM board {where} ORDER BY number", values)  # noqa: S608
        for number, mac, dev_eui, join_eui, sealed, *rest in rows.fetchall():
            board, kind, region, lorawan, asset, name, serial, dev_nonce = rest
            times: dict[str, int] = {}
            flashed = 0
            events = run("SELECT state, utc_ms FROM event WHERE number = ? ORDER BY id", (number,))
            for state, utc_ms in events:
                if state == "issued":
                    times.clear()
                    flashed += 1
                times[state] = utc_ms
            identity = Identity(dev_eui, join_eui, self._sealer.open(sealed, dev_eui))
            yield Entry(
                number=number,
                mac=mac,
                identity=identity,
                board=board,
                kind=kind,
                region=region,
                lorawan=lorawan,
                asset=asset,
                name=name,
                serial=serial,
                dev_nonce=dev_nonce,
                times=times,
                flashed=flashed,
            )


def _next_start(known: Entry, read_back: int | None) -> int:
    """Return where a board goes on with its DevNonces, by what it began with the last time."""
    start = known.dev_nonce
    if read_back is None:
        # One that was never written can hardly have asked for anything.
        start += SAFE_STEP if "written" in known.times else _RETRY_STEP
    start = max(start, read_back or 0)
    if start > MAX_DEV_NONCE:
        raise FlashError("this board's DevNonces are used up", "give it a new key", USAGE)
    return start


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _make_empty(path: Path) -> None:
    """Make the file if it is not there: SQLite would make it readable by others.

    One that is there is not opened: to close it again would end the locks of this process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _make_folder(path: Path) -> None:
    """Make a folder, the user's alone, whose name lasts."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sealing.sync_folder(path.parent)


def listing(entries: Iterable[Entry]) -> str:
    """Return boards as CSV for people and spreadsheets, without any key."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_WHOSE, *_HOW, *_TEXTS, "dev_nonce", "flashed", "state", *STATES))
    for entry in entries:
        identity = entry.identity
        texts = [getattr(entry, key) or "" for key in _TEXTS]
        times = [_utc(entry.times[state]) if state in entry.times else "" for state in STATES]
        whose = (entry.number, entry.mac.hex(":"), identity.dev_eui.hex(), identity.join_eui.hex())
        how = [getattr(entry, key) for key in _HOW]
        done = (entry.dev_nonce, entry.flashed, entry.state)
        writer.writerow((*whose, *how, *texts, *done, *times))
    return text.getvalue()


def _utc(utc_ms: int) -> str:
    return datetime.fromtimestamp(utc_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

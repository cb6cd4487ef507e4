"""SQLite behind one writer thread that groups transactions under one fsync.

The event loop hands over ``Record`` values and goes on; the thread takes all that have gathered,
writes them in one transaction (WAL, ``synchronous=FULL``) and only after the commit calls back on
the loop, in the order of submission. A record is on the disk wholly or not at all.

The thread's statements carry many rows each. A statement per row would give up and take back the
interpreter's lock for every row, and under load each taking back waits for the event loop.

A commit that fails is fatal: what memory holds is then ahead of the disk, and only a restart from
the disk is honest.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from stoep_gateway.errors import FatalError, LocalProtocolError
from stoep_gateway.store.faults import fatal
from stoep_gateway.store.migrate import migrate
from stoep_gateway.store.records import (
    LatestRow,
    NonceRow,
    OutboxRow,
    Record,
    SessionRow,
    State,
)

__all__ = ["OUTBOX_PAGE", "Store"]

OUTBOX_PAGE = 2000
_MAX_GROUP = 512
_ROWS_PER_STATEMENT = 32

_OPEN_BUSY_MS = 5_000
_COMMIT_BUSY_MS = 30_000  # somebody may copy or compact the database: nothing is lost meanwhile

_PRAGMAS = (
    f"PRAGMA busy_timeout = {_OPEN_BUSY_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",
    "PRAGMA journal_size_limit = 16777216",
)
_OUTBOX_COLUMNS = "outbox_id, kind, topic, payload, retain, created_utc_ms"
_SESSION_COLUMNS = (
    "session_id, dev_eui, dev_addr, nwk_s_key, app_s_key, app_nonce, confirmed, created_utc_ms"
)


def _statements(insert: str, columns: int, conflict: str = "") -> list[str]:
    """Return SQL for 0 to ``_ROWS_PER_STATEMENT`` rows, at the index of their number."""
    row = "(" + ", ".join("?" * columns) + ")"
    return [
        f"INSERT INTO {insert} VALUES " + ", ".join([row] * rows) + conflict  # noqa: S608 (constants)
        for rows in range(_ROWS_PER_STATEMENT + 1)
    ]


_SESSIONS = _statements(f"device_session ({_SESSION_COLUMNS})", 8)
_NONCES = _statements("dev_nonce (dev_eui, dev_nonce, app_nonce, joined_utc_ms)", 4)
_COUNTERS = _statements(
    "frame_counter (session_id, f_cnt_up, f_cnt_down)",
    3,
    " ON CONFLICT (session_id) DO UPDATE SET"
    " f_cnt_up = excluded.f_cnt_up, f_cnt_down = excluded.f_cnt_down"
    " WHERE excluded.f_cnt_up > f_cnt_up AND excluded.f_cnt_down >= f_cnt_down"
    " OR excluded.f_cnt_up = f_cnt_up AND excluded.f_cnt_down > f_cnt_down",
)
_UPLINKS = _statements(
    "uplink (received_utc_ms, dev_eui, session_id, f_cnt_up, f_port, frm_payload, undecodable,"
    " freq_hz, dr, receptions)",
    10,
)
_OUTBOX = _statements(f"outbox ({_OUTBOX_COLUMNS})", 6)
_LATEST = _statements(
    "latest (asset, state)", 2, " ON CONFLICT (asset) DO UPDATE SET state = excluded.state"
)
_GATEWAYS = _statements(
    "gateway (gateway_eui, last_seen_utc_ms, stat)",
    3,
    " ON CONFLICT (gateway_eui) DO UPDATE SET"
    " last_seen_utc_ms = excluded.last_seen_utc_ms, stat = excluded.stat",
)

_T = TypeVar("_T")
_Done = Callable[[], None]


class _Write(NamedTuple):
    record: Record
    done: _Done | None


class _Read(NamedTuple):
    after_id: int
    done: Callable[[list[OutboxRow]], None]


_Order = _Write | _Read | None  # None closes


class Store:
    """The gateway's memory; every method is called on the event loop's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock_file: IO[str] | None = None
        self.failure: asyncio.Future[None] = self._loop.create_future()

    async def open(self) -> State:
        """Open, migrate and read the database.

        Raises ``StoreCorrupt``, or ``FatalError`` when it cannot be opened or another process has
        it open.
        """
        self._lock_file = _lock(self._path)
        opened: asyncio.Future[State] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="store-writer", daemon=True
        )
        self._thread.start()
        try:
            return await opened
        except FatalError:
            await self.close()
            raise

    def submit(self, record: Record, done: _Done | None = None) -> None:
        """Write a record; ``done`` is called on the loop after the fsync that covers it."""
        self._orders.put(_Write(record, done))

    def read_outbox(self, after_id: int, done: Callable[[list[OutboxRow]], None]) -> None:
        """Read up to ``OUTBOX_PAGE`` rows beyond ``after_id``, after all that was submitted."""
        self._orders.put(_Read(after_id, done))

    async def close(self) -> None:
        """Write what was submitted, call back for it, and close the database."""
        if self._thread is not None:
            self._orders.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    # The writer's thread.

    def _run(self, opened: asyncio.Future[State]) -> None:
        try:
            connection = sqlite3.connect(
                self._path, isolation_level=None, cached_statements=8 * _ROWS_PER_STATEMENT
            )
        except sqlite3.Error as error:
            self._call(_fail, opened, fatal(self._path, error))
            return
        try:
            try:
                state = _open(connection, self._path)
            except sqlite3.Error as error:
                self._call(_fail, opened, fatal(self._path, error))
                return
            except FatalError as error:
                self._call(_fail, opened, error)
                return
            self._call(_succeed, opened, state)
            self._write_until_closed(connection)
        except sqlite3.Error as error:
            self._call(_fail, self.failure, fatal(self._path, error, "commit failed: "))
        except LocalProtocolError as error:
            self._call(_fail, self.failure, FatalError(f"{self._path}: commit failed: {error}"))
        finally:
            connection.close()

    def _write_until_closed(self, connection: sqlite3.Connection) -> None:
        closing = False
        while not closing:
            orders = _take(self._orders)
            writes = [order for order in orders if type(order) is _Write]
            if writes:
                _write(connection, [order.record for order in writes])
                self._call(_call_all, [order.done for order in writes if order.done is not None])
            for order in orders:
                if type(order) is _Read:
                    self._call(order.done, _read_outbox(connection, order.after_id))
            closing = None in orders

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(callback, *arguments)


def _take(orders: queue.SimpleQueue[_Order]) -> list[_Order]:
    """Wait for an order, and take with it what else has gathered."""
    taken = [orders.get()]
    try:
        while len(taken) < _MAX_GROUP:
            taken.append(orders.get_nowait())
    except queue.Empty:
        pass
    return taken


def _call_all(callbacks: list[_Done]) -> None:
    for callback in callbacks:
        callback()


def _succeed(future: asyncio.Future[State], state: State) -> None:
    if not future.done():
        future.set_result(state)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _make_folder(folder: Path) -> None:
    """Make a folder that outlives a power cut: SQLite syncs the names in it, but not its own."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _lock(path: Path) -> IO[str]:
    path = path.resolve()  # one lock, by whatever name the database is called
    lock = path.with_name(path.name + ".lock")
    try:
        _make_folder(path.parent)
        file = lock.open("w", encoding="utf-8")
    except OSError as error:
        raise FatalError(
            f"{lock}: {error.strerror}; the gateway's user must be able to write there"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise FatalError(f"{path}: another gateway has it open") from error
    return file


def _open(connection: sqlite3.Connection, path: Path) -> State:
    for pragma in _PRAGMAS:
        connection.execute(pragma).fetchall()
    migrate(connection, path)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {_COMMIT_BUSY_MS}").fetchall()
    sessions = connection.execute(
        f"SELECT {_SESSION_COLUMNS}, f_cnt_up, f_cnt_down"  # noqa: S608 (constants)
        " FROM device_session JOIN frame_counter USING (session_id) ORDER BY session_id"
    )
    (last_outbox_id,) = connection.execute(
        "SELECT ifnull(max(outbox_id), 0) FROM outbox"
    ).fetchone()
    (last_session_id,) = connection.execute(
        "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'device_session'"
    ).fetchone()
    return State(
        sessions=tuple((SessionRow(*row[:8]), row[8], row[9]) for row in sessions),
        nonces=tuple(
            NonceRow(*row)
            for row in connection.execute(
                "SELECT dev_eui, dev_nonce, app_nonce, joined_utc_ms FROM dev_nonce"
            )
        ),
        latest=tuple(
            LatestRow(*row) for row in connection.execute("SELECT asset, state FROM latest")
        ),
        outbox=tuple(_read_outbox(connection, 0)),
        last_outbox_id=last_outbox_id,
        last_session_id=last_session_id,
    )


def _read_outbox(connection: sqlite3.Connection, after_id: int) -> list[OutboxRow]:
    rows = connection.execute(
        f"SELECT {_OUTBOX_COLUMNS} FROM outbox"  # noqa: S608 (constants)
        " WHERE outbox_id > ? ORDER BY outbox_id LIMIT ?",
        (after_id, OUTBOX_PAGE),
    )
    return [OutboxRow(*row) for row in rows]


def _write(connection: sqlite3.Connection, records: list[Record]) -> None:
    """Commit a group. Raises ``LocalProtocolError`` for a claim that is not one."""
    execute = connection.execute
    sessions = _rows(record.sessions for record in records)
    counters = _rows(record.counters for record in records)
    execute("BEGIN IMMEDIATE")
    try:
        _insert(connection, _SESSIONS, sessions)
        _insert(connection, _COUNTERS, [(row.session_id, -1, 0) for row in sessions])
        _insert(connection, _NONCES, _rows(record.nonces for record in records))
        if _insert(connection, _COUNTERS, counters) != len(counters):
            raise LocalProtocolError("a frame counter was claimed twice")
        for session_id in _rows(record.confirmed_sessions for record in records):
            execute("UPDATE device_session SET confirmed = 1 WHERE session_id = ?", (session_id,))
        _insert(connection, _UPLINKS, _rows(record.uplinks for record in records))
        latest = {row.asset: row for row in _rows(record.latest for record in records)}
        _insert(connection, _LATEST, list(latest.values()))
        _insert(connection, _OUTBOX, _rows(record.outbox for record in records))
        _insert(connection, _GATEWAYS, _rows(record.gateways for record in records))
        for session_id in _rows(record.ended_sessions for record in records):
            execute("DELETE FROM device_session WHERE session_id = ?", (session_id,))
        for first_and_last in _rows(record.published for record in records):
            execute("DELETE FROM outbox WHERE outbox_id BETWEEN ? AND ?", first_and_last)
        execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            execute("ROLLBACK")
        raise


def _rows(tables: Iterable[tuple[_T, ...]]) -> list[_T]:
    return list(chain.from_iterable(tables))


def _insert(
    connection: sqlite3.Connection, statements: list[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    changed = 0
    for at in range(0, len(rows), _ROWS_PER_STATEMENT):
        some = rows[at : at + _ROWS_PER_STATEMENT]
        values = tuple(chain.from_iterable(some))
        changed += connection.execute(statements[len(some)], values).rowcount
    return changed

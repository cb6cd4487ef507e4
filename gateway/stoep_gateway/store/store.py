"""SQLite behind one writer thread that groups transactions under one fsync.

The event loop hands over ``Record`` values and goes on; the thread takes all that have gathered,
writes them in one transaction (WAL, ``synchronous=FULL``) and only after the commit calls back on
the loop, in the order of submission. A record is on the disk wholly or not at all. One that can
wait goes with the next, or alone after ``_PATIENCE_S``: a commit writes all pages that it touches.

A commit that fails is fatal: what memory holds is then ahead of the disk, and only a restart from
the disk is honest.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.metrics import Histogram
from stoep_gateway.store.correcting import Correction, correct
from stoep_gateway.store.faults import fatal
from stoep_gateway.store.migrate import migrate
from stoep_gateway.store.records import OutboxRow, Record, State
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.sql import (
    OUTBOX_PAGE,
    ROWS_PER_STATEMENT,
    read_outbox,
    read_state,
    thin_outbox,
    unlock,
    write_group,
)
from stoep_gateway.store.thinning import Thinned, Thinner

__all__ = ["OUTBOX_PAGE", "Store"]

_MAX_GROUP = 512
_MODE = 0o640  # of a new database: it says who was where

_OPEN_BUSY_MS = 5_000
_COMMIT_BUSY_MS = 30_000  # somebody may copy or compact the database: nothing is lost meanwhile

_PATIENCE_S = 3.0

_PRAGMAS = (
    f"PRAGMA busy_timeout = {_OPEN_BUSY_MS}",
    "PRAGMA page_size = 2048",  # of a new database: an uplink changes a few rows on as many pages
    "PRAGMA journal_mode = WAL",
    "PRAGMA wal_autocheckpoint = 4000",  # 8 MB: a page that changes often is written once
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what is forgotten is gone from the file, too
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -6144",
    "PRAGMA journal_size_limit = 16777216",
)
_COMMIT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_GROUP = (1, 2, 5, 10, 20, 50, 100, 200, 512)
_SLOW_S = 5.0  # a commit, to be told of

_log = logging.getLogger(__name__)
_Done = Callable[[], None]


class _Write(NamedTuple):
    record: Record
    done: _Done | None


class _Read(NamedTuple):
    after_id: int
    done: Callable[[list[OutboxRow]], None]


class _Thin(NamedTuple):
    thinner: Thinner
    done: Callable[[Thinned], None]


_Order = _Write | _Read | _Thin | Correction | None  # None closes


class Store:
    """The gateway's memory; every method is called on the event loop's thread.

    ``open_sealer`` gets the check value of a database that holds sealed keys, else None; ``sealer``
    is what it returned, once the store is open. ``commit_s`` is how long commits took, fsync
    included, ``group`` how many records were in each.
    """

    def __init__(self, path: Path, open_sealer: Callable[[bytes | None], Sealer]) -> None:
        self._path = path
        self._open_sealer = open_sealer
        self.sealer: Sealer
        self._loop = asyncio.get_running_loop()
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._patient: list[_Write] = []
        self._patience: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._lock_file: IO[str] | None = None
        self._opened: asyncio.Future[State]
        self.failure: asyncio.Future[None] = self._loop.create_future()
        self.commit_s = Histogram(_COMMIT_S)
        self.group = Histogram(_GROUP)
        self._slow = False

    async def open(self) -> State:
        """Open, migrate and read the database.

        Raises ``StoreCorrupt``, or ``FatalError`` when it cannot be opened or another process has
        it open.
        """
        self._lock_file = _lock(self._path)
        self._opened = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()
        try:
            return await self._opened
        except FatalError:
            await self.close()
            raise
        finally:
            del self._opened  # and with it what was read, megabytes

    def submit(self, record: Record, done: _Done | None = None) -> None:
        """Write a record; ``done`` is called on the loop after the fsync that covers it."""
        if self._patience is not None:
            self._hurry()
        self._orders.put(_Write(record, done))

    def submit_patiently(self, record: Record) -> None:
        """Write a record with the next one, or within seconds; a crash may come before."""
        if self._patience is None:
            self._patience = self._loop.call_later(_PATIENCE_S, self._hurry)
        self._patient.append(_Write(record, None))

    def read_outbox(self, after_id: int, done: Callable[[list[OutboxRow]], None]) -> None:
        """Read up to ``OUTBOX_PAGE`` rows beyond ``after_id``, after all that was submitted."""
        self._orders.put(_Read(after_id, done))

    def thin_outbox(self, thinner: Thinner, done: Callable[[Thinned], None]) -> None:
        """Make a step of a thinning, after all that was submitted; it is ``thinner``'s only one."""
        self._hurry()
        self._orders.put(_Thin(thinner, done))

    def correct(self, correction: Correction) -> None:
        """Correct all that was submitted before, and nothing after."""
        self._orders.put(correction)

    async def close(self) -> None:
        """Write what was submitted, call back for it, and close the database."""
        if self._thread is not None:
            self._hurry()
            self._orders.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def _hurry(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        for write in self._patient:
            self._orders.put(write)
        self._patient.clear()

    # The writer's thread.

    def _run(self) -> None:
        opened = self._opened
        try:
            connection = sqlite3.connect(
                self._path, isolation_level=None, cached_statements=10 * ROWS_PER_STATEMENT
            )
        except sqlite3.Error as error:
            self._call(_fail, opened, fatal(self._path, error))
            return
        try:
            try:
                state = self._open(connection)
            except sqlite3.Error as error:
                self._call(_fail, opened, fatal(self._path, error))
                return
            except FatalError as error:
                self._call(_fail, opened, error)
                return
            except (AttributeError, TypeError, ValueError) as error:
                what = f"{self._path}: it holds what no gateway wrote: {error}; restore a copy"
                self._call(_fail, opened, StoreCorrupt(what))
                return
            self._call(_succeed, opened, state)
            del opened, state
            self._write_until_closed(connection)
        except sqlite3.Error as error:
            self._call(_fail, self.failure, fatal(self._path, error, "commit failed: "))
        except Exception as error:  # noqa: BLE001 (without this thread nothing is recorded)
            self._call(_fail, self.failure, FatalError(f"{self._path}: commit failed: {error}"))
        finally:
            connection.close()

    def _open(self, connection: sqlite3.Connection) -> State:
        for pragma in _PRAGMAS:
            connection.execute(pragma).fetchall()
        migrate(connection, self._path)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA busy_timeout = {_COMMIT_BUSY_MS}").fetchall()
        self.sealer = unlock(connection, self._open_sealer)
        return read_state(connection, self.sealer)

    def _write_until_closed(self, connection: sqlite3.Connection) -> None:
        closing = False
        while not closing:
            orders = _take(self._orders)
            writes = [order for order in orders if type(order) is _Write]
            if writes:
                began_s = time.perf_counter()
                write_group(connection, [order.record for order in writes], self.sealer)
                self._note(time.perf_counter() - began_s, len(writes))
                self._call(_call_all, [order.done for order in writes if order.done is not None])
            for order in orders:
                if type(order) is _Read:
                    self._call(order.done, read_outbox(connection, order.after_id))
                elif type(order) is _Thin:
                    self._call(order.done, thin_outbox(connection, order.thinner))
                elif type(order) is Correction:  # the last of its group
                    correct(connection, order)
            closing = None in orders

    def _note(self, commit_s: float, records: int) -> None:
        self.commit_s.observe(commit_s)
        self.group.observe(records)
        if (commit_s > _SLOW_S) != self._slow:
            self._slow = not self._slow
            if self._slow:
                why = "somebody has locked the database, or the disk is busy or worn"
                _log.warning("%s: a commit took %.1f s: %s", self._path, commit_s, why)
            else:
                _log.info("%s: commits are quick again", self._path)

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(callback, *arguments)


def _take(orders: queue.SimpleQueue[_Order]) -> list[_Order]:
    """Wait for an order, and take with it what else has gathered."""
    taken = [orders.get()]
    try:
        while len(taken) < _MAX_GROUP and type(taken[-1]) is not Correction:
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
        path.touch(_MODE)  # what SQLite puts beside it gets its mode
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

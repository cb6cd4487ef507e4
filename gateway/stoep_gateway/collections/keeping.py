"""Collections in the store of a gateway that is not running: written with its lock held."""

from __future__ import annotations

import fcntl
import sqlite3
from contextlib import closing
from pathlib import Path

from stoep_gateway.errors import FatalError
from stoep_gateway.keeping.files import give_to_owner
from stoep_gateway.store.faults import fatal
from stoep_gateway.store.migrate import latest_version
from stoep_gateway.store.records import Record
from stoep_gateway.store.sql import write_collections

__all__ = ["write"]

_COUNT = "SELECT count(*) FROM collection"


def write(path: Path, record: Record) -> tuple[int, int]:
    """Forget and add what a record says of collections, wholly or not at all.

    Returns how many rows there were before and are then. Raises `FatalError` if a gateway has it
    open, or if it is none of this version.
    """
    if not path.exists():
        raise FatalError(f"{path}: no such database; has the gateway run with this configuration?")
    try:
        with Path(f"{path.resolve()}.lock").open("w") as lock:
            give_to_owner(Path(lock.name))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FatalError(
                    f"{path}: a gateway has it open, and does not answer at its control socket"
                ) from None
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                return _write(connection, path, record)
    except OSError as error:
        raise FatalError(f"{error.filename or path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise fatal(path, error) from error


def _write(connection: sqlite3.Connection, path: Path, record: Record) -> tuple[int, int]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != latest_version():
        raise FatalError(
            f"{path}: its version is {version}; start the gateway once, it migrates it"
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    (before,) = connection.execute(_COUNT).fetchone()
    write_collections(connection, record)
    (after,) = connection.execute(_COUNT).fetchone()
    connection.execute("COMMIT")
    return before, after

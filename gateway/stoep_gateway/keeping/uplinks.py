"""Looking at the stored uplinks from a connection of one's own, a bounded number at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from stoep_gateway.errors import FatalError
from stoep_gateway.keeping.retention import StoredUplink
from stoep_gateway.store.faults import fatal

__all__ = ["connect", "marks", "window"]

_BUSY_MS = 5_000
# The newest stays, whatever its age: with it the numbers would begin again.
_WINDOW = (
    "SELECT uplink_id, received_utc_ms, dev_eui, f_port, undecodable FROM uplink"
    " WHERE uplink_id > ? AND uplink_id < (SELECT max(uplink_id) FROM uplink)"
    " ORDER BY uplink_id LIMIT ?"
)


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to read, also while the gateway writes to it.

    Raises `FatalError` if there is none, or for what SQLite says then or later.
    """
    if not path.exists():
        raise FatalError(f"{path}: no such database; has the gateway run with this configuration?")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}").fetchall()
            yield connection
    except sqlite3.Error as error:
        raise fatal(path, error) from error


def marks(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how far each rule of `retention` is through."""
    return dict(connection.execute("SELECT rule, uplink_id FROM retention").fetchall())


def window(connection: sqlite3.Connection, after_id: int, limit: int) -> list[StoredUplink]:
    """Return up to ``limit`` uplinks after ``after_id`` but for the newest, in order."""
    return [StoredUplink(*row) for row in connection.execute(_WINDOW, (after_id, limit))]

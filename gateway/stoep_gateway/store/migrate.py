"""Numbered SQL migrations: ``migrations/NNNN_what.sql``, each run once, whole or not at all.

``PRAGMA user_version`` holds the number of the last one. Foreign keys are off while a migration
runs, because rebuilding a table with them on empties its children, and checked before the commit.
A database that is about to be changed is copied first.
"""

from __future__ import annotations

import logging
import sqlite3
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from stoep_gateway.errors import StoreCorrupt

__all__ = ["latest_version", "migrate", "versions"]

_log = logging.getLogger(__name__)


def latest_version() -> int:
    """Return the number of the newest migration."""
    return versions()[-1]


def versions() -> list[int]:
    """Return the numbers of all migrations, in order."""
    return [number for number, _ in _migrations()]


def migrate(connection: sqlite3.Connection, path: Path, *, to: int | None = None) -> None:
    """Bring the database to version ``to`` (default: the newest).

    ``connection`` must be in autocommit mode. Raises ``StoreCorrupt`` for a database of a newer
    program and for one whose rows a migration would leave without their parents; ``sqlite3.Error``
    leaves the database as it was.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > latest_version():
        raise StoreCorrupt(
            f"{path}: its version {version} is newer than this program's {latest_version()};"
            " install the program that wrote it, or a newer one"
        )
    due = [
        (number, script)
        for number, script in _migrations()
        if number > version and (to is None or number <= to)
    ]
    if not due:
        return
    if version:
        _back_up(connection, path, version)
    connection.execute("PRAGMA foreign_keys = OFF")
    for number, script in due:
        try:
            connection.executescript("BEGIN IMMEDIATE;\n" + script.read_text(encoding="utf-8"))
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise StoreCorrupt(f"{path}: migration {script.name} would orphan rows")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        _log.info("%s: migrated by %s", path, script.name)


def _migrations() -> list[tuple[int, Traversable]]:
    folder = files("stoep_gateway.store") / "migrations"
    found = [(int(script.name[:4]), script) for script in folder.iterdir() if script.name[0] == "0"]
    return sorted(found, key=lambda numbered: numbered[0])


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    copy = path.with_name(f"{path.name}.version-{version}")
    copy.unlink(missing_ok=True)
    copy.touch(0o600)  # the first version did not seal its keys
    target = sqlite3.connect(copy)
    try:
        connection.backup(target)
    finally:
        target.close()
    _log.warning("%s: copied to %s, which may be deleted once all is well", path, copy)

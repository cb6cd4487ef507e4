"""Numbered SQL migrations: ``migrations/NNNN_what.sql``, each run once; all that are due, or none.

``PRAGMA user_version`` holds the number of the last one; there never was a 5. Foreign keys are off
while a migration runs, because rebuilding a table with them on empties its children, and checked
before the commit. A database that is about to be changed is copied first.
"""

from __future__ import annotations

import logging
import sqlite3
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.store.faults import fatal

__all__ = ["latest_version", "migrate", "versions"]

_log = logging.getLogger(__name__)


def latest_version() -> int:
    """Return the number of the newest migration."""
    return versions()[-1]


def versions() -> list[int]:
    """Return the numbers of all migrations, in order."""
    return [number for number, _ in _migrations()]


def migrate(
    connection: sqlite3.Connection, path: Path, *, to: int | None = None, copy_first: bool = True
) -> None:
    """Bring the database to version ``to`` (default: the newest), wholly or not at all.

    ``connection`` must be in autocommit mode. Raises ``StoreCorrupt`` for a database of a newer
    program and for one whose rows a migration would leave without their parents, ``FatalError`` if
    it cannot be copied first; ``sqlite3.Error`` leaves the database as it was.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > latest_version():
        raise StoreCorrupt(_newer(path, version))
    due = [
        (number, script)
        for number, script in _migrations()
        if number > version and (to is None or number <= to)
    ]
    if not due:
        return
    if version and copy_first:
        _back_up(connection, path, version)
    connection.execute("PRAGMA foreign_keys = OFF")
    scripts = [script.read_text(encoding="utf-8") for _, script in due]
    try:
        connection.executescript("\n".join(["BEGIN IMMEDIATE;", *scripts]))
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise StoreCorrupt(f"{path}: the migration to version {due[-1][0]} would orphan rows")
        connection.execute(f"PRAGMA user_version = {due[-1][0]}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    _log.info("%s: migrated by %s", path, ", ".join(script.name for _, script in due))


def _newer(path: Path, version: int) -> str:
    """Say what to do about a database of a newer program."""
    newest = latest_version()
    said = (
        f"{path}: its version {version} is newer than this program's {newest};"
        " install the program that wrote it, or a newer one"
    )
    copies = (_copy(path, number) for number in range(newest, 0, -1))
    found = next((copy for copy in copies if copy.exists()), None)
    if found is None:
        return said
    return (
        f"{said}; or go back to the copy that was made before: move {path} away, then"
        f" stoep gateway restore {found}"
    )


def _migrations() -> list[tuple[int, Traversable]]:
    folder = files("stoep_gateway.store") / "migrations"
    found = [(int(script.name[:4]), script) for script in folder.iterdir() if script.name[0] == "0"]
    return sorted(found, key=lambda numbered: numbered[0])


def _copy(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.version-{version}")


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    copy = _copy(path, version)
    partial = copy.with_name(copy.name + ".partial")
    try:
        try:
            partial.unlink(missing_ok=True)
            partial.touch(0o600)  # the first version did not seal its keys
            target = sqlite3.connect(partial)
            try:
                connection.backup(target)  # with an fsync
            finally:
                target.close()
            partial.replace(copy)
        finally:
            partial.unlink(missing_ok=True)
    except sqlite3.Error as error:
        raise fatal(partial, error, "no copy can be made before it is migrated: ") from error
    except OSError as error:
        raise FatalError(
            f"{partial}: {error.strerror}: no copy can be made of {path} before it is migrated"
        ) from error
    _log.warning("%s: copied to %s, which may be deleted once all is well", path, copy)

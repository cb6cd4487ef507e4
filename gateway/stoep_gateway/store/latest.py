"""A look at the stored states of a gateway's assets, also while it is running."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.planning.plan import Plan, loads
from stoep_gateway.store.faults import fatal
from stoep_gateway.store.records import CollectionRow, LatestRow

__all__ = [
    "count_collections",
    "read_collections",
    "read_forecasts",
    "read_latest",
    "read_outcomes",
    "read_plans",
]

_HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE name = ?"


def read_latest(path: Path) -> tuple[LatestRow, ...]:
    """Read the table ``latest`` without writing anything.

    Raises `FatalError` if there is no database, `StoreCorrupt` if it is not one of ours.
    """
    return tuple(LatestRow(*row) for row in _read(path, "SELECT asset, state FROM latest"))


def read_forecasts(path: Path) -> dict[str, str]:
    """Read what forecasts have learned, by what it is about; nothing from an older database.

    Raises as `read_latest`.
    """
    return dict(_read(path, "SELECT about, learned FROM forecast", since="forecast"))


def read_collections(path: Path, from_ms: int, to_ms: int) -> list[CollectionRow]:
    """Read who told of an emptying from a time until before another, in order of time.

    Nothing from an older database. Raises as `read_latest`.
    """
    query = (
        f"SELECT {', '.join(CollectionRow._fields)} FROM collection"  # noqa: S608 (constants)
        " WHERE at_utc_ms >= ? AND at_utc_ms < ? ORDER BY at_utc_ms, container, source"
    )
    rows = _read(path, query, (from_ms, to_ms), since="collection")
    return [CollectionRow(*row) for row in rows]


def read_plans(path: Path, first_date: str, last_date: str) -> list[Plan]:
    """Read the plans of local dates ("2026-10-20"), both included, in their order.

    Of a past date it is the last that was in force on it; one that is ``provisional`` has never
    been. Nothing from an older database. Raises as `read_latest`.
    """
    query = "SELECT plan FROM round_plan WHERE date BETWEEN ? AND ? ORDER BY date"
    rows = _read(path, query, (first_date, last_date), since="round_plan")
    try:
        return [loads(row[0]) for row in rows]
    except ValueError as error:
        raise StoreCorrupt(f"{path}: {error}") from None


def count_collections(path: Path) -> int:
    """Count the rows of the table ``collection``. Raises as `read_latest`."""
    return int(_read(path, "SELECT count(*) FROM collection")[0][0])


def read_outcomes(path: Path, first_date: str, last_date: str) -> dict[str, str]:
    """Read what became of the stops of local dates, both included, as JSON by date.

    Nothing from an older database. Raises as `read_latest`.
    """
    query = "SELECT date, stops FROM outcome WHERE date BETWEEN ? AND ? ORDER BY date"
    return dict(_read(path, query, (first_date, last_date), since="outcome"))


def _read(
    path: Path, query: str, values: tuple[Any, ...] = (), *, since: str | None = None
) -> list[Any]:
    """Return the rows; none from a database older than the table ``since``."""
    if not path.exists():
        raise FatalError(f"{path}: no such database; has the gateway run with this configuration?")
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            connection.execute("PRAGMA busy_timeout = 5000")
            if since is not None and not connection.execute(_HAS_TABLE, (since,)).fetchone():
                return []
            return connection.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise fatal(path, error) from error

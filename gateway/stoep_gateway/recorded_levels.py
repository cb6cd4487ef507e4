"""Levels that somebody recorded: a CSV of ``container``, ``time_utc`` and ``fill_pct``.

As a spreadsheet saves it, too: with semicolons, and decimal commas then.
"""

from __future__ import annotations

import csv
import datetime
import itertools
from collections.abc import Container, Iterator
from pathlib import Path

from stoep_gateway.errors import FatalError

__all__ = ["read"]

_SHOWN = 20  # rows that cannot be used; more of them would only say the same
_FILL_MAX_PCT = 200.0


def read(path: Path, names: Container[str]) -> tuple[dict[str, list[tuple[int, float]]], list[str]]:
    """Return (UTC ms, percent) by container, in order of time, and what to tell of rows left out.

    Only of containers of these names; one without a row is not in it. Raises `FatalError` for a
    file that is no such table.
    """
    levels: dict[str, list[tuple[int, float]]] = {}
    bad: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in _rows(file, path):
                try:
                    name, at_ms, fill_pct = _level(row)
                except AttributeError:
                    bad.append(f"{path}:{line}: is too short; skipped")
                    continue
                except (OverflowError, ValueError) as error:
                    bad.append(f"{path}:{line}: {error}; skipped")
                    continue
                if name in names:
                    levels.setdefault(name, []).append((at_ms, fill_pct))
    except OSError as error:
        raise FatalError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise FatalError(f"{path}: is not a table (CSV) in UTF-8 text") from None
    if len(bad) > _SHOWN:
        bad[_SHOWN:] = [f"{path}: and {len(bad) - _SHOWN} more rows skipped"]
    return {name: sorted(of) for name, of in levels.items()}, bad


def _rows(file: Iterator[str], path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    head = next(file, "")
    reader = csv.DictReader(itertools.chain([head], file), delimiter=";" if ";" in head else ",")
    columns = {name.strip().lower() for name in reader.fieldnames or ()}
    if missing := {"container", "time_utc", "fill_pct"} - columns:
        raise FatalError(f"{path}:1: has no column {', '.join(sorted(missing))}")
    for row in reader:
        yield reader.line_num, {key.strip().lower(): value for key, value in row.items() if key}


def _level(row: dict[str, str]) -> tuple[str, int, float]:
    try:
        at = datetime.datetime.fromisoformat(row["time_utc"].strip())
    except ValueError:
        message = f"{row['time_utc']!r} is no time: write 2026-01-31T06:00Z"
        raise ValueError(message) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    fill_pct = float(row["fill_pct"].replace(",", "."))
    if not 0 <= fill_pct <= _FILL_MAX_PCT:
        raise ValueError(f"fill_pct is from 0 to {_FILL_MAX_PCT:.0f}, not {row['fill_pct']}")
    return row["container"].strip(), round(at.timestamp() * 1000), fill_pct

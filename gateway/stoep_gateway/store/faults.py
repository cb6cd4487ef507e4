"""What an operator can do about what SQLite says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from stoep_gateway.errors import FatalError, StoreCorrupt

__all__ = ["fatal"]

_REMEDIES = {
    sqlite3.SQLITE_BUSY: "another program has locked it; end that one first",
    sqlite3.SQLITE_CANTOPEN: "is its folder there, and may the gateway's user write to both?",
    sqlite3.SQLITE_CORRUPT: "restore a copy, or move it away: devices then have to join again",
    sqlite3.SQLITE_FULL: "make room",
    sqlite3.SQLITE_IOERR: "is the disk full, over its quota or failing?",
    sqlite3.SQLITE_NOTADB: "restore a copy, or move it away: devices then have to join again",
    sqlite3.SQLITE_READONLY: "let the gateway's user write to it and to its folder",
}


def fatal(path: Path, error: sqlite3.Error, doing: str = "") -> FatalError:
    """Say what SQLite says, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    remedy = f"; {_REMEDIES[code]}" if code in _REMEDIES else ""
    is_corrupt = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return (StoreCorrupt if is_corrupt else FatalError)(f"{path}: {doing}{error}{remedy}")

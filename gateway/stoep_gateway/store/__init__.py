"""SQLite: sessions, messages, outbox, in one durable transaction."""

from pathlib import Path

__all__ = ["copied_mark"]


def copied_mark(database: Path) -> Path:
    """Return the file whose time is that of the last copy of a database."""
    return database.with_name(database.name + ".copied")

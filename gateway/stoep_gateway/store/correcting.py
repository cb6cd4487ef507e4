"""The end of provisional time in the database: all of it corrected in one transaction."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from stoep_gateway.publish.corrections import corrected

__all__ = ["Correction", "correct"]

_COLUMNS = (
    ("uplink", "received_utc_ms"),
    ("device_session", "created_utc_ms"),
    ("dev_nonce", "joined_utc_ms"),
    ("gateway", "last_seen_utc_ms"),
    ("downlink", "created_utc_ms"),
    ("downlink", "expires_utc_ms"),
    ("device", "created_utc_ms"),
    ("device", "changed_utc_ms"),
    ("device_configuration", "wanted_utc_ms"),
    ("device_configuration", "since_utc_ms"),
    ("device_configuration", "told_utc_ms"),
    ("device_configuration", "next_utc_ms"),
    ("airtime", "ends_utc_ms"),
)


class Correction(NamedTuple):
    """Times from ``from_utc_ms`` on are moved by ``by_ms``."""

    from_utc_ms: int
    by_ms: int


def correct(connection: sqlite3.Connection, correction: Correction) -> None:
    """Commit a correction of everything that was recorded before."""
    from_utc_ms, by_ms = correction
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    try:
        if by_ms:
            for table, column in _COLUMNS:
                execute(
                    f"UPDATE OR REPLACE {table} SET {column} = {column} + ?"  # noqa: S608 (constants)
                    f" WHERE {column} >= ?",
                    (by_ms, from_utc_ms),
                )
            held_back = execute(
                "SELECT outbox_id, payload FROM outbox WHERE created_utc_ms >= ?", (from_utc_ms,)
            ).fetchall()
            for outbox_id, payload in held_back:
                execute(
                    "UPDATE outbox SET payload = ?, created_utc_ms = created_utc_ms + ?"
                    " WHERE outbox_id = ?",
                    (corrected(payload, from_utc_ms, by_ms), by_ms, outbox_id),
                )
            # They are told right away, but a power cut may come before.
            execute(
                "UPDATE held SET meta = json_set(meta, '$.received_utc_ms',"
                " json_extract(meta, '$.received_utc_ms') + ?)"
                " WHERE json_extract(meta, '$.received_utc_ms') >= ?",
                (by_ms, from_utc_ms),
            )
        execute("DELETE FROM provisional")
        execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            execute("ROLLBACK")
        raise

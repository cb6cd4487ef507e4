"""Reads the gateway's database from outside, as what it amounts to, and finds what may never be."""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import NamedTuple

from stoep_gateway.config_model import StoreConfig
from stoep_gateway.store.migrate import latest_version
from stoep_gateway.store.sealing import Sealer, open_sealer
from stoep_gateway.store.sql import read_state

__all__ = ["Down", "Join", "Session", "Unsent", "Up", "facts", "problems"]


class Up(NamedTuple):
    """An accepted uplink, its counter claimed."""

    dev_eui: bytes
    app_nonce: int | None
    f_cnt_up: int | None


class Join(NamedTuple):
    """A DevNonce that was answered."""

    dev_eui: bytes
    app_nonce: int


class Session(NamedTuple):
    """A session, with the key that proves its frames."""

    dev_addr: int
    nwk_s_key: bytes


class Down(NamedTuple):
    """A downlink counter that will not be used again."""

    dev_addr: int
    f_cnt_down: int


class Unsent(NamedTuple):
    """A message in the outbox."""

    topic: str
    payload: bytes


def facts(connection: sqlite3.Connection) -> tuple[set[Hashable], list[str]]:
    """Return what a database holds, and its `problems`."""
    if not _made(connection):
        return set(), []
    found: set[Hashable] = set()
    # An uplink outlives its session; the AppNonce of one that has ended is no longer known.
    query = (
        "SELECT uplink.dev_eui, app_nonce, uplink.f_cnt_up FROM uplink"
        " JOIN device_session USING (session_id) JOIN frame_counter USING (session_id)"
        " WHERE frame_counter.f_cnt_up >= uplink.f_cnt_up"
    )
    found.update(Up(*row) for row in connection.execute(query))
    query = "SELECT dev_eui, app_nonce FROM dev_nonce"
    found.update(Join(*row) for row in connection.execute(query))
    for row, _, f_cnt_down in read_state(connection, _sealer(connection)).sessions:
        found.add(Session(row.dev_addr, row.nwk_s_key))
        found.update(Down(row.dev_addr, used) for used in range(f_cnt_down))
    found.update(Unsent(*row) for row in connection.execute("SELECT topic, payload FROM outbox"))
    return found, list(problems(connection))


def _made(connection: sqlite3.Connection) -> bool:
    return connection.execute("PRAGMA user_version").fetchone() == (latest_version(),)


def _sealer(connection: sqlite3.Connection) -> Sealer:
    """Return what opens the keys: its key lies beside the database, or nothing is sealed yet."""
    (_, _, database) = connection.execute("PRAGMA database_list").fetchone()
    (check_value,) = connection.execute("SELECT check_value FROM sealing").fetchone() or (None,)
    return open_sealer(StoreConfig.model_construct(path=Path(database)), {}, check_value)


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield what no state of the database may show, whenever it was cut off."""
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"integrity: {line}"
    if not _made(connection):
        return
    if connection.execute("PRAGMA foreign_key_check").fetchall():
        yield "foreign keys without their rows"
    for session_id, f_cnt_up, times in connection.execute(
        "SELECT session_id, f_cnt_up, count(*) FROM uplink GROUP BY 1, 2 HAVING count(*) > 1"
    ):
        yield f"session {session_id}: FCntUp {f_cnt_up} accepted {times} times"
    for session_id, claimed, newest in connection.execute(
        "SELECT session_id, frame_counter.f_cnt_up, max(uplink.f_cnt_up)"
        " FROM uplink JOIN frame_counter USING (session_id) GROUP BY 1"
        " HAVING max(uplink.f_cnt_up) > frame_counter.f_cnt_up"
    ):
        yield f"session {session_id}: FCntUp {newest} recorded, the counter stands at {claimed}"
    for (session_id,) in connection.execute(
        "SELECT session_id FROM device_session LEFT JOIN frame_counter USING (session_id)"
        " WHERE f_cnt_up IS NULL"
    ):
        yield f"session {session_id} has no counters"
    for dev_eui, app_nonce in connection.execute(
        "SELECT dev_eui, app_nonce FROM device_session"
        " EXCEPT SELECT dev_eui, app_nonce FROM dev_nonce"
    ):
        yield f"{dev_eui.hex()}: a session of AppNonce {app_nonce} without its DevNonce"

"""Reads the gateway's database from outside, as what it amounts to, and finds what may never be."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stoep_gateway.assets.device_rows import open_row
from stoep_gateway.config_model import StoreConfig
from stoep_gateway.store.migrate import latest_version
from stoep_gateway.store.sealing import Sealer, open_sealer
from stoep_gateway.store.sql import read_state

__all__ = [
    "Down",
    "Ended",
    "Forgiven",
    "Given",
    "Join",
    "Registered",
    "Session",
    "Tried",
    "Unsent",
    "Up",
    "Waiting",
    "facts",
    "problems",
    "told_by",
]

_FIRST_ABP = 1 << 24  # AppNonces have 24 bits


# Tuples are quick, but equal to any tuple of the same values: what could be taken for another fact
# is none.


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


@dataclass(frozen=True, slots=True)
class Forgiven:
    """A DevNonce that counts no more."""

    dev_eui: bytes
    app_nonce: int


@dataclass(frozen=True, slots=True)
class Registered:
    """A device that a command added; ``key`` is its AppKey or, without one, its NwkSKey."""

    dev_eui: bytes
    key: bytes
    enabled: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A downlink in the queue."""

    downlink_id: int
    dev_eui: bytes
    f_port: int
    payload: bytes
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """A frame that was made of a queued downlink: its number, from 1."""

    downlink_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Given:
    """A downlink's number, which no other will get."""

    downlink_id: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A downlink that is in the queue no more."""

    downlink_id: int


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
    for dev_eui, app_nonce, f_cnt_up in connection.execute(query):
        found.add(Up(dev_eui, _of_join(app_nonce), f_cnt_up))
    sealer = _sealer(connection)
    state = read_state(connection, sealer)
    for nonce in state.nonces:
        found.add(Join(nonce.dev_eui, nonce.app_nonce))
        if nonce.forgiven:
            found.add(Forgiven(nonce.dev_eui, nonce.app_nonce))
    for row, _, f_cnt_down in state.sessions:
        found.add(Session(row.dev_addr, row.nwk_s_key))
        found.update(Down(row.dev_addr, used) for used in range(f_cnt_down))
    for device_row in state.devices:
        device = open_row(device_row, sealer)
        key = device.app_key or device.nwk_s_key
        assert key is not None
        found.add(Registered(device.dev_eui, key, device.enabled))
    ended = set(range(1, state.last_downlink_id + 1))
    found.update(map(Given, ended))
    for downlink in state.downlinks:
        found.add(Waiting(*downlink[:4], bool(downlink.confirmed)))
        found.update(Tried(downlink.downlink_id, n + 1) for n in range(downlink.attempts))
        ended.remove(downlink.downlink_id)
    found.update(map(Ended, ended))
    found.update(Unsent(*row) for row in connection.execute("SELECT topic, payload FROM outbox"))
    return found, list(problems(connection))


def told_by(topic: str, payload: bytes) -> Up | Join | Ended | None:
    """Return what a message says for good; None: nothing of that kind."""
    if "/gateway" in topic or topic.endswith("/availability"):
        return None
    message = json.loads(payload)
    dev_eui, *what = message["event_id"].partition(":")[0].split("-")
    if what[0] == "downlink":
        return None if message["will_retry"] else Ended(message["downlink_id"])
    app_nonce, f_cnt_up = int(what[0]), what[1]
    if f_cnt_up == "join":
        return Join(bytes.fromhex(dev_eui), app_nonce)
    return Up(bytes.fromhex(dev_eui), _of_join(app_nonce), int(f_cnt_up))


def _of_join(app_nonce: int) -> int | None:
    """Return an AppNonce, None for what stands in its place without a join (ABP)."""
    return app_nonce if app_nonce < _FIRST_ABP else None


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
        f" WHERE app_nonce < {_FIRST_ABP}"
        " EXCEPT SELECT dev_eui, app_nonce FROM dev_nonce"
    ):
        yield f"{dev_eui.hex()}: a session of AppNonce {app_nonce} without its DevNonce"

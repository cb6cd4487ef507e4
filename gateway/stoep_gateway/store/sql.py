"""The SQL of the store: reading all of it at the start, writing a group of records at once.

Statements carry many rows each. A statement per row would give up and take back the interpreter's
lock for every row, and under load each taking back waits for the event loop.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar

from stoep_gateway.errors import LocalProtocolError
from stoep_gateway.store.records import (
    OUTBOX_ROW_OCTETS,
    AirtimeRow,
    CollectionRow,
    ConfigurationRow,
    ContextRow,
    DecisionRow,
    DeviceRow,
    DownlinkRow,
    ForecastRow,
    HeldRow,
    LatestRow,
    MacStateRow,
    NonceRow,
    OutboxRow,
    PlanRow,
    ProvisionalRow,
    Record,
    SessionRow,
    SourceRow,
    State,
)
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.thinning import STEP_ROWS, Thinned, Thinner, UnsentRow

__all__ = [
    "OUTBOX_PAGE",
    "ROWS_PER_STATEMENT",
    "read_outbox",
    "read_state",
    "thin_outbox",
    "unlock",
    "write_collections",
    "write_group",
]

OUTBOX_PAGE = 2000
ROWS_PER_STATEMENT = 32

_T = TypeVar("_T")
_Row = TypeVar(
    "_Row",
    NonceRow,
    LatestRow,
    DeviceRow,
    MacStateRow,
    DownlinkRow,
    SourceRow,
    AirtimeRow,
    ConfigurationRow,
    ContextRow,
    ProvisionalRow,
    ForecastRow,
    DecisionRow,
)
_AIRTIME_KEPT_MS = 2 * 3_600_000
# Both ways: UTC may have been set back since.
_FORGET_AIRTIME = "DELETE FROM airtime WHERE ends_utc_ms NOT BETWEEN ? AND ?"
_FORGET = "DELETE FROM uplink WHERE uplink_id IN (SELECT value FROM json_each(?))"
_FORGET_COLLECTIONS = "DELETE FROM collection WHERE source = ? AND at_utc_ms >= ? AND at_utc_ms < ?"
_LAST_NUMBER = "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = ?"

_OUTBOX_COLUMNS = "outbox_id, kind, topic, payload, retain, created_utc_ms"
_OUTBOX_ROW_OCTETS = f"length(topic) + length(payload) + {OUTBOX_ROW_OCTETS}"
_SESSION_COLUMNS = (
    "session_id, dev_eui, dev_addr, nwk_s_key, app_s_key, app_nonce, confirmed, created_utc_ms"
)

_DEVICE_COLUMNS = ", ".join(DeviceRow._fields)
_DOWNLINK_COLUMNS = ", ".join(DownlinkRow._fields)
_CONFIGURATION_COLUMNS = ", ".join(ConfigurationRow._fields)


def _statements(insert: str, columns: int, conflict: str = "") -> list[str]:
    """Return SQL for 1, 2, 4 and so on up to ``ROWS_PER_STATEMENT`` rows.

    One for each number of rows would save a call now and then, and cost megabytes: what SQLite has
    prepared takes up to 40 kB.
    """
    row = "(" + ", ".join("?" * columns) + ")"
    return [
        f"INSERT INTO {insert} VALUES " + ", ".join([row] * (1 << doublings)) + conflict  # noqa: S608 (constants)
        for doublings in range(ROWS_PER_STATEMENT.bit_length())
    ]


def _replacing(key: str, columns: str) -> str:
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns.split(", "))
    return f" ON CONFLICT ({key}) DO UPDATE SET {changes}"


_SESSIONS = _statements(f"device_session ({_SESSION_COLUMNS})", 8)
_NONCES = _statements("dev_nonce (dev_eui, dev_nonce, app_nonce, joined_utc_ms, forgiven)", 5)
_DEVICES = _statements(f"device ({_DEVICE_COLUMNS})", 18, _replacing("dev_eui", _DEVICE_COLUMNS))
_MAC_STATES = _statements(
    "mac_state (session_id, state)", 2, _replacing("session_id", "session_id, state")
)
_DOWNLINKS = _statements(f"downlink ({_DOWNLINK_COLUMNS})", 9)
_AIRTIMES = _statements(
    "airtime (ends_utc_ms, gateway_eui, freq_hz, airtime_us)", 4, " ON CONFLICT DO NOTHING"
)
_CONFIGURATIONS = _statements(
    f"device_configuration ({_CONFIGURATION_COLUMNS})",
    9,
    _replacing("dev_eui", _CONFIGURATION_COLUMNS),
)
_SOURCES = _statements(
    "source_device (source, dev_eui, state)", 3, _replacing("source, dev_eui", "state")
)
_CONTEXTS = _statements(
    "context_backlog (topic, kind, payload, version)",
    4,
    _replacing("topic", "kind, payload, version"),
)
_FORECASTS = _statements("forecast (about, learned)", 2, _replacing("about", "learned"))
_COLLECTION_COLUMNS = ", ".join(CollectionRow._fields)
_COLLECTIONS = _statements(
    f"collection ({_COLLECTION_COLUMNS})",
    9,
    _replacing(
        "container, at_utc_ms, source",
        "from_pct, to_pct, truck, weight_kg, date_only, after_utc_ms",
    ),
)
_OUTCOMES = _statements("outcome (date, stops)", 2, _replacing("date", "stops"))
_PLAN_COLUMNS = ", ".join(PlanRow._fields)
_PLANS = _statements(f"round_plan ({_PLAN_COLUMNS})", 7, _replacing("date", _PLAN_COLUMNS))
_DECISIONS = _statements("decision (number, date, sender, id, said)", 5)
_COUNTERS = _statements(
    "frame_counter (session_id, f_cnt_up, f_cnt_down)",
    3,
    " ON CONFLICT (session_id) DO UPDATE SET"
    " f_cnt_up = excluded.f_cnt_up, f_cnt_down = excluded.f_cnt_down"
    " WHERE excluded.f_cnt_up > f_cnt_up AND excluded.f_cnt_down >= f_cnt_down"
    " OR excluded.f_cnt_up = f_cnt_up AND excluded.f_cnt_down > f_cnt_down",
)
_UPLINKS = _statements(
    "uplink (received_utc_ms, dev_eui, session_id, f_cnt_up, f_port, frm_payload, undecodable,"
    " freq_hz, dr, receptions)",
    10,
)
_OUTBOX = _statements(f"outbox ({_OUTBOX_COLUMNS})", 6)
_LATEST = _statements("latest (asset, state)", 2, _replacing("asset", "state"))
_GATEWAYS = _statements(
    "gateway (gateway_eui, last_seen_utc_ms, stat)",
    3,
    _replacing("gateway_eui", "last_seen_utc_ms, stat"),
)
_RETENTION = _statements("retention (rule, uplink_id)", 2, _replacing("rule", "rule, uplink_id"))


_HELD = _statements("held (dev_eui, f_port, frm_payload, meta)", 4)
_PROVISIONAL = _statements("provisional (boot_id, boot_ms, from_utc_ms)", 3)
# Of what was recorded last: what a wrong clock wrote long ago counts no more.
_NEWEST = (
    "SELECT max(ifnull((SELECT max(received_utc_ms) FROM (SELECT received_utc_ms FROM uplink"
    " ORDER BY uplink_id DESC LIMIT 100)), 0),"
    " ifnull((SELECT max(created_utc_ms) FROM (SELECT created_utc_ms FROM outbox"
    " ORDER BY outbox_id DESC LIMIT 100)), 0),"
    " ifnull((SELECT max(last_seen_utc_ms) FROM gateway), 0))"
)


def read_state(connection: sqlite3.Connection, sealer: Sealer) -> State:
    """Return all that the gateway keeps in memory. Raises ``FatalError`` for a wrong key."""
    outbox_depth, outbox_octets = connection.execute(
        f"SELECT count(*), ifnull(sum({_OUTBOX_ROW_OCTETS}), 0) FROM outbox"  # noqa: S608 (constants)
    ).fetchone()
    return State(
        sessions=tuple(
            (_opened(SessionRow(*row[:8]), sealer), row[8], row[9])
            for row in connection.execute(
                f"SELECT {_SESSION_COLUMNS}, f_cnt_up, f_cnt_down"  # noqa: S608 (constants)
                " FROM device_session JOIN frame_counter USING (session_id) ORDER BY session_id"
            )
        ),
        nonces=_all(connection, NonceRow, "dev_nonce"),
        latest=_all(connection, LatestRow, "latest"),
        devices=_all(connection, DeviceRow, "device"),
        mac_states=_mac_states(connection),
        downlinks=_all(connection, DownlinkRow, "downlink"),
        sources=_all(connection, SourceRow, "source_device"),
        airtimes=_all(connection, AirtimeRow, "airtime"),
        configurations=_all(connection, ConfigurationRow, "device_configuration"),
        contexts=_all(connection, ContextRow, "context_backlog"),
        outbox=tuple(read_outbox(connection, 0)),
        last_outbox_id=_one(connection, "SELECT ifnull(max(outbox_id), 0) FROM outbox"),
        last_session_id=_one(connection, _LAST_NUMBER, "device_session"),
        last_downlink_id=_one(connection, _LAST_NUMBER, "downlink"),
        app_nonce_floor=_one(connection, "SELECT ifnull(max(app_nonce), 0) FROM restored"),
        outbox_depth=outbox_depth,
        outbox_octets=outbox_octets,
        newest_utc_ms=_one(connection, _NEWEST),
        held=tuple(
            map(
                HeldRow._make,
                connection.execute(
                    "SELECT dev_eui, f_port, frm_payload, meta FROM held ORDER BY held_id"
                ),
            )
        ),
        provisional=next(iter(_all(connection, ProvisionalRow, "provisional")), None),
        planned_date=next(iter(connection.execute("SELECT date FROM planned_round")), ("",))[0],
        forecasts=_all(connection, ForecastRow, "forecast"),
        plans=tuple(
            map(
                PlanRow._make,
                connection.execute(
                    f"SELECT {_PLAN_COLUMNS} FROM round_plan"  # noqa: S608 (constants)
                    " WHERE date >= (SELECT date FROM planned_round) ORDER BY date"
                ),
            )
        ),
        decisions=_all(connection, DecisionRow, "decision"),
        last_decision=_one(connection, _LAST_NUMBER, "decision"),
    )


def read_outbox(connection: sqlite3.Connection, after_id: int) -> list[OutboxRow]:
    """Return up to ``OUTBOX_PAGE`` unsent messages beyond ``after_id``, oldest first."""
    rows = connection.execute(
        f"SELECT {_OUTBOX_COLUMNS} FROM outbox"  # noqa: S608 (constants)
        " WHERE outbox_id > ? ORDER BY outbox_id LIMIT ?",
        (after_id, OUTBOX_PAGE),
    )
    return [OutboxRow(*row) for row in rows]


def thin_outbox(connection: sqlite3.Connection, thinner: Thinner) -> Thinned:
    """Make one step of a thinning: a short transaction."""
    rows = connection.execute(
        f"SELECT outbox_id, kind, topic, retain, {_OUTBOX_ROW_OCTETS} FROM outbox"  # noqa: S608 (constants)
        " WHERE outbox_id > ? AND outbox_id <= ? ORDER BY outbox_id LIMIT ?",
        (thinner.after_id, thinner.last_id, STEP_ROWS),
    )
    chosen = thinner.choose([UnsentRow(*row) for row in rows])
    if chosen:
        ids = ", ".join(str(row.outbox_id) for row in chosen)
        connection.execute(f"DELETE FROM outbox WHERE outbox_id IN ({ids})")  # noqa: S608 (numbers)
    return Thinned(sum(row.octets for row in chosen), Counter(row.kind for row in chosen))


def unlock(connection: sqlite3.Connection, open_sealer: Callable[[bytes | None], Sealer]) -> Sealer:
    """Return the database's sealer; what an earlier version stored unsealed is sealed now.

    Raises ``FatalError`` for a key that is missing or wrong.
    """
    kept = connection.execute("SELECT check_value FROM sealing").fetchone()
    sealer = open_sealer(None if kept is None else kept[0])
    if kept is None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO sealing VALUES (?)", (sealer.check_value,))
        for row in connection.execute(
            f"SELECT {_SESSION_COLUMNS} FROM device_session"  # noqa: S608 (constants)
        ).fetchall():
            sealed = _sealed(SessionRow(*row), sealer)
            connection.execute(
                "UPDATE device_session SET nwk_s_key = ?, app_s_key = ? WHERE session_id = ?",
                (sealed.nwk_s_key, sealed.app_s_key, sealed.session_id),
            )
        connection.execute("COMMIT")
    return sealer


def write_group(connection: sqlite3.Connection, records: list[Record], sealer: Sealer) -> None:
    """Commit a group. Raises ``LocalProtocolError`` for a claim that is not one."""
    execute = connection.execute
    columns: Any = Record._make(zip(*records, strict=True))  # each a tuple of the records' tuples
    sessions = _rows(columns.sessions)
    counters = _rows(columns.counters)
    execute("BEGIN IMMEDIATE")
    try:
        _insert(connection, _SESSIONS, [_sealed(row, sealer) for row in sessions])
        _insert(connection, _COUNTERS, [(row.session_id, -1, 0) for row in sessions])
        # One by one: what is forgiven is what came before.
        for record in records if any(columns.forgiven_devices) or any(columns.nonces) else ():
            for dev_eui in record.forgiven_devices:
                execute("UPDATE dev_nonce SET forgiven = 1 WHERE dev_eui = ?", (dev_eui,))
            if record.nonces:
                _insert(connection, _NONCES, record.nonces)
        if _insert(connection, _COUNTERS, counters) != len(counters):
            raise LocalProtocolError("a frame counter was claimed twice")
        for session_id in _rows(columns.confirmed_sessions):
            execute("UPDATE device_session SET confirmed = 1 WHERE session_id = ?", (session_id,))
        _insert(connection, _MAC_STATES, _rows(columns.mac_states))
        _insert(connection, _UPLINKS, _rows(columns.uplinks))
        latest = {row.asset: row for row in _rows(columns.latest)}
        _insert(connection, _LATEST, list(latest.values()))
        _insert(connection, _OUTBOX, _rows(columns.outbox))
        _insert(connection, _GATEWAYS, _rows(columns.gateways))
        for record in records if any(columns.devices) or any(columns.removed_devices) else ():
            if record.devices:
                _insert(connection, _DEVICES, record.devices)
            for dev_eui in record.removed_devices:
                execute("DELETE FROM device WHERE dev_eui = ?", (dev_eui,))
                execute("DELETE FROM device_configuration WHERE dev_eui = ?", (dev_eui,))
        _insert(connection, _SOURCES, _rows(columns.sources))
        _insert(connection, _CONFIGURATIONS, _rows(columns.configurations))
        _insert(connection, _DOWNLINKS, _rows(columns.downlinks))
        contexts = {row.topic: row for row in _rows(columns.contexts)}
        _insert(connection, _CONTEXTS, list(contexts.values()))
        forecasts = {row.about: row for row in _rows(columns.forecasts)}
        _insert(connection, _FORECASTS, list(forecasts.values()))
        for record in (
            records if any(columns.collections) or any(columns.forgotten_collections) else ()
        ):
            write_collections(connection, record)
        outcomes = {row.date: row for row in _rows(columns.outcomes)}
        _insert(connection, _OUTCOMES, list(outcomes.values()))
        plans = {row.date: row for row in _rows(columns.plans)}
        _insert(connection, _PLANS, list(plans.values()))
        _insert(connection, _DECISIONS, _rows(columns.decisions))
        for plans_from, decisions_from in _rows(columns.rounds_from):
            execute("DELETE FROM round_plan WHERE date < ?", (plans_from,))
            execute("DELETE FROM outcome WHERE date < ?", (plans_from,))
            execute("DELETE FROM decision WHERE date < ?", (decisions_from,))
        for told in _rows(columns.told_contexts):
            execute("DELETE FROM context_backlog WHERE topic = ? AND version = ?", told)
        for tried in _rows(columns.tried_downlinks):
            execute("UPDATE downlink SET attempts = ? WHERE downlink_id = ?", tried)
        for downlink_id in _rows(columns.ended_downlinks):
            execute("DELETE FROM downlink WHERE downlink_id = ?", (downlink_id,))
        for session_id in _rows(columns.ended_sessions):
            execute("DELETE FROM device_session WHERE session_id = ?", (session_id,))
        for first_and_last in _rows(columns.published):
            execute("DELETE FROM outbox WHERE outbox_id BETWEEN ? AND ?", first_and_last)
        airtimes = _rows(columns.airtimes)
        if airtimes:
            _insert(connection, _AIRTIMES, airtimes)
            now = airtimes[-1].ends_utc_ms
            execute(_FORGET_AIRTIME, (now - _AIRTIME_KEPT_MS, now + _AIRTIME_KEPT_MS))
        if forgotten := _rows(columns.forgotten_uplinks):
            execute(_FORGET, (json.dumps(forgotten),))
        _insert(connection, _RETENTION, _rows(columns.retention))
        _insert(connection, _HELD, _rows(columns.held))
        if told := sum(columns.told_held):
            execute(
                "DELETE FROM held WHERE held_id IN"
                " (SELECT held_id FROM held ORDER BY held_id LIMIT ?)",
                (told,),
            )
        if provisional := _rows(columns.provisional):
            execute("DELETE FROM provisional")
            _insert(connection, _PROVISIONAL, provisional[-1:])
        for date in filter(None, columns.planned_date):
            execute("DELETE FROM planned_round")
            execute("INSERT INTO planned_round VALUES (?)", (date,))
        execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            execute("ROLLBACK")
        raise


def write_collections(connection: sqlite3.Connection, record: Record) -> None:
    """Forget and add what a record says of collections, in the transaction that there is."""
    for span in record.forgotten_collections:
        connection.execute(_FORGET_COLLECTIONS, span)
    _insert(connection, _COLLECTIONS, record.collections)


def _sealed(row: SessionRow, sealer: Sealer) -> SessionRow:
    return row._replace(
        nwk_s_key=sealer.seal(row.nwk_s_key, _context(row, "NwkSKey")),
        app_s_key=sealer.seal(row.app_s_key, _context(row, "AppSKey")),
    )


def _opened(row: SessionRow, sealer: Sealer) -> SessionRow:
    return row._replace(
        nwk_s_key=sealer.open(row.nwk_s_key, _context(row, "NwkSKey")),
        app_s_key=sealer.open(row.app_s_key, _context(row, "AppSKey")),
    )


def _context(row: SessionRow, key: str) -> bytes:
    return f"{key} of {row.dev_eui.hex()} in session {row.session_id}".encode()


def _all(connection: sqlite3.Connection, row: type[_Row], table: str) -> tuple[_Row, ...]:
    columns = ", ".join(row._fields)
    found = connection.execute(f"SELECT {columns} FROM {table}")  # noqa: S608 (constants)
    return tuple(map(row._make, found))


def _mac_states(connection: sqlite3.Connection) -> tuple[MacStateRow, ...]:
    """Return what devices have accepted; nearly all the same, so one text for those alike."""
    texts: dict[str, str] = {}
    return tuple(
        MacStateRow(session_id, texts.setdefault(text, text))
        for session_id, text in connection.execute("SELECT session_id, state FROM mac_state")
    )


def _one(connection: sqlite3.Connection, query: str, *values: str) -> int:
    return int(connection.execute(query, values).fetchone()[0])


def _rows(tables: Iterable[tuple[_T, ...]]) -> list[_T]:
    return list(chain.from_iterable(tables))


def _insert(
    connection: sqlite3.Connection, statements: list[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    changed = at = 0
    while left := len(rows) - at:
        doublings = min(left.bit_length(), len(statements)) - 1
        some = rows[at : at + (1 << doublings)]
        values = tuple(chain.from_iterable(some))
        changed += connection.execute(statements[doublings], values).rowcount
        at += len(some)
    return changed

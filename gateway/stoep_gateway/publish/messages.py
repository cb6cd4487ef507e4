"""The values that go to the outbox, and how they are written. Pure."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

import orjson

from stoep_gateway.assets.states import AssetState
from stoep_gateway.store.records import CollectionRow, HeldRow
from stoep_gateway.values import value

__all__ = ["OutboxMessage", "Outputs", "UplinkMeta", "encode", "radio", "utc"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000


@value
class OutboxMessage:
    """One message to publish at QoS 1; ``kind`` names its JSON Schema, ``payload`` is JSON."""

    topic: str
    payload: bytes
    retain: bool
    kind: str
    event_id: str


@value
class UplinkMeta:
    """What is known of an uplink besides its message; signal figures of the best reception.

    None is what another network server did not tell. ``event_id`` names the uplink for ever: made
    from the device, its session and ``f_cnt_up``.
    """

    event_id: str
    received_utc_ms: int
    f_cnt_up: int
    dr: int | None
    rssi_dbm: float | None
    snr_db: float | None
    gateways: int


@value
class Outputs:
    """What an uplink causes; ``problem`` is a reason to count when it causes nothing.

    ``held`` is to be recorded with it, and told later; ``collections`` are the emptyings that it
    tells of.
    """

    messages: tuple[OutboxMessage, ...]
    state: AssetState | None
    problem: str | None = None
    held: tuple[HeldRow, ...] = ()
    collections: tuple[CollectionRow, ...] = ()


def encode(values: dict[str, object], fixed_json: str = "") -> bytes:
    """Write compact JSON in UTF-8, followed by the members in ``fixed_json``.

    Raises ``TypeError`` for what JSON has not, and for integers beyond 64 bits.
    """
    written = orjson.dumps(values)
    return b"%b,%b}" % (written[:-1], fixed_json.encode()) if fixed_json else written


@functools.lru_cache(maxsize=64)  # what comes in one batch comes in one millisecond
def utc(utc_ms: int) -> str:
    """Write UTC milliseconds as RFC 3339, ``2026-01-31T05:30:00.000Z``."""
    day, in_day_ms = divmod(utc_ms, _DAY_MS)
    in_day_s, ms = divmod(in_day_ms, 1000)
    in_day_min, s = divmod(in_day_s, 60)
    return f"{_date(day)}T{in_day_min // 60:02}:{in_day_min % 60:02}:{s:02}.{ms:03}Z"


@functools.lru_cache(maxsize=64)
def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def radio(meta: UplinkMeta) -> dict[str, object]:
    """Return the part of a message that tells how its uplink was heard."""
    return {
        "f_cnt_up": meta.f_cnt_up,
        "dr": meta.dr,
        "rssi_dbm": meta.rssi_dbm,
        "snr_db": meta.snr_db,
        "gateways": meta.gateways,
    }

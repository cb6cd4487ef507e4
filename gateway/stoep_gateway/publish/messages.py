"""The values that go to the outbox, and how they are written. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stoep_gateway.assets.states import AssetState

__all__ = ["OutboxMessage", "Outputs", "UplinkMeta", "encode", "radio", "utc"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENCODE: Callable[[object], str] = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One message to publish at QoS 1; ``kind`` names its JSON Schema, ``payload`` is JSON."""

    topic: str
    payload: bytes
    retain: bool
    kind: str
    event_id: str


@dataclass(frozen=True, slots=True)
class UplinkMeta:
    """What is known of an uplink besides its message; signal figures of the best reception.

    ``event_id`` names the uplink for ever: made from the device, its session and ``f_cnt_up``.
    """

    event_id: str
    received_utc_ms: int
    f_cnt_up: int
    dr: int
    rssi_dbm: float
    snr_db: float
    gateways: int


@dataclass(frozen=True, slots=True)
class Outputs:
    """What an uplink causes; ``problem`` is a reason to count when it causes nothing."""

    messages: tuple[OutboxMessage, ...]
    state: AssetState | None
    problem: str | None = None


def encode(values: dict[str, object]) -> bytes:
    """Write compact JSON in UTF-8."""
    return _ENCODE(values).encode()


def utc(utc_ms: int) -> str:
    """Write UTC milliseconds as RFC 3339, ``2026-01-31T05:30:00.000Z``."""
    return (_EPOCH + timedelta(milliseconds=utc_ms)).isoformat(timespec="milliseconds")[:-6] + "Z"


def radio(meta: UplinkMeta) -> dict[str, object]:
    """Return the part of a message that tells how its uplink was heard."""
    return {
        "f_cnt_up": meta.f_cnt_up,
        "dr": meta.dr,
        "rssi_dbm": meta.rssi_dbm,
        "snr_db": meta.snr_db,
        "gateways": meta.gateways,
    }

"""What is published of packet forwarders, registered and not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stoep_gateway.assets.registry import TOPIC_ROOT, Gateway
from stoep_gateway.publish.messages import OutboxMessage, encode, utc

__all__ = ["GatewayStatus", "Stranger", "gateway_outputs", "stranger_outputs"]


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What is known of a forwarder: its own counters (None: not said), its connection, and ours.

    ``downlinks`` counts by what it said of them, ``rejected`` what was not accepted from it, both
    since the start.
    """

    online: bool
    last_seen_utc_ms: int | None
    protocol: str | None = None
    address: str | None = None
    connected: bool = False
    round_trip_ms: float | None = None
    round_trip_worst_ms: float | None = None
    clock_offset_ms: int | None = None
    rx_received: int | None = None
    rx_ok: int | None = None
    rx_forwarded: int | None = None
    tx_received: int | None = None
    tx_emitted: int | None = None
    push_acknowledged_pct: float | None = None
    uplinks_accepted: int = 0
    downlinks: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A forwarder that came and is not registered; ``count`` is how many messages it sent."""

    eui: bytes
    protocol: str
    address: str
    count: int
    first_seen_utc_ms: int
    last_seen_utc_ms: int


def gateway_outputs(
    gateway: Gateway, event_id: str, now_utc_ms: int, status: GatewayStatus
) -> tuple[OutboxMessage, ...]:
    """Return the retained state of a forwarder."""
    seen = status.last_seen_utc_ms
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(now_utc_ms),
            "online": status.online,
            "last_seen_utc": None if seen is None else utc(seen),
            "protocol": status.protocol,
            "address": status.address,
            "connected": status.connected,
            "round_trip_ms": status.round_trip_ms,
            "round_trip_worst_ms": status.round_trip_worst_ms,
            "clock_offset_ms": status.clock_offset_ms,
            "rx_received": status.rx_received,
            "rx_ok": status.rx_ok,
            "rx_forwarded": status.rx_forwarded,
            "tx_received": status.tx_received,
            "tx_emitted": status.tx_emitted,
            "push_acknowledged_pct": status.push_acknowledged_pct,
            "uplinks_accepted": status.uplinks_accepted,
            "downlinks_sent": status.downlinks.get("sent", 0),
            "downlinks": dict(status.downlinks),
            "rejected": dict(status.rejected),
        },
        gateway.fixed_json,
    )
    return (OutboxMessage(gateway.state_topic, payload, True, "gateway_state", event_id),)


def stranger_outputs(
    site: str, now_utc_ms: int, strangers: Iterable[Stranger]
) -> tuple[OutboxMessage, ...]:
    """Return the retained list of forwarders that were seen and are not registered."""
    event_id = f"gateways-{now_utc_ms}"
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(now_utc_ms),
            "gateways": [
                {
                    "gateway_eui": stranger.eui.hex(),
                    "protocol": stranger.protocol,
                    "address": stranger.address,
                    "count": stranger.count,
                    "first_seen_utc": utc(stranger.first_seen_utc_ms),
                    "last_seen_utc": utc(stranger.last_seen_utc_ms),
                }
                for stranger in strangers
            ],
        }
    )
    topic = f"{TOPIC_ROOT}/{site}/gateways/unregistered"  # no id of a gateway can be in its way
    return (OutboxMessage(topic, payload, True, "gateways_unregistered", event_id),)

"""Watches the packet forwarders: online or not, what they count, when to publish it. Pure.

A gateway is online while datagrams come from it. Its state is due when that changes, and every
``STATE_INTERVAL_MS`` at a stat of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from stoep_gateway.assets.registry import Gateway
from stoep_gateway.forwarders.gwmp import GatewayStat, Link
from stoep_gateway.lns.frames import Tick
from stoep_gateway.publish.topics import GatewayStatus

__all__ = ["OFFLINE_AFTER_MS", "STATE_INTERVAL_MS", "GatewayMonitor", "StateDue"]

OFFLINE_AFTER_MS = 120_000  # forwarders ask for downlinks every 5 to 30 s
STATE_INTERVAL_MS = 300_000


@dataclass(frozen=True, slots=True)
class StateDue:
    """A gateway's state that should be recorded and published."""

    gateway: Gateway
    status: GatewayStatus
    stat: Mapping[str, object]


@dataclass(slots=True)
class _Watched:
    gateway: Gateway
    online: bool = False
    stat: Mapping[str, object] = field(default_factory=dict)
    next_state_ms: int = 0
    accepted: int = 0
    sent: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class GatewayMonitor:
    """All gateways of a site, with their links to the forwarders' machine."""

    def __init__(self, gateways: Mapping[bytes, Gateway], links: Mapping[bytes, Link]) -> None:
        self._watched = {eui: _Watched(gateway) for eui, gateway in gateways.items()}
        self._links = links

    def handle(self, event: GatewayStat | Tick, now: int, utc_ms: int) -> list[StateDue]:
        """Take a gateway's stat, or the deadline; ``now`` in milliseconds, and as UTC."""
        if type(event) is GatewayStat:
            watched = self._watched[event.gateway_eui]
            watched.stat = event.stat
            if watched.online and now < watched.next_state_ms:
                return []
            watched.online = True
            watched.next_state_ms = now + STATE_INTERVAL_MS
            return [self._due(watched, utc_ms - now)]
        return self._expire(now, utc_ms)

    def next_deadline(self) -> int | None:
        """Return when the first gateway that is online may have gone offline."""
        last_seen = [
            seen
            for eui, watched in self._watched.items()
            if watched.online and (seen := self._links[eui].last_seen_ms) is not None
        ]
        return min(last_seen) + OFFLINE_AFTER_MS if last_seen else None

    def all_due(self, now: int, utc_ms: int) -> list[StateDue]:
        """Return the state of every gateway that was ever heard, for one that is about to stop."""
        return [
            self._due(watched, utc_ms - now)
            for eui, watched in self._watched.items()
            if self._links[eui].last_seen_ms is not None
        ]

    def accepted(self, gateway_eui: bytes) -> None:
        """Count an uplink that this gateway heard best."""
        self._watched[gateway_eui].accepted += 1

    def sent(self, gateway_eui: bytes) -> None:
        """Count a downlink that this gateway took."""
        self._watched[gateway_eui].sent += 1

    def rejected(self, gateway_eui: bytes, reason: str) -> None:
        """Count what was not accepted from this gateway."""
        watched = self._watched.get(gateway_eui)
        if watched is not None:
            watched.rejected[reason] += 1

    def _expire(self, now: int, utc_ms: int) -> list[StateDue]:
        due = []
        for eui, watched in self._watched.items():
            seen_ms = self._links[eui].last_seen_ms
            if watched.online and seen_ms is not None and seen_ms + OFFLINE_AFTER_MS <= now:
                watched.online = False
                due.append(self._due(watched, utc_ms - now))
        return due

    def _due(self, watched: _Watched, utc_offset_ms: int) -> StateDue:
        stat = watched.stat
        seen_ms = self._links[watched.gateway.eui].last_seen_ms
        acknowledged_pct = stat.get("ackr")
        status = GatewayStatus(
            online=watched.online,
            last_seen_utc_ms=None if seen_ms is None else seen_ms + utc_offset_ms,
            rx_received=_count(stat, "rxnb"),
            rx_ok=_count(stat, "rxok"),
            rx_forwarded=_count(stat, "rxfw"),
            tx_received=_count(stat, "dwnb"),
            tx_emitted=_count(stat, "txnb"),
            push_acknowledged_pct=(
                float(acknowledged_pct) if isinstance(acknowledged_pct, int | float) else None
            ),
            uplinks_accepted=watched.accepted,
            downlinks_sent=watched.sent,
            rejected=watched.rejected,
        )
        return StateDue(watched.gateway, status, stat)


def _count(stat: Mapping[str, object], name: str) -> int | None:
    value = stat.get(name)
    return value if type(value) is int and value >= 0 else None

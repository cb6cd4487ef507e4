"""Watches the packet forwarders: online or not, what they count, when to publish it. Pure.

A gateway is online from its first stat for as long as datagrams come from it. Its state is due when
that changes, and every ``STATE_INTERVAL_MS`` at a stat of its own. One that is not heard soon after
the start is offline too: what was published of it before may say otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from stoep_gateway.assets.registry import Gateway
from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.forwarders.links import Link
from stoep_gateway.lns.frames import Tick
from stoep_gateway.publish.topics import GatewayStatus

__all__ = ["OFFLINE_AFTER_MS", "STATE_INTERVAL_MS", "GatewayMonitor", "StateDue"]

OFFLINE_AFTER_MS = 120_000  # forwarders ask for downlinks every 5 to 30 s
STATE_INTERVAL_MS = 300_000
_LARGEST_COUNT = 2**53 - 1  # which every reader of JSON can hold


@dataclass(frozen=True, slots=True)
class StateDue:
    """A gateway's state to record and publish; ``changed``: it went online or offline."""

    gateway: Gateway
    status: GatewayStatus
    stat: Mapping[str, object]
    changed: bool


@dataclass(slots=True)
class _Watched:
    gateway: Gateway
    online: bool | None = None  # None until a stat or a silence has told
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
        self._started_ms = 0

    def start(self, now: int) -> None:
        """Count from ``now`` the silence of gateways that have not been heard yet."""
        self._started_ms = now

    def handle(self, event: GatewayStat | Tick, now: int, utc_ms: int) -> list[StateDue]:
        """Take a gateway's stat, or the deadline; ``now`` in milliseconds, and as UTC."""
        if type(event) is GatewayStat:
            watched = self._watched[event.gateway_eui]
            watched.stat = event.stat
            if watched.online and now < watched.next_state_ms:
                return []
            changed = not watched.online
            watched.online = True
            watched.next_state_ms = now + STATE_INTERVAL_MS
            return [self._due(watched, utc_ms - now, changed=changed)]
        return self._expire(now, utc_ms)

    def next_deadline(self) -> int | None:
        """Return when the first gateway that is not known to be offline may have gone offline."""
        silent_since = [
            self._silent_since(eui)
            for eui, watched in self._watched.items()
            if watched.online is not False
        ]
        return min(silent_since) + OFFLINE_AFTER_MS if silent_since else None

    def all_due(self, now: int, utc_ms: int) -> list[StateDue]:
        """Return the state of every gateway that was ever heard, for one that is about to stop."""
        return [
            self._due(watched, utc_ms - now, changed=False)
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
            silent = self._silent_since(eui) + OFFLINE_AFTER_MS <= now
            if watched.online is not False and silent:
                watched.online = False
                due.append(self._due(watched, utc_ms - now, changed=True))
        return due

    def _silent_since(self, eui: bytes) -> int:
        seen_ms = self._links[eui].last_seen_ms
        return self._started_ms if seen_ms is None else seen_ms

    def _due(self, watched: _Watched, utc_offset_ms: int, *, changed: bool) -> StateDue:
        stat = watched.stat
        seen_ms = self._links[watched.gateway.eui].last_seen_ms
        status = GatewayStatus(
            online=bool(watched.online),
            last_seen_utc_ms=None if seen_ms is None else seen_ms + utc_offset_ms,
            rx_received=_count(stat, "rxnb"),
            rx_ok=_count(stat, "rxok"),
            rx_forwarded=_count(stat, "rxfw"),
            tx_received=_count(stat, "dwnb"),
            tx_emitted=_count(stat, "txnb"),
            push_acknowledged_pct=_percentage(stat, "ackr"),
            uplinks_accepted=watched.accepted,
            downlinks_sent=watched.sent,
            rejected=watched.rejected,
        )
        return StateDue(watched.gateway, status, stat, changed)


def _count(stat: Mapping[str, object], name: str) -> int | None:
    value = stat.get(name)
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else None


def _percentage(stat: Mapping[str, object], name: str) -> float | None:
    value = stat.get(name)
    # The bounds before the conversion: a whole number may be too large for it.
    return float(value) if isinstance(value, int | float) and 0 <= value <= 100 else None

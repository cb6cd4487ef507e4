"""Watches the packet forwarders: online or not, what they count, when to publish it. Pure.

A gateway is online for as long as it is heard. Its state is due when that changes, and every
``STATE_INTERVAL_MS`` at a stat of its own, or without one if it sends none. One that is not heard
soon after the start is offline too: what was published of it before may say otherwise.

Beside what is published the monitor keeps, for the doctor, the last receptions, downlinks and stats
of each gateway: ``Recent``.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from stoep_gateway.assets.registry import Gateway
from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.forwarders.links import Link, Links, Unregistered, host_and_port
from stoep_gateway.lns.frames import Tick, Transmitted, UplinkFrame
from stoep_gateway.publish.gateways import GatewayStatus, Stranger

__all__ = [
    "CHECK_INTERVAL_MS",
    "OFFLINE_AFTER_MS",
    "STATE_INTERVAL_MS",
    "GatewayMonitor",
    "Recent",
    "StateDue",
    "StrangersDue",
]

OFFLINE_AFTER_MS = 120_000  # forwarders ask for downlinks every 5 to 30 s
STATE_INTERVAL_MS = 300_000
CHECK_INTERVAL_MS = 60_000
_LARGEST_COUNT = 2**53 - 1  # which every reader of JSON can hold
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class StateDue:
    """A gateway's state to record and publish; ``changed``: it went online or offline."""

    gateway: Gateway
    status: GatewayStatus
    stat: Mapping[str, object]
    changed: bool


@dataclass(frozen=True, slots=True)
class StrangersDue:
    """The gateways that came and are not registered, to publish."""

    strangers: tuple[Stranger, ...]


@dataclass(slots=True)
class Recent:
    """A gateway's last days or minutes, whatever fits.

    ``receptions`` are ``(freq_hz, sf, bw_hz)``, ``outcomes`` what it said of downlinks in small
    letters, ``sent`` for nothing; ``stats`` are ``(received, with a correct CRC)``.
    """

    receptions: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=200))
    outcomes: deque[str] = field(default_factory=lambda: deque(maxlen=100))
    stats: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=20))


@dataclass(slots=True)
class _Watched:
    gateway: Gateway
    link: Link
    online: bool | None = None  # None until it was heard, or a silence has told
    stat: Mapping[str, object] = field(default_factory=dict)
    next_state_ms: int = 0
    accepted: int = 0
    downlinks: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    recent: Recent = field(default_factory=Recent)
    since_ms: int = 0  # when it was registered, if not at the start


class GatewayMonitor:
    """All gateways of a site, with their links to the forwarders' machines."""

    def __init__(self, gateways: Mapping[bytes, Gateway], links: Links) -> None:
        self._watched = {eui: _Watched(gateway, links[eui]) for eui, gateway in gateways.items()}
        self._links = links
        self._told: frozenset[bytes] | None = None
        self._told_ms = 0
        self._started_ms = 0
        self._next_check_ms = CHECK_INTERVAL_MS

    def start(self, now: int) -> None:
        """Count from ``now`` the silence of gateways that have not been heard yet."""
        self._started_ms = now
        self._next_check_ms = now + CHECK_INTERVAL_MS

    def replace(self, gateways: Mapping[bytes, Gateway], now: int, utc_ms: int) -> list[StateDue]:
        """Watch these gateways, whose links are there already, and no others.

        Returns the last state of those that left: offline; and that of those that changed.
        """
        due = []
        for eui in [eui for eui in self._watched if eui not in gateways]:
            watched = self._watched.pop(eui)
            watched.online = False
            due.append(self._due(watched, now, utc_ms, changed=True))
        for eui, gateway in gateways.items():
            known = self._watched.get(eui)
            if known is None:
                self._watched[eui] = _Watched(gateway, self._links[eui], since_ms=now)
            elif known.gateway != gateway:
                if known.gateway.id != gateway.id:  # its old topic would go on saying that it is on
                    status = self._due(known, now, utc_ms, changed=True)
                    due.append(replace(status, status=replace(status.status, online=False)))
                known.gateway = gateway
                if known.online is not None:
                    due.append(self._due(known, now, utc_ms, changed=False))
        return due

    def handle(
        self, event: GatewayStat | Tick, now: int, utc_ms: int
    ) -> list[StateDue | StrangersDue]:
        """Take a gateway's stat, or the deadline; ``now`` in milliseconds, and as UTC."""
        if type(event) is GatewayStat:
            watched = self._watched[event.gateway_eui]
            self._take_stat(watched, event.stat, utc_ms)
            if watched.online and now < watched.next_state_ms:
                return []
            return [self._online(watched, now, utc_ms)]
        return self._check(now, utc_ms)

    def next_deadline(self) -> int:
        """Return when to look again: a gateway may have fallen silent, or come without a stat."""
        silent_since = [
            self._silent_since(watched)
            for watched in self._watched.values()
            if watched.online is not False
        ]
        return min([*(since + OFFLINE_AFTER_MS for since in silent_since), self._next_check_ms])

    def all_due(self, now: int, utc_ms: int) -> list[StateDue]:
        """Return the state of every gateway that was ever heard, for one that is about to stop."""
        return [
            self._due(watched, now, utc_ms, changed=False)
            for watched in self._watched.values()
            if watched.link.last_seen_ms is not None
        ]

    def heard(self, frame: UplinkFrame) -> None:
        """Note a reception."""
        watched = self._watched.get(frame.gateway_eui)
        if watched is not None:
            watched.recent.receptions.append((frame.freq_hz, frame.sf, frame.bw_hz))

    def is_station(self, gateway_eui: bytes) -> bool:
        """Whether a gateway speaks Basics Station's protocol, as far as is known."""
        watched = self._watched.get(gateway_eui)
        return watched is not None and watched.link.protocol == "basics_station"

    def accepted(self, gateway_eui: bytes) -> None:
        """Count an uplink that this gateway heard best."""
        watched = self._watched.get(gateway_eui)
        if watched is not None:
            watched.accepted += 1

    def transmitted(self, answer: Transmitted) -> None:
        """Count what a gateway said of a downlink."""
        watched = self._watched.get(answer.gateway_eui)
        if watched is not None:
            outcome = answer.error.lower() or "sent"
            if outcome == "not_connected":  # it was not asked
                return
            watched.downlinks[outcome] += 1
            watched.recent.outcomes.append(outcome)

    def rejected(self, gateway_eui: bytes, reason: str) -> None:
        """Count what was not accepted from this gateway."""
        watched = self._watched.get(gateway_eui)
        if watched is not None:
            watched.rejected[reason] += 1

    def recent(self, gateway_eui: bytes) -> Recent:
        """Return what this gateway did lately."""
        return self._watched[gateway_eui].recent

    def rejections(self, gateway_eui: bytes) -> Mapping[str, int]:
        """Return what was not accepted from this gateway since the start, by reason."""
        return self._watched[gateway_eui].rejected

    def _take_stat(self, watched: _Watched, stat: Mapping[str, object], utc_ms: int) -> None:
        watched.stat = stat
        received, ok = _count(stat, "rxnb"), _count(stat, "rxok")
        if received is not None and ok is not None:
            watched.recent.stats.append((received, ok))
        told_ms = _utc_ms(stat.get("time"))
        if told_ms is not None:
            watched.link.clock_offset_ms = told_ms - utc_ms

    def _check(self, now: int, utc_ms: int) -> list[StateDue | StrangersDue]:
        due: list[StateDue | StrangersDue] = []
        for watched in self._watched.values():
            if self._silent_since(watched) + OFFLINE_AFTER_MS <= now:
                if watched.online is not False:
                    watched.online = False
                    due.append(self._due(watched, now, utc_ms, changed=True))
            elif watched.link.last_seen_ms is not None and self._is_overdue(watched, now):
                due.append(self._online(watched, now, utc_ms))
        if self._next_check_ms <= now:
            self._next_check_ms = now + CHECK_INTERVAL_MS
            due += self._strangers(now, utc_ms)
        return due

    def _is_overdue(self, watched: _Watched, now: int) -> bool:
        """Whether no stat came at which its state could have been told."""
        if not watched.online:
            return self._next_check_ms <= now
        return watched.next_state_ms + CHECK_INTERVAL_MS <= now

    def _online(self, watched: _Watched, now: int, utc_ms: int) -> StateDue:
        changed = not watched.online
        watched.online = True
        watched.next_state_ms = now + STATE_INTERVAL_MS
        return self._due(watched, now, utc_ms, changed=changed)

    def _strangers(self, now: int, utc_ms: int) -> list[StrangersDue]:
        seen = self._links.unregistered
        euis = frozenset(stranger.eui for stranger in seen)
        news = seen and seen[0].last_seen_ms >= self._told_ms
        if euis == self._told and not (news and self._told_ms + STATE_INTERVAL_MS <= now):
            return []
        self._told = euis
        self._told_ms = now
        return [StrangersDue(tuple(_stranger(it, utc_ms - now) for it in seen))]

    def _silent_since(self, watched: _Watched) -> int:
        seen_ms = watched.link.last_seen_ms
        return max(self._started_ms, watched.since_ms) if seen_ms is None else seen_ms

    def _due(self, watched: _Watched, now: int, utc_ms: int, *, changed: bool) -> StateDue:
        stat, link = watched.stat, watched.link
        seen_ms = link.last_seen_ms
        status = GatewayStatus(
            online=bool(watched.online),
            last_seen_utc_ms=None if seen_ms is None else seen_ms + utc_ms - now,
            protocol=link.protocol,
            address=None if link.peer is None else host_and_port(link.peer),
            connected=link.connected(now),
            round_trip_ms=link.round_trip_ms,
            round_trip_worst_ms=link.round_trip_worst_ms,
            clock_offset_ms=link.clock_offset_ms,
            rx_received=_count(stat, "rxnb"),
            rx_ok=_count(stat, "rxok"),
            rx_forwarded=_count(stat, "rxfw"),
            tx_received=_count(stat, "dwnb"),
            tx_emitted=_count(stat, "txnb"),
            push_acknowledged_pct=_percentage(stat, "ackr"),
            uplinks_accepted=watched.accepted,
            downlinks=watched.downlinks,
            rejected=watched.rejected,
        )
        return StateDue(watched.gateway, status, stat, changed)


def _stranger(seen: Unregistered, utc_offset_ms: int) -> Stranger:
    return Stranger(
        seen.eui,
        seen.protocol,
        seen.address,
        seen.count,
        seen.first_seen_ms + utc_offset_ms,
        seen.last_seen_ms + utc_offset_ms,
    )


def _count(stat: Mapping[str, object], name: str) -> int | None:
    value = stat.get(name)
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else None


def _percentage(stat: Mapping[str, object], name: str) -> float | None:
    value = stat.get(name)
    # The bounds before the conversion: a whole number may be too large for it.
    return float(value) if isinstance(value, int | float) and 0 <= value <= 100 else None


def _utc_ms(time: object) -> int | None:
    """Return a stat's time, ``2026-01-01 00:00:00 GMT``: in the middle of the second it names."""
    match = _TIME.match(time) if isinstance(time, str) else None
    if match is None:
        return None
    try:
        told = datetime.fromisoformat(f"{match[1]} {match[2]}").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(told.timestamp()) * 1000 + 500

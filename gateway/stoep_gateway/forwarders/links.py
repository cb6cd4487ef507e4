"""What is known of each gateway's connection, by whichever protocol it comes. Pure.

The machines of both protocols write into one ``Link`` per registered gateway; the monitor, the
scheduler and the doctor read it. ``Links`` also remembers who came without being registered.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from stoep_gateway.config_model import GatewayConfig, GwmpConfig

__all__ = ["Address", "Bucket", "Link", "Links", "Protocol", "Unregistered", "host_and_port", "of"]

MAX_UNREGISTERED = 50
MESSAGES_PER_S = 500
BURST = 1000
PULL_LASTS_MS = 120_000  # forwarders pull every 5 to 30 s; a NAT forgets after a minute or two
HOST_STAYS_MS = 30_000  # a host that is silent for so long can be replaced by another
STRAY_SHARE = 10  # a gateway's second address may send a tenth of what the first one may

_NEVER = 2**63
_ROUND_TRIPS = 32
_MOVES = 8

Protocol = Literal["gwmp", "basics_station"]
Address = tuple[Any, ...]  # a socket's: (host, port, …)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Bucket:
    """Lets ``per_s`` messages through for long, and ``burst`` at once."""

    __slots__ = ("_allowance", "_at_ms", "_burst", "_per_ms")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_ms = per_s / 1000
        self._burst = burst
        self._allowance = burst
        self._at_ms = 0

    def take(self, now: int) -> bool:
        """Take one message out if there is one."""
        allowance = self._allowance + (now - self._at_ms) * self._per_ms
        self._at_ms = now
        if allowance < 1:
            self._allowance = allowance
            return False
        self._allowance = (allowance if allowance < self._burst else self._burst) - 1
        return True

    def charge(self, messages: float) -> None:
        """Take more out for a message that was let through; it may become a debt."""
        self._allowance -= messages


class Link:
    """One registered gateway's connection.

    Times are the gateway clock's milliseconds, None for never. ``addresses`` are the only networks
    that it may come from, if there are any. ``bucket`` is for what comes from ``host``, and
    ``stray_bucket`` for what names this gateway but comes from elsewhere, so that a forger cannot
    use up the gateway's own.
    """

    __slots__ = (
        "_round_trips_ms",
        "addresses",
        "antenna_gain_dbi",
        "bucket",
        "clock_offset_ms",
        "connected_until_ms",
        "eui",
        "host",
        "host_seen_ms",
        "last_pull_ms",
        "last_push_ms",
        "last_seen_ms",
        "moved_ms",
        "peer",
        "protocol",
        "pull_address",
        "refused_address",
        "refused_ms",
        "stray_bucket",
    )

    def __init__(
        self,
        eui: bytes,
        addresses: Iterable[str] = (),
        antenna_gain_dbi: float = 0.0,
        *,
        messages_per_s: float = MESSAGES_PER_S,
        burst: float = BURST,
    ) -> None:
        self.eui = eui
        self.addresses: tuple[Network, ...] = tuple(map(ipaddress.ip_network, addresses))
        self.antenna_gain_dbi = antenna_gain_dbi
        self.protocol: Protocol | None = None
        self.peer: Address | None = None  # where the last message came from
        self.last_seen_ms: int | None = None
        self.connected_until_ms: int = 0
        self.clock_offset_ms: int | None = None  # its clock less ours
        self._round_trips_ms: deque[float] = deque(maxlen=_ROUND_TRIPS)
        # It came from an address that it may not come from.
        self.refused_address: Address | None = None
        self.refused_ms: int | None = None
        self.bucket = Bucket(messages_per_s, burst)
        self.stray_bucket = Bucket(messages_per_s / STRAY_SHARE, max(1, burst / STRAY_SHARE))
        # GWMP: the host that its datagrams come from, and where downlinks go.
        self.host: str | None = None
        self.host_seen_ms = 0
        self.pull_address: Address | None = None
        self.last_pull_ms: int | None = None
        self.last_push_ms: int | None = None
        self.moved_ms: deque[int] = deque(maxlen=_MOVES)  # the last times that pull_address changed

    def connected(self, now: int) -> bool:
        """Whether a downlink can be handed to it."""
        return now < self.connected_until_ms

    def opened(self, protocol: Protocol, address: Address, now: int) -> None:
        """Note a connection that stays until it is ``closed``, or is opened anew."""
        self.protocol = protocol
        self.peer = address
        self.last_seen_ms = now
        self.connected_until_ms = _NEVER

    def closed(self) -> None:
        """Note the end of such a connection."""
        self.connected_until_ms = 0

    def may_come_from(self, host: str) -> bool:
        """Whether the allow-list, if there is one, holds this address."""
        if not self.addresses:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.addresses)

    def refuse(self, address: Address, now: int) -> None:
        """Note that it came from elsewhere than it may."""
        self.refused_address = address
        self.refused_ms = now

    def bucket_of(self, host: str, now: int) -> Bucket | None:
        """Return what a datagram from ``host`` is charged to; None: it may not come from there."""
        if host != self.host:
            if not self.may_come_from(host):
                return None
            if self.host is not None and now - self.host_seen_ms < HOST_STAYS_MS:
                return self.stray_bucket
            self.host = host
        self.host_seen_ms = now
        return self.bucket

    def pulled(self, address: Address, now: int) -> None:
        """Note a GWMP PULL_DATA: downlinks go where it came from, unless another host pulls."""
        if address != self.pull_address:
            if self.pull_address is not None:
                stays = address[0] != self.pull_address[0]
                if stays and now - (self.last_pull_ms or 0) < HOST_STAYS_MS:
                    return
                self.moved_ms.append(now)
            self.pull_address = address
        self.last_pull_ms = now
        self.connected_until_ms = now + PULL_LASTS_MS

    def add_round_trip(self, milliseconds: float) -> None:
        """Note how long an answer took from our sending to its arrival."""
        self._round_trips_ms.append(milliseconds)

    @property
    def round_trip_ms(self) -> float | None:
        """The median of the last round trips."""
        return median(self._round_trips_ms) if self._round_trips_ms else None

    @property
    def round_trip_worst_ms(self) -> float | None:
        """The longest of the last round trips."""
        return max(self._round_trips_ms, default=None)


@dataclass(slots=True)
class Unregistered:
    """A gateway that came and is not in the configuration."""

    eui: bytes
    protocol: Protocol
    address: str
    count: int
    first_seen_ms: int
    last_seen_ms: int


class Links(dict[bytes, Link]):
    """The links of all registered gateways, by EUI."""

    def __init__(self, links: Iterable[Link]) -> None:
        super().__init__((link.eui, link) for link in links)
        self._unregistered: dict[bytes, Unregistered] = {}

    def replace(self, fresh: Links) -> frozenset[bytes]:
        """Take the gateways of ``fresh``; return the EUIs of those that left or changed.

        What is known of a connection stays with those that remain.
        """
        changed = {eui for eui in self if eui not in fresh}
        for eui in changed:
            del self[eui]
        for eui, link in fresh.items():
            before = self.setdefault(eui, link)
            self._unregistered.pop(eui, None)
            if (before.addresses, before.antenna_gain_dbi) != (
                link.addresses,
                link.antenna_gain_dbi,
            ):
                before.addresses = link.addresses
                before.antenna_gain_dbi = link.antenna_gain_dbi
                before.host = None  # who may not come any more stays no longer
                changed.add(eui)
        return frozenset(changed)

    @property
    def unregistered(self) -> list[Unregistered]:
        """Who was seen and is not registered, the latest first."""
        return sorted(self._unregistered.values(), key=lambda seen: -seen.last_seen_ms)

    def seen_unregistered(self, eui: bytes, protocol: Protocol, address: Address, now: int) -> None:
        """Remember one, at the cost of whoever came least often: EUIs cost a forger nothing."""
        seen = self._unregistered.get(eui)
        if seen is None:
            if len(self._unregistered) >= MAX_UNREGISTERED:
                rarest = min(
                    self._unregistered.values(), key=lambda it: (it.count, it.last_seen_ms)
                )
                del self._unregistered[rarest.eui]
            seen = Unregistered(eui, protocol, "", 0, now, now)
            self._unregistered[eui] = seen
        seen.protocol = protocol
        seen.address = host_and_port(address)
        seen.count += 1
        seen.last_seen_ms = now


def of(gateways: Iterable[GatewayConfig], gwmp: GwmpConfig) -> Links:
    """Return the links of the configured gateways."""
    return Links(
        Link(
            gateway.eui,
            gateway.addresses,
            gateway.antenna_gain_dbi,
            messages_per_s=gwmp.datagrams_per_s,
            burst=gwmp.burst,
        )
        for gateway in gateways
    )


def host_and_port(address: Address) -> str:
    """Write a socket's address as a person does."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"

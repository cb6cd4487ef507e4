"""What the doctor knows of a site, and what it finds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from stoep_gateway.assets import configuration
from stoep_gateway.assets.registry import Device, Gateway
from stoep_gateway.census import Census
from stoep_gateway.forwarders.links import Links, host_and_port
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.lns.airtime import SubBandUse
from stoep_gateway.lns.channel_plan import Plan
from stoep_gateway.store.records import ConfigurationRow

__all__ = [
    "SLOW_S",
    "STALE_S",
    "ConfigurationFacts",
    "Facts",
    "FileFacts",
    "Finding",
    "GatewayFacts",
    "MachineFacts",
    "OutboxFacts",
    "SilentFacts",
    "StorageFacts",
    "StrangerFacts",
    "of_configurations",
    "of_gateways",
    "of_silent",
    "of_strangers",
]

SLOW_S = 0.25  # a commit; a bound of the store's histogram
STALE_S = 600  # what is older is told no more, or as a mere note

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know; ``gateway`` is its id, empty for the whole site."""

    level: Level
    code: str
    gateway: str
    what: str
    meaning: str
    remedy: str

    def __str__(self) -> str:
        """Write it for people, in three lines."""
        where = f"{self.gateway}: " if self.gateway else ""
        return (
            f"{self.level}[{self.code}]: {where}{self.what}\n"
            f"  means: {self.meaning}\n"
            f"  do:    {self.remedy}"
        )


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """One registered gateway; ``…_s`` is how long ago, None for never since the start.

    ``moves`` counts new addresses of its downlink socket within the last ``STALE_S``;
    ``receptions`` are its last ones by ``(freq_hz, sf, bw_hz)``, ``outcomes`` those of its last
    downlinks, ``stats`` the sums of its last stats, received and with a correct CRC.
    """

    id: str
    eui: str
    protocol: str | None = None
    connected: bool = False
    address: str = ""
    seen_s: float | None = None
    pulled_s: float | None = None
    pushed_s: float | None = None
    moves: int = 0
    refused_address: str = ""
    refused_s: float | None = None
    round_trip_ms: float | None = None
    round_trip_worst_ms: float | None = None
    clock_offset_s: float | None = None
    receptions: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    stats: tuple[int, int] = (0, 0)
    rejected: Mapping[str, int] = field(default_factory=dict)
    airtime: tuple[SubBandUse, ...] = ()


@dataclass(frozen=True, slots=True)
class StrangerFacts:
    """A gateway that came and is not registered."""

    eui: str
    protocol: str
    address: str
    count: int
    seen_s: float


@dataclass(frozen=True, slots=True)
class ConfigurationFacts:
    """A device that has not taken its configuration; ``refused`` is why, empty while pending."""

    device: str
    refused: str
    since_s: float


@dataclass(frozen=True, slots=True)
class SilentFacts:
    """A device that was heard once; ``asset`` is "container/ID", empty without one."""

    device: str
    asset: str
    seen_s: float


@dataclass(frozen=True, slots=True)
class OutboxFacts:
    """What waits for the broker; ``oldest_s`` is how long."""

    messages: int = 0
    octets: int = 0
    limit_octets: int = 0
    oldest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """The drive under the database. None: it does not tell.

    ``life_used_pct`` and ``pre_eol`` (1 normal, 2 warning, 3 urgent) are those of an eMMC.
    """

    name: str
    octets: int
    written_per_day: int | None = None
    life_used_pct: int | None = None
    pre_eol: int | None = None


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file that the configuration names: ``missing``, ``empty``, or ``readable`` by everybody."""

    path: str
    what: str
    problem: Literal["missing", "empty", "readable"]


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The machine; None is what cannot be seen. ``backup_s`` is the age of the last copy."""

    clock_synchronised: bool | None = None
    disk_free_octets: int | None = None
    disk_octets: int | None = None
    database_octets: int | None = None
    storage: StorageFacts | None = None
    backup_s: float | None = None
    files: tuple[FileFacts, ...] | None = None
    context_broker: str | None = None  # why it is not reached


@dataclass(frozen=True, slots=True)
class Facts:
    """A running gateway process and all that it knows of its forwarders.

    ``gwmp`` and ``station`` are where it listens, "127.0.0.1:1700" and "port 3001 (wss)", the
    latter empty without Basics Station. ``broker_queue`` is how many messages a broker on this
    machine keeps for a client that is away, None when that cannot be seen, 0 for no limit.
    ``ports_sent_to`` are the UDP ports of this machine that its own programs send to, ``sources``
    the other network servers by id, and whether their brokers are connected. ``commits`` and
    ``slow_commits`` count those since the start, ``devices`` by state as `census` does.
    """

    up_s: float
    plan: Plan
    rx1_delay_s: int
    gwmp: str
    station: str
    gateways: tuple[GatewayFacts, ...]
    strangers: tuple[StrangerFacts, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    broker: str = ""
    broker_connected: bool = True
    broker_queue: int | None = None
    ports_sent_to: tuple[int, ...] = ()
    sources: Mapping[str, bool] = field(default_factory=dict)
    configurations: tuple[ConfigurationFacts, ...] = ()
    outbox: OutboxFacts = OutboxFacts()
    commits: int = 0
    slow_commits: int = 0
    devices: Mapping[str, int] = field(default_factory=dict)
    silent: tuple[SilentFacts, ...] = ()


def of_gateways(
    gateways: Mapping[bytes, Gateway],
    links: Links,
    monitor: GatewayMonitor,
    airtime: Mapping[bytes, tuple[SubBandUse, ...]],
    now: int,
) -> tuple[GatewayFacts, ...]:
    """Return what is known of each registered gateway at ``now``, in milliseconds."""
    return tuple(
        _of_gateway(gateway, links, monitor, airtime.get(eui, ()), now)
        for eui, gateway in gateways.items()
    )


def of_configurations(
    devices: Mapping[bytes, Device], rows: Iterable[ConfigurationRow], utc_ms: int
) -> tuple[ConfigurationFacts, ...]:
    """Return what is known of the devices that do not have what is wanted of them."""
    return tuple(
        ConfigurationFacts(
            devices[row.dev_eui].dev_eui_hex,
            configuration.refusal(row) or "",
            max(0, utc_ms - row.since_utc_ms) / 1000,
        )
        for row in rows
        if row.dev_eui in devices
        and devices[row.dev_eui].enabled
        and configuration.standing(row) != "in_force"
    )


def of_silent(census: Census, utc_ms: int) -> tuple[SilentFacts, ...]:
    """Return the devices that are silent, the longest first."""
    return tuple(
        SilentFacts(
            it.device.dev_eui_hex,
            "" if it.device.asset is None else it.device.asset.key,
            (utc_ms - it.heard_utc_ms) / 1000,
        )
        for it in sorted(census.silent, key=lambda it: it.heard_utc_ms)
    )


def of_strangers(links: Links, now: int) -> tuple[StrangerFacts, ...]:
    """Return who came without being registered, the latest first."""
    return tuple(
        StrangerFacts(
            seen.eui.hex(),
            seen.protocol,
            seen.address,
            seen.count,
            (now - seen.last_seen_ms) / 1000,
        )
        for seen in links.unregistered
    )


def _of_gateway(
    gateway: Gateway,
    links: Links,
    monitor: GatewayMonitor,
    airtime: tuple[SubBandUse, ...],
    now: int,
) -> GatewayFacts:
    link, recent = links[gateway.eui], monitor.recent(gateway.eui)

    def ago_s(ms: int | None) -> float | None:
        return None if ms is None else (now - ms) / 1000

    offset_ms = link.clock_offset_ms
    return GatewayFacts(
        id=gateway.id,
        eui=gateway.eui.hex(),
        protocol=link.protocol,
        connected=link.connected(now),
        address="" if link.peer is None else host_and_port(link.peer),
        seen_s=ago_s(link.last_seen_ms),
        pulled_s=ago_s(link.last_pull_ms),
        pushed_s=ago_s(link.last_push_ms),
        moves=sum(now - moved_ms < STALE_S * 1000 for moved_ms in link.moved_ms),
        refused_address="" if link.refused_address is None else host_and_port(link.refused_address),
        refused_s=ago_s(link.refused_ms),
        round_trip_ms=link.round_trip_ms,
        round_trip_worst_ms=link.round_trip_worst_ms,
        clock_offset_s=None if offset_ms is None else offset_ms / 1000,
        receptions=Counter(recent.receptions),
        outcomes=Counter(recent.outcomes),
        stats=(sum(it[0] for it in recent.stats), sum(it[1] for it in recent.stats)),
        rejected=dict(monitor.rejections(gateway.eui)),
        airtime=airtime,
    )

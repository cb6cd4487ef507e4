"""From the configuration to what the parts are built with; and what to say when that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stoep_protocol.lorawan.regions import by_name

from stoep_gateway.clock import Clock
from stoep_gateway.config import Config
from stoep_gateway.doctor.rules import port_taken
from stoep_gateway.errors import FatalError
from stoep_gateway.forwarders.basics_station import BasicsStationServer
from stoep_gateway.forwarders.links import Links, host_and_port
from stoep_gateway.forwarders.tokens import read_tokens
from stoep_gateway.lns.adr import AdrSettings
from stoep_gateway.lns.channel_plan import Plan, for_region
from stoep_gateway.lns.mac_state import Target

if TYPE_CHECKING:
    from stoep_gateway.forwarders.websocket import WebSocketStations

__all__ = ["adr_settings", "stations", "taken", "target"]


def target(config: Config) -> Target:
    """Return what devices shall be told by MAC commands."""
    lorawan = config.lorawan
    region = by_name(lorawan.region)
    return Target(
        for_region(region, lorawan.sub_band),
        lorawan.rx1_delay_s,
        lorawan.rx1_dr_offset,
        region.rx2_dr,
        region.rx2_hz,
        status_every_ms=lorawan.device_status_every_h * 3_600_000,
    )


def adr_settings(config: Config) -> AdrSettings | None:
    """Return how devices are steered, None: not at all."""
    adr = config.adr
    return AdrSettings(adr.margin_db, adr.min_dr, adr.max_dr) if adr.enabled else None


def stations(
    config: Config, links: Links, plan: Plan, clock: Clock, receive: Callable[[Any], None]
) -> WebSocketStations | None:
    """Return the driver of Basics Stations, None where none is configured."""
    if config.basics_station is None:
        return None
    from stoep_gateway.forwarders.websocket import WebSocketStations  # noqa: PLC0415 (a large one)

    machine = BasicsStationServer(
        links,
        plan,
        tokens=read_tokens(config.gateways),
        client_certificates=config.basics_station.client_ca is not None,
    )
    return WebSocketStations(machine, clock, receive)


def taken(kind: str, bind: str, port: int, error: OSError, table: str = "") -> FatalError:
    """Return the error for a port, of a table of the configuration, that is not to be had."""
    table = table or ("gwmp" if kind == "UDP" else "basics_station")
    reason = error.strerror or str(error)
    return FatalError(str(port_taken(f"{kind} {host_and_port((bind, port))}", reason, table)))

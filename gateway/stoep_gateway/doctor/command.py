"""``stoep gateway doctor``: ask the running gateway; without one, look at the configuration.

Exit codes: 0 nothing is wrong or only warnings, 1 something is, 2 mistakes in the configuration,
3 no gateway answers.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stoep_gateway import config as configuration
from stoep_gateway import control_client
from stoep_gateway.assets.registry import Gateway
from stoep_gateway.clock import Clock
from stoep_gateway.config import Config
from stoep_gateway.config_model import BasicsStationConfig
from stoep_gateway.control_client import GatewayAway
from stoep_gateway.doctor.facts import (
    ConfigurationFacts,
    Facts,
    Finding,
    GatewayFacts,
    of_gateways,
    of_strangers,
)
from stoep_gateway.doctor.gateway_rules import duration
from stoep_gateway.doctor.rules import diagnose, port_taken
from stoep_gateway.errors import FatalError
from stoep_gateway.forwarders.links import Links, host_and_port
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.lns.channel_plan import Plan
from stoep_gateway.lns.scheduler import Account
from stoep_gateway.metrics import Metrics

__all__ = ["COMMAND", "Doctor", "add_parser", "mosquitto_queue", "ports_sent_to", "run"]

COMMAND = "gateway.doctor"
_MOSQUITTO = Path("/etc/mosquitto/mosquitto.conf")
_MOSQUITTO_DEFAULT = 1000  # mosquitto.conf(5)
_PROC_NET = Path("/proc/self/net")
_SETTING = re.compile(r"(max_queued_messages|include_dir)\s+(\S+)\s*")
_BROKER_S = 3.0
_PROTOCOLS = {socket.SOCK_DGRAM: "UDP", socket.SOCK_STREAM: "TCP"}


class Doctor:
    """Knows where the running gateway keeps what a diagnosis needs; `answer` is for the socket.

    ``accounts`` is the scheduler's; ``broker`` returns whether it is connected and how many
    messages wait, ``sources`` for each source whether it is connected, ``configurations`` the
    devices that do not have theirs.
    """

    def __init__(
        self,
        config: Config,
        plan: Plan,
        gateways: Mapping[bytes, Gateway],
        links: Links,
        monitor: GatewayMonitor,
        metrics: Metrics,
        clock: Clock,
        *,
        accounts: Callable[[int], Mapping[bytes, Account]],
        broker: Callable[[], tuple[bool, int]],
        sources: Callable[[], Mapping[str, bool]],
        configurations: Callable[[], tuple[ConfigurationFacts, ...]],
    ) -> None:
        self._config = config
        self._plan = plan
        self._gateways = gateways
        self._links = links
        self._monitor = monitor
        self._metrics = metrics
        self._clock = clock
        self._accounts = accounts
        self._broker = broker
        self._sources = sources
        self._configurations = configurations
        self._started_ms = clock.now_ms()

    def reconfigure(self, config: Config) -> None:
        """Look at another configuration from now on."""
        self._config = config

    def answer(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the members of an answer: "gateways", a line each, and "findings"."""
        facts = self._facts()
        return {
            "gateways": [_summary(gateway) for gateway in facts.gateways],
            "findings": [asdict(finding) for finding in diagnose(facts)],
        }

    def _facts(self) -> Facts:
        now = self._clock.now_ms()
        airtime = {eui: account.airtime for eui, account in self._accounts(now).items()}
        connected, waiting = self._broker()
        mqtt, gwmp, station = self._config.mqtt, self._config.gwmp, self._config.basics_station
        return Facts(
            up_s=(now - self._started_ms) / 1000,
            plan=self._plan,
            rx1_delay_s=self._config.lorawan.rx1_delay_s,
            gwmp=host_and_port((gwmp.bind, gwmp.port)),
            station="" if station is None else _port_of(station),
            gateways=of_gateways(self._gateways, self._links, self._monitor, airtime, now),
            strangers=of_strangers(self._links, now),
            rejected=self._metrics.rejected,
            broker=host_and_port((mqtt.host, mqtt.port)),
            broker_connected=connected,
            waiting_messages=waiting,
            broker_queue=mosquitto_queue() if _is_here(mqtt.host) else None,
            ports_sent_to=ports_sent_to(),
            sources=self._sources(),
            configurations=self._configurations(),
        )


def add_parser(actions: Any) -> None:
    """Add ``doctor`` to the actions of ``stoep gateway``."""
    parser = actions.add_parser(
        "doctor", help="say what is wrong with the gateways, and what to do"
    )
    control_client.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Diagnose and print; return the exit code. Raises `FatalError`."""
    try:
        with control_client.connect(options) as client:
            answer = client.ask(COMMAND)
    except GatewayAway as away:
        if options.config is None:
            hint = "--config FILE lets the configuration be looked at without a gateway"
            print(f"{away}\n{hint}", file=sys.stderr)
            return GatewayAway.exit_code
        answer = {"gateways": [], "findings": list(map(asdict, _without_gateway(options, away)))}
    if "error" in answer:
        raise FatalError(f"{answer['error']} ({answer.get('hint', '')})")
    findings = [Finding(**finding) for finding in answer["findings"]]
    if options.json:
        print(json.dumps({"gateways": answer["gateways"], "findings": answer["findings"]}))
    else:
        _print(answer["gateways"], findings)
    return int(any(finding.level == "error" for finding in findings))


def _print(gateways: list[dict[str, Any]], findings: list[Finding]) -> None:
    width = max((len(gateway["id"]) for gateway in gateways), default=0)
    for gateway in gateways:
        print(f"{gateway['id']:{width}}  {_line(gateway)}")
    for number, finding in enumerate(findings):
        print(f"\n{finding}" if gateways or number else finding)
    if gateways and not findings:
        print("\nNothing is wrong as far as can be seen from here.")


def _summary(gateway: GatewayFacts) -> dict[str, Any]:
    return {
        "id": gateway.id,
        "eui": gateway.eui,
        "protocol": gateway.protocol,
        "address": gateway.address,
        "connected": gateway.connected,
        "seen_s": gateway.seen_s,
        "round_trip_ms": gateway.round_trip_ms,
        "receptions": sum(gateway.receptions.values()),
        "downlinks": sum(gateway.outcomes.values()),
        "downlinks_sent": gateway.outcomes.get("sent", 0),
    }


def _line(gateway: dict[str, Any]) -> str:
    if gateway["seen_s"] is None:
        return "never heard since the start"
    protocol = "Basics Station" if gateway["protocol"] == "basics_station" else "Semtech UDP"
    parts = [f"{protocol} at {gateway['address']}", f"heard {duration(gateway['seen_s'])} ago"]
    if gateway["round_trip_ms"] is not None:
        parts.append(f"round trip {gateway['round_trip_ms']:.0f} ms")
    parts.append(f"lately {gateway['receptions']} receptions")
    if gateway["downlinks"]:
        parts.append(f"{gateway['downlinks_sent']} of {gateway['downlinks']} downlinks sent")
    return ", ".join(parts)


def _port_of(station: BasicsStationConfig) -> str:
    return f"port {station.port} ({'ws' if station.tls_cert is None else 'wss'})"


# Without a gateway.


def _without_gateway(options: argparse.Namespace, away: GatewayAway) -> list[Finding]:
    config = configuration.load(options.config)
    listens = [(socket.SOCK_DGRAM, "gwmp", config.gwmp.bind, config.gwmp.port)]
    for table, it in (("basics_station", config.basics_station), ("http", config.http)):
        if it is not None:
            listens.append((socket.SOCK_STREAM, table, it.bind, it.port))
    found = [
        port_taken(f"{_PROTOCOLS[kind]} {host_and_port((host, port))}", reason, table)
        for kind, table, host, port in listens
        if (reason := _why_not(kind, host, port))
    ]
    ports = "its ports are free" if not found else "and it could not run"
    found.append(
        Finding(
            "error",
            "not-running",
            "",
            f"the gateway is not running: {away}",
            f"nothing is heard; the configuration is right, {ports}",
            f"stoep gateway run --config {options.config}; as a service: systemctl start"
            " stoep-gateway, journalctl -u stoep-gateway",
        )
    )
    broker = host_and_port((config.mqtt.host, config.mqtt.port))
    try:
        socket.create_connection((config.mqtt.host, config.mqtt.port), _BROKER_S).close()
    except OSError as error:
        found.append(
            Finding(
                "warning",
                "broker",
                "",
                f"no MQTT broker is reached at {broker}: {error.strerror or error}",
                "what is published would wait until one is there",
                "start it (systemctl start mosquitto), or correct host and port in [mqtt]",
            )
        )
    return found


def _why_not(kind: socket.SocketKind, host: str, port: int) -> str:
    """Return why a socket cannot be bound, or ""."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def mosquitto_queue(path: Path = _MOSQUITTO) -> int | None:
    """Return how many messages the Mosquitto of this machine keeps for a client that is away.

    0 is no limit. None: there is no Mosquitto, or its configuration may not be read.
    """
    queue = _MOSQUITTO_DEFAULT
    try:
        for name, value in _settings(path):
            settings = [(name, value)]
            if name == "include_dir":
                settings = [
                    it for file in sorted(Path(value).glob("*.conf")) for it in _settings(file)
                ]
            for inner_name, inner_value in settings:
                if inner_name == "max_queued_messages" and inner_value.isdecimal():
                    queue = int(inner_value)
    except (OSError, UnicodeDecodeError):
        return None
    return queue


def _settings(path: Path) -> list[tuple[str, str]]:
    matches = map(_SETTING.fullmatch, path.read_text(encoding="utf-8").splitlines())
    return [(match[1], match[2]) for match in matches if match is not None]


def ports_sent_to(folder: Path = _PROC_NET) -> tuple[int, ...]:
    """Return the UDP ports of this machine that its own programs send to, as forwarders do.

    A forwarder connects its sockets, so that they are in Linux's table with where they send to.
    """
    ports = set()
    for name in ("udp", "udp6"):
        try:
            lines = (folder / name).read_text(encoding="ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            address, _, port = line.split()[2].partition(":")
            if _is_loopback(address):
                ports.add(int(port, 16))
    return tuple(sorted(ports))


def _is_loopback(text: str) -> bool:
    """Tell of an address in that table: words of 32 bits, each as this processor stores it."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

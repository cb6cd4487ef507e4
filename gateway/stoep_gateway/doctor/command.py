"""``stoep gateway doctor``: ask the running gateway; without one, look at the configuration.

Exit codes: 0 nothing is wrong or only warnings, 1 something is, 2 mistakes in the configuration,
3 no gateway answers.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from stoep_gateway import census, config_path, control_client
from stoep_gateway import config as configuration
from stoep_gateway.config import Config
from stoep_gateway.config_model import BasicsStationConfig
from stoep_gateway.control_client import GatewayAway
from stoep_gateway.doctor import machine, text
from stoep_gateway.doctor.facts import (
    SLOW_S,
    Facts,
    Finding,
    GatewayFacts,
    MachineFacts,
    OutboxFacts,
    of_configurations,
    of_gateways,
    of_silent,
    of_strangers,
)
from stoep_gateway.doctor.machine_rules import of_machine
from stoep_gateway.doctor.rules import broker_queue, by_level, diagnose, port_taken
from stoep_gateway.errors import FatalError
from stoep_gateway.forwarders.links import host_and_port
from stoep_gateway.lns.channel_plan import Plan
from stoep_gateway.services import Parts

__all__ = ["COMMAND", "Doctor", "add_parser", "mosquitto_queue", "ports_sent_to", "run"]

COMMAND = "gateway.doctor"
_MOSQUITTO = Path("/etc/mosquitto/mosquitto.conf")
_MOSQUITTO_DEFAULT = 1000  # mosquitto.conf(5)
_PROC_NET = Path("/proc/self/net")
_SETTING = re.compile(r"(max_queued_messages|include_dir)\s+(\S+)\s*")
_BROKER_S = 3.0
_PROTOCOLS = {socket.SOCK_DGRAM: "UDP", socket.SOCK_STREAM: "TCP"}


class Doctor:
    """Knows where the running gateway keeps what a diagnosis needs; `answer` is for the socket."""

    def __init__(self, parts: Parts, plan: Plan) -> None:
        self._parts = parts
        self._plan = plan
        self._config = parts.config
        self._started_ms = parts.clock.now_ms()

    def reconfigure(self, config: Config) -> None:
        """Look at another configuration from now on."""
        self._config = config

    async def answer(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the members of an answer: "gateways", a line each, "findings", "site", "machine".

        What the machine is like may be seen better by who asks, so it is judged there.
        """
        seen = await asyncio.to_thread(machine.look, self._config.store.path, self._config)
        facts = self._facts()
        return {
            "gateways": [_summary(gateway) for gateway in facts.gateways],
            "findings": [asdict(finding) for finding in diagnose(facts)],
            "site": {
                "name": self._config.site,
                "up_s": facts.up_s,
                "devices": dict(facts.devices),
                "broker": facts.broker,
                "broker_connected": facts.broker_connected,
                "waiting_messages": facts.outbox.messages,
                "trust_clock": self._config.time.trust_clock,
            },
            "database": str(self._config.store.path.resolve()),
            "machine": asdict(seen),
        }

    def _facts(self) -> Facts:
        parts = self._parts
        now, utc_ms = parts.clock.now_ms(), parts.clock.utc_ms()
        accounts = parts.scheduler.accounts(now)
        airtime = {eui: account.airtime for eui, account in accounts.items()}
        mqtt, gwmp, station = self._config.mqtt, self._config.gwmp, self._config.basics_station
        outbox, registry, commits = parts.outbox, parts.registry, parts.store.commit_s
        oldest_ms = outbox.oldest_utc_ms
        taken = census.take(registry, parts.memory.states, parts.memory.sessions.all(), utc_ms)
        return Facts(
            up_s=(now - self._started_ms) / 1000,
            plan=self._plan,
            rx1_delay_s=self._config.lorawan.rx1_delay_s,
            gwmp=host_and_port((gwmp.bind, gwmp.port)),
            station="" if station is None else _port_of(station),
            gateways=of_gateways(registry.gateways, parts.links, parts.monitor, airtime, now),
            strangers=of_strangers(parts.links, now),
            rejected=parts.metrics.rejected,
            broker=host_and_port((mqtt.host, mqtt.port)),
            broker_connected=parts.publisher.connected,
            broker_queue=mosquitto_queue() if _is_here(mqtt.host) else None,
            ports_sent_to=ports_sent_to(),
            sources=parts.sources_connected(),
            configurations=of_configurations(
                registry.devices, parts.memory.configurations.values(), utc_ms
            ),
            outbox=OutboxFacts(
                len(outbox),
                outbox.octets,
                outbox.limit_octets,
                0 if oldest_ms is None else (utc_ms - oldest_ms) / 1000,
            ),
            commits=len(commits),
            slow_commits=commits.above(SLOW_S),
            devices=taken.devices,
            silent=of_silent(taken, utc_ms),
        )


def add_parser(actions: Any) -> None:
    """Add ``doctor`` to the actions of ``stoep gateway``."""
    parser = actions.add_parser(
        "doctor", help="say what is wrong with the gateway and around it, and what to do"
    )
    control_client.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Diagnose and print; return the exit code. Raises `FatalError`."""
    try:
        with control_client.connect(options) as client:
            answer = client.ask(COMMAND)
    except GatewayAway as away:
        options.config = options.config or config_path.find()
        if options.config is None:
            hint = "--config FILE lets the configuration be looked at without a gateway"
            print(f"{away}\n{hint}", file=sys.stderr)
            return GatewayAway.exit_code
        answer = _without_gateway(options, away)
    if "error" in answer:
        raise FatalError(f"{answer['error']} ({answer.get('hint', '')})")
    seen = _merged(answer)
    findings = [Finding(**finding) for finding in answer["findings"]]
    findings = by_level([*findings, *of_machine(seen)])
    if options.json:
        told = {name: answer[name] for name in ("gateways", "site")}
        told["findings"] = list(map(asdict, findings))
        print(json.dumps(told | {"machine": asdict(seen)}))
    else:
        print(text.report(answer["site"], answer["gateways"], seen, findings, colour=_colour()))
    return int(any(finding.level == "error" for finding in findings))


def _merged(answer: Mapping[str, Any]) -> MachineFacts:
    """Return what the gateway sees of its machine, and what we see and it does not."""
    ours = asdict(machine.look(Path(answer["database"])))
    theirs = {name: it for name, it in answer["machine"].items() if it is not None}
    seen = TypeAdapter(MachineFacts).validate_python(ours | theirs)
    return replace(seen, clock_synchronised=None) if answer["site"]["trust_clock"] else seen


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


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


def _port_of(station: BasicsStationConfig) -> str:
    return f"port {station.port} ({'ws' if station.tls_cert is None else 'wss'})"


# Without a gateway.


def _without_gateway(options: argparse.Namespace, away: GatewayAway) -> dict[str, Any]:
    """Return what a gateway would answer, from what can be seen without one."""
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
    reason = _unreachable(config.mqtt.host, config.mqtt.port)
    if reason:
        found.append(
            Finding(
                "warning",
                "broker",
                "",
                f"no MQTT broker is reached at {broker}: {reason}",
                "what is published would wait until one is there",
                "start it (systemctl start mosquitto), or correct host and port in [mqtt]",
            )
        )
    if _is_here(config.mqtt.host):
        found += broker_queue(mosquitto_queue())
    return {
        "gateways": [],
        "findings": list(map(asdict, found)),
        "site": {
            "name": config.site,
            "broker": broker,
            "broker_connected": not reason,
            "trust_clock": config.time.trust_clock,
        },
        "database": str(config.store.path),
        "machine": asdict(machine.look(config.store.path, config)),
    }


def _unreachable(host: str, port: int) -> str:
    """Return why nothing is reached there, or ""."""
    try:
        socket.create_connection((host, port), _BROKER_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


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

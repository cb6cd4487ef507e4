"""A diagnosis as people read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stoep_gateway.doctor.facts import Finding, MachineFacts
from stoep_gateway.doctor.gateway_rules import duration
from stoep_gateway.doctor.machine_rules import size

__all__ = ["report"]

_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "note": "\x1b[1;36m"}
_BOLD, _END = "\x1b[1m", "\x1b[0m"


def report(
    site: Mapping[str, Any],
    gateways: Sequence[Mapping[str, Any]],
    machine: MachineFacts,
    findings: Sequence[Finding],
    *,
    colour: bool = False,
) -> str:
    """Return how things are, a line each, then what was found, then how much that is."""
    up_s = site.get("up_s")
    state = "not running" if up_s is None else f"up {duration(up_s)}"
    lines = [_marked(f"{site['name']}, {state}", _BOLD if colour else "")]
    told = [("machine", _machine(machine)), ("broker", _broker(site))]
    if site.get("devices"):
        told.append(("devices", _counts(site["devices"])))
    told += [(gateway["id"], _gateway(gateway)) for gateway in gateways]
    width = max(len(name) for name, _ in told)
    lines += [f"{name:{width}}  {what}" for name, what in told]
    for finding in findings:
        head, _, rest = str(finding).partition(": ")
        lines += ["", f"{_marked(head, _COLOURS[finding.level] if colour else '')}: {rest}"]
    return "\n".join([*lines, "", _sum(findings)])


def _sum(findings: Sequence[Finding]) -> str:
    counts = [
        f"{count} {level}{'' if count == 1 else 's'}"
        for level in ("error", "warning", "note")
        if (count := sum(finding.level == level for finding in findings))
    ]
    if any(finding.level != "note" for finding in findings):
        return f"{', '.join(counts)}."
    more = f" ({', '.join(counts)})" if counts else ""
    return f"Nothing is wrong as far as can be seen from here{more}."


def _marked(text: str, mark: str) -> str:
    return f"{mark}{text}{_END}" if mark else text


def _counts(devices: Mapping[str, int]) -> str:
    counts = [f"{count} {state.replace('_', ' ')}" for state, count in devices.items() if count]
    return ", ".join(counts) or "none"


def _broker(site: Mapping[str, Any]) -> str:
    waiting = site.get("waiting_messages")
    there = "there" if site["broker_connected"] else "away"
    return f"{site['broker']} {there}" + (f", {waiting} messages wait" if waiting else "")


def _machine(machine: MachineFacts) -> str:
    parts = []
    if machine.clock_synchronised is not None:
        parts.append(f"clock {'' if machine.clock_synchronised else 'not '}synchronised")
    if machine.disk_free_octets is not None and machine.disk_octets is not None:
        parts.append(f"{size(machine.disk_free_octets)} free of {size(machine.disk_octets)}")
    if machine.database_octets is not None:
        parts.append(f"database {size(machine.database_octets)}")
    if machine.storage is not None:
        used = machine.storage.life_used_pct
        worn = "tells no wear" if used is None else f"{used} % worn"
        parts.append(f"{machine.storage.name} {worn}")
    parts.append(
        "no copy known"
        if machine.backup_s is None
        else f"last copy {duration(machine.backup_s)} ago"
    )
    return ", ".join(parts)


def _gateway(gateway: Mapping[str, Any]) -> str:
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

"""From facts to findings, and the rules about a whole site. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stoep_gateway.doctor.facts import STALE_S, Facts, Finding, GatewayFacts
from stoep_gateway.doctor.gateway_rules import CLOCK_S, duration, of_gateway, times

__all__ = ["diagnose", "port_taken"]

PENDING_S = 3 * 86_400  # a device may be out of reach for a while
_NAMED = 5  # devices of a finding
SAFE_QUEUE = 100_000  # messages that a broker has to keep for a client that is away


def diagnose(facts: Facts) -> list[Finding]:
    """Return all findings, errors first."""
    found = [*_site(facts), *_strangers(facts), *_configurations(facts)]
    for gateway in facts.gateways:
        found += of_gateway(gateway, facts)
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.level))


def port_taken(where: str, reason: str, table: str) -> Finding:
    """Return that the gateway could not listen at ``where``, "UDP host:port" of a ``table``."""
    port = where.rpartition(":")[2]
    return Finding(
        "error",
        "port",
        "",
        f"{where} cannot be listened at: {reason}",
        "another program has it (a second gateway, another network server), or the address is"
        " not this machine's",
        f'see who: ss -lpn "sport = :{port}"; or choose another "bind" and "port" in [{table}]',
    )


# The site.


def _site(facts: Facts) -> Iterator[Finding]:
    if not facts.broker_connected:
        yield Finding(
            "error",
            "broker",
            "",
            f"the MQTT broker at {facts.broker} is not connected;"
            f" {facts.waiting_messages} messages wait",
            "nothing is published; it is kept and goes out when the broker is back",
            "see the gateway's log for the reason, and [mqtt] for host, port and password",
        )
    for source, connected in facts.sources.items():
        if not connected:
            yield Finding(
                "error",
                "source",
                "",
                f"the broker of the source {source} is not connected",
                "no uplink comes from its devices, and no downlink goes to them",
                "see the gateway's log for the reason, and its [[source]] for host and password",
            )
    if facts.broker_queue is not None and 0 < facts.broker_queue < SAFE_QUEUE:
        yield Finding(
            "warning",
            "broker-queue",
            "",
            f"Mosquitto keeps {facts.broker_queue} messages for a client that is away",
            "what is published beyond that during its absence is dropped without a word",
            f'write "max_queued_messages {SAFE_QUEUE}" to /etc/mosquitto/conf.d/stoep.conf and'
            " restart mosquitto",
        )
    if not facts.gateways:
        yield Finding(
            "error",
            "none-registered",
            "",
            "no gateway is registered",
            "nothing is listened to",
            "add a [[gateway]] with its id and eui to the configuration",
        )
    if count := facts.rejected.get("gwmp_version", 0):
        yield Finding(
            "warning",
            "gwmp-version",
            "",
            f"{count} datagrams were of another version of the forwarder's protocol",
            "a forwarder of before 2015 sends version 1, which says nothing of downlinks",
            "update that forwarder's program",
        )
    offsets = [it.clock_offset_s for it in facts.gateways if it.clock_offset_s is not None]
    if len(offsets) > 1 and _agree(offsets):
        yield Finding(
            "warning",
            "own-clock",
            "",
            f"all gateways' clocks differ from this machine's by about {offsets[0]:.0f} s",
            "this machine's clock is wrong, and so are the times of what it publishes",
            "timedatectl status; let it reach a time server",
        )


def _agree(offsets: list[float]) -> bool:
    return min(map(abs, offsets)) > CLOCK_S and max(offsets) - min(offsets) < CLOCK_S


def _strangers(facts: Facts) -> Iterator[Finding]:
    for stranger in facts.strangers:
        alike = _registered_like(stranger.eui, facts.gateways)
        yield Finding(
            "warning" if stranger.seen_s < STALE_S else "note",
            "not-registered",
            "",
            f"gateway {stranger.eui} at {stranger.address} is not registered and came"
            f" {times(stranger.count)}, last {duration(stranger.seen_s)} ago",
            f'it may be "{alike}" with a mistake in its eui: that one was never heard'
            if alike
            else "it gets no answer, and nothing is taken from it",
            f'correct the eui of "{alike}" to "{stranger.eui}" in the configuration'
            if alike
            else f'if it is yours, add: [[gateway]] id = "…" eui = "{stranger.eui}"',
        )


def _configurations(facts: Facts) -> Iterator[Finding]:
    by_refusal: dict[str, list[str]] = {}
    for it in facts.configurations:
        if it.refused or it.since_s > PENDING_S:
            by_refusal.setdefault(it.refused, []).append(it.device)
    for refused, devices in sorted(by_refusal.items()):
        which = ", ".join(devices[:_NAMED])
        if len(devices) > _NAMED:
            which += f", … ({len(devices)} in all)"
        if refused:
            yield Finding(
                "warning",
                "configuration-refused",
                "",
                f"configuration refused ({refused}) by {which}",
                "it goes on as before",
                "its flash cannot be written: replace the board"
                if refused == "storage"
                else "stoep device show tells what is wanted; configure what the board can do",
            )
        else:
            yield Finding(
                "warning",
                "configuration-pending",
                "",
                f"configuration not taken for {PENDING_S // 86_400} days by {which}",
                "not heard, or does not hear us: it is sent again and again after an uplink",
                "stoep device show tells when each was last heard; look at its gateway's downlinks",
            )


def _registered_like(eui: str, gateways: Iterable[GatewayFacts]) -> str:
    """Return the id of a gateway that was never heard and whose EUI looks mistyped, or ""."""
    backwards = bytes.fromhex(eui)[::-1].hex()
    for gateway in gateways:
        different = sum(a != b for a, b in zip(gateway.eui, eui, strict=True))
        # ff-fe in the middle of a MAC address is often put elsewhere, or left out.
        same_ends = gateway.eui[:6] == eui[:6] and gateway.eui[-4:] == eui[-4:]
        if gateway.seen_s is None and (different <= 2 or same_ends or gateway.eui == backwards):
            return gateway.id
    return ""

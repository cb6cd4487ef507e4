"""From facts to findings, and the rules about a whole site. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stoep_gateway.doctor.facts import SLOW_S, STALE_S, Facts, Finding, GatewayFacts
from stoep_gateway.doctor.gateway_rules import CLOCK_S, duration, of_gateway, times

__all__ = ["broker_queue", "by_level", "diagnose", "port_taken"]

PENDING_S = 3 * 86_400  # a device may be out of reach for a while
_NAMED = 5  # devices of a finding
SAFE_QUEUE = 100_000  # messages that a broker has to keep for a client that is away
WAITING_S = 900  # for a broker that is there
OUTBOX_SHARE = 0.5
SLOW_SHARE = 0.01
ENOUGH_COMMITS = 100
SOON_S = 26 * 3600  # in which every board says something
MANY_SILENT = 3


def diagnose(facts: Facts) -> list[Finding]:
    """Return all findings, errors first."""
    found = [*_site(facts), *_strangers(facts), *_configurations(facts)]
    found += [*_outbox(facts), *_commits(facts), *_devices(facts)]
    for gateway in facts.gateways:
        found += of_gateway(gateway, facts)
    return by_level(found)


def by_level(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with the errors first."""
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.level))


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


def broker_queue(kept: int | None) -> Iterator[Finding]:
    """Find that Mosquitto keeps too few messages for a client that is away; None: not seen."""
    if kept is not None and 0 < kept < SAFE_QUEUE:
        yield Finding(
            "warning",
            "broker-queue",
            "",
            f"Mosquitto keeps {kept} messages for a client that is away",
            "what is published beyond that during its absence is dropped without a word",
            f'write "max_queued_messages {SAFE_QUEUE}" to /etc/mosquitto/conf.d/stoep.conf and'
            " restart mosquitto",
        )


# The site.


def _site(facts: Facts) -> Iterator[Finding]:
    if not facts.broker_connected:
        yield Finding(
            "error",
            "broker",
            "",
            f"the MQTT broker at {facts.broker} is not connected;"
            f" {facts.outbox.messages} messages wait",
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
    yield from broker_queue(facts.broker_queue)
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


def _outbox(facts: Facts) -> Iterator[Finding]:
    outbox = facts.outbox
    if outbox.limit_octets and outbox.octets > OUTBOX_SHARE * outbox.limit_octets:
        share = 100 * outbox.octets / outbox.limit_octets
        yield Finding(
            "warning",
            "outbox-full",
            "",
            f"the outbox is {share:.0f} % full: {outbox.messages} messages wait",
            "when it is full the oldest events are thinned, and only states are kept",
            "let the broker take them; or raise outbox_mb in [mqtt] if the disk has room",
        )
    if facts.broker_connected and outbox.oldest_s > WAITING_S:
        yield Finding(
            "warning",
            "outbox-waits",
            "",
            f"messages wait for {duration(outbox.oldest_s)}, though the broker is connected",
            "it refuses them, or takes them slower than they come",
            "see the broker's log, the rights of our user there, and its limits",
        )


def _commits(facts: Facts) -> Iterator[Finding]:
    if facts.commits >= ENOUGH_COMMITS and facts.slow_commits > SLOW_SHARE * facts.commits:
        yield Finding(
            "warning",
            "slow-disk",
            "",
            f"{facts.slow_commits} of {facts.commits} commits took more than {SLOW_S} s",
            "answers to devices wait for them and come late",
            "see what else writes (iotop), and whether the card is worn; a better one is rated A2,"
            " or an SSD",
        )


def _devices(facts: Facts) -> Iterator[Finding]:
    silent = facts.silent
    if silent:
        which = ", ".join(
            f"{it.device}{f' ({it.asset})' if it.asset else ''} for {duration(it.seen_s)}"
            for it in silent[:_NAMED]
        )
        if len(silent) > _NAMED:
            which += f", … ({len(silent)} in all)"
        many = len(silent) >= MANY_SILENT and 5 * len(silent) > len(silent) + facts.devices.get(
            "heard", 0
        )
        yield Finding(
            "error" if many else "warning",
            "devices-silent",
            "",
            f"not heard: {which}",
            "so many at once: a gateway, its antenna or the region rather than batteries"
            if many
            else "an empty battery, a board that is gone, or a lid or car on its antenna",
            "see to the gateways first"
            if many
            else "stoep device show tells how it was heard last; docs/technician.md what to do",
        )
    never = facts.devices.get("never_heard", 0)
    if never and facts.up_s > SOON_S:
        yield Finding(
            "note",
            "devices-never-heard",
            "",
            f"{never} {'device has' if never == 1 else 'devices have'} never been heard",
            "not mounted yet, another key than the board has, or out of reach",
            "stoep device list tells which; journalctl EVENT=rejected tells of wrong keys",
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

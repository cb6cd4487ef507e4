"""The rules about one gateway. Pure.

A threshold without a reason beside it is a judgement: high enough that a healthy site hears
nothing, low enough that a person who looks for a trouble finds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from stoep_protocol.errors import DecodeError

from stoep_gateway.doctor.facts import STALE_S, Facts, Finding, GatewayFacts
from stoep_gateway.lns.channel_plan import Plan

__all__ = ["CLOCK_S", "duration", "of_gateway", "times"]

SILENT_S = 120  # forwarders pull every 5 to 30 s
ENOUGH = 20  # receptions or downlinks, to speak of shares
MANY_MOVES = 4  # in STALE_S; a forwarder that was started anew moves once
LATE_SHARE = 0.05
UNANSWERED_SHARE = 0.2
COLLISION_SHARE = 0.2
CLOCK_S = 5  # NTP holds a gateway within milliseconds; its stat tells whole seconds
CRC_RECEIVED, CRC_OK_SHARE = 100, 0.5
DUTY_SHARE = 0.9
TRANSMIT_LEAD_MS = 200  # what answering takes here, and a forwarder between order and emission
USUAL_PORTS = range(1600, 1800)  # forwarders come with 1680, 1700 or 1730
_TOLERANCE_HZ = 5_000  # forwarders round frequencies
_TOLD_ELSEWHERE = frozenset(  # or harmless
    {
        "gwmp_send",
        "gwmp_tx_ack_unasked",
        "rxpk_crc",
        "rxpk_no_crc",
        "station_certificate",
        "station_dntxed_unasked",
        "station_token",
    }
)


def of_gateway(gateway: GatewayFacts, facts: Facts) -> Iterator[Finding]:
    """Find what is wrong with one gateway of a site."""
    yield from _connection(gateway, facts)
    yield from _downlinks(gateway, facts)
    yield from _receptions(gateway, facts)


def duration(seconds: float) -> str:
    """Write a time span as people say it."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def times(count: int) -> str:
    """Write how often something happened."""
    return "once" if count == 1 else f"{count} times"


def _connection(gateway: GatewayFacts, facts: Facts) -> Iterator[Finding]:
    port = facts.gwmp.rpartition(":")[2]
    if _was_refused(gateway):
        yield Finding(
            "error" if gateway.seen_s is None else "warning",
            "address",
            gateway.id,
            f"it came from {gateway.refused_address}, where it may not come from",
            "its address has changed, or somebody else uses its EUI",
            'if it is the gateway, add the address to its "addresses" in the configuration',
        )
    refusals = {
        reason: count
        for reason in ("station_token", "station_certificate")
        if (count := gateway.rejected.get(reason, 0))
    }
    if refusals:
        yield Finding(
            "error" if gateway.seen_s is None else "warning",
            "credentials",
            gateway.id,
            f"it was refused {times(sum(refusals.values()))} for a wrong"
            f" {' and '.join(reason.removeprefix('station_') for reason in refusals)}",
            "the station has another secret than this machine expects, or it is somebody else's",
            "compare tc.key at the station with token_file in the configuration; a certificate's"
            " common name is the station's EUI",
        )
    if gateway.seen_s is None:
        if not refusals and not _was_refused(gateway):
            yield _never_heard(gateway, facts, port)
        return
    if gateway.seen_s > SILENT_S:
        yield Finding(
            "error",
            "silent",
            gateway.id,
            f"it was last heard {duration(gateway.seen_s)} ago, at {gateway.address}",
            "it has no power or no network, or its forwarder has stopped",
            "see to its power and its backhaul; restart its forwarder",
        )
        return
    if gateway.protocol == "gwmp":
        yield from _gwmp(gateway, port)
    elif not gateway.connected:
        yield Finding(
            "warning",
            "disconnected",
            gateway.id,
            f"its connection ended {duration(gateway.seen_s)} ago",
            "a station connects again by itself; until then it hears nothing for us",
            "if it stays so, see the station's own log",
        )
    if limited := gateway.rejected.get("gateway_rate_limit", 0):
        yield Finding(
            "warning",
            "rate-limit",
            gateway.id,
            f"{limited} of its messages were too many and thrown away",
            "it sends more than [gwmp] allows, or somebody else uses its EUI",
            'list its "addresses" in the configuration; if it is a true backlog, raise "burst"',
        )
    offset_s = gateway.clock_offset_s
    if offset_s is not None and abs(offset_s) > CLOCK_S:
        sense = "ahead of" if offset_s > 0 else "behind"
        yield Finding(
            "warning",
            "clock",
            gateway.id,
            f"its clock is {duration(abs(offset_s))} {sense} ours",
            "devices do not notice, but its log cannot be read beside ours, and TLS may fail",
            "let it reach a time server (NTP)",
        )


def _was_refused(gateway: GatewayFacts) -> bool:
    return gateway.refused_s is not None and gateway.refused_s < STALE_S


def _never_heard(gateway: GatewayFacts, facts: Facts, port: str) -> Finding:
    what = f"nothing has come from it in the {duration(facts.up_s)} since the start"
    if facts.up_s < SILENT_S:
        return Finding(
            "note",
            "never-heard",
            gateway.id,
            what,
            "that may be too early to tell",
            f"ask again in {duration(SILENT_S - facts.up_s)}",
        )
    host = facts.gwmp.rpartition(":")[0]
    elsewhere = [it for it in facts.ports_sent_to if it in USUAL_PORTS and it != int(port)]
    if elsewhere:
        meaning = (
            f"a program on this machine sends to UDP {elsewhere[0]}: if it is the forwarder, it has"
            " the wrong port"
        )
        remedy = f"in the forwarder: serv_port_up and serv_port_down are {port}"
    elif host in ("127.0.0.1", "[::1]", "localhost"):
        meaning = (
            f"UDP is bound to {host}: only a forwarder on this machine can reach it; one that is"
            " on this machine is stopped, or sends to another port"
        )
        remedy = (
            f"on this machine: serv_port_up and serv_port_down are {port}; on another: bind ="
            ' "0.0.0.0" in [gwmp]'
        )
    else:
        meaning = "its forwarder is stopped or sends elsewhere, or a firewall is in between"
        remedy = (
            "in its forwarder: server_address is this machine, serv_port_up and serv_port_down"
            f" are {port}; here: let UDP {port} in"
        )
    if facts.station:
        remedy += f"; a Basics Station connects to {facts.station}"
    return Finding("error", "never-heard", gateway.id, what, meaning, remedy)


def _gwmp(gateway: GatewayFacts, port: str) -> Iterator[Finding]:
    pushes = gateway.pushed_s is not None and gateway.pushed_s < SILENT_S
    pulls = gateway.pulled_s is not None and gateway.pulled_s < SILENT_S
    if pushes and not pulls:
        never = gateway.pulled_s is None
        yield Finding(
            "error",
            "no-pull",
            gateway.id,
            "it sends uplinks, but has "
            + ("never asked" if never else f"not asked for {duration(gateway.pulled_s or 0)}")
            + " for downlinks",
            "no device that it alone hears can join or be answered: "
            + ("its port for downlinks is another" if never else "a NAT or firewall cut the way"),
            f"in its forwarder: serv_port_down is {port} and keepalive_interval is 10",
        )
    elif pulls and not pushes:
        yield Finding(
            "error",
            "no-push",
            gateway.id,
            "it asks for downlinks, but sends no uplinks and no stat",
            "its port for uplinks is another, or its radio part does not run",
            f"in its forwarder: serv_port_up is {port}, and see its log for the concentrator",
        )
    if gateway.moves >= MANY_MOVES:
        yield Finding(
            "warning",
            "nat",
            gateway.id,
            f"its address for downlinks has changed {gateway.moves} times in {duration(STALE_S)}",
            "a NAT forgets it between two of its requests, and downlinks in between are lost",
            "in its forwarder: a shorter keepalive_interval, such as 5; or use Basics Station",
        )


def _downlinks(gateway: GatewayFacts, facts: Facts) -> Iterator[Finding]:
    total = sum(gateway.outcomes.values())
    outcomes = gateway.outcomes
    # An order that is late by far looks early to a forwarder: its counter's difference wraps.
    late = outcomes.get("too_late", 0) + outcomes.get("too_early", 0)
    round_trip = (
        "no round trip was measured"
        if gateway.round_trip_ms is None or gateway.round_trip_worst_ms is None
        else f"round trip {gateway.round_trip_ms:.0f} ms, at worst"
        f" {gateway.round_trip_worst_ms:.0f} ms"
    )
    slow_ms = facts.rx1_delay_s * 1000 - TRANSMIT_LEAD_MS
    if late > max(2, LATE_SHARE * total):
        yield Finding(
            "error",
            "late",
            gateway.id,
            f"{late} of its last {total} downlinks came too late ({round_trip})",
            f"the backhaul is slower than the {facts.rx1_delay_s} s that devices wait",
            _more_time(facts),
        )
    elif gateway.round_trip_worst_ms is not None and gateway.round_trip_worst_ms > slow_ms:
        yield Finding(
            "warning",
            "slow",
            gateway.id,
            f"its answers take long ({round_trip})",
            f"devices wait {facts.rx1_delay_s} s: downlinks come late at times",
            _more_time(facts),
        )
    unanswered = outcomes.get("no_tx_ack", 0)
    if unanswered > max(2, UNANSWERED_SHARE * total):
        yield Finding(
            "error",
            "unanswered",
            gateway.id,
            f"it did not answer {unanswered} of its last {total} downlinks",
            "they do not reach it (a NAT forgot the way), or its forwarder does not answer",
            "in its forwarder: a shorter keepalive_interval, such as 5; update it if it is of"
            " before 2016",
        )
    dropped = outcomes.get("no_dntxed", 0)
    if dropped > max(2, UNANSWERED_SHARE * total):
        yield Finding(
            "error",
            "dropped",
            gateway.id,
            f"it did not send {dropped} of its last {total} downlinks",
            "a station drops without a word what comes too late, collides, or exceeds the duty"
            f" cycle as it counts it ({round_trip})",
            "see the station's log; fewer confirmed uplinks, or another gateway beside it",
        )
    if refused := outcomes.get("tx_freq", 0):
        yield Finding(
            "error",
            "frequency",
            gateway.id,
            f"it refused {refused} of its last {total} downlinks for their frequency",
            f"its forwarder is set up for another region than {facts.plan.region.name}",
            f"give it the global_conf.json of {facts.plan.region.name}, or extend tx_freq_min and"
            " tx_freq_max",
        )
    collided = outcomes.get("collision_packet", 0) + outcomes.get("collision_beacon", 0)
    if total >= ENOUGH and collided > COLLISION_SHARE * total:
        yield Finding(
            "warning",
            "collisions",
            gateway.id,
            f"it refused {collided} of its last {total} downlinks for one that was in their way",
            "another network server sends through it too, or many devices ask at once",
            "let it have one server; let fewer uplinks be confirmed",
        )
    for use in gateway.airtime:
        if use.limit_permille is not None and use.used_permille >= DUTY_SHARE * use.limit_permille:
            yield Finding(
                "warning",
                "duty-cycle",
                gateway.id,
                f"in {use.low_hz / 1e6:g}-{use.high_hz / 1e6:g} MHz it has sent"
                f" {use.used_permille / 10:.2g} % of the last hour; {use.limit_permille / 10:g} %"
                " is allowed",
                "further downlinks have to wait, or go by another gateway",
                "let fewer uplinks be confirmed, or add a gateway",
            )


def _more_time(facts: Facts) -> str:
    if facts.rx1_delay_s < 5:
        return "rx1_delay_s = 5 in [lorawan] gives time; else a faster backhaul"
    return "a faster backhaul, or rx1_delay_s larger still"


def _receptions(gateway: GatewayFacts, facts: Facts) -> Iterator[Finding]:
    plan = facts.plan
    elsewhere: Counter[int] = Counter()
    odd_rates: Counter[str] = Counter()
    for (freq_hz, sf, bw_hz), count in gateway.receptions.items():
        if not any(abs(freq_hz - it.freq_hz) <= _TOLERANCE_HZ for it in plan.channels):
            elsewhere[freq_hz] += count
        elif not _has_rate(plan, sf, bw_hz):
            odd_rates[f"SF{sf}/{bw_hz // 1000} kHz"] += count
    total = sum(gateway.receptions.values())
    off = sum(elsewhere.values())
    if total >= ENOUGH and off > total // 10:
        yield Finding(
            "error" if off > total // 2 else "warning",
            "channels",
            gateway.id,
            f"{off} of its last {total} receptions were on channels that the network does not"
            f" use: {_some_mhz(elsewhere)}",
            f"its forwarder is set up for another region or sub-band; the network uses"
            f" {_some_mhz(it.freq_hz for it in plan.channels)} ({plan.region.name})",
            f"give it the global_conf.json of {plan.region.name}"
            + (", or correct sub_band in [lorawan]" if plan.region.has_fixed_channels else "")
            + ", or correct region in [lorawan]",
        )
    if total >= ENOUGH and sum(odd_rates.values()) > total // 10:
        yield Finding(
            "warning",
            "data-rates",
            gateway.id,
            f"it hears data rates that {plan.region.name} does not have:"
            f" {', '.join(sorted(odd_rates))}",
            "devices of another region, or of no LoRaWAN, are near",
            "see what they are; nothing is taken from them",
        )
    received, ok = gateway.stats
    if received >= CRC_RECEIVED and ok < CRC_OK_SHARE * received:
        yield Finding(
            "warning",
            "crc",
            gateway.id,
            f"only {ok} of its last {received} receptions had a correct checksum",
            "noise near its antenna, too many devices at once, or a damaged antenna or cable",
            "look at antenna and cable; keep it away from other transmitters",
        )
    if not total and gateway.seen_s is not None and facts.up_s > 3600:
        yield Finding(
            "note",
            "hears-nothing",
            gateway.id,
            f"it is there, but has heard no device in {duration(facts.up_s)}",
            "no device is near or sends, its antenna is missing, or its channels are another"
            " region's",
            f"look at its antenna, and at the channels in its forwarder ({plan.region.name})",
        )
    unreadable = {
        reason: count
        for reason, count in gateway.rejected.items()
        if reason.startswith(("gwmp_", "rxpk_", "station_")) and reason not in _TOLD_ELSEWHERE
    }
    if unreadable:
        yield Finding(
            "note",
            "unreadable",
            gateway.id,
            f"{sum(unreadable.values())} of its messages or receptions could not be used:"
            f" {', '.join(sorted(unreadable))}",
            "its forwarder says what this one does not understand",
            "docs/operator.md tells the reasons; update the forwarder",
        )


def _has_rate(plan: Plan, sf: int, bw_hz: int) -> bool:
    try:
        plan.region.dr_of(sf, bw_hz)
    except DecodeError:
        return False
    return True


def _some_mhz(frequencies: Iterable[int]) -> str:
    numbers = [f"{freq_hz / 1e6:g}" for freq_hz in sorted(set(frequencies))]
    return ", ".join(numbers[:3]) + (", …" if len(numbers) > 3 else "") + " MHz"

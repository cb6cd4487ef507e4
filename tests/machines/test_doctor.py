"""The doctor's rules: what each trouble looks like, and that health looks like nothing."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest
from lns_values import reception
from stoep_gateway.assets import configuration
from stoep_gateway.assets.registry import Gateway
from stoep_gateway.doctor.facts import (
    ConfigurationFacts,
    Facts,
    GatewayFacts,
    OutboxFacts,
    SilentFacts,
    StrangerFacts,
    of_configurations,
    of_gateways,
    of_strangers,
)
from stoep_gateway.doctor.gateway_rules import duration
from stoep_gateway.doctor.rules import PENDING_S, diagnose, port_taken
from stoep_gateway.forwarders.gwmp import DatagramReceived, GatewayStat, GwmpServer
from stoep_gateway.forwarders.links import Link, Links
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.lns.airtime import SubBandUse
from stoep_gateway.lns.channel_plan import for_region
from stoep_gateway.lns.frames import Transmitted
from stoep_protocol.lorawan.regions import by_name
from stoep_protocol.messages import ConfigurationAck
from street import street

EUI = "0016c001ff10a235"
EU868 = for_region(by_name("EU868"))
US915 = for_region(by_name("US915"), 2)

HEALTHY = GatewayFacts(
    id="roof",
    eui=EUI,
    protocol="gwmp",
    connected=True,
    address="192.0.2.1:40000",
    seen_s=3,
    pulled_s=3,
    pushed_s=20,
    moves=1,
    round_trip_ms=40,
    round_trip_worst_ms=180,
    clock_offset_s=-0.4,
    receptions={(868_100_000, 7, 125_000): 90, (867_900_001, 12, 125_000): 30},
    outcomes={"sent": 97, "too_late": 1, "collision_packet": 2},
    stats=(1000, 800),
    rejected={"rxpk_crc": 200, "mic": 4},
    airtime=(
        SubBandUse(868_000_000, 868_600_000, 5.0, 10.0),
        SubBandUse(863_000_000, 865_000_000, 5.0, None),
    ),
)
SITE = Facts(
    up_s=7200,
    plan=EU868,
    rx1_delay_s=1,
    gwmp="0.0.0.0:1700",
    station="",
    gateways=(HEALTHY,),
    broker="127.0.0.1:1883",
    broker_queue=100_000,
)
SILENT = GatewayFacts(id="roof", eui=EUI)
SILENT_ONES = tuple(
    SilentFacts(f"{n:016x}", "" if n else f"container/c{n}", 3600.0 * (28 + n)) for n in range(3)
)


def found(site: Facts = SITE, **changes: object) -> list[tuple[str, str]]:
    """Return level and code of what is found with a gateway that differs so from a healthy one."""
    gateway = dataclasses.replace(HEALTHY, **changes)
    return [
        (finding.level, finding.code)
        for finding in diagnose(dataclasses.replace(site, gateways=(gateway,)))
    ]


def site(**changes: object) -> Facts:
    return dataclasses.replace(SITE, **changes)


def test_configurations_that_are_refused_or_pending_for_days():
    refused = [ConfigurationFacts(f"{n:016x}", "unsupported", 60.0) for n in range(7)]
    stuck = ConfigurationFacts("ff" * 8, "storage", 60.0)
    young = ConfigurationFacts("aa" * 8, "", PENDING_S - 1.0)
    old = ConfigurationFacts("bb" * 8, "", PENDING_S + 1.0)
    assert diagnose(site(configurations=(young,))) == []
    found = diagnose(site(configurations=(*refused, stuck, young, old)))
    assert [(it.level, it.code) for it in found] == [
        ("warning", "configuration-pending"),
        ("warning", "configuration-refused"),
        ("warning", "configuration-refused"),
    ]
    pending, storage, unsupported = found
    assert "bb" * 8 in pending.what
    assert "aa" * 8 not in pending.what
    assert "flash" in storage.remedy
    assert "(unsupported)" in unsupported.what
    assert unsupported.what.endswith(", … (7 in all)")


def test_which_devices_do_not_have_their_configuration():
    devices = street().devices
    one, other, disabled = list(devices)[:3]
    payload = configuration.compose({"history": 2}, None)
    devices = {**devices, disabled: dataclasses.replace(devices[disabled], enabled=False)}
    rows = [
        configuration.want(None, eui, payload, 1000) for eui in (one, other, disabled, bytes(8))
    ]
    ack = ConfigurationAck(configuration.hash_of(payload))
    rows[1] = configuration.acknowledged(rows[1], ack, 2000, sent=True)
    assert of_configurations(devices, rows, 61_000) == (ConfigurationFacts(one.hex(), "", 60.0),)
    refusal = ConfigurationAck(1, 77)
    rows[1] = configuration.acknowledged(rows[1], refusal, 3000, sent=True)
    assert of_configurations(devices, rows[1:2], 61_000) == (
        ConfigurationFacts(other.hex(), "code_77", 58.0),
    )


def test_health_is_no_finding():
    assert found() == []
    station = {"protocol": "basics_station", "pulled_s": None, "pushed_s": None}
    assert found(**station, clock_offset_s=None) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seen_s": 700}, ("error", "silent")),
        ({"pulled_s": None}, ("error", "no-pull")),
        ({"pulled_s": 400}, ("error", "no-pull")),
        ({"pushed_s": None}, ("error", "no-push")),
        ({"moves": 5}, ("warning", "nat")),
        ({"protocol": "basics_station", "connected": False}, ("warning", "disconnected")),
        ({"refused_address": "198.51.100.7:4", "refused_s": 9}, ("warning", "address")),
        ({"rejected": {"gateway_rate_limit": 3}}, ("warning", "rate-limit")),
        ({"rejected": {"station_token": 3}}, ("warning", "credentials")),
        ({"rejected": {"gwmp_json": 1, "rxpk_fields": 2}}, ("note", "unreadable")),
        ({"clock_offset_s": -40.0}, ("warning", "clock")),
        ({"clock_offset_s": 1e9}, ("warning", "clock")),
        ({"outcomes": {"sent": 90, "too_late": 10}}, ("error", "late")),
        ({"outcomes": {"sent": 90, "too_early": 10}}, ("error", "late")),
        ({"round_trip_worst_ms": 900}, ("warning", "slow")),
        ({"outcomes": {"sent": 9, "no_tx_ack": 3}}, ("error", "unanswered")),
        ({"outcomes": {"sent": 9, "no_dntxed": 3}}, ("error", "dropped")),
        ({"outcomes": {"sent": 9, "tx_freq": 1}}, ("error", "frequency")),
        ({"outcomes": {"sent": 15, "collision_packet": 5}}, ("warning", "collisions")),
        (
            {"airtime": (SubBandUse(868_000_000, 868_600_000, 9.1, 10.0),)},
            ("warning", "duty-cycle"),
        ),
        ({"receptions": {(903_900_000, 7, 125_000): 30}}, ("error", "channels")),
        (
            {"receptions": {(868_100_000, 7, 125_000): 80, (868_800_000, 7, 125_000): 20}},
            ("warning", "channels"),
        ),
        ({"receptions": {(868_100_000, 8, 500_000): 30}}, ("warning", "data-rates")),
        ({"stats": (1000, 100)}, ("warning", "crc")),
        ({"receptions": {}}, ("note", "hears-nothing")),
    ],
)
def test_each_trouble_of_a_gateway(changes, expected):
    assert found(**changes) == [expected]


@pytest.mark.parametrize(
    "changes",
    [
        {"refused_address": "198.51.100.7:4", "refused_s": 601},
        {"outcomes": {"sent": 1, "too_late": 2}},
        {"outcomes": {"sent": 1, "no_tx_ack": 2}},
        {"outcomes": {"sent": 1, "collision_packet": 9}},
        {"receptions": {(903_900_000, 7, 125_000): 19}},
        {"stats": (99, 0)},
        {"clock_offset_s": 4.9},
        {"round_trip_ms": None, "round_trip_worst_ms": None},
    ],
)
def test_what_is_too_little_to_say_anything(changes):
    assert found(**changes) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"broker_connected": False, "outbox": OutboxFacts(7)}, ("error", "broker")),
        ({"broker_queue": 1000}, ("warning", "broker-queue")),
        ({"sources": {"ttn": True, "city": False}}, ("error", "source")),
        ({"gateways": ()}, ("error", "none-registered")),
        ({"gateways": (SILENT,)}, ("error", "never-heard")),
        ({"gateways": (SILENT,), "up_s": 60}, ("note", "never-heard")),
        ({"rejected": {"gwmp_version": 2}}, ("warning", "gwmp-version")),
        ({"outbox": OutboxFacts(9000, 6_000_000, 10_000_000)}, ("warning", "outbox-full")),
        ({"outbox": OutboxFacts(9, 900, 10_000_000, 901)}, ("warning", "outbox-waits")),
        ({"commits": 1000, "slow_commits": 11}, ("warning", "slow-disk")),
        ({"silent": SILENT_ONES[:1], "devices": {"heard": 1}}, ("warning", "devices-silent")),
        ({"silent": SILENT_ONES, "devices": {"heard": 11}}, ("error", "devices-silent")),
        ({"silent": SILENT_ONES, "devices": {"heard": 12}}, ("warning", "devices-silent")),
        ({"devices": {"never_heard": 2}, "up_s": 100_000}, ("note", "devices-never-heard")),
        (
            {"strangers": (StrangerFacts("1111111111111111", "gwmp", "192.0.2.9:1", 4, 5),)},
            ("warning", "not-registered"),
        ),
        (
            {"strangers": (StrangerFacts("1111111111111111", "gwmp", "192.0.2.9:1", 4, 900),)},
            ("note", "not-registered"),
        ),
    ],
)
def test_each_trouble_of_a_site(changes, expected):
    assert [(it.level, it.code) for it in diagnose(site(**changes))] == [expected]


@pytest.mark.parametrize(
    "changes",
    [
        {"outbox": OutboxFacts(9000, 5_000_000, 10_000_000, 900)},
        {"commits": 1000, "slow_commits": 10},
        {"commits": 99, "slow_commits": 99},
        {"devices": {"never_heard": 2, "heard": 3, "silent": 0, "disabled": 4}},
    ],
)
def test_what_is_no_trouble_of_a_site_yet(changes):
    assert diagnose(site(**changes)) == []


def test_messages_wait_for_a_broker_that_is_away_and_that_is_told_once():
    away = site(broker_connected=False, outbox=OutboxFacts(9, 900, 10_000, 9000))
    assert [it.code for it in diagnose(away)] == ["broker"]


def test_silent_devices_are_named_the_longest_silent_first():
    (finding,) = diagnose(site(silent=SILENT_ONES * 2))
    assert finding.what == (
        "not heard: 0000000000000000 (container/c0) for 28 h, 0000000000000001 for 29 h,"
        " 0000000000000002 for 30 h, 0000000000000000 (container/c0) for 28 h,"
        " 0000000000000001 for 29 h, … (6 in all)"
    )


@pytest.mark.parametrize("queue", [None, 0, 100_000, 500_000])
def test_a_broker_that_keeps_enough_or_cannot_be_seen(queue):
    assert diagnose(site(broker_queue=queue)) == []


def test_clocks_that_agree_against_ours():
    two = tuple(
        dataclasses.replace(HEALTHY, id=name, clock_offset_s=offset)
        for name, offset in (("a", 3600.5), ("b", 3599.8))
    )
    codes = [it.code for it in diagnose(site(gateways=two))]
    assert codes == ["own-clock", "clock", "clock"]
    apart = (two[0], dataclasses.replace(two[1], clock_offset_s=-3600))
    assert [it.code for it in diagnose(site(gateways=apart))] == ["clock", "clock"]


@pytest.mark.parametrize(("count", "said"), [(1, "came once,"), (4, "came 4 times,")])
def test_how_often_a_stranger_came(count, said):
    stranger = StrangerFacts("1111111111111111", "gwmp", "192.0.2.9:1", count, 5)
    (finding,) = diagnose(site(strangers=(stranger,)))
    assert said in finding.what


@pytest.mark.parametrize(
    "mistyped", ["0016c001ff10a236", "0016c0fffe10a235", "35a210ff01c01600", "0016c001ff10b335"]
)
def test_a_mistyped_eui_is_recognised(mistyped):
    stranger = StrangerFacts(mistyped, "gwmp", "192.0.2.9:1", 4, 5)
    heard, unheard = (
        next(
            finding
            for finding in diagnose(site(gateways=(gateway,), strangers=(stranger,)))
            if finding.code == "not-registered"
        )
        for gateway in (HEALTHY, SILENT)
    )
    assert 'correct the eui of "roof"' in unheard.remedy
    assert mistyped in unheard.remedy
    assert "[[gateway]]" in heard.remedy


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gwmp": "127.0.0.1:1700"}, ["only a forwarder on this machine", 'bind = "0.0.0.0"']),
        ({"gwmp": "0.0.0.0:1701"}, ["serv_port_down are 1701", "let UDP 1701 in"]),
        ({"ports_sent_to": (53, 1700, 1730)}, ["sends to UDP 1730", "serv_port_down are 1700"]),
        ({"ports_sent_to": (53, 1700)}, ["a firewall is in between"]),
        ({"station": "port 3001 (wss)"}, ["connects to port 3001 (wss)"]),
    ],
)
def test_a_gateway_that_was_never_heard_is_told_where_to_send(changes, told):
    (finding,) = diagnose(site(gateways=(SILENT,), **changes))
    for text in told:
        assert text in str(finding)


def test_who_was_refused_is_not_called_silent():
    refused = dataclasses.replace(SILENT, refused_address="198.51.100.7:4", refused_s=2)
    keyless = dataclasses.replace(SILENT, rejected={"station_certificate": 2})
    for gateway, code in ((refused, "address"), (keyless, "credentials")):
        (finding,) = diagnose(site(gateways=(gateway,)))
        assert (finding.level, finding.code) == ("error", code)


def test_us915_by_its_sub_band():
    us = site(plan=US915)
    second = {(903_900_000 + 200_000 * n, 10, 125_000): 5 for n in range(8)}
    first = {(902_300_000 + 200_000 * n, 10, 125_000): 5 for n in range(8)}
    assert found(us, receptions=second) == []
    assert found(us, receptions=first) == [("error", "channels")]
    assert found(us, receptions=second | {(904_600_000, 8, 500_000): 20}) == []


def test_late_downlinks_name_the_round_trip_and_the_way_out():
    gateway = dataclasses.replace(
        HEALTHY, outcomes={"too_late": 9}, round_trip_ms=1200, round_trip_worst_ms=2100
    )
    (finding,) = diagnose(site(gateways=(gateway,)))
    assert "9 of its last 9 downlinks came too late" in finding.what
    assert "round trip 1200 ms, at worst 2100 ms" in finding.what
    assert "rx1_delay_s = 5" in finding.remedy
    (finding,) = diagnose(site(gateways=(gateway,), rx1_delay_s=5))
    assert "rx1_delay_s = 5" not in finding.remedy


def test_errors_come_first_and_each_finding_has_three_lines():
    gateway = dataclasses.replace(HEALTHY, pulled_s=None, clock_offset_s=90, receptions={})
    findings = diagnose(site(gateways=(gateway,)))
    assert [it.level for it in findings] == ["error", "warning", "note"]
    for finding in findings:
        seen, means, do = str(finding).splitlines()
        assert re.fullmatch(r"(error|warning|note)\[[a-z-]+\]: roof: .+", seen)
        assert means.startswith("  means: ")
        assert do.startswith("  do:    ")


def test_a_port_that_is_taken():
    finding = port_taken("UDP 127.0.0.1:1700", "Address already in use", "gwmp")
    assert "UDP 127.0.0.1:1700 cannot be listened at: Address already in use" in str(finding)
    assert "[gwmp]" in finding.remedy
    assert "sport = :1700" in finding.remedy


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_facts_of_a_gateway_as_the_machines_saw_it():
    eui = bytes.fromhex(EUI)
    links = Links([Link(eui), Link(bytes(8))])
    gateways = {it: Gateway(name, it, "t", "{}") for name, it in (("a", eui), ("b", bytes(8)))}
    monitor = GatewayMonitor(gateways, links)
    server = GwmpServer(links)
    for number in range(5):  # a NAT gives it another port every time
        pull = b"\x02\0\0\x02" + eui
        server.handle(DatagramReceived(pull, ("192.0.2.1", number)), number * 10_000)
    server.handle(DatagramReceived(b"\x02\0\0\x00" + eui + b"{}", ("192.0.2.1", 9)), 45_000)
    server.handle(DatagramReceived(b"\x02\0\0\x02" + bytes(7) + b"1", ("192.0.2.2", 9)), 50_000)
    monitor.handle(GatewayStat(eui, {"rxnb": 4, "rxok": 3}), 45_000, 0)
    monitor.handle(GatewayStat(eui, {"rxnb": 6, "rxok": 3}), 46_000, 0)
    monitor.heard(reception(b"", gateway=eui))
    monitor.transmitted(Transmitted(1, eui, "TOO_LATE"))
    monitor.rejected(eui, "mic")
    links[eui].add_round_trip(30)
    use = (SubBandUse(1, 2, 3.0, 4.0),)
    a, b = of_gateways(gateways, links, monitor, {eui: use}, 60_000)
    assert a == GatewayFacts(
        id="a",
        eui=EUI,
        protocol="gwmp",
        connected=True,
        address="192.0.2.1:9",
        seen_s=15,
        pulled_s=20,
        pushed_s=15,
        moves=4,
        round_trip_ms=30,
        round_trip_worst_ms=30,
        receptions=Counter({(868_100_000, 7, 125_000): 1}),
        outcomes=Counter(too_late=1),
        stats=(10, 6),
        rejected={"mic": 1},
        airtime=use,
    )
    assert b == GatewayFacts(id="b", eui=bytes(8).hex())
    assert of_strangers(links, 60_000) == (
        StrangerFacts((bytes(7) + b"1").hex(), "gwmp", "192.0.2.2:9", 1, 10),
    )
    assert [it.code for it in diagnose(site(gateways=(a,)))] == ["nat"]


def test_every_finding_is_explained_to_the_operator():
    root = Path(__file__).parents[2]
    table = (root / "docs" / "operator.md").read_text(encoding="utf-8")
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in (root / "gateway" / "stoep_gateway" / "doctor").glob("*.py")
    )
    codes = re.findall(r'"(?:error|warning|note)"(?: if .+)?,\n\s+"([a-z-]+)",', source)
    assert len(codes) == source.count("Finding(\n")
    assert not [code for code in codes if f"`{code}`" not in table]

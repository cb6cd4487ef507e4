"""Watching forwarders: online, offline, and when their state is worth a message."""

import pytest
from lns_values import reception
from stoep_gateway.assets.registry import Gateway
from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.forwarders.links import Link, Links
from stoep_gateway.gateways import (
    CHECK_INTERVAL_MS,
    OFFLINE_AFTER_MS,
    STATE_INTERVAL_MS,
    GatewayMonitor,
    StateDue,
    StrangersDue,
)
from stoep_gateway.lns.frames import Tick, Transmitted

EUI = bytes.fromhex("0016c001ff10a235")
KERB = Gateway("kerb-1", EUI, "stoep/v1/street/gateway/kerb-1/state", {})
UTC = 1_767_225_600_000
STAT = {"rxnb": 5, "rxok": 4, "rxfw": 4, "ackr": 87.5, "dwnb": 2, "txnb": 1}


@pytest.fixture
def link() -> Link:
    return Link(EUI)


@pytest.fixture
def links(link: Link) -> Links:
    return Links([link])


@pytest.fixture
def monitor(links: Links) -> GatewayMonitor:
    return GatewayMonitor({EUI: KERB}, links)


def stat(monitor: GatewayMonitor, link: Link, now: int, told: dict = STAT):
    link.last_seen_ms = now
    return monitor.handle(GatewayStat(EUI, told), now, UTC + now)


def tick(monitor: GatewayMonitor, now: int) -> list[StateDue]:
    due = monitor.handle(Tick(), now, UTC + now)
    return [it for it in due if isinstance(it, StateDue)]


def test_the_first_stat_says_that_it_is_online(monitor, link):
    (due,) = stat(monitor, link, 500)
    status = due.status
    assert due.gateway is KERB
    assert status.online
    assert status.last_seen_utc_ms == UTC + 500
    assert (status.rx_received, status.rx_ok, status.rx_forwarded) == (5, 4, 4)
    assert (status.tx_received, status.tx_emitted) == (2, 1)
    assert status.push_acknowledged_pct == 87.5


def test_then_every_interval(monitor, link):
    stat(monitor, link, 0)
    assert stat(monitor, link, 30_000) == []
    assert stat(monitor, link, STATE_INTERVAL_MS - 1) == []
    assert len(stat(monitor, link, STATE_INTERVAL_MS)) == 1


def test_silence_is_offline_and_a_stat_brings_it_back(monitor, link):
    stat(monitor, link, 0)
    link.last_seen_ms = 50_000
    for now in (CHECK_INTERVAL_MS, 2 * CHECK_INTERVAL_MS):
        assert monitor.next_deadline() == now
        assert tick(monitor, now) == []
    now = 50_000 + OFFLINE_AFTER_MS
    assert monitor.next_deadline() == now
    (due,) = tick(monitor, now)
    assert not due.status.online
    assert due.status.last_seen_utc_ms == UTC + 50_000
    (due,) = stat(monitor, link, now + 1)
    assert due.status.online


def test_a_gateway_that_sends_no_stat_is_online_and_told_all_the_same(monitor, link):
    link.last_seen_ms = 59_000
    (due,) = tick(monitor, CHECK_INTERVAL_MS)
    assert (due.status.online, due.status.rx_received, due.changed) == (True, None, True)
    told = []
    for now in range(2 * CHECK_INTERVAL_MS, 1_000_001, CHECK_INTERVAL_MS):
        link.last_seen_ms = now - 1000
        told += [(now, due.changed) for due in tick(monitor, now)]
    assert told == [(420_000, False), (780_000, False)]


def test_what_a_gateway_brought_is_counted(monitor, link):
    monitor.accepted(EUI)
    monitor.accepted(EUI)
    for error in ("", "", "TOO_LATE", "NO_TX_ACK", "NOT_CONNECTED"):
        monitor.transmitted(Transmitted(1, EUI, error))
    monitor.transmitted(Transmitted(2, bytes(8), ""))
    monitor.heard(reception(b"", gateway=EUI, freq_hz=868_300_000, sf=9))
    monitor.heard(reception(b"", gateway=bytes(8)))
    monitor.rejected(EUI, "mic")
    monitor.rejected(EUI, "mic")
    monitor.rejected(b"", "gwmp_truncated")
    monitor.rejected(bytes(8), "gateway_not_registered")
    (due,) = stat(monitor, link, 0)
    assert due.status.uplinks_accepted == 2
    assert dict(due.status.downlinks) == {"sent": 2, "too_late": 1, "no_tx_ack": 1}
    assert dict(due.status.rejected) == {"mic": 2}
    assert monitor.rejections(EUI) == {"mic": 2}
    assert list(monitor.recent(EUI).receptions) == [(868_300_000, 9, 125_000)]
    assert list(monitor.recent(EUI).outcomes) == ["sent", "sent", "too_late", "no_tx_ack"]
    assert list(monitor.recent(EUI).stats) == [(5, 4)]


def test_a_gateway_that_does_not_come_back_after_a_restart_is_offline(monitor, link):
    monitor.start(1000)
    assert monitor.next_deadline() == 1000 + CHECK_INTERVAL_MS
    assert tick(monitor, 999 + OFFLINE_AFTER_MS) == []
    assert monitor.next_deadline() == 1000 + OFFLINE_AFTER_MS
    (due,) = tick(monitor, 1000 + OFFLINE_AFTER_MS)
    assert (due.status.online, due.status.last_seen_utc_ms, due.changed) == (False, None, True)
    (due,) = stat(monitor, link, 2000 + OFFLINE_AFTER_MS)
    assert (due.status.online, due.changed) == (True, True)


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"rxnb": -1, "ackr": "100"},
        {"rxnb": 1.5, "rxok": None},
        {"rxnb": 10**400, "ackr": 10**400},
        {"ackr": float("inf")},
        {"ackr": float("nan")},
        {"ackr": -1},
        {"time": 7},
        {"time": "2026-13-01 00:00:00 GMT"},
        {"time": "０026-01-01 00:00:00 GMT"},
    ],
)
def test_a_stat_that_says_nothing_useful(monitor, link, odd):
    (due,) = stat(monitor, link, 0, odd)
    assert due.status.rx_received is None
    assert due.status.push_acknowledged_pct is None
    assert due.status.clock_offset_ms is None


@pytest.mark.parametrize(
    ("time", "offset_ms"),
    [
        ("2026-01-01 00:00:00 GMT", 500),
        ("2026-01-01T00:00:07Z", 7500),
        ("2025-12-31 23:00:00 GMT", -3_599_500),
        ("1970-01-01 00:00:01 GMT", 1500 - UTC),
    ],
)
def test_a_stat_tells_how_far_its_clock_is_off(monitor, link, time, offset_ms):
    (due,) = stat(monitor, link, 0, {"time": time})
    assert due.status.clock_offset_ms == link.clock_offset_ms == offset_ms


def test_what_is_known_of_the_connection(monitor, link):
    (due,) = stat(monitor, link, 0)
    assert (due.status.protocol, due.status.address, due.status.connected) == (None, None, False)
    link.opened("basics_station", ("192.0.2.1", 40000), 1)
    link.add_round_trip(30)
    link.add_round_trip(50)
    (due,) = monitor.all_due(2, UTC)
    status = due.status
    assert (status.protocol, status.address) == ("basics_station", "192.0.2.1:40000")
    assert (status.connected, status.round_trip_ms, status.round_trip_worst_ms) == (True, 40, 50)


def test_strangers_are_told_after_the_start_when_others_come_and_while_they_send(links):
    monitor = GatewayMonitor({EUI: KERB}, links)
    told = []

    def until(end: int) -> list:
        told.clear()
        while (now := monitor.next_deadline()) <= end:
            links[EUI].last_seen_ms = now
            told.extend(
                (now, [(it.eui, it.count, it.last_seen_utc_ms - UTC) for it in due.strangers])
                for due in monitor.handle(Tick(), now, UTC + now)
                if isinstance(due, StrangersDue)
            )
        return told

    monitor.start(0)
    assert until(600_000) == [(60_000, [])]
    links.seen_unregistered(bytes(8), "gwmp", ("192.0.2.9", 1), 600_001)
    assert until(1_200_000) == [(660_000, [(bytes(8), 1, 600_001)])]
    links.seen_unregistered(bytes(8), "gwmp", ("192.0.2.9", 1), 1_200_001)
    assert until(1_800_000) == [(1_260_000, [(bytes(8), 2, 1_200_001)])]


def test_before_a_stop_every_gateway_that_was_heard_says_its_last(monitor, link):
    assert monitor.all_due(0, UTC) == []
    stat(monitor, link, 0)
    assert len(monitor.all_due(10, UTC)) == 1

"""Watching forwarders: online, offline, and when their state is worth a message."""

import pytest
from stoep_gateway.assets.registry import Gateway
from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.forwarders.links import Link
from stoep_gateway.gateways import OFFLINE_AFTER_MS, STATE_INTERVAL_MS, GatewayMonitor
from stoep_gateway.lns.frames import Tick

EUI = bytes.fromhex("0016c001ff10a235")
KERB = Gateway("kerb-1", EUI, "stoep/v1/street/gateway/kerb-1/state", {})
UTC = 1_767_225_600_000
STAT = {"rxnb": 5, "rxok": 4, "rxfw": 4, "ackr": 87.5, "dwnb": 2, "txnb": 1}


@pytest.fixture
def link() -> Link:
    return Link(EUI)


@pytest.fixture
def monitor(link: Link) -> GatewayMonitor:
    return GatewayMonitor({EUI: KERB}, {EUI: link})


def stat(monitor: GatewayMonitor, link: Link, now: int, told: dict = STAT):
    link.last_seen_ms = now
    return monitor.handle(GatewayStat(EUI, told), now, UTC + now)


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
    assert monitor.next_deadline() == OFFLINE_AFTER_MS
    link.last_seen_ms = 50_000
    assert monitor.handle(Tick(), OFFLINE_AFTER_MS, UTC) == []
    assert monitor.next_deadline() == 50_000 + OFFLINE_AFTER_MS
    now = 50_000 + OFFLINE_AFTER_MS
    (due,) = monitor.handle(Tick(), now, UTC + now)
    assert not due.status.online
    assert due.status.last_seen_utc_ms == UTC + 50_000
    assert monitor.next_deadline() is None
    (due,) = stat(monitor, link, now + 1)
    assert due.status.online


def test_what_a_gateway_brought_is_counted(monitor, link):
    monitor.accepted(EUI)
    monitor.accepted(EUI)
    monitor.sent(EUI)
    monitor.rejected(EUI, "mic")
    monitor.rejected(EUI, "mic")
    monitor.rejected(b"", "gwmp_truncated")
    monitor.rejected(bytes(8), "gateway_not_registered")
    (due,) = stat(monitor, link, 0)
    assert due.status.uplinks_accepted == 2
    assert due.status.downlinks_sent == 1
    assert dict(due.status.rejected) == {"mic": 2}


def test_a_gateway_that_does_not_come_back_after_a_restart_is_offline(monitor, link):
    monitor.start(1000)
    assert monitor.next_deadline() == 1000 + OFFLINE_AFTER_MS
    assert monitor.handle(Tick(), 999 + OFFLINE_AFTER_MS, UTC) == []
    (due,) = monitor.handle(Tick(), 1000 + OFFLINE_AFTER_MS, UTC)
    assert (due.status.online, due.status.last_seen_utc_ms, due.changed) == (False, None, True)
    assert monitor.next_deadline() is None
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
    ],
)
def test_a_stat_that_says_nothing_useful(monitor, link, odd):
    (due,) = stat(monitor, link, 0, odd)
    assert due.status.rx_received is None
    assert due.status.push_acknowledged_pct is None


def test_before_a_stop_every_gateway_that_was_heard_says_its_last(monitor, link):
    assert monitor.all_due(0, UTC) == []
    stat(monitor, link, 0)
    assert len(monitor.all_due(10, UTC)) == 1

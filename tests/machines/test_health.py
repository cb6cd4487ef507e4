"""What is healthy, what is degraded, and what a restart may help."""

import dataclasses

import pytest
from stoep_gateway.health import Condition, judge

WELL = Condition(
    1.25,
    {"semtech_udp": True, "basics_station": True},
    broker=True,
    sources={"city": True},
    gateways={"roof": True, "kerb": True},
)


def test_all_is_well():
    health = judge(WELL)
    assert (health.status, health.code) == ("ok", 200)
    assert health.parts == {
        "writer": {"ok": True, "ms": 1.2},
        "semtech_udp": {"ok": True},
        "basics_station": {"ok": True},
        "clock": {"ok": True},
        "broker": {"ok": True, "waiting_messages": 0},
        "source city": {"ok": True},
        "gateways": {"ok": True, "online": 2, "offline": []},
    }


@pytest.mark.parametrize(
    ("changes", "status", "part"),
    [
        ({"writer_ms": None}, "failing", "writer"),
        ({"listening": {"semtech_udp": False}}, "failing", "semtech_udp"),
        ({"broker": False, "waiting_messages": 70}, "degraded", "broker"),
        ({"clock": False}, "degraded", "clock"),
        ({"sources": {"city": False}}, "degraded", "source city"),
        ({"gateways": {"roof": True, "kerb": False}}, "degraded", "gateways"),
    ],
)
def test_each_part_that_does_not_work(changes, status, part):
    health = judge(dataclasses.replace(WELL, **changes))
    assert health.status == status
    assert health.code == (503 if status == "failing" else 200)
    assert [name for name, it in health.parts.items() if not it["ok"]] == [part]


def test_a_broker_that_is_away_hides_no_writer_that_is_stuck():
    assert judge(dataclasses.replace(WELL, broker=False, writer_ms=None)).code == 503


def test_a_gateway_without_any_forwarder_registered_is_well():
    assert judge(dataclasses.replace(WELL, gateways={})).status == "ok"

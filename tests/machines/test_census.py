"""Who was heard lately, who is silent, and who never was heard."""

import pytest
from network_in_hand import NetworkInHand
from stoep_gateway import census
from stoep_protocol.messages import BayReport, BinReport, Status
from watched import BAY, BIN, CONFIG

HOUR_MS = 3_600_000


@pytest.fixture
def network(tmp_path):
    return NetworkInHand(tmp_path, CONFIG)


def taken(network):
    return census.take(
        network.registry,
        network.memory.states,
        network.memory.sessions.all(),
        network.clock.utc_ms(),
    )


def in_use(counts):
    return {state: count for state, count in counts.items() if count}


def test_nobody_was_heard_yet(network):
    first = taken(network)
    assert in_use(first.containers) == {"never_heard": 1}
    assert in_use(first.bays) == {"never_heard": 1}
    assert in_use(first.devices) == {"never_heard": 2, "disabled": 1}
    assert in_use(first.readings) == {}
    assert set(first.devices) == {"heard", "silent", "never_heard", "disabled"}
    assert first.silent == ()


def test_heard_then_silent_after_a_day_and_two_hours(network):
    network.take(network.join(BIN).uplink(BinReport(1, 900, 4)))
    network.take(network.join(BAY).uplink(BayReport(1, 1)))
    heard = taken(network)
    assert in_use(heard.containers) == {"heard": 1}
    assert in_use(heard.bays) == {"occupied": 1}
    assert in_use(heard.devices) == {"heard": 2, "disabled": 1}
    assert in_use(heard.readings) == {"good": 1}
    network.clock.pass_ms(census.SILENT_MS + 2 * HOUR_MS)
    later = taken(network)
    assert in_use(later.containers) == {"silent": 1}
    assert in_use(later.bays) == {"silent": 1}
    assert in_use(later.devices) == {"silent": 2, "disabled": 1}
    assert {it.device.dev_eui for it in later.silent} == {BIN[0], BAY[0]}
    assert later.silent[0].heard_utc_ms < network.clock.utc_ms() - census.SILENT_MS


def test_a_restart_forgets_nobody(network):
    network.take(network.join(BAY).uplink(BayReport(0, 1)))
    network.restart()
    assert in_use(taken(network).bays) == {"free": 1}
    assert taken(network).devices["heard"] == 1


def test_a_device_that_says_how_it_is_is_heard_though_its_asset_is_silent(network):
    device = network.join(BIN)
    network.take(device.uplink(BinReport(1, 900, 4)))
    network.clock.pass_ms(census.SILENT_MS + HOUR_MS)
    network.take(device.uplink(Status(battery_mv=3600)))
    assert taken(network).containers["silent"] == 1
    assert taken(network).devices["heard"] == 1


def test_a_long_interval_is_no_silence(network):
    device = network.join(BIN)
    for sequence in (1, 2, 3):
        network.clock.pass_ms(32 * HOUR_MS)
        network.take(device.uplink(BinReport(sequence, 900, 4)))
    network.clock.pass_ms(60 * HOUR_MS)
    assert taken(network).containers["heard"] == 1
    network.clock.pass_ms(60 * HOUR_MS)
    assert taken(network).containers["silent"] == 1

"""A queued downlink's way through the whole network server, to its end and its event."""

import asyncio
import logging

import pytest
from gwmp_client import Device
from lns_values import GATEWAY, OTHER_GATEWAY, target
from network_in_hand import NetworkInHand
from stoep_gateway.assets import device_specs
from stoep_gateway.device_commands import DeviceCommands
from stoep_gateway.device_network import Changes
from stoep_gateway.integrations.events import Reception, SourceEvent, SourceUplink
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.queue import MAX_ATTEMPTS, MAX_QUEUED
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan.crypto import DOWN, UP
from stoep_protocol.messages import Status, encode

CONFIG = """
site = "street"
timezone = "UTC"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[gateway]]
id = "kerb-2"
eui = "0016c001ff10a236"
[[source]]
id = "city"
kind = "chirpstack"
application = "0b2f4b0e-6c3c-4d9e-9d6e-6d2d5a1a7c11"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
[[device]]
dev_eui = "70b3d57ed0000002"
app_key = "2b7e151628aed2a6abf7158809cf4f3d"
device_class = "C"
[[device]]
dev_eui = "70b3d57ed0000003"
dev_addr = "26010001"
nwk_s_key = "2b7e151628aed2a6abf7158809cf4f01"
app_s_key = "2b7e151628aed2a6abf7158809cf4f02"
[[device]]
dev_eui = "70b3d57ed0000004"
dev_addr = "26010002"
nwk_s_key = "2b7e151628aed2a6abf7158809cf4f03"
app_s_key = "2b7e151628aed2a6abf7158809cf4f04"
device_class = "C"
[[device]]
dev_eui = "70b3d57ed0000005"
source = "city"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
full_mm = 300
"""
BIN = (bytes.fromhex("70b3d57ed0000001"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
SIGN = (bytes.fromhex("70b3d57ed0000002"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3d"))
METER, BEACON, GUEST = (bytes.fromhex(f"70b3d57ed000000{n}") for n in (3, 4, 5))
REPORT = Status(battery_mv=3600)


@pytest.fixture
def network(tmp_path):
    return NetworkInHand(tmp_path, CONFIG)


def send(network, eui_and_key=BIN, payload=b"hi", *, confirmed=False, priority=0, expires_ms=None):
    """Queue a downlink durably; return its id."""
    eui = eui_and_key[0] if isinstance(eui_and_key, tuple) else eui_and_key
    expires = None if expires_ms is None else network.clock.utc_ms() + expires_ms
    return run(
        network,
        network.server.enqueue(
            eui, 20, payload, confirmed=confirmed, priority=priority, expires_utc_ms=expires
        ),
    )


def run(network, command):
    """Run a command of the network server, with its commits."""

    async def both():
        task = asyncio.ensure_future(command)
        for _ in range(20):
            await asyncio.sleep(0)
            network.commit()
        assert task.done()
        return task.result()

    return asyncio.run(both())


def outcomes(network):
    return [
        (event["downlink_id"], event["event"].removeprefix("downlink_"), event["will_retry"])
        for event in network.events()
    ]


def payload(device, order, f_cnt):
    frame = device.downlink(order.phy_payload, f_cnt)
    return frames.decrypt_payload(frame, device.app_s_key, f_cnt)


def hour(network):
    network.pass_ms(3_600_000, 60_000)


# Class A.


def test_a_downlink_waits_for_an_uplink_and_is_durable_before_it_leaves(network):
    device = network.join(BIN)
    orders = len(network.orders)
    downlink_id = send(network)
    assert [row.downlink_id for record in network.records for row in record.downlinks] == [1]
    hour(network)
    assert len(network.orders) == orders
    network.hear(device.uplink(REPORT), tmst_us=7)
    network.clock.pass_ms(200)
    assert network.submitted[-1][0].tried_downlinks == ((1, downlink_id),)
    assert network.submitted[-1][0].counters[0][1:] == (0, 1)
    assert len(network.orders) == orders
    network.commit()
    order = network.orders[-1]
    assert order.tmst_us == 1_000_007
    assert payload(device, order, 0) == b"hi"
    assert network.events() == []
    network.answer("")
    assert outcomes(network) == [(downlink_id, "sent", False)]
    assert network.events()[0]["attempts"] == 1
    assert network.records[-1].ended_downlinks == (downlink_id,)


def test_one_at_an_uplink_the_urgent_one_first_and_the_rest_is_pending(network):
    device = network.join(BIN)
    for number, priority in enumerate((0, 5, 0)):
        send(network, payload=bytes([number]), priority=priority)
    sent = []
    for f_cnt in range(3):
        network.take(device.uplink(REPORT))
        frame = device.downlink(network.orders[-1].phy_payload, f_cnt)
        sent.append((payload(device, network.orders[-1], f_cnt), frame.f_pending))
        network.answer("")
        hour(network)
    assert sent == [(b"\1", True), (b"\0", True), (b"\2", False)]
    assert [downlink_id for downlink_id, *_ in outcomes(network)] == [2, 1, 3]


def test_a_confirmed_downlink_ends_with_its_acknowledgement(network):
    device = network.join(BIN)
    send(network, confirmed=True)
    network.take(device.uplink(REPORT))
    assert device.downlink(network.orders[-1].phy_payload, 0).confirmed
    network.answer("")
    assert network.events() == []
    hour(network)
    network.take(device.uplink(REPORT, ack=True))
    assert outcomes(network) == [(1, "acknowledged", False)]
    assert network.server.activity(BIN[0]).queued == 0


def test_an_unacknowledged_downlink_is_sent_again_with_a_counter_of_its_own(network):
    device = network.join(BIN)
    send(network, confirmed=True)
    frames_sent = set()
    for f_cnt in range(MAX_ATTEMPTS):
        network.take(device.uplink(REPORT))
        assert payload(device, network.orders[-1], f_cnt) == b"hi"
        frames_sent.add(network.orders[-1].phy_payload)
        network.answer("")
        hour(network)
    assert len(frames_sent) == MAX_ATTEMPTS
    orders = len(network.orders)
    network.take(device.uplink(REPORT))
    assert len(network.orders) == orders
    assert outcomes(network) == [
        (1, "unacknowledged", attempt < MAX_ATTEMPTS) for attempt in range(1, MAX_ATTEMPTS + 1)
    ]
    assert [event["attempts"] for event in network.events()] == list(range(1, MAX_ATTEMPTS + 1))


def test_a_repeated_uplink_does_not_say_that_a_downlink_went_unacknowledged(network):
    device = network.join(BIN)
    send(network, confirmed=True)
    phy_payload = device.uplink(REPORT)
    network.take(phy_payload)
    network.answer("")
    network.pass_ms(3000)
    network.take(phy_payload)
    assert network.events() == []
    network.take(device.uplink(REPORT, ack=True))
    assert outcomes(network) == [(1, "acknowledged", False)]


def test_a_repeated_uplink_can_fetch_what_has_come_meanwhile(network):
    device = network.join(BIN)
    phy_payload = device.uplink(REPORT)
    network.take(phy_payload)
    send(network)
    network.pass_ms(3000)
    network.take(phy_payload)
    assert payload(device, network.orders[-1], 0) == b"hi"
    assert network.records[-1].uplinks == ()
    assert network.records[-1].tried_downlinks == ((1, 1),)


@pytest.mark.parametrize("error", ["NO_TX_ACK", "NO_DNTXED"])
def test_a_downlink_that_may_have_been_sent_is_not_sent_twice(network, error):
    device = network.join(BIN)
    send(network)
    network.take(device.uplink(REPORT))
    network.answer(error)
    assert outcomes(network) == [(1, "unknown", False)]
    assert network.events()[0]["reason"] == error
    hour(network)
    orders = len(network.orders)
    network.take(device.uplink(REPORT))
    assert len(network.orders) == orders


@pytest.mark.parametrize("ack", [True, False])
def test_of_a_confirmed_downlink_that_may_have_been_sent_the_device_says_more(network, ack):
    device = network.join(BIN)
    send(network, confirmed=True)
    network.take(device.uplink(REPORT))
    network.answer("NO_TX_ACK")
    assert outcomes(network) == []
    hour(network)
    network.take(device.uplink(REPORT, ack=ack))
    assert outcomes(network) == [(1, "acknowledged" if ack else "unacknowledged", not ack)]


@pytest.mark.parametrize("error", ["TOO_LATE", "TX_FREQ", "NOT_CONNECTED"])
def test_a_refused_downlink_goes_again_with_the_next_uplink(network, error):
    device = network.join(BIN)
    send(network)
    network.take(device.uplink(REPORT))
    orders = len(network.orders)
    network.answer(error)
    if len(network.orders) > orders:  # RX2
        network.answer(error)
    assert outcomes(network) == [(1, "refused", True)]
    assert network.events()[0]["reason"] == error
    hour(network)
    network.take(device.uplink(REPORT))
    assert payload(device, network.orders[-1], 1) == b"hi"
    network.answer("")
    assert outcomes(network)[-1] == (1, "sent", False)


def test_a_downlink_that_expires_is_told_and_not_sent(network):
    device = network.join(BIN)
    send(network, expires_ms=60_000)
    send(network, payload=b"later")
    network.pass_ms(60_000)
    assert outcomes(network) == []
    network.pass_ms(1000)
    assert outcomes(network) == [(1, "expired", False)]
    network.take(device.uplink(REPORT))
    assert payload(device, network.orders[-1], 0) == b"later"


def test_what_expires_on_its_way_is_not_sent_again(network):
    device = network.join(BIN)
    send(network, confirmed=True, expires_ms=60_000)
    network.take(device.uplink(REPORT))
    network.answer("")
    network.pass_ms(120_000)
    orders = len(network.orders)
    network.take(device.uplink(REPORT))
    network.pass_ms(1000)
    assert len(network.orders) == orders
    assert outcomes(network) == [(1, "unacknowledged", True), (1, "expired", False)]


@pytest.mark.parametrize("by_ms", [-86_400_000, 86_400_000])
def test_a_clock_that_is_set_expires_nothing_too_early_and_sends_nothing_too_late(network, by_ms):
    device = network.join(BIN)
    send(network, expires_ms=7_200_000)
    network.clock.set_utc(by_ms)
    orders = len(network.orders)
    network.take(device.uplink(REPORT))
    if by_ms > 0:
        assert len(network.orders) == orders
        hour(network)
        assert outcomes(network) == [(1, "expired", False)]
    else:
        assert payload(device, network.orders[-1], 0) == b"hi"
        network.answer("")
        hour(network)
        hour(network)
        assert outcomes(network) == [(1, "sent", False)]


def test_flushed_downlinks_are_told_and_what_a_gateway_says_later_is_nothing(network):
    device = network.join(BIN)
    for _ in range(3):
        send(network)
    network.take(device.uplink(REPORT))
    assert run(network, network.server.flush(BIN[0])) == 3
    network.answer("")
    assert outcomes(network) == [(number, "flushed", False) for number in (1, 2, 3)]
    orders = len(network.orders)
    network.take(device.uplink(REPORT))
    assert len(network.orders) == orders


def test_a_full_queue_refuses_and_gives_no_number(network):
    for _ in range(MAX_QUEUED):
        send(network)
    assert send(network) == Rejected("queue_full", BIN[0].hex())
    assert send(network, SIGN) == MAX_QUEUED + 1


def test_a_payload_that_is_too_long_now_waits_and_holds_up_nobody(network):
    device = network.join(BIN)
    send(network, payload=bytes(100))
    send(network, payload=b"short")
    network.take(device.uplink(REPORT), sf=12)
    assert payload(device, network.orders[-1], 0) == b"short"
    network.answer("")
    hour(network)
    orders = len(network.orders)
    network.take(device.uplink(REPORT), sf=12)
    assert len(network.orders) == orders
    network.take(device.uplink(REPORT), sf=7)
    assert payload(device, network.orders[-1], 1) == bytes(100)


def test_what_waited_is_sent_after_a_power_cut_and_numbers_go_on(network):
    device = network.join(BIN)
    send(network, confirmed=True, priority=3)
    send(network)
    network.take(device.uplink(REPORT))
    network.answer("")
    network.restart()
    assert [item.attempts for item in network.memory.queue.of_device(BIN[0])] == [1, 0]
    network.take(device.uplink(REPORT))
    assert payload(device, network.orders[-1], 1) == b"hi"
    network.answer("")
    network.take(device.uplink(REPORT, ack=True))
    network.answer("")
    assert network.ends() == {1: 1, 2: 1}
    network.restart()
    assert send(network) == 3


def test_a_new_session_takes_what_was_queued_before(network):
    device = network.join(BIN)
    network.take(device.uplink(REPORT))
    send(network, confirmed=True)
    network.take(device.join_request())
    device.accept(network.orders[-1].phy_payload)
    network.answer("")
    network.take(device.uplink(REPORT))
    assert payload(device, network.orders[-1], 0) == b"hi"
    network.answer("")
    assert outcomes(network) == []


# Class C.


def joined_sign(network):
    device = network.join(SIGN)
    network.take(device.uplink(REPORT))
    return device


def test_class_c_waits_for_the_first_uplink_of_its_session(network):
    device = network.join(SIGN)
    send(network, SIGN)
    orders = len(network.orders)
    network.pass_ms(120_000)
    assert len(network.orders) == orders
    network.take(device.uplink(REPORT))
    assert payload(device, network.orders[-1], 0) == b"hi"


def test_class_c_is_sent_at_once_on_rx2_after_the_commit(network):
    device = joined_sign(network)
    orders = len(network.orders)
    send(network, SIGN)
    (order,) = network.orders[orders:]
    assert order.at_once
    assert (order.freq_hz, order.sf) == (869_525_000, 12)
    assert payload(device, order, 0) == b"hi"
    attempt = network.records[-1]
    assert attempt.counters[0][1:] == (0, 1)
    assert attempt.tried_downlinks == ((1, 1),)
    network.answer("")
    assert outcomes(network) == [(1, "sent", False)]


def test_class_c_one_after_the_other(network):
    device = joined_sign(network)
    orders = len(network.orders)
    for number in range(3):
        send(network, SIGN, bytes([number]))
    assert len(network.orders) == orders + 1
    network.deliver = lambda order: (network.orders.append(order), answer_soon(network, order))
    network.answer("")
    network.pass_ms(60_000)
    sent = [payload(device, order, at) for at, order in enumerate(network.orders[orders:])]
    assert sent == [b"\0", b"\1", b"\2"]
    assert network.ends() == {1: 1, 2: 1, 3: 1}


def answer_soon(network, order, error=""):
    network.clock.call_at(network.clock.now_ms() + 10, lambda: network.answer(error, order))


def test_class_c_by_the_gateways_of_the_last_uplink(network):
    device = network.join(SIGN)
    network.take(device.uplink(REPORT), gateway=OTHER_GATEWAY)
    send(network, SIGN)
    assert network.orders[-1].gateway_eui == OTHER_GATEWAY


def test_class_c_before_any_uplink_since_the_start_by_any_gateway(network):
    device = joined_sign(network)
    network.restart()
    send(network, SIGN)
    first = network.orders[-1]
    assert first.at_once
    assert first.context is None
    network.answer("NOT_CONNECTED")
    network.pass_ms(2000)
    second = network.orders[-1]
    assert {first.gateway_eui, second.gateway_eui} == {GATEWAY, OTHER_GATEWAY}
    assert second.phy_payload == first.phy_payload
    assert payload(device, second, 0) == b"hi"
    network.answer("")
    assert outcomes(network) == [(1, "sent", False)]


def test_class_c_before_any_uplink_since_the_start_by_a_station(network):
    joined_sign(network)
    network.restart()
    network.links[GATEWAY].opened("basics_station", ("127.0.0.1", 1), 0)
    network.links[OTHER_GATEWAY].opened("basics_station", ("127.0.0.1", 2), 0)
    send(network, SIGN)
    assert network.orders[-1].context == (0, 0)


def test_class_c_waits_at_the_start_for_what_was_queued_before(network):
    device = joined_sign(network)
    send(network, SIGN)
    network.restart()
    network.commit()
    order = network.orders[-1]
    assert payload(device, order, 1) == b"hi"  # the first may have been sent
    network.answer("")
    assert network.ends() == {1: 1}


def test_class_c_no_gateway_for_long_ends_in_refusals_told_one_by_one(network):
    joined_sign(network)
    network.deliver = lambda order: answer_soon(network, order, "NOT_CONNECTED")
    send(network, SIGN)
    network.pass_ms(1_200_000)
    assert outcomes(network) == [
        (1, "refused", attempt < MAX_ATTEMPTS) for attempt in range(1, MAX_ATTEMPTS + 1)
    ]
    assert network.server.activity(SIGN[0]).queued == 0


def test_class_c_acknowledged(network):
    device = joined_sign(network)
    send(network, SIGN, confirmed=True)
    network.answer("")
    network.pass_ms(5000)
    network.take(device.uplink(REPORT, ack=True))
    network.pass_ms(300_000)
    assert outcomes(network) == [(1, "acknowledged", False)]


def test_class_c_not_acknowledged_is_sent_again_till_it_is(network):
    device = joined_sign(network)
    orders = len(network.orders)
    send(network, SIGN, confirmed=True)
    network.answer("")
    network.pass_ms(91_000)
    assert outcomes(network) == [(1, "unacknowledged", True)]
    first, second = network.orders[orders:]
    assert (payload(device, first, 0), payload(device, second, 1)) == (b"hi", b"hi")
    network.answer("")
    network.take(device.uplink(ack=True))
    assert outcomes(network)[-1] == (1, "acknowledged", False)


def test_class_c_a_patience_of_an_earlier_attempt_does_not_end_a_later_one(network):
    device = joined_sign(network)
    send(network, SIGN, confirmed=True)
    network.answer("")
    network.pass_ms(50_000)
    network.take(device.uplink(REPORT))  # without an acknowledgement: again, in its windows
    assert outcomes(network) == [(1, "unacknowledged", True)]
    assert not network.orders[-1].at_once
    network.answer("")
    network.pass_ms(30_000)
    assert len(outcomes(network)) == 1
    network.pass_ms(35_000)  # and no uplink came after that one, either
    assert outcomes(network)[1:] == [(1, "unacknowledged", True)]


def test_class_c_what_is_too_long_for_rx2_waits_for_an_uplink(network):
    device = joined_sign(network)
    orders = len(network.orders)
    send(network, SIGN, bytes(100))
    send(network, SIGN, b"short")
    assert payload(device, network.orders[-1], 0) == b"short"
    network.answer("")
    network.pass_ms(5000)
    assert len(network.orders) == orders + 1
    network.take(device.uplink(REPORT))
    assert payload(device, network.orders[-1], 1) == bytes(100)


def test_class_c_a_disabled_device_gets_nothing_until_it_is_enabled(network):
    joined_sign(network)
    network.registry.put(changed(network, SIGN[0], enabled=False))
    orders = len(network.orders)
    send(network, SIGN)
    assert len(network.orders) == orders
    network.registry.put(changed(network, SIGN[0], enabled=True))
    network.pipeline.downlinks.send_waiting(SIGN[0])
    network.commit()
    assert len(network.orders) == orders + 1


# Devices that come, go and change.


def changed(network, dev_eui, **changes):
    spec = device_specs.spec_of(network.registry.devices[dev_eui])
    return network.registry.view(spec.model_copy(update=changes), "store")


def test_a_personalised_device_needs_no_join_and_keeps_its_counters(network):
    device = Device(METER, bytes(8), bytes(16))
    keys = network.registry.devices[METER]
    device.personalise(keys.dev_addr, keys.nwk_s_key, keys.app_s_key)
    network.commit()
    send(network, METER)
    network.take(device.uplink(REPORT))
    network.answer("")
    assert payload(device, network.orders[-1], 0) == b"hi"
    (row,) = [row for record in network.records for row in record.uplinks]
    assert (row.dev_eui, row.f_cnt_up) == (METER, 0)
    old = device.uplink(REPORT)
    network.take(old)
    network.restart()
    network.commit()
    network.pass_ms(2000)
    assert network.records[-1].sessions == ()
    device.f_cnt_up = 1
    network.take(device.uplink())
    assert network.metrics.rejected == {"repeated_uplink": 1}
    # It was told of channels, too, which no join-accept has told it.
    f_cnt_down = network.server.activity(METER).f_cnt_down
    network.take(device.uplink(REPORT, confirmed=True))
    assert device.downlink(network.orders[-1].phy_payload, f_cnt_down).ack
    assert network.server.activity(METER).joined_utc_ms is None


def test_a_personalised_device_of_class_c_can_be_reached_before_it_was_heard(network):
    network.commit()
    device = Device(BEACON, bytes(8), bytes(16))
    keys = network.registry.devices[BEACON]
    device.personalise(keys.dev_addr, keys.nwk_s_key, keys.app_s_key)
    send(network, BEACON)
    order = network.orders[-1]
    assert order.at_once
    assert payload(device, order, 0) == b"hi"
    network.restart()
    network.commit()  # again, for nobody had answered: with another counter
    assert payload(device, network.orders[-1], 1) == b"hi"


def sessions(network, dev_eui):
    return {one.session_id for one in network.memory.sessions.of_device(dev_eui)}


def rewrite(network, **replaced):
    path = network.path / "stoep.toml"
    text = path.read_text()
    for old, new in replaced.values():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    network.restart()
    network.commit()


def test_personalised_sessions_follow_the_configuration_over_restarts(network):
    network.commit()
    before, beacons = sessions(network, METER), sessions(network, BEACON)
    network.restart()
    network.commit()
    assert sessions(network, METER) == before
    rewrite(network, key=("cf4f01", "cf4fff"))
    assert sessions(network, METER).isdisjoint(before)
    assert len(sessions(network, METER)) == 1
    before = sessions(network, METER)
    rewrite(network, address=("26010001", "26010003"))
    assert len(sessions(network, METER) - before) == 1
    (known,) = network.memory.sessions.of_device(METER)
    assert known.dev_addr == 0x26010003
    rewrite(
        network,
        joins=(
            """dev_addr = "26010003"
nwk_s_key = "2b7e151628aed2a6abf7158809cf4fff"
app_s_key = "2b7e151628aed2a6abf7158809cf4f02\"""",
            'app_key = "2b7e151628aed2a6abf7158809cf4f3e"',
        ),
    )
    assert sessions(network, METER) == set()
    assert sessions(network, BEACON) == beacons
    network.restart()
    assert sessions(network, METER) == set()


def test_a_device_that_moves_to_another_network_has_no_session_here(network):
    device = network.join(BIN)
    network.take(device.uplink(REPORT))
    rewrite(network, moved=('app_key = "2b7e151628aed2a6abf7158809cf4f3c"', 'source = "city"'))
    network.pass_ms(2000)
    network.take(device.uplink(REPORT))
    assert network.metrics.rejected == {"unknown_dev_addr": 1}


def test_a_disabled_device_is_neither_heard_nor_answered(network):
    device = network.join(BIN)
    send(network)
    network.registry.put(changed(network, BIN[0], enabled=False))
    orders, records = len(network.orders), len(network.records)
    network.take(device.uplink(REPORT, confirmed=True))
    network.take(device.join_request())
    assert (len(network.orders), len(network.records)) == (orders, records)
    assert network.metrics.rejected == {"device_disabled": 2}
    network.registry.put(changed(network, BIN[0], enabled=True))
    network.take(device.uplink(REPORT, confirmed=True))
    frame = device.downlink(network.orders[-1].phy_payload, 0)
    assert frame.ack
    assert frame.f_port == 20


def test_a_device_that_was_flashed_anew_joins_after_it_was_forgiven(network):
    first = network.join(BIN)
    again = Device(BIN[0], bytes(8), BIN[1])
    request = again.join_request()
    network.pass_ms(2000)
    network.take(request)
    assert network.metrics.rejected == {"dev_nonce_replayed": 1}
    assert network.server.activity(BIN[0]).dev_nonces == 1
    run(network, network.server.record(Changes(forgiven=(BIN[0],))))
    assert network.server.activity(BIN[0]).dev_nonces == 0
    for _ in range(2):
        network.restart()
        network.pass_ms(2000)
    network.take(request)
    accept = again.accept(network.orders[-1].phy_payload)
    assert accept.app_nonce == 2  # which was never given before
    assert again.dev_addr != first.dev_addr
    network.take(again.uplink(REPORT))
    network.pass_ms(2000)
    network.take(request)
    assert network.metrics.rejected == {"dev_nonce_replayed": 1}


class Socket:
    """Collects what commands are registered."""

    def __init__(self):
        self.commands = {}

    def register(self, name, handler, **_):
        self.commands[name] = handler


def command(network, name, **request):
    socket = Socket()
    DeviceCommands(network.server).register(socket)
    return run(network, socket.commands[name](request))


def test_a_new_key_ends_all_sessions_and_flushes_what_waits(network):
    eui = "70b3d57ed0000009"
    command(network, "device.add", device={"dev_eui": eui, "app_key": BIN[1].hex()})
    device = network.join((bytes.fromhex(eui), BIN[1]))
    network.take(device.uplink(REPORT))
    send(network, bytes.fromhex(eui))
    answer = command(network, "device.rotate-key", dev_eui=eui, show_keys=True)
    assert outcomes(network) == [(1, "flushed", False)]
    orders = len(network.orders)
    network.pass_ms(2000)
    network.take(device.uplink(REPORT, confirmed=True))
    network.take(device.join_request())
    assert len(network.orders) == orders
    assert network.metrics.rejected == {"unknown_dev_addr": 1, "join_mic": 1}
    renewed = network.join((bytes.fromhex(eui), bytes.fromhex(answer["app_key"])))
    network.take(renewed.uplink(REPORT))
    network.restart()
    assert len(network.memory.sessions.of_device(bytes.fromhex(eui))) == 1
    assert network.memory.queue.of_device(bytes.fromhex(eui)) == ()


def test_a_device_that_is_removed_leaves_no_session_and_no_downlink(network):
    eui = "70b3d57ed0000009"
    command(network, "device.add", device={"dev_eui": eui, "app_key": BIN[1].hex()})
    device = network.join((bytes.fromhex(eui), BIN[1]))
    network.take(device.uplink(REPORT))
    send(network, bytes.fromhex(eui))
    command(network, "device.remove", dev_eui=eui)
    network.pass_ms(2000)
    network.take(device.uplink(REPORT))
    assert network.metrics.rejected == {"unknown_dev_addr": 1}
    network.restart()
    assert network.memory.queue.of_device(bytes.fromhex(eui)) == ()
    assert network.memory.sessions.of_device(bytes.fromhex(eui)) == ()


def test_a_personalised_device_comes_by_command_and_gets_other_keys(network):
    eui = "70b3d57ed0000009"
    spec = {"dev_eui": eui, "dev_addr": "26010009", "nwk_s_key": "01" * 16, "app_s_key": "02" * 16}
    command(network, "device.add", device=spec)
    device = Device(bytes.fromhex(eui), bytes(8), bytes(16))
    device.personalise(0x26010009, bytes([1] * 16), bytes([2] * 16))
    network.take(device.uplink(REPORT, confirmed=True))
    assert device.downlink(network.orders[-1].phy_payload, 0).ack
    network.restart()
    network.commit()
    network.take(device.uplink(REPORT, confirmed=True))
    assert device.downlink(network.orders[-1].phy_payload, 1).ack
    command(network, "device.import", devices=[spec | {"nwk_s_key": "03" * 16}])
    network.take(device.uplink(REPORT))
    assert network.metrics.rejected == {"mic": 1}
    device.personalise(0x26010009, bytes([3] * 16), bytes([2] * 16))
    network.take(device.uplink(REPORT, confirmed=True))
    assert device.downlink(network.orders[-1].phy_payload, 0).ack


# MAC commands through the whole server.


def test_a_strong_device_is_made_faster_and_its_answer_is_kept_over_a_restart(network):
    device = network.join(BIN)
    request = None
    for _ in range(25):
        network.take(device.uplink(REPORT, adr=True), sf=10, snr_db=9.0)
        counters = network.records[-1].counters[0]
        if counters[2] and request is None:
            frame = device.downlink(network.orders[-1].phy_payload, counters[2] - 1)
            (request,), _ = mc.decode(DOWN, frame.f_opts)
            network.answer("")
            assert request[:3] == (mc.LINK_ADR, 5, request[2])
            hour(network)
            network.restart()
            answer = mc.encode(UP, ((mc.LINK_ADR, 1, 1, 1),))
            network.take(device.uplink(REPORT, adr=True, f_opts=answer), sf=7, snr_db=9.0)
            break
        hour(network)
    assert request is not None
    network.restart()
    (known,) = network.memory.sessions.of_device(BIN[0])
    assert (known.mac.dr, known.mac.pending) == (5, ())


def test_a_device_that_does_not_ask_or_must_not_be_steered_is_not(network):
    device = network.join(BIN)
    network.registry.put(changed(network, BIN[0], adr=False))
    orders = len(network.orders)
    for adr in (False, True):
        for _ in range(25):
            network.take(device.uplink(REPORT, adr=adr), sf=10, snr_db=9.0)
            hour(network)
    assert len(network.orders) == orders


def test_devices_are_asked_for_their_battery_once_a_day(tmp_path):
    network = NetworkInHand(tmp_path, CONFIG, wanted=target(status_every_ms=86_400_000))
    device = network.join(BIN)
    asked = 0
    answer = b""
    for _ in range(72):
        orders = len(network.orders)
        network.take(device.uplink(REPORT, f_opts=answer))
        answer = b""
        for order in network.orders[orders:]:
            frame = frames.parse(order.phy_payload)
            assert mc.decode(DOWN, frame.f_opts)[0] == ((mc.DEV_STATUS,),)
            asked += 1
            answer = mc.encode(UP, ((mc.DEV_STATUS, 200, 7),))
            network.answer("")
        hour(network)
    assert asked == 3
    (known,) = network.memory.sessions.of_device(BIN[0])
    assert (known.mac.battery, known.mac.margin_db) == (200, 7)


# Devices of other network servers.


def heard(network, f_cnt=0, key="a", message=REPORT):
    f_port, frm_payload = encode(message)
    utc_ms = network.clock.utc_ms()
    return SourceUplink(
        "city",
        GUEST,
        key,
        "session",
        f_cnt,
        f_port,
        frm_payload,
        False,
        5,
        7,
        125_000,
        868_100_000,
        (Reception("their-gateway", -90.0, 7.0),),
        utc_ms,
        utc_ms,
        "guest",
    )


def event(network, kind, downlink_id, **fields):
    utc_ms = network.clock.utc_ms()
    return SourceEvent(
        "city",
        kind,
        GUEST,
        f"{kind}-{utc_ms}",
        "s",
        utc_ms,
        utc_ms,
        downlink_id=downlink_id,
        **fields,
    )


def deliver(network, what):
    """Deliver an event; return whether it was acknowledged before, and after, it was durable."""
    done = []
    network.others.receive(what, lambda: done.append(1))
    before = len(done)
    network.commit()
    return before, len(done)


def test_an_uplink_of_another_network_is_acknowledged_once_it_is_durable(network):
    assert deliver(network, heard(network)) == (0, 1)
    (row,) = network.records[-1].uplinks
    assert (row.dev_eui, row.session_id, row.f_cnt_up) == (GUEST, 0, 0)
    assert len(network.records[-1].sources) == 1


def test_an_uplink_that_is_delivered_again_is_acknowledged_and_not_recorded(network):
    again = heard(network)
    assert deliver(network, again) == (0, 1)
    assert deliver(network, again) == (0, 1)
    network.restart()
    assert deliver(network, again) == (0, 1)
    assert sum(len(record.uplinks) for record in network.records) == 1
    assert network.metrics.rejected == {"repeated_uplink": 1}


def test_a_repeated_event_is_acknowledged_only_after_the_first_is_durable(network):
    done = []
    network.others.receive(heard(network), lambda: done.append("first"))
    network.others.receive(heard(network), lambda: done.append("again"))
    assert done == []
    network.commit()
    assert done == ["first", "again"]


@pytest.mark.parametrize(
    "what",
    [
        Rejected("source_malformed"),
        SourceEvent("city", "join", bytes(8), "k", "s", 0, 0),
        SourceEvent("other", "sent", GUEST, "k", "s", 0, 0, downlink_id=1),
        SourceEvent("city", "sent", GUEST, "k", "s", 0, 0, downlink_id=99),
        SourceEvent("city", "status", GUEST, "k", "s", 0, 0, battery_pct=80.0),
    ],
)
def test_whatever_comes_is_acknowledged_and_changes_nothing(network, what):
    assert deliver(network, what) == (0, 1)
    assert network.events() == []


def test_gaps_are_counted(network, caplog):
    caplog.set_level(logging.WARNING)
    deliver(network, heard(network, 0, "a"))
    deliver(network, heard(network, 5, "b"))
    assert network.metrics.counts["source_uplinks_lost"] == 4
    assert network.metrics.counts["source_uplinks_accepted"] == 2


def handed_over(network):
    source, order, taken = network.handed_over[-1]
    assert source == "city"
    return order, taken


def test_a_downlink_is_handed_over_once_it_is_durable_and_ends_by_an_event(network):
    deliver(network, heard(network))
    downlink_id = send(network, GUEST, b"hi", confirmed=True)
    order, taken = handed_over(network)
    assert (order.downlink_id, order.frm_payload, order.confirmed) == (downlink_id, b"hi", True)
    assert order.device_id == "guest"
    taken(True)
    assert deliver(network, event(network, "sent", downlink_id)) == (0, 1)
    assert network.events() == []
    assert deliver(network, event(network, "acknowledged", downlink_id)) == (0, 1)
    assert deliver(network, event(network, "acknowledged", downlink_id)) == (0, 1)
    assert outcomes(network) == [(downlink_id, "acknowledged", False)]


def test_the_next_downlink_follows_the_end_of_the_last(network):
    for number in range(3):
        send(network, GUEST, bytes([number]))
    assert len(network.handed_over) == 1
    for downlink_id in (1, 2, 3):
        order, taken = handed_over(network)
        assert order.downlink_id == downlink_id
        taken(True)
        deliver(network, event(network, "sent", downlink_id))
    assert outcomes(network) == [(number, "sent", False) for number in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["refused", "expired", "unacknowledged"])
def test_what_the_other_network_could_not_deliver_is_handed_over_again(network, kind):
    send(network, GUEST, confirmed=True)
    handed_over(network)[1](True)
    deliver(network, event(network, "sent", 1))
    deliver(network, event(network, kind, 1, detail="why"))
    network.pass_ms(31_000)
    order, _ = handed_over(network)
    assert len(network.handed_over) == 2
    assert order.downlink_id == 1
    assert [retry for *_, retry in outcomes(network)] == [True]
    deliver(network, event(network, "acknowledged", 1))
    assert network.ends() == {1: 1}


def test_a_log_line_about_a_downlink_ends_nothing(network):
    send(network, GUEST)
    handed_over(network)[1](True)
    deliver(network, event(network, "log", 1, detail="something"))
    network.pass_ms(60_000)
    assert len(network.handed_over) == 1
    assert network.events() == []


def test_an_outage_of_the_other_broker_uses_up_no_attempt(network):
    send(network, GUEST)
    for _ in range(20):
        handed_over(network)[1](False)
        network.pass_ms(31_000)
    assert len(network.handed_over) == 21
    assert network.events() == []
    handed_over(network)[1](True)
    deliver(network, event(network, "sent", 1))
    assert outcomes(network) == [(1, "sent", False)]
    assert network.events()[0]["attempts"] == 1


def test_an_outage_of_the_other_broker_beyond_the_expiry(network):
    send(network, GUEST, expires_ms=45_000)
    handed_over(network)[1](False)
    network.pass_ms(31_000)
    handed_over(network)[1](False)
    network.pass_ms(31_000)
    assert len(network.handed_over) == 2
    assert outcomes(network) == [(1, "expired", False)]


def test_what_waits_for_a_device_ends_with_its_removal_and_says_so(network):
    network.join(BIN)
    send(network)
    run(network, network.server.record(Changes(removed=(BIN[0],), ended=(BIN[0],))))
    assert outcomes(network) == [(1, "flushed", False)]
    assert BIN[0] not in network.registry.devices

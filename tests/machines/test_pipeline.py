"""An uplink's way, with the time, the commits and the forwarders in the test's hand."""

import json

import pytest
from gwmp_client import Device
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lns_values import GATEWAY, OTHER_GATEWAY
from lorawan_keys import new_key
from network_in_hand import NetworkInHand
from planned import plan, stop
from stoep_gateway import pipeline
from stoep_gateway.collections.coming import coming
from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.store.records import Record
from stoep_gateway.store.sql import write_group
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan import mac_commands as codec
from stoep_protocol.lorawan.crypto import DOWN, UP
from stoep_protocol.messages import BayReport, BinReport, Status

CONFIG = """
site = "street"
timezone = "UTC"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[gateway]]
id = "kerb-2"
eui = "0016c001ff10a236"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
[[device]]
dev_eui = "70b3d57ed0000002"
app_key = "2b7e151628aed2a6abf7158809cf4f3d"
asset = "bay/7"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
full_mm = 300
[[bay]]
id = "7"
street = "High Street"
lat = -15.8
lon = 35.0
"""
BIN = (bytes.fromhex("70b3d57ed0000001"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
BAY = (bytes.fromhex("70b3d57ed0000002"), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3d"))


class Gateway(NetworkInHand):
    def __init__(self, path):
        super().__init__(path, CONFIG)

    def join(self, eui_and_key=BIN):
        return super().join(eui_and_key)


@pytest.fixture
def gateway(tmp_path):
    return Gateway(tmp_path)


def test_a_join_is_durable_before_its_accept_leaves(gateway):
    device = Device(BIN[0], bytes(8), BIN[1])
    gateway.hear(device.join_request(), tmst_us=77)
    gateway.clock.pass_ms(200)
    (record, _) = gateway.submitted[0]
    assert [row.dev_nonce for row in record.nonces] == [1]
    assert [(row.dev_eui, row.confirmed) for row in record.sessions] == [(BIN[0], 0)]
    assert gateway.orders == []
    assert gateway.published == []
    gateway.commit()
    (order,) = gateway.orders
    assert order.tmst_us == 5_000_077
    assert order.freq_hz == 868_100_000
    assert device.accept(order.phy_payload).dev_addr == record.sessions[0].dev_addr
    ((topic, event),) = gateway.published
    assert topic == "stoep/v1/street/device/70b3d57ed0000001/event"
    assert event["event_id"].startswith("70b3d57ed0000001-1-join")


def test_an_uplink_is_one_transaction_and_published_only_after_it(gateway):
    device = gateway.join()
    gateway.published.clear()
    gateway.hear(device.uplink(BinReport(1, 900, 4)), rssi_dbm=-101.0, snr_db=2.5)
    gateway.clock.pass_ms(200)
    ((record, _),) = gateway.submitted
    assert record.counters == ((1, 0, 0),)
    (row,) = record.uplinks
    assert (row.dev_eui, row.session_id, row.f_cnt_up, row.f_port) == (BIN[0], 1, 0, 10)
    assert (row.dr, row.freq_hz, row.undecodable) == (5, 868_100_000, None)
    assert json.loads(row.receptions) == [["0016c001ff10a235", -101, 2.5]]
    assert [row.asset for row in record.latest] == ["container/corner"]
    assert [row.topic for row in record.outbox] == [
        "stoep/v1/street/container/corner/state",
        "stoep/v1/street/device/70b3d57ed0000001/availability",  # its first since the start
    ]
    assert record.confirmed_sessions == (1,)
    assert gateway.published == []
    gateway.commit()
    (_, state), (_, availability) = gateway.published
    assert availability["state"] == "online"
    assert state["fill_pct"] == 50
    assert state["event_id"].startswith("70b3d57ed0000001-1-0")
    assert gateway.metrics.counts["uplinks_accepted"] == 1


def test_the_old_session_ends_with_the_first_uplink_on_the_new_one(gateway):
    device = gateway.join()
    gateway.take(device.uplink(BinReport(1, 900, 4)))
    gateway.take(device.join_request())
    assert gateway.records[-1].ended_sessions == ()
    gateway.clock.pass_ms(5000)
    gateway.take(device.uplink(BinReport(2, 900, 4)))  # the accept has not arrived
    assert gateway.records[-1].counters == ((1, 1, 0),)
    gateway.take(device.join_request())  # nor will this device use the second session
    assert gateway.records[-1].ended_sessions == (2,)
    device.accept(gateway.orders[-1].phy_payload)
    gateway.take(device.uplink(BinReport(3, 900, 4)))
    record = gateway.records[-1]
    assert record.counters == ((3, 0, 0),)
    assert record.confirmed_sessions == (3,)
    assert record.ended_sessions == (1,)


def test_an_emptying_is_recorded_with_the_uplink_that_confirms_it(gateway):
    device = gateway.join()
    times = []
    for sequence, distance_mm in enumerate([1000, 900, 800, 700, 600, 500, 1490, 1480]):
        times.append(gateway.clock.utc_ms())
        gateway.take(device.uplink(BinReport(sequence, distance_mm, 4)))
        gateway.clock.pass_ms(3_600_000)
    told = [it for it in gateway.records if it.uplinks]
    assert [it.collections for it in told[:7]] == [()] * 7
    (row,) = told[7].collections
    assert row[:3] == ("corner", pytest.approx(times[6], abs=1000), "sensor")
    assert row.after_utc_ms == pytest.approx(times[5], abs=1000)
    assert (row.from_pct, row.to_pct) == (pytest.approx(83.3, abs=0.1), pytest.approx(0.8, abs=0.1))
    assert "container_emptied" in [it.kind for it in told[7].outbox]
    (stored,) = gateway.connection.execute("SELECT * FROM collection").fetchall()
    assert stored == row


def test_a_state_tells_of_the_plan_in_force(gateway):
    device = gateway.join()
    gateway.pipeline.interpreter.coming = coming(plan(stops=[stop("corner", 1)]))
    gateway.take(device.uplink(BinReport(1, 900, 4)))
    (state,) = [it for it in gateway.records[-1].outbox if it.kind == "container_state"]
    assert json.loads(state.payload)["next_collection"]["truck"] == "truck-1"


def test_both_gateways_receptions_are_kept(gateway):
    device = gateway.join()
    phy_payload = device.uplink(BinReport(1, 900, 4))
    gateway.hear(phy_payload, snr_db=-5.0)
    gateway.clock.pass_ms(100)
    gateway.take(phy_payload, gateway=OTHER_GATEWAY, snr_db=7.0)
    (row,) = gateway.records[-1].uplinks
    assert [eui for eui, *_ in json.loads(row.receptions)] == [
        "0016c001ff10a236",
        "0016c001ff10a235",
    ]


def test_a_confirmed_uplink_is_acknowledged_after_its_commit(gateway):
    device = gateway.join()
    gateway.orders.clear()
    gateway.hear(device.uplink(BinReport(1, 900, 4), confirmed=True), tmst_us=1)
    gateway.clock.pass_ms(200)
    assert gateway.submitted[0][0].counters == ((1, 0, 1),)
    assert gateway.orders == []
    gateway.commit()
    (order,) = gateway.orders
    assert order.tmst_us == 1_000_001
    frame = device.downlink(order.phy_payload, f_cnt=0)
    assert frame.ack
    assert frame.f_port is None


def test_a_repeated_confirmed_uplink_is_acknowledged_again_and_not_recorded_twice(gateway):
    device = gateway.join()
    phy_payload = device.uplink(BinReport(1, 900, 4), confirmed=True)
    gateway.take(phy_payload)
    published = list(gateway.published)
    gateway.clock.pass_ms(4000)
    gateway.hear(phy_payload)
    gateway.clock.pass_ms(200)
    (record, _) = gateway.submitted[0]
    assert record == Record(counters=((1, 0, 2),))
    gateway.commit()
    assert device.downlink(gateway.orders[-1].phy_payload, f_cnt=1).ack
    assert gateway.published == published
    assert gateway.metrics.rejected == {}


def test_a_repeated_unconfirmed_uplink_is_counted_and_nothing_else(gateway):
    device = gateway.join()
    phy_payload = device.uplink(BinReport(1, 900, 4))
    gateway.take(phy_payload)
    count = len(gateway.records)
    gateway.clock.pass_ms(4000)
    gateway.take(phy_payload)
    assert len(gateway.records) == count
    assert gateway.metrics.rejected == {"repeated_uplink": 1}


def test_a_copy_over_a_slow_backhaul_is_not_acknowledged_again(gateway):
    device = gateway.join()
    phy_payload = device.uplink(BinReport(1, 900, 4), confirmed=True)
    gateway.take(phy_payload)
    orders = len(gateway.orders)
    gateway.clock.pass_ms(300)
    gateway.take(phy_payload, gateway=OTHER_GATEWAY)
    assert len(gateway.orders) == orders
    assert gateway.metrics.rejected == {"late_copy": 1}


def test_a_mac_question_is_answered_in_f_opts(gateway):
    device = gateway.join()
    question = codec.encode(UP, ((codec.LINK_CHECK,),))
    gateway.take(device.uplink(BinReport(1, 900, 4), f_opts=question))
    frame = device.downlink(gateway.orders[-1].phy_payload, f_cnt=0)
    assert not frame.ack
    assert codec.decode(DOWN, frame.f_opts)[0] == ((codec.LINK_CHECK, 12, 1),)


def test_a_device_that_asks_for_a_sign_of_life_gets_one(gateway):
    device = gateway.join()
    gateway.take(device.uplink(BinReport(1, 900, 4), adr=True, adr_ack_req=True))
    frame = device.downlink(gateway.orders[-1].phy_payload, f_cnt=0)
    assert not frame.ack
    assert frame.f_opts == b""


def test_rx2_after_a_refusal(gateway):
    device = gateway.join()
    gateway.take(device.uplink(BinReport(1, 900, 4), confirmed=True), tmst_us=0)
    rx1 = gateway.orders[-1]
    gateway.answer("COLLISION_PACKET")
    rx2 = gateway.orders[-1]
    assert (rx1.tmst_us, rx2.tmst_us) == (1_000_000, 2_000_000)
    assert rx2.phy_payload == rx1.phy_payload
    gateway.answer("")
    assert gateway.metrics.counts["downlinks_sent"] == 2  # the join-accept, too
    assert gateway.metrics.counts["downlinks_lost"] == 0


def test_what_was_sent_counts_for_the_duty_cycle_after_a_restart_too(gateway):
    device = gateway.join()
    gateway.take(device.uplink(BinReport(1, 900, 4), confirmed=True))
    gateway.answer("")
    gateway.commit()
    rows = [row for record in gateway.records for row in record.airtimes]
    assert [(row.gateway_eui, row.freq_hz) for row in rows] == [(GATEWAY, 868_100_000)] * 2
    assert [row.airtime_us for row in rows] == [71_936, 41_216]  # 33 octets, and 12, at SF7
    gateway.clock.pass_ms(1_800_000)
    gateway.restart()
    (used,) = gateway.scheduler.accounts(gateway.clock.now_ms())[GATEWAY].airtime
    assert used.used_permille == pytest.approx((71.936 + 41.216) / 3_600)
    gateway.clock.pass_ms(1_810_000)
    (used,) = gateway.scheduler.accounts(gateway.clock.now_ms())[GATEWAY].airtime
    assert used.used_permille == 0


def test_what_was_sent_counts_for_an_hour_at_most_when_utc_is_set_back(gateway):
    gateway.join()
    gateway.clock.set_utc(-365 * 86_400_000)
    gateway.restart()
    (used,) = gateway.scheduler.accounts(gateway.clock.now_ms())[GATEWAY].airtime
    assert used.used_permille == pytest.approx(71.936 / 3_600)
    gateway.clock.pass_ms(3_610_000)
    (used,) = gateway.scheduler.accounts(gateway.clock.now_ms())[GATEWAY].airtime
    assert used.used_permille == 0


def test_a_downlink_that_no_window_takes_is_counted_by_its_reason(gateway):
    device = gateway.join()
    gateway.take(device.uplink(BinReport(1, 900, 4), confirmed=True))
    gateway.answer("COLLISION_PACKET")
    gateway.answer("TX_FREQ")
    assert gateway.metrics.rejected == {"downlink_tx_freq": 1}


def test_a_commit_that_takes_too_long_loses_the_answer_and_not_the_uplink(gateway):
    device = gateway.join()
    orders = len(gateway.orders)
    gateway.hear(device.uplink(BinReport(1, 900, 4), confirmed=True))
    gateway.clock.pass_ms(2500)
    gateway.commit()
    assert len(gateway.orders) == orders
    assert gateway.metrics.counts["uplinks_accepted"] == 1
    assert gateway.metrics.rejected == {"downlink_late": 1}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"f_port": 10, "payload": b"\xff"}, "payload_"),
        ({"f_port": 99, "payload": b"x"}, "payload_"),
    ],
)
def test_an_undecodable_payload_is_recorded_raw(gateway, fields, code):
    device = gateway.join()
    gateway.take(device.uplink(**fields))
    (row,) = gateway.records[-1].uplinks
    assert row.frm_payload == fields["payload"]
    assert row.undecodable
    assert [row.kind for row in gateway.records[-1].outbox] == ["device_availability"]
    assert gateway.metrics.rejected == {f"payload_{row.undecodable}": 1}


def test_the_devices_own_status_is_kept_under_its_own_name(gateway):
    device = gateway.join()
    gateway.take(device.uplink(Status(battery_mv=3600)))
    record = gateway.records[-1]
    assert [row.asset for row in record.latest] == ["device/70b3d57ed0000001"]
    assert [row.kind for row in record.outbox] == ["device_status", "device_availability"]
    assert record.outbox[0].topic == "stoep/v1/street/device/70b3d57ed0000001/status"


def test_a_bay_that_reports_as_a_container_is_counted(gateway):
    device = gateway.join(BAY)
    gateway.take(device.uplink(BinReport(1, 900, 4)))
    assert gateway.metrics.rejected == {"wrong_asset": 1}
    assert gateway.metrics.counts["uplinks_accepted"] == 1


def test_what_is_held_until_the_time_is_known_is_in_the_uplinks_own_transaction(gateway):
    device = gateway.join()
    gateway.clock.is_known = False
    gateway.take(device.uplink(BinReport(1, 900, 4)))
    assert [len(record.held) for record in gateway.records if record.uplinks] == [1]
    assert [len(record.uplinks) for record in gateway.records if record.held] == [1]


def test_an_uplink_is_held_behind_those_that_are_not_told_yet(gateway):
    device = gateway.join()
    gateway.clock.is_known = False
    gateway.take(device.uplink(BinReport(1, 900, 4)))
    gateway.clock.is_known = True
    gateway.take(device.uplink(BinReport(2, 600, 4)))
    assert [len(record.held) for record in gateway.records if record.uplinks] == [1, 1]
    write_group(gateway.connection, [Record(told_held=1)], gateway.sealer)
    ((meta,),) = gateway.connection.execute("SELECT meta FROM held").fetchall()
    assert json.loads(meta)["f_cnt_up"] == 1  # the second


def test_the_previous_state_is_known_to_the_next_uplink(gateway):
    device = gateway.join(BAY)
    gateway.take(device.uplink(BayReport(0, 1, 30, 60)))
    gateway.clock.pass_ms(60_000)
    gateway.published.clear()
    gateway.take(device.uplink(BayReport(1, 2, 10, 90)))
    topics = [topic for topic, _ in gateway.published]
    assert topics == ["stoep/v1/street/bay/7/event", "stoep/v1/street/bay/7/state"]
    assert gateway.published[0][1]["previous_state"] == "free"


def test_two_uplinks_of_a_device_before_the_first_is_committed(gateway):
    device = gateway.join()
    for sequence in (1, 2):
        gateway.hear(device.uplink(BinReport(sequence, 900, 4)))
        gateway.clock.pass_ms(200)
    assert [record.counters for record, _ in gateway.submitted] == [((1, 0, 0),), ((1, 1, 0),)]
    ids = [row.outbox_id for record, _ in gateway.submitted for row in record.outbox]
    assert ids == [2, 3, 4]  # with that the device is there


def replayed_uplink(gateway):
    device = gateway.join()
    old = device.uplink(BinReport(1, 900, 4))
    gateway.take(old)
    gateway.take(device.uplink(BinReport(2, 900, 4)))
    gateway.clock.pass_ms(10_000)
    return old


def replayed_join(gateway):
    device = Device(BIN[0], bytes(8), BIN[1])
    request = device.join_request()
    gateway.take(request)
    gateway.clock.pass_ms(10_000)
    return request


def wrong_mic(gateway):
    return gateway.join().uplink(BinReport(1, 900, 4))[:-4] + bytes(4)


def unknown_device(gateway):
    return Device(bytes(8), bytes(8), BIN[1]).join_request()


def another_networks_device(gateway):
    key = new_key(bytes(16))
    return frames.encode_data(frames.UNCONFIRMED_UP, 0x01020304, 0, key, key)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (replayed_uplink, "f_cnt_replayed"),
        (replayed_join, "dev_nonce_replayed"),
        (wrong_mic, "mic"),
        (unknown_device, "unknown_dev_eui"),
        (another_networks_device, "unknown_dev_addr"),
        (lambda _: b"\xff" * 30, "frame_version"),
        (lambda _: b"", "frame_truncated"),
    ],
)
def test_what_is_rejected_is_counted_and_changes_nothing(gateway, make, reason):
    phy_payload = make(gateway)
    gateway.commit()
    records, orders = len(gateway.records), len(gateway.orders)
    gateway.take(phy_payload)
    assert gateway.metrics.rejected == {reason: 1}
    assert len(gateway.records) == records
    assert len(gateway.orders) == orders
    gateway.pipeline.receive(GatewayStat(GATEWAY, {}))
    gateway.links[GATEWAY].last_seen_ms = 0
    gateway.commit()
    assert gateway.published[-1][1]["rejected"] == {reason: 1}


def test_an_unusual_data_rate_is_rejected(gateway):
    gateway.take(gateway.join().uplink(), sf=7, bw_hz=500_000)
    assert gateway.metrics.rejected == {"data_rate": 1}


def test_a_device_that_is_no_longer_registered(gateway):
    device = gateway.join()
    gateway.registry.devices.pop(BIN[0])
    gateway.take(device.uplink(BinReport(1, 900, 4)))
    assert gateway.metrics.rejected == {"device_not_registered": 1}


def test_an_assets_mishap_stops_nobody_else(gateway, monkeypatch, caplog):
    device, other = gateway.join(), gateway.join(BAY)

    def fail(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.topics, "uplink_outputs", fail)
        gateway.take(device.uplink(BinReport(1, 900, 4)))
        gateway.take(device.uplink(BinReport(2, 900, 4)))
    assert gateway.metrics.rejected == {"internal_error": 2}
    assert sum("ZeroDivisionError" in (r.exc_text or "") for r in caplog.records) <= 1
    gateway.published.clear()
    gateway.take(other.uplink(BayReport(1, 2, 10, 90)))
    assert gateway.published
    assert gateway.metrics.counts["uplinks_accepted"] == 3


def test_rejections_are_logged_once_an_interval(gateway, caplog):
    with caplog.at_level("WARNING", logger="stoep_gateway"):
        for _ in range(50):
            gateway.pipeline.receive(Rejected("gwmp_version", "1"))
        gateway.clock.pass_ms(60_000)
        gateway.pipeline.receive(Rejected("gwmp_version", "1"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "rejected gwmp_version ×1: 1",
        "rejected gwmp_version ×50: 1",
    ]
    assert gateway.metrics.rejected["gwmp_version"] == 51


def test_a_gateway_that_falls_silent_is_published_as_offline(gateway):
    gateway.links[GATEWAY].last_seen_ms = 0
    gateway.pipeline.receive(GatewayStat(GATEWAY, {"rxnb": 3}))
    gateway.commit()
    gateway.clock.pass_ms(120_000)
    gateway.commit()
    states = [payload["online"] for topic, payload in gateway.published if "kerb-1" in topic]
    assert states == [True, False]


def test_a_gateway_that_was_online_before_a_restart_and_is_not_heard_again(gateway, caplog):
    caplog.set_level("INFO", logger="stoep_gateway")
    gateway.pipeline.start()
    gateway.links[GATEWAY].last_seen_ms = 0
    gateway.pipeline.receive(GatewayStat(GATEWAY, {}))
    gateway.links[GATEWAY].last_seen_ms = 100_000
    gateway.clock.pass_ms(120_000)
    gateway.commit()
    states = [
        (payload["gateway"], payload["online"])
        for _, payload in gateway.published
        if "gateway" in payload
    ]
    assert states == [("kerb-1", True), ("kerb-2", False)]
    assert [record.getMessage() for record in caplog.records] == [
        "gateway kerb-1 is online",
        "gateway kerb-2 is offline",
    ]


def test_a_stop_does_not_lose_what_was_acknowledged_to_the_forwarder(gateway):
    device = gateway.join()
    gateway.hear(device.uplink(BinReport(1, 900, 4)))
    gateway.pipeline.finish()
    assert [record.counters for record, _ in gateway.submitted] == [((1, 0, 0),)]
    assert gateway.clock.timers() == 0


def test_the_same_input_gives_the_same_output(gateway, tmp_path_factory):
    other = Gateway(tmp_path_factory.mktemp("other"))
    for each in (gateway, other):
        device = each.join()
        each.take(device.uplink(BinReport(1, 900, 4), confirmed=True))
    assert gateway.records == other.records
    assert [o.phy_payload for o in gateway.orders] == [o.phy_payload for o in other.orders]
    assert gateway.published == other.published


@given(
    st.binary(max_size=80)
    | st.builds(
        lambda head, rest: head + rest,
        st.sampled_from([b"\x00", b"\x40", b"\x80"]),
        st.binary(max_size=40),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_payload_stops_the_pipeline(gateway, phy_payload):
    gateway.take(phy_payload)
    assert gateway.records == []
    assert gateway.orders == []


@given(
    f_port=st.none() | st.integers(0, 224),
    payload=st.binary(max_size=60),
    f_opts=st.binary(max_size=15),
    confirmed=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_no_content_of_a_devices_own_frames_stops_the_pipeline(
    gateway, f_port, payload, f_opts, confirmed
):
    if not gateway.memory.sessions.of_device(BIN[0]):
        gateway.device = gateway.join()
    fields = {"f_port": f_port, "payload": b"" if f_port is None else payload}
    if f_port != 0:
        fields["f_opts"] = f_opts
    records = len(gateway.records)
    gateway.take(gateway.device.uplink(confirmed=confirmed, **fields))
    (record,) = [record for record in gateway.records[records:] if record.uplinks]
    assert len(record.uplinks) == 1
    assert gateway.metrics.rejected["internal_error"] == 0

"""ChirpStack's events, made by its own messages, and commands that its own parser takes."""

import json
import uuid

import pytest
from chirpstack_api.integration import integration_pb2 as pb
from chirpstack_events import (
    APPLICATION,
    DEV_EUI,
    EPOCH,
    device_info,
    heard_at,
    join,
    message,
    topic,
    uplink,
)
from google.protobuf.json_format import Parse
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.integrations.chirpstack import ChirpStack
from stoep_gateway.integrations.events import Reception, SourceDownlink, SourceEvent, SourceUplink
from stoep_gateway.lns.frames import Rejected

START_MS = round(EPOCH.timestamp() * 1000)
NOW_MS = START_MS + 3_600_000
SOURCE = ChirpStack("city-ns", APPLICATION, "blantyre")


def read(name, event, now_ms=NOW_MS):
    return SOURCE.read(topic(name), message(event), now_ms)


def test_an_uplink():
    assert read("up", uplink(7)) == SourceUplink(
        source_id="city-ns",
        dev_eui=DEV_EUI,
        event_key="3ac7e3c4-0000-4000-8000-000000000007",
        session="01a2b3c4",
        f_cnt_up=7,
        f_port=10,
        frm_payload=b"\x01\x02",
        confirmed=False,
        dr=5,
        sf=7,
        bw_hz=125_000,
        freq_hz=868_100_000,
        receptions=(
            Reception("0016c001f1500813", -88, pytest.approx(9.2)),
            Reception("0016c001f1500812", -97, 5.5),
        ),
        heard_utc_ms=START_MS + 420_000,
        received_utc_ms=START_MS + 420_000,
    )


def test_what_is_zero_is_left_out_and_understood():
    event = uplink(0, b"", dr=0, f_port=0)
    assert (
        not {"fCnt", "dr", "fPort", "data", "adr", "confirmed"} & json.loads(message(event)).keys()
    )
    taken = read("up", event)
    assert (taken.f_cnt_up, taken.dr, taken.sf, taken.frm_payload) == (0, 0, 12, b"")
    assert taken.f_port is None
    assert taken.confirmed is False


def test_an_uplink_that_nobody_heard_and_without_a_time_is_dated_by_its_arrival():
    event = uplink(1)
    event.ClearField("time")
    event.ClearField("rx_info")
    taken = read("up", event)
    assert taken.receptions == ()
    assert taken.heard_utc_ms == taken.received_utc_ms == NOW_MS


def test_a_gateway_whose_clock_is_wrong_does_not_date_an_uplink():
    event = uplink(1)
    event.time.FromDatetime(heard_at(-86_400 * 365))
    assert read("up", event).heard_utc_ms == START_MS + 60_000


def test_a_server_whose_clock_is_ahead_does_not_date_into_our_future():
    taken = read("up", uplink(1), now_ms=START_MS + 1000)
    assert taken.heard_utc_ms == START_MS + 60_000
    assert taken.received_utc_ms == START_MS + 1000


def test_other_modulations_have_no_spreading_factor():
    event = uplink(1)
    event.tx_info.modulation.fsk.datarate = 50_000
    taken = read("up", event)
    assert (taken.sf, taken.bw_hz) == (0, 0)


def test_a_payload_that_chirpstack_cannot_decrypt_is_refused():
    event = uplink(1)
    event.join_server_context.app_s_key.aes_key = bytes(16)
    assert read("up", event).reason == "source_encrypted"


TAG = json.loads(SOURCE.command(SourceDownlink(4711, DEV_EUI, 13, b"x"))[1])["id"]
FOREIGN = "9a1f4a5e-55d1-4a52-9c3e-1f6c8e2f0a11"


def log(code, level=pb.ERROR, **context):
    return pb.LogEvent(
        time=heard_at(1),
        device_info=device_info(),
        level=level,
        code=code,
        description="what happened",
        context=context,
    )


@pytest.mark.parametrize(
    ("name", "event", "kind", "downlink_id", "detail"),
    [
        ("join", join("j-1"), "join", None, ""),
        (
            "txack",
            pb.TxAckEvent(device_info=device_info(), queue_item_id=TAG, gateway_id="0016c0"),
            "sent",
            4711,
            "0016c0",
        ),
        (
            "ack",
            pb.AckEvent(device_info=device_info(), queue_item_id=TAG, acknowledged=True),
            "acknowledged",
            4711,
            "",
        ),
        (
            "ack",
            pb.AckEvent(device_info=device_info(), queue_item_id=TAG),
            "unacknowledged",
            4711,
            "",
        ),
        (
            "ack",
            pb.AckEvent(device_info=device_info(), queue_item_id=FOREIGN, acknowledged=True),
            "acknowledged",
            None,
            "",
        ),
        (
            "log",
            log(pb.DOWNLINK_PAYLOAD_SIZE, queue_item_id=TAG),
            "refused",
            4711,
            "ERROR DOWNLINK_PAYLOAD_SIZE: what happened",
        ),
        (
            "log",
            log(pb.EXPIRED, queue_item_id=TAG),
            "expired",
            4711,
            "ERROR EXPIRED: what happened",
        ),
        ("log", log(pb.UNKNOWN, pb.INFO), "log", None, "INFO UNKNOWN: what happened"),
        ("log", log(pb.UPLINK_MIC), "log", None, "ERROR UPLINK_MIC: what happened"),
    ],
)
def test_other_events(name, event, kind, downlink_id, detail):
    taken = read(name, event)
    assert isinstance(taken, SourceEvent)
    assert taken.dev_eui == DEV_EUI
    assert (taken.kind, taken.downlink_id, taken.detail) == (kind, downlink_id, detail)


@pytest.mark.parametrize(
    ("fields", "battery_pct"),
    [
        ({"battery_level": 75.5}, 75.5),
        ({"battery_level": 0.0}, 0.0),
        ({"battery_level_unavailable": True}, None),
        ({"external_power_source": True}, None),
    ],
)
def test_a_status(fields, battery_pct):
    taken = read("status", pb.StatusEvent(device_info=device_info(), margin=-5, **fields))
    assert (taken.kind, taken.margin_db, taken.battery_pct) == ("status", -5, battery_pct)


def test_a_command_is_what_chirpstack_takes():
    where, payload = SOURCE.command(
        SourceDownlink(9, DEV_EUI, 13, b"\x00\xff", confirmed=True, expires_utc_ms=START_MS + 1500)
    )
    assert where == f"application/{APPLICATION}/device/{DEV_EUI.hex()}/command/down"
    command = Parse(payload, pb.DownlinkCommand())
    assert command.dev_eui == DEV_EUI.hex()
    assert (command.f_port, command.data, command.confirmed) == (13, b"\x00\xff", True)
    assert command.expires_at.ToMilliseconds() == START_MS + 1500
    assert "expiresAt" not in json.loads(SOURCE.command(SourceDownlink(9, DEV_EUI, 13, b""))[1])


@given(st.integers(0, 2**60 - 1))
def test_a_downlink_is_known_again_by_its_uuid_alone(downlink_id):
    tag = json.loads(SOURCE.command(SourceDownlink(downlink_id, DEV_EUI, 13, b"x"))[1])["id"]
    event = pb.TxAckEvent(device_info=device_info(), queue_item_id=tag.upper())
    assert read("txack", event).downlink_id == downlink_id
    elsewhere = ChirpStack("city-ns", APPLICATION, "zomba")
    assert elsewhere.read(topic("txack"), message(event), NOW_MS).downlink_id is None


def test_a_tag_is_a_uuid_of_version_8():
    assert uuid.UUID(TAG).version == 8
    assert uuid.UUID(TAG).variant == uuid.RFC_4122


@pytest.mark.parametrize(
    ("where", "payload", "reason"),
    [
        ("application/a/device/0102/event/up", b"{}", "source_topic"),
        (topic("location"), b"{}", "source_topic"),
        ("", b"", "source_topic"),
        (topic("up"), b"", "source_malformed"),
        (topic("up"), uplink(1).SerializeToString(), "source_malformed"),
        (topic("up"), b"[]", "source_malformed"),
        (topic("up"), b"{}", "source_malformed"),
        (topic("up"), b"[" * 200_000, "source_malformed"),
        (topic("up"), b" " * 300_000, "source_too_large"),
        (topic("up", bytes(8)), message(uplink(1)), "source_malformed"),
    ],
)
def test_what_is_not_an_event_is_rejected(where, payload, reason):
    assert SOURCE.read(where, payload, NOW_MS).reason == reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fCnt", -1),
        ("fCnt", 2**32),
        ("fCnt", True),
        ("fCnt", 1.5),
        ("fCnt", "0x10"),
        ("fPort", 256),
        ("data", "no base64!"),
        ("data", 5),
        ("data", "AAAA" * 86),
        ("confirmed", 1),
        ("rxInfo", [{"nsTime": "yesterday"}]),
        ("rxInfo", [{"nsTime": "2026-03-01T12:00:00"}]),
        ("devAddr", 7),
        ("deduplicationId", None),
        ("deduplicationId", "\ud800"),
        ("deviceInfo", []),
        ("rxInfo", {}),
        ("rxInfo", [1]),
        ("rxInfo", [{"snr": "loud"}]),
        ("rxInfo", [{"rssi": float("nan")}]),
        ("rxInfo", [{"snr": float("inf")}]),
        ("txInfo", {"modulation": {"lora": {"spreadingFactor": 99}}}),
    ],
)
def test_a_wrong_field_is_rejected_by_name(name, value):
    event = json.loads(message(uplink(1))) | {name: value}
    rejected = SOURCE.read(topic("up"), json.dumps(event).encode(), NOW_MS)
    assert rejected.reason == "source_malformed"
    assert rejected.detail.startswith(f"city-ns: {DEV_EUI.hex()} up: ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(
    st.sampled_from(["up", "join", "ack", "txack", "status", "log"]),
    st.dictionaries(
        st.sampled_from([*json.loads(message(uplink(1))), "context", "margin", "queueItemId"]), JSON
    ),
)
def test_nothing_that_comes_raises(name, members):
    event = json.loads(message(uplink(1))) | members
    taken = SOURCE.read(topic(name), json.dumps(event).encode(), NOW_MS)
    assert isinstance(taken, SourceUplink | SourceEvent | Rejected)


@given(st.text(max_size=80), st.binary(max_size=80))
def test_nor_does_noise(where, payload):
    assert isinstance(SOURCE.read(where, payload, NOW_MS), Rejected)
    assert isinstance(SOURCE.read(topic("up"), payload, NOW_MS), Rejected)

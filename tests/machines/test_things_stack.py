"""The Things Stack's messages, in the shapes of its documentation's "Data Formats"."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.integrations.events import Reception, SourceDownlink, SourceEvent, SourceUplink
from stoep_gateway.integrations.things_stack import TheThingsStack
from stoep_gateway.lns.frames import Rejected

SOURCE = TheThingsStack("ttn", "bins@ttn", "blantyre")
ROOT = "v3/bins@ttn/devices"
DEV_EUI = bytes.fromhex("70b3d57ed0001a2b")
HEARD_MS = 1_772_366_405_789
NOW_MS = HEARD_MS + 400
IDS = {
    "device_id": "market-1",
    "application_ids": {"application_id": "bins"},
    "dev_eui": "70B3D57ED0001A2B",
    "join_eui": "0000000000000001",
    "dev_addr": "260BABCD",
}


def uplink(**members) -> dict:
    """Return an uplink; a member that is None is left out."""
    content = {
        "session_key_id": "AXA50tHUGUucuzS/bCGMNw==",
        "f_port": 10,
        "f_cnt": 300,
        "frm_payload": "AQI=",
        "decoded_payload": {"fill": 41},
        "rx_metadata": [
            {
                "gateway_ids": {"gateway_id": "kerb-1", "eui": "9C5C8E00001A05C4"},
                "timestamp": 2463457000,
                "rssi": -97,
                "channel_rssi": -97,
                "snr": -3.25,
            },
            {
                "gateway_ids": {"gateway_id": "packetbroker"},
                "packet_broker": {"forwarder_net_id": "000013"},
                "rssi": -88,
            },
        ],
        "settings": {
            "data_rate": {
                "lora": {"bandwidth": 125000, "spreading_factor": 9, "coding_rate": "4/5"}
            },
            "frequency": "868300000",
            "timestamp": 2463457000,
        },
        "consumed_airtime": "0.185344s",
        "received_at": "2026-03-01T12:00:05.789585559Z",
    } | members
    return {
        "end_device_ids": IDS,
        "correlation_ids": ["gs:uplink:01E0WZGSZWT07NE5TS2APTV1Z9"],
        "received_at": "2026-03-01T12:00:06.014773143Z",
        "uplink_message": {name: value for name, value in content.items() if value is not None},
    }


def read(event: str, message: dict):
    return SOURCE.read(f"{ROOT}/market-1/{event}", json.dumps(message).encode(), NOW_MS)


def test_an_uplink():
    assert read("up", uplink(confirmed=True)) == SourceUplink(
        source_id="ttn",
        dev_eui=DEV_EUI,
        event_key=f"AXA50tHUGUucuzS/bCGMNw==-300-{HEARD_MS + 1}",
        session="AXA50tHUGUucuzS/bCGMNw==",
        f_cnt_up=300,
        f_port=10,
        frm_payload=b"\x01\x02",
        confirmed=True,
        dr=None,
        sf=9,
        bw_hz=125_000,
        freq_hz=868_300_000,
        receptions=(Reception("packetbroker", -88, 0), Reception("kerb-1", -97, -3.25)),
        heard_utc_ms=HEARD_MS + 1,
        received_utc_ms=HEARD_MS + 1,
        device_id="market-1",
    )


def test_what_is_zero_or_empty_is_left_out_and_understood():
    bare = uplink(f_port=None, f_cnt=None, frm_payload=None, rx_metadata=None)
    taken = read("up", bare)
    assert (taken.f_cnt_up, taken.f_port, taken.frm_payload) == (0, None, b"")
    assert taken.receptions == ()
    assert taken.confirmed is False


def test_a_personalised_device_is_told_by_its_address():
    assert read("up", uplink(session_key_id=None)).session == "260babcd"


def test_an_uplink_of_the_console_is_refused():
    assert read("up", uplink() | {"simulated": True}).reason == "source_simulated"


def test_a_payload_that_the_server_does_not_decrypt_is_refused():
    rejected = read("up", uplink(app_s_key={"key": "…"}))
    assert rejected == Rejected(
        "source_encrypted", "ttn: market-1 up: source_encrypted: skip_payload_crypto is set"
    )


def pushed(downlink_id: int) -> dict:
    downlink = SourceDownlink(downlink_id, DEV_EUI, 13, b"\x00\xff", confirmed=True)
    return json.loads(SOURCE.command(downlink)[1])["downlinks"][0]


def test_a_command_names_the_device_as_the_server_does():
    topic, payload = SOURCE.command(
        SourceDownlink(9, DEV_EUI, 13, b"\x00\xff", confirmed=True, device_id="market-1")
    )
    assert topic == f"{ROOT}/market-1/down/push"
    (downlink,) = json.loads(payload)["downlinks"]
    assert base64.b64decode(downlink["frm_payload"]) == b"\x00\xff"
    assert (downlink["f_port"], downlink["confirmed"]) == (13, True)
    assert downlink["priority"] == "NORMAL"
    assert SOURCE.command(SourceDownlink(9, DEV_EUI, 13, b""))[0] == (
        f"{ROOT}/eui-70b3d57ed0001a2b/down/push"
    )


@pytest.mark.parametrize(
    ("event", "member", "kind"),
    [
        ("down/sent", "downlink_sent", "sent"),
        ("down/ack", "downlink_ack", "acknowledged"),
        ("down/nack", "downlink_nack", "unacknowledged"),
    ],
)
def test_the_ends_of_a_downlink(event, member, kind):
    message = {
        "end_device_ids": IDS,
        "correlation_ids": ["as:downlink:01E19B99501X84X6CV471TVSZ1"],
        "received_at": "2026-03-01T12:00:06Z",
        member: pushed(4711) | {"f_cnt": 1, "session_key_id": "AXBSp8v2brG0jqkri+sIkw=="},
    }
    taken = read(event, message)
    assert isinstance(taken, SourceEvent)
    assert (taken.kind, taken.downlink_id, taken.dev_eui) == (kind, 4711, DEV_EUI)


def test_a_downlink_that_failed_says_why_and_may_not_name_the_eui():
    message = {
        "end_device_ids": {"device_id": "market-1"},
        "downlink_failed": {
            "downlink": pushed(12),
            "error": {
                "namespace": "pkg/networkserver",
                "name": "application_downlink_too_long",
                "message_format": "application downlink payload is too long",
                "code": 3,
            },
        },
    }
    taken = read("down/failed", message)
    assert (taken.kind, taken.downlink_id, taken.device_id) == ("refused", 12, "market-1")
    assert taken.detail == "application downlink payload is too long"
    assert taken.dev_eui == b""
    assert taken.received_utc_ms == NOW_MS


def test_a_downlink_of_somebody_else():
    message = {"end_device_ids": IDS, "downlink_sent": {"correlation_ids": ["as:downlink:01", 5]}}
    assert read("down/sent", message).downlink_id is None


def test_a_join():
    message = {
        "end_device_ids": IDS,
        "received_at": "2026-03-01T12:00:06Z",
        "join_accept": {
            "session_key_id": "AXBSH1Pk6Z0G166RlH16CQ==",
            "received_at": "2026-03-01T12:00:05.789Z",
        },
    }
    taken = read("join", message)
    assert (taken.kind, taken.session) == ("join", "AXBSH1Pk6Z0G166RlH16CQ==")
    assert taken.heard_utc_ms == HEARD_MS


def test_what_is_subscribed_to_is_what_is_read():
    kinds = {one.removeprefix(f"{ROOT}/+/") for one in SOURCE.subscriptions}
    assert kinds == {"up", "join", "down/sent", "down/ack", "down/nack", "down/failed"}
    for kind in kinds:
        assert getattr(read(kind, uplink()), "reason", "") != "source_topic"


@pytest.mark.parametrize(
    ("topic", "message", "reason"),
    [
        (f"{ROOT}/market-1/down/push", {}, "source_topic"),
        (f"{ROOT}/Market/up", {}, "source_topic"),
        (f"{ROOT}/market-2/up", uplink(), "source_malformed"),
        (f"{ROOT}/market-1/up", {}, "source_malformed"),
        (f"{ROOT}/market-1/up", {"end_device_ids": IDS}, "source_malformed"),
        (f"{ROOT}/market-1/up", uplink(settings={"frequency": "868.3"}), "source_malformed"),
        (f"{ROOT}/market-1/up", uplink(received_at=12), "source_malformed"),
        (
            f"{ROOT}/market-1/up",
            uplink() | {"end_device_ids": {"device_id": "market-1"}},
            "source_malformed",
        ),
    ],
)
def test_what_is_not_a_message_is_rejected(topic, message, reason):
    assert SOURCE.read(topic, json.dumps(message).encode(), NOW_MS).reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
MEMBERS = ["correlation_ids", "received_at", "simulated", "downlink_sent", "downlink_failed"]


@given(
    st.sampled_from(["up", "join", "down/sent", "down/ack", "down/nack", "down/failed"]),
    st.dictionaries(st.sampled_from(MEMBERS), JSON),
    st.dictionaries(st.sampled_from(list(uplink()["uplink_message"])), JSON),
)
def test_nothing_that_comes_raises(event, members, content):
    taken = read(event, uplink(**content) | members)
    assert isinstance(taken, SourceUplink | SourceEvent | Rejected)


@given(st.text(max_size=60), st.binary(max_size=80))
def test_nor_does_noise(topic, payload):
    assert isinstance(SOURCE.read(topic, payload, NOW_MS), Rejected)
    assert isinstance(SOURCE.read(f"{ROOT}/market-1/up", payload, NOW_MS), Rejected)

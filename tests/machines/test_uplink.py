"""The steps of a data uplink, one by one: pure, each a new value."""

import pytest
from lns_values import frame_set, session, uplink
from stoep_gateway.lns import uplink as steps
from stoep_gateway.lns.sessions import Match
from stoep_protocol.lorawan import frames, network_frames
from stoep_protocol.lorawan import mac_commands as codec
from stoep_protocol.lorawan.crypto import UP
from stoep_protocol.lorawan.regions import EU868
from stoep_protocol.messages import BinReport, encode

LINK_CHECK_REQ = codec.encode(UP, ((codec.LINK_CHECK,),))
DEVICE_TIME_REQ = codec.encode(UP, ((codec.DEVICE_TIME,),))


def plain_of(phy_payload: bytes, f_cnt: int = 0) -> steps.Plain:
    match = Match(session(), f_cnt, repeated=False)
    return steps.decrypt(match, frames.parse(phy_payload))


def test_an_uplink_is_parsed():
    frame = steps.parse(frame_set(uplink(3, f_port=10, payload=b"abc")))
    assert isinstance(frame, frames.DataFrame)
    assert frame.f_cnt == 3


def test_a_join_request_is_parsed():
    request = bytes(19) + b"\1\2\3\4"
    assert isinstance(steps.parse(frame_set(request)), network_frames.JoinRequest)


@pytest.mark.parametrize(
    ("phy_payload", "reason"),
    [
        (b"", "frame_truncated"),
        (b"\x40\x01", "frame_truncated"),
        (b"\x41" + bytes(20), "frame_version"),
        (b"\x00" + bytes(21), "frame_length"),
        (b"\xe0" + bytes(20), "frame_reserved"),
        (b"\x60" + bytes(20), "not_an_uplink"),
        (b"\xa0" + bytes(20), "not_an_uplink"),
        (b"\x20" + bytes(16), "not_an_uplink"),
    ],
)
def test_what_is_no_uplink(phy_payload, reason):
    assert steps.parse(frame_set(phy_payload)).reason == reason


def test_data_rates_are_the_regions():
    assert steps.data_rate(frame_set(b"x", sf=12), EU868) == 0
    assert steps.data_rate(frame_set(b"x", sf=7, bw_hz=250_000), EU868) == 6
    assert steps.data_rate(frame_set(b"x", bw_hz=500_000), EU868).reason == "data_rate"


def test_the_payload_is_decrypted_with_the_full_counter():
    assert plain_of(uplink(70_000, f_port=10, payload=b"abc"), 70_000).frm_payload == b"abc"


def test_port_0_holds_mac_commands_and_no_payload():
    plain = plain_of(uplink(0, f_port=0, payload=LINK_CHECK_REQ))
    assert plain.frm_payload == b""
    assert plain.commands == LINK_CHECK_REQ


def test_a_frame_without_port_has_nothing_to_decode():
    plain = plain_of(uplink(0))
    assert (plain.f_port, plain.frm_payload, steps.decode(plain)) == (None, b"", None)


def test_a_message_is_decoded():
    report = BinReport(7, 900, 4)
    f_port, payload = encode(report)
    assert steps.decode(steps.Plain(f_port, payload, b"")) == report


@pytest.mark.parametrize(
    ("f_port", "payload"), [(10, b""), (10, b"\xff"), (13, b"\x80"), (99, b"")]
)
def test_what_cannot_be_decoded_has_a_code(f_port, payload):
    code = steps.decode(steps.Plain(f_port, payload, b""))
    assert isinstance(code, str)
    assert code.replace("_", "").isalpha()


def test_mac_commands_may_stand_before_a_payload():
    plain = plain_of(uplink(0, f_opts=LINK_CHECK_REQ, f_port=10, payload=b"abc"))
    assert (plain.commands, plain.frm_payload) == (LINK_CHECK_REQ, b"abc")

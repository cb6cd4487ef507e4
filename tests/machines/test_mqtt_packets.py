"""PUBLISH and PUBACK on the wire, octet by octet and in every piece they come in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.errors import RemoteProtocolError
from stoep_gateway.publish.mqtt_packets import PubackReader, encode_publish

PINGRESP = b"\xd0\x00"
DISCONNECT_5 = b"\xe0\x02\x8b\x00"


@pytest.mark.parametrize(
    ("fields", "expected"),
    # MQTT 3.1.1, 3.3: first octet, remaining length, topic, packet id, payload; 5.0 has the length
    # of the properties after the packet id.
    [
        ({"retain": False, "version_5": False}, b"\x32\x08\x00\x03a/b\x00\x0ax"),
        ({"retain": True, "version_5": False}, b"\x33\x08\x00\x03a/b\x00\x0ax"),
        ({"retain": True, "version_5": True}, b"\x33\x09\x00\x03a/b\x00\x0a\x00x"),
    ],
)
def test_a_message(fields, expected):
    assert encode_publish("a/b", b"x", 10, **fields) == expected


@pytest.mark.parametrize(
    ("payload", "length"),
    [(120, b"\x7f"), (121, b"\x80\x01"), (16_376, b"\xff\x7f"), (16_377, b"\x80\x80\x01")],
)
def test_lengths_of_one_octet_and_more(payload, length):
    packet = encode_publish("a/b", bytes(payload), 1, retain=False, version_5=False)
    assert packet[1 : 1 + len(length)] == length
    assert len(packet) == 1 + len(length) + 7 + payload


def test_a_topic_is_utf_8():
    packet = encode_publish("straße", b"", 1, retain=False, version_5=False)
    assert packet[2:11] == b"\x00\x07stra\xc3\x9fe"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x40\x02\x12\x34", (0x1234, 0)),  # 3.1.1, and 5.0 for success
        (b"\x40\x03\x12\x34\x10", (0x1234, 0x10)),  # 5.0: nobody subscribes
        (b"\x40\x04\x12\x34\x87\x00", (0x1234, 0x87)),
        (b"\x40\x09\x12\x34\x97\x05\x1f\x00\x02no", (0x1234, 0x97)),  # with a reason string
    ],
)
def test_an_acknowledgement(data, expected):
    assert PubackReader().feed(data) == ([expected], b"")


def test_everything_else_is_left_to_the_library():
    data = b"\x40\x02\x00\x01" + PINGRESP + b"\x40\x02\x00\x02" + DISCONNECT_5
    assert PubackReader().feed(data) == ([(1, 0), (2, 0)], PINGRESP + DISCONNECT_5)


def test_a_puback_without_an_id_is_the_librarys_problem():
    assert PubackReader().feed(b"\x40\x00\x40\x01\x00") == ([], b"\x40\x00\x40\x01\x00")


def test_a_length_that_no_packet_has():
    with pytest.raises(RemoteProtocolError):
        PubackReader().feed(b"\x30\xff\xff\xff\xff\x01")


LONG = b"\x30\x85\x02" + bytes(261)
PACKETS = st.sampled_from(
    [b"\x40\x02\x00\x07", b"\x40\x04\xff\xff\x87\x00", PINGRESP, DISCONNECT_5, LONG]
)


@given(st.lists(PACKETS, max_size=12), st.lists(st.integers(0, 600), max_size=12))
def test_packets_come_in_any_pieces(packets, cuts):
    stream = b"".join(packets)
    reader, acknowledged, others = PubackReader(), [], b""
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(places):
        new, more = reader.feed(stream[start:end])
        acknowledged += new
        others += more
    pubacks = [packet for packet in packets if packet[0] == 0x40]
    assert [packet_id for packet_id, _ in acknowledged] == [
        int.from_bytes(packet[2:4], "big") for packet in pubacks
    ]
    assert others == b"".join(packet for packet in packets if packet[0] != 0x40)

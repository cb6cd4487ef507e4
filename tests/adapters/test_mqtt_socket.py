"""The socket beneath paho, on a pair of real ones."""

import asyncio
import contextlib
import socket

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from stoep_gateway.publish import mqtt_socket
from stoep_gateway.publish.mqtt_socket import BufferedSocket


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(20)
    loop = asyncio.new_event_loop()
    yield BufferedSocket(ours, loop), theirs
    ours.close()
    theirs.close()
    loop.close()


def test_it_reads_ahead_and_says_how_much(pair):
    buffered, theirs = pair
    theirs.send(b"\x40\x02\x00\x01\x40\x02\x00\x02")
    assert [buffered.recv(1), buffered.recv(1), buffered.recv(2)] == [b"\x40", b"\x02", b"\x00\x01"]
    assert buffered.pending() == 4
    assert buffered.recv(100) == b"\x40\x02\x00\x02"
    assert buffered.pending() == 0
    with pytest.raises(BlockingIOError):
        buffered.recv(1)
    theirs.close()
    assert buffered.recv(1) == b""


def test_what_is_written_goes_out_in_order_when_it_is_flushed(pair):
    buffered, theirs = pair
    buffered.send(b"one ")
    buffered.send(bytearray(b"two"))
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    assert buffered.flush()
    assert theirs.recv(100) == b"one two"


def test_what_the_connection_does_not_take_waits_and_then_is_refused(pair):
    buffered, theirs = pair
    written = 0
    with contextlib.suppress(BlockingIOError):
        while written < 100_000_000:
            written += buffered.send(b"%08d" % written * 1000)
            buffered.flush()
    assert written < 100_000_000
    received = b""
    while len(received) < written:
        received += theirs.recv(65_536)
        buffered.flush()
    assert received == b"".join(b"%08d" % at * 1000 for at in range(0, written, 8000))
    assert buffered.flush()


def test_closing_sends_what_there_is(pair):
    buffered, theirs = pair
    buffered.send(b"\xe0\x00")
    buffered.close()
    assert theirs.recv(100) == b"\xe0\x00"
    assert theirs.recv(100) == b""


_PINGRESP = b"\xd0\x00"  # so that what follows is read ahead


def told_of(packet: bytes, protocol, *, shared: bool):
    """Have paho read a PUBACK for message 1; return what it tells, and what it makes of it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        client._sock = ours
        assert client.publish("a", b"b", 1).mid == 1
        told = []
        client.on_publish = lambda _client, _data, *rest: told.append(
            (rest[0], rest[1].value, str(rest[1]), rest[2].json())
        )
        theirs.send(_PINGRESP + bytes((0x40, len(packet))) + packet)
        if shared:
            with contextlib.closing(asyncio.new_event_loop()) as loop:
                client._sock = buffered = BufferedSocket(ours, loop)
                mqtt_socket._read_pubacks(client, buffered)
        ended = [client.loop_read(), client.loop_read(), client.loop_read()]
        return ended, told, len(client._out_messages), client.socket() is None


@pytest.mark.parametrize(
    ("protocol", "packet", "reason"),
    [
        (paho.MQTTv311, b"\x00\x01", 0),
        (paho.MQTTv311, b"\x00\x01\x10", None),
        (paho.MQTTv5, b"\x00\x01", 0),
        (paho.MQTTv5, b"\x00\x01\x10", 0x10),
        (paho.MQTTv5, b"\x00\x01\x97\x00", 0x97),
        (paho.MQTTv5, b"\x00\x01\x10\x05\x1f\x00\x02no", 0x10),
        (paho.MQTTv5, b"\x00\x01\x55", None),
        (paho.MQTTv5, b"\x00", None),
        (paho.MQTTv5, b"\x00\x07", None),
    ],
)
def test_a_puback_is_told_as_paho_tells_it(protocol, packet, reason):
    ended = told_of(packet, protocol, shared=True)
    assert ended == told_of(packet, protocol, shared=False)
    assert [code for _, code, *_ in ended[1]] == ([] if reason is None else [reason])

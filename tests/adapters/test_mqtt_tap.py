"""The tap on a real connected pair of sockets: what goes to the outbox and what to the library."""

import asyncio
import socket

import pytest
from stoep_gateway.publish.mqtt_packets import encode_publish
from stoep_gateway.publish.mqtt_tap import Tap

PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


class Connection:
    """A tap at one end; the test holds the other, as the broker."""

    def __init__(self):
        inner, self.broker = socket.socketpair()
        inner.setblocking(False)
        self.acknowledged: list[tuple[int, int]] = []
        self.breaks = 0
        self.inner = inner
        self.tap = Tap(
            inner, version_5=True, acknowledged=self.acknowledged.extend, broken=self._broken
        )

    def _broken(self):
        self.breaks += 1


@pytest.fixture
async def connection():
    connection = Connection()
    yield connection
    connection.tap.close()
    connection.broker.close()


async def turns(count: int = 2) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_both_write_in_a_turn_goes_out_together_in_order(connection):
    connection.tap.publish("a", b"1", 1, retain=False)
    assert connection.tap.send(PINGREQ) == 2
    connection.tap.publish("a", b"2", 2, retain=True)
    await turns()
    assert connection.broker.recv(1000) == (
        encode_publish("a", b"1", 1, retain=False, version_5=True)
        + PINGREQ
        + encode_publish("a", b"2", 2, retain=True, version_5=True)
    )


async def test_acknowledgements_go_to_the_outbox_and_the_rest_to_the_library(connection):
    connection.broker.send(b"\x40\x02\x00\x07" + PINGRESP + b"\x40\x03\x00\x08\x87" + PINGRESP)
    assert connection.tap.recv(1) == PINGRESP[:1]
    assert connection.acknowledged == [(7, 0), (8, 0x87)]
    assert connection.tap.pending() == 3
    assert connection.tap.recv(1) == PINGRESP[1:]
    assert connection.tap.recv(100) == PINGRESP
    assert connection.tap.pending() == 0
    with pytest.raises(BlockingIOError):
        connection.tap.recv(1)


async def test_nothing_for_the_library_is_no_end_of_the_connection(connection):
    connection.broker.send(b"\x40\x02\x00\x07")
    with pytest.raises(BlockingIOError):
        connection.tap.recv(1)
    connection.broker.close()
    assert connection.tap.recv(1) == b""


async def test_a_stream_that_is_not_mqtt_is_a_lost_connection(connection):
    connection.broker.send(b"\x30\xff\xff\xff\xff\xff")
    with pytest.raises(OSError, match="mqtt_length"):
        connection.tap.recv(1)


async def test_a_full_socket_loses_nothing(connection):
    payload = bytes(20_000)
    for packet_id in range(1, 101):
        connection.tap.publish("a", payload, packet_id, retain=False)
    expected = sum(
        len(encode_publish("a", payload, n, retain=False, version_5=True)) for n in range(1, 101)
    )
    loop = asyncio.get_running_loop()
    connection.broker.setblocking(False)
    received = 0
    async with asyncio.timeout(10):
        while received < expected:
            received += len(await loop.sock_recv(connection.broker, 100_000))
    assert received == expected
    assert connection.breaks == 0


async def test_a_connection_that_breaks_while_the_outbox_writes(connection):
    connection.broker.close()
    connection.tap.publish("a", b"1", 1, retain=False)
    await turns()
    assert connection.breaks == 1


async def test_a_close_sends_what_there_is_and_may_come_twice(connection):
    connection.tap.send(b"\xe0\x00")
    connection.tap.close()
    connection.tap.close()
    assert connection.broker.recv(10) == b"\xe0\x00"
    await turns()
    assert connection.breaks == 0


async def test_in_everything_else_it_is_the_socket(connection):
    assert connection.tap.fileno() == connection.inner.fileno()
    assert connection.tap.getsockname() == connection.inner.getsockname()

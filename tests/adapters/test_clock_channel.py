"""The simulator's end of the clock channel, against a small gateway over real sockets."""

import asyncio
import contextlib
import json
import socket
import threading

import pytest
from broker import free_port
from stoep_gateway import clock
from stoep_hardware.clock_channel import ClockChannel, GatewayGoneError, Lockstep
from stoep_hardware.engine import US_PER_MS, Engine

UTC = 1_622_691_000_000


class Gateway(asyncio.DatagramProtocol):
    """The gateway's own clock and channel, with an application that fits in a few lines.

    It acknowledges each datagram at once with "ack …", and answers it 200 ms later, to the same
    address, with "answer …", for the air.
    """

    def __init__(self):
        self.clock = None
        self.log = []
        self.sent = self.sent_for_air = self._received = 0
        self._more = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._started = threading.Event()
        self._loop = self._stop = None

    def __enter__(self):
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _run(self):
        self._loop, self._stop, self._more = (
            asyncio.get_running_loop(),
            asyncio.Event(),
            asyncio.Condition(),
        )
        self.clock = clock.SimulatedClock()
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        server = await clock.serve(self.clock, self, lambda: None)
        self.gwmp_port = transport.get_extra_info("sockname")[1]
        self.clock_port = server.sockets[0].getsockname()[1]
        self._transport = transport
        self._started.set()
        await self._stop.wait()
        transport.close()
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None
        await asyncio.sleep(0)

    def datagram_received(self, data, address):
        self.log.append((self.clock.now_ms(), data.decode()))
        self._send(b"ack " + data, address)
        due_ms = self.clock.now_ms() + 200
        self.clock.call_at(due_ms, lambda: self._answer(data, address))
        self._received += 1
        self._loop.create_task(self._notify())

    def _answer(self, data, address):
        self.sent_for_air += 1
        self._send(b"answer " + data, address)

    def _send(self, data, address):
        self.sent += 1
        self._transport.sendto(data, address)

    async def _notify(self):
        async with self._more:
            self._more.notify_all()

    async def received_at_least(self, count):
        async with self._more:
            await self._more.wait_for(lambda: self._received >= count)


class Peer:
    """A forwarder that writes down what it gets and when."""

    def __init__(self, engine):
        self.engine = engine
        self.got = []

    def on_upstream(self, datagram):
        self.got.append((self.engine.now_us, "up", datagram.decode()))

    def on_downstream(self, datagram):
        self.got.append((self.engine.now_us, "down", datagram.decode()))


@pytest.fixture
def gateway():
    with Gateway() as running:
        yield running


@contextlib.contextmanager
def street(gateway, forwarders=2):
    engine = Engine()
    lockstep = Lockstep(engine, UTC)
    senders = [lockstep.sender() for _ in range(forwarders)]
    peers = [Peer(engine) for _ in range(forwarders)]
    lockstep.attach(peers, gateway.clock_port, gateway.gwmp_port)
    try:
        yield engine, lockstep, senders, peers
    finally:
        lockstep.detach()


def test_the_gateway_gets_a_datagram_at_the_time_it_is_sent_and_answers_in_time(gateway):
    with street(gateway) as (engine, lockstep, (send, _), (peer, other)):
        engine.at(1_234_567, lambda: send(True, b"one"))
        engine.at(5_000_000, lambda: send(False, b"two"))
        lockstep.run_until(10_000_000)
        assert gateway.log == [(1234, "one"), (5000, "two")]
        assert peer.got == [
            (1_234_567, "up", "ack one"),
            (1_434_000, "up", "answer one"),
            (5_000_000, "down", "ack two"),
            (5_200_000, "down", "answer two"),
        ]
        assert other.got == []
        assert engine.now_us == 10_000_000


def test_an_answer_is_there_before_what_follows_it(gateway):
    """Events of the street after the gateway's deadline see the answer."""
    with street(gateway) as (engine, lockstep, (send, _), (peer, _)):
        seen = []
        engine.at(1_000_000, lambda: send(True, b"x"))
        engine.at(1_199_999, lambda: seen.append(len(peer.got)))
        engine.at(1_200_001, lambda: seen.append(len(peer.got)))
        lockstep.run_until(2_000_000)
        assert seen == [1, 2]


def test_datagrams_of_one_instant_keep_the_order_of_the_sockets(gateway):
    def run():
        with Gateway() as fresh, street(fresh, 4) as (engine, lockstep, senders, peers):
            for number, send in enumerate(reversed(senders)):
                engine.at(1_000_000, lambda send=send, n=number: send(n % 2 == 0, b"%d" % n))
            order = []
            for index, peer in enumerate(peers):
                peer.on_upstream = lambda data, i=index: order.append((i, data))
                peer.on_downstream = lambda data, i=index: order.append((i, data))
            lockstep.run_until(3_000_000)
            assert [t_ms for t_ms, _ in fresh.log] == [1000] * 4
            return order

    first = run()
    assert [index for index, _ in first] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert first == run()


def test_step_stops_where_the_two_have_talked(gateway):
    with street(gateway) as (engine, lockstep, (send, _), _):
        engine.at(1_000_000, lambda: send(True, b"x"))
        stops = []
        while engine.now_us < 3_000_000:
            lockstep.step(3_000_000)
            stops.append(engine.now_us)
        assert stops == [1_000_000, 1_200_000, 3_000_000]


def test_the_gateway_may_be_replaced(gateway):
    """A restarted gateway begins its time anew; the street's goes on. In between all is lost."""
    with street(gateway) as (engine, lockstep, (send, _), peers):
        lockstep.run_until(1_500_500)
        lockstep.detach()
        send(True, b"into the void")
        lockstep.run_until(3_000_000)
        assert lockstep.datagrams_lost == 1
        with Gateway() as second:
            lockstep.attach(peers, second.clock_port, second.gwmp_port)
            engine.at(4_000_000, lambda: send(True, b"again"))
            lockstep.run_until(5_000_000)
            assert second.clock.utc_ms() == UTC + 5000
            assert second.log == [(1000, "again")]
            assert [(t_us, what) for t_us, _, what in peers[0].got] == [
                (4_000_000, "ack again"),
                (4_200_000, "answer again"),
            ]
            lockstep.detach()


class Scripted:
    """A gateway that answers as told, line by line, and hangs up when it has nothing more."""

    def __init__(self, *answers):
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.clock_port = self._listener.getsockname()[1]
        self.gwmp_port = self._udp.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.close()
        self._thread.join(10)
        self._udp.close()

    def _run(self):
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            for answer in self._answers:
                lines.readline()
                connection.sendall(json.dumps(answer).encode() + b"\n")


def connect(gateway):
    return ClockChannel(
        gateway.clock_port,
        gateway.gwmp_port,
        utc_start_ms=UTC,
        forwarders=1,
        last_words=lambda: "Traceback: it was the disk",
    )


def test_a_gateway_that_dies_is_reported_with_its_last_words():
    with Scripted({"ready": True}) as gateway:
        channel = connect(gateway)
        # Closed in order, or reset because a line of ours was not read any more.
        gone = r"(closed|does not answer: .*reset)(.|\n)*it was the disk"
        with pytest.raises(GatewayGoneError, match=gone):
            channel.advance(1000)
        channel.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": "not idle within 30 s"}, "not idle within 30 s"),
        ({"idle_at_ms": "soon", "next_deadline_ms": None, "datagrams": 0}, "soon"),
        ([], r"answered \[\]"),
    ],
)
def test_an_answer_that_makes_no_sense_is_reported(answer, message):
    with Scripted({"ready": True}, answer) as gateway:
        channel = connect(gateway)
        with pytest.raises(GatewayGoneError, match=message):
            channel.advance(1000)
        channel.close()


def test_a_gateway_that_is_not_ready_is_reported():
    with Scripted({"ready": False}) as gateway, pytest.raises(GatewayGoneError, match="not ready"):
        connect(gateway)


def test_nobody_there():
    with pytest.raises(GatewayGoneError, match="cannot be reached"):
        ClockChannel(free_port(), free_port(), utc_start_ms=0, forwarders=1)


def test_datagrams_that_were_promised_and_do_not_come_are_reported(monkeypatch):
    monkeypatch.setattr("stoep_hardware.clock_channel._DATAGRAM_TIMEOUT_S", 0.01)
    promise = {"idle_at_ms": 1000, "next_deadline_ms": None, "datagrams": 1}
    with Scripted({"ready": True}, promise) as gateway:
        channel = connect(gateway)
        with pytest.raises(GatewayGoneError, match="1 datagrams, 0 have come"):
            channel.advance(1000)
        channel.close()


def test_time_without_a_gateway_just_runs():
    engine = Engine()
    lockstep = Lockstep(engine, UTC)
    ticks = []
    engine.at(700 * US_PER_MS, lambda: ticks.append(engine.now_us))
    lockstep.run_until(1_000_000)
    assert ticks == [700_000]
    assert not lockstep.is_attached

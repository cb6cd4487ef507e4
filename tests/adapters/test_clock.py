"""Simulated time, and the channel that moves it, over a real loopback connection."""

import asyncio
import json

import pytest
from stoep_gateway import clock as clocks
from stoep_gateway.clock import SimulatedClock, SystemClock

UTC = 1_767_225_600_000


class Counters:
    """The forwarders' driver, as far as the channel knows it."""

    def __init__(self):
        self.sent = self.sent_for_air = self.received = 0
        self.more = asyncio.Event()

    async def received_at_least(self, count):
        while self.received < count:
            self.more.clear()
            await self.more.wait()


class Channel:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def ask(self, request):
        line = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.writer.write(line + b"\n")
        return await self.answer()

    async def answer(self):
        line = await self.reader.readline()
        return json.loads(line) if line else None


@pytest.fixture
async def clock():
    return SimulatedClock()


@pytest.fixture
async def counters():
    return Counters()


@pytest.fixture
async def ended():
    return asyncio.Event()


@pytest.fixture
async def channel(clock, counters, ended):
    server = await clocks.serve(clock, counters, ended.set)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield Channel(reader, writer)
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def test_time_begins_when_the_client_says_so(clock, channel):
    started = []
    clock.when_started(lambda: started.append(clock.utc_ms()))
    assert await channel.ask({"utc_start_ms": UTC}) == {"ready": True}
    assert started == [UTC]
    assert (clock.now_ms(), clock.utc_ms()) == (0, UTC)


async def test_a_simulator_that_is_gone_ends_the_gateway(channel, ended):
    await channel.ask({"utc_start_ms": UTC})
    assert not ended.is_set()
    channel.writer.close()
    async with asyncio.timeout(10):
        await ended.wait()


async def test_time_stands_still_between_advances(clock, channel):
    await channel.ask({"utc_start_ms": UTC})
    answer = await channel.ask({"advance_to_ms": 1500, "datagrams": 0})
    assert answer == {"idle_at_ms": 1500, "next_deadline_ms": None, "datagrams": 0}
    assert (clock.now_ms(), clock.utc_ms()) == (1500, UTC + 1500)
    # Never back.
    assert (await channel.ask({"advance_to_ms": 10, "datagrams": 0}))["idle_at_ms"] == 1500


async def test_timers_run_in_their_order_at_their_time(clock, channel):
    seen = []

    def note(name):
        return lambda: seen.append((name, clock.now_ms()))

    clock.call_at(300, note("c"))
    clock.call_at(100, note("a"))
    clock.call_at(100, note("b"))
    cancelled = clock.call_at(150, note("never"))
    cancelled.cancel()
    clock.call_at(100, lambda: clock.call_at(100, note("from a timer")))
    clock.call_at(-5, note("at once"))
    answer = await channel.ask({"advance_to_ms": 200, "datagrams": 0})
    assert answer["next_deadline_ms"] == 300
    assert seen == [("at once", 0), ("a", 100), ("b", 100), ("from a timer", 100)]


async def test_an_answer_waits_for_work_under_way(clock, channel):
    steps = []

    def begin():
        clock.begin()
        asyncio.get_running_loop().call_soon(finish)

    def finish():
        steps.append(clock.now_ms())
        clock.end()

    clock.call_at(100, begin)
    clock.call_at(101, lambda: steps.append("next"))
    await channel.ask({"advance_to_ms": 500, "datagrams": 0})
    assert steps == [100, "next"]


async def test_datagrams_are_taken_in_before_time_goes_on(clock, counters, channel):
    seen = []
    clock.call_at(50, lambda: seen.append(counters.received))
    waiting = asyncio.ensure_future(channel.ask({"advance_to_ms": 100, "datagrams": 2}))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    counters.received = 2
    counters.more.set()
    await waiting
    assert seen == [2]


async def test_what_is_meant_for_the_air_stops_time(clock, counters, channel):
    def transmit():
        counters.sent += 1
        counters.sent_for_air += 1

    seen = []
    clock.call_at(200, transmit)
    clock.call_at(200, lambda: seen.append("same instant"))
    clock.call_at(201, lambda: seen.append("later"))
    answer = await channel.ask({"advance_to_ms": 1000, "datagrams": 0})
    assert answer == {"idle_at_ms": 200, "next_deadline_ms": 201, "datagrams": 1}
    assert seen == ["same instant"]
    assert (await channel.ask({"advance_to_ms": 1000, "datagrams": 0}))["idle_at_ms"] == 1000
    assert seen == ["same instant", "later"]


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"{}", b'{"advance_to_ms": 1}', b'{"advance_to_ms": {}, "datagrams": 0}']
)
async def test_a_line_that_is_not_understood(channel, line):
    assert "not understood" in (await channel.ask(line))["error"]
    assert await channel.answer() is None


async def test_a_line_without_an_end(channel):
    channel.writer.write(b"x" * 100_000)
    assert await channel.answer() is None


async def test_a_stall_is_an_answer(channel, monkeypatch):
    monkeypatch.setattr(clocks, "STALL_S", 0.01)
    answer = await channel.ask({"advance_to_ms": 1, "datagrams": 1})
    assert "not idle" in answer["error"]


async def test_real_time_calls_not_early():
    clock = SystemClock()
    called = asyncio.get_running_loop().create_future()
    due = clock.now_ms() + 15
    clock.call_at(due, lambda: called.set_result(clock.now_ms()))
    assert await called >= due
    started = []
    clock.when_started(lambda: started.append(1))
    assert started == [1]

"""The gateway's only clock: real time, or simulated time that a loopback channel advances.

Everything that waits asks ``Clock.call_at``; nothing else in the gateway reads a clock. Times are
integers of milliseconds: ``now_ms`` is monotonic and starts anywhere, ``utc_ms`` counts from 1970.

Simulated time moves only when the channel says so. One client speaks JSON lines over TCP::

    {"utc_start_ms": U}                       ->  {"ready": true}
    {"advance_to_ms": T, "datagrams": N}      ->  {"idle_at_ms": I, "next_deadline_ms": X | null,
                                                   "datagrams": M}

``U`` is the UTC of simulated time 0. ``N`` counts the datagrams ever sent to the gateway's UDP
port, ``M`` those ever sent by it. The gateway first takes in all ``N`` at the time at which it
stands, then moves from timer to timer in their order and answers when no datagram, commit, downlink
or timer up to ``I`` is pending. ``I`` is ``T``, or earlier when something left for the air (a
PULL_RESP) that the other side has to see before time goes on. ``X`` is the next timer. A malformed
line is answered by ``{"error": "…"}`` and ends the connection, as does a wait of more than
``STALL_S`` real seconds for datagrams that do not come or work that does not end.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import time
from collections.abc import Callable
from typing import Protocol

from stoep_gateway.timekeeping import Timekeeper

__all__ = ["Clock", "DatagramCounters", "SimulatedClock", "SystemClock", "Timer", "serve"]

STALL_S = 30.0
_MAX_LINE = 4096


class Timer(Protocol):
    """What ``call_at`` returns."""

    def cancel(self) -> None:
        """Forget the call; harmless when it has happened."""


class Clock(Protocol):
    """Time, timers, and the account of work that is under way."""

    def now_ms(self) -> int:
        """Return monotonic milliseconds."""

    def utc_ms(self) -> int:
        """Return milliseconds since 1970-01-01 UTC."""

    def utc_is_known(self) -> bool:
        """Whether that is the time; if not, it is provisional and will be corrected."""

    def utc_is_settled(self) -> bool:
        """Whether old things may be forgotten by it: it is known, and was not set just now."""

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once ``now_ms() >= when_ms``, never before this call returns."""

    def when_started(self, callback: Callable[[], None]) -> None:
        """Call once UTC is known: at once, where time is real."""

    def begin(self) -> None:
        """Say that work is under way (a commit, a solver's run) that ``end`` will close."""

    def end(self) -> None:
        """Close the work that one ``begin`` opened."""


class SystemClock:
    """Real time on the running event loop; create it inside the loop.

    UTC is the system's until there is a ``keeper`` of it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.keeper: Timekeeper | None = None

    def now_ms(self) -> int:
        """Return the event loop's monotonic time."""
        # Through microseconds, so that a timer's own float never reads one millisecond early.
        return round(self._loop.time() * 1_000_000) // 1000

    def utc_ms(self) -> int:
        """Return UTC."""
        if self.keeper is None:
            return time.time_ns() // 1_000_000
        return self.keeper.utc_ms(self.now_ms())

    def utc_is_known(self) -> bool:
        """Whether it is the time."""
        return self.keeper is None or self.keeper.is_known

    def utc_is_settled(self) -> bool:
        """Whether it has been for a while."""
        return self.keeper is None or self.keeper.is_settled(self.now_ms())

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Timer:
        """Call at or a little after ``when_ms``."""
        return self._loop.call_at(when_ms / 1000, callback)

    def when_started(self, callback: Callable[[], None]) -> None:
        """Call at once: real time has always begun."""
        callback()

    def begin(self) -> None:
        """Nobody asks whether a real gateway is idle."""

    def end(self) -> None:
        """See ``begin``."""


class _SimulatedTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class SimulatedClock:
    """Time that stands still until ``advance``."""

    def __init__(self) -> None:
        self._now_ms = 0
        self._utc_start_ms = 0
        self._timers: list[tuple[int, int, _SimulatedTimer]] = []
        self._sequence = 0
        self._pending = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._on_start: list[Callable[[], None]] = []

    def now_ms(self) -> int:
        """Return simulated milliseconds since the simulation began."""
        return self._now_ms

    def utc_ms(self) -> int:
        """Return simulated UTC."""
        return self._utc_start_ms + self._now_ms

    def utc_is_known(self) -> bool:
        """Nobody doubts a simulator."""
        return True

    def utc_is_settled(self) -> bool:
        """Nobody doubts a simulator."""
        return True

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> Timer:
        """Call when time reaches ``when_ms``; ties in the order of the calls."""
        timer = _SimulatedTimer(callback)
        self._sequence += 1
        heapq.heappush(self._timers, (max(when_ms, self._now_ms), self._sequence, timer))
        return timer

    def begin(self) -> None:
        """Hold time until the matching ``end``."""
        self._pending += 1
        self._settled.clear()

    def end(self) -> None:
        """Let time go on when nothing else is under way."""
        self._pending -= 1
        if not self._pending:
            self._settled.set()

    def when_started(self, callback: Callable[[], None]) -> None:
        """Call once the UTC of time 0 is known."""
        self._on_start.append(callback)

    def start(self, utc_start_ms: int) -> None:
        """Set the UTC of simulated time 0."""
        self._utc_start_ms = utc_start_ms
        callbacks, self._on_start = self._on_start, []
        for callback in callbacks:
            callback()

    async def settle(self) -> None:
        """Wait until no work is under way."""
        while self._pending:
            await self._settled.wait()

    def next_deadline_ms(self) -> int | None:
        """Return the time of the next timer, None without one."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    async def advance(self, until_ms: int, stop: Callable[[], bool] = bool) -> int:
        """Run all timers up to and including ``until_ms`` in order; return the time reached.

        Work that a timer starts is waited for before the next one runs. Time stops early, with
        everything due at that instant done, once ``stop()`` is true.
        """
        await self.settle()
        while not stop():
            when_ms = self.next_deadline_ms()
            if when_ms is None or when_ms > until_ms:
                self._now_ms = max(self._now_ms, until_ms)
                break
            self._now_ms = when_ms
            while self.next_deadline_ms() == when_ms:
                callback = heapq.heappop(self._timers)[2].callback
                if callback is not None:
                    callback()
                await self.settle()
        return self._now_ms


class DatagramCounters(Protocol):
    """What the channel needs to know of the forwarders' driver."""

    @property
    def sent(self) -> int:
        """Datagrams ever sent."""

    @property
    def sent_for_air(self) -> int:
        """Those of them that ask a gateway to transmit."""

    async def received_at_least(self, count: int) -> None:
        """Return when ``count`` datagrams in all have been received and handled."""


async def serve(
    clock: SimulatedClock, datagrams: DatagramCounters, ended: Callable[[], None]
) -> asyncio.Server:
    """Open the channel on a loopback port chosen by the system.

    ``ended`` is called when the simulator has gone: nobody else would end the gateway it started.
    """

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                try:
                    answer = await _answer(clock, datagrams, line)
                except (KeyError, TypeError, ValueError) as error:
                    answer = {"error": f"not understood: {error!r}"}
                except TimeoutError:
                    answer = {"error": f"not idle within {STALL_S:.0f} s of real time"}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
                if "error" in answer:
                    break
        except (ConnectionError, ValueError):
            pass  # the simulator has ended, or sent a line without an end
        finally:
            writer.close()
            ended()

    return await asyncio.start_server(converse, "127.0.0.1", 0, limit=_MAX_LINE)


async def _answer(
    clock: SimulatedClock, datagrams: DatagramCounters, line: bytes
) -> dict[str, object]:
    request = json.loads(line)
    if "utc_start_ms" in request:
        clock.start(int(request["utc_start_ms"]))
        async with asyncio.timeout(STALL_S):
            await clock.settle()
        return {"ready": True}
    until_ms = int(request["advance_to_ms"])
    for_air = datagrams.sent_for_air
    async with asyncio.timeout(STALL_S):
        await datagrams.received_at_least(int(request["datagrams"]))
        idle_at_ms = await clock.advance(until_ms, lambda: datagrams.sent_for_air != for_air)
    return {
        "idle_at_ms": idle_at_ms,
        "next_deadline_ms": clock.next_deadline_ms(),
        "datagrams": datagrams.sent,
    }

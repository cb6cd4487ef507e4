"""What lies between a forwarder, a gateway and a broker on a bad day: a UDP and a TCP proxy.

Both run on a loop in a thread of their own and draw from one seeded ``random.Random``. A fault is
begun by name and lasts for the seconds given:

    UDP   delay       every datagram comes late by up to ``LATEST_S``, in its order
          reorder     each comes late by as much as it happens to, so that they overtake one another
          duplicate   most come twice, the copy later
          stall       nothing passes; then all of it comes at once
          cut         nothing passes, and nothing of it ever comes
    TCP   delay       what is said comes late
          stall       nothing passes in either direction; the connections stay
          half_close  the gateway's side is told that the other has ended, and may still speak
          deaf        the other side is told that the gateway has ended
          cut         connections are reset, and new ones, until it is over

Faults of one kind do not add up; the last one counts. ``calm`` ends all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

__all__ = ["TCP_FAULTS", "UDP_FAULTS", "ChaosProxy"]

UDP_FAULTS = ("delay", "reorder", "duplicate", "stall", "cut")
TCP_FAULTS = ("delay", "stall", "half_close", "deaf", "cut")
LATEST_S = 0.4
MOST_TWICE = 0.7
CHUNK = 16_384
HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


class _Side:
    """The fault that is on at the moment, and until when."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fault = ""
        self._until = 0.0

    def begin(self, fault: str, seconds: float) -> None:
        self._fault, self._until = fault, self._loop.time() + seconds

    def end(self) -> None:
        self._fault = ""

    @property
    def fault(self) -> str:
        return self._fault if self._loop.time() < self._until else ""

    @property
    def left_s(self) -> float:
        return max(0.0, self._until - self._loop.time()) if self._fault else 0.0


class _Client(asyncio.DatagramProtocol):
    """Sends to the target for one client, and takes what comes back."""

    def __init__(self, back: Callable[[bytes], None]) -> None:
        self._back = back

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._back(data)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, chance: random.Random, counts: Counter[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._chance = chance
        self._counts = counts
        self._clients: dict[Any, asyncio.DatagramTransport] = {}
        self._opening: dict[Any, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_order_at = 0.0
        self.side = _Side(self._loop)
        self.target = (HOST, 0)
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        client = self._clients.get(addr)
        if client is not None:
            self._pass(lambda: client.sendto(data))
        elif addr in self._opening:
            self._opening[addr].append(data)
        else:
            self._opening[addr] = [data]
            task = self._loop.create_task(self._open(addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self, addr: Any) -> None:
        def back(data: bytes) -> None:
            self._pass(lambda: self.transport.sendto(data, addr))

        client, _ = await self._loop.create_datagram_endpoint(
            lambda: _Client(back), remote_addr=self.target
        )
        self._clients[addr] = client
        for data in self._opening.pop(addr):
            self.datagram_received(data, addr)

    def _pass(self, send: Callable[[], None]) -> None:
        def send_if_open() -> None:
            if not self.transport.is_closing():
                send()

        fault, now = self.side.fault, self._loop.time()
        if fault:
            self._counts[f"udp {fault}"] += 1
        if fault == "cut":
            return
        if fault == "reorder":
            self._loop.call_later(self._chance.uniform(0, LATEST_S), send_if_open)
            return
        wait_s = 0.0
        if fault == "delay":
            wait_s = self._chance.uniform(0, LATEST_S)
        elif fault == "stall":
            wait_s = self.side.left_s
        elif fault == "duplicate" and self._chance.random() < MOST_TWICE:
            self._loop.call_later(self._chance.uniform(0, LATEST_S), send_if_open)
        # Not before what came earlier: a fault that has ended leaves its order behind.
        at = max(now + wait_s, self._in_order_at)
        if at <= now:
            send()
        else:
            self._in_order_at = at + 1e-6
            self._loop.call_at(at, send_if_open)

    def close(self) -> None:
        self.transport.close()
        for client in self._clients.values():
            client.close()


class _Tcp:
    def __init__(self, chance: random.Random, counts: Counter[str]) -> None:
        self._chance = chance
        self._counts = counts
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._near: set[asyncio.StreamWriter] = set()
        self._far: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.side = _Side(asyncio.get_running_loop())
        self.target = (HOST, 0)

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def begin(self, fault: str, seconds: float) -> None:
        self.side.begin(fault, seconds)
        ended = self._near if fault == "half_close" else self._far if fault == "deaf" else set()
        for writer in list(ended):
            self._counts[f"tcp {fault}"] += 1
            with contextlib.suppress(OSError):
                writer.write_eof()
        if fault == "cut":
            self._reset()

    def _reset(self) -> None:
        for writer in list(self._writers):
            self._counts["tcp cut"] += 1
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        self._writers.add(writer)
        self._near.add(writer)
        try:
            if self.side.fault == "cut":
                self._reset()
                return
            far_reader, far_writer = await asyncio.open_connection(*self.target)
            writers.append(far_writer)
            self._writers.add(far_writer)
            self._far.add(far_writer)
            both = [
                asyncio.ensure_future(self._pump(reader, far_writer)),
                asyncio.ensure_future(self._pump(far_reader, writer)),
            ]
            try:
                await asyncio.wait(both)
            finally:
                for pump in both:
                    pump.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the target is away, or the proxy ends
        finally:
            for one in writers:
                one.close()
                self._writers.discard(one)
            self._near.discard(writer)
            self._far.difference_update(writers)
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                fault = self.side.fault
                if fault in ("delay", "stall"):
                    self._counts[f"tcp {fault}"] += 1
                    late_s = self._chance.uniform(0, LATEST_S)
                    await asyncio.sleep(late_s if fault == "delay" else self.side.left_s)
                if not writer.transport.is_closing():
                    writer.write(data)
                    await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):
            pass  # reset, or its end was said already

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class ChaosProxy:
    """Datagrams to ``udp_port`` go to ``udp_target``, connections to ``tcp_port`` to the other.

    ``counts`` says how many datagrams, chunks and connections each fault has met.
    """

    def __init__(self, seed: int, tcp_target: tuple[str, int]) -> None:
        self.counts: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos", daemon=True)
        self._thread.start()
        self._call(self._open(tcp_target))

    def send_datagrams_to(self, port: int) -> None:
        """Set where datagrams go; before the first one comes."""
        self._udp.target = (HOST, port)

    def begin_udp(self, fault: str, seconds: float) -> None:
        """Begin a fault of ``UDP_FAULTS``."""
        assert fault in UDP_FAULTS, fault
        self._loop.call_soon_threadsafe(self._udp.side.begin, fault, seconds)

    def begin_tcp(self, fault: str, seconds: float) -> None:
        """Begin a fault of ``TCP_FAULTS``."""
        assert fault in TCP_FAULTS, fault
        self._loop.call_soon_threadsafe(self._tcp.begin, fault, seconds)

    def calm(self) -> None:
        """End all faults."""
        for side in (self._udp.side, self._tcp.side):
            self._loop.call_soon_threadsafe(side.end)

    def close(self) -> None:
        """Close every socket and end the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _open(self, tcp_target: tuple[str, int]) -> None:
        self._tcp = _Tcp(self._chance, self.counts)
        self._tcp.target = tcp_target
        self.tcp_port = await self._tcp.open()
        self._udp = _Udp(self._chance, self.counts)
        await self._loop.create_datagram_endpoint(lambda: self._udp, local_addr=(HOST, 0))
        self.udp_port = int(self._udp.transport.get_extra_info("sockname")[1])

    async def _close(self) -> None:
        self._udp.close()
        await self._tcp.close()
        await asyncio.sleep(0)

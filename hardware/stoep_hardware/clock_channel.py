"""The simulator's end of the gateway's clock channel, with the forwarders' UDP sockets.

Everything goes over loopback. JSON lines over TCP move the gateway's simulated time::

    {"utc_start_ms": U}                  →  {"ready": true}
    {"advance_to_ms": T, "datagrams": N} →  {"idle_at_ms": I, "next_deadline_ms": X, "datagrams": M}

The gateway takes in datagrams at the time at which it stands, so it is brought to the present
before one is sent; and it is never sent past its own next deadline, so an answer is always on the
air before time goes on. `N` and `M` count all datagrams to and from the gateway: the simulator
reads its sockets until it has every one, then hands them on in a fixed order. That makes a run
the same every time, however the operating system schedules the two processes.
"""

import contextlib
import json
import select
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from .engine import US_PER_MS, Engine

# The gateway itself gives up after 30 s of real time without becoming idle.
_ANSWER_TIMEOUT_S = 60.0
_DATAGRAM_TIMEOUT_S = 10.0
_RECEIVE_BUFFER = 1 << 20
_MAX_DATAGRAM = 65_535


class GatewayGoneError(RuntimeError):
    """The gateway has died, or does not answer; the message ends with its last words."""


class DatagramPeer(Protocol):
    """A forwarder, as far as its two sockets are concerned."""

    def on_upstream(self, datagram: bytes) -> None:
        """Take a datagram that came to the upstream socket."""
        ...

    def on_downstream(self, datagram: bytes) -> None:
        """Take a datagram that came to the downstream socket."""
        ...


class ClockChannel:
    """A connection to one running gateway. `last_words()` is asked when it dies."""

    def __init__(
        self,
        clock_port: int,
        gwmp_port: int,
        *,
        utc_start_ms: int,
        forwarders: int,
        last_words: Callable[[], str] = str,
    ) -> None:
        """Connect and set the UTC of the gateway's time 0; raises `GatewayGoneError`."""
        self._last_words = last_words
        self.idle_at_ms = 0
        self.next_deadline_ms: int | None = None
        self.exchanges = 0
        self._sent = 0
        self._received = 0
        self._sockets: list[socket.socket] = []
        self._poll = select.poll()
        self._by_descriptor: dict[int, int] = {}
        with contextlib.ExitStack() as opened:
            try:
                self._tcp = opened.enter_context(
                    socket.create_connection(("127.0.0.1", clock_port), timeout=_ANSWER_TIMEOUT_S)
                )
                self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._lines = opened.enter_context(self._tcp.makefile("rb"))
                for index in range(2 * forwarders):
                    udp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
                    udp.connect(("127.0.0.1", gwmp_port))
                    udp.setblocking(False)
                    self._sockets.append(udp)
                    self._by_descriptor[udp.fileno()] = index
                    self._poll.register(udp, select.POLLIN)
            except OSError as error:
                raise self._gone(f"cannot be reached: {error}") from error
            answer = self._ask({"utc_start_ms": utc_start_ms})
            if answer.get("ready") is not True:
                raise self._gone(f"is not ready: {answer}")
            self._opened = opened.pop_all()

    def send(self, forwarder: int, upstream: bool, datagram: bytes) -> None:
        """Send a datagram from one of a forwarder's two sockets."""
        try:
            self._sockets[2 * forwarder + (not upstream)].send(datagram)
        except OSError as error:
            raise self._gone(f"takes no datagrams: {error}") from error
        self._sent += 1

    def advance(self, until_ms: int) -> list[tuple[int, bool, bytes]]:
        """Advance the gateway; return what it sent meanwhile as `(forwarder, upstream, datagram)`.

        The gateway may stop before `until_ms` to have an answer transmitted; see `idle_at_ms`.
        """
        answer = self._ask({"advance_to_ms": until_ms, "datagrams": self._sent})
        self.exchanges += 1
        idle_at_ms, deadline_ms = answer.get("idle_at_ms"), answer.get("next_deadline_ms")
        datagrams = answer.get("datagrams")
        if not isinstance(idle_at_ms, int) or not isinstance(datagrams, int):
            raise self._gone(f"answered {answer}")
        self.idle_at_ms = idle_at_ms
        self.next_deadline_ms = deadline_ms if isinstance(deadline_ms, int) else None
        return self._receive(datagrams)

    def close(self) -> None:
        """Close all sockets."""
        self._opened.close()

    def _ask(self, question: dict[str, int]) -> dict[str, object]:
        try:
            self._tcp.sendall(json.dumps(question).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise self._gone(f"does not answer: {error}") from error
        if not line.endswith(b"\n"):
            raise self._gone("has closed the clock channel")
        answer = json.loads(line)
        if not isinstance(answer, dict) or "error" in answer:
            raise self._gone(f"answered {line.decode(errors='replace').strip()}")
        return answer

    def _receive(self, total: int) -> list[tuple[int, bool, bytes]]:
        """Read until `total` datagrams have come in all; order by socket, then by arrival."""
        received: list[tuple[int, bytes]] = []
        while self._received < total:
            ready = self._poll.poll(_DATAGRAM_TIMEOUT_S * 1000)
            if not ready:
                raise self._gone(f"says it has sent {total} datagrams, {self._received} have come")
            for descriptor, _ in ready:
                index = self._by_descriptor[descriptor]
                try:
                    while True:
                        received.append((index, self._sockets[index].recv(_MAX_DATAGRAM)))
                        self._received += 1
                except BlockingIOError:
                    pass
                except OSError as error:
                    raise self._gone(f"takes no datagrams: {error}") from error
        received.sort(key=lambda item: item[0])
        return [(index // 2, index % 2 == 0, datagram) for index, datagram in received]

    def _gone(self, what: str) -> GatewayGoneError:
        words = self._last_words()
        return GatewayGoneError(f"the gateway {what}" + (f"\n{words}" if words else ""))


class Lockstep:
    """Runs an engine and a gateway in one virtual time, through whichever channel is attached.

    Forwarders give their datagrams to the function that `sender` returned. Without a channel (the
    gateway is down) they are lost, as datagrams are.
    """

    def __init__(self, engine: Engine, utc_start_ms: int, *, backhaul_ms: int = 0) -> None:
        """Begin with no gateway; simulated time 0 is `utc_start_ms`.

        A datagram is `backhaul_ms` under way, as from a forwarder behind a mobile network.
        """
        self.utc_start_ms = utc_start_ms
        self._backhaul_us = backhaul_ms * US_PER_MS
        self.datagrams_lost = 0
        self._engine = engine
        self._peers: list[DatagramPeer] = []
        self._senders = 0
        self._unsent: list[tuple[int, bool, bytes]] = []
        self._channel: ClockChannel | None = None
        self._base_ms = 0  # simulated time at which the attached gateway's time began

    def sender(self) -> Callable[[bool, bytes], None]:
        """Return the function through which the next forwarder sends."""
        index = self._senders
        self._senders += 1

        def send(upstream: bool, datagram: bytes) -> None:
            self._carry(lambda: self._put(index, upstream, datagram))

        return send

    def attach(
        self,
        peers: Sequence[DatagramPeer],
        clock_port: int,
        gwmp_port: int,
        last_words: Callable[[], str] = str,
    ) -> None:
        """Connect to a gateway that has just started; the peers are in the order of `sender`."""
        self.detach()
        self._peers = list(peers)
        self._base_ms = self._engine.now_us // US_PER_MS
        self._channel = ClockChannel(
            clock_port,
            gwmp_port,
            utc_start_ms=self.utc_start_ms + self._base_ms,
            forwarders=len(self._peers),
            last_words=last_words,
        )
        self._exchange()

    def detach(self) -> None:
        """Give the gateway up: it has been stopped, or is about to be."""
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        self._unsent.clear()

    @property
    def is_attached(self) -> bool:
        """Tell whether there is a gateway."""
        return self._channel is not None

    @property
    def exchanges(self) -> int:
        """How often the attached gateway was advanced."""
        return self._channel.exchanges if self._channel else 0

    def run_until(self, t_us: int) -> None:
        """Run both up to `t_us`; raises `GatewayGoneError` when the gateway does not follow."""
        while self._engine.now_us < t_us:
            self.step(t_us)

    def step(self, until_us: int) -> None:
        """Run to the next moment at which the two have to talk, at most to `until_us`."""
        engine = self._engine
        limit_us = until_us
        if self._channel is not None and self._channel.next_deadline_ms is not None:
            deadline_us = (self._base_ms + self._channel.next_deadline_ms) * US_PER_MS
            limit_us = min(limit_us, max(deadline_us, engine.now_us))
        while not self._unsent:
            next_us = engine.next_us()
            if next_us is None or next_us > limit_us:
                engine.run_until(limit_us)
                break
            engine.run_until(next_us)
        self._exchange()

    def _exchange(self) -> None:
        channel = self._channel
        if channel is None:
            return
        now_ms = self._engine.now_us // US_PER_MS - self._base_ms
        if channel.idle_at_ms < now_ms:
            self._advance(channel, now_ms)
        while self._unsent or channel.idle_at_ms < now_ms:
            unsent, self._unsent = self._unsent, []
            for forwarder, upstream, datagram in unsent:
                channel.send(forwarder, upstream, datagram)
            self._advance(channel, now_ms)

    def _advance(self, channel: ClockChannel, until_ms: int) -> None:
        for forwarder, upstream, datagram in channel.advance(until_ms):
            peer = self._peers[forwarder]
            take = peer.on_upstream if upstream else peer.on_downstream
            self._carry(partial(take, datagram))

    def _carry(self, arrive: Callable[[], None]) -> None:
        if self._backhaul_us:
            self._engine.after(self._backhaul_us, arrive)
        else:
            arrive()

    def _put(self, forwarder: int, upstream: bool, datagram: bytes) -> None:
        if self._channel is None:
            self.datagrams_lost += 1
        else:
            self._unsent.append((forwarder, upstream, datagram))

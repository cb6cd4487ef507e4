"""The UDP driver of ``GwmpServer``: reads, performs, keeps one timer; no decision is made here."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from stoep_gateway.clock import Clock, Timer
from stoep_gateway.forwarders.gwmp import (
    Action,
    DatagramReceived,
    Event,
    GwmpServer,
    SendDatagram,
)
from stoep_gateway.lns.frames import Rejected, Tick

__all__ = ["UdpForwarders"]

_LARGEST_DATAGRAM = 65_535
_BATCH = 64  # datagrams per wake-up of the loop, so that timers and commits get their turn
_RECEIVE_BUFFER = 4 * 1024 * 1024


class UdpForwarders:
    """Binds one socket; hands every action that is not a datagram to ``deliver``."""

    def __init__(
        self, machine: GwmpServer, clock: Clock, deliver: Callable[[Action], None]
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._deliver = deliver
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
        self._timer_at: int | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.received = 0
        self.sent = 0
        self.sent_for_air = 0

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._socket is not None and self._socket.fileno() >= 0

    @property
    def port(self) -> int:
        """The UDP port that is bound."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def open(self, bind: str, port: int) -> None:
        """Bind and begin to read. Raises ``OSError``."""
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_DGRAM)
        try:
            bound.setblocking(False)
            _enlarge_receive_buffer(bound)
            bound.bind((bind, port))
        except OSError:
            bound.close()
            raise
        self._socket = bound
        asyncio.get_running_loop().add_reader(bound.fileno(), self._readable)

    def close(self) -> None:
        """Read and send no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()

    def handle(self, event: Event) -> None:
        """Feed the machine at the clock's time and perform what it asks for."""
        for action in self._machine.handle(event, self._clock.now_ms()):
            if type(action) is SendDatagram:
                self._send(action)
            else:
                self._deliver(action)
        deadline = self._machine.next_deadline()
        if deadline != self._timer_at:
            self._arm(deadline)

    async def received_at_least(self, count: int) -> None:
        """Return once ``count`` datagrams in all have been read and handled."""
        if self.received < count:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((count, future))
            await future

    def _readable(self) -> None:
        assert self._socket is not None
        receive = self._socket.recvfrom
        handle = self.handle
        try:
            for _ in range(_BATCH):
                data, address = receive(_LARGEST_DATAGRAM)
                handle(DatagramReceived(data, address))
                self.received += 1
        except BlockingIOError:
            pass
        except OSError:  # the system is short of something; the next datagram may fare better
            self._deliver(Rejected("gwmp_receive"))
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        still = []
        for count, future in self._waiting:
            if self.received < count:
                still.append((count, future))
            elif not future.done():
                future.set_result(None)
        self._waiting = still

    def _send(self, action: SendDatagram) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(action.data, action.address)
        except OSError:  # full buffer or no route: UDP may lose a datagram anywhere
            self._deliver(Rejected("gwmp_send"))
        self.sent += 1
        self.sent_for_air += action.for_air

    def _arm(self, deadline: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = None if deadline is None else self._clock.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._timer_at = None
        self.handle(Tick())


def _enlarge_receive_buffer(sock: socket.socket) -> None:
    force = getattr(
        socket, "SO_RCVBUFFORCE", 33
    )  # Linux; beyond rmem_max, for privileged processes
    for option in (force, socket.SO_RCVBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER)
        except PermissionError:
            continue
        return

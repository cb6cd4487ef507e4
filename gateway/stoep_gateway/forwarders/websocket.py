"""The WebSocket driver of ``BasicsStationServer``: reads, performs, keeps one timer and the pings.

No decision is made here but one: a station that does not take what is sent to it, or does not
answer a ping, is dropped. Over TLS where a certificate is configured.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed

from stoep_gateway.clock import Clock, Timer
from stoep_gateway.config_model import BasicsStationConfig
from stoep_gateway.errors import FatalError
from stoep_gateway.forwarders.basics_station import (
    MAX_TEXT,
    Action,
    Alive,
    BasicsStationServer,
    CloseConnection,
    Closed,
    Connected,
    Event,
    SendText,
    TextReceived,
)
from stoep_gateway.lns.frames import Rejected, Tick

__all__ = ["WebSocketStations"]

PING_S = 20.0
MAX_UNSENT = 64
MAX_CONNECTIONS = 256  # of whoever: a process has some thousand files, and the rest needs them too
_HANDSHAKE_S = 10
_CLOSE_S = 5
_NORMAL, _POLICY = 1000, 1008
_MAX_REASON = 120  # octets in a close frame

# Whoever knocks and speaks no WebSocket is worth no line, let alone a traceback.
_quiet = logging.getLogger(f"{__name__}.library")
_quiet.disabled = True


@dataclass(slots=True)
class _Peer:
    socket: ServerConnection
    unsent: asyncio.Queue[SendText | CloseConnection] = field(
        default_factory=lambda: asyncio.Queue(MAX_UNSENT)
    )


class _Connection(ServerConnection):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self.server.handlers) > MAX_CONNECTIONS:
            self.transport.abort()


class WebSocketStations:
    """Listens on one port; hands every action that is not a message to ``deliver``."""

    def __init__(
        self,
        machine: BasicsStationServer,
        clock: Clock,
        deliver: Callable[[Action], None],
        *,
        ping_s: float = PING_S,
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._deliver = deliver
        self._ping_s = ping_s
        self._server: Server | None = None
        self._closing = False
        self._peers: dict[int, _Peer] = {}
        self._connections = 0
        self._timer: Timer | None = None
        self._timer_at: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._server is not None and self._server.is_serving()

    @property
    def port(self) -> int:
        """The TCP port that is bound."""
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def open(self, config: BasicsStationConfig) -> None:
        """Bind and listen. Raises ``OSError``, and ``FatalError`` for certificates of no use."""
        self._server = await serve(
            self._converse,
            config.bind,
            config.port,
            ssl=_tls(config),
            ssl_handshake_timeout=None if config.tls_cert is None else _HANDSHAKE_S,
            create_connection=_Connection,
            compression=None,
            server_header=None,
            open_timeout=_HANDSHAKE_S,
            close_timeout=_CLOSE_S,
            ping_interval=None,  # ours tell of the round trip
            max_size=MAX_TEXT,
            logger=_quiet,
        )

    def close(self) -> None:
        """Listen and send no more; ``wait_closed`` waits for the connections' end."""
        self._closing = True
        self._arm(None)
        if self._server is not None:
            self._server.close()

    async def wait_closed(self) -> None:
        """Return when all connections have ended, after ``close``."""
        if self._server is not None:
            await self._server.wait_closed()

    def handle(self, event: Event) -> None:
        """Feed the machine at the clock's time and perform what it asks for."""
        for action in self._machine.handle(event, self._clock.now_ms(), self._clock.utc_ms()):
            if isinstance(action, SendText | CloseConnection):
                self._queue(action)
            else:
                self._deliver(action)
        deadline = self._machine.next_deadline()
        if deadline != self._timer_at and not self._closing:
            self._arm(deadline)

    # A connection.

    async def _converse(self, socket: ServerConnection) -> None:
        self._connections += 1
        connection = self._connections
        peer = self._peers[connection] = _Peer(socket)
        tasks = [
            asyncio.create_task(self._write(peer), name=f"station {connection} writer"),
            asyncio.create_task(self._ping(connection, peer), name=f"station {connection} pings"),
        ]
        try:
            self._feed(_connected(connection, socket))
            async for message in socket:
                if isinstance(message, str):
                    self._feed(TextReceived(connection, message))
                else:
                    self._deliver(Rejected("station_binary"))
        except ConnectionClosed:
            pass  # without a farewell
        finally:
            del self._peers[connection]
            for task in tasks:
                task.cancel()
            self._feed(Closed(connection))

    async def _write(self, peer: _Peer) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                action = await peer.unsent.get()
                if isinstance(action, SendText):
                    await peer.socket.send(action.text)
                else:
                    reason = action.why.encode()[:_MAX_REASON].decode(errors="ignore")
                    await peer.socket.close(_POLICY if reason else _NORMAL, reason)
                    return

    async def _ping(self, connection: int, peer: _Peer) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self._ping_s)
                pong = await peer.socket.ping()
                try:
                    async with asyncio.timeout(self._ping_s):
                        round_trip_s = await pong
                except TimeoutError:
                    peer.socket.transport.abort()
                    return
                self._feed(Alive(connection, 1000 * round_trip_s))

    def _queue(self, action: SendText | CloseConnection) -> None:
        peer = self._peers.get(action.connection)
        if peer is None:
            return
        try:
            peer.unsent.put_nowait(action)
        except asyncio.QueueFull:
            self._deliver(Rejected("station_slow"))
            peer.socket.transport.abort()

    def _feed(self, event: Event) -> None:
        """Handle an event of a connection's task; a failure is the whole application's.

        The library would log it and go on.
        """
        try:
            self.handle(event)
        except Exception as error:  # noqa: BLE001 (told as the loop tells of a failed callback)
            context: dict[str, Any] = {"message": "a station's event", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _arm(self, deadline: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = None if deadline is None else self._clock.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._timer_at = None
        self.handle(Tick())


def _tls(config: BasicsStationConfig) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(config.tls_cert, context.load_cert_chain, config.tls_cert, config.tls_key)
    if config.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load(config.client_ca, context.load_verify_locations, config.client_ca)
    return context


def _load(path: Path, load: Callable[..., None], *files: Path | None) -> None:
    try:
        load(*files)
    except OSError as error:  # which ssl's own errors are too
        raise FatalError(f"[basics_station] {path}: {error}") from error


def _connected(connection: int, socket: ServerConnection) -> Connected:
    request = socket.request
    assert request is not None  # the handshake is over
    tls = socket.transport.get_extra_info("ssl_object")
    certificate = None if tls is None else tls.getpeercert()
    return Connected(
        connection,
        request.path,
        _header(request.headers, "Host"),
        socket.remote_address or ("", 0),
        _header(request.headers, "Authorization"),
        secure=tls is not None,
        common_name=_common_name(certificate or {}),
    )


def _header(headers: Headers, name: str) -> str:
    values = headers.get_all(name)
    return values[0] if len(values) == 1 else ""


def _common_name(certificate: dict[str, Any]) -> str | None:
    names = dict(pair for parts in certificate.get("subject", ()) for pair in parts)
    return names.get("commonName")

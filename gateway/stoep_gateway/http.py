"""``[http]``: ``/metrics`` and ``/health``, one request a connection, over h11's machine.

It trusts nobody: a request has 8 kB and 5 s, there are 16 connections, and what is not GET or HEAD
of a page that is there is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h11

from stoep_gateway.building import taken
from stoep_gateway.config_service import HttpConfig
from stoep_gateway.exposition import CONTENT_TYPE, Exposition
from stoep_gateway.health import PATIENCE_S, Condition, judge
from stoep_gateway.services import Parts
from stoep_gateway.store.records import Record

__all__ = [
    "MAX_CONNECTIONS",
    "MAX_REQUEST_OCTETS",
    "REQUEST_S",
    "HttpServer",
    "Page",
    "Watch",
    "build",
]

MAX_REQUEST_OCTETS = 8192
MAX_CONNECTIONS = 16
REQUEST_S = 5.0
_SEND_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    code: int
    content_type: str
    body: bytes


Pages = dict[str, Callable[[], Awaitable[Page]]]


class HttpServer:
    """Serves ``pages`` by path; a `Service`."""

    name = "http"

    def __init__(self, config: HttpConfig, pages: Pages, *, request_s: float = REQUEST_S) -> None:
        self._config = config
        self._pages = pages
        self._request_s = request_s
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._has_failed = False  # and the log says so

    @property
    def port(self) -> int:
        """The TCP port that is bound."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self) -> None:
        """Bind and listen. Raises `FatalError`."""
        bind, port = self._config.bind, self._config.port
        try:
            self._server = await asyncio.start_server(
                self._converse, bind, port, limit=MAX_REQUEST_OCTETS
            )
        except OSError as error:
            raise taken("TCP", bind, port, error, "http") from error
        _log.info("http: /metrics and /health at port %d of %s", self.port, bind)

    async def run(self) -> None:
        """Wait: connections are tasks of their own."""
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Listen no more and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            _log.debug("http: %r", error)
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        machine = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_OCTETS)
        method = b"GET"
        try:
            async with asyncio.timeout(self._request_s):
                request = await _request(machine, reader)
            if request is None:
                return
            method = request.method
            page = await self._page(request)
        except h11.RemoteProtocolError as error:
            page = _said(error.error_status_hint, "that is no request")
        headers = [
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ]
        if page.code == 405:
            headers.append(("Allow", "GET, HEAD"))
        response = h11.Response(status_code=page.code, headers=headers)
        with contextlib.suppress(h11.LocalProtocolError):  # the machine failed before a request
            writer.write(machine.send(response) or b"")
            body = b"" if method == b"HEAD" else page.body
            writer.write(machine.send(h11.Data(data=body)) or b"")
        async with asyncio.timeout(_SEND_S):
            await writer.drain()

    async def _page(self, request: h11.Request) -> Page:
        if request.method not in (b"GET", b"HEAD"):
            return _said(405, "GET or HEAD")
        make = self._pages.get(request.target.partition(b"?")[0].decode("ascii"))
        if make is None:
            return _said(404, "/metrics or /health")
        try:
            return await make()
        except Exception:  # noqa: BLE001 (who looks at a network server must not stop it)
            if not self._has_failed:
                _log.exception("http: %s cannot be made", request.target.decode("ascii"))
            self._has_failed = True
            return _said(500, "the gateway's log says more")


async def _request(machine: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Return the head of a request; None: they left. Raises ``h11.RemoteProtocolError``."""
    left = MAX_REQUEST_OCTETS
    while (event := machine.next_event()) is h11.NEED_DATA:
        if not left:
            raise h11.RemoteProtocolError("too long", error_status_hint=431)
        data = await reader.read(left)
        left -= len(data)
        machine.receive_data(data)
    return event if isinstance(event, h11.Request) else None


def _said(code: int, text: str) -> Page:
    return Page(code, "text/plain; charset=utf-8", text.encode() + b"\n")


class Watch:
    """Makes the pages of a running gateway."""

    def __init__(self, parts: Parts, *, patience_s: float = PATIENCE_S) -> None:
        self._parts = parts
        self._exposition = Exposition(parts)
        self._patience_s = patience_s
        self._probe: asyncio.Future[None] | None = None
        self._probed_s = 0.0

    async def metrics(self) -> Page:
        """Return all figures."""
        return Page(200, CONTENT_TYPE, self._exposition.text())

    async def health(self) -> Page:
        """Return how the gateway is, after a record has passed the writer, or has not."""
        writer_ms = await self._writer_ms()
        parts = self._parts
        states = parts.monitor.all_due(parts.clock.now_ms(), parts.clock.utc_ms())
        online = {due.gateway.eui for due in states if due.status.online}
        health = judge(
            Condition(
                writer_ms,
                parts.listening(),
                parts.publisher.connected,
                parts.clock.utc_is_known(),
                len(parts.outbox),
                parts.sources_connected(),
                {it.id: it.eui in online for it in parts.registry.gateways.values()},
            )
        )
        body = json.dumps({"status": health.status, "parts": health.parts}).encode()
        return Page(health.code, "application/json", body + b"\n")

    async def _writer_ms(self) -> float | None:
        """Return how long a record takes to the writer and back; None: too long.

        Who asks meanwhile waits for the same record, and no longer than it may take.
        """
        loop = asyncio.get_running_loop()
        probe = self._probe
        if probe is None:
            probe = self._probe = loop.create_future()
            self._probed_s = loop.time()
            self._parts.store.submit(Record(), self._passed)
        began_s = self._probed_s
        await asyncio.wait((probe,), timeout=max(0.0, began_s + self._patience_s - loop.time()))
        return 1000 * (loop.time() - began_s) if probe.done() else None

    def _passed(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.set_result(None)


def build(parts: Parts, config: HttpConfig) -> HttpServer:
    """Return the service of ``[http]``."""
    watch = Watch(parts)
    return HttpServer(config, {"/metrics": watch.metrics, "/health": watch.health})

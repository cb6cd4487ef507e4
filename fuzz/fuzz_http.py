"""Requests to ``[http]``: any octets in any pieces, and requests with something wrong in them.

Each is answered once, in words that the standard library's client understands, or not at all; and
only who asks for a page that is there gets it.
"""

from __future__ import annotations

import asyncio
import http.client
import io
from typing import Any

from fuzz_shapes import Octets
from stoep_gateway.config_service import HttpConfig
from stoep_gateway.http import MAX_REQUEST_OCTETS, HttpServer, Page

__all__ = ["Target"]

CODES = {200, 400, 404, 405, 431, 501}
BODY = b"figures\n"


class Writer:
    """What asyncio's writer is to the server."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        pass


class Connection:
    """A socket that has received this."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self.data)


class Target:
    """One server, which keeps nothing of a connection."""

    def __init__(self) -> None:
        async def figures() -> Page:
            return Page(200, "text/plain", BODY)

        self.loop = asyncio.new_event_loop()
        self.server = HttpServer(HttpConfig(port=0), {"/metrics": figures}, request_s=60)

    def __del__(self) -> None:
        self.loop.close()

    def seeds(self) -> list[bytes]:
        return [
            b"\x00GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n",
            b"\x01HEAD /metrics?name[]=x HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n",
            b"\x05POST /health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd",
            b"\x00GET /health HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            b"\x07GET http://[::1]:9474/metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"\x00CONNECT here:1 HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\n\r\n",
            b"\x00GET /" + b"a" * MAX_REQUEST_OCTETS,
        ]

    def __call__(self, data: bytes) -> None:
        octets = Octets(data)
        size = octets.number() % 8 * 16 or MAX_REQUEST_OCTETS * 2
        request = octets.rest()
        answer = self.loop.run_until_complete(self.answer(request, size))
        if not answer:
            return
        response = http.client.HTTPResponse(Connection(answer), method="GET")  # type: ignore[arg-type]
        response.begin()
        assert response.status in CODES, response.status
        assert response.headers["Connection"] == "close"
        body = response.fp.read() if response.fp is not None else b""
        if response.status == 200:
            assert request.lstrip(b"\r\n").startswith((b"GET /metrics", b"HEAD /metrics")), request
            assert body == (BODY if b"GET" in request[:8] else b"")
        else:
            assert BODY not in body

    async def answer(self, request: bytes, size: int) -> bytes:
        reader = asyncio.StreamReader()
        for at in range(0, len(request), size):
            reader.feed_data(request[at : at + size])
        reader.feed_eof()
        writer = Writer()
        await self.server._serve(reader, writer)  # type: ignore[arg-type]
        return writer.written

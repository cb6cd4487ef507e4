"""Sits on a client library's MQTT connection and carries the outbox's messages past the library.

aiomqtt (over paho) makes the connection and keeps it: TLS, login, protocol version, keep-alive,
disconnect. A message through it costs more than all else the gateway does for an uplink (some 50 µs
against 8 µs here, measured), because it is made for any number of subscribers and threads. So paho
gets this object in the place of its socket. What it writes and what the outbox writes are gathered
and sent once per turn of the event loop; what comes in is read once, PUBACKs go to the outbox and
everything else to paho.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from stoep_gateway.errors import RemoteProtocolError
from stoep_gateway.publish.mqtt_packets import PubackReader, encode_publish

__all__ = ["Tap"]

_READ = 65_536
_RETRY_S = 0.002  # a full socket: its readiness belongs to paho's registration with the loop
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Tap:
    """Stands in for a connected, non-blocking socket; ``acknowledged`` gets packet id and reason.

    ``broken`` is called when the connection fails while the outbox writes; what paho's own calls
    meet is raised to paho.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        version_5: bool,
        acknowledged: Callable[[list[tuple[int, int]]], None],
        broken: Callable[[], None],
    ) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._version_5 = version_5
        self._acknowledged = acknowledged
        self._broken = broken
        self._reader = PubackReader()
        self._for_paho = b""
        self._out: list[bytes] = []
        self._flush_due = False
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        """Be the socket in everything else."""
        return getattr(self._socket, name)

    def publish(self, topic: str, payload: bytes, packet_id: int, *, retain: bool) -> None:
        """Send a message at QoS 1 in this turn of the loop."""
        self._out.append(
            encode_publish(topic, payload, packet_id, retain=retain, version_5=self._version_5)
        )
        self._flush_soon()

    def send(self, data: bytes) -> int:
        """Take paho's packets in their order with the outbox's."""
        self._out.append(bytes(data))
        self._flush_soon()
        return len(data)

    def recv(self, limit: int) -> bytes:
        """Return what is for paho. Raises ``BlockingIOError`` if that is nothing now."""
        if not self._for_paho:
            data = self._socket.recv(_READ)
            if not data:
                return b""  # the broker has closed
            try:
                acknowledged, self._for_paho = self._reader.feed(data)
            except RemoteProtocolError as error:
                raise OSError(str(error)) from error
            if acknowledged:
                self._acknowledged(acknowledged)
            if not self._for_paho:
                raise BlockingIOError
        taken, self._for_paho = self._for_paho[:limit], self._for_paho[limit:]
        return taken

    def pending(self) -> int:
        """Return how much can be read although the socket may not be readable."""
        inner = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._for_paho) + inner

    def close(self) -> None:
        """Send what there is (a DISCONNECT, perhaps) and close."""
        if not self._closed:
            self._flush()
        self._closed = True
        self._socket.close()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._closed or not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        try:
            sent = self._socket.send(data)
        except _NOT_NOW:
            sent = 0
        except OSError:
            self._broken()
            return
        if sent < len(data):
            self._out.append(data[sent:])
            self._flush_due = True
            self._loop.call_later(_RETRY_S, self._flush)

"""A connection to a broker with fewer system calls and fewer objects a message, beneath paho.

paho reads a packet from its socket in three pieces, writes every packet by itself and makes new
tables of all reason codes for each PUBACK: about half of what a message costs. Here its own client
reads ahead and writes many packets at once, and shares what it says of a PUBACK. Whatever is not
the ordinary case is left to paho.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import aiomqtt
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

__all__ = ["BufferedSocket", "Client", "attach", "pause"]

_READ = 65_536
_MOST_UNSENT = 262_144
_PUBACK = 0x40

_NO_PROPERTIES = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]


class Client(aiomqtt.Client):
    """A client for whose end nobody has to ask.

    aiomqtt lets go of the future that tells of it when the connection is lost in the turn of its
    CONNACK, or while something else is waited for. To asyncio that is an exception that nobody has
    seen, and to the gateway a fault of its own.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_disconnected":
            value.add_done_callback(_see)
        super().__setattr__(name, value)


def _see(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


class BufferedSocket:
    """A connected socket, as paho uses one, that reads ahead and writes at ``flush``."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._sock = sock
        self._loop = loop
        self._read = b""
        self._at = 0
        self._unsent = bytearray()

    def recv(self, size: int) -> bytes:
        """Return up to ``size`` octets, none at the end. Raises ``OSError``."""
        if self._at == len(self._read):
            try:
                self._read = self._sock.recv(_READ)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                raise BlockingIOError from error
            self._at = 0
        piece = self._read[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def pending(self) -> int:
        """Return how many octets were read ahead; aiomqtt asks, since nothing tells the loop."""
        beneath = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return len(self._read) - self._at + beneath

    def puback(self, *, with_reason: bool) -> tuple[int, int, int]:
        """Return message id and reason code of a PUBACK that is next, and its length.

        The length is 0 where there is none, or one with properties. (MQTT 5.0, 3.4)
        """
        octets, at = self._read, self._at
        there = len(octets) - at
        if there < 4 or octets[at] != _PUBACK:
            return 0, 0, 0
        remaining = octets[at + 1]
        if remaining == 2:
            code = 0
        elif with_reason and (
            (remaining == 3 and there >= 5)
            or (remaining == 4 and there >= 6 and not octets[at + 5])
        ):
            code = octets[at + 4]
        else:
            return 0, 0, 0
        return octets[at + 2] << 8 | octets[at + 3], code, 2 + remaining

    def skip(self, octets: int) -> None:
        """Take note that so many were read."""
        self._at += octets

    def send(self, octets: bytes | bytearray) -> int:
        """Take all octets, or raise ``BlockingIOError`` while too many wait."""
        if len(self._unsent) > _MOST_UNSENT:
            raise BlockingIOError
        self._unsent += octets
        return len(octets)

    def flush(self) -> bool:
        """Send what the connection takes; return whether that is all. Raises ``OSError``."""
        if self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            del self._unsent[:sent]
        return not self._unsent

    def close(self) -> None:
        """Send what can be sent at once, and close."""
        self._loop.remove_writer(self._sock.fileno())
        with contextlib.suppress(OSError):
            self.flush()
        self._sock.close()

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Set whether the socket blocks; only one that does not is of use here."""
        self._sock.setblocking(flag)


def attach(client: paho.Client, broken: Callable[[], None]) -> None:
    """Have a connected client of aiomqtt's use a ``BufferedSocket``; on the loop's thread.

    ``broken`` is called when the connection takes no more.
    """
    loop = asyncio.get_running_loop()
    buffered = BufferedSocket(client._sock, loop)  # type: ignore[arg-type]  # aiomqtt: no WebSocket
    client._sock = buffered

    def write() -> None:
        try:
            client.loop_write()
            if client.socket() is buffered and buffered.flush() and not client.want_write():
                loop.remove_writer(buffered.fileno())
        except OSError:
            broken()

    def register(_client: Any, _userdata: Any, _sock: Any) -> None:
        # At once, and not one turn later as aiomqtt, which may be asked by its connecting thread:
        # a connection that broke within that turn has closed its socket.
        loop.add_writer(buffered.fileno(), write)

    def unregister(_client: Any, _userdata: Any, _sock: Any) -> None:
        pass  # ``write`` and ``close`` do

    client.on_socket_register_write = register
    client.on_socket_unregister_write = unregister
    client.disable_logger()
    _read_pubacks(client, buffered)


async def pause(seconds: float) -> None:
    """Wait before the next connection, and let go of the one before.

    The objects of aiomqtt and paho hold one another, and all that was on its way with them. Python
    would look for such circles when some hundred connections have left them: megabytes.
    """
    await asyncio.sleep(seconds)
    gc.collect(1)


def _read_pubacks(client: paho.Client, buffered: BufferedSocket) -> None:
    """Have PUBACKs that lie in the buffer read at once, if they have no properties."""
    read_packet = client._packet_read
    is_v5 = client.protocol == paho.MQTTv5

    def read() -> MQTTErrorCode:
        if not client._in_packet["command"]:
            mid, code, octets = buffered.puback(with_reason=is_v5)
            reason = _reason(code) if octets else None
            if reason is not None:
                buffered.skip(octets)
                client._last_bytes_received = time.monotonic()
                if mid in client._out_messages:
                    return client._do_on_publish(mid, reason, _NO_PROPERTIES)
                return MQTTErrorCode.MQTT_ERR_SUCCESS
        return read_packet()

    client._packet_read = read  # type: ignore[method-assign]


@functools.cache
def _reason(code: int) -> ReasonCode | None:
    """Return the one object of a PUBACK's reason code; None where MQTT has no such code."""
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code)
    except (KeyError, ValueError):
        return None

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
import socket
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

__all__ = ["BufferedSocket", "attach"]

_READ = 65_536
_MOST_UNSENT = 262_144

_NO_PROPERTIES = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]


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
            self._read = self._sock.recv(_READ)
            self._at = 0
        piece = self._read[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def pending(self) -> int:
        """Return how many octets were read ahead; aiomqtt asks, since nothing tells the loop."""
        return len(self._read) - self._at

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
            except BlockingIOError:
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
            if client.socket() is buffered and buffered.flush():
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
    _share_pubacks(client)


def _share_pubacks(client: paho.Client) -> None:
    """Have PUBACKs without properties read without an object each."""
    read = client._handle_pubackcomp
    is_v5 = client.protocol == paho.MQTTv5

    def handle(command: Any) -> MQTTErrorCode:
        packet = client._in_packet["packet"]
        length = len(packet)
        plain = length == 2 or (is_v5 and (length == 3 or (length == 4 and not packet[3])))
        if command != "PUBACK" or not plain:
            return read(command)
        reason = _reason(packet[2] if length > 2 else 0)
        if reason is None:
            return read(command)
        mid = packet[0] << 8 | packet[1]
        if mid not in client._out_messages:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        return client._do_on_publish(mid, reason, _NO_PROPERTIES)

    client._handle_pubackcomp = handle  # type: ignore[assignment, method-assign]


@functools.cache
def _reason(code: int) -> ReasonCode | None:
    """Return the one object of a PUBACK's reason code; None where MQTT has no such code."""
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code)
    except (KeyError, ValueError):
        return None

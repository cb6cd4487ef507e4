"""Messages of a broker's topics, each acknowledged once it is dealt with: a subscriber's driver.

aiomqtt acknowledges a message as soon as it comes in, so that a crash before it is recorded loses
it. Here nothing is acknowledged before ``done`` was called, and in the order of delivery (MQTT
3.1.1, 4.6). With QoS 1 the session outlives us at the broker: what was not acknowledged comes
again, with what came in the meantime.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt import client as paho

from stoep_gateway.errors import BrokerUnavailable
from stoep_gateway.publish import mqtt_socket

__all__ = ["Connection", "Inbox"]

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_CONNECT_TIMEOUT_S = 10.0
_NOT_AUTHORIZED = (4, 5, 0x86, 0x87)  # CONNACK of MQTT 3.1.1, and what paho makes of it
_SUBSCRIPTION_FAILED = 0x80  # MQTT 3.1.1, 3.9.3

_paho_log = logging.getLogger(f"{__name__}.paho")
_paho_log.setLevel(logging.CRITICAL)  # what it has to say is said by others, once per outage


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to, as whom, and for which topics; ``table`` of the configuration says so."""

    host: str
    port: int
    client_id: str
    topics: Sequence[str]
    qos: int
    table: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 60


class Inbox:
    """``take`` gets every message and a function to call once it is dealt with.

    ``found`` is called with each connection: how many seconds there was none, None for the first.
    ``lost`` gets the cause, once per outage.
    """

    def __init__(
        self,
        connection: Connection,
        take: Callable[[aiomqtt.Message, Callable[[], None]], None],
        found: Callable[[float | None], None],
        lost: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._take = take
        self._found = found
        self._lost = lost
        self._outage_since: float | None = None
        self._was_connected = False
        self.client: aiomqtt.Client | None = None  # while messages come in

    async def run(self) -> None:
        """Keep connected, until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._was_connected = False
            try:
                await self._converse()
            except BrokerUnavailable as error:
                if self._outage_since is None:
                    self._outage_since = asyncio.get_running_loop().time()
                    self._lost(str(error))
            if self._was_connected:
                pause_s = _FIRST_PAUSE_S
            await mqtt_socket.pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _converse(self) -> None:
        """Hold one connection from its beginning to its end. Raises ``BrokerUnavailable``."""
        to = self._connection
        client = mqtt_socket.Client(
            to.host,
            to.port,
            username=to.username,
            password=to.password,
            identifier=to.client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=to.qos == 0,
            timeout=_CONNECT_TIMEOUT_S,
            keepalive=to.keepalive_s,
            tls_context=to.tls,
            logger=_paho_log,
        )
        client._client.manual_ack_set(True)  # before messages of an old session come in
        pending: deque[_Unacknowledged] = deque()
        try:
            async with client:
                client._client.on_socket_register_write = _register_write
                self._subscribed(await client.subscribe([(it, to.qos) for it in to.topics]))
                self._connected(client)
                async for message in client.messages:
                    self._receive(client, message, pending)
        except aiomqtt.MqttError as error:
            raise BrokerUnavailable(self._explained(error)) from error
        finally:
            self.client = None
            if client._client.socket() is not None:
                client._client._sock_close()  # aiomqtt leaves it open when CONNACK does not come
        raise BrokerUnavailable("it closed the connection")

    def _receive(
        self, client: aiomqtt.Client, message: aiomqtt.Message, pending: deque[_Unacknowledged]
    ) -> None:
        if message.qos == 0:
            self._take(message, _nothing)
            return
        unacknowledged = _Unacknowledged(message.mid)
        pending.append(unacknowledged)
        self._take(message, partial(_acknowledge, client, unacknowledged, pending))

    def _subscribed(self, granted: object) -> None:
        codes = granted if isinstance(granted, list | tuple) else ()
        for topic, code in zip(self._connection.topics, codes, strict=False):
            if int(getattr(code, "value", code)) >= _SUBSCRIPTION_FAILED:
                who = self._connection.username or "us"
                raise BrokerUnavailable(f"it does not let {who} subscribe to {topic}")

    def _connected(self, client: aiomqtt.Client) -> None:
        self.client = client
        self._was_connected = True
        away_s = None
        if self._outage_since is not None:
            away_s = asyncio.get_running_loop().time() - self._outage_since
        self._outage_since = None
        self._found(away_s)

    def _explained(self, error: aiomqtt.MqttError) -> str:
        if isinstance(error, MqttConnectError) and getattr(error.rc, "value", error.rc) in (
            _NOT_AUTHORIZED
        ):
            return f"{error}, see username and password_file of {self._connection.table}"
        return str(error)


def _register_write(client: paho.Client, _userdata: Any, sock: Any) -> None:
    """See ``publish.mqtt``: aiomqtt's own way fails on a connection that breaks at that moment."""
    asyncio.get_running_loop().add_writer(sock.fileno(), client.loop_write)


class _Unacknowledged:
    """A message by its id on the connection, and whether it may be acknowledged."""

    __slots__ = ("done", "mid")

    def __init__(self, mid: int) -> None:
        self.mid = mid
        self.done = False


def _acknowledge(
    client: aiomqtt.Client, which: _Unacknowledged, pending: deque[_Unacknowledged]
) -> None:
    """Acknowledge what is done, up to the first that is not.

    On a connection that has ended this does nothing: the message comes again on the next one.
    """
    which.done = True
    while pending and pending[0].done:
        client._client.ack(pending.popleft().mid, 1)


def _nothing() -> None:
    """There is nothing to acknowledge with QoS 0."""

"""Receives another network server's events over MQTT: the driver of an ``Integration``.

aiomqtt acknowledges a message as soon as it comes in, so that a crash before it is recorded loses
it. Here nothing is acknowledged before ``done`` was called, and in the order of delivery (MQTT
3.1.1, 4.6). The session outlives us at the broker: what was not acknowledged comes again, with what
came in the meantime. The Things Stack has QoS 0 only and keeps nothing for us.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt import client as paho

from stoep_gateway.config_model import SourceConfig
from stoep_gateway.errors import BrokerUnavailable, FatalError
from stoep_gateway.integrations.chirpstack import ChirpStack
from stoep_gateway.integrations.events import (
    Integration,
    SourceDownlink,
    SourceEvent,
    SourceUplink,
)
from stoep_gateway.integrations.things_stack import TheThingsStack
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.log import fields
from stoep_gateway.metrics import Metrics
from stoep_gateway.publish import mqtt_socket

__all__ = ["Deliver", "MqttSource"]

Deliver = Callable[[SourceUplink | SourceEvent | Rejected, Callable[[], None]], None]

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_CONNECT_TIMEOUT_S = 10.0
_KEEPALIVE_S = 60
_NOT_AUTHORIZED = (4, 5, 0x86, 0x87)  # CONNACK of MQTT 3.1.1, and what paho makes of it
_SUBSCRIPTION_FAILED = 0x80  # MQTT 3.1.1, 3.9.3

_KINDS: dict[str, Callable[[str, str, str], Integration]] = {
    "chirpstack": ChirpStack,
    "the_things_stack": TheThingsStack,
}

_TOPIC_LEVEL = re.compile(r"[A-Za-z0-9@._-]+")

_log = logging.getLogger(__name__)
_paho_log = logging.getLogger(f"{__name__}.paho")
_paho_log.setLevel(logging.CRITICAL)  # what it has to say is said here, once per outage


class MqttSource:
    """One ``[[source]]`` while ``run`` runs.

    ``deliver`` gets every event and a function to call once the event, or that it is worth nothing,
    is durable. Call that one after all that was submitted before is durable too: an event that is
    ``repeated`` may be the copy of one whose commit is under way.
    """

    def __init__(
        self,
        config: SourceConfig,
        site: str,
        deliver: Deliver,
        metrics: Metrics,
        utc_ms: Callable[[], int],
        password: str | None = None,
    ) -> None:
        """Raises ``FatalError`` when ``application`` or ``ca_file`` cannot be used."""
        if not _TOPIC_LEVEL.fullmatch(config.application):
            raise FatalError(
                f'[[source]] "{config.id}": application "{config.application}" cannot be part of a'
                " topic: it is ChirpStack's id, or The Things Stack's app@tenant"
            )
        self._integration = _KINDS[config.kind](config.id, config.application, site)
        self._config = config
        self._client_id = f"stoep-{site}-{config.id}"
        self._deliver = deliver
        self._metrics = metrics
        self._utc_ms = utc_ms
        self._password = password
        self._tls = _tls(config) if config.tls else None
        self._client: aiomqtt.Client | None = None
        self._outage_since: float | None = None
        self._was_connected = False
        self._told_qos = False

    @property
    def connected(self) -> bool:
        """Whether events come in and downlinks can go out now."""
        return self._client is not None

    async def run(self) -> None:
        """Keep connected, until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._was_connected = False
            try:
                await self._converse()
            except BrokerUnavailable as error:
                self._lost(error)
            if self._was_connected:
                pause_s = _FIRST_PAUSE_S
            await mqtt_socket.pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def send(self, downlink: SourceDownlink) -> bool:
        """Hand a downlink over; return whether the broker has it (with QoS 0: whether it left).

        What becomes of it comes back as a ``SourceEvent``. A downlink that is handed over twice,
        because the broker's word was lost, has the same tag both times.
        """
        client = self._client
        if client is None:
            return False
        topic, payload = self._integration.command(downlink)
        try:
            await client.publish(topic, payload, self._integration.qos)
        except aiomqtt.MqttError:
            return False
        self._metrics.count("source_downlinks")
        return True

    async def _converse(self) -> None:
        """Hold one connection from its beginning to its end. Raises ``BrokerUnavailable``."""
        config, qos = self._config, self._integration.qos
        client = mqtt_socket.Client(
            config.host,
            config.port,
            username=config.username,
            password=self._password,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=qos == 0,
            timeout=_CONNECT_TIMEOUT_S,
            keepalive=_KEEPALIVE_S,
            tls_context=self._tls,
            logger=_paho_log,
        )
        client._client.manual_ack_set(True)  # before messages of an old session come in
        pending: deque[_Unacknowledged] = deque()
        try:
            async with client:
                client._client.on_socket_register_write = _register_write
                topics = [(topic, int(qos)) for topic in self._integration.subscriptions]
                self._subscribed(await client.subscribe(topics))
                self._found(client)
                async for message in client.messages:
                    self._take(client, message, pending)
        except aiomqtt.MqttError as error:
            raise BrokerUnavailable(self._explained(error)) from error
        finally:
            self._client = None
            if client._client.socket() is not None:
                client._client._sock_close()  # aiomqtt leaves it open when CONNACK does not come
        raise BrokerUnavailable("it closed the connection")

    def _take(
        self, client: aiomqtt.Client, message: aiomqtt.Message, pending: deque[_Unacknowledged]
    ) -> None:
        self._metrics.count("source_messages")
        payload = message.payload
        assert isinstance(payload, bytes)
        taken = self._integration.read(message.topic.value, payload, self._utc_ms())
        if message.qos == 0:
            if self._integration.qos and not self._told_qos:
                self._told_qos = True
                _log.warning(
                    "%s: events come with QoS 0 and get lost when we are away; set qos=1 under"
                    " [integration.mqtt] in chirpstack.toml",
                    self._name(),
                )
            self._deliver(taken, _nothing)
            return
        unacknowledged = _Unacknowledged(message.mid)
        pending.append(unacknowledged)
        self._deliver(taken, partial(_acknowledge, client, unacknowledged, pending))

    def _subscribed(self, granted: object) -> None:
        codes = granted if isinstance(granted, list | tuple) else ()
        refused = [
            topic
            for topic, code in zip(self._integration.subscriptions, codes, strict=False)
            if int(getattr(code, "value", code)) >= _SUBSCRIPTION_FAILED
        ]
        if refused:
            raise BrokerUnavailable(
                f"it does not let {self._config.username or 'us'} subscribe to {refused[0]}"
            )

    def _found(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._was_connected = True
        self._metrics.count("source_connections")
        if self._outage_since is None:
            _log.info("%s connected", self._name())
            return
        away_s = asyncio.get_running_loop().time() - self._outage_since
        self._outage_since = None
        extra = fields("source_back", ("SOURCE", self._config.id))
        _log.info("%s is back after %.0f s", self._name(), away_s, extra=extra)

    def _lost(self, error: BrokerUnavailable) -> None:
        if self._outage_since is None:
            self._outage_since = asyncio.get_running_loop().time()
            extra = fields("source_away", ("SOURCE", self._config.id))
            _log.warning("%s is away: %s", self._name(), str(error), extra=extra)

    def _explained(self, error: aiomqtt.MqttError) -> str:
        if isinstance(error, MqttConnectError) and getattr(error.rc, "value", error.rc) in (
            _NOT_AUTHORIZED
        ):
            where = f'[[source]] "{self._config.id}"'
            return f"{error}, see username and password_file of {where}"
        return str(error)

    def _name(self) -> str:
        return f"source {self._config.id} ({self._config.host}:{self._config.port})"


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


def _tls(config: SourceConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(
            cafile=None if config.ca_file is None else str(config.ca_file)
        )
    except (OSError, ssl.SSLError) as error:
        raise FatalError(f'[[source]] "{config.id}": ca_file {config.ca_file}: {error}') from error

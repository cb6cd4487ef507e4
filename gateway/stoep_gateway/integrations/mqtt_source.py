"""Receives another network server's events over MQTT: the driver of an ``Integration``.

The Things Stack has QoS 0 only and keeps nothing for us.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable

import aiomqtt

from stoep_gateway.config_model import SourceConfig
from stoep_gateway.errors import FatalError
from stoep_gateway.integrations.chirpstack import ChirpStack
from stoep_gateway.integrations.events import (
    Integration,
    SourceDownlink,
    SourceEvent,
    SourceUplink,
)
from stoep_gateway.integrations.mqtt_inbox import Connection, Inbox
from stoep_gateway.integrations.things_stack import TheThingsStack
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.log import fields
from stoep_gateway.metrics import Metrics

__all__ = ["Deliver", "MqttSource"]

Deliver = Callable[[SourceUplink | SourceEvent | Rejected, Callable[[], None]], None]

_KINDS: dict[str, Callable[[str, str, str], Integration]] = {
    "chirpstack": ChirpStack,
    "the_things_stack": TheThingsStack,
}

_TOPIC_LEVEL = re.compile(r"[A-Za-z0-9@._-]+")

_log = logging.getLogger(__name__)


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
        self._deliver = deliver
        self._metrics = metrics
        self._utc_ms = utc_ms
        self._told_qos = False
        self._id = config.id
        self._name = f"source {config.id} ({config.host}:{config.port})"
        self._inbox = Inbox(
            Connection(
                config.host,
                config.port,
                f"stoep-{site}-{config.id}",
                self._integration.subscriptions,
                int(self._integration.qos),
                f'[[source]] "{config.id}"',
                config.username,
                password,
                _tls(config) if config.tls else None,
            ),
            self._take,
            self._found,
            self._lost,
        )

    @property
    def connected(self) -> bool:
        """Whether events come in and downlinks can go out now."""
        return self._inbox.client is not None

    async def run(self) -> None:
        """Keep connected, until cancelled."""
        await self._inbox.run()

    async def send(self, downlink: SourceDownlink) -> bool:
        """Hand a downlink over; return whether the broker has it (with QoS 0: whether it left).

        What becomes of it comes back as a ``SourceEvent``. A downlink that is handed over twice,
        because the broker's word was lost, has the same tag both times.
        """
        client = self._inbox.client
        if client is None:
            return False
        topic, payload = self._integration.command(downlink)
        try:
            await client.publish(topic, payload, self._integration.qos)
        except aiomqtt.MqttError:
            return False
        self._metrics.count("source_downlinks")
        return True

    def _take(self, message: aiomqtt.Message, done: Callable[[], None]) -> None:
        self._metrics.count("source_messages")
        payload = message.payload
        assert isinstance(payload, bytes)
        if message.qos == 0 and self._integration.qos and not self._told_qos:
            self._told_qos = True
            _log.warning(
                "%s: events come with QoS 0 and get lost when we are away; set qos=1 under"
                " [integration.mqtt] in chirpstack.toml",
                self._name,
            )
        self._deliver(self._integration.read(message.topic.value, payload, self._utc_ms()), done)

    def _found(self, away_s: float | None) -> None:
        self._metrics.count("source_connections")
        if away_s is None:
            _log.info("%s connected", self._name)
            return
        extra = fields("source_back", ("SOURCE", self._id))
        _log.info("%s is back after %.0f s", self._name, away_s, extra=extra)

    def _lost(self, cause: str) -> None:
        extra = fields("source_away", ("SOURCE", self._id))
        _log.warning("%s is away: %s", self._name, cause, extra=extra)


def _tls(config: SourceConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(
            cafile=None if config.ca_file is None else str(config.ca_file)
        )
    except (OSError, ssl.SSLError) as error:
        raise FatalError(f'[[source]] "{config.id}": ca_file {config.ca_file}: {error}') from error

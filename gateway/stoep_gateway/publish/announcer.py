"""Announces to Home Assistant what there is: the driver of `home_assistant`.

A connection of its own, since announcements are neither recorded nor in anyone's way: all are told
again after each connection, and when Home Assistant has started. What is retained on the broker of
this site, and is not there any more, is taken back: the broker remembers what was announced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import aiomqtt
from paho.mqtt import client as paho

from stoep_gateway.assets import configuration
from stoep_gateway.assets.registry import Bay, Container, Device
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.config import mqtt_password
from stoep_gateway.publish import home_assistant, mqtt_socket
from stoep_gateway.publish.home_assistant import Thing
from stoep_gateway.publish.mqtt_tls import tls
from stoep_gateway.services import Parts, Service

__all__ = ["build"]

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LOOK_S = 10.0  # for what has come, gone or changed
_AT_ONCE = 200
_TIMEOUT_S = 20.0
_SUBSCRIPTION_FAILED = 0x80  # MQTT 3.1.1, 3.9.3
_SETTLE_S = 5.0  # Home Assistant says that it is online a little before it listens

_log = logging.getLogger(__name__)
_paho_log = logging.getLogger(f"{__name__}.paho")
_paho_log.setLevel(logging.CRITICAL)  # the publisher tells of the broker


def build(parts: Parts) -> Service | None:
    """Return the service if ``[home_assistant]`` is configured."""
    if parts.config.home_assistant is None:
        return None
    return _Announcer(parts, parts.config.home_assistant.prefix)


class _Announcer:
    name = "home-assistant"

    def __init__(self, parts: Parts, prefix: str) -> None:
        self._parts = parts
        self._registry = parts.registry
        self._prefix = prefix
        self._password = mqtt_password(parts.config.mqtt)
        self._tls = tls(parts.config.mqtt)
        self._wanted: dict[str, Thing] = {}
        self._told: dict[str, tuple[Thing, Device | None]] = {}
        self._again = asyncio.Event()
        self._settling: asyncio.TimerHandle | None = None
        self._refused = False

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """The connection ends with `run`."""

    async def run(self) -> None:
        """Keep all announced, until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                await self._converse()
            if self._told:
                pause_s = _FIRST_PAUSE_S
            await mqtt_socket.pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _converse(self) -> None:
        """Hold one connection from its beginning to its end. Raises ``aiomqtt.MqttError``."""
        self._told.clear()
        mqtt = self._parts.config.mqtt
        client = mqtt_socket.Client(
            mqtt.host,
            mqtt.port,
            username=mqtt.username,
            password=self._password,
            identifier=f"{mqtt.client_id or f'stoep-{self._registry.site}'}-announcer",
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            timeout=_TIMEOUT_S,
            keepalive=mqtt.keepalive_s,
            tls_context=self._tls,
            logger=_paho_log,
        )
        try:
            async with client:
                client._client.on_socket_register_write = _register_write
                self._wanted = home_assistant.things(self._registry)
                filters = (f"{self._prefix}/status", f"{self._prefix}/device/+/config")
                self._subscribed(await client.subscribe([(topic, 1) for topic in filters]))
                tasks = {
                    asyncio.create_task(self._listen(client)),
                    asyncio.create_task(self._keep_announced(client)),
                }
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    ends = await asyncio.gather(*tasks, return_exceptions=True)
                for end in ends:
                    if isinstance(end, Exception):
                        raise end
        finally:
            if self._settling is not None:
                self._settling.cancel()
            if client._client.socket() is not None:
                client._client._sock_close()  # aiomqtt leaves it open when CONNACK does not come

    def _subscribed(self, granted: Any) -> None:
        codes = [int(getattr(code, "value", code)) for code in granted]
        if max(codes) >= _SUBSCRIPTION_FAILED and not self._refused:
            self._refused = True
            _log.warning(
                "the broker does not let us subscribe to %s/#: what is removed stays in"
                " Home Assistant, and what it forgets is announced at our next start",
                self._prefix,
            )

    async def _listen(self, client: aiomqtt.Client) -> None:
        status = f"{self._prefix}/status"
        async for message in client.messages:
            topic, payload = message.topic.value, message.payload
            assert isinstance(payload, bytes)
            if topic == status:
                if payload == b"online" and not message.retain:
                    if self._settling is not None:
                        self._settling.cancel()
                    loop = asyncio.get_running_loop()
                    self._settling = loop.call_later(_SETTLE_S, self._announce_again)
            elif message.retain:
                identifier = home_assistant.identifier_of(payload, self._registry.site)
                if identifier is not None and (
                    identifier not in self._wanted
                    or home_assistant.topic(self._prefix, identifier) != topic
                ):
                    await client.publish(topic, b"", 1, retain=True)

    def _announce_again(self) -> None:
        self._told = {key: it for key, it in self._told.items() if key not in self._wanted}
        self._again.set()

    async def _keep_announced(self, client: aiomqtt.Client) -> None:
        while True:
            self._again.clear()
            self._wanted = home_assistant.things(self._registry)
            for identifier in self._told.keys() - self._wanted.keys():
                await self._publish(client, identifier, b"")
                self._told.pop(identifier, None)
            for number, (identifier, thing) in enumerate(self._wanted.items()):
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)  # the uplinks' turn: there may be thousands
                board = self._board(thing)
                told, its_board = self._told.get(identifier, (None, None))
                if _differ(told, thing) or _differ(its_board, board):
                    message = home_assistant.message(self._registry, thing, self._interval_s)
                    await self._publish(client, identifier, message)
                    self._told[identifier] = thing, board
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._again.wait()

    async def _publish(self, client: aiomqtt.Client, identifier: str, payload: bytes) -> None:
        topic = home_assistant.topic(self._prefix, identifier)
        await client.publish(topic, payload, 1, retain=True)
        self._parts.metrics.count("announcements")

    def _board(self, thing: Thing) -> Device | None:
        """Return the board that stands for a thing: its announcement names it."""
        if isinstance(thing, Container | Bay):
            return self._registry.device_of(thing.key)
        return None

    def _interval_s(self, device: Device) -> int | None:
        """Return how often a board reports, as it was told or as its readings show."""
        memory = self._parts.memory
        wanted_ms = configuration.interval_ms(memory.configurations.get(device.dev_eui))
        if wanted_ms is not None:
            return wanted_ms // 1000
        state = None if device.asset is None else memory.states.get(device.asset.key)
        if isinstance(state, ContainerState) and state.interval_ms is not None:
            return state.interval_ms // 1000
        return None


def _differ(old: Thing | None, new: Thing | None) -> bool:
    return old is not new and old != new  # what is the same is quick to tell


def _register_write(client: paho.Client, _userdata: Any, sock: Any) -> None:
    """See ``mqtt_inbox``: aiomqtt's own way fails on a connection that breaks at that moment."""
    asyncio.get_running_loop().add_writer(sock.fileno(), client.loop_write)

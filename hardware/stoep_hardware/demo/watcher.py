"""Subscribes to everything a site publishes and keeps a Picture of it, in a thread of its own."""

import threading
from types import TracebackType
from typing import Any, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from stoep_hardware.demo.picture import Picture

_TOPICS = "stoep/v1/{site}/#"
_CONNECT_S = 10


class BrokerUnreachableError(Exception):
    """Nobody answers as an MQTT broker at the address given."""


class Watcher:
    """A subscriber at QoS 1; read ``picture`` while holding ``lock``.

    Messages that the broker retained before we came are of an earlier street and are left out.
    """

    def __init__(self, host: str, port: int, site: str) -> None:
        """Connect and subscribe; raises BrokerUnreachableError with the address."""
        self.picture = Picture()
        self.lock = threading.Lock()
        self._subscribed = threading.Event()
        self._refused = ""
        self._topics = _TOPICS.format(site=site)
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        try:
            self._client.connect(host, port)
        except OSError as problem:
            raise BrokerUnreachableError(f"no MQTT broker at {host}:{port}: {problem}") from None
        self._client.loop_start()
        if not self._subscribed.wait(_CONNECT_S) or self._refused:
            self._client.loop_stop()
            raise BrokerUnreachableError(
                f"the MQTT broker at {host}:{port} {self._refused or 'does not answer'}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Any,
    ) -> None:
        if reason.is_failure:
            self._refused = f"refused us: {reason}"
            self._subscribed.set()
            return
        client.subscribe(self._topics, qos=1)

    def _on_subscribe(
        self,
        client: paho.Client,
        userdata: Any,
        mid: int,
        reasons: list[ReasonCode],
        properties: Any,
    ) -> None:
        if reasons[0].is_failure:
            self._refused = f"refused our subscription: {reasons[0]}"
        self._subscribed.set()

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        if message.retain:
            return
        with self.lock:
            self.picture.take(message.topic, bytes(message.payload))

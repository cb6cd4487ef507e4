"""Publishes the outbox over MQTT at QoS 1: the driver of ``Outbox``, over aiomqtt.

One task connects, and connects again with growing pauses when the connection is lost. Messages go
out in batches without a task or a future each: ``aiomqtt.Client.publish`` costs several times what
the message does, so rows are handed to its paho client directly and its acknowledgement callback
feeds the outbox. MQTT 5 is tried first, then 3.1.1, and what worked is remembered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt import client as paho

from stoep_gateway.errors import BrokerUnavailable
from stoep_gateway.log import Throttle, fields
from stoep_gateway.metrics import Metrics
from stoep_gateway.publish import mqtt_socket, mqtt_tls
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.publish.mqtt_tls import ClientTls
from stoep_gateway.publish.outbox import Outbox
from stoep_gateway.publish.wire import Wire
from stoep_gateway.store.thinning import Thinned, Thinner

__all__ = ["Broker", "Publisher"]

MAX_IN_FLIGHT = 1000
_BATCH = 200
_COLLECT_AT = 256  # acknowledgements; sooner by the clock below
_COLLECT_AFTER_S = 0.1
_FAREWELL_S = 1.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_CONNECT_TIMEOUT_S = 5.0
_MOST_IN_FLIGHT = 0xFFFF  # MQTT 5.0, 3.2.2.3.3: what a broker takes that names no limit
_REFUSED = 0x80  # MQTT 5, 2.4: reason codes from here on are errors
_QUOTA_EXCEEDED = 0x97
_VERSION_REFUSED = (0x84, 0x01)  # CONNACK of MQTT 5 and of 3.1.1
_NOT_AUTHORIZED = (0x86, 0x87, 0x04, 0x05)  # the same: user or password wrong, not allowed
_VERSIONS = (aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311)

Announcement = Callable[[Literal["online", "offline"], str | None], OutboxMessage]

_log = logging.getLogger(__name__)
_paho_log = logging.getLogger(f"{__name__}.paho")
_paho_log.setLevel(logging.CRITICAL)  # what it has to say is said here, once per outage


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, who we are to it, and what it gets."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 60
    tls: ClientTls | None = None
    wire: Wire = field(default_factory=Wire)


class _Misconfigured(BrokerUnavailable):
    """Somebody has to change something before this broker can be reached."""


def _refusal(error: aiomqtt.MqttError) -> int | None:
    """Return the code of a CONNACK that refuses, None for any other failure."""
    if not isinstance(error, MqttConnectError):
        return None
    return error.rc if isinstance(error.rc, int | None) else int(error.rc.value)


def _may_mean_version(error: aiomqtt.MqttError) -> bool:
    """Whether a failure to connect may come from the protocol version: said so, or silence."""
    refusal = _refusal(error)
    return "timed out" in str(error) if refusal is None else refusal in _VERSION_REFUSED


class Publisher:
    """Sends the outbox's rows while ``run`` runs; ``delete`` gets what the broker has."""

    def __init__(
        self,
        broker: Broker,
        outbox: Outbox,
        metrics: Metrics,
        *,
        read_page: Callable[[], None],
        delete: Callable[[tuple[tuple[int, int], ...]], None],
        thin: Callable[[Thinner, Callable[[Thinned], None]], None],
        availability: Announcement | None = None,
    ) -> None:
        """``availability`` makes the message that tells whether we are there."""
        self._broker = broker
        self._outbox = outbox
        self._metrics = metrics
        self._read_page = read_page
        self._delete = delete
        self._thin = thin
        self._availability = availability
        self._said: dict[int, asyncio.Future[None]] = {}  # by MQTT message id: not in the outbox
        self._has_parted = False
        self._told: set[str] = set()  # causes of the outage
        self._let_go: Counter[str] = Counter()  # kinds of what was thinned, until it is told
        self._paho: paho.Client | None = None
        self._room = MAX_IN_FLIGHT
        self._rows: dict[int, int] = {}  # MQTT message id to outbox id
        self._version = 0
        self._collector: asyncio.TimerHandle | None = None
        self._pumping = False
        self._broken: asyncio.Future[None] | None = None
        self._drained = asyncio.Event()
        self._outage_since: float | None = None
        self._throttle = Throttle()
        self._was_connected = False

    @property
    def connected(self) -> bool:
        """Whether messages can go out now."""
        return self._paho is not None

    def wake(self) -> None:
        """Send what the outbox has; call after rows were added to it."""
        if self._outbox.wants_thinning():
            self._thin_outbox()
        if self._paho is not None and not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)
        elif self._outbox.wants_page():
            self._read_page()

    async def drained(self) -> None:
        """Wait until the broker has acknowledged everything."""
        while len(self._outbox):
            self._drained.clear()
            await self._drained.wait()

    def announce(self) -> None:
        """Say that we are there, if we are: at the beginning, or when the time is known at last."""
        if self._paho is not None and self._availability is not None:
            self._say(self._paho, self._availability("online", None))

    async def farewell(self) -> None:
        """Say that we stop; without it the broker says that the connection was lost."""
        if self._paho is None or self._availability is None:
            return
        said = self._say(self._paho, self._availability("offline", "stopped"))
        await asyncio.wait((said,), timeout=_FAREWELL_S)
        self._has_parted = said.done() and not said.cancelled()

    async def run(self) -> None:
        """Keep connected and publish, until cancelled."""
        pause_s = _FIRST_PAUSE_S
        try:
            while True:
                try:
                    await self._converse()
                except BrokerUnavailable as error:
                    self._lost(error)
                if self._was_connected:
                    pause_s = _FIRST_PAUSE_S
                await mqtt_socket.pause(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self.collect()

    def collect(self) -> None:
        """Have all acknowledged rows deleted."""
        if self._collector is not None:
            self._collector.cancel()
            self._collector = None
        if self._outbox.acknowledged:
            self._delete(self._outbox.collect())

    async def _converse(self) -> None:
        """Hold one connection from its beginning to its end. Raises ``BrokerUnavailable``.

        Returns when the next protocol version should be tried.
        """
        broker = self._broker
        self._was_connected = False
        self._broken = asyncio.get_running_loop().create_future()
        client = mqtt_socket.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=broker.client_id,
            protocol=_VERSIONS[self._version],
            clean_session=None if _VERSIONS[self._version] is aiomqtt.ProtocolVersion.V5 else True,
            timeout=_CONNECT_TIMEOUT_S,
            keepalive=broker.keepalive_s,
            tls_context=broker.tls,
            will=self._will(),
            max_inflight_messages=0,  # MAX_IN_FLIGHT is ours; paho's would search all each time
            max_queued_outgoing_messages=0,
            logger=_paho_log,
        )
        beginning = _Beginning(client)
        if broker.tls is not None:
            broker.tls.alert = None
        try:
            async with client:
                lost = client._disconnected
                if client._client.socket() is None:  # lost in the turn of its CONNACK
                    cause = lost.exception() if lost.done() else None
                    raise BrokerUnavailable(str(cause or "it closed the connection"))
                self._found(client._client, min(MAX_IN_FLIGHT, beginning.receive_maximum))
                try:
                    await asyncio.wait({self._broken, lost}, return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    if self._availability is not None and not self._has_parted:
                        client._client._sock_close()  # no DISCONNECT: the will is published
                    raise
                if lost.done():
                    raise BrokerUnavailable(str(lost.exception() or "it closed the connection"))
        except aiomqtt.MqttError as error:
            if not self._was_connected and (beginning.ended or _may_mean_version(error)):
                self._version = (self._version + 1) % len(_VERSIONS)
                if self._version:
                    return  # and try the next version at once
            raise self._explained(error, ended=beginning.ended) from error
        finally:
            self._paho = None
            self._rows.clear()
            for said in self._said.values():
                said.cancel()
            self._said.clear()
            self._outbox.disconnected()
            if client._client.socket() is not None:
                client._client._sock_close()  # aiomqtt leaves it open when CONNACK does not come
        raise BrokerUnavailable("it takes no more messages")

    def _found(self, client: paho.Client, room: int) -> None:
        self._was_connected = True
        self._metrics.count("broker_connections")
        if self._outage_since is not None:
            _log.info(
                "broker %s is back after %.0f s, %d messages to send",
                self._name(),
                asyncio.get_running_loop().time() - self._outage_since,
                len(self._outbox),
                extra=fields("broker_back"),
            )
            self._outage_since = None
        else:
            _log.info("broker %s connected, %s", self._name(), _VERSIONS[self._version].name)
        self._room = room
        self._paho = client
        client.on_publish = self._acknowledged
        mqtt_socket.attach(client, self._break)
        self._told.clear()
        self.announce()
        self._pump()

    def _say(self, client: paho.Client, message: OutboxMessage) -> asyncio.Future[None]:
        """Publish past the outbox what is true only now; done when the broker has it."""
        wire = self._broker.wire
        info = client.publish(
            message.topic, wire.payload(message.kind, message.payload), 1, message.retain
        )
        said = self._said[info.mid] = asyncio.get_running_loop().create_future()
        return said

    def _will(self) -> aiomqtt.Will | None:
        if self._availability is None:
            return None
        message = self._availability("offline", "connection_lost")
        payload = self._broker.wire.payload(message.kind, message.payload)
        return aiomqtt.Will(message.topic, payload, qos=1, retain=True)

    def _lost(self, error: BrokerUnavailable) -> None:
        told, cause = self._told, str(error)
        if self._outage_since is None:
            self._outage_since = asyncio.get_running_loop().time()
            _log.warning(
                "broker %s is away: %s; messages are kept",
                self._name(),
                cause,
                extra=fields("broker_away"),
            )
        elif isinstance(error, _Misconfigured) and cause not in told:
            _log.warning("broker %s is still away: %s", self._name(), cause)
        told.add(cause)

    def _explained(self, error: aiomqtt.MqttError, *, ended: bool) -> BrokerUnavailable:
        """Return why there is no connection, and what to do where that can be told."""
        tls = self._broker.tls
        if _refusal(error) in _NOT_AUTHORIZED:
            return _Misconfigured(f"{error}, see username and password_file under [mqtt]")
        if tls is not None and (remedy := mqtt_tls.remedy(error.__context__, tls, "[mqtt]")):
            return _Misconfigured(remedy)
        if tls is None and ended:
            return _Misconfigured(
                "it ends the connection at once: if it speaks TLS, set tls = true under [mqtt]"
            )
        return BrokerUnavailable(str(error))

    def _name(self) -> str:
        return f"{self._broker.host}:{self._broker.port}"

    def _pump(self) -> None:
        self._pumping = False
        client, outbox = self._paho, self._outbox
        if client is None:
            return
        wire, is_v5 = self._broker.wire, not self._version
        for row in outbox.take(min(self._room - outbox.in_flight - len(self._said), _BATCH)):
            info = client.publish(
                row.topic,
                wire.payload(row.kind, row.payload),
                1,
                bool(row.retain),
                wire.properties(row) if is_v5 else None,
            )
            self._rows[info.mid] = row.outbox_id
            if info.rc != paho.MQTT_ERR_SUCCESS:
                self._break()
                return
        if outbox.wants_page():
            self._read_page()

    def _thin_outbox(self) -> None:
        if not self._let_go and not self._outbox.thinning:
            _log.warning(
                "messages for broker %s take more than the %d MB of outbox_mb: superseded states"
                " and old events are let go",
                self._name(),
                self._outbox.limit_octets // 1_000_000,
            )
        self.collect()
        self._thin(self._outbox.next_step(), self._thinned)

    def _thinned(self, what: Thinned) -> None:
        self._let_go += what.kinds
        for kind, rows in what.kinds.items():
            self._metrics.count(f"outbox_thinned_{kind}", rows)
        self._outbox.thinned(what)
        self.wake()

    def _tell_let_go(self) -> None:
        """Say what was let go in an outage, once little is left to send."""
        if self._outbox.octets < self._outbox.limit_octets // 2:
            what = ", ".join(f"{rows} {kind}" for kind, rows in self._let_go.most_common())
            _log.warning("messages have room again; let go in the meantime: %s", what)
            self._let_go.clear()

    def _break(self) -> None:
        if self._broken is not None and not self._broken.done():
            self._broken.set_result(None)

    def _acknowledged(
        self, _client: Any, _userdata: Any, mid: int, reason_code: Any, _properties: Any = None
    ) -> None:
        outbox_id = self._rows.pop(mid, None)
        if outbox_id is None:
            said = self._said.pop(mid, None)
            if said is not None and not said.done():
                said.set_result(None)
            self.wake()
            return
        code = reason_code.value
        if code >= _REFUSED:
            self._metrics.count("publish_refused")
            now = round(1000 * asyncio.get_running_loop().time())
            if times := self._throttle.passes(str(reason_code), now):
                _log.error("broker %s refuses messages ×%d: %s", self._name(), times, reason_code)
            if code == _QUOTA_EXCEEDED:
                self._break()
                return
        else:
            self._metrics.count("published")
        outbox = self._outbox
        outbox.acknowledge(outbox_id)
        if not len(outbox):
            self._drained.set()
        if self._let_go:
            self._tell_let_go()
        if outbox.acknowledged >= _COLLECT_AT:
            self.collect()
        elif self._collector is None:
            loop = asyncio.get_running_loop()
            self._collector = loop.call_later(_COLLECT_AFTER_S, self.collect)
        self.wake()


class _Beginning:
    """What aiomqtt does not tell of a connection's beginning.

    ``receive_maximum`` is how many messages the broker takes at once, as CONNACK says (MQTT 5.0,
    3.2.2.3.3). ``ended``: the connection broke before; aiomqtt would wait for its time to run out.
    """

    def __init__(self, client: aiomqtt.Client) -> None:
        self.receive_maximum = _MOST_IN_FLIGHT
        self.ended = False
        self._client = client
        self._on_connect = client._on_connect
        self._on_disconnect = client._on_disconnect
        client._client.on_connect = self._connected
        client._client.on_disconnect = self._disconnected

    def _connected(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None
    ) -> None:
        self.receive_maximum = getattr(properties, "ReceiveMaximum", _MOST_IN_FLIGHT)
        self._on_connect(client, userdata, flags, reason, properties)

    def _disconnected(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any = None
    ) -> None:
        if not self._client._connected.done():
            self.ended = True
            self._client._connected.set_exception(aiomqtt.MqttError("it ended the connection"))
        self._on_disconnect(client, userdata, flags, reason, properties)

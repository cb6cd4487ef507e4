"""The server side of Basics Station's LNS protocol, as a machine without input or output.

::

    station                                    here
    connects to /router-info
    {"router": EUI}                  ──────▶   {"router", "muxs", "uri"} or {"router", "error"}
    connects to /router/EUI; of two the newer one wins, see below
    version                          ──────▶   router_config: now downlinks can be sent
    jreq, updf, propdf               ──────▶   UplinkFrame
                                     ◀──────   dnmsg, for each Transmit
    dntxed, or nothing for long      ──────▶   Transmitted("" or "NO_DNTXED")
    timesync                         ──────▶   timesync

A station that drops a downlink does not say so. It is known by its EUI, which it claims; what
proves it is the address that it comes from, a token in its ``Authorization`` header or the common
name of its certificate, as far as they are configured for it. Without token and certificate
nobody from another address takes the place of a station that is alive. Commands for a station's
shell (``runcmd``, ``rmtsh``) are never sent.

``xtime``, the station's clock, tells how late an uplink arrives: its distance to our clock is
smallest for the messages that were not held up. ``received_ms`` is set back by the difference, so
that no downlink is planned for a window that has passed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.forwarders.lateness import Lateness
from stoep_gateway.forwarders.links import Address, Link, Links, host_and_port
from stoep_gateway.forwarders.router_config import encode_router_config
from stoep_gateway.forwarders.station_messages import (
    ROUTER_PATH,
    UPLINKS,
    encode_dnmsg,
    encode_timesync,
    format_id6,
    parse_eui,
    read_uplink,
    router_uri,
)
from stoep_gateway.lns.channel_plan import Plan
from stoep_gateway.lns.frames import Rejected, Tick, Transmit, Transmitted, UplinkFrame, Window

__all__ = [
    "Action",
    "Alive",
    "BasicsStationServer",
    "CloseConnection",
    "Closed",
    "Connected",
    "Event",
    "SendText",
    "TextReceived",
]

MAX_TEXT = 8192  # an uplink of 255 octets takes less than 1 kB
MAX_DISCOVERING = 64
DISCOVERY_TIMEOUT_MS = 10_000
ALIVE_MS = 45_000  # two pings; the next one unanswered ends the connection
STAT_INTERVAL_MS = 30_000
PATIENCE_MS = 5_000
CLASS_C_TRIES_MS = 1_100  # how long the reference station tries at once: 11 times, 100 ms apart

_PROTOCOL: Final = "basics_station"
_DISCOVERY = "/router-info"
_MUXS = "0:0:0:1"
_NOT_CONNECTED = "NOT_CONNECTED"
_NO_CONTEXT = "NO_CONTEXT"
_NO_DNTXED = "NO_DNTXED"
_IGNORED = frozenset({"alarm", "event", "getxtime"})  # what some stations tell of themselves


@dataclass(frozen=True, slots=True)
class Connected:
    """A WebSocket was opened: its request's path, ``Host`` and ``Authorization`` ("" for none).

    ``secure``: over TLS; ``common_name`` is that of the certificate that the client proved to own.
    """

    connection: int
    path: str
    host: str
    address: Address
    authorization: str = ""
    secure: bool = False
    common_name: str | None = None


@dataclass(frozen=True, slots=True)
class TextReceived:
    """A text message."""

    connection: int
    text: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A ping was answered after ``round_trip_ms``."""

    connection: int
    round_trip_ms: float


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection has ended, whoever ended it."""

    connection: int


@dataclass(frozen=True, slots=True)
class SendText:
    """Send at once; ``for_air`` when it asks a gateway to transmit."""

    connection: int
    text: str
    for_air: bool = False


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close after what was sent before; ``why`` is for the other side, "" when all is well."""

    connection: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """Gateways left, came or ``changed``; ``tokens`` as for the server."""

    tokens: Mapping[bytes, str]
    changed: frozenset[bytes]


Event = Connected | TextReceived | Alive | Closed | Transmit | Reconfigured | Tick
Action = SendText | CloseConnection | UplinkFrame | GatewayStat | Transmitted | Rejected


@dataclass(slots=True)
class _Station:
    """A connection over which a registered gateway speaks."""

    connection: int
    link: Link
    address: Address
    lateness: Lateness
    heard_ms: int
    stat: dict[str, object] | None = None  # what it said of itself; None before its version
    next_stat_ms: int = 0
    uplinks: int = 0
    ordered: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class _Ordered:
    downlink_id: int
    window: Window
    fallback: Window | None
    deadline_ms: int


class BasicsStationServer:
    """All stations of one port.

    ``tokens`` are the ``Authorization`` headers by EUI; a gateway without one needs none. With
    ``client_certificates`` a certificate's common name has to be the EUI. Raises ``ValueError``
    for a plan that no gateway can hear.
    """

    def __init__(
        self,
        links: Links,
        plan: Plan,
        *,
        tokens: Mapping[bytes, str] | None = None,
        client_certificates: bool = False,
    ) -> None:
        encode_router_config(plan, 0, "", 0)
        self._links = links
        self._plan = plan
        self._tokens: Mapping[bytes, str] = tokens or {}
        self._client_certificates = client_certificates
        self._discovering: dict[int, tuple[Connected, int]] = {}
        self._stations: dict[int, _Station] = {}
        self._by_eui: dict[bytes, _Station] = {}
        self._lateness: dict[bytes, Lateness] = {}
        self._ordered: dict[tuple[bytes, int], _Ordered] = {}
        self._diid = 0
        self._decode_json: Callable[[str], Any] = json.JSONDecoder(
            parse_constant=_refuse_constant
        ).decode

    def handle(self, event: Event, now: int, utc_ms: int) -> list[Action]:
        """Take one event; ``now`` in milliseconds, and as UTC. Raises nothing, whatever comes."""
        if type(event) is TextReceived:
            return self._text(event, now, utc_ms)
        if type(event) is Transmit:
            return self._transmit(event, now, utc_ms)
        if type(event) is Connected:
            return self._connected(event, now)
        if type(event) is Closed:
            return self._closed(event.connection)
        if type(event) is Alive:
            return self._alive(event, now)
        if type(event) is Reconfigured:
            return self._reconfigured(event)
        return self._expire(now)

    def next_deadline(self) -> int | None:
        """Return when the next of all waits ends, in milliseconds."""
        deadlines = [order.deadline_ms for order in self._ordered.values()]
        deadlines += [deadline_ms for _, deadline_ms in self._discovering.values()]
        deadlines += [it.next_stat_ms for it in self._stations.values() if it.stat is not None]
        return min(deadlines, default=None)

    # Connections.

    def _connected(self, event: Connected, now: int) -> list[Action]:
        actions: list[Action] = []
        path = "/" + event.path.partition("?")[0].strip("/")
        if path == _DISCOVERY:
            if len(self._discovering) >= MAX_DISCOVERING:  # they have shown nothing: the oldest
                oldest = next(iter(self._discovering))
                del self._discovering[oldest]
                actions.append(CloseConnection(oldest, "too many connections"))
            self._discovering[event.connection] = (event, now + DISCOVERY_TIMEOUT_MS)
            return actions
        eui = parse_eui(path.removeprefix(ROUTER_PATH)) if path.startswith(ROUTER_PATH) else None
        if eui is None:
            return [
                Rejected("station_path", ascii(event.path)[:40]),
                CloseConnection(event.connection, "no such path"),
            ]
        refused = self._refused(eui, event, now)
        if refused is not None:
            return _turned_away(refused, event)
        before = self._by_eui.get(eui)
        if before is not None:
            if not self._may_displace(before, event, now):
                where = host_and_port(event.address)
                return _turned_away(Rejected("station_connected", where, eui), event)
            self._closed(before.connection)
            actions.append(CloseConnection(before.connection, "connected again"))
        station = _Station(
            event.connection,
            self._links[eui],
            event.address,
            self._lateness.setdefault(eui, Lateness()),
            now,
        )
        self._stations[event.connection] = self._by_eui[eui] = station
        return actions

    def _refused(self, eui: bytes, event: Connected, now: int) -> Rejected | None:
        """Return why a client is not the gateway that it says it is."""
        link = self._links.get(eui)
        if link is None:
            self._links.seen_unregistered(eui, _PROTOCOL, event.address, now)
            return Rejected("gateway_not_registered", eui.hex())
        if not link.may_come_from(str(event.address[0])):
            link.refuse(event.address, now)
            return Rejected("gateway_address", str(event.address[0]), eui)
        token = self._tokens.get(eui)
        if token is not None and not hmac.compare_digest(
            event.authorization.encode(errors="replace"), token.encode()
        ):
            return Rejected("station_token", eui.hex(), eui)
        if self._client_certificates and parse_eui(event.common_name) != eui:
            return Rejected("station_certificate", ascii(event.common_name)[:80], eui)
        return None

    def _may_displace(self, before: _Station, event: Connected, now: int) -> bool:
        """Whether a client may take its station's place: who could not prove it waits."""
        return (
            before.link.eui in self._tokens
            or self._client_certificates
            or event.address[0] == before.address[0]
            or now - before.heard_ms >= ALIVE_MS
        )

    def _closed(self, connection: int) -> list[Action]:
        self._discovering.pop(connection, None)
        station = self._stations.pop(connection, None)
        if station is not None:
            del self._by_eui[station.link.eui]
            if station.stat is not None:
                station.link.closed()  # the next pull opens it again if it speaks GWMP now
        return []

    def _reconfigured(self, event: Reconfigured) -> list[Action]:
        """Let stations that changed connect again, to be checked and told anew."""
        before, self._tokens = self._tokens, event.tokens
        again = [
            station
            for eui, station in self._by_eui.items()
            if eui in event.changed or before.get(eui) != event.tokens.get(eui)
        ]
        for station in again:
            self._closed(station.connection)
        return [CloseConnection(station.connection, "configured anew") for station in again]

    def _alive(self, event: Alive, now: int) -> list[Action]:
        station = self._stations.get(event.connection)
        if station is not None:
            station.link.last_seen_ms = station.heard_ms = now
            station.link.add_round_trip(event.round_trip_ms)
        return []

    # What comes up.

    def _text(self, event: TextReceived, now: int, utc_ms: int) -> list[Action]:
        discovering = self._discovering.pop(event.connection, None)
        if discovering is not None:
            return self._discovered(discovering[0], event.text, now)
        station = self._stations.get(event.connection)
        if station is None:
            return []  # on its way while we closed
        link = station.link
        if not link.bucket.take(now):
            return [Rejected("gateway_rate_limit", link.eui.hex(), link.eui)]
        link.last_seen_ms = station.heard_ms = now
        message = self._object(event.text)
        if message is None:
            return [Rejected("station_json", "", link.eui)]
        kind = message.get("msgtype")
        if not isinstance(kind, str):
            return [Rejected("station_msgtype", "", link.eui)]
        if kind in UPLINKS:
            return [self._uplink(station, message, now)]
        if kind == "dntxed":
            return [self._transmitted(station, message)]
        if kind == "timesync":
            txtime = message.get("txtime")
            if type(txtime) is not int:
                return [Rejected("station_fields", kind, link.eui)]
            return [SendText(station.connection, encode_timesync(txtime, utc_ms))]
        if kind == "version":
            return self._version(station, message, now, utc_ms)
        if kind in _IGNORED:
            return []
        return [Rejected("station_msgtype", ascii(kind)[:20], link.eui)]

    def _discovered(self, request: Connected, text: str, now: int) -> list[Action]:
        message = self._object(text)
        eui = None if message is None else parse_eui(message.get("router"))
        connection = request.connection
        if eui is None:
            return [
                Rejected("station_discovery"),
                CloseConnection(connection, "no router in the request"),
            ]
        actions: list[Action] = []
        answer: dict[str, object] = {"router": format_id6(eui)}
        refused = self._refused(eui, request, now)
        uri = router_uri(eui, request.host, secure=request.secure)
        if refused is not None:
            actions.append(refused)
            answer["error"] = refused.reason
        elif uri is None:
            actions.append(Rejected("station_host", ascii(request.host)[:80], eui))
            answer["error"] = "station_host"
        else:
            answer |= {"muxs": _MUXS, "uri": uri}
        actions.append(SendText(connection, json.dumps(answer, separators=(",", ":"))))
        actions.append(CloseConnection(connection))
        return actions

    def _version(
        self, station: _Station, message: Mapping[str, Any], now: int, utc_ms: int
    ) -> list[Action]:
        link = station.link
        station.stat = {
            name: message[name][:80].encode("ascii", "replace").decode()
            for name in ("station", "firmware", "package", "model", "features")
            if isinstance(message.get(name), str)
        }
        link.opened(_PROTOCOL, station.address, now)
        version = str(station.stat.get("station", ""))
        config = encode_router_config(self._plan, link.antenna_gain_dbi, version, utc_ms)
        return [SendText(station.connection, config), self._stat(station, now)]

    def _uplink(
        self, station: _Station, message: Mapping[str, Any], now: int
    ) -> UplinkFrame | Rejected:
        frame = read_uplink(message, station.link.eui, self._plan.region, now)
        if isinstance(frame, Rejected) or frame.context is None:
            return frame
        station.uplinks += 1
        xtime = frame.context[0]
        late_ms = station.lateness.of(xtime, now) if xtime else 0
        return replace(frame, received_ms=now - late_ms) if late_ms else frame

    def _transmitted(self, station: _Station, message: Mapping[str, Any]) -> Transmitted | Rejected:
        eui = station.link.eui
        diid = message.get("diid")
        ordered = self._ordered.pop((eui, diid), None) if type(diid) is int else None
        if ordered is None:
            return Rejected("station_dntxed_unasked", eui.hex(), eui)
        station.sent += 1
        used_fallback = _used_fallback(ordered, message.get("Freq"), message.get("DR"))
        return Transmitted(ordered.downlink_id, eui, "", used_fallback=used_fallback)

    # What goes down, and time.

    def _transmit(self, order: Transmit, now: int, utc_ms: int) -> list[Action]:
        eui = order.gateway_eui
        station = self._by_eui.get(eui)
        if station is None or station.stat is None:
            return [Transmitted(order.downlink_id, eui, _NOT_CONNECTED)]
        window = order.window
        # An xtime of 0 comes once in a clock's round, and as an order it means "none".
        if order.context is None or window is None or not (order.context[0] or order.at_once):
            return [Transmitted(order.downlink_id, eui, _NO_CONTEXT)]
        self._diid += 1
        station.ordered += 1
        last = order.fallback or window
        opens_ms = CLASS_C_TRIES_MS if order.at_once else last.delay_us // 1000
        self._ordered[eui, self._diid] = _Ordered(
            order.downlink_id, window, order.fallback, now + opens_ms + PATIENCE_MS
        )
        text = encode_dnmsg(order, order.context, window, self._diid, utc_ms)
        return [SendText(station.connection, text, for_air=True)]

    def _expire(self, now: int) -> list[Action]:
        actions: list[Action] = []
        for connection, (_, deadline_ms) in list(self._discovering.items()):
            if deadline_ms <= now:
                del self._discovering[connection]
                actions.append(CloseConnection(connection, "no request came"))
        for key, ordered in list(self._ordered.items()):
            if ordered.deadline_ms <= now:
                del self._ordered[key]
                actions.append(Transmitted(ordered.downlink_id, key[0], _NO_DNTXED))
        actions += [
            self._stat(station, now)
            for station in self._stations.values()
            if station.stat is not None and station.next_stat_ms <= now
        ]
        return actions

    def _stat(self, station: _Station, now: int) -> GatewayStat:
        """Return what a forwarder of the other protocol would tell by itself."""
        station.next_stat_ms = now + STAT_INTERVAL_MS
        stat = {
            **(station.stat or {}),
            "rxfw": station.uplinks,
            "dwnb": station.ordered,
            "txnb": station.sent,
        }
        station.uplinks = station.ordered = station.sent = 0
        return GatewayStat(station.link.eui, stat)

    def _object(self, text: str) -> dict[str, Any] | None:
        if len(text) > MAX_TEXT:
            return None
        try:
            message = self._decode_json(text)
        except (ValueError, RecursionError):
            return None
        return message if type(message) is dict else None


def _used_fallback(ordered: _Ordered, freq_hz: object, dr: object) -> bool:
    fallback = ordered.fallback
    if fallback is None or freq_hz != fallback.freq_hz:
        return False
    if freq_hz != ordered.window.freq_hz:
        return True
    return dr == fallback.dr != ordered.window.dr


def _turned_away(why: Rejected, event: Connected) -> list[Action]:
    return [why, CloseConnection(event.connection, why.reason)]


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")

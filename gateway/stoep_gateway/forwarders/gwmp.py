"""Semtech's gateway message protocol, version 2, server side, as a machine without input or output.

::

    forwarder                          here
    PUSH_DATA token eui json  ──────▶  PUSH_ACK at once, then UplinkFrame, GatewayStat or Rejected
    PULL_DATA token eui       ──────▶  PULL_ACK; its address is where downlinks go
                              ◀──────  PULL_RESP token json(txpk)        for each Transmit
    TX_ACK    token eui json? ──────▶  Transmitted(error or "")

    octets: 02 | token(2) | identifier | gateway EUI(8), from a forwarder | JSON

The frame layout is that of PROTOCOL.TXT in Semtech's packet_forwarder, with what real forwarders
add: a reception's base64 may lack padding, a TX_ACK may carry a single 0x00 or nothing instead of
JSON and may come from the upstream socket, so it is matched by token and EUI and not by address.

Only registered gateways are answered, and only at the addresses that they may come from. UDP is
unauthenticated: size limits and a rate limit per gateway and host, to which receptions beyond the
first of a datagram add, bound what one sender can cost and how far a forger gets.
"""

from __future__ import annotations

import json
import math
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from stoep_gateway.forwarders.links import Address, Link, Links, host_and_port
from stoep_gateway.lns.frames import Rejected, Tick, Transmit, Transmitted, UplinkFrame
from stoep_gateway.values import value

__all__ = [
    "Action",
    "DatagramReceived",
    "Event",
    "GatewayStat",
    "GwmpServer",
    "SendDatagram",
]

PUSH_DATA, PUSH_ACK, PULL_DATA, PULL_RESP, PULL_ACK, TX_ACK = range(6)

VERSION = 2
MAX_DATAGRAM = 32_768  # a backlog of 52 receptions in one datagram takes 13 kB
MAX_RECEPTIONS = 256
RECEPTIONS_PER_DATAGRAM = 16  # of the rate limit: a backlog of some thousands is no flood
MAX_PHY_PAYLOAD = 255
TX_ACK_TIMEOUT_MS = 10_000

_HEADER = 4
_WITH_EUI = 12
_CRC_OK, _CRC_NONE = 1, 0
_NO_TX_ACK = "NO_TX_ACK"
_NOT_CONNECTED = "NOT_CONNECTED"
_UNKNOWN = "UNKNOWN"
# What forwarders say of a PULL_RESP; any other word becomes UNKNOWN, for it ends up as a label.
_TX_ERRORS = frozenset(
    {
        "COLLISION_BEACON",
        "COLLISION_PACKET",
        "GPS_UNLOCKED",
        "TOO_EARLY",
        "TOO_LATE",
        "TX_FREQ",
        "TX_POWER",
    }
)
_ANSWERS = {PUSH_DATA: PUSH_ACK, PULL_DATA: PULL_ACK}
_LORA_RATES = {f"SF{sf}BW{bw}": (sf, bw * 1000) for sf in range(5, 13) for bw in (125, 250, 500)}


@value
class DatagramReceived:
    """A datagram and where it came from."""

    data: bytes
    address: Address


@value
class SendDatagram:
    """Send at once; ``for_air`` when it asks a gateway to transmit."""

    data: bytes
    address: Address
    for_air: bool = False


@dataclass(frozen=True, slots=True)
class GatewayStat:
    """A gateway's own account, sent every half minute: the plain values of ``stat`` as received.

    Lists and tables are left out.
    """

    gateway_eui: bytes
    stat: dict[str, object]


Event = DatagramReceived | Transmit | Tick
Action = SendDatagram | UplinkFrame | GatewayStat | Transmitted | Rejected


class GwmpServer:
    """All forwarders of one UDP port."""

    def __init__(self, links: Links | Iterable[bytes]) -> None:
        self.links = links if isinstance(links, Links) else Links(map(Link, links))
        self._awaited: dict[tuple[bytes, bytes], tuple[int, int]] = {}
        self._token = 0

    def handle(self, event: Event, now: int) -> list[Action]:
        """Take one event; ``now`` in milliseconds. Raises nothing, whatever the bytes are."""
        if type(event) is DatagramReceived:
            return self._datagram(event.data, event.address, now)
        if type(event) is Transmit:
            return self._transmit(event, now)
        return self._expire(now)

    def next_deadline(self) -> int | None:
        """Return when the oldest unanswered PULL_RESP is given up, in milliseconds."""
        for _, deadline in self._awaited.values():
            return deadline  # all wait equally long, so the first one is the oldest
        return None

    def _datagram(self, data: bytes, address: Address, now: int) -> list[Action]:
        length = len(data)
        if length < _WITH_EUI:
            return [Rejected("gwmp_truncated")]
        if length > MAX_DATAGRAM:
            return [Rejected("gwmp_too_long")]
        if data[0] != VERSION:
            return [Rejected("gwmp_version", str(data[0]))]
        kind = data[3]
        eui = data[_HEADER:_WITH_EUI]
        if kind not in (PUSH_DATA, PULL_DATA, TX_ACK):
            return [Rejected("gwmp_identifier", str(kind))]
        link = self.links.get(eui)
        if link is None:
            self.links.seen_unregistered(eui, "gwmp", address, now)
            return [Rejected("gateway_not_registered", _who(eui, address))]
        bucket = link.bucket_of(address[0], now)
        if bucket is None:
            link.refuse(address, now)
            return [Rejected("gateway_address", _who(eui, address), eui)]
        if not bucket.take(now):
            return [Rejected("gateway_rate_limit", _who(eui, address), eui)]
        link.protocol = "gwmp"
        link.peer = address
        link.last_seen_ms = now
        if kind == TX_ACK:
            return [self._tx_ack(data, link, now)]
        actions: list[Action] = [
            SendDatagram(bytes((VERSION, data[1], data[2], _ANSWERS[kind])), address)
        ]
        if kind == PULL_DATA:
            link.pulled(address, now)
        else:
            link.last_push_ms = now
            receptions = self._push_data(data, link.eui, now, actions)
            if receptions > 1:
                bucket.charge((receptions - 1) / RECEPTIONS_PER_DATAGRAM)
        return actions

    def _push_data(self, data: bytes, eui: bytes, now: int, actions: list[Action]) -> int:
        """Add what a PUSH_DATA says to the actions; return how many receptions it has."""
        try:
            body = orjson.loads(data[_WITH_EUI:])
        except ValueError as error:
            actions.append(Rejected("gwmp_json", str(error)[:80], eui))
            return 0
        if type(body) is not dict:
            actions.append(Rejected("gwmp_json", "not an object", eui))
            return 0
        count = 0
        receptions = body.get("rxpk")
        if receptions is not None:
            if type(receptions) is not list or len(receptions) > MAX_RECEPTIONS:
                actions.append(Rejected("gwmp_rxpk", "no list, or too long", eui))
            else:
                for rxpk in receptions:
                    actions.append(_uplink_frame(rxpk, eui, now))  # noqa: PERF401 (hot path)
                count = len(receptions)
        stat = body.get("stat")
        if stat is not None:
            if type(stat) is dict:
                plain: dict[str, object] = {
                    name: value
                    for name, value in stat.items()
                    if isinstance(value, str | int | float)
                }
                actions.append(GatewayStat(eui, plain))
            else:
                actions.append(Rejected("gwmp_stat", "not an object", eui))
        return count

    def _transmit(self, order: Transmit, now: int) -> list[Action]:
        link = self.links.get(order.gateway_eui)
        if link is None or link.pull_address is None or not link.connected(now):
            return [Transmitted(order.downlink_id, order.gateway_eui, _NOT_CONNECTED)]
        self._token = (self._token + 1) & 0xFFFF
        token = self._token.to_bytes(2, "big")
        self._awaited.pop((order.gateway_eui, token), None)
        self._awaited[order.gateway_eui, token] = (order.downlink_id, now + TX_ACK_TIMEOUT_MS)
        data = bytes((VERSION, *token, PULL_RESP)) + encode_txpk(order, link.antenna_gain_dbi)
        return [SendDatagram(data, link.pull_address, for_air=True)]

    def _tx_ack(self, data: bytes, link: Link, now: int) -> Action:
        eui = link.eui
        awaited = self._awaited.pop((eui, data[1:3]), None)
        if awaited is None:
            return Rejected("gwmp_tx_ack_unasked", eui.hex(), eui)
        downlink_id, deadline = awaited
        link.add_round_trip(now - (deadline - TX_ACK_TIMEOUT_MS))
        try:
            error, warning = parse_tx_ack(data)
        except ValueError:
            error, warning = _UNKNOWN, ""
        return Transmitted(downlink_id, eui, error, warning)

    def _expire(self, now: int) -> list[Action]:
        actions: list[Action] = []
        for key, (downlink_id, deadline) in list(self._awaited.items()):
            if deadline > now:
                break
            del self._awaited[key]
            actions.append(Transmitted(downlink_id, key[0], _NO_TX_ACK))
        return actions


def encode_txpk(order: Transmit, antenna_gain_dbi: float = 0.0) -> bytes:
    """Return the JSON of a PULL_RESP: inverted polarity, no CRC, as LoRaWAN downlinks are.

    ``powe`` is what the antenna is fed with, in whole dBm and not below 0 (PROTOCOL.TXT, section
    6), rounded down so that the EIRP is not exceeded.
    """
    txpk = {
        **({"imme": True} if order.at_once else {"imme": False, "tmst": order.tmst_us}),
        "freq": order.freq_hz / 1_000_000,
        "rfch": 0,
        "powe": max(0, math.floor(order.power_dbm - antenna_gain_dbi)),
        "modu": "LORA",
        "datr": f"SF{order.sf}BW{order.bw_hz // 1000}",
        "codr": "4/5",
        "ipol": True,
        "ncrc": True,
        "prea": 8,
        "size": len(order.phy_payload),
        "data": b2a_base64(order.phy_payload, newline=False).decode(),
    }
    return json.dumps({"txpk": txpk}, separators=(",", ":")).encode()


def parse_tx_ack(data: bytes) -> tuple[str, str]:
    """Return ``(error, warning)`` of a whole TX_ACK datagram, both empty for success.

    Raises ``ValueError`` when there is a body that is no TX_ACK's JSON.
    """
    body = data[_WITH_EUI:].strip(b"\x00 \r\n\t")
    if not body:
        return "", ""
    try:
        told = json.loads(body)["txpk_ack"]
        error, warning = str(told.get("error", "NONE")), str(told.get("warn", ""))
    except (KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise ValueError("no txpk_ack") from problem
    return _known(error), _known(warning)


def _who(eui: bytes, address: Address) -> str:
    return f"{eui.hex()} from {host_and_port(address)}"


def _known(word: str) -> str:
    if word in ("", "NONE"):
        return ""
    return word if word in _TX_ERRORS else _UNKNOWN


def _uplink_frame(rxpk: Any, eui: bytes, now: int) -> UplinkFrame | Rejected:
    try:
        status = rxpk.get("stat", _CRC_OK)
        if status != _CRC_OK:
            return Rejected("rxpk_no_crc" if status == _CRC_NONE else "rxpk_crc", "", eui)
        rate = _LORA_RATES.get(rxpk["datr"])
        if rate is None or rxpk.get("modu", "LORA") != "LORA":
            return Rejected("rxpk_modulation", ascii(rxpk["datr"])[:20], eui)
        text = rxpk["data"]
        phy_payload = a2b_base64(text + "===="[len(text) % 4 or 4 :], strict_mode=True)
        freq_hz = round(rxpk["freq"] * 1e6)  # an int would make gigabytes of a long text
        tmst_us = rxpk["tmst"]
        rssi_dbm = float(rxpk["rssi"])
        snr_db = float(rxpk["lsnr"])
    except (Base64Error, ValueError):
        return Rejected("rxpk_base64", "", eui)
    except (AttributeError, KeyError, TypeError, OverflowError):
        return Rejected("rxpk_fields", "", eui)
    if (
        type(tmst_us) is not int
        or not 0 <= tmst_us <= 0xFFFFFFFF
        or not 0 < freq_hz < 10_000_000_000
        or not -250 < rssi_dbm < 50
        or not -50 < snr_db < 50
    ):
        return Rejected("rxpk_range", "", eui)
    if not phy_payload or len(phy_payload) > MAX_PHY_PAYLOAD:
        return Rejected("rxpk_size", "", eui)
    return UplinkFrame(phy_payload, eui, tmst_us, freq_hz, rate[0], rate[1], rssi_dbm, snr_db, now)

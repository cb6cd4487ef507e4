"""What Basics Station's LNS protocol writes: EUIs, uplinks in pieces, downlinks. Pure.

A station takes a LoRaWAN frame apart into JSON fields, so the PHYPayload has to be put together
again before its MIC can be checked. DevAddr and MIC are signed 32-bit numbers there, an absent
FPort is -1. The fields and what the reference station (lorabasics/basicstation) makes of them are
those of its ``lora.c`` and ``s2e.c``.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from stoep_protocol.lorawan.regions import Region

from stoep_gateway.lns.frames import Rejected, Transmit, UplinkFrame, Window
from stoep_gateway.lns.gps_time import gps_ms

__all__ = [
    "ROUTER_PATH",
    "UPLINKS",
    "encode_dnmsg",
    "encode_timesync",
    "format_id6",
    "parse_eui",
    "read_uplink",
    "router_uri",
    "token_of",
]

ROUTER_PATH = "/router/"
MAX_PHY_PAYLOAD = 255
MAX_RX_DELAY_S = 15
MAX_URI = 127  # what the reference station has room for

_SECOND_US = 1_000_000
_SOME_DEV_EUI = bytes(7) + b"\x01"  # a station tells the end of no downlink for DevEUI 0
_EUI = re.compile(r"[0-9a-f]{16}|[0-9a-f]{2}(-[0-9a-f]{2}){7}|[0-9a-f]{2}(:[0-9a-f]{2}){7}")
_GROUP = re.compile(r"[0-9a-f]{1,4}")
_LONGEST_EUI = 32
_AUTHORIZATION = "authorization:"
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.IGNORECASE)
_BARE_IPV6 = re.compile(r"([0-9a-f:.]*:[0-9a-f:.]*):([0-9]{1,5})", re.IGNORECASE)


def parse_eui(value: object) -> bytes | None:
    """Return the 8 octets of an EUI, None if it is none.

    It may be a number, 16 digits, octets between dashes or colons, each with "eui-" before it, or
    ID6: four groups of 16 bits, of which "::" leaves out those that are 0.
    """
    if type(value) is int:
        return (value & 2**64 - 1).to_bytes(8, "big") if -(2**63) <= value < 2**64 else None
    if not isinstance(value, str) or len(value) > _LONGEST_EUI:
        return None
    text = value.strip().lower().removeprefix("eui-")
    if _EUI.fullmatch(text):
        return bytes.fromhex(text.replace("-", "").replace(":", ""))
    head, gap, tail = text.partition("::")
    groups = head.split(":") if head else []
    if gap:
        last = tail.split(":") if tail else []
        groups += ["0"] * max(1, 4 - len(groups) - len(last)) + last
    if len(groups) != 4 or not all(map(_GROUP.fullmatch, groups)):
        return None
    return b"".join(int(group, 16).to_bytes(2, "big") for group in groups)


def format_id6(eui: bytes) -> str:
    """Return an EUI as four groups of 16 bits."""
    return ":".join(f"{group:x}" for group in struct.unpack(">4H", eui))


def router_uri(eui: bytes, host: str, *, secure: bool) -> str | None:
    """Return where a station goes after discovery, None if its ``Host`` header is of no use.

    It is the name and port that it came by, so that port forwarding and DNS work as they did. A
    port has to be named. The reference station writes an IPv6 address without brackets.
    """
    bare = _BARE_IPV6.fullmatch(host)
    if bare is not None:
        host = f"[{bare[1]}]:{bare[2]}"
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    if match[2] is None:
        host += ":443" if secure else ":80"
    uri = f"{'wss' if secure else 'ws'}://{host}{ROUTER_PATH}{eui.hex()}"
    return uri if len(uri) <= MAX_URI else None


def read_uplink(
    message: Mapping[str, Any], gateway_eui: bytes, region: Region, received_ms: int
) -> UplinkFrame | Rejected:
    """Return the reception that a ``jreq``, ``updf`` or ``propdf`` tells of."""
    try:
        phy_payload = _PHY_PAYLOADS[message["msgtype"]](message)
        dr = _integer(message["DR"], 0, 15)
        freq_hz = _integer(message["Freq"], 1, 10_000_000_000)
        info = message["upinfo"]
        xtime = _integer(info["xtime"], -(2**63), 2**63 - 1)
        rctx = _integer(info["rctx"], -(2**63), 2**63 - 1)
        rssi_dbm = float(info["rssi"])
        snr_db = float(info["snr"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return Rejected("station_fields", "", gateway_eui)
    if not region.has_data_rate(dr):
        return Rejected("station_data_rate", str(dr), gateway_eui)
    if not -250 < rssi_dbm < 50 or not -50 < snr_db < 50:
        return Rejected("station_range", "", gateway_eui)
    if not 0 < len(phy_payload) <= MAX_PHY_PAYLOAD:
        return Rejected("station_size", "", gateway_eui)
    sf, bw_hz = region.data_rate(dr)
    return UplinkFrame(
        phy_payload,
        gateway_eui,
        xtime & 0xFFFF_FFFF,  # xtime's lower 48 bits are the concentrator's counter, extended
        freq_hz,
        sf,
        bw_hz,
        rssi_dbm,
        snr_db,
        received_ms,
        (xtime, rctx),
    )


def encode_dnmsg(
    order: Transmit, context: tuple[int, int], window: Window, diid: int, utc_ms: int
) -> str:
    """Return the order to send, in ``window`` or else, as the station decides, in the fallback.

    ``RxDelay`` goes up to 15 s and RX2 follows a second later, so a window 16 s away can only be
    RX2. A fallback that is not a second later is left out.
    """
    xtime, rctx = context
    message: dict[str, object] = {
        "msgtype": "dnmsg",
        "DevEui": (order.dev_eui if any(order.dev_eui) else _SOME_DEV_EUI).hex("-"),
        "dC": 2 if order.at_once else 0,
        "diid": diid,
        "pdu": order.phy_payload.hex(),
        "priority": min(max(order.priority, 0), 255),
        "rctx": rctx,
        "MuxTime": utc_ms / 1000,
    }
    delay_s = window.delay_us // _SECOND_US
    fallback = order.fallback
    if order.at_once:
        message |= {"RxDelay": 1, "RX2DR": window.dr, "RX2Freq": window.freq_hz}
    elif delay_s > MAX_RX_DELAY_S:
        message |= {
            "xtime": xtime,
            "RxDelay": delay_s - 1,
            "RX2DR": window.dr,
            "RX2Freq": window.freq_hz,
        }
    else:
        message |= {
            "xtime": xtime,
            "RxDelay": delay_s,
            "RX1DR": window.dr,
            "RX1Freq": window.freq_hz,
        }
        if fallback is not None and fallback.delay_us - window.delay_us == _SECOND_US:
            message |= {"RX2DR": fallback.dr, "RX2Freq": fallback.freq_hz}
    return _dumps(message)


def encode_timesync(txtime: int, utc_ms: int) -> str:
    """Return the answer to a station that asks for the time, GPS time in microseconds."""
    return _dumps(
        {
            "msgtype": "timesync",
            "txtime": txtime,
            "gpstime": 1000 * gps_ms(utc_ms),
            "MuxTime": utc_ms / 1000,
        }
    )


def _dumps(message: Mapping[str, object]) -> str:
    return json.dumps(message, separators=(",", ":"))


def _integer(value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError("out of range")
    return value


def _int32(value: object) -> int:
    return _integer(value, -(2**31), 2**32 - 1) & 0xFFFF_FFFF


def _eui_le(value: object) -> bytes:
    eui = parse_eui(value)
    if eui is None:
        raise ValueError("no EUI")
    return eui[::-1]


def _join_request(message: Mapping[str, Any]) -> bytes:
    return (
        bytes((_integer(message["MHdr"], 0, 255),))
        + _eui_le(message["JoinEui"])
        + _eui_le(message["DevEui"])
        + struct.pack("<HI", _integer(message["DevNonce"], 0, 0xFFFF), _int32(message["MIC"]))
    )


def _data_frame(message: Mapping[str, Any]) -> bytes:
    f_port = _integer(message["FPort"], -1, 255)
    frm_payload = bytes.fromhex(message["FRMPayload"])
    if f_port < 0 and frm_payload:
        raise ValueError("FRMPayload without FPort")
    return b"".join(
        (
            struct.pack(
                "<BIBH",
                _integer(message["MHdr"], 0, 255),
                _int32(message["DevAddr"]),
                _integer(message["FCtrl"], 0, 255),
                _integer(message["FCnt"], 0, 0xFFFF),
            ),
            bytes.fromhex(message["FOpts"]),
            b"" if f_port < 0 else bytes((f_port,)),
            frm_payload,
            struct.pack("<I", _int32(message["MIC"])),
        )
    )


def _whole_frame(message: Mapping[str, Any]) -> bytes:
    return bytes.fromhex(message["FRMPayload"])


_PHY_PAYLOADS: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "jreq": _join_request,
    "updf": _data_frame,
    "propdf": _whole_frame,
}
UPLINKS = frozenset(_PHY_PAYLOADS)


def token_of(text: str) -> str:
    """Return the value of the ``Authorization`` header that a token file holds.

    The file may name the header, among others, as the one on the station (``tc.key``) does.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if line.lower().startswith(_AUTHORIZATION):
            return line[len(_AUTHORIZATION) :].strip()
    return lines[0] if lines else ""

"""Takes JSON of another network server apart, with suspicion. Pure.

Both servers leave out what is zero, empty or false, and write some integers as strings. Whatever is
there has to be of its kind: everything here raises ``RemoteProtocolError`` otherwise.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
from typing import Any

import orjson

from stoep_gateway.errors import RemoteProtocolError

__all__ = [
    "eui",
    "flag",
    "members",
    "number",
    "objects",
    "octets",
    "parse",
    "text",
    "utc_ms",
    "whole",
]

MAX_PAYLOAD = 262_144  # octets; an uplink heard by many gateways has a few thousand
_MAX_TEXT = 256
_MAX_OCTETS = 255
_EUI = re.compile(r"[0-9a-fA-F]{16}")
_DIGITS = re.compile(r"-?[0-9]{1,19}")

Members = dict[str, Any]


def malformed(detail: str) -> RemoteProtocolError:
    """Return the error of a message that is not what its server documents."""
    return RemoteProtocolError("source_malformed", detail)


def parse(payload: bytes) -> Members:
    """Return a payload's members."""
    if len(payload) > MAX_PAYLOAD:
        raise RemoteProtocolError("source_too_large", f"{len(payload)} octets")
    try:
        value = orjson.loads(payload)  # which refuses text that cannot be written: lone surrogates
    except ValueError as error:
        raise malformed("not JSON, is the integration set to Protobuf?") from error
    if not isinstance(value, dict):
        raise malformed("not a JSON object")
    return value


def members(owner: Members, name: str) -> Members:
    """Return the object ``name``, an empty one when it is absent."""
    value = owner.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise malformed(f"{name} is not an object")
    return value


def objects(owner: Members, name: str) -> list[Members]:
    """Return the objects of the list ``name``, none when it is absent."""
    value = owner.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise malformed(f"{name} is not a list of objects")
    return value


def text(owner: Members, name: str) -> str:
    """Return a string, cut to 256 characters; empty when it is absent."""
    value = owner.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise malformed(f"{name} is not a string")
    return value[:_MAX_TEXT]


def whole(owner: Members, name: str, low: int, high: int) -> int:
    """Return an integer or a string of digits, 0 when it is absent."""
    value = owner.get(name)
    if value is None:
        return 0
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise malformed(f"{name} is not an integer from {low} to {high}")
    return value


def number(owner: Members, name: str) -> float:
    """Return a finite number, 0 when it is absent."""
    value = owner.get(name)
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e9:
        raise malformed(f"{name} is not a number")
    assert math.isfinite(value)
    return float(value)


def flag(owner: Members, name: str) -> bool:
    """Return a boolean, False when it is absent."""
    value = owner.get(name)
    if value is not None and not isinstance(value, bool):
        raise malformed(f"{name} is not true or false")
    return bool(value)


def octets(owner: Members, name: str) -> bytes:
    """Return what base64 stands for, nothing when it is absent."""
    value = owner.get(name)
    if value is None:
        return b""
    try:
        decoded = base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise malformed(f"{name} is not base64") from error
    if len(decoded) > _MAX_OCTETS:
        raise malformed(f"{name} is longer than any LoRaWAN frame")
    return decoded


def utc_ms(owner: Members, name: str) -> int | None:
    """Return an RFC 3339 time as milliseconds since 1970, None when it is absent."""
    value = owner.get(name)
    if value is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise malformed(f"{name} is not a time") from error
    if moment.tzinfo is None:
        raise malformed(f"{name} has no time zone")
    return round(moment.timestamp() * 1000)


def eui(owner: Members, name: str) -> bytes | None:
    """Return an EUI of 16 hexadecimal digits, None when it is absent."""
    value = owner.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or _EUI.fullmatch(value) is None:
        raise malformed(f"{name} is not 16 hexadecimal digits")
    return bytes.fromhex(value)

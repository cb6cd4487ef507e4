"""Times in a message that was made while UTC was provisional, moved to where they belong. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from stoep_gateway.publish.messages import utc

__all__ = ["corrected"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)


def corrected(payload: bytes, from_utc_ms: int, by_ms: int) -> bytes:
    """Return a message with its UTC times from ``from_utc_ms`` on moved by ``by_ms``.

    What is no JSON stays as it is.
    """
    try:
        values = orjson.loads(payload)
    except ValueError:
        return payload
    return orjson.dumps(_moved(values, from_utc_ms, by_ms))


def _moved(value: Any, from_utc_ms: int, by_ms: int) -> Any:
    if isinstance(value, dict):
        return {key: _moved(it, from_utc_ms, by_ms) for key, it in value.items()}
    if isinstance(value, list):
        return [_moved(it, from_utc_ms, by_ms) for it in value]
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            at = datetime.fromisoformat(value.removesuffix("Z")).replace(tzinfo=UTC)
        except ValueError:
            return value
        at_ms = round(at.timestamp() * 1000)
        return utc(at_ms + by_ms) if at_ms >= from_utc_ms else value
    return value

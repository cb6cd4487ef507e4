"""A small configured street for tests of what the gateway makes of uplinks."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import stoep_gateway.publish
from stoep_gateway import config
from stoep_gateway.assets import registry
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.publish.topics import UplinkMeta

SCHEMAS = Path(stoep_gateway.publish.__file__).with_name("schemas")
START_MS = 1_792_461_600_000  # 2026-10-20T02:00:00Z
HOUR_MS = 3_600_000


@cache
def example() -> config.Config:
    """Return the example configuration."""
    return config.load(Path(stoep_gateway.__file__).with_name("example.toml"))


@cache
def street() -> registry.Registry:
    """Return its registry view."""
    return registry.build(example())


def device(number: int) -> registry.Device:
    """Return a device: 1 and 2 stand in containers, 3 on a bay."""
    return street().devices[bytes.fromhex(f"70b3d57ed000{number:04x}")]


def meta(received_ms: int = START_MS, event_id: str = "e") -> UplinkMeta:
    """Return how an uplink was heard."""
    return UplinkMeta(event_id, received_ms, 7, 5, -97.0, 6.5, 2)


@cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(schema, format_checker=checker)


def checked(message: OutboxMessage) -> dict[str, Any]:
    """Return a message's values, which fit the schema of its kind and what all have in common."""
    values: dict[str, Any] = json.loads(message.payload)
    _validator(message.kind).validate(values)
    assert values["event_id"] == message.event_id
    assert message.topic.startswith("stoep/v1/")
    assert not set("+#\0") & set(message.topic)
    is_event = message.topic.endswith(("/event", "/answer"))
    assert message.retain is not is_event
    return values

"""What Home Assistant is told to find: one discovery message per thing. Pure.

"Device discovery" of Home Assistant's MQTT integration: a retained message under
``<prefix>/device/<id>/config`` names a device and its entities, each a template over a topic that
we publish anyway. An empty one takes the device away. Containers and bays are devices of their own,
reached ``via`` the sensor board that stands for them.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from typing import Any

import orjson

from stoep_gateway.assets.registry import TOPIC_ROOT, Bay, Container, Device, Gateway, Registry

__all__ = ["Thing", "identifier_of", "message", "things", "topic"]

Thing = Container | Bay | Device | Gateway

_Entity = dict[str, Any]

_ORIGIN = {"name": "Stoep"}
_MANUFACTURER = "Stoep"
_DAY_S = 86_400
_HEARTBEATS = 3
_NOT_IN_TOPIC = re.compile(r"[^A-Za-z0-9_-]")  # Home Assistant takes no others
_NOT_IN_ENTITY = re.compile(r"[^a-z0-9]+")
_PLACE = "{{ {'latitude': value_json.lat, 'longitude': value_json.lon} | tojson }}"
_REASON = "{{ {'reason': value_json.reason} | tojson }}"


def things(registry: Registry) -> dict[str, Thing]:
    """Return all that there is to announce, by identifier."""
    site = registry.site
    found: dict[str, Thing] = {}
    for thing in (
        *registry.gateways.values(),
        *registry.devices.values(),
        *registry.assets.values(),
    ):
        found[_identifier(site, thing)] = thing
    return found


def topic(prefix: str, identifier: str) -> str:
    """Return the topic of a thing's discovery message; what may not stand there is replaced."""
    node = _NOT_IN_TOPIC.sub("-", identifier)
    if "." in identifier:  # a.b is not a-b
        node = f"{node}-{zlib.crc32(identifier.encode()):08x}"
    return f"{prefix}/device/{node}/config"


def identifier_of(payload: bytes, site: str) -> str | None:
    """Return whom a discovery message announces, None if it is not one of ours of this site."""
    try:
        announced = json.loads(payload)
        (identifier,) = announced["device"]["identifiers"]
        ours = announced["origin"]["name"] == _ORIGIN["name"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if ours and isinstance(identifier, str) and identifier.startswith(f"stoep/{site}/"):
        return identifier
    return None


def message(registry: Registry, thing: Thing, interval_s: Callable[[Device], int | None]) -> bytes:
    """Return the discovery message of a thing.

    ``interval_s`` tells how often a board reports, None where it is not known; an entity expires
    when three reports are missing, at least three days since a board with a low cell reports daily.
    """
    identifier = _identifier(registry.site, thing)
    fixed = json.loads(f"{{{thing.fixed_json}}}")
    availability = [_availability(f"{TOPIC_ROOT}/{registry.site}/availability")]
    if isinstance(thing, Gateway):
        state_topic, device, entities = thing.state_topic, _gateway(thing, fixed), _GATEWAY
    else:
        board = thing if isinstance(thing, Device) else registry.device_of(thing.key)
        if isinstance(thing, Container):
            state_topic, device, entities = thing.state_topic, _container(fixed), _CONTAINER
        elif isinstance(thing, Bay):
            state_topic, device, entities = thing.state_topic, _bay(fixed), _BAY
        else:
            state_topic, device, entities = thing.status_topic, _board(thing, fixed), _BOARD
        if board is not None:
            if board is not thing:
                device["via_device"] = _identifier(registry.site, board)
            seconds = _HEARTBEATS * max(_DAY_S, interval_s(board) or 0)
            entities = {key: it | {"expire_after": seconds} for key, it in entities.items()}
            of_board = f"{TOPIC_ROOT}/{registry.site}/device/{board.dev_eui_hex}/availability"
            if board is thing:
                entities["connectivity"] = _CONNECTIVITY | {
                    "state_topic": of_board,
                    "availability": availability,
                }
            availability = [*availability, _availability(of_board)]
    attributes = {"json_attributes_topic": state_topic}
    slug = _NOT_IN_ENTITY.sub("_", identifier.lower())
    return orjson.dumps(
        {
            "device": {"identifiers": [identifier], "manufacturer": _MANUFACTURER, **device},
            "origin": _ORIGIN,
            "state_topic": state_topic,
            "availability": availability,
            "availability_mode": "all",
            "qos": 1,
            "components": {
                key: it
                | (attributes if "json_attributes_template" in it else {})
                | {
                    "unique_id": f"{identifier}/{key}",
                    "default_entity_id": f"{it['platform']}.{slug}_{key}",
                }
                for key, it in entities.items()
            },
        }
    )


def _identifier(site: str, thing: Thing) -> str:
    if isinstance(thing, Gateway):
        return f"stoep/{site}/gateway/{thing.id}"
    return f"stoep/{site}/{thing.key}"


def _availability(topic: str) -> dict[str, str]:
    return {"topic": topic, "value_template": "{{ value_json.state }}"}


def _container(fixed: dict[str, Any]) -> dict[str, Any]:
    return {"name": fixed["name"], "model": f"{fixed['kind']}, {fixed['fraction']}"}


def _bay(fixed: dict[str, Any]) -> dict[str, Any]:
    return {"name": fixed["name"], "model": "parking bay", "suggested_area": fixed["street"]}


def _board(device: Device, fixed: dict[str, Any]) -> dict[str, Any]:
    return {"name": fixed["name"], "model": "sensor board", "serial_number": device.dev_eui_hex}


def _gateway(gateway: Gateway, fixed: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": fixed["gateway"],
        "model": "LoRaWAN gateway",
        "serial_number": fixed["gateway_eui"],
    }


def _sensor(name: str, template: str, **options: object) -> _Entity:
    return {"platform": "sensor", "name": name, "value_template": f"{{{{ {template} }}}}"} | options


def _binary(name: str, template: str, device_class: str | None, **options: object) -> _Entity:
    """Return a binary sensor; ``template`` yields true, false, or none where it is not known."""
    value = f"{{{{ {{true: 'ON', false: 'OFF'}}.get({template}) }}}}"
    entity = {"platform": "binary_sensor", "name": name, "value_template": value} | options
    return entity if device_class is None else entity | {"device_class": device_class}


def _number(name: str, template: str, unit: str | None, **options: object) -> _Entity:
    """Return a sensor of something measured."""
    measured: dict[str, object] = {"state_class": "measurement"}
    if unit is not None:
        measured["unit_of_measurement"] = unit
    return _sensor(name, template, **measured | options)


_DIAGNOSTIC = {"entity_category": "diagnostic"}
_SIGNAL = {
    "rssi": _number(
        "Signal",
        "value_json.radio.rssi_dbm",
        "dBm",
        device_class="signal_strength",
        **_DIAGNOSTIC,
    ),
    "snr": _number(
        "Signal-to-noise ratio",
        "value_json.radio.snr_db",
        "dB",
        device_class="signal_strength",
        enabled_by_default=False,
        **_DIAGNOSTIC,
    ),
}
_QUALITY = {
    "quality": _number("Quality", "value_json.quality", None, **_DIAGNOSTIC),
    "problem": _binary(
        "Problem",
        "value_json.quality in (1, 2, 3) and value_json.reason != 'from_flaps'",
        "problem",
        json_attributes_template=_REASON,
        **_DIAGNOSTIC,
    ),
}
_CONTAINER = {
    "fill": _number(
        "Fill level",
        "value_json.fill_pct",
        "%",
        suggested_display_precision=0,
        icon="mdi:trash-can",
        json_attributes_template=_PLACE,
    ),
    "due": _binary(
        "Due",
        "none if value_json.fill_pct is none else value_json.fill_pct >= value_json.threshold_pct",
        None,
        icon="mdi:truck-alert",
    ),
    "volume": _number("Waste", "value_json.volume_l", "L", device_class="volume_storage"),
    "rate": _number("Filling rate", "value_json.rate_pct_per_day", "%/d"),
    "time_to_threshold": _number(
        "Time until due", "value_json.hours_to_threshold", "h", device_class="duration"
    ),
    "emptied": _sensor("Emptied", "value_json.emptied_utc", device_class="timestamp"),
    "next_collection": _sensor(
        "Next collection",
        "(value_json.next_collection or {}).get('eta_utc')",
        device_class="timestamp",
    ),
    "temperature": _number(
        "Temperature", "value_json.temperature_c", "°C", device_class="temperature"
    ),
    **{
        alarm: _binary(name, f"'{alarm}' in (value_json.alarms or [])", device_class)
        for alarm, name, device_class in (
            ("fire", "Fire", "safety"),
            ("tilted", "Tilted", "tamper"),
            ("moved", "Moved", "moving"),
            ("lid_open", "Lid left open", "opening"),
        )
    },
    "sensor": _binary(
        "Distance sensor",
        "(value_json.faults or []) | count > 0",
        "problem",
        json_attributes_template="{{ {'faults': value_json.faults} | tojson }}",
        **_DIAGNOSTIC,
    ),
    **_QUALITY,
    **_SIGNAL,
}
_BAY = {
    "occupancy": _binary(
        "Occupancy",
        "none if value_json.state == 'uncertain' else value_json.state == 'occupied'",
        "occupancy",
        json_attributes_template=_PLACE,
    ),
    "since": _sensor("Since", "value_json.since_utc", device_class="timestamp"),
    **_QUALITY,
    **_SIGNAL,
}
_BOARD = {
    "battery_voltage": _number(
        "Battery voltage", "value_json.battery_mv", "mV", device_class="voltage", **_DIAGNOSTIC
    ),
    "charge_used": _sensor(
        "Charge used",
        "value_json.charge_used_mah",
        unit_of_measurement="mAh",
        state_class="total_increasing",
        icon="mdi:battery-minus",
        **_DIAGNOSTIC,
    ),
    "errors": _sensor("Errors", "value_json.errors | join(', ') or 'none'", **_DIAGNOSTIC),
    "problem": _binary("Problem", "value_json.errors | count > 0", "problem", **_DIAGNOSTIC),
    "link_margin": _number("Link margin", "value_json.link_margin_db", "dB", **_DIAGNOSTIC),
    "firmware": _sensor("Firmware", "value_json.firmware", **_DIAGNOSTIC),
    "reset_reason": _sensor(
        "Reset reason", "value_json.reset_reason", enabled_by_default=False, **_DIAGNOSTIC
    ),
    **_SIGNAL,
}
_CONNECTIVITY = _binary(
    "Connectivity", "value_json.state == 'online'", "connectivity", **_DIAGNOSTIC
)
_GATEWAY = {
    "connectivity": _binary(
        "Connectivity", "value_json.online", "connectivity", json_attributes_template=_PLACE
    ),
    "last_seen": _sensor(
        "Last seen", "value_json.last_seen_utc", device_class="timestamp", **_DIAGNOSTIC
    ),
    "round_trip": _number(
        "Round trip", "value_json.round_trip_ms", "ms", device_class="duration", **_DIAGNOSTIC
    ),
    "uplinks": _sensor(
        "Uplinks accepted",
        "value_json.uplinks_accepted",
        state_class="total_increasing",
        **_DIAGNOSTIC,
    ),
    "acknowledged": _number(
        "Datagrams acknowledged", "value_json.push_acknowledged_pct", "%", **_DIAGNOSTIC
    ),
}

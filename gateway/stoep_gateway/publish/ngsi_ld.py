"""What we publish in FIWARE's Smart Data Models: NGSI-LD entities out of our messages. Pure.

A container is a ``WasteContainer``, a bay a ``ParkingSpot``, its street an ``OnStreetParking``, a
board a ``Device``. What they have no name for is called as in LwM2M's object 3435. What is not
known is left out.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import orjson
from stoep_protocol.schema import FREE, OCCUPIED

from stoep_gateway.assets.registry import TOPIC_ROOT, Bay, Registry
from stoep_gateway.assets.states import AssetState, BayState
from stoep_gateway.publish.messages import OutboxMessage

__all__ = [
    "KINDS",
    "Entity",
    "Streets",
    "derive",
    "entities",
    "key_values",
    "normalized",
]

_MODELS = "https://raw.githubusercontent.com/smart-data-models/dataModel.{}/master/context.jsonld"
_CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld"
_CONTEXTS = {
    "WasteContainer": [_MODELS.format("WasteManagement"), _CORE],
    "ParkingSpot": [_MODELS.format("Parking"), _CORE],
    "OnStreetParking": [_MODELS.format("Parking"), _CORE],
    "Device": [_MODELS.format("Device"), _CORE],
}
_WASTE = {"organic", "glass", "oil", "plastic", "metal", "paper"}
_WASTE |= {"inorganic", "batteries", "electronics", "hazardous"}
_STATUS = {"free": "free", "occupied": "occupied", "uncertain": "unknown"}
_ALARMED = {"fire": "burning", "tilted": "dropped", "moved": "moved", "lid_open": "lidOpen"}
_CONTROLLED = {"container": ["fillingLevel", "temperature"], "bay": ["occupancy"]}
_ASSET_TYPES = {"container": "WasteContainer", "bay": "ParkingSpot"}
_NOT_ID = re.compile(r"[^A-Za-z0-9._-]+")

# UN/CEFACT Recommendation 20.
_PERCENT, _LITRE, _CELSIUS, _DBM, _MILLIVOLT, _MILLIAMPERE_HOUR = (
    "P1",
    "LTR",
    "CEL",
    "DBM",
    "2Z",
    "E09",
)


class Attribute(NamedTuple):
    """A member of an entity; ``value`` in key-values form, a relationship's a URN or URNs."""

    value: Any
    observed_at: str | None = None
    unit_code: str | None = None
    kind: Literal["Property", "Relationship", "GeoProperty"] = "Property"


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity; ``local_id`` is the last part of its URN and of its topic."""

    site: str
    type: str
    local_id: str
    attributes: Mapping[str, Attribute]

    @property
    def id(self) -> str:
        """The URN."""
        return _urn(self.site, self.type, self.local_id)


class _Street(NamedTuple):
    local_id: str
    bays: tuple[str, ...]  # keys
    lat: float
    lon: float


class Streets:
    """The bays of each street, and how many of them are free; ``states`` is what is known now."""

    def __init__(self, registry: Registry, states: Mapping[str, AssetState]) -> None:
        self._registry = registry
        self._states = states
        self._streets: dict[str, _Street] = {}
        self.look_again()

    def look_again(self) -> None:
        """Take the registry's bays anew; call after it has changed."""
        self._streets.clear()
        found: dict[str, list[tuple[str, float, float]]] = {}
        for asset in self._registry.assets.values():
            if isinstance(asset, Bay):
                fixed = json.loads(f"{{{asset.fixed_json}}}")
                bays = found.setdefault(fixed["street"], [])
                bays.append((asset.key, fixed["lat"], fixed["lon"]))
        for name, bays in found.items():
            keys, lats, lons = zip(*bays, strict=True)
            lat, lon = sum(lats) / len(lats), sum(lons) / len(lons)
            self._streets[name] = _Street(_street_id(name), keys, round(lat, 7), round(lon, 7))

    def entity(self, site: str, name: str, now_utc: str) -> Entity | None:
        """Return a street's totals, None when no bay is on it any more."""
        street = self._streets.get(name)
        if street is None:
            return None
        free = occupied = 0
        for key in street.bays:
            state = self._states.get(key)
            if isinstance(state, BayState):
                free += state.state == FREE
                occupied += state.state == OCCUPIED
        return Entity(
            site,
            "OnStreetParking",
            street.local_id,
            {
                "name": Attribute(name),
                "location": _point(street.lat, street.lon),
                "address": Attribute({"streetAddress": name}),
                "occupancyDetectionType": Attribute(["singleSpaceDetection"]),
                "totalSpotNumber": Attribute(len(street.bays)),
                "availableSpotNumber": Attribute(free, now_utc),
                "occupiedSpotNumber": Attribute(occupied, now_utc),
            },
        )


def derive(site: str, streets: Streets, message: OutboxMessage) -> tuple[OutboxMessage, ...]:
    """Return the retained key-values messages of what a message tells of."""
    if message.kind not in KINDS:
        return ()
    return tuple(
        OutboxMessage(
            f"{TOPIC_ROOT}/{site}/ngsi-ld/{entity.type}/{entity.local_id}",
            orjson.dumps(key_values(entity)),
            True,
            "ngsi_ld",
            f"{message.event_id}:{entity.type}",
        )
        for entity in entities(site, streets, message.kind, message.payload)
    )


def entities(site: str, streets: Streets, kind: str, payload: bytes) -> list[Entity]:
    """Return what a message of one of our ``KINDS`` tells of."""
    message = orjson.loads(payload)
    made = [KINDS[kind](site, message)]
    if kind == "bay_state":
        street = streets.entity(site, message["street"], message["time_utc"])
        if street is not None:
            made.append(street)
    return made


def key_values(entity: Entity) -> dict[str, Any]:
    """Write an entity in NGSI-LD's simplified form."""
    return {
        "id": entity.id,
        "type": entity.type,
        **{name: attribute.value for name, attribute in entity.attributes.items()},
        "@context": _CONTEXTS[entity.type],
    }


def normalized(entity: Entity) -> dict[str, Any]:
    """Write an entity in NGSI-LD's normalized form."""
    written: dict[str, Any] = {"id": entity.id, "type": entity.type}
    for name, (value, observed_at, unit_code, kind) in entity.attributes.items():
        member: dict[str, Any] = {"type": kind}
        if kind == "Relationship":
            # One object alone is what every version of the API takes.
            member["object"] = value[0] if isinstance(value, list) and len(value) == 1 else value
        else:
            member["value"] = value
        if observed_at is not None:
            member["observedAt"] = observed_at
        if unit_code is not None:
            member["unitCode"] = unit_code
        written[name] = member
    written["@context"] = _CONTEXTS[entity.type]
    return written


def _container(site: str, message: dict[str, Any]) -> Entity:
    measured = message["measured_utc"]
    fraction = message["fraction"]
    fill, hours = message["fill_pct"], message["hours_to_threshold"]
    quality = message["quality"]
    return _entity(
        site,
        "WasteContainer",
        message["container"],
        {
            "name": Attribute(message["name"]),
            "location": _point(message["lat"], message["lon"]),
            "binId": Attribute(message["container"]),
            "binCapacity": Attribute(message["capacity_l"], None, _LITRE),
            "binFullnessThreshold": Attribute(message["threshold_pct"], None, _PERCENT),
            "storedWasteKind": Attribute(fraction if fraction in _WASTE else "other"),
            "fillingLevel": Attribute(
                None if fill is None else round(min(fill, 100) / 100, 4), message["fill_utc"]
            ),
            "temperature": Attribute(message["temperature_c"], measured, _CELSIUS),
            "status": Attribute(_container_status(quality, message["alarms"]), measured),
            "binLoggedTime": Attribute(measured),
            "dateLastEmptying": Attribute(message["emptied_utc"]),
            "averageFillingSpeed": Attribute(message["rate_pct_per_day"], measured, _PERCENT),
            "forecastFullDate": Attribute(
                None if hours is None else _later(message["time_utc"], hours), measured
            ),
            "measurementQualityIndicator": Attribute(quality, measured),
            "measurementQualityReason": Attribute(message["reason"], measured),
            "refDevice": _to(_urn(site, "Device", message["dev_eui"])),
        },
    )


def _container_status(quality: int, alarms: list[str]) -> str:
    """Return the worst of what the model has a word for."""
    for alarm, status in _ALARMED.items():
        if alarm in alarms:
            return status
    return "ok" if quality >= 3 else "unknown"


def _bay(site: str, message: dict[str, Any]) -> Entity:
    now = message["time_utc"]
    return _entity(
        site,
        "ParkingSpot",
        message["bay"],
        {
            "name": Attribute(message["name"]),
            "location": _point(message["lat"], message["lon"]),
            "address": Attribute({"streetAddress": message["street"]}),
            "category": Attribute(["onStreet"]),
            "status": Attribute(_STATUS[message["state"]], now),
            "measurementQualityIndicator": Attribute(message["quality"], now),
            "measurementQualityReason": Attribute(message["reason"], now),
            "refParkingSite": Attribute(
                _urn(site, "OnStreetParking", _street_id(message["street"])), kind="Relationship"
            ),
            "refDevice": _to(_urn(site, "Device", message["dev_eui"])),
        },
    )


def _device(site: str, message: dict[str, Any]) -> Entity:
    now = message["time_utc"]
    asset_kind, _, asset_id = (message["asset"] or "").partition("/")
    hardware = message["hardware"]
    return _entity(
        site,
        "Device",
        message["dev_eui"],
        {
            "name": Attribute(message["name"]),
            "category": Attribute(["sensor"]),
            "controlledProperty": Attribute(_CONTROLLED.get(asset_kind, [])),
            "controlledAsset": _to(_urn(site, _ASSET_TYPES[asset_kind], asset_id))
            if asset_kind
            else Attribute(None),
            "supportedProtocol": Attribute(["lora"]),
            "serialNumber": Attribute(message["dev_eui"]),
            "firmwareVersion": Attribute(message["firmware"]),
            "hardwareVersion": Attribute(None if hardware is None else str(hardware)),
            "deviceState": Attribute(", ".join(message["errors"]) or "ok", now),
            "rssi": Attribute(message["radio"]["rssi_dbm"], now, _DBM),
            "batteryVoltage": Attribute(message["battery_mv"], now, _MILLIVOLT),
            "chargeUsed": Attribute(message["charge_used_mah"], now, _MILLIAMPERE_HOUR),
            "dateLastValueReported": Attribute(now),
        },
    )


KINDS: Mapping[str, Callable[[str, dict[str, Any]], Entity]] = {
    "container_state": _container,
    "bay_state": _bay,
    "device_status": _device,
}


def _entity(site: str, type_: str, local_id: str, said: dict[str, Attribute]) -> Entity:
    return Entity(
        site, type_, local_id, {name: it for name, it in said.items() if it.value is not None}
    )


def _urn(site: str, type_: str, local_id: str) -> str:
    return f"urn:ngsi-ld:{type_}:{site}:{local_id}"


def _to(urn: str) -> Attribute:
    return Attribute([urn], kind="Relationship")


def _point(lat: float, lon: float) -> Attribute:
    return Attribute({"type": "Point", "coordinates": [lon, lat]}, kind="GeoProperty")


def _street_id(name: str) -> str:
    """Return what stands for a street's name where letters are few; two names never the same."""
    plain = _NOT_ID.sub("-", name).strip("-")
    return plain if plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}".lstrip("-")


def _later(utc: str, hours: float) -> str:
    later = datetime.fromisoformat(utc) + timedelta(hours=hours)
    return later.strftime("%Y-%m-%dT%H:%M:%SZ")

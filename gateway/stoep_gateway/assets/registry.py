"""The registry view: what the configuration says, arranged for one dict look-up per uplink.

Topics and the fields that never change are built once per asset here. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from stoep_gateway.config import Config
from stoep_gateway.config_model import BayConfig, ContainerConfig, DeviceConfig

__all__ = ["Bay", "Container", "Device", "Gateway", "Registry", "build"]

TOPIC_ROOT = "stoep/v1"


@dataclass(frozen=True, slots=True)
class Container:
    """A bin; ``key`` is "container/ID", ``fixed_json`` the JSON members
    that every message of it ends with."""

    id: str
    key: str
    lat: float
    lon: float
    capacity_l: int
    depth_mm: int
    full_mm: int
    threshold_pct: float
    state_topic: str
    event_topic: str
    fixed_json: str


@dataclass(frozen=True, slots=True)
class Bay:
    """A parking bay; ``key`` is "bay/ID"."""

    id: str
    key: str
    state_topic: str
    event_topic: str
    fixed_json: str


@dataclass(frozen=True, slots=True)
class Device:
    """A sensor board with its root key, and the asset it stands for, if any.

    ``key`` is "device/DEV_EUI", under which its own state is kept.
    """

    dev_eui: bytes
    dev_eui_hex: str
    key: str
    join_eui: bytes
    app_key: bytes | None = field(repr=False)
    asset: Container | Bay | None
    status_topic: str
    event_topic: str
    fixed_json: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """A packet forwarder that is allowed to send to us."""

    id: str
    eui: bytes
    state_topic: str
    fixed_json: str


@dataclass(frozen=True, slots=True)
class Registry:
    """All of a site; devices and gateways by EUI (8 bytes, big-endian), assets by key."""

    site: str
    devices: Mapping[bytes, Device]
    gateways: Mapping[bytes, Gateway]
    assets: Mapping[str, Container | Bay]


def build(config: Config) -> Registry:
    """Arrange a checked configuration."""
    root = f"{TOPIC_ROOT}/{config.site}"
    assets: dict[str, Container | Bay] = {}
    for container in config.containers:
        view = _container(root, container, config.planning.threshold_pct)
        assets[view.key] = view
    for bay in config.bays:
        assets[f"bay/{bay.id}"] = _bay(root, bay)
    return Registry(
        config.site,
        {device.dev_eui: _device(root, device, assets) for device in config.devices},
        {
            gateway.eui: Gateway(
                gateway.id,
                gateway.eui,
                f"{root}/gateway/{gateway.id}/state",
                _members(
                    {
                        "gateway": gateway.id,
                        "gateway_eui": gateway.eui.hex(),
                        "lat": gateway.lat,
                        "lon": gateway.lon,
                    }
                ),
            )
            for gateway in config.gateways
        },
        assets,
    )


def _members(values: Mapping[str, object]) -> str:
    """Write the inside of a JSON object."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))[1:-1]


def _container(root: str, container: ContainerConfig, threshold_pct: float) -> Container:
    key = f"container/{container.id}"
    return Container(
        id=container.id,
        key=key,
        lat=container.lat,
        lon=container.lon,
        capacity_l=container.capacity_l,
        depth_mm=container.depth_mm,
        full_mm=container.full_mm,
        threshold_pct=threshold_pct,
        state_topic=f"{root}/{key}/state",
        event_topic=f"{root}/{key}/event",
        fixed_json=_members(
            {
                "container": container.id,
                "name": container.name or container.id,
                "kind": container.kind,
                "fraction": container.fraction,
                "lat": container.lat,
                "lon": container.lon,
                "capacity_l": container.capacity_l,
            }
        ),
    )


def _bay(root: str, bay: BayConfig) -> Bay:
    key = f"bay/{bay.id}"
    return Bay(
        id=bay.id,
        key=key,
        state_topic=f"{root}/{key}/state",
        event_topic=f"{root}/{key}/event",
        fixed_json=_members(
            {
                "bay": bay.id,
                "name": bay.name or bay.id,
                "street": bay.street,
                "lat": bay.lat,
                "lon": bay.lon,
            }
        ),
    )


def _device(root: str, device: DeviceConfig, assets: Mapping[str, Container | Bay]) -> Device:
    dev_eui = device.dev_eui.hex()
    return Device(
        dev_eui=device.dev_eui,
        dev_eui_hex=dev_eui,
        key=f"device/{dev_eui}",
        join_eui=device.join_eui,
        app_key=device.app_key,
        asset=None if device.asset is None else assets[device.asset],
        status_topic=f"{root}/device/{dev_eui}/status",
        event_topic=f"{root}/device/{dev_eui}/event",
        fixed_json=_members(
            {"dev_eui": dev_eui, "name": device.name or dev_eui, "asset": device.asset}
        ),
    )

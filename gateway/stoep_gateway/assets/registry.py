"""The registry view: what the configuration and the store say, one dict look-up per uplink away.

Topics and the fields that never change are built once per asset and device here. Devices come and
go while the gateway runs. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stoep_gateway.assets.geometry import Inside, inside
from stoep_gateway.config import Config
from stoep_gateway.config_model import BayConfig, ContainerConfig, DeviceConfig
from stoep_gateway.integrations.codecs.shipped import names
from stoep_gateway.values import value

__all__ = ["Bay", "Container", "Device", "Gateway", "Managed", "Registry", "build"]

TOPIC_ROOT = "stoep/v1"
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Managed = Literal["file", "store"]


@dataclass(frozen=True, slots=True)
class Container:
    """A bin; ``key`` is "container/ID", ``fixed_json`` the JSON members that every message of it
    ends with. Those of one ``pool`` are taken to be opened for the same things, and to fill alike.
    """

    id: str
    key: str
    lat: float
    lon: float
    capacity_l: int
    inside: Inside
    threshold_pct: float
    state_topic: str
    event_topic: str
    fixed_json: str
    compaction: float = 1.0
    by_flaps: bool = False
    litres_per_flap: float | None = None
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Bay:
    """A parking bay; ``key`` is "bay/ID"."""

    id: str
    key: str
    lat: float
    lon: float
    state_topic: str
    event_topic: str
    fixed_json: str


@value
class Device:
    """A sensor board, its keys, and the asset it stands for, if any.

    It joins with ``app_key``, or has ``dev_addr`` and both session keys (ABP), or belongs to
    another network server, the ``source``. One that is not ``enabled`` is neither heard nor
    answered. ``managed`` says who may change it: the configuration "file", or `stoep device`
    ("store"). ``key`` is "device/DEV_EUI", under which its own state is kept; ``asset_key`` is
    what it was told to stand for, which may be no asset of the configuration any more. ``make`` is
    whose codec reads its uplinks, None: ours.
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
    asset_key: str | None = None
    name: str | None = None
    lat: float | None = None
    lon: float | None = None
    dev_addr: int | None = None
    nwk_s_key: bytes | None = field(default=None, repr=False)
    app_s_key: bytes | None = field(default=None, repr=False)
    source: str | None = None
    make: str | None = None
    lorawan: str = "1.0.3"
    device_class: str = "A"
    adr: bool = True
    enabled: bool = True
    managed: Managed = "file"
    created_utc_ms: int = 0
    changed_utc_ms: int = 0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A packet forwarder that is allowed to send to us."""

    id: str
    eui: bytes
    state_topic: str
    fixed_json: str


class Registry:
    """All of a site; devices and gateways by EUI (8 bytes, big-endian), assets by key.

    ``sources`` are the ids of the other network servers that devices may belong to, ``makes`` of
    the other makes that they may be.
    """

    def __init__(
        self,
        site: str,
        gateways: Mapping[bytes, Gateway],
        assets: Mapping[str, Container | Bay],
        sources: frozenset[str] = frozenset(),
        makes: frozenset[str] = frozenset(),
    ) -> None:
        self.site = site
        self.sources = sources
        self.makes = makes
        self.gateways: dict[bytes, Gateway] = dict(gateways)
        self.assets: dict[str, Container | Bay] = dict(assets)
        self.devices: dict[bytes, Device] = {}
        self._root = f"{TOPIC_ROOT}/{site}"
        self._by_asset: dict[str, Device] = {}

    def view(
        self,
        spec: DeviceConfig,
        managed: Managed,
        created_utc_ms: int = 0,
        changed_utc_ms: int = 0,
    ) -> Device:
        """Return the view of a device, for `put`.

        An asset that is not there any more leaves the device without one.
        """
        dev_eui = spec.dev_eui.hex()
        asset = None if spec.asset is None else self.assets.get(spec.asset)
        return Device(
            dev_eui=spec.dev_eui,
            dev_eui_hex=dev_eui,
            key=f"device/{dev_eui}",
            join_eui=spec.join_eui,
            app_key=spec.app_key,
            asset=asset,
            status_topic=f"{self._root}/device/{dev_eui}/status",
            event_topic=f"{self._root}/device/{dev_eui}/event",
            fixed_json=_members(
                {
                    "dev_eui": dev_eui,
                    "name": spec.name or dev_eui,
                    "asset": None if asset is None else asset.key,
                }
            ),
            asset_key=spec.asset,
            name=spec.name,
            lat=spec.lat,
            lon=spec.lon,
            dev_addr=None if spec.dev_addr is None else int.from_bytes(spec.dev_addr, "big"),
            nwk_s_key=spec.nwk_s_key,
            app_s_key=spec.app_s_key,
            source=spec.source,
            make=spec.make,
            lorawan=spec.lorawan,
            device_class=spec.device_class,
            adr=spec.adr,
            enabled=spec.enabled,
            managed=managed,
            created_utc_ms=created_utc_ms,
            changed_utc_ms=changed_utc_ms,
        )

    def put(self, device: Device) -> None:
        """Add a device, or replace the one of the same DevEUI."""
        self.remove(device.dev_eui)
        self.devices[device.dev_eui] = device
        if device.asset is not None:
            self._by_asset[device.asset.key] = device

    def remove(self, dev_eui: bytes) -> None:
        """Forget a device, if it is there."""
        device = self.devices.pop(dev_eui, None)
        if device is None or device.asset is None:
            return
        if self._by_asset.get(device.asset.key) is device:  # not another's meanwhile
            del self._by_asset[device.asset.key]

    def device_of(self, asset: str) -> Device | None:
        """Return the device that stands for an asset, "container/ID" or "bay/ID"."""
        return self._by_asset.get(asset)


def build(config: Config) -> Registry:
    """Arrange a checked configuration."""
    root = f"{TOPIC_ROOT}/{config.site}"
    assets: dict[str, Container | Bay] = {}
    for container in config.containers:
        view = _container(root, container, config.planning.threshold_pct)
        assets[view.key] = view
    for bay in config.bays:
        assets[f"bay/{bay.id}"] = _bay(root, bay)
    registry = Registry(
        config.site,
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
        frozenset(source.id for source in config.sources),
        names() | {make.id for make in config.makes},
    )
    for device in config.devices:
        registry.put(registry.view(device, "file"))
    return registry


def _members(values: Mapping[str, object]) -> str:
    """Write the inside of a JSON object."""
    return _ENCODE(values)[1:-1]


def _container(root: str, container: ContainerConfig, threshold_pct: float) -> Container:
    key = f"container/{container.id}"
    return Container(
        id=container.id,
        key=key,
        lat=container.lat,
        lon=container.lon,
        capacity_l=container.capacity_l,
        inside=inside(container),
        compaction=container.compaction,
        by_flaps=container.level == "flaps",
        litres_per_flap=container.litres_per_flap,
        pool=container.pool,
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
        lat=bay.lat,
        lon=bay.lon,
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

"""What a device is told to be: from a command or a file's line to a checked `DeviceConfig`. Pure.

A *raw* device is a dictionary with the keys of ``[[device]]``, EUIs and keys in hexadecimal text.
Keys never appear in a message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stoep_gateway.assets.registry import Device, Registry
from stoep_gateway.config_model import DeviceConfig, Eui
from stoep_gateway.config_reader import did_you_mean, explain

__all__ = [
    "SECRETS",
    "Checked",
    "Fault",
    "activation",
    "as_raw",
    "check_all",
    "dev_eui_of",
    "spec_of",
    "validate",
]

SECRETS = ("app_key", "nwk_s_key", "app_s_key")
_WAYS_IN = (*SECRETS, "dev_addr", "source")
_MAY_BE_EMPTIED = ("name", "asset", "make", "lat", "lon")
_EUI: TypeAdapter[bytes] = TypeAdapter(Eui)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the device at ``index`` of those that were checked; ``key`` may be ""."""

    index: int
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A device as it shall be, and as it is: None for a new one."""

    index: int
    spec: DeviceConfig
    existing: Device | None
    is_changed: bool = True

    @property
    def is_other_way_in(self) -> bool:
        """Whether a device that is known shall have other keys, so that its sessions end."""
        if self.existing is None:
            return False
        old = spec_of(self.existing)
        return any(getattr(old, key) != getattr(self.spec, key) for key in _WAYS_IN)


def as_raw(device: Device | DeviceConfig, *, show_keys: bool) -> dict[str, object]:
    """Return a device with all that was said of it, without its keys unless they are wanted."""
    raw: dict[str, object] = {}
    for key in DeviceConfig.model_fields:
        value = spec_value(device, key)
        if value is None or (key in SECRETS and not show_keys):
            continue
        raw[key] = value.hex() if isinstance(value, bytes) else value
    return raw


def spec_value(device: Device | DeviceConfig, key: str) -> object:
    """Return one member of a device as the configuration has it."""
    if isinstance(device, Device):
        if key == "dev_addr":
            return None if device.dev_addr is None else device.dev_addr.to_bytes(4, "big")
        if key == "asset":
            return device.asset_key
    return getattr(device, key)


def spec_of(device: Device) -> DeviceConfig:
    """Return what a registered device was told to be; it was checked when it came."""
    values: dict[str, Any] = {key: spec_value(device, key) for key in DeviceConfig.model_fields}
    return DeviceConfig.model_construct(**values)


def activation(device: Device | DeviceConfig) -> str:
    """Return how a device comes in: "OTAA", "ABP", or the id of another network server."""
    return device.source or ("ABP" if device.app_key is None else "OTAA")


def dev_eui_of(raw: object) -> bytes | None:
    """Return the DevEUI that a text names, None if it is none."""
    try:
        return _EUI.validate_python(raw)
    except ValidationError:
        return None


def validate(raw: Mapping[str, object]) -> DeviceConfig | list[tuple[str, str]]:
    """Return a device by itself, or what is wrong with it: (key, message) pairs."""
    try:
        return DeviceConfig.model_validate(dict(raw))
    except ValidationError as error:
        faults = []
        for detail in error.errors(include_url=False):
            key = str(detail["loc"][0]) if detail["loc"] else ""
            faults.append((key, explain(key, "the device", DeviceConfig, detail)))
        return faults


def check_all(
    registry: Registry, raws: Sequence[Mapping[str, object]], *, only_new: bool = False
) -> Iterator[Checked | Fault]:
    """Check raw devices against each other and against those that are registered.

    A device that is known keeps what its raw one does not say; one with any of the ways in (keys,
    ``source``) says all of that. With ``only_new`` a device that is known is a mistake.
    """
    euis = [dev_eui_of(raw.get("dev_eui")) for raw in raws]
    leaving = {eui for eui in euis if eui is not None}
    seen: set[bytes] = set()
    claims: dict[str, bytes] = {}
    for index, (raw, dev_eui) in enumerate(zip(raws, euis, strict=True)):
        existing = None if dev_eui is None else registry.devices.get(dev_eui)
        if dev_eui in seen:
            yield Fault(index, "dev_eui", f'dev_eui "{dev_eui.hex()}" was given before')
            continue
        if dev_eui is not None:
            seen.add(dev_eui)
        spec = validate(_merged(existing, raw))
        if isinstance(spec, list):
            told = {key for key, _ in spec}
            unknown = _unknown(registry, raw, existing)
            spec += [(key, message) for key, message in unknown if key not in told]
            yield from (Fault(index, key, message) for key, message in spec)
            continue
        is_changed = existing is None or spec_of(existing) != spec
        checked = Checked(index, spec, existing, is_changed)
        if existing is not None and (only_new or is_changed):
            if only_new:
                where = "; stoep device import changes it"
                if existing.managed == "file":
                    where = " in the gateway's configuration"
                known = f"device {existing.dev_eui_hex} is registered already{where}"
                yield Fault(index, "dev_eui", known)
                continue
            if existing.managed == "file":
                yield Fault(
                    index,
                    "dev_eui",
                    f"device {existing.dev_eui_hex} is in the gateway's configuration: change it"
                    " there",
                )
                continue
        unknown = _unknown(registry, spec.model_dump(), existing)
        faults = [Fault(index, key, message) for key, message in unknown]
        if not faults and (fault := _asset_fault(registry, spec, leaving, claims)):
            faults = [Fault(index, "asset", fault)]
        yield from faults or (checked,)


def _merged(existing: Device | None, raw: Mapping[str, object]) -> dict[str, object]:
    merged = {} if existing is None else as_raw(existing, show_keys=True)
    if any(raw.get(key) is not None for key in _WAYS_IN):
        for key in _WAYS_IN:
            merged.pop(key, None)
    for key, value in raw.items():
        if value is not None or key in _MAY_BE_EMPTIED:
            merged[key] = value
    return merged


def _unknown(
    registry: Registry, said: Mapping[str, object], existing: Device | None
) -> Iterator[tuple[str, str]]:
    """Give what a device names and nobody has: (key, message) pairs."""
    asset, source, make = (said.get(key) for key in ("asset", "source", "make"))
    was_there = existing is not None and existing.asset_key == asset  # nobody asks for another
    if isinstance(asset, str) and asset not in registry.assets and not was_there:
        yield "asset", f'asset "{asset}" is not an asset{did_you_mean(asset, registry.assets)}'
    if isinstance(source, str) and source not in registry.sources:
        hint = did_you_mean(source, registry.sources)
        yield "source", f'source "{source}" is not a [[source]]{hint}'
    if isinstance(make, str) and make not in registry.makes:
        hint = did_you_mean(make, registry.makes)
        yield "make", f'make "{make}" is not a [[make]]{hint}'


def _asset_fault(
    registry: Registry, spec: DeviceConfig, leaving: Set[bytes], claims: dict[str, bytes]
) -> str:
    """Return whose a device's asset is already; "" for nobody's."""
    asset = spec.asset
    if asset is None or asset not in registry.assets:
        return ""
    other = registry.device_of(asset)
    owner = claims.setdefault(asset, spec.dev_eui)
    if owner == spec.dev_eui and other is not None and other.dev_eui not in leaving:
        owner = other.dev_eui
    if owner != spec.dev_eui:
        return f'asset "{asset}" is already that of device {owner.hex()}'
    return ""

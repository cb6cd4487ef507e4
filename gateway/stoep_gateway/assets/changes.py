"""A registry that takes another configuration while the gateway runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from stoep_gateway.assets import device_specs
from stoep_gateway.assets.device_specs import Checked
from stoep_gateway.assets.registry import Device, Registry

__all__ = ["Replaced", "replace"]

_Key = TypeVar("_Key")
_View = TypeVar("_View")


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of the devices of the configuration.

    ``ended``: other keys, so their sessions end; ``forgiven``: another AppKey, so their DevNonces
    count no more. ``warnings`` are lines for the operator.
    """

    added: tuple[bytes, ...]
    changed: tuple[bytes, ...]
    removed: tuple[bytes, ...]
    ended: tuple[bytes, ...]
    forgiven: tuple[bytes, ...]
    warnings: tuple[str, ...]


def replace(registry: Registry, fresh: Registry) -> Replaced:
    """Take gateways, assets and the configuration's devices from ``fresh``, in place.

    Devices of the store stay, for whatever is left of their assets. Sessions of devices that leave
    stay, too, as at a restart.
    """
    _take(registry.gateways, fresh.gateways)
    _take(registry.assets, fresh.assets)
    registry.makes = fresh.makes
    before = registry.devices.copy()
    removed = [
        eui
        for eui, device in before.items()
        if device.managed == "file" and eui not in fresh.devices
    ]
    for eui in removed:
        registry.remove(eui)
    warnings: list[str] = []
    added, changed, ended, forgiven = [], [], [], []
    for eui, device in fresh.devices.items():
        old = before.get(eui)
        if old == device:
            continue
        registry.put(device)
        if old is None:
            added.append(eui)
            continue
        changed.append(eui)
        if Checked(0, device_specs.spec_of(device), old).is_other_way_in:
            ended.append(eui)
            if old.app_key != device.app_key:
                forgiven.append(eui)
        if old.managed == "store":
            warnings.append(
                f"device {device.dev_eui_hex} is in the configuration, which overrules the stored"
                " one"
            )
    for device in before.values():
        if device.managed == "store" and device.dev_eui not in fresh.devices:
            warnings += _view_again(registry, device)
    return Replaced(
        tuple(added),
        tuple(changed),
        tuple(removed),
        tuple(ended),
        tuple(forgiven),
        tuple(warnings),
    )


def _take(ours: dict[_Key, _View], theirs: Mapping[_Key, _View]) -> None:
    """Take what is there, keeping the very objects that are the same."""
    taken = {key: ours[key] if ours.get(key) == view else view for key, view in theirs.items()}
    ours.clear()
    ours.update(taken)


def _view_again(registry: Registry, device: Device) -> list[str]:
    """Let a device of the store stand for its asset as that is now; the file's go first."""
    if device.asset_key is None:
        return []
    owner = registry.device_of(device.asset_key)
    if owner is not None and owner.managed == "file":
        spec = device_specs.spec_of(device).model_copy(update={"asset": None})
        who = f"device {device.dev_eui_hex}"
        warnings = [f"{who}: its {device.asset_key} is now {owner.dev_eui_hex}'s"]
    elif registry.assets.get(device.asset_key) == device.asset:
        return []
    else:
        spec, warnings = device_specs.spec_of(device), []
        if device.asset_key not in registry.assets:
            who = f"device {device.dev_eui_hex}"
            warnings = [f"{who}: its {device.asset_key} is not in the configuration any more"]
    created, at = device.created_utc_ms, device.changed_utc_ms
    registry.put(registry.view(spec, "store", created, at))
    return warnings

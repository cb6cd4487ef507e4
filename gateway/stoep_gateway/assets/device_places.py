"""Where devices belong and stand: from a line that was typed or scanned to a checked place. Pure.

Where a DevEUI is asked for, the text of a label's QR code does as well (LoRa Alliance TR005).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stoep_gateway.assets.device_specs import Checked, Fault, dev_eui_of
from stoep_gateway.assets.registry import Registry
from stoep_gateway.config_reader import did_you_mean
from stoep_gateway.errors import Mistake
from stoep_gateway.planning.distances import straight_line_km

if TYPE_CHECKING:  # it loads a YAML parser, which a gateway that runs has no use for
    from stoep_gateway.assets.device_files import Entry

__all__ = ["KEYS", "NOWHERE", "faults_of", "read_entries", "scanned", "warning"]

KEYS = ("dev_eui", "asset", "lat", "lon")
NOWHERE = "none"  # said instead of an asset
_FAR_KM = 0.1
_TR005 = re.compile(
    r"LW:D0:[0-9A-F]{16}:(?P<dev_eui>[0-9A-F]{16}):[0-9A-F]{8}(?::[OSP][^:]*)*"
    r"(?::C(?P<crc>[0-9A-F]{4}))?"
)


def scanned(text: str) -> str:
    """Return the DevEUI that was typed or scanned, 16 digits. Raises ValueError, says why."""
    text = text.strip()
    if text[:2].upper() != "LW":
        dev_eui = dev_eui_of(text)
        if dev_eui is None:
            raise ValueError("a DevEUI is 16 hexadecimal digits, or the text of a label's code")
        return dev_eui.hex()
    found = _TR005.fullmatch(text)
    if found is None:
        raise ValueError(
            "this is no code of a LoRaWAN device (TR005): scan it again, with the scanner set to"
            " English (US) and without Caps Lock, or type its DevEUI"
        )
    if found["crc"] is not None and _crc(text.rpartition(":C")[0]) != int(found["crc"], 16):
        raise ValueError("the code was misread, its checksum is wrong: scan it again")
    return found["dev_eui"].lower()


def _crc(text: str) -> int:
    """Return TR005's checksum: CRC-16/MODBUS."""
    crc = 0xFFFF
    for octet in text.encode():
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def read_entries(
    entries: Sequence[Entry], name: str
) -> tuple[list[Entry], list[dict[str, object]], list[Mistake]]:
    """Return the lines of a file that say a place, what each says, and what is wrong."""
    good: list[Entry] = []
    places: list[dict[str, object]] = []
    mistakes: list[Mistake] = []
    for entry in entries:
        said = {key: it for key, it in entry.values.items() if it is not None}
        wrong = [key for key in said if key not in KEYS]
        if wrong:
            text = f'"{wrong[0]}" is not where a device is: the columns are {", ".join(KEYS)}'
            mistakes.append(Mistake(name, entry.line_of(wrong[0]), text))
            continue
        try:
            said["dev_eui"] = scanned(str(said.get("dev_eui", "")))
        except ValueError as error:
            mistakes.append(Mistake(name, entry.line_of("dev_eui"), str(error)))
            continue
        if said.keys() == {"dev_eui"}:
            mistakes.append(Mistake(name, entry.line, "says no place: an asset, lat and lon"))
            continue
        good.append(entry)
        places.append(said)
    return good, places, mistakes


def faults_of(registry: Registry, places: Sequence[Mapping[str, object]]) -> list[Fault]:
    """Return what no check of devices knows: a device that nobody has, a key that is no place."""
    faults = []
    for index, place in enumerate(places):
        dev_eui = dev_eui_of(place.get("dev_eui"))
        if dev_eui is None:
            faults.append(Fault(index, "dev_eui", "a DevEUI is 16 hexadecimal digits"))
        elif dev_eui not in registry.devices:
            known = [device.dev_eui_hex for device in registry.devices.values()]
            hint = did_you_mean(dev_eui.hex(), known)
            faults.append(Fault(index, "dev_eui", f"no device {dev_eui.hex()} is registered{hint}"))
        faults += [Fault(index, key, f'"{key}" is no place') for key in place if key not in KEYS]
    return faults


def warning(registry: Registry, checked: Checked) -> str | None:
    """Return what is odd about a place: its asset is configured to be somewhere else."""
    spec = checked.spec
    asset = None if spec.asset is None else registry.assets.get(spec.asset)
    if asset is None or spec.lat is None or spec.lon is None:
        return None
    km = straight_line_km(spec.lat, spec.lon, asset.lat, asset.lon)
    if km <= _FAR_KM:
        return None
    return (
        f"{spec.dev_eui.hex()} at {spec.lat:.6f}, {spec.lon:.6f} is {1000 * km:.0f} m away from"
        f" {asset.key}, which is configured to be at {asset.lat:.6f}, {asset.lon:.6f}"
    )

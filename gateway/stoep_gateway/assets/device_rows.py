"""A device's way into the store and back: keys sealed, each for its device and its column. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from stoep_gateway.assets.registry import Registry
from stoep_gateway.config_model import DeviceConfig
from stoep_gateway.store.records import DeviceRow
from stoep_gateway.store.sealing import Sealer

__all__ = ["load", "open_row", "seal_row"]


def seal_row(
    spec: DeviceConfig, sealer: Sealer, created_utc_ms: int, changed_utc_ms: int
) -> DeviceRow:
    """Return what is stored of a device."""

    def seal(key: bytes | None, column: str) -> bytes | None:
        return None if key is None else sealer.seal(key, _context(spec.dev_eui, column))

    return DeviceRow(
        dev_eui=spec.dev_eui,
        join_eui=spec.join_eui,
        app_key=seal(spec.app_key, "app_key"),
        dev_addr=None if spec.dev_addr is None else int.from_bytes(spec.dev_addr, "big"),
        nwk_s_key=seal(spec.nwk_s_key, "nwk_s_key"),
        app_s_key=seal(spec.app_s_key, "app_s_key"),
        source=spec.source,
        lorawan=spec.lorawan,
        device_class=spec.device_class,
        adr=int(spec.adr),
        enabled=int(spec.enabled),
        name=spec.name,
        asset=spec.asset,
        created_utc_ms=created_utc_ms,
        changed_utc_ms=changed_utc_ms,
        lat=spec.lat,
        lon=spec.lon,
        make=spec.make,
    )


def open_row(row: DeviceRow, sealer: Sealer) -> DeviceConfig:
    """Return a stored device. Raises `StoreCorrupt` for a key that does not open.

    It was checked before it was stored, and is not checked again: ten thousand are read at a start.
    """

    def unseal(sealed: bytes | None, column: str) -> bytes | None:
        return None if sealed is None else sealer.open(sealed, _context(row.dev_eui, column))

    return DeviceConfig.model_construct(
        dev_eui=row.dev_eui,
        join_eui=row.join_eui,
        app_key=unseal(row.app_key, "app_key"),
        dev_addr=None if row.dev_addr is None else row.dev_addr.to_bytes(4, "big"),
        nwk_s_key=unseal(row.nwk_s_key, "nwk_s_key"),
        app_s_key=unseal(row.app_s_key, "app_s_key"),
        source=row.source,
        lorawan=row.lorawan,
        device_class=row.device_class,
        adr=bool(row.adr),
        enabled=bool(row.enabled),
        name=row.name,
        asset=row.asset,
        lat=row.lat,
        lon=row.lon,
        make=row.make,
    )


def load(registry: Registry, rows: Iterable[DeviceRow], sealer: Sealer) -> list[str]:
    """Add the stored devices to those of the configuration; return what an operator should know.

    The file wins where both have a device or want its asset. Raises `StoreCorrupt`.
    """
    warnings = []
    for row in rows:
        who = f"device {row.dev_eui.hex()}"
        if row.dev_eui in registry.devices:
            warnings.append(f"{who} is in the configuration, which overrules the stored one")
            continue
        spec = open_row(row, sealer)
        if spec.asset is not None:
            other = registry.device_of(spec.asset)
            if other is not None:
                warnings.append(f"{who}: its {spec.asset} is now {other.dev_eui_hex}'s")
                spec = spec.model_copy(update={"asset": None})
            elif spec.asset not in registry.assets:
                warnings.append(f"{who}: its {spec.asset} is not in the configuration any more")
        registry.put(registry.view(spec, "store", row.created_utc_ms, row.changed_utc_ms))
    return warnings


def _context(dev_eui: bytes, column: str) -> bytes:
    return f"device {dev_eui.hex()} {column}".encode()

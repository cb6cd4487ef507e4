"""How deep the containers of somebody's series are, and the distances in them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stoep_gateway import config as configuration
from stoep_gateway.assets.geometry import Inside, inside
from stoep_gateway.assets.registry import build
from stoep_gateway.config import Config
from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.errors import FatalError

__all__ = [
    "COLUMNS",
    "SIDE",
    "Insides",
    "add_options",
    "by_name",
    "distance_mm",
    "load",
    "true_pct",
]

_T = TypeVar("_T")

_MM = {"mm": 1.0, "cm": 10.0}
_DEEPEST_MM = 20_000  # as a container's depth in the configuration
_FARTHEST_MM = 100_000  # what is farther is no distance but a sensor's way to say something else
_TRUE_PCT = (-50.0, 200.0)
_REMEDY = "say --depth-cm, or name a file by --geometry or --config"

COLUMNS = {
    "distance_mm": "number",
    "distance_cm": "number",
    "true_pct": "number",
    "true_distance_mm": "number",
    "true_distance_cm": "number",
}
SIDE = (
    {
        "depth_mm": "number",
        "depth_cm": "number",
        "full_mm": "number",
        "full_cm": "number",
    },
    "a CSV of device, depth_cm (or depth_mm) and full_cm (or full_mm)",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what tells how deep containers are."""
    parser.add_argument(
        "--depth-cm", type=float, metavar="CM", help="from the sensor to the floor (0 %%)"
    )
    parser.add_argument(
        "--full-cm",
        type=float,
        default=0.0,
        metavar="CM",
        help="from the sensor to the level that is 100 %% (default: 0)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a gateway's stoep.toml; the series name its containers or their devices",
    )


class Insides:
    """Those that were told, by the series' names. Raises ValueError for what cannot be."""

    def __init__(
        self,
        options: argparse.Namespace,
        columns: Sequence[str],
        side: Sequence[tuple[int, Mapping[str, Any]]],
    ) -> None:
        for name in ("distance", "true_distance"):
            if f"{name}_mm" in columns and f"{name}_cm" in columns:
                raise ValueError(f"has both {name}_mm and {name}_cm; leave one")
        self._known: dict[str, Inside] = {}
        if options.config is not None:
            self._known = by_name(load(options.config), inside)
        for line, row in side:
            try:
                self._known[row["device"]] = _of_row(row)
            except ValueError as error:
                raise ValueError(f"{options.geometry}:{line}: {error}") from None
        self._default = None
        if options.depth_cm is not None:
            self._default = _upright(options.depth_cm * 10, options.full_cm * 10)

    def of(self, device: str) -> Inside:
        """Return a container's. Raises ValueError for one that is not known."""
        known = self._known.get(device, self._default)
        if known is None:
            raise ValueError(f'how deep "{device}" is is not known: {_REMEDY}')
        return known


def load(path: Path) -> Config:
    """Read a gateway's configuration. Raises ValueError."""
    try:
        return configuration.load(path)
    except FatalError as error:
        raise ValueError(str(error)) from None


def by_name(config: Config, of: Callable[[ContainerConfig], _T]) -> dict[str, _T]:
    """Return what every container has, by its id, its asset's name and its devices."""
    known: dict[str, _T] = {}
    for it in config.containers:
        known[it.id] = known[f"container/{it.id}"] = of(it)
    for device in build(config).devices.values():
        if device.asset_key in known:
            known[device.dev_eui_hex] = known[device.asset_key]
    return known


def distance_mm(values: Mapping[str, Any]) -> int | None:
    """Return a row's distance, None for no echo. Raises ValueError for what is none."""
    distance = _millimetres(values, "distance")
    if distance is not None and distance > _FARTHEST_MM:
        raise ValueError(f"no sensor reaches as far as {distance:.0f} mm")
    return round(distance) if distance is not None and distance > 0 else None


def true_pct(values: Mapping[str, Any], of: Inside | None) -> float | None:
    """Return a row's true level, None if it is not known. Raises ValueError for what is none."""
    level: float | None = values.get("true_pct")
    true_mm = _millimetres(values, "true_distance")
    if level is None and true_mm is not None and of is not None:
        level = of.level_pct(true_mm)
    if level is not None and not _TRUE_PCT[0] <= level <= _TRUE_PCT[1]:
        raise ValueError(f"no container is {level:.0f} % full")
    return level


def _millimetres(values: Mapping[str, Any], name: str) -> float | None:
    for unit, factor in _MM.items():
        number: float | None = values.get(f"{name}_{unit}")
        if number is not None:
            return number * factor
    return None


def _of_row(row: Mapping[str, Any]) -> Inside:
    depth_mm = _millimetres(row, "depth")
    if depth_mm is None:
        raise ValueError("has no depth_cm or depth_mm")
    return _upright(depth_mm, _millimetres(row, "full") or 0.0)


def _upright(depth_mm: float, full_mm: float) -> Inside:
    if not (0 <= full_mm < depth_mm <= _DEEPEST_MM and round(full_mm) < round(depth_mm)):
        raise ValueError(
            f"a depth of {depth_mm / 10:g} cm, full at {full_mm / 10:g} cm: the depth is at most"
            f" {_DEEPEST_MM // 10} cm, and full is nearer to the sensor"
        )
    return Inside(round(depth_mm), round(full_mm))

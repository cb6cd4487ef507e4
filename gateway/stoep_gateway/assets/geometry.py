"""From a distance to how full a container is, by volume. Pure.

The sensor looks straight down on waste that is taken as level. Heights are above the container's
lowest point, distances below the sensor, both in mm; volumes are in whatever a shape counts in,
for only their ratio matters.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from typing import Protocol

from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.values import value

__all__ = ["FILL_MAX_PCT", "Inside", "Misfit", "inside"]

FILL_MAX_PCT = 120.0  # waste above the level that counts as full; more is a hand or a lid
_TABLE_SLACK = 0.02  # of capacity_l, by which a table may differ from it
_KEYS = {
    "floor_width_mm": ("tapered", "trough"),
    "full_width_mm": ("tapered", "trough"),
    "diameter_mm": ("lying",),
    "litres_at_mm": ("table",),
    "sensor_beside_mm": ("tapered", "trough", "lying"),
}
_NEEDED = {
    "straight": (),
    "tapered": ("floor_width_mm", "full_width_mm"),
    "trough": ("floor_width_mm", "full_width_mm"),
    "lying": ("diameter_mm",),
    "table": ("litres_at_mm",),
}


class Misfit(ValueError):  # noqa: N818 (it says the situation, as its siblings do)
    """What is configured cannot be the inside of a container; ``key`` is what to change."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class _Shape(Protocol):
    def volume(self, height_mm: float) -> float:
        """Return what is below a height; it never falls."""


@value
class _Leaning:
    """``floor_mm`` wide at the floor, ``full_mm`` at a height, in one direction or in both.

    Above that height the walls are upright.
    """

    floor_mm: float
    full_mm: float
    height_mm: float
    both: bool

    def volume(self, height_mm: float) -> float:
        a, b = self.floor_mm, (self.full_mm - self.floor_mm) / self.height_mm
        h = min(height_mm, self.height_mm)
        above_mm = height_mm - h
        if self.both:
            return h * (a * a + h * (a * b + h * b * b / 3)) + self.full_mm**2 * above_mm
        return h * (a + h * b / 2) + self.full_mm * above_mm


@value
class _Lying:
    """A cylinder on its side."""

    diameter_mm: float

    def volume(self, height_mm: float) -> float:
        r = self.diameter_mm / 2
        up = min(max(height_mm - r, -r), r)  # above the axis
        return r * r * math.acos(-up / r) + up * math.sqrt(r * r - up * up)


@value
class _Table:
    """Litres by height; between two heights, and above the last, walls are upright."""

    heights_mm: tuple[float, ...]
    litres: tuple[float, ...]

    def volume(self, height_mm: float) -> float:
        at = min(max(bisect_right(self.heights_mm, height_mm), 1), len(self.litres) - 1)
        (h0, h1), (v0, v1) = self.heights_mm[at - 1 : at + 1], self.litres[at - 1 : at + 1]
        return v0 + (v1 - v0) * (height_mm - h0) / (h1 - h0)


@value
class Inside:
    """A container as its sensor sees it; without a ``shape`` its walls are upright.

    ``depth_mm`` away is what the sensor sees of the empty container (0 %), ``full_mm`` away the
    level that is 100 %, which may be behind it (negative). Nearer than ``dead_zone_mm`` it sees
    nothing. ``hidden_mm`` is how much lower the lowest point is than what it sees.
    """

    depth_mm: int
    full_mm: int
    dead_zone_mm: int = 0
    shape: _Shape | None = None
    hidden_mm: float = 0.0

    def level_pct(self, distance_mm: float) -> float:
        """Return how full the container is if the waste is so far away, without any bounds."""
        shape = self.shape
        if shape is None:
            return 100.0 * (self.depth_mm - distance_mm) / (self.depth_mm - self.full_mm)
        bottom_mm = self.depth_mm + self.hidden_mm
        unseen = shape.volume(self.hidden_mm)
        seen = shape.volume(max(bottom_mm - distance_mm, self.hidden_mm)) - unseen
        return 100.0 * seen / (shape.volume(bottom_mm - self.full_mm) - unseen)

    def fill_pct(self, distance_mm: float) -> float:
        """Return the same as is published: 0.0 to `FILL_MAX_PCT`, to a tenth of a point."""
        level = self.level_pct(max(distance_mm, self.dead_zone_mm))
        return round(min(max(level, 0.0), FILL_MAX_PCT), 1)


def inside(config: ContainerConfig) -> Inside:
    """Return the inside of a configured container. Raises `Misfit`."""
    if config.full_mm >= config.depth_mm:
        raise Misfit(
            "full_mm",
            f"full_mm ({config.full_mm}) must be less than depth_mm ({config.depth_mm}): the"
            " sensor measures downward",
        )
    depth_mm, full_mm = config.depth_mm - config.sensor_below_mm, config.full_mm
    for key, limit in (("sensor_below_mm", config.depth_mm), ("dead_zone_mm", depth_mm)):
        if getattr(config, key) >= limit:
            raise Misfit(key, f"{key} must leave room to the floor: less than {limit}")
    for key, shapes in _KEYS.items():
        if key in config.model_fields_set and config.shape not in shapes:
            known = " or ".join(f'"{it}"' for it in shapes)
            raise Misfit(key, f"{key} is of shape {known}")
    for key in _NEEDED[config.shape]:
        if getattr(config, key) is None:
            raise Misfit("shape", f'shape "{config.shape}" needs "{key}"')
    shape, hidden_mm = _shape(config, config.depth_mm - config.full_mm)
    return Inside(depth_mm, full_mm - config.sensor_below_mm, config.dead_zone_mm, shape, hidden_mm)


def _shape(config: ContainerConfig, seen_mm: int) -> tuple[_Shape | None, float]:
    """Return the shape and what of its height the sensor does not see beside the middle.

    ``seen_mm`` is from what it sees of the empty container to the level that is full.
    """
    beside_mm = config.sensor_beside_mm
    if config.diameter_mm is not None:
        r = config.diameter_mm / 2
        if beside_mm >= r:
            raise Misfit("sensor_beside_mm", "sensor_beside_mm must be less than half the diameter")
        hidden_mm = r - math.sqrt(r * r - beside_mm * beside_mm)
        if seen_mm + hidden_mm > config.diameter_mm:
            raise Misfit("diameter_mm", "from the floor to full_mm is more than diameter_mm")
        return _Lying(config.diameter_mm), hidden_mm
    if config.floor_width_mm is not None and config.full_width_mm is not None:
        floor_mm, full_mm = config.floor_width_mm, config.full_width_mm
        if 2 * beside_mm >= max(full_mm, floor_mm + 1):
            raise Misfit("sensor_beside_mm", "sensor_beside_mm is beyond the wall")
        hidden_mm = 0.0
        if 2 * beside_mm > floor_mm:  # it sees a wall, at that share of the height
            share = (2 * beside_mm - floor_mm) / (full_mm - floor_mm)
            hidden_mm = seen_mm * share / (1 - share)
        both = config.shape == "tapered"
        return _Leaning(floor_mm, full_mm, seen_mm + hidden_mm, both), hidden_mm
    if config.litres_at_mm is not None:
        return _table(config.litres_at_mm, config.capacity_l, seen_mm), 0.0
    return None, 0.0


def _table(rows: list[list[float]], capacity_l: int, full_mm: int) -> _Table:
    key = "litres_at_mm"
    rising = all(low[0] < high[0] and low[1] <= high[1] for low, high in itertools.pairwise(rows))
    if not rising or rows[0] != [0, 0]:
        raise Misfit(key, f"{key} begins with [0, 0] and rises: height above the floor, litres")
    if rows[-1][0] < full_mm:
        raise Misfit(key, f"{key} ends below full_mm, which is {full_mm} mm above the floor")
    heights_mm, litres = zip(*rows, strict=True)
    table = _Table(heights_mm, litres)
    full_l = table.volume(full_mm)
    if abs(full_l - capacity_l) > _TABLE_SLACK * capacity_l:
        raise Misfit("capacity_l", f"capacity_l ({capacity_l}) is {full_l:g} at full_mm by {key}")
    return table

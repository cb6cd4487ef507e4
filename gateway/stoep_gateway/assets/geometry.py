"""From a distance to a fill level. Pure."""

from __future__ import annotations

__all__ = ["FILL_MAX_PCT", "fill_pct"]

FILL_MAX_PCT = 120.0  # waste above the level that counts as full; more is a hand or a lid


def fill_pct(distance_mm: float, depth_mm: int, full_mm: int) -> float:
    """Return how full a container is, 0.0 to `FILL_MAX_PCT`, to a tenth of a point.

    The sensor looks down: ``depth_mm`` away is the floor (0 %), ``full_mm`` away is 100 %, and
    ``full_mm < depth_mm``. The walls are taken as straight.
    """
    level = 100.0 * (depth_mm - distance_mm) / (depth_mm - full_mm)
    return round(min(max(level, 0.0), FILL_MAX_PCT), 1)

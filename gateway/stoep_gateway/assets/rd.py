"""Coordinates of the Dutch national grid, RD New (EPSG:28992), as latitude and longitude. Pure.

The polynomial of F. H. Schreutelkamp and G. L. Strang van Hees, "Benaderingsformules voor de
transformatie tussen RD- en WGS84-kaartcoördinaten" (Geodesia, 2001). It is at most half a metre
away from the points that the Kadaster publishes to test RDNAPTRANS with.
"""

from __future__ import annotations

__all__ = ["is_in_grid", "to_wgs84"]

_X, _Y = 155_000.0, 463_000.0  # of the tower in Amersfoort
_LAT, _LON = 52.15517440, 5.38720621
# By powers of x and y, in 100 km from there: seconds of arc.
_OF_LAT = (
    (0, 1, 3235.65389),
    (2, 0, -32.58297),
    (0, 2, -0.24750),
    (2, 1, -0.84978),
    (0, 3, -0.06550),
    (2, 2, -0.01709),
    (1, 0, -0.00738),
    (4, 0, 0.00530),
    (2, 3, -0.00039),
    (4, 1, 0.00033),
    (1, 1, -0.00012),
)
_OF_LON = (
    (1, 0, 5260.52916),
    (1, 1, 105.94684),
    (1, 2, 2.45656),
    (3, 0, -0.81885),
    (1, 3, 0.05594),
    (3, 1, -0.05607),
    (0, 1, 0.01199),
    (3, 2, -0.00256),
    (1, 4, 0.00128),
    (0, 2, 0.00022),
    (2, 0, -0.00022),
    (5, 0, 0.00026),
)


def is_in_grid(x: float, y: float) -> bool:
    """Tell whether the grid is good there: the European Netherlands and a little more."""
    return -7_000 <= x <= 300_000 and 289_000 <= y <= 629_000


def to_wgs84(x: float, y: float) -> tuple[float, float]:
    """Return latitude and longitude in degrees; x and y in metres, as `is_in_grid` allows."""
    dx, dy = (x - _X) / 1e5, (y - _Y) / 1e5
    lat = sum(seconds * dx**p * dy**q for p, q, seconds in _OF_LAT)
    lon = sum(seconds * dx**p * dy**q for p, q, seconds in _OF_LON)
    return _LAT + lat / 3600, _LON + lon / 3600

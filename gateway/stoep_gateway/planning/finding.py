"""Finds ways on roads, in a map or by a server: what `ways` leaves to others.

To be called in the solver's process, which ends: numpy and what the extra ``roads`` brings are
loaded for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stoep_gateway.planning.distances import Point
from stoep_gateway.planning.ways import Roads, RoadsError, Ways

__all__ = ["find"]

_MOST_KEPT = 3000  # places whose ways are found at once, and kept: 72 MB


def find(points: Sequence[Point], ways: Ways) -> Roads:
    """Return the ways between the points. Raises `RoadsError`."""
    try:
        import numpy as np  # noqa: PLC0415

        from stoep_gateway.planning.roads_model import Found, Spot  # noqa: PLC0415

        own = [Spot(it.lat, it.lon, it.near) for it in points]
        spots = sorted(set(own))
        if ways.osrm is not None:
            from stoep_gateway.planning import osrm  # noqa: PLC0415

            found: Found = osrm.matrix(ways.osrm, spots)
        else:
            from stoep_gateway.planning import road_cache  # noqa: PLC0415
            from stoep_gateway.planning.road_tags import Lorry  # noqa: PLC0415

            every = {*own, *(Spot(it.lat, it.lon, it.near) for it in ways.places)}
            found = road_cache.matrix(
                Path(ways.roads or ""),
                spots := sorted(every) if len(every) <= _MOST_KEPT else spots,
                Lorry(ways.tonnes, ways.height_m),
                left=ways.left,
                folder=None if ways.folder is None else Path(ways.folder),
            )
    except ImportError as error:
        said = f"{error}; what reads maps is installed by: pip install 'stoep[roads]'"
        raise RoadsError(said) from error
    row_of = {it: row for row, it in enumerate(spots)}
    rows = [row_of[it] for it in own]
    here = np.ix_(rows, rows)
    return Roads(
        found.metres[here].tolist(),
        found.seconds[here].tolist(),
        found.off_m[rows].tolist(),
        found.across[rows].tolist(),
    )

"""Metres and seconds between the places of a question: of a table, of roads, or estimated. Pure.

What is not to be had is estimated, and said in the notes; nothing here ever fails.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from stoep_gateway.planning.distances import DistanceTable, Point, matrix_m, table_km

__all__ = ["FARTHEST_M", "Find", "Matrices", "Roads", "RoadsError", "Ways", "matrices"]

FARTHEST_M = 250.0  # from a place to its road
_WORTH_A_WORD_M = 100
_MOST_NAMES = 8


class RoadsError(Exception):
    """No ways are to be had; says why."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Who knows the roads: ``roads``, an OpenStreetMap extract, or ``osrm``, the URL of a server.

    ``left``: traffic keeps to the left. ``tonnes`` and ``height_m`` are a truck's. What is found in
    an extract is kept in ``folder``, for all ``places`` at once, so that the next question, about
    others of them, need not read it again.
    """

    roads: str | None = None
    osrm: str | None = None
    left: bool = False
    tonnes: float = 18
    height_m: float = 3.8
    folder: str | None = None
    places: Sequence[Point] = ()


@dataclass(frozen=True, slots=True)
class Roads:
    """Ways from every point to every other, -1 where none leads.

    ``off_m`` is how far a point is from its road, infinite if that is too far; ``across`` whether a
    truck can only stop on the other side of it.
    """

    metres: list[list[int]]
    seconds: list[list[int]]
    off_m: list[float]
    across: list[bool]


Find = Callable[[Sequence[Point], Ways], Roads]  # raises RoadsError


@dataclass(frozen=True, slots=True)
class Matrices:
    """From every point to every other; ``source`` is table, roads, osrm, estimate or mixed."""

    metres: Sequence[Sequence[int]]
    seconds: Sequence[Sequence[int]]
    source: str
    notes: tuple[str, ...] = ()


def matrices(
    points: Sequence[Point],
    table: DistanceTable | None,
    detour_factor: float,
    speed_kmh: float,
    ways: Ways | None = None,
    find: Find | None = None,
) -> Matrices:
    """Return the distances: of the table, else as found, else straight ones times the factor."""
    metres, source = matrix_m(points, table, detour_factor)
    seconds = [array("q", (round(it * 3.6 / speed_kmh) for it in row)) for row in metres]
    if ways is None or find is None:
        return Matrices(metres, seconds, source)
    try:
        roads = find(points, ways)
    except RoadsError as error:
        who = ways.osrm or PurePath(ways.roads or "").name
        return Matrices(metres, seconds, source, (f"distances are estimated: {who}: {error}",))
    sources = set()
    lost = 0
    for (a, start), (b, end) in itertools.product(enumerate(points), repeat=2):
        if table_km(start, end, table) is not None:
            its = "table"
        elif roads.metres[a][b] >= 0:
            its = "roads" if ways.osrm is None else "osrm"
            metres[a][b], seconds[a][b] = roads.metres[a][b], roads.seconds[a][b]
        else:
            its = "estimate"
            lost += math.isfinite(roads.off_m[a] + roads.off_m[b])
        if (start.lat, start.lon) != (end.lat, end.lon):
            sources.add(its)
    notes = [*_notes(points, roads)]
    if lost:
        notes.append(f"no road leads there: {lost} ways between places are estimated")
    source = "mixed" if len(sources) > 1 else next(iter(sources), source)
    return Matrices(metres, seconds, source, tuple(notes))


def _notes(points: Sequence[Point], roads: Roads) -> Iterator[str]:
    """Give what there is to say of places."""
    off_m = {it.name: far_m for it, far_m in zip(points, roads.off_m, strict=True)}
    for what, names in (
        (
            f"estimated, since no road for a truck is within {FARTHEST_M:.0f} m",
            [name for name, far_m in off_m.items() if math.isinf(far_m)],
        ),
        (
            "far from the nearest road for a truck",
            [
                f"{name} ({far_m:.0f} m)"
                for name, far_m in off_m.items()
                if _WORTH_A_WORD_M < far_m < math.inf
            ],
        ),
        (
            "no truck can stop on their side of the street",
            list(
                dict.fromkeys(
                    it.name for it, is_so in zip(points, roads.across, strict=True) if is_so
                )
            ),
        ),
    ):
        if names:
            more = len(names) - _MOST_NAMES
            yield f"{what}: {', '.join(names[:_MOST_NAMES])}" + (
                f" and {more} more" if more > 0 else ""
            )

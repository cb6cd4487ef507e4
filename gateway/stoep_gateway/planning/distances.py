"""Road distances between places: a table read from CSV, or an estimate from coordinates."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stoep_gateway.errors import Mistake

__all__ = ["DistanceTable", "Point", "matrix_m", "read_table", "straight_line_km", "table_km"]

HEADER = ("FROM_ID", "TO_ID", "DIST_KM")
_EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
_LONGEST_KM = 20_000.0
_SHOWN = 20  # mistakes per file; more of them would only say the same


@dataclass(frozen=True, slots=True)
class DistanceTable:
    """Kilometres by road from one id to another; not necessarily the same in both directions."""

    km: dict[int, dict[int, float]]

    def __contains__(self, identifier: object) -> bool:
        return identifier in self.km

    def __len__(self) -> int:
        return len(self.km)


def straight_line_km(from_lat: float, from_lon: float, to_lat: float, to_lon: float) -> float:
    """Return the great-circle distance between two points in degrees (haversine)."""
    half_lat = math.radians(to_lat - from_lat) / 2
    half_lon = math.radians(to_lon - from_lon) / 2
    cosines = math.cos(math.radians(from_lat)) * math.cos(math.radians(to_lat))
    chord = math.sin(half_lat) ** 2 + cosines * math.sin(half_lon) ** 2
    return 2 * _EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord)))


def read_table(lines: Iterable[str], file: str) -> tuple[DistanceTable, list[Mistake]]:
    """Read ``FROM_ID,TO_ID,DIST_KM`` rows; return the table and every mistake found in them.

    The table is complete, from every id to every other, when there is no mistake. The distance
    from an id to itself may be left out.
    """
    mistakes: list[Mistake] = []
    rows = csv.reader(lines)
    header = tuple(name.strip().upper().lstrip("\ufeff") for name in next(rows, []))
    if header != HEADER:
        return DistanceTable({}), [Mistake(file, 1, f"the first line must be {','.join(HEADER)}")]
    km: dict[int, dict[int, float]] = {}
    for row in rows:
        if not row:
            continue
        try:
            from_id, to_id, distance = _row(row)
        except ValueError as error:
            mistakes.append(Mistake(file, rows.line_num, str(error)))
            continue
        to_ids = km.setdefault(from_id, {})
        if to_id in to_ids:
            mistakes.append(Mistake(file, rows.line_num, f"{from_id} to {to_id} is given twice"))
        to_ids[to_id] = distance
    for identifier in {to_id for to_ids in km.values() for to_id in to_ids}:
        km.setdefault(identifier, {}).setdefault(identifier, 0.0)
    for identifier, to_ids in km.items():
        to_ids.setdefault(identifier, 0.0)
    if not mistakes:
        mistakes.extend(Mistake(file, 0, gap) for gap in _gaps(km))
    return DistanceTable(km), _shortened(mistakes, file)


def _row(row: list[str]) -> tuple[int, int, float]:
    if len(row) != len(HEADER):
        raise ValueError(f"a row has {len(HEADER)} values, this one {len(row)}")
    try:
        from_id, to_id = int(row[0]), int(row[1])
    except ValueError:
        raise ValueError("FROM_ID and TO_ID must be whole numbers") from None
    try:
        distance = float(row[2])
    except ValueError:
        raise ValueError("DIST_KM must be a number") from None
    if from_id == to_id and distance != 0:
        raise ValueError(f"the distance from {from_id} to itself is 0, or left out")
    if not 0 <= distance <= _LONGEST_KM:
        raise ValueError(f"DIST_KM must be between 0 and {_LONGEST_KM:.0f}")
    return from_id, to_id, distance


def _gaps(km: dict[int, dict[int, float]]) -> Iterator[str]:
    for from_id, to_ids in km.items():
        missing = [to_id for to_id in km if to_id not in to_ids]
        if len(missing) == 1:
            yield f"the distance from {from_id} to {missing[0]} is missing"
        elif missing:
            more = len(missing) - 1
            yield f"the distances from {from_id} to {missing[0]} and to {more} more are missing"


def _shortened(mistakes: list[Mistake], file: str) -> list[Mistake]:
    if len(mistakes) <= _SHOWN:
        return mistakes
    more = Mistake(file, 0, f"and {len(mistakes) - _SHOWN} more mistakes like these")
    return [*mistakes[:_SHOWN], more]


@dataclass(frozen=True, slots=True)
class Point:
    """A place in degrees; ``index`` is its id in the table, None if it has none.

    ``near``: the truck has to stop on its side of the street. ``name`` is for people.
    """

    lat: float
    lon: float
    index: int | None = None
    near: bool = False
    name: str = ""


def matrix_m(
    points: Sequence[Point], table: DistanceTable | None, detour_factor: float
) -> tuple[list[array[int]], str]:
    """Return the distances in metres from every point to every other, and where they come from.

    The source is "table", "estimate" (straight line times ``detour_factor``), or "mixed" when the
    table lacks some of the points.
    """
    rows = _straight_m(points, detour_factor)
    if table is None:
        return rows, "estimate"
    sources = set()
    for start, row in zip(points, rows, strict=True):
        for number, end in enumerate(points):
            kilometres = table_km(start, end, table)
            if kilometres is not None:
                row[number] = round(1000 * kilometres)
            if start != end:
                sources.add("estimate" if kilometres is None else "table")
    if len(sources) > 1:
        return rows, "mixed"
    return rows, sources.pop() if sources else "estimate"


def _straight_m(points: Sequence[Point], factor: float) -> list[array[int]]:
    """Return straight lines times a factor: as `straight_line_km`, for a thousand places."""
    # 40 MB that only who plans needs.
    import numpy as np  # noqa: PLC0415

    lats = np.array([it.lat for it in points])
    lons = np.array([it.lon for it in points])
    cosines = np.cos(np.radians(lats))
    rows = []
    for lat, lon, cosine in zip(lats, lons, cosines, strict=True):
        across = np.sin(np.radians(lons - lon) / 2) ** 2
        chord = np.sin(np.radians(lats - lat) / 2) ** 2 + cosine * cosines * across
        km = factor * (2 * _EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, chord))))
        rows.append(array("q", np.rint(1000 * km).astype(np.int64).tobytes()))
    return rows


def table_km(start: Point, end: Point, table: DistanceTable | None) -> float | None:
    """Return what the table says, None if it says nothing."""
    if table is None or start.index is None or end.index is None:
        return None
    return table.km.get(start.index, {}).get(end.index)

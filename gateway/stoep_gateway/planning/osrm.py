"""Metres and seconds from place to place as an OSRM server tells them (its HTTP API, table/v1).

Its profile is the server's affair: "driving" may well be a truck. Blocking; made for a process of
its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import httpx
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stoep_gateway.planning.roads_model import Found, Spot
from stoep_gateway.planning.ways import FARTHEST_M, RoadsError

__all__ = ["matrix"]

_CHUNK = 100  # a server takes tables of 100 x 100 unless told otherwise
_CONNECT_S = 5.0
_READ_S = 30.0
_TOTAL_S = 300.0
_MOST_OCTETS = 8_000_000
_LONGEST = 1e8  # metres, or seconds

Cells = list[list[float | None]]


class _Snapped(BaseModel):
    model_config = ConfigDict(extra="ignore")

    distance: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore")

    code: str
    message: str = ""
    distances: Cells = []
    durations: Cells = []
    sources: list[_Snapped] = []
    destinations: list[_Snapped] = []


def matrix(url: str, spots: Sequence[Spot], *, total_s: float = _TOTAL_S) -> Found:
    """Return the fastest ways between the spots. Raises `RoadsError`."""
    count = len(spots)
    metres = np.full((count, count), -1, dtype=np.int32)
    seconds = metres.copy()
    off_m = np.full(count, math.inf)
    until_s = time.monotonic() + total_s
    parts = [range(first, min(count, first + _CHUNK)) for first in range(0, count, _CHUNK)]
    try:
        with httpx.Client(
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S), trust_env=False
        ) as client:
            for rows in parts:
                for columns in parts:
                    table = _table(client, url, spots, rows, columns, until_s)
                    here = np.ix_(rows, columns)
                    metres[here] = _cells(table.distances, rows, columns)
                    seconds[here] = _cells(table.durations, rows, columns)
                    off_m[rows] = [it.distance for it in table.sources]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RoadsError(f"no answer: {type(error).__name__}") from error
    leads = (metres >= 0) & (seconds >= 0)
    metres[~leads] = seconds[~leads] = -1
    off_m[off_m > FARTHEST_M] = math.inf
    is_far = np.isinf(off_m)
    for values in (metres, seconds):
        values[is_far, :] = values[:, is_far] = -1
    return Found(metres, seconds, off_m, np.zeros(count, dtype=bool))


def _table(
    client: httpx.Client,
    url: str,
    spots: Sequence[Spot],
    rows: range,
    columns: range,
    until_s: float,
) -> _Table:
    is_square = rows == columns
    asked = [spots[it] for it in (rows if is_square else [*rows, *columns])]
    places = ";".join(f"{it.lon:.6f},{it.lat:.6f}" for it in asked)
    parameters = {"annotations": "duration,distance", "generate_hints": "false"}
    if not is_square:
        parameters["sources"] = ";".join(map(str, range(len(rows))))
        parameters["destinations"] = ";".join(map(str, range(len(rows), len(asked))))
    if any(it.near for it in asked):
        sides = ["curb" if it.near else "unrestricted" for it in asked]
        parameters["approaches"] = ";".join(sides)
    query = "&".join(f"{key}={value}" for key, value in parameters.items())
    body = bytearray()
    with client.stream("GET", f"{url}/table/v1/driving/{places}?{query}") as response:
        for octets in response.iter_bytes():
            body += octets
            if len(body) > _MOST_OCTETS:
                raise RoadsError("it answers without an end")
            if time.monotonic() > until_s:
                raise RoadsError("it takes too long")
    try:
        table = _Table.model_validate_json(bytes(body))
    except ValidationError:
        raise RoadsError(f"what it answers ({response.status_code}) is no table") from None
    if table.code != "Ok":
        said = f"{table.code}: {table.message}"[:100]
        raise RoadsError("".join(it for it in said if it.isprintable()))
    if len(table.sources) != len(rows) or len(table.destinations) != len(columns):
        raise RoadsError("it answers with a table of other places")
    return table


def _cells(told: Cells, rows: range, columns: range) -> list[list[int]]:
    if len(told) != len(rows) or any(len(row) != len(columns) for row in told):
        raise RoadsError("it answers with a table of another size")
    cells = []
    for row in told:
        if not all(it is None or 0 <= it <= _LONGEST for it in row):
            raise RoadsError("it answers with distances that are none")
        cells.append([-1 if it is None else round(it) for it in row])
    return cells

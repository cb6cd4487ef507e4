"""Finds places whose latitude and longitude are swapped: near the site only the other way round.

Where the site is, is known from the time zone, whose own point the time zone database tells
(``zone.tab``); else from where most of its places are.
"""

from __future__ import annotations

import importlib.resources
import re
import statistics
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

from stoep_gateway.config_reader import Entry, Reader
from stoep_gateway.planning.distances import straight_line_km

__all__ = ["check_positions", "zone_point"]

_TABLES = ("gateway", "device", "container", "bay", "place", "event")
_ZONE_KM = 1500.0  # from a zone's point its places are hardly farther away
_SITE_KM = 100.0
_POINT = re.compile(r"([+-])(\d\d)(\d\d)(?:\d\d)?([+-])(\d{3})(\d\d)(?:\d\d)?")

_Point = tuple[float, float]


def check_positions(
    reader: Reader, entries: Mapping[str, Sequence[Entry]], timezone: zoneinfo.ZoneInfo
) -> None:
    """Report what is swapped."""
    placed = [
        (entry, (lat, lon))
        for table in _TABLES
        for entry in entries[table]
        if _is_angle(lat := entry.raw.get("lat"), 90)
        and _is_angle(lon := entry.raw.get("lon"), 180)
    ]
    if not placed:
        return
    site, near_km = zone_point(timezone.key), _ZONE_KM
    if site is None:
        site, near_km = _middle(at for _, at in placed), _SITE_KM
    for entry, (lat, lon) in placed:
        is_far = straight_line_km(*site, lat, lon) > 2 * near_km
        if is_far and abs(lon) <= 90 and straight_line_km(*site, lon, lat) < near_km:
            message = f"lat and lon are swapped: {lon:g}, {lat:g} is near the other places"
            if near_km == _ZONE_KM:
                message = f"lat and lon are swapped: {lon:g}, {lat:g} is in {timezone.key}"
            reader.report(entry.document, (*entry.path, "lat"), message)


def zone_point(key: str) -> _Point | None:
    """Return a point of a time zone in degrees, by the time zone database; None if it has none."""
    for folder in (*zoneinfo.TZPATH, None):  # the system's, else the package tzdata's
        try:
            of = importlib.resources.files("tzdata.zoneinfo") if folder is None else Path(folder)
            text = (of / "zone.tab").read_text(encoding="utf-8")
        except (ModuleNotFoundError, OSError, UnicodeDecodeError):
            continue
        for line in text.splitlines():
            columns = line.split("\t")
            if len(columns) > 2 and columns[2] == key and (at := _POINT.fullmatch(columns[1])):
                lat = (int(at[2]) + int(at[3]) / 60) * (-1 if at[1] == "-" else 1)
                lon = (int(at[5]) + int(at[6]) / 60) * (-1 if at[4] == "-" else 1)
                return lat, lon
    return None


def _is_angle(it: object, most: float) -> TypeGuard[float]:
    return isinstance(it, int | float) and not isinstance(it, bool) and abs(it) <= most


def _middle(points: Iterable[_Point]) -> _Point:
    lats, lons = zip(*points, strict=True)
    return statistics.median(lats), statistics.median(lons)

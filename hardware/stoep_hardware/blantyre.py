"""Real waste skips for the simulated street: Blantyre's log of fullness, its sites, its roads.

The data, their licence and what was changed are described in `data/blantyre/README.md`:
Copyright (c) Global Health Engineering ETH Zurich, CC BY 4.0.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo

from .engine import US_PER_S
from .world import FillCurve

TIMEZONE = "Africa/Blantyre"
# A Monday on which twelve of the 13 skips were visited: some full, some not, half of them filling.
DEMO_START = datetime(2021, 6, 21, 5, 30, tzinfo=ZoneInfo(TIMEZONE))
ATTRIBUTION = "Waste data: Copyright (c) Global Health Engineering ETH Zurich, CC BY 4.0"
DISTANCES = "distance_km.csv"

_FULL_M3 = 7.0
_VISIT = time(12, 0)
_EMPTYING = time(9, 0)
# The beginning of a site's name, by the beginning of a column's.
_AREAS = {"Bangwe": "Bangwe", "BCA": "BCA", "Naizi": "Naizi", "Chigumula": "Chigumula"}
# Where generated containers stand: the markets of Limbe first, in the midst of the real ones.
_FURTHER_SITES = (17, 16, 19, 18, 20, 22, 21, 14, 15)


@dataclass(frozen=True, slots=True)
class Site:
    """A place where skips stand."""

    id: int
    name: str
    lat: float
    lon: float
    capacity_l: int


@dataclass(frozen=True, slots=True)
class Place:
    """A yard or a disposal site; its position is an estimate. `id` is that of the distances."""

    id: int
    name: str
    kind: str  # "depot", "disposal", "composting"
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Skip:
    """A skip with its log: `(day, level)`, 1.0 being full, in order of time."""

    id: str
    name: str
    fraction: str
    site: Site
    visits: tuple[tuple[date, float], ...]


def sites() -> dict[int, Site]:
    """Return the 53 sites by id."""
    return {
        int(row["id"]): Site(
            int(row["id"]),
            row["name"],
            float(row["lat"]),
            float(row["lon"]),
            int(row["capacity_l"]),
        )
        for row in _rows("sites.csv")
    }


def places() -> tuple[Place, ...]:
    """Return the dump, the composting site and the vehicles' yard."""
    return tuple(
        Place(int(row["id"]), row["name"], row["kind"], float(row["lat"]), float(row["lon"]))
        for row in _rows("places.csv")
    )


def distances_csv() -> str:
    """Return the table of road distances: `FROM_ID,TO_ID,DIST_KM` lines."""
    return _text(DISTANCES)


def skips() -> tuple[Skip, ...]:
    """Return the 13 skips that have a usable log, each on its site."""
    rows = list(_rows("fullness_m3.csv"))
    all_sites = sites().values()
    taken = dict.fromkeys(_AREAS, 0)
    result = []
    for column in rows[0]:
        if column == "date":
            continue
        area, fraction, number = column.split("_")
        candidates = [site for site in all_sites if site.name.startswith(_AREAS[area])]
        site = candidates[taken[area] % len(candidates)]
        taken[area] += 1
        visits = tuple(
            (date.fromisoformat(row["date"]), float(row[column]) / _FULL_M3)
            for row in rows
            if row[column]
        )
        name = f"{site.name}, {fraction.lower()} {number}"
        skip_id = f"{area}-{fraction}-{number}".lower()
        result.append(Skip(skip_id, name, fraction.lower(), site, visits))
    return tuple(result)


def further_sites() -> tuple[Site, ...]:
    """Return sites without a log, on which generated containers may stand."""
    by_id = sites()
    used = {skip.site.id for skip in skips()}
    near = [by_id[number] for number in _FURTHER_SITES if number not in used]
    rest = [site for site in by_id.values() if site.id not in used and site not in near]
    return (*near, *rest)


def fill_curve(skip: Skip, start: datetime) -> FillCurve:
    """Return a skip's level over simulated time, which begins at `start` (with its time zone).

    Straight between the visits; where the level fell, an emptying on the morning of the later day.
    """
    points = [(_at_us(skip.visits[0][0], _VISIT, start), skip.visits[0][1])]
    for (_, before), (day, after) in pairwise(skip.visits):
        if after < before:
            emptied_us = _at_us(day, _EMPTYING, start)
            points += [(emptied_us, before), (emptied_us, 0.0)]
        points.append((_at_us(day, _VISIT, start), after))
    return FillCurve(points)


def _at_us(day: date, hour: time, start: datetime) -> int:
    moment = datetime.combine(day, hour, tzinfo=ZoneInfo(TIMEZONE))
    return (moment - start) // timedelta(seconds=1) * US_PER_S


def _text(name: str) -> str:
    return (
        resources.files(__package__).joinpath("data", "blantyre", name).read_text(encoding="utf-8")
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    return csv.DictReader(_text(name).splitlines())

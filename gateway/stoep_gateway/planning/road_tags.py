"""What the tags of a way in OpenStreetMap say to a refuse truck. Pure.

Tags as in the OpenStreetMap wiki: Key:highway, Key:access, Key:oneway, Key:maxspeed, Key:maxweight,
Key:maxheight, Key:barrier. The speeds are guesses, for a truck of the town's that nobody hurries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Lorry", "is_closed", "speeds_kmh"]

Tags = Mapping[str, str]

# Where no limit is posted, and at most: a truck is slower in a street than it may be.
_USUAL_AND_MOST_KMH = {
    "motorway": (80, 80),
    "motorway_link": (50, 80),
    "trunk": (80, 80),
    "trunk_link": (50, 80),
    "primary": (50, 80),
    "primary_link": (40, 60),
    "secondary": (50, 80),
    "secondary_link": (40, 60),
    "tertiary": (50, 70),
    "tertiary_link": (40, 50),
    "unclassified": (40, 60),
    "residential": (30, 40),
    "living_street": (10, 15),
    "service": (15, 20),
    "road": (30, 40),
    "busway": (30, 40),
    "pedestrian": (8, 8),
    "track": (15, 20),
}
_URBAN = 0.75  # of it is left by crossings, lights and what stands in the way
_URBAN_KMH = 60  # up to here a street is taken to be in a town
_AISLE_KMH = 10
_POSTED_KMH = {"walk": 7, "none": 130}
_POSTED_ENDS_KMH = {"urban": 50, "rural": 80, "living_street": 10, "trunk": 100, "motorway": 120}

_ACCESS = ("hgv", "motor_vehicle", "vehicle", "access")  # what is said first counts
_SHUT = {"no", "private", "agricultural", "forestry", "military", "emergency", "use_sidepath"}
_AS_EXCEPTION = ("busway", "pedestrian")  # closed unless somebody says that trucks may
_BARRIERS = {
    "block",
    "bollard",
    "bus_trap",
    "chain",
    "cycle_barrier",
    "debris",
    "jersey_barrier",
    "kissing_gate",
    "log",
    "stile",
    "turnstile",
}
_NUMBER = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*([a-z]*)")
_FEET = re.compile(r"([0-9]+)\s*'\s*(?:([0-9]+)\s*\")?")
_TONNES = {"": 1.0, "t": 1.0, "kg": 0.001, "st": 0.907185, "lbs": 0.000453592, "lb": 0.000453592}
_METRES = {"": 1.0, "m": 1.0, "cm": 0.01}
_KMH = {"": 1.0, "kmh": 1.0, "km": 1.0, "mph": 1.609344}


@dataclass(frozen=True, slots=True)
class Lorry:
    """What a posted limit is compared with."""

    tonnes: float
    height_m: float


def speeds_kmh(tags: Tags, lorry: Lorry) -> tuple[float, float]:
    """Return how fast a truck drives along a way and against it; 0 where it must not."""
    kmh = _kmh(tags)
    if not kmh or not _may_enter(tags) or not _fits(tags, lorry):
        return 0.0, 0.0
    oneway = tags.get("oneway")
    if oneway is None:
        around = tags.get("junction") in ("roundabout", "circular")
        oneway = "yes" if around or tags["highway"] == "motorway" else "no"
    if oneway == "reversible":
        return 0.0, 0.0  # by the clock, which is not looked at
    return (
        0.0 if oneway in ("-1", "reverse") else kmh,
        0.0 if oneway in ("yes", "true", "1") else kmh,
    )


def is_closed(tags: Tags) -> bool:
    """Return whether no truck passes a node."""
    said = _access(tags)
    if said is not None:
        return "barrier" in tags and said in _SHUT
    return tags.get("barrier") in _BARRIERS


def _access(tags: Tags) -> str | None:
    return next((tags[key] for key in _ACCESS if key in tags), None)


def _may_enter(tags: Tags) -> bool:
    highway, said = tags["highway"], _access(tags)
    if said in _SHUT or tags.get("area") == "yes":
        return False
    if tags.get("service") == "emergency_access":
        return False
    if highway in _AS_EXCEPTION:
        return said is not None
    return highway != "track" or tags.get("tracktype") == "grade1" or said is not None


def _fits(tags: Tags, lorry: Lorry) -> bool:
    tonnes = _measure(tags.get("maxweight:hgv", tags.get("maxweight")), _TONNES)
    if tonnes is not None and tonnes < lorry.tonnes:
        # "none @ destination": but for those who have something to do there.
        return tags.get("maxweight:conditional", "").startswith("none @")
    height = tags.get("maxheight", "")
    feet = _FEET.fullmatch(height.strip())
    if feet:
        metres: float | None = 0.3048 * int(feet[1]) + 0.0254 * int(feet[2] or 0)
    else:
        metres = _measure(height, _METRES)
    return metres is None or metres >= lorry.height_m


def _kmh(tags: Tags) -> float:
    usual, most = _USUAL_AND_MOST_KMH.get(tags.get("highway", ""), (0, 0))
    if tags.get("service") in ("parking_aisle", "driveway", "alley"):
        usual = most = min(most, _AISLE_KMH)
    posted = tags.get("maxspeed:hgv", tags.get("maxspeed", ""))
    limit = _POSTED_KMH.get(posted) or _POSTED_ENDS_KMH.get(posted.rpartition(":")[2])
    if limit is None and (zone := re.fullmatch(r"[A-Z]{2}:zone:?([0-9]+)", posted)):
        limit = int(zone[1])
    kmh = limit or _measure(posted, _KMH) or usual
    kmh = min(kmh, most)
    return kmh * _URBAN if kmh <= _URBAN_KMH else kmh


def _measure(text: str | None, units: Mapping[str, float]) -> float | None:
    """Return a number in the first unit of ``units``; None for what is none."""
    match = _NUMBER.fullmatch((text or "").strip().lower())
    if match is None or match[2] not in units:
        return None
    return float(match[1].replace(",", ".")) * units[match[2]]

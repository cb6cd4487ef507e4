"""Small OpenStreetMap files, drawn in metres around one place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

LAT, LON = 52.0, 5.0
_DEGREE_M = math.radians(6_371_008.8)

At = tuple[float, float]  # metres to the east and to the north
Way = tuple[Sequence[str], Mapping[str, str]]


def degrees(at: At) -> tuple[float, float]:
    """Return latitude and longitude."""
    return LAT + at[1] / _DEGREE_M, LON + at[0] / _DEGREE_M / math.cos(math.radians(LAT))


def write_map(
    file: Path,
    nodes: Mapping[str, At],
    ways: Sequence[Way],
    node_tags: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    numbers = {name: number for number, name in enumerate(nodes, 1)}
    lines = ["<?xml version='1.0' encoding='UTF-8'?>", '<osm version="0.6" generator="by hand">']
    for name, at in nodes.items():
        lat, lon = degrees(at)
        lines.append(f'<node id="{numbers[name]}" version="1" lat="{lat:.7f}" lon="{lon:.7f}">')
        lines += [*_tags((node_tags or {}).get(name, {})), "</node>"]
    for number, (names, tags) in enumerate(ways, 1):
        lines.append(f'<way id="{number}" version="1">')
        lines += [f'<nd ref="{numbers[name]}"/>' for name in names]
        lines += [*_tags(tags), "</way>"]
    file.write_text("\n".join([*lines, "</osm>\n"]))
    return file


def _tags(tags: Mapping[str, str]) -> list[str]:
    return [f"<tag k={quoteattr(key)} v={quoteattr(value)}/>" for key, value in tags.items()]

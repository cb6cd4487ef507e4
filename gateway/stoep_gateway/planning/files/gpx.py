"""Rounds as GPX 1.1, for navigation. Pure.

OsmAnd and Garmin's devices drive by the route; Organic Maps shows it as a line, and takes its list
of places from the waypoints: so each stop is both. What is shown everywhere is the name, hence the
number in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from stoep_gateway.config import Config
from stoep_gateway.planning.files.lines import Lines
from stoep_gateway.planning.files.words import Words
from stoep_gateway.planning.plan import Plan, Round
from stoep_gateway.publish.messages import utc

__all__ = ["document"]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SYMBOLS = {"empty": "Flag, Blue", "unload": "Flag, Red", "yard": "Flag, Green"}  # Garmin's names

_Point = tuple[float, float, str, str, str]  # latitude, longitude, name, description, symbol


def document(plan: Plan, config: Config, words: Words, rounds: Sequence[Round]) -> bytes:
    """Return a route of what is still to be driven of each round, and its waypoints."""
    lines = Lines(config, words)
    root = Xml.Element(
        "gpx", xmlns="http://www.topografix.com/GPX/1/1", version="1.1", creator="Stoep"
    )
    about = Xml.SubElement(root, "metadata")
    whose = ", ".join(it.truck for it in rounds)
    provisional = f" ({words('provisional')})" if plan.provisional else ""
    title = f"{whose}, {words.date(plan.date)}{provisional}"
    _texts(about, name=title, desc=plan.site, time=utc(plan.planned_ms))
    found = {it.truck: _points(it, lines, words) for it in rounds if it.stops}
    points = {truck: stops for truck, stops in found.items() if stops}
    for truck, stops in points.items():
        for point in dict.fromkeys(stops):
            _place(root, "wpt", point, type=truck)
    for number, (truck, stops) in enumerate(points.items(), start=1):
        route = Xml.SubElement(root, "rte")
        _texts(route, name=f"{truck} {plan.date}", desc=title, number=str(number))
        for point in stops:
            _place(route, "rtept", point)
    Xml.indent(root, " ")
    text: str = Xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _points(it: Round, lines: Lines, words: Words) -> list[_Point]:
    leaving, *between, home = lines.all(it)
    digits = len(str(it.stops[-1].sequence))
    points = []
    for stop, line in zip(it.stops, between, strict=True):
        if stop.status != "planned":
            continue
        level = words("so_full", full=line.full[0]) if line.full[0] else ""
        said = [it for it in (line.at, level, line.why, line.heed) if it]
        name = f"{stop.sequence:0{digits}} {line.title}"
        points.append((stop.lat, stop.lon, name, "; ".join(said), _SYMBOLS[line.kind]))
    if points and (yard := lines.yard(it)) is not None:
        name = yard.name or yard.id
        desc = f"{leaving.at}–{home.at}"
        at_yard = (yard.lat, yard.lon, name, desc, _SYMBOLS["yard"])
        begun = len(points) < len(it.stops)
        points = [*points, at_yard] if begun else [at_yard, *points, at_yard]
    return points


def _place(parent: Xml.Element, tag: str, point: _Point, **more: str) -> None:
    lat, lon, name, desc, symbol = point
    element = Xml.SubElement(parent, tag, lat=f"{lat:.6f}", lon=f"{lon:.6f}")
    # Devices show the comment, and not the description.
    _texts(element, name=name, cmt=desc, desc=desc, sym=symbol, **more)


def _texts(parent: Xml.Element, **texts: str) -> None:
    for tag, text in texts.items():
        Xml.SubElement(parent, tag).text = _NOT_XML.sub(" ", text)

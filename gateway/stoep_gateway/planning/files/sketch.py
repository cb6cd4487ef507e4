"""A small map of rounds without roads, as lines, marks and labels in millimetres. Pure.

North is up, x goes east and y down. What lies far off all containers, often a disposal site, is
drawn at the edge, so that the streets do not shrink to a dot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["TEXT_MM", "Course", "Label", "Line", "Mark", "Sketch", "draw"]

TEXT_MM = 3.0  # the size of labels
_CHARACTER_MM = 0.68 * TEXT_MM  # bold digits
_MARGIN_MM = 7.0
_LOWEST_MM, _HIGHEST_MM = 60.0, 95.0
_LEAST_KM = 1.0  # of a side: one container is no map
_FAR = 1.7  # so much wider may the map get for a place
_NEAR_KM = 3.0  # or that wide
_TOGETHER_MM = 2.2  # stops closer than that have one label
_MOST_CHARACTERS = 26
_DEGREE_KM = 111.195
_DIRECTIONS = [(math.cos(a * math.pi / 4), math.sin(a * math.pi / 4)) for a in range(8)]
_REACHES_MM = (1.5, 4.0, 7.5, 12.0)

Kind = Literal["stop", "yard", "unload", "left", "deferred"]
Place = tuple[float, float]  # latitude and longitude
Dot = tuple[float, float]  # x and y


@dataclass(frozen=True, slots=True)
class Line:
    """What is driven; ``dash`` tells trucks apart, 0 is a full line."""

    points: tuple[Dot, ...]
    dash: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot for a place."""

    x: float
    y: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class Label:
    """A text around (x, y), ``width`` wide, and the mark that it belongs to."""

    x: float
    y: float
    width: float
    text: str
    mark_x: float
    mark_y: float


@dataclass(frozen=True, slots=True)
class Sketch:
    """The map; ``bar_mm`` on it are ``bar``, such as "500 m"."""

    width: float
    height: float
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]
    bar_mm: float
    bar: str


@dataclass(frozen=True, slots=True)
class Course:
    """A round to draw: its stops in order, from yard to yard, each with kind and label.

    Stops of kind "stop" that are close together have one label, if that is a number.
    """

    stops: tuple[tuple[Kind, Place, str], ...]
    dash: int = 0


def draw(
    courses: Sequence[Course],
    left: Sequence[tuple[Kind, Place]] = (),
    width: float = 186.0,
    off_the_map: str = "{place}",
) -> Sketch | None:
    """Return the map, or None if there is no container to draw."""
    containers = [at for it in courses for kind, at, _ in it.stops if kind == "stop"]
    containers += [at for _, at in left]
    if not containers:
        return None
    places = [at for it in courses for kind, at, _ in it.stops if kind != "stop"]
    frame = _Frame(containers, places, width)
    marks: dict[tuple[Kind, Dot], None] = {(kind, frame.dot(at)): None for kind, at in left}
    lines, wanted = [], []
    for course in courses:
        dots = [frame.dot(at) for _, at, _ in course.stops]
        lines.append(Line(tuple(dots), course.dash))
        marks |= {(kind, dot): None for (kind, _, _), dot in zip(course.stops, dots, strict=True)}
        wanted += _labels(course, dots, frame, off_the_map)
    length_m, bar_mm = frame.bar()
    bar = f"{length_m} m" if length_m < 1000 else f"{length_m // 1000} km"
    return Sketch(
        width,
        frame.height,
        tuple(lines),
        tuple(Mark(*dot, kind) for kind, dot in marks),
        _placed(list(dict.fromkeys(wanted)), [dot for _, dot in marks], width, frame.height),
        bar_mm,
        bar,
    )


class _Frame:
    """Where a place is on the paper."""

    def __init__(self, containers: Sequence[Place], places: Sequence[Place], width: float) -> None:
        self._origin = containers[0]
        self._east = max(0.01, math.cos(math.radians(self._origin[0])))
        box = _grown(_box([self._km(it) for it in containers]))
        for place in places:
            wider = _box([(box[0], box[1]), (box[2], box[3]), self._km(place)])
            if max(_sides(wider)) <= max(_NEAR_KM, _FAR * max(_sides(box))):
                box = wider
        east_km, north_km = _sides(box)
        inside = width - 2 * _MARGIN_MM
        high = inside * north_km / east_km + 2 * _MARGIN_MM
        self.height = round(min(max(high, _LOWEST_MM), _HIGHEST_MM), 1)
        self._mm_per_km = min(inside / east_km, (self.height - 2 * _MARGIN_MM) / north_km)
        self._centre = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        self._half = width / 2, self.height / 2

    def dot(self, place: Place) -> Dot:
        """Return where a place is drawn: at the edge, if it is off the map."""
        right, down = self._from_centre(place)
        over = self._over(place)
        shrink = over if over > 1 else 1
        return (
            round(self._half[0] + right / shrink, 2),
            round(self._half[1] + down / shrink, 2),
        )

    def off(self, place: Place) -> bool:
        """Return whether a place is off the map."""
        return self._over(place) > 1.01

    def bar(self) -> tuple[int, float]:
        """Return a round number of metres, and how long it is on the map."""
        lengths = [digit * 10**power for power in range(1, 7) for digit in (1, 2, 5)]
        fitting = [it for it in lengths if it / 1000 * self._mm_per_km <= self._half[0] / 2]
        return fitting[-1], round(fitting[-1] / 1000 * self._mm_per_km, 1)

    def _over(self, place: Place) -> float:
        right, down = self._from_centre(place)
        return max(
            abs(right) / (self._half[0] - _MARGIN_MM / 2),
            abs(down) / (self._half[1] - _MARGIN_MM / 2),
        )

    def _from_centre(self, place: Place) -> Dot:
        east, north = self._km(place)
        return (
            (east - self._centre[0]) * self._mm_per_km,
            (self._centre[1] - north) * self._mm_per_km,
        )

    def _km(self, place: Place) -> tuple[float, float]:
        degrees = (place[1] - self._origin[1] + 180) % 360 - 180  # over the date line, too
        return degrees * self._east * _DEGREE_KM, (place[0] - self._origin[0]) * _DEGREE_KM


_Box = tuple[float, float, float, float]


def _box(points: Sequence[tuple[float, float]]) -> _Box:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _sides(box: _Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _grown(box: _Box) -> _Box:
    east, north = (max(0.0, _LEAST_KM - side) / 2 for side in _sides(box))
    return box[0] - east, box[1] - north, box[2] + east, box[3] + north


def _labels(
    course: Course, dots: Sequence[Dot], frame: _Frame, off_the_map: str
) -> list[tuple[Dot, str]]:
    """Return the labels that a course needs; neighbours share one."""
    together: dict[Dot, list[int]] = {}
    labels = []
    for (kind, place, text), dot in zip(course.stops, dots, strict=True):
        if kind == "stop" and text.isdigit():
            near = [it for it in together if math.dist(it, dot) < _TOGETHER_MM]
            together.setdefault(near[0] if near else dot, []).append(int(text))
        elif text:
            short = text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
            labels.append((dot, off_the_map.format(place=short) if frame.off(place) else short))
    return [(dot, _ranges(numbers)) for dot, numbers in together.items()] + labels


def _ranges(numbers: Sequence[int]) -> str:
    """Return "3–5, 9" for 3, 4, 5 and 9."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(
        f"{it[0]}–{it[-1]}" if len(it) > 2 else ", ".join(map(str, it)) for it in parts
    )


def _placed(
    wanted: Sequence[tuple[Dot, str]], marks: Sequence[Dot], width: float, height: float
) -> tuple[Label, ...]:
    """Return each label where it hides least of others and of marks, and near its own."""
    labels: list[Label] = []
    for dot, text in wanted:
        wide = len(text) * _CHARACTER_MM + 1.6
        best: tuple[float, Label] | None = None
        for reach in _REACHES_MM:
            for right, down in _DIRECTIONS:
                x = dot[0] + right * (reach + wide / 2)
                y = dot[1] + down * (reach + TEXT_MM * 0.7)
                # Labels beyond the edge are pushed back; what they hide then is counted.
                x = min(max(x, wide / 2 + 0.5), width - wide / 2 - 0.5)
                y = min(max(y, TEXT_MM), height - TEXT_MM)
                label = Label(round(x, 2), round(y, 2), round(wide, 2), text, *dot)
                hidden = sum(_overlap(label, other) for other in labels)
                covered = sum(_covers(label, mark) for mark in marks)
                cost = 10 * hidden + 4 * covered + reach
                if best is None or cost < best[0]:
                    best = cost, label
        assert best is not None
        labels.append(best[1])
    return tuple(labels)


def _overlap(one: Label, other: Label) -> float:
    """Return how much of two labels is on top of each other, in square millimetres."""
    across = (one.width + other.width) / 2 + 0.4 - abs(one.x - other.x)
    along = 1.45 * TEXT_MM - abs(one.y - other.y)
    return across * along if across > 0 and along > 0 else 0.0


def _covers(label: Label, mark: Dot) -> bool:
    return abs(label.x - mark[0]) < label.width / 2 + 0.9 and abs(label.y - mark[1]) < TEXT_MM

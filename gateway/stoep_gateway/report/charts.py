"""Plots as SVG inside a page: for print, without colour, and for those who listen. Pure.

Every plot has a title and says its figures in a description. What is compared is filled or hatched,
never told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from stoep_gateway.report.chance import Interval

__all__ = ["Frame", "Series", "bars", "beside", "points"]

_WIDTH, _HEIGHT = 520.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 30.0, 34.0
_INK, _GREY, _FILL, _BAND = "#222", "#bbb", "#1f5f8b", "#dbe7f0"
_ROW = 24.0
_NAMES = 200.0
_LONGEST = 27  # letters of a name
_MOST_LABELS = 10


class Series(NamedTuple):
    """A name, and a value for each label; None: not known."""

    name: str
    values: Sequence[float | None]


class Frame(NamedTuple):
    """What a plot is called, its id in the page, and how its numbers are written."""

    id: str
    title: str
    write: Callable[[float], str]


class _Plot:
    def __init__(self, frame: Frame, description: str, height: float = _HEIGHT) -> None:
        self.frame = frame
        name = frame.id
        self.svg = ElementTree.Element(
            "svg",
            {
                "viewBox": f"0 0 {_WIDTH:g} {height:g}",
                "role": "img",
                "aria-labelledby": f"{name}-title {name}-desc",
                "xmlns": "http://www.w3.org/2000/svg",
            },
        )
        ElementTree.SubElement(self.svg, "title", id=f"{name}-title").text = frame.title
        ElementTree.SubElement(self.svg, "desc", id=f"{name}-desc").text = description
        hatch = ElementTree.SubElement(
            ElementTree.SubElement(self.svg, "defs"),
            "pattern",
            id=f"{name}-hatch",
            width="6",
            height="6",
            patternUnits="userSpaceOnUse",
            patternTransform="rotate(45)",
        )
        ElementTree.SubElement(hatch, "rect", width="6", height="6", fill="#fff")
        ElementTree.SubElement(hatch, "rect", width="2", height="6", fill="#9a4a10")

    def fill(self, hatched: bool) -> dict[str, str]:
        if hatched:
            return {"fill": f"url(#{self.frame.id}-hatch)", "stroke": "#9a4a10"}
        return {"fill": _FILL, "stroke": _FILL}

    def rect(self, x: float, y: float, width: float, height: float, **more: str) -> None:
        size = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0)}
        ElementTree.SubElement(self.svg, "rect", {k: f"{v:.1f}" for k, v in size.items()} | more)

    def line(self, x1: float, y1: float, x2: float, y2: float, **more: str) -> None:
        ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
        style = {"stroke": _INK} | {k.replace("_", "-"): v for k, v in more.items()}
        ElementTree.SubElement(self.svg, "line", {k: f"{v:.1f}" for k, v in ends.items()} | style)

    def words(self, x: float, y: float, text: str, anchor: str = "middle") -> None:
        at = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
        ElementTree.SubElement(self.svg, "text", at).text = text

    def done(self) -> str:
        return ElementTree.tostring(self.svg, encoding="unicode", short_empty_elements=True)


class _Scale:
    """From values to heights on the page, over rounded numbers."""

    def __init__(self, values: Sequence[float], most: float | None = None) -> None:
        low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
        if most is not None:
            high = most
        step = _step((high - low) or 1.0)
        self.low = math.floor(low / step) * step
        self.high = max(math.ceil(high / step) * step, self.low + step)
        self.ticks = [
            self.low + number * step for number in range(round((self.high - self.low) / step) + 1)
        ]

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _step(span: float) -> float:
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(it * power for it in (1, 2, 2.5, 5, 10) if it * power >= rough * 0.999)


def _said(frame: Frame, labels: Sequence[str], series: Sequence[Series]) -> str:
    parts = []
    for it in series:
        values = ", ".join(
            f"{label}: {'–' if value is None else frame.write(value)}"
            for label, value in zip(labels, it.values, strict=True)
        )
        parts.append(f"{it.name}: {values}" if it.name else values)
    return "; ".join(parts) + "."


def _is_shown(number: int, labels: Sequence[str]) -> bool:
    """Tell whether there is room for a label: for every second, or fifth, where there are many."""
    return number % -(-len(labels) // _MOST_LABELS) == 0


def _axis(plot: _Plot, scale: _Scale) -> None:
    for tick in scale.ticks:
        y = scale(tick)
        plot.line(_LEFT, y, _WIDTH - _RIGHT, y, stroke=_INK if tick == 0 else _GREY)
        plot.words(_LEFT - 6, y + 4, plot.frame.write(tick), "end")


def _legend(plot: _Plot, series: Sequence[Series]) -> None:
    x = _LEFT
    for number, it in enumerate(series):
        plot.rect(x, 8, 14, 10, **plot.fill(number == 1))
        plot.words(x + 19, 17, it.name, "start")
        x += 40 + 6.6 * len(it.name)


def bars(
    frame: Frame,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    hatched: Callable[[int], bool] | None = None,
    most: float | None = None,
    mark: float | None = None,
) -> str:
    """Return columns side by side; the second series, or what is ``hatched``, is hatched.

    ``most`` is the end of the scale, ``mark`` where a line is drawn across.
    """
    plot = _Plot(frame, _said(frame, labels, series))
    scale = _Scale([it for one in series for it in one.values if it is not None], most)
    _axis(plot, scale)
    slot = (_WIDTH - _LEFT - _RIGHT) / len(labels)
    width = slot * 0.7 / len(series)
    for number, label in enumerate(labels):
        begin = _LEFT + slot * number
        if _is_shown(number, labels):
            plot.words(begin + slot / 2, _HEIGHT - _BOTTOM + 16, label)
        for position, it in enumerate(series):
            value = it.values[number]
            if value is None:
                plot.words(begin + slot * 0.15 + width * (position + 0.5), scale(0) - 5, "?")
                continue
            top, bottom = scale(max(value, 0)), scale(min(value, 0))
            is_hatched = position == 1 if hatched is None else hatched(number)
            plot.rect(
                begin + slot * 0.15 + width * position,
                top,
                width - 2,
                bottom - top,
                **plot.fill(is_hatched),
            )
    if mark is not None:
        y = scale(mark)
        plot.line(_LEFT, y, _WIDTH - _RIGHT, y, stroke_dasharray="6 4", stroke_width="1.5")
    if len(series) > 1:
        _legend(plot, series)
    return plot.done()


def points(
    frame: Frame, labels: Sequence[str], values: Sequence[float], mean: Interval, said: str
) -> str:
    """Return a point for each value, and their mean as a line in a band."""
    plot = _Plot(frame, f"{_said(frame, labels, [Series('', values)])} {said}")
    limits = [it for it in mean if it is not None and math.isfinite(it)]
    scale = _Scale([*values, *limits])
    right = _WIDTH - _RIGHT
    if mean.low is not None and mean.high is not None and len(limits) == 3:
        top, bottom = scale(mean.high), scale(mean.low)
        plot.rect(_LEFT, top, right - _LEFT, bottom - top, fill=_BAND)
        for y in (top, bottom):
            plot.line(_LEFT, y, right, y, stroke=_FILL, stroke_dasharray="2 3")
    _axis(plot, scale)
    plot.line(_LEFT, scale(mean.value), right, scale(mean.value), stroke=_FILL, stroke_width="2")
    slot = (right - _LEFT) / len(labels)
    for number, (label, value) in enumerate(zip(labels, values, strict=True)):
        x = _LEFT + slot * (number + 0.5)
        if _is_shown(number, labels):
            plot.words(x, _HEIGHT - _BOTTOM + 16, label)
        size = {"cx": f"{x:.1f}", "cy": f"{scale(value):.1f}", "r": "4.5", "fill": _INK}
        ElementTree.SubElement(plot.svg, "circle", size)
    return plot.done()


def beside(frame: Frame, rows: Sequence[tuple[str, float]]) -> str:
    """Return a bar for each name, lying, with its figure behind it."""
    height = _ROW * len(rows) + 8
    labels = [name for name, _ in rows]
    plot = _Plot(frame, _said(frame, labels, [Series("", [it for _, it in rows])]), height)
    most = max((it for _, it in rows), default=0.0) or 1.0
    room = _WIDTH - _NAMES - 70
    for number, (name, value) in enumerate(rows):
        y = 4 + _ROW * number
        short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
        plot.words(_NAMES - 8, y + 16, short, "end")
        plot.rect(_NAMES, y + 4, room * value / most, _ROW - 8, **plot.fill(False))
        plot.words(_NAMES + room * value / most + 6, y + 16, frame.write(value), "start")
    return plot.done()

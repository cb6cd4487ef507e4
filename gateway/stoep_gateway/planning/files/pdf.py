"""A sheet as PDF, with ReportLab: the extra ``sheet``. As a program it answers `printing`.

Everything is drawn in the font that is found: DejaVu Sans, or ReportLab's own, which knows Western
European letters only. What a font does not know becomes a question mark; Arabic letters stand in
their order, but are not joined.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color, black, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
)
from reportlab.platypus import Table as Grid

from stoep_gateway.planning.files.html import DASHES_MM, WIDTHS_MM
from stoep_gateway.planning.files.lines import StopLine
from stoep_gateway.planning.files.printing import DOCUMENTS
from stoep_gateway.planning.files.sheet import (
    Blanks,
    Block,
    Drawing,
    Prose,
    Sheet,
    Stops,
    Table,
)
from stoep_gateway.planning.files.sketch import TEXT_MM, Label, Mark, Sketch

__all__ = ["document"]

_MARGIN_MM = 12
_WIDTH_MM = 186
_GREY = Color(0.87, 0.87, 0.87)
_FOLDERS = (
    Path("/usr/share/fonts/truetype/dejavu"),
    Path("/usr/share/fonts/dejavu-sans-fonts"),
    Path("/usr/share/fonts/TTF"),
)
FONTS = (
    *((it / "DejaVuSans.ttf", it / "DejaVuSans-Bold.ttf") for it in _FOLDERS),
    (Path("Vera.ttf"), Path("VeraBd.ttf")),
)


def document(sheets: Sequence[Sheet]) -> bytes:
    """Return a PDF with the sheets one after the other; the same sheets, the same octets."""
    return _Document().write(sheets)


class _Font:
    """A font, normal and bold, and what it knows."""

    def __init__(self) -> None:
        self.normal, self.bold = "Helvetica", "Helvetica-Bold"
        self._known: frozenset[int] | None = None
        for normal, bold in FONTS:
            try:
                fonts = TTFont("Sheet", str(normal)), TTFont("Sheet-Bold", str(bold))
            except TTFError:
                continue
            for font in fonts:
                pdfmetrics.registerFont(font)
            self.normal, self.bold = "Sheet", "Sheet-Bold"
            self._known = frozenset(fonts[0].face.charToGlyph) & frozenset(
                fonts[1].face.charToGlyph
            )
            return

    def text(self, text: str) -> str:
        """Return what can be drawn of a text, from left to right."""
        return _left_to_right("".join(map(self._character, text)))

    def _character(self, it: str) -> str:
        if it.isspace():
            return it if it == "\u00a0" else " "
        if self._draws(it):
            return it
        return "" if unicodedata.category(it) in ("Cf", "Mn", "Cc") else "?"

    def _draws(self, it: str) -> bool:
        if self._known is not None:
            return ord(it) in self._known
        return bool(it.encode("cp1252", "ignore"))


def _left_to_right(text: str) -> str:
    """Return a text with what is written from right to left turned round, by the word."""
    if not any(map(_from_right, text)):
        return text
    runs = []
    for from_right, run in itertools.groupby(text.split(" "), lambda it: any(map(_from_right, it))):
        words = list(run)
        runs += [word[::-1] for word in reversed(words)] if from_right else words
    return " ".join(runs)


def _from_right(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("R", "AL")


class _Pages(Canvas):  # type: ignore[misc]
    """A canvas that puts header and "page n of m" on each page when it knows how many there are."""

    def __init__(self, *arguments: Any, font: _Font, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._font = font
        self._kept: list[dict[str, Any]] = []
        self.sheet: Sheet | None = None

    def showPage(self) -> None:  # noqa: N802 (ReportLab's name)
        self._kept.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        of_sheets = [it["sheet"] for it in self._kept]
        for number, kept in enumerate(self._kept):
            self.__dict__.update(kept)
            sheet = of_sheets[number]
            self.setFont(self._font.normal, 8.5)
            header = self._font.text(sheet.header)
            page = of_sheets[: number + 1].count(sheet)
            pages = sheet.page.format(page=page, pages=of_sheets.count(sheet))
            self.drawRightString(A4[0] - _MARGIN_MM * mm, 8 * mm, pages)
            right = _WIDTH_MM * mm
            while self.stringWidth(header, self._font.normal, 8.5) > right:
                header = header[:-2] + "…"
            self.drawString(_MARGIN_MM * mm, A4[1] - 9 * mm, header)
            super().showPage()
        super().save()


class _Document:
    def __init__(self) -> None:
        self._font = _Font()

    def write(self, sheets: Sequence[Sheet]) -> bytes:
        file = io.BytesIO()
        first = sheets[0]
        written = BaseDocTemplate(
            file,
            pagesize=A4,
            title=first.title,
            author="Stoep",
            lang=first.language,
            invariant=1,
            pageCompression=1,
        )
        frame = Frame(
            _MARGIN_MM * mm,
            13 * mm,
            _WIDTH_MM * mm,
            A4[1] - 25 * mm,
            leftPadding=0,
            rightPadding=0,
            topPadding=0,
            bottomPadding=0,
        )
        story: list[Flowable] = []
        for number, sheet in enumerate(sheets):

            def begin(canvas: _Pages, _: object, sheet: Sheet = sheet) -> None:
                canvas.sheet = sheet

            written.addPageTemplates(PageTemplate(str(number), [frame], onPage=begin))
            if story:
                story += [NextPageTemplate(str(number)), PageBreak()]
            story += self._sheet(sheet)
        written.build(story, canvasmaker=lambda *a, **k: _Pages(*a, font=self._font, **k))
        return file.getvalue()

    def _sheet(self, sheet: Sheet) -> Iterable[Flowable]:
        badge = f"[ {sheet.badge} ] " if sheet.badge else ""
        yield self._words(badge + sheet.title, 17, bold=True, after=2)
        if sheet.facts:
            cells = [
                [self._words(name, 8.5), self._words(value, 12, bold=True)]
                for name, value in sheet.facts
            ]
            yield Grid([cells], style=[*_plain(), ("LEFTPADDING", (0, 0), (-1, -1), 0)])
        for block in sheet.blocks:
            yield from self._block(block)

    def _block(self, block: Block) -> Iterable[Flowable]:
        match block:
            case Stops():
                yield self._stops(block)
            case Table():
                if block.title:
                    yield CondPageBreak(30 * mm)
                    yield self._words(block.title, 12, bold=True, before=4, after=1)
                    yield self._words(block.about, 10, after=1)
                yield self._table(block)
            case Drawing():
                yield KeepTogether(list(self._drawing(block)))
            case Blanks():
                yield _Blanks([self._font.text(it) for it in block.labels], self._font)
            case Prose():
                size = 16 if block.large else 9.5
                yield self._words(block.text, size, before=10 if block.large else 1.5, after=1)

    def _words(
        self,
        text: str,
        size: float,
        *,
        bold: bool = False,
        before: float = 0,
        after: float = 0,
        right: bool = False,
    ) -> Paragraph:
        style = ParagraphStyle(
            "",
            fontName=self._font.bold if bold else self._font.normal,
            fontSize=size,
            leading=1.2 * size,
            spaceBefore=before * mm,
            spaceAfter=after * mm,
            alignment=2 if right else 0,
        )
        return Paragraph(escape(self._font.text(text)), style)

    def _stops(self, block: Stops) -> Grid:
        rows = [[self._words(it, 8.5, bold=True) for it in block.head]]
        rows += [self._line(it) for it in block.lines]
        style = [
            *_plain(),
            ("LINEBELOW", (0, 0), (-1, 0), 0.5 * mm, black),
            ("LINEBELOW", (0, 1), (-1, -1), 0.2 * mm, black),
            ("LINEBEFORE", (6, 1), (6, -1), 0.2 * mm, black),
            ("NOSPLIT", (0, -2), (-1, -1)),
        ]
        for row, it in enumerate(block.lines, start=1):
            if it.kind == "unload":
                style.append(("BACKGROUND", (0, row), (-1, row), _GREY))
                style.append(("LINEABOVE", (0, row), (-1, row), 0.5 * mm, black))
                style.append(("LINEBELOW", (0, row), (-1, row), 0.5 * mm, black))
        widths = [it * mm for it in WIDTHS_MM]
        return Grid(rows, widths, style=style, repeatRows=1, spaceBefore=2 * mm)

    def _line(self, it: StopLine) -> list[Any]:
        titled = [self._words(it.title, 12 if it.kind != "yard" else 10, bold=True)]
        titled += [self._words(text, 8.5) for text in (it.about, it.why) if text]
        titled += [self._words(text, 8.5, bold=True) for text in (it.heed,) if text]
        cells = [
            [self._words(large, 11, bold=True), self._words(below, 8.5)]
            for large, below in (it.full, it.leg)
        ]
        room: list[Any] = [self._words(it.remark, 8.5)]
        if it.kind != "yard":
            room.append(Spacer(1, 7 * mm))
        return [
            _Box(it.done) if it.kind != "yard" else "",
            self._words(it.number, 19 if len(it.number) < 3 else 13, bold=True, right=True),
            self._words(it.at, 12, bold=True),
            titled,
            *cells,
            room,
        ]

    def _table(self, block: Table) -> Grid:
        def row(texts: Sequence[str], *, bold: bool = False) -> list[Paragraph]:
            return [
                self._words(text, 9, bold=bold, right=index in block.numbers)
                for index, text in enumerate(texts)
            ]

        rows = [row(block.head, bold=True), *map(row, block.rows)]
        style = [
            *_plain(),
            ("LINEBELOW", (0, 0), (-1, 0), 0.5 * mm, black),
            ("LINEBELOW", (0, 1), (-1, -1), 0.2 * mm, black),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ]
        widths = [it * _WIDTH_MM * mm / sum(block.shares) for it in block.shares]
        return Grid(rows, widths, style=style, repeatRows=1)

    def _drawing(self, block: Drawing) -> Iterable[Flowable]:
        yield self._words(block.title, 12, bold=True, before=4, after=1)
        yield _Map(block.sketch, self._font)
        yield self._words(block.about, 9.5, before=1)
        if block.key:
            yield _Key([(dash, self._font.text(name)) for dash, name in block.key], self._font)


def _plain() -> list[tuple[Any, ...]]:
    """Return the style of all tables: little room between cells."""
    sides = (("LEFT", 1.1), ("RIGHT", 1.1), ("TOP", 1.1), ("BOTTOM", 1.3))
    room = [(f"{side}PADDING", (0, 0), (-1, -1), width * mm) for side, width in sides]
    return [("VALIGN", (0, 0), (-1, -1), "TOP"), *room]


class _Box(Flowable):  # type: ignore[misc]
    """A box to tick, or one that is ticked."""

    def __init__(self, done: bool) -> None:
        super().__init__()
        self.width = self.height = 7 * mm
        self._done = done

    def draw(self) -> None:
        self.canv.setLineWidth(0.5 * mm)
        self.canv.setFillColor(white)
        self.canv.rect(0, 0, self.width, self.height, fill=1)
        if self._done:
            self.canv.lines([(mm, 3.5 * mm, 3 * mm, mm), (3 * mm, mm, 6 * mm, 6 * mm)])


class _Blanks(Flowable):  # type: ignore[misc]
    """Lines to write on."""

    def __init__(self, labels: Sequence[str], font: _Font) -> None:
        super().__init__()
        self.width, self.height = _WIDTH_MM * mm, 11 * mm
        self._labels = labels
        self._font = font

    def draw(self) -> None:
        each = self.width / len(self._labels)
        self.canv.setFont(self._font.normal, 8.5)
        self.canv.setLineWidth(0.3 * mm)
        for number, label in enumerate(self._labels):
            self.canv.drawString(number * each, 2.5 * mm, label)
            self.canv.line(number * each, 1.5 * mm, (number + 1) * each - 6 * mm, 1.5 * mm)


class _Key(Flowable):  # type: ignore[misc]
    """Which line is which truck's."""

    def __init__(self, names: Sequence[tuple[int, str]], font: _Font) -> None:
        super().__init__()
        self._names = names
        self._font = font
        self._columns = 3
        self.width = _WIDTH_MM * mm
        self.height = 5 * mm * -(-len(names) // self._columns)

    def draw(self) -> None:
        each = self.width / self._columns
        self.canv.setFont(self._font.normal, 9)
        for number, (dash, name) in enumerate(self._names):
            row, column = divmod(number, self._columns)
            x, y = column * each, self.height - (row + 0.7) * 5 * mm
            _dashed(self.canv, dash)
            self.canv.line(x, y + 1 * mm, x + 14 * mm, y + 1 * mm)
            self.canv.setDash()
            self.canv.drawString(x + 16 * mm, y, name[:24])


class _Map(Flowable):  # type: ignore[misc]
    """The map; a sketch has its origin above, a PDF below."""

    def __init__(self, sketch: Sketch, font: _Font) -> None:
        super().__init__()
        self.width, self.height = sketch.width * mm, (sketch.height + 7) * mm
        self._sketch = sketch
        self._font = font

    def draw(self) -> None:
        canvas, sketch = self.canv, self._sketch
        canvas.setLineWidth(0.2 * mm)
        canvas.rect(0, 0, self.width, self.height)
        for line in sketch.lines:
            _dashed(canvas, line.dash)
            for one, other in itertools.pairwise(line.points):
                canvas.line(*self._at(*one), *self._at(*other))
        canvas.setDash()
        canvas.setLineWidth(0.2 * mm)
        for label in sketch.labels:
            ends = (label.mark_x, label.mark_y), (label.x, label.y)
            canvas.line(*self._at(*ends[0]), *self._at(*ends[1]))
        canvas.setFillColor(black)
        for mark in sketch.marks:
            self._mark(mark)
        for label in sketch.labels:
            self._label(label)
        canvas.setLineWidth(0.4 * mm)
        canvas.setFont(self._font.normal, 3 * mm)
        bar = sketch.bar_mm * mm
        canvas.lines(
            [
                (3 * mm, 3.5 * mm, 3 * mm + bar, 3.5 * mm),
                (3 * mm, 2.5 * mm, 3 * mm, 4.5 * mm),
                (3 * mm + bar, 2.5 * mm, 3 * mm + bar, 4.5 * mm),
            ]
        )
        canvas.drawString(5 * mm + bar, 2.5 * mm, sketch.bar)
        east = self.width - 6 * mm
        canvas.lines(
            [
                (east, 1.5 * mm, east, 6.5 * mm),
                (east, 6.5 * mm, east - 1.2 * mm, 4.5 * mm),
                (east, 6.5 * mm, east + 1.2 * mm, 4.5 * mm),
            ]
        )
        canvas.drawString(east + 2 * mm, 2.5 * mm, "N")

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * mm, self.height - y * mm

    def _mark(self, it: Mark) -> None:
        canvas = self.canv
        x, y = self._at(it.x, it.y)
        canvas.setLineWidth(0.25 * mm)
        match it.kind:
            case "stop":
                canvas.circle(x, y, 0.9 * mm, fill=1)
            case "yard":
                canvas.saveState()
                canvas.translate(x, y)
                canvas.rotate(45)
                canvas.rect(-1.55 * mm, -1.55 * mm, 3.1 * mm, 3.1 * mm, fill=1)
                canvas.restoreState()
            case "unload":
                canvas.rect(x - 1.6 * mm, y - 1.6 * mm, 3.2 * mm, 3.2 * mm, fill=1)
            case "left":
                canvas.circle(x, y, 0.8 * mm)
            case "deferred":
                canvas.circle(x, y, 1.2 * mm)
                reach = 1.2 * mm
                canvas.line(x - reach, y - reach, x + reach, y + reach)
                canvas.line(x - reach, y + reach, x + reach, y - reach)

    def _label(self, it: Label) -> None:
        canvas, high = self.canv, 1.3 * TEXT_MM * mm
        x, y = self._at(it.x, it.y)
        wide = it.width * mm
        canvas.setLineWidth(0.15 * mm)
        canvas.setFillColor(white)
        canvas.roundRect(x - wide / 2, y - high / 2, wide, high, 1 * mm, fill=1)
        canvas.setFillColor(black)
        canvas.setFont(self._font.bold, TEXT_MM * mm)
        canvas.drawCentredString(x, y - 0.36 * TEXT_MM * mm, self._font.text(it.text))


def _dashed(canvas: Canvas, dash: int) -> None:
    canvas.setLineWidth(0.35 * mm)
    canvas.setDash([it * mm for it in DASHES_MM[dash % len(DASHES_MM)]])


if __name__ == "__main__":
    asked = DOCUMENTS.validate_json(sys.stdin.buffer.read())
    print(json.dumps([base64.b64encode(document(it)).decode() for it in asked]))

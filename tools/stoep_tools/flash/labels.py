"""What is stuck on a box: LoRa Alliance TR005 as a QR code, and what people read beside it.

A label is drawn once, in millimetres, and written as SVG, as PNG for label printers, or many on
sheets of A4, 3 by 7 labels of 63.5 by 38.1 mm (Avery L7160 and its like). No key is on it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING

import segno
from stoep_hardware import board_data

from stoep_tools.flash.errors import USAGE, FlashError
from stoep_tools.flash.identity import grouped

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

    from stoep_tools.flash.ledger import Entry

__all__ = [
    "HEIGHT_MM",
    "PER_SHEET",
    "WIDTH_MM",
    "Label",
    "crc",
    "label_of",
    "label_png",
    "label_svg",
    "sheet",
    "tr005",
]

WIDTH_MM, HEIGHT_MM = 63.5, 38.1
PER_SHEET = 21

# The sheet: A4, the labels in its middle, 2.54 mm between columns and nothing between rows.
_A4_MM = (210.0, 297.0)
_COLUMNS, _ROWS = 3, 7
_GAP_MM = 2.54
_LEFT_MM = (_A4_MM[0] - _COLUMNS * WIDTH_MM - (_COLUMNS - 1) * _GAP_MM) / 2
_TOP_MM = (_A4_MM[1] - _ROWS * HEIGHT_MM) / 2

# The label: the code with its quiet zone at the left, text at the right.
_QR_MM = 33.0
_QR_LEFT_MM = 0.5
_QUIET = 4  # modules around it (ISO/IEC 18004)
_TEXT_LEFT_MM = _QR_LEFT_MM + _QR_MM + 0.3
_TEXT_MM = WIDTH_MM - _TEXT_LEFT_MM - 2.2
_TITLE_Y_MM = 10.4
_LINE_MM = 0.15

_FAMILY = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
_MEASURED_PX = 200
_WIDER, _WIDER_BOLD = 1.2, 1.38  # than the measured font is what a viewer may have
_LEAST = 0.55
_MM_PER_INCH = 25.4
_FIELD = re.compile(r"[0-9A-Z $%*+./-]+")  # what a QR code's alphanumeric mode has, but the colon
_KINDS = {"bin": "container sensor", "bay": "parking sensor"}


@dataclass(frozen=True, slots=True)
class Label:
    """What is on a label; ``code`` is what `tr005` gives."""

    code: str
    dev_eui: bytes
    what: str
    title: str  # largest: where it belongs; "" leaves a line to write on
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Text:
    """A line of text, the height of its baseline and its size (em)."""

    text: str
    y_mm: float
    size_mm: float
    bold: bool


def crc(data: bytes) -> int:
    """Return CRC-16/MODBUS: reflected 0x8005, begun with 0xFFFF (TR005, 4.2.5.1)."""
    remainder = 0xFFFF
    for octet in data:
        remainder ^= octet
        for _ in range(8):
            remainder = remainder >> 1 ^ (0xA001 if remainder & 1 else 0)
    return remainder


def tr005(
    join_eui: bytes,
    dev_eui: bytes,
    vendor_id: int = 0,
    profile_id: int = 0,
    *,
    serial: str | None = None,
    owner: str | None = None,
    proprietary: str | None = None,
) -> str:
    """Return what a device's QR code says, with its checksum. Raises `FlashError`.

    Who has no VendorID of the LoRa Alliance leaves both identifiers zero, as The Things Stack does.
    """
    text = f"LW:D0:{join_eui.hex()}:{dev_eui.hex()}:{vendor_id:04x}{profile_id:04x}".upper()
    for letter, value in (("O", owner), ("S", serial), ("P", proprietary)):
        if value:
            if not _FIELD.fullmatch(value.upper()):
                raise FlashError(
                    f"{value!r} does not go into a QR code",
                    "use letters, digits, blanks and $ % * + - . /",
                    USAGE,
                )
            text += f":{letter}{value.upper()}"
    return f"{text}:C{crc(text.encode()):04X}"


def label_of(entry: Entry) -> Label:
    """Return the label of a board in the ledger, the same each time."""
    identity = entry.identity
    notes = [board_data.load(entry.board).title, f"{entry.region} · no. {entry.number}"]
    if entry.serial:
        notes.insert(0, f"S/N {entry.serial.upper()}")
    if entry.name:
        notes.insert(0, entry.name)
    asset = (entry.asset or "").partition("/")[2]
    return Label(
        code=tr005(identity.join_eui, identity.dev_eui, serial=entry.serial),
        dev_eui=identity.dev_eui,
        what=_KINDS[entry.kind],
        title=asset,
        notes=tuple(notes),
    )


@cache
def _font(size_px: int) -> FreeTypeFont:
    from PIL import ImageFont  # noqa: PLC0415 - only who labels waits for it

    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size it is
    return font


def _text(text: str, y_mm: float, size_mm: float, *, bold: bool = False) -> _Text:
    """Place a line of text; what is too wide is set smaller, and below half of it cut off."""
    room_mm = _TEXT_MM / (_WIDER_BOLD if bold else _WIDER)
    width_mm = _font(_MEASURED_PX).getlength(text) / _MEASURED_PX * size_mm
    share = room_mm / width_mm
    if share < _LEAST:
        text = text[: int(len(text) * share / _LEAST) - 1] + "…"
    return _Text(text, y_mm, size_mm * min(max(share, _LEAST), 1.0), bold)


def _texts(label: Label) -> Iterator[_Text]:
    yield _text(label.what, 5.3, 2.6)
    if label.title:
        yield _text(label.title, _TITLE_Y_MM, 5.0, bold=True)
    eui = grouped(label.dev_eui)
    yield _text("DevEUI", 14.9, 2.2)
    yield _text(eui[:9], 19.0, 4.4, bold=True)
    yield _text(eui[10:], 23.4, 4.4, bold=True)
    for number, note in enumerate(reversed(label.notes)):
        yield _text(note, HEIGHT_MM - 2.9 - 2.8 * number, 2.2)


def _modules(label: Label) -> list[bytearray]:
    """Return the QR code's rows, 1 for dark, without its quiet zone."""
    return list(map(bytearray, segno.make(label.code, error="m", micro=False).matrix))


def label_svg(label: Label) -> str:
    """Return one label as an SVG of its exact size."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_MM}mm" height="{HEIGHT_MM}mm"'
        f' viewBox="0 0 {WIDTH_MM} {HEIGHT_MM}">'
        f'<rect width="{WIDTH_MM}" height="{HEIGHT_MM}" fill="#fff"/>{_drawn(label)}</svg>\n'
    )


def _drawn(label: Label) -> str:
    rows = _modules(label)
    module_mm = _QR_MM / (len(rows) + 2 * _QUIET)
    path = "".join(
        f"M{run.start()} {y}h{run.end() - run.start()}v1h-{run.end() - run.start()}z"
        for y, row in enumerate(rows)
        for run in re.finditer(b"\x01+", row)
    )
    x_mm = _QR_LEFT_MM + _QUIET * module_mm
    y_mm = (HEIGHT_MM - _QR_MM) / 2 + _QUIET * module_mm
    parts = [
        f'<g transform="translate({x_mm:.3f} {y_mm:.3f}) scale({module_mm:.5f})">',
        f'<path shape-rendering="crispEdges" d="{path}"/></g>',
    ]
    if not label.title:
        parts.append(
            f'<rect x="{_TEXT_LEFT_MM}" y="{_TITLE_Y_MM}" width="{_TEXT_MM}" height="{_LINE_MM}"/>'
        )
    for text in _texts(label):
        parts += (
            f'<text x="{_TEXT_LEFT_MM}" y="{text.y_mm:.2f}" font-size="{text.size_mm:.3f}"',
            ' font-weight="bold"' if text.bold else "",
            f' font-family="{_FAMILY}">{escape(text.text)}</text>',
        )
    return "".join(parts)


def label_png(label: Label, dpi: int = 300) -> bytes:
    """Return one label as PNG in shades of grey, for a printer of so many dots per inch."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - only who labels waits for it

    def px(mm: float) -> int:
        return round(mm * dpi / _MM_PER_INCH)

    image = Image.new("L", (px(WIDTH_MM), px(HEIGHT_MM)), 255)
    draw = ImageDraw.Draw(image)
    rows = _modules(label)
    module = px(_QR_MM) // (len(rows) + 2 * _QUIET)  # whole dots: nothing is smeared
    if module < 2:
        raise FlashError(f"{dpi} dots per inch are too few for a QR code", exit_code=USAGE)
    left = px(_QR_LEFT_MM) + (px(_QR_MM) - module * len(rows)) // 2
    top = (image.height - module * len(rows)) // 2
    for y, row in enumerate(rows):
        for run in re.finditer(b"\x01+", row):
            corner = (left + run.start() * module, top + y * module)
            end = (left + run.end() * module - 1, top + (y + 1) * module - 1)
            draw.rectangle((corner, end), fill=0)
    if not label.title:
        corner = (px(_TEXT_LEFT_MM), px(_TITLE_Y_MM))
        draw.rectangle((corner, (px(_TEXT_LEFT_MM + _TEXT_MM), corner[1] + px(_LINE_MM))), fill=0)
    for text in _texts(label):
        draw.text(
            (px(_TEXT_LEFT_MM), px(text.y_mm)),
            text.text,
            fill=0,
            font=_font(px(text.size_mm)),
            anchor="ls",
            stroke_width=px(text.size_mm / 60) if text.bold else 0,
        )
    data = io.BytesIO()
    image.save(data, "PNG", dpi=(dpi, dpi), optimize=True)
    return data.getvalue()


def sheet(labels: Sequence[Label], *, skip: int = 0, outline: bool = False) -> str:
    """Return labels on sheets of A4 as HTML that a browser prints, to be printed at 100 %.

    The first ``skip`` places of the first sheet stay empty, for one that was begun. With
    ``outline`` thin lines show where to cut plain paper.
    """
    if not 0 <= skip < PER_SHEET:
        raise FlashError(f"a sheet has {PER_SHEET} labels: skip 0 to {PER_SHEET - 1}", "", USAGE)
    placed: list[list[str]] = []
    for place, label in enumerate(labels, skip):
        if place // PER_SHEET == len(placed):
            placed.append([])
        row, column = divmod(place % PER_SHEET, _COLUMNS)
        x_mm = _LEFT_MM + column * (WIDTH_MM + _GAP_MM)
        y_mm = _TOP_MM + row * HEIGHT_MM
        frame = (
            f'<rect width="{WIDTH_MM}" height="{HEIGHT_MM}" fill="none" stroke="#999"'
            f' stroke-width="0.1"/>'
        )
        placed[-1].append(
            f'<g transform="translate({x_mm:.3f} {y_mm:.3f})">'
            f"{frame if outline else ''}{_drawn(label)}</g>\n"
        )
    width_mm, height_mm = _A4_MM
    pages = "".join(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width_mm}mm" height="{height_mm}mm"'
        f' viewBox="0 0 {width_mm} {height_mm}">\n{"".join(page)}</svg>\n'
        for page in placed
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Labels</title>\n'
        "<style>@page{size:A4;margin:0}body{margin:0}"
        "svg{display:block;break-after:page}svg:last-child{break-after:auto}</style>\n"
        f"{pages}</html>\n"
    )

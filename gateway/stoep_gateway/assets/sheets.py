"""Rows of a table (CSV) or a map (GeoJSON), as they stand in the file, with their lines. Pure."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Row", "Sheet", "SheetError", "read_csv", "read_geojson", "tidy"]

_DELIMITERS = ";,\t|"
_SEPARATOR = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # Excel's own first line
_BLANK = re.compile(r"[ \t\n\r]*")
_EPSG = re.compile(r"EPSG(?::+|/)(?:[\d.]*[:/])?(\d+)\b", re.IGNORECASE)
_RD_NEW = {"28992", "7415"}
_DEGREES = {"4326", "4979", "4258", "4937"}  # WGS 84, and ETRS89, which is less than a metre off
_NO_JSON = "this is not JSON: "
_FARTHEST = 1e9


class SheetError(Exception):
    """It cannot be read any further than ``line`` (0: as a whole)."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Row:
    """What stands on a line, by header; ``point`` are x and y of a map."""

    line: int
    values: dict[str, Any]
    point: tuple[float, float] | None = None
    mistake: str = ""


@dataclass
class Sheet:
    """A file's rows, up to where it is ``broken``, and without ``misfits``.

    ``places`` says where a header's column is, ``twice`` are headers of more than one; points of
    one that ``is_rd`` are in the Dutch grid.
    """

    rows: list[Row] = field(default_factory=list)
    header_line: int = 1
    places: dict[str, str] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    is_map: bool = False
    is_rd: bool = False
    misfits: list[SheetError] = field(default_factory=list)
    broken: SheetError | None = None


def read_csv(text: str) -> Sheet:
    """Read a table: its first line that is not empty says the columns.

    The delimiter is what the headers are most often apart by.
    """
    sheet = Sheet()
    lines = io.StringIO(text, newline="")
    start = 0
    if (match := _SEPARATOR.match(text)) is not None:
        lines.seek(match.end())
        start, delimiter = 1, match[1]
    else:
        head = next((it for it in text.splitlines() if it.strip(_DELIMITERS + " ")), "")
        delimiter = max(_DELIMITERS, key=head.count)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    headers: list[str] | None = None
    before = start
    try:
        for cells in rows:
            line, before = before + 1, start + rows.line_num
            if not any(map(str.strip, cells)):
                continue
            if headers is None:
                headers = [tidy(it) for it in cells]
                sheet.header_line = line
                for number, header in enumerate(headers):
                    if header in sheet.places:
                        sheet.twice.append(header)
                    elif header:
                        sheet.places[header] = f'column {_letters(number)}, "{header}"'
                continue
            values = {
                header: value
                for header, it in zip(headers, cells, strict=False)
                if header and (value := it if it.isalnum() else tidy(it))
            }
            if any(map(str.strip, cells[len(headers) :])):
                message = (
                    f"has {len(cells)} values, and the heading {len(headers)}: a value with"
                    f" {delimiter!r} is in quotes"
                )
                sheet.misfits.append(SheetError(line, message))
            else:
                sheet.rows.append(Row(line, values))
    except csv.Error as error:
        message = f'this is not a table: {error}; a value with " or {delimiter!r} is in quotes'
        sheet.broken = SheetError(before + 1, message)
    if headers is None and sheet.broken is None:
        sheet.broken = SheetError(0, "is empty: its first line says the columns")
    return sheet


def read_geojson(text: str) -> Sheet:
    """Read a FeatureCollection of points (RFC 7946)."""
    sheet = Sheet(is_map=True)
    try:
        _collect(text, sheet)
    except SheetError as error:
        sheet.broken = error
        sheet.rows.clear()  # it is another kind of map
    except json.JSONDecodeError as error:
        sheet.broken = SheetError(error.lineno, _NO_JSON + error.msg)
    except (RecursionError, ValueError):
        sheet.broken = SheetError(0, _NO_JSON + "too deep, or a number too long to read")
    for row in sheet.rows:
        for header in row.values:
            sheet.places.setdefault(header, f'"{header}"')
    return sheet


def tidy(text: str) -> str:
    """Return text without blanks around it, and in it no other ones, nor what cannot be shown."""
    if text.isprintable() and "  " not in text:
        return text.strip()
    shown = text.encode("utf-8", "replace").decode()
    return " ".join("".join(it if it.isprintable() else " " for it in shown).split())


def _letters(number: int) -> str:
    """Return the name of a column in a spreadsheet, of its number from 0."""
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _collect(text: str, sheet: Sheet) -> None:
    """Read member by member, so that the line of every feature is known."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    kind: Any = None
    at = _after(text, 0, "{")
    while not text.startswith("}", at):
        name, at = decoder.raw_decode(text, at)
        at = _after(text, at, ":")
        if name == "features":
            at = _features(text, _after(text, at, "["), decoder, sheet)
        else:
            value, at = decoder.raw_decode(text, at)
            if name == "type":
                kind = value
            elif name == "crs":
                sheet.is_rd = _is_rd(value, text.count("\n", 0, at) + 1)
        at = _skip(text, at)
        if not text.startswith("}", at):
            at = _after(text, at, ",")
    if kind != "FeatureCollection":
        raise SheetError(1, 'is no GeoJSON of type "FeatureCollection"')
    if (at := _skip(text, at + 1)) < len(text):
        raise json.JSONDecodeError("something comes after its end", text, at)


def _is_rd(crs: Any, line: int) -> bool:
    """Tell whether coordinates are in the Dutch grid. Raises if they are in one unknown here."""
    match = _EPSG.search(json.dumps(crs))
    code = "4326" if match is None else match[1]
    if code not in _RD_NEW | _DEGREES:
        message = f"its crs is EPSG:{code}: save it with WGS 84 (EPSG:4326) or RD New (EPSG:28992)"
        raise SheetError(line, message)
    return code in _RD_NEW


def _features(text: str, at: int, decoder: json.JSONDecoder, sheet: Sheet) -> int:
    """Add the features of an array; return where that ends."""
    counted, line = 0, 1
    while not text.startswith("]", at):
        line += text.count("\n", counted, at)
        counted = at
        feature, at = decoder.raw_decode(text, at)
        sheet.rows.append(_row(feature, line))
        at = _skip(text, at)
        if not text.startswith("]", at):
            at = _after(text, at, ",")
    return at + 1


def _row(feature: Any, line: int) -> Row:
    if not isinstance(feature, dict):
        return Row(line, {}, None, "is no feature")
    properties = feature.get("properties")
    values = {
        tidy(name): tidy(value) if isinstance(value, str) else value
        for name, value in (properties if isinstance(properties, dict) else {}).items()
        if value is not None and value != ""
    }
    if isinstance(feature.get("id"), str | int):
        values.setdefault("id", tidy(str(feature["id"])))
    geometry = feature.get("geometry")
    if geometry is None:
        return Row(line, values)
    kind, at = (
        (geometry.get("type"), geometry.get("coordinates"))
        if isinstance(geometry, dict)
        else (None, None)
    )
    if kind == "MultiPoint" and isinstance(at, list) and len(at) == 1:
        kind, at = "Point", at[0]
    if kind != "Point":
        return Row(line, values, None, "its geometry is no Point")
    if not isinstance(at, list) or len(at) < 2 or not all(map(_is_number, at[:2])):
        return Row(line, values, None, "the coordinates of its Point are not two numbers")
    return Row(line, values, (float(at[0]), float(at[1])))


def _is_number(it: object) -> bool:
    return isinstance(it, int | float) and not isinstance(it, bool) and abs(it) < _FARTHEST


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match is not None, "the pattern matches the empty string"
    return match.end()


def _after(text: str, at: int, sign: str) -> int:
    """Return where what comes after a sign begins. Raises JSONDecodeError if it is not there."""
    at = _skip(text, at)
    if not text.startswith(sign, at):
        raise json.JSONDecodeError(f'"{sign}" is missing', text, at)
    return _skip(text, at + 1)

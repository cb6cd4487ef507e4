"""Turns the rows of ``[[asset_file]]`` into documents, as if each row were a table of TOML.

So one check sees them all, and what is wrong is told with the file, the line and the column.
"""

from __future__ import annotations

import codecs
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stoep_gateway import toml_lines
from stoep_gateway.assets import rd
from stoep_gateway.assets.sheets import Row, Sheet, read_csv, read_geojson, tidy
from stoep_gateway.config_assets import AssetFileConfig
from stoep_gateway.config_model import clean_id
from stoep_gateway.config_reader import MAX_OCTETS, Document, Entry, Reader, did_you_mean
from stoep_gateway.errors import Mistake

__all__ = ["SheetDocument", "read_sheets", "shortened"]

_RD = ("rd_x", "rd_y")
_ALIKE = 0.8
_WORKBOOK = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls
_SHOWN = 10  # of mistakes that differ in numbers and names alone
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([., ’']\d{3})+([.,]\d+)?")
_TRUE = {"true", "yes", "ja", "1", "waar", "y", "j"}
_FALSE = {"false", "no", "nee", "0", "onwaar", "n"}
_VARIES = re.compile(r'"[^"]*"|-?[\d.]+')
_ALIASES = {
    **dict.fromkeys(("latitude", "breedtegraad"), "lat"),
    **dict.fromkeys(("longitude", "lengtegraad", "lng", "long"), "lon"),
    **dict.fromkeys(("x_rd", "rdx", "xrd"), "rd_x"),
    **dict.fromkeys(("y_rd", "rdy", "yrd"), "rd_y"),
}


@dataclass(frozen=True)
class SheetDocument(Document):
    """A file of rows. ``unused`` are headers that stand for nothing of ours."""

    of: str
    sheet: Sheet
    asked: Entry  # the [[asset_file]] that names it
    columns: Mapping[str, str]
    missing: frozenset[str]  # keys that no row has
    silent: set[tuple[int, str]]  # what was told already
    unused: tuple[str, ...]

    def place(self, path: toml_lines.Path) -> tuple[str, int]:
        """Return the file and line of a row; those of the default of a key that comes from it."""
        match path:
            case (_, int(index), str(key), *_) if self._is_default(index, key):
                return self.asked.document.place((*self.asked.path, "defaults", key))
            case (_, int(index), *_):
                return self.name, self.sheet.rows[index].line
        return self.name, self.sheet.header_line

    def told(self, path: toml_lines.Path, message: str) -> str:
        """Add the column to a message, and what helps; return nothing for what is told already."""
        match path:
            case (_, int(index), *rest):
                key = str(rest[0]) if rest else ""
            case _:
                return message
        if key in self.missing or (index, key) in self.silent:
            return ""
        if self._is_default(index, key):
            return f"defaults: {message}"
        header = self.columns.get(key) or self.columns.get("rd_x" if key in ("lat", "lon") else "")
        where = [f"feature {index + 1}"] if self.sheet.is_map else []
        if header is not None:
            where.append(self.sheet.places[header])
            value = self.sheet.rows[index].values.get(header)
            if isinstance(value, str) and " must be a " in message and _THOUSANDS.fullmatch(value):
                message += '; write it without "." or "," between thousands'
        return f"{message} ({', '.join(where)})" if where else message

    def _is_default(self, index: int, key: str) -> bool:
        given = self.sheet.rows[index].values
        return key in self.asked.raw.get("defaults", {}) and self.columns.get(key) not in given


def read_sheets(
    reader: Reader, asked: Iterable[Entry], models: Mapping[str, type[BaseModel]]
) -> list[SheetDocument]:
    """Read the files that ``[[asset_file]]`` name, their rows as tables of ``models``."""
    found: dict[Path, SheetDocument | None] = {}
    for entry in asked:
        if not isinstance(entry.model, AssetFileConfig):
            continue
        if entry.model.path in found:
            reader.report(entry.document, (*entry.path, "path"), "path is that of another one")
        else:
            found[entry.model.path] = _read_sheet(reader, entry, models)
    return [it for it in found.values() if it is not None]


def _read_sheet(
    reader: Reader, asked: Entry, models: Mapping[str, type[BaseModel]]
) -> SheetDocument | None:
    config: AssetFileConfig = asked.model
    text = _text(reader, asked)
    if text is None:
        return None
    is_map = config.path.suffix.lower() in (".geojson", ".json")
    sheet = read_geojson(text) if is_map else read_csv(text)
    name = str(config.path)
    for error in (*sheet.misfits, *((sheet.broken,) if sheet.broken else ())):
        reader.mistakes.append(Mistake(name, error.line, str(error)))
    if not sheet.rows and sheet.broken is not None:
        return None
    model = models[config.of]
    columns, unused = _columns(reader, asked, sheet, model)
    given = columns.keys() | config.defaults.keys()
    if has_points := is_map and "lat" in model.model_fields:
        given |= {"lat", "lon"}
    has_grid = given >= set(_RD)
    if has_grid:
        given |= {"lat", "lon"}
    if "level" in given:
        given |= {"depth_mm"}
    required = {key for key, it in model.model_fields.items() if it.is_required()}
    missing = frozenset(required - given) if sheet.rows else frozenset()
    document = SheetDocument(
        config.path, name, {}, "", config.of, sheet, asked, columns, missing, set(), unused
    )
    _say_missing(reader, document, model)
    if not sheet.rows and not sheet.misfits:
        reader.warnings.append(Mistake(name, 0, f"has not one [[{config.of}]]"))
    rows = []
    for index, row in enumerate(sheet.rows):
        values = {key: it for key, it in config.defaults.items() if key in model.model_fields}
        values |= {key: row.values[it] for key, it in columns.items() if it in row.values}
        _translate(reader, document, index, values)
        for key, value in values.items():
            values[key] = _typed(value, _kind(model, key))
        if has_points or has_grid:
            _locate(reader, document, index, row, values)
        _judge(reader, document, index, values)
        if config.clean_ids and isinstance(values.get("id"), str):
            values["id"] = clean_id(values["id"])
        if row.mistake:
            reader.report(document, (config.of, index), row.mistake)
            document.silent.update(((index, "lat"), (index, "lon")))
        rows.append(values)
    document.values[config.of] = rows
    return document


def shortened(found: Iterable[Mistake], files: set[str]) -> list[Mistake]:
    """Return each only once, and of those of files of rows that are alike the first few."""
    shown: list[Mistake] = []
    alike: dict[tuple[str, str], list[Mistake]] = {}
    for it in dict.fromkeys(found):
        if it.file in files:
            same = alike.setdefault((it.file, _VARIES.sub("#", it.message)), [])
            same.append(it)
            if len(same) > _SHOWN:
                continue
        shown.append(it)
    for same in alike.values():
        if (more := len(same) - _SHOWN) > 0:
            last = same[_SHOWN - 1]
            shown.append(Mistake(last.file, last.line, f"and {more} more like this"))
    return shown


def _text(reader: Reader, asked: Entry) -> str | None:
    config: AssetFileConfig = asked.model
    try:
        if config.path.is_fifo():
            reader.report(asked.document, (*asked.path, "path"), "path is a pipe, and no file")
            return None
        with config.path.open("rb") as file:
            data = file.read(MAX_OCTETS + 1)
    except OSError as error:
        message = f"path cannot be read: {error.strerror or type(error).__name__}"
        reader.report(asked.document, (*asked.path, "path"), message)
        return None
    name = str(config.path)
    if len(data) > MAX_OCTETS:
        reader.mistakes.append(Mistake(name, 0, f"is larger than {MAX_OCTETS >> 20} MB"))
        return None
    if data.startswith(_WORKBOOK):
        message = 'is a workbook, and no table: save it as "CSV UTF-8"'
        reader.mistakes.append(Mistake(name, 0, message))
        return None
    encoding: str = "utf-8-sig" if config.encoding == "utf-8" else config.encoding
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"  # what spreadsheets call Unicode text
    elif data.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    try:
        if "\0" in (text := data.decode(encoding)):
            line = text.count("\n", 0, text.index("\0")) + 1
            message = 'is no text, or UTF-16 without its mark: save it as "CSV UTF-8"'
            reader.mistakes.append(Mistake(name, line, message))
            return None
        return text
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f'is not {config.encoding} text: save it as "CSV UTF-8"'
        if config.encoding == "utf-8":
            message += ', or say encoding = "cp1252" if that is what a spreadsheet wrote'
        reader.mistakes.append(Mistake(name, line, message))
        return None


def _columns(
    reader: Reader, asked: Entry, sheet: Sheet, model: type[BaseModel]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the header that each of our keys stands under, and the headers that are left."""
    config: AssetFileConfig = asked.model
    keys = [*model.model_fields, *(_RD if "lat" in model.model_fields else ())]
    folded = {_folded(it): it for it in reversed(sheet.places)}
    ours = {_ALIASES.get(it, it): header for it, header in folded.items()}
    columns: dict[str, str] = {}
    for table in ("columns", "values", "defaults"):
        for key in getattr(config, table):
            if key not in keys:
                message = f'{table}: [[{config.of}]] has no "{key}"{did_you_mean(key, keys)}'
                reader.report(asked.document, (*asked.path, table, key), message)
    for key, header in config.columns.items():
        known = folded.get(_folded(header))
        if known is not None:
            columns[key] = known
        elif key in keys and (not sheet.is_map or sheet.rows):
            hint = did_you_mean(header, sheet.places)
            if not columns and not hint and not sheet.is_map:
                hint = f"; its heading is line {sheet.header_line}, the first that is not empty"
            message = f'columns: {config.path.name} has no "{header}"{hint}'
            reader.report(asked.document, (*asked.path, "columns", key), message)
    for key in keys:
        if key not in config.columns and key in ours and ours[key] not in columns.values():
            columns[key] = ours[key]
    used = set(columns.values())
    unused = tuple(it for it in sheet.places if it not in used)
    name = str(config.path)
    for header in sheet.twice:
        if header in used:
            message = f'"{header}" is the heading of more than one column'
            reader.mistakes.append(Mistake(name, sheet.header_line, message))
    free = [key for key in keys if key not in columns and key not in _RD]
    for header in unused:
        if hint := did_you_mean(_folded(header), free, _ALIKE):
            message = f'nothing is read from "{header}"{hint}'
            reader.warnings.append(Mistake(name, sheet.header_line, message))
    return {key: it for key, it in columns.items() if key in keys}, unused


def _folded(header: str) -> str:
    return re.sub(r"[\s-]+", "_", header.strip().casefold())


def _say_missing(reader: Reader, document: SheetDocument, model: type[BaseModel]) -> None:
    config: AssetFileConfig = document.asked.model
    in_grid = {*_RD} & (config.columns.keys() | document.columns.keys())
    for key in (*model.model_fields, *_RD):
        is_missing = key in document.missing
        if key in ("lat", "lon") and in_grid:
            is_missing = False
        elif key in _RD:
            is_missing = bool(in_grid) and key not in document.columns
        if not is_missing or key in config.columns:
            continue
        hint = did_you_mean(key, document.unused)
        grid = ' (or "rd_x" and "rd_y")' if key in ("lat", "lon") else ""
        message = (
            f'has no column "{key}"{grid}{hint}: say in [[asset_file]] under which heading it is,'
            f' columns = {{ {key} = "..." }}, or the same for all, defaults = {{ {key} = ... }}'
        )
        reader.report(document, (), message)


def _translate(reader: Reader, document: SheetDocument, index: int, values: dict[str, Any]) -> None:
    """Put our words in the place of theirs."""
    config: AssetFileConfig = document.asked.model
    for key, words in config.values.items():
        theirs = values.get(key)
        if not isinstance(theirs, str | int | float) or document.columns.get(key) is None:
            continue
        said = str(theirs).strip().casefold()
        for word, ours in words.items():
            if word.strip().casefold() == said:
                values[key] = ours
                break
        else:
            if theirs not in words.values():
                known = did_you_mean(str(theirs), words)
                message = f'{key} "{tidy(str(theirs))}" is not in values.{key}{known}'
                reader.report(document, (document.of, index, key), message)
                document.silent.add((index, key))
                del values[key]


def _locate(
    reader: Reader, document: SheetDocument, index: int, row: Row, values: dict[str, Any]
) -> None:
    """Say where a row is by its point or its coordinates in the Dutch grid."""
    at = (document.of, index)
    x, y = values.pop("rd_x", None), values.pop("rd_y", None)
    if x is None and y is None:
        if "lat" in values or "lon" in values:
            return
        if row.point is None:
            if not row.mistake:
                message = f"[[{document.of}]] needs a place: it has no geometry, a Point"
                reader.report(document, at, message)
            document.silent.update(((index, "lat"), (index, "lon")))
            return
        x, y = row.point
        if not document.sheet.is_rd and not rd.is_in_grid(x, y):
            values["lon"], values["lat"] = x, y
            return
    numbers = [it for it in (x, y) if isinstance(it, int | float) and not isinstance(it, bool)]
    if len(numbers) < 2:
        wrong = "rd_x" if x is None or isinstance(x, str) else "rd_y"
        message = '"rd_x" and "rd_y" are two numbers, metres of RD New (EPSG:28992)'
        reader.report(document, (*at, wrong), message)
    elif rd.is_in_grid(*numbers):
        values["lat"], values["lon"] = (round(it, 7) for it in rd.to_wgs84(*numbers))
        return
    elif rd.is_in_grid(*reversed(numbers)):
        reader.report(document, (*at, "rd_x"), "rd_x and rd_y are swapped")
    else:
        message = "rd_x and rd_y are no place in the Netherlands: RD New (EPSG:28992), in metres"
        reader.report(document, (*at, "rd_x"), message)
    document.silent.update(((index, "lat"), (index, "lon")))


def _judge(reader: Reader, document: SheetDocument, index: int, values: Mapping[str, Any]) -> None:
    """Say what is the matter with a latitude that is none."""
    lat, lon = values.get("lat"), values.get("lon")
    if not isinstance(lat, int | float) or not isinstance(lon, int | float) or abs(lat) <= 90:
        return
    if rd.is_in_grid(lon, lat) or rd.is_in_grid(lat, lon):
        message = 'lat and lon are metres of RD New: say columns = { rd_x = "...", rd_y = "..." }'
    elif abs(lat) <= 180 and abs(lon) <= 90:
        message = "lat and lon are swapped"
    else:
        return
    reader.report(document, (document.of, index, "lat"), message)
    document.silent.update(((index, "lat"), (index, "lon")))


@cache
def _kind(model: type[BaseModel], key: str) -> str:
    """Return what a value of a key is made from in a row: "int", "float", "bool", "list", "str"."""
    if key in _RD:
        return "float"
    annotation: Any = model.model_fields[key].annotation if key in model.model_fields else str
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        annotation = next(it for it in typing.get_args(annotation) if it is not types.NoneType)
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) is list:
        return "list"
    return annotation.__name__ if annotation in (int, float, bool) else "str"


def _typed(value: Any, kind: str) -> Any:
    """Return a value of a row as TOML would have it; as it was if that cannot be."""
    if kind == "str":
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if kind == "list":
        if isinstance(value, str):
            return [it.strip() for it in re.split(r"[,;|]", value) if it.strip()]
        return value
    if isinstance(value, str):
        word = value.strip()
        if kind == "bool":
            folded = word.casefold()
            return True if folded in _TRUE else False if folded in _FALSE else value
        if _NUMBER.fullmatch(word) and not (kind == "int" and _THOUSANDS.fullmatch(word)):
            value = float(word.replace(",", ".")) if len(word) < 300 else value
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value

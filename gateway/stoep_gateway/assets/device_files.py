"""Files of devices: CSV with a heading and YAML, read with their lines, and written. Pure.

CSV is what spreadsheets save: separated by commas, semicolons or tabs, with or without a byte
order mark. YAML is a list of mappings. Every value is read as text, so that an EUI made of digits
stays one; ``adr`` and ``enabled`` are then true or false, ``lat`` and ``lon`` numbers. An empty one
of these two, ``name``, ``asset`` or ``make`` means none, any other that nothing is said.

No value is repeated in a message: it may be a key in the wrong place.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from stoep_gateway.config_model import DeviceConfig
from stoep_gateway.config_reader import did_you_mean
from stoep_gateway.errors import Mistake

__all__ = ["FIELDS", "MAX_OCTETS", "Entry", "Format", "guess", "read", "write"]

FIELDS = tuple(DeviceConfig.model_fields)
MAX_OCTETS = 8 * 1024 * 1024
Format = Literal["csv", "yaml"]

_SEPARATORS = ",;\t"
_TRUE = ("true", "yes", "1")
_FALSE = ("false", "no", "0")
_BOOLEANS = ("adr", "enabled")
_DEGREES = ("lat", "lon")
_MAY_BE_EMPTIED = ("name", "asset", "make", *_DEGREES)
_NULLS = ("", "~", "null", "Null", "NULL")
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LOADER = getattr(yaml, "CLoader", yaml.Loader)  # gives events only: it constructs nothing


@dataclass(frozen=True, slots=True)
class Entry:
    """One device as written; ``lines`` says where each key stands, ``line`` where it begins."""

    line: int
    values: Mapping[str, object] = field(repr=False)
    lines: Mapping[str, int] = field(default_factory=dict)

    def line_of(self, key: str) -> int:
        """Return the line to name for a mistake in ``key``."""
        return self.lines.get(key, self.line)


def guess(text: str) -> Format:
    """Return what a text without a file name seems to be."""
    for line in text.splitlines():
        stripped = line.strip("\ufeff \t")
        if stripped and not stripped.startswith("#"):
            return "yaml" if stripped[0] in "-[{" else "csv"
    return "csv"


def read(data: bytes, name: str, kind: Format | None = None) -> tuple[list[Entry], list[Mistake]]:
    """Return the devices of a file and everything that is wrong with its form."""
    if len(data) > MAX_OCTETS:
        return [], [Mistake(name, 0, f"is larger than {MAX_OCTETS} octets; divide it")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [Mistake(name, data.count(b"\n", 0, error.start) + 1, "is not UTF-8 text")]
    if kind is None:
        kind = guess(text)
    entries: list[Entry] = []
    mistakes: list[Mistake] = []
    for found in _read_csv(text) if kind == "csv" else _read_yaml(text):
        if isinstance(found, Entry):
            entries.append(found)
        else:
            mistakes.append(Mistake(name, *found))
    if not entries and not mistakes:
        mistakes.append(Mistake(name, 0, "has no device in it"))
    return entries, mistakes


_Found = Entry | tuple[int, str]


def _value(key: str, text: str) -> object:
    """Return what a text means. Raises ValueError with what is wrong with it."""
    if key in _BOOLEANS:
        word = text.casefold()
        if word not in _TRUE + _FALSE:
            raise ValueError(f"{key} must be true or false")
        return word in _TRUE
    if key in _DEGREES:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{key} must be a number of degrees, as -15.786111") from None
    return text


# CSV


def _read_csv(text: str) -> Iterator[_Found]:
    heading, _, _ = text.lstrip("\r\n").partition("\n")
    separator = max(_SEPARATORS, key=heading.count)
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    columns: list[str] | None = None
    line = 1
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if any(cells):
                if columns is None:
                    columns = [cell.casefold() for cell in cells]
                    mistakes = list(_heading_mistakes(columns, line))
                    yield from mistakes
                    if mistakes:
                        return
                else:
                    yield from _csv_entry(columns, cells, line)
            line = rows.line_num + 1
    except csv.Error as error:
        yield line, f"this is not CSV: {error}"


def _heading_mistakes(columns: list[str], line: int) -> Iterator[tuple[int, str]]:
    if "dev_eui" not in columns:
        yield line, f'the first line names the columns: {", ".join(FIELDS)}; "dev_eui" is not there'
        return  # a key may stand where a name should
    for number, column in enumerate(columns, 1):
        if column not in FIELDS:
            hint = did_you_mean(column, FIELDS)
            yield line, f"column {number} is none of: {', '.join(FIELDS)}{hint}"
        elif column in columns[: number - 1]:
            yield line, f'column "{column}" is there twice'


def _csv_entry(columns: list[str], cells: list[str], line: int) -> Iterator[_Found]:
    if any(cells[len(columns) :]):
        yield line, f"has {len(cells)} values, the first line {len(columns)} columns"
        return
    values: dict[str, object] = {}
    for column, cell in zip(columns, cells, strict=False):
        if cell:
            try:
                values[column] = _value(column, cell)
            except ValueError as error:
                yield line, str(error)
        elif column in _MAY_BE_EMPTIED:
            values[column] = None
    yield Entry(line, values)


# YAML


def _read_yaml(text: str) -> Iterator[_Found]:
    try:
        yield from _yaml_entries(yaml.parse(text, _LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        yield 0 if mark is None else mark.line + 1, f"this is not YAML: {error.problem}"
    except (yaml.YAMLError, RecursionError):
        yield 0, "this is not YAML"


def _yaml_entries(events: Iterator[Any]) -> Iterator[_Found]:
    """Read ``[{key: scalar, …}, …]`` from parser events, which cost no stack however deep."""
    depth = 0  # 1 in the list, 2 in a device
    line = 0
    key: str | None = None
    values: dict[str, object] = {}
    lines: dict[str, int] = {}
    for event in events:
        at = event.start_mark.line + 1
        is_scalar = isinstance(event, yaml.ScalarEvent)
        if isinstance(event, yaml.CollectionStartEvent):
            expected = yaml.SequenceStartEvent if depth == 0 else yaml.MappingStartEvent
            if depth > 1 or not isinstance(event, expected):
                yield at, 'write a list of devices, each "- dev_eui: ..." and its other keys below'
                return
            depth += 1
            line, key, values, lines = at, None, {}, {}
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            if depth == 1:
                yield Entry(line, values, lines)
        elif isinstance(event, yaml.AliasEvent) or (is_scalar and depth < 2):
            yield at, 'write a list of devices, each "- dev_eui: ..." and its other keys below'
            return
        elif is_scalar and key is None:
            key = event.value
            if key not in FIELDS:
                yield at, f"a key is none of: {', '.join(FIELDS)}{did_you_mean(key, FIELDS)}"
            elif key in lines:
                yield at, f'"{key}" is there twice'
            lines[key] = at
        elif is_scalar:
            assert key is not None
            if event.implicit[0] and event.value in _NULLS:
                if key in _MAY_BE_EMPTIED:
                    values[key] = None
            elif key in FIELDS:
                try:
                    values[key] = _value(key, event.value)
                except ValueError as error:
                    yield at, str(error)
            key = None


# Writing


def write(raws: Iterable[Mapping[str, object]], kind: Format) -> str:
    """Return devices as a file that `read` takes; values are as in a raw device."""
    rows = list(raws)
    if kind == "yaml":
        if not rows:
            return "[]\n"
        return yaml.dump(
            [{key: row[key] for key in FIELDS if key in row} for row in rows],
            Dumper=_DUMPER,
            sort_keys=False,
            allow_unicode=True,
        )
    columns = [key for key in FIELDS if key == "dev_eui" or any(key in row for row in rows)]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return file.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)

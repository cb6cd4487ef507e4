"""Recorded series as CSV, as spreadsheets, loggers and platforms write it. Pure.

The first line names the columns. Separators are commas, semicolons or tabs; a decimal comma is
understood where it separates nothing. A line is a row, whatever its quotes say, so that one that
is broken spoils no other: it is told with its number, and skipped.
"""

import csv
import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import IO, Any, NamedTuple

from stoep_tools.evaluate.kinds import Type

__all__ = ["BadRow", "Heading", "Row", "Unusable", "heading", "rows", "utc"]

LINE_MAX = 8_192  # characters
NAME_MAX = 128
_SEPARATORS = ",;\t"
_ALIASES = (
    ("time_utc", "time"),
    ("device", "asset"),
    ("device", "dev_eui"),
    ("device", "container"),
)  # as in our own exports
_NUMBER = re.compile(r"[-+]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][-+]?\d{1,2})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS_MS = (946_684_800_000, 32_503_680_000_000)  # from 2000 to before 3000
_SECONDS_BELOW = 1e11
_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_QUOTED = 40


class Unusable(ValueError):  # noqa: N818 (a situation)
    """Nothing of a file can be used."""


class BadRow(NamedTuple):
    """A row that cannot be used: its line, a word to count it under, and what is wrong."""

    line: int
    kind: str
    message: str


class Row(NamedTuple):
    """A row: its line, and its values by column, None where empty."""

    line: int
    values: dict[str, Any]


class Heading(NamedTuple):
    """What the first line says: ``columns`` are used, as (index, name, type), ``unused`` not."""

    line: int
    separator: str
    width: int
    columns: tuple[tuple[int, str, Type], ...]
    unused: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns that are used."""
        return tuple(name for _, name, _ in self.columns)


def heading(text: IO[str], known: Mapping[str, Type], required: Sequence[str]) -> Heading:
    """Read the first line that is not empty. Raises `Unusable`."""
    separator = None
    for line, content in _lines(text):
        if content is None:
            raise Unusable(f"its line {line} names no columns: it is longer than any heading")
        if said := re.fullmatch(r"sep=(.)\s*", content):  # a spreadsheet's note to itself
            separator = said[1]
            continue
        break
    else:
        raise Unusable("is empty; the first line names the columns")
    if "\0" in content:
        raise Unusable("is no text; save it as CSV, in UTF-8")
    if separator not in tuple(_SEPARATORS):
        separator = max(_SEPARATORS, key=content.count)
    names = [re.sub(r"[\s-]+", "_", cell.casefold()) for cell in _cells(content, separator) or ()]
    for name, alias in _ALIASES:
        if name not in names and alias in names:
            names[names.index(alias)] = name
    columns = [(n, name, known[name]) for n, name in enumerate(names) if name in known]
    for name in known:
        if names.count(name) > 1:
            raise Unusable(f'has the column "{name}" twice in its line {line}')
    for name in required:
        if name not in names:
            raise Unusable(
                f'has no column "{name}" in its line {line}; there may be: {", ".join(known)}'
            )
    unused = tuple(name + _hint(name, known) for name in names if name and name not in known)
    return Heading(line, separator, len(names), tuple(columns), unused)


def rows(text: IO[str], head: Heading, required: Sequence[str]) -> Iterator[Row | BadRow]:
    """Read what follows the heading, a line at a time; what is ``required`` is not empty."""
    parsers = [
        (n, name, kind, _PARSERS[kind](head.separator != ","), name in required)
        for n, name, kind in head.columns
    ]
    width = head.width
    for line, content in _lines(text, head.line):
        if content is None:
            yield BadRow(line, "too long", f"is longer than {LINE_MAX} characters")
            continue
        cells = _cells(content, head.separator)
        if cells is None:
            yield BadRow(line, "not CSV", "has a quotation mark in the wrong place")
        elif len(cells) != width and (len(cells) < width or any(cells[width:])):
            yield BadRow(line, "wrong number of values", _miscounted(len(cells), head))
        elif "\ufffd" in content:
            yield BadRow(line, "not UTF-8", "is not UTF-8 text; save the file as UTF-8")
        else:
            values = {}
            try:
                for n, name, kind, parse, must in parsers:  # noqa: B007 (for the message)
                    values[name] = parse(cells[n]) if must or cells[n] else None
            except ValueError as error:
                yield BadRow(line, _WORDS_FOR[kind], f"{name} {error}")
            else:
                yield Row(line, values)


def utc(at_ms: int) -> str:
    """Write UTC milliseconds as RFC 3339, ``2026-01-31T05:30:00.000Z``."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _lines(text: IO[str], line: int = 0) -> Iterator[tuple[int, str | None]]:
    """Give every line that is not empty with its number; None for one that is too long."""
    while content := text.readline(LINE_MAX):
        line += 1
        if len(content) == LINE_MAX and not content.endswith("\n"):
            while content and not content.endswith("\n"):
                content = text.readline(LINE_MAX)
            yield line, None
        elif not content.isspace():
            yield line, content


def _cells(content: str, separator: str) -> list[str] | None:
    if '"' not in content:
        return [cell.strip() for cell in content.split(separator)]
    try:
        (row,) = csv.reader(
            (content.rstrip("\r\n"),), delimiter=separator, skipinitialspace=True, strict=True
        )
    except (csv.Error, ValueError):
        return None
    return [cell.strip() for cell in row]


def _miscounted(count: int, head: Heading) -> str:
    hint = ""
    if head.separator == "," and count > head.width:
        hint = " (a decimal comma? then separate columns by semicolons)"
    return f"has {count} values, the heading {head.width} columns{hint}"


def _number(decimal_comma: bool) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if decimal_comma and "." not in text:
            text = text.replace(",", ".", 1)
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"is not a number: {_quoted(text)}")
        return float(text)

    return parse


def _flag(decimal_comma: bool) -> Callable[[str], bool]:
    def parse(text: str) -> bool:
        known = _WORDS.get(text.casefold())
        if known is None:
            raise ValueError(f"is not 0 or 1: {_quoted(text)}")
        return known

    return parse


def _time(decimal_comma: bool) -> Callable[[str], int]:
    number = _number(False)

    def parse(text: str) -> int:
        try:
            if _NUMBER.fullmatch(text):
                since = number(text)
                at_ms = math.floor(since * 1000 if abs(since) < _SECONDS_BELOW else since)
            else:
                moment = datetime.fromisoformat(text)
                if moment.tzinfo is None:
                    moment = moment.replace(tzinfo=UTC)
                at_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            raise ValueError(
                f"is not a time: {_quoted(text)}; write 2026-01-31T06:00Z, or seconds since 1970"
            ) from None
        if not _YEARS_MS[0] <= at_ms < _YEARS_MS[1]:
            raise ValueError(f"is not of the years 2000 to 2999: {_quoted(text)}")
        return at_ms

    return parse


def _text(decimal_comma: bool) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not text or not text.isprintable() or len(text) > NAME_MAX:
            raise ValueError(f"is not a name: {_quoted(text)}")
        return text

    return parse


_PARSERS: Mapping[Type, Callable[[bool], Callable[[str], Any]]] = {
    "number": _number,
    "flag": _flag,
    "time": _time,
    "text": _text,
}
_WORDS_FOR: Mapping[Type, str] = {
    "number": "not a number",
    "flag": "not 0 or 1",
    "time": "not a time",
    "text": "not a name",
}


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")


def _hint(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f" (did you mean {nearest[0]}?)" if nearest else ""

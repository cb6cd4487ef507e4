"""A city's own log of collections: from the text of a table to emptyings, or mistakes. Pure.

Every mistake is told with its line, its column and what helps. What a row says of one emptying
twice in the same words is taken once, in other words it is a mistake.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from stoep_gateway.assets.geometry import FILL_MAX_PCT
from stoep_gateway.assets.sheets import Row, Sheet, read_csv, tidy
from stoep_gateway.config_reader import did_you_mean
from stoep_gateway.errors import Mistake
from stoep_gateway.store.records import CollectionRow

__all__ = ["COLUMNS", "Log", "Site", "Style", "read"]

COLUMNS = {
    "container": "containers container_id container_nr containernummer bin bin_id asset id device",
    "time": "time_utc timestamp datetime date_time tijdstip tijd zeit uhrzeit collected emptied at",
    "date": "datum day dag",
    "from_pct": "fill_before fill_pct fill level vulgraad füllstand from",
    "to_pct": "fill_after to",
    "truck": "vehicle voertuig wagen fahrzeug lorry",
    "weight_kg": "weight gewicht kg",
}
_AHEAD_MS = 60_000  # by which another clock may be fast
_YEARS = range(2000, 3000)
_WEIGHT_MAX_KG = 100_000.0
_TRUCK_LONGEST = 64
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_UNIT = re.compile(r"\s*(?:%|kg)$", re.IGNORECASE)
_DAY_FIRST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[ T,]+(\S+))?")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:[.,]\d+)?)?")
_GUARDED = re.compile(r"'(?=[=+\-@])")
_WRITE_TIME = "write 2026-01-31 06:00 or 31-01-2026 06:00, or the date alone"


@dataclass(frozen=True, slots=True)
class Site:
    """What a log is read against: names of containers by id, the time zone, and now."""

    containers: Mapping[str, str]
    timezone: ZoneInfo
    now_ms: int


@dataclass(frozen=True, slots=True)
class Style:
    """How somebody writes: which of his headers is which column, and "01/02/2026".

    ``decimal`` None: "1.5" and "1,5" are the same.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    month_first: bool = False
    decimal: str | None = None


@dataclass(slots=True)
class Log:
    """What a table tells: rows of the source "log", all its mistakes, how many rows are double.

    ``broken``: there is nothing to be read from it, or not to its end. ``unused`` are headers.
    """

    rows: list[CollectionRow] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    broken: bool = False
    double: int = 0
    unused: tuple[str, ...] = ()


class _Wrong(Exception):  # noqa: N818 (it says the situation)
    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def read(name: str, text: str, site: Site, style: Style | None = None) -> Log:
    """Read the table of a file called ``name``."""
    style = style or Style()
    sheet = read_csv(text)
    log = Log()
    for misfit in (*sheet.misfits, *((sheet.broken,) if sheet.broken else ())):
        log.mistakes.append(Mistake(name, misfit.line, str(misfit)))
    if sheet.broken is not None:
        log.broken = True
        if not sheet.rows:
            return log
    columns = _columns(name, sheet, style, log)
    if log.broken:
        return log
    reader = _Reader(site, style, columns)
    found: dict[tuple[str, int], tuple[CollectionRow, int]] = {}
    for row in sheet.rows:
        try:
            read_row = reader.row(row)
        except _Wrong as wrong:
            header = columns.get(wrong.column)
            where = f" ({sheet.places[header]})" if header else ""
            log.mistakes.append(Mistake(name, row.line, f"{wrong}{where}"))
            continue
        known, line = found.setdefault(read_row[:2], (read_row, row.line))
        if known is read_row:
            log.rows.append(read_row)
        elif known == read_row:
            log.double += 1
        else:
            message = f"says otherwise of the emptying on line {line}: only one can be right"
            log.mistakes.append(Mistake(name, row.line, message))
    log.mistakes.sort(key=lambda it: it.line)
    return log


def _columns(name: str, sheet: Sheet, style: Style, log: Log) -> dict[str, str]:
    """Return the header of each of our columns; a mistake in that breaks the log."""
    mistakes: list[Mistake] = []
    folded = {header.casefold().replace(" ", "_"): header for header in reversed(sheet.places)}
    columns: dict[str, str] = {}
    for column, wanted in style.columns.items():
        header = folded.get(tidy(wanted).casefold().replace(" ", "_"))
        if header is None:
            message = f'has no column "{wanted}"{did_you_mean(wanted, sheet.places)}'
            mistakes.append(Mistake(name, sheet.header_line, message))
        else:
            columns[column] = header
    for column, aliases in COLUMNS.items():
        if column in style.columns:
            continue
        known = (folded[it] for it in (column, *aliases.split()) if it in folded)
        header = next((it for it in known if it not in columns.values()), None)
        if header is not None:
            columns[column] = header
    for header in sheet.twice:
        if header in columns.values():
            message = f'"{header}" is the heading of more than one column'
            mistakes.append(Mistake(name, sheet.header_line, message))
    for missing, of in (("container", ("container",)), ("time", ("time", "date"))):
        if not any(it in columns or it in style.columns for it in of):
            message = (
                f"no column is the {missing}: say which, --columns {missing}=HEADER;"
                f" there {'is' if len(sheet.places) == 1 else 'are'} {', '.join(sheet.places)}"
            )
            mistakes.append(Mistake(name, sheet.header_line, message))
    log.mistakes += mistakes
    log.broken = log.broken or bool(mistakes)
    log.unused = tuple(it for it in sheet.places if it not in columns.values())
    return columns


class _Reader:
    """Reads rows, each by itself."""

    def __init__(self, site: Site, style: Style, columns: Mapping[str, str]) -> None:
        self._site = site
        self._style = style
        self._columns = columns
        self._is_utc = columns.get("time", "").casefold().endswith("utc")
        self._by_name = _by_name(site.containers)
        self._hints: dict[str, str] = {}

    def row(self, row: Row) -> CollectionRow:
        """Return what a row tells. Raises `_Wrong`."""
        container = self._container(self._cell(row, "container"))
        at_ms, date_only = self._time(row)
        from_pct, to_pct = (self._number(row, it, FILL_MAX_PCT) for it in ("from_pct", "to_pct"))
        if from_pct is not None and to_pct is not None and to_pct > from_pct:
            raise _Wrong("to_pct", f"from {from_pct:g} to {to_pct:g} % is no emptying")
        truck = _GUARDED.sub("", self._cell(row, "truck"), count=1) or None
        if truck is not None and len(truck) > _TRUCK_LONGEST:
            raise _Wrong("truck", f"a truck's name has at most {_TRUCK_LONGEST} characters")
        weight_kg = self._number(row, "weight_kg", _WEIGHT_MAX_KG)
        told = (from_pct, to_pct, truck, weight_kg, int(date_only))
        return CollectionRow(container, at_ms, "log", *told)

    def _cell(self, row: Row, column: str) -> str:
        header = self._columns.get(column)
        return "" if header is None else str(row.values.get(header, "")).strip()

    def _container(self, said: str) -> str:
        if not said:
            raise _Wrong("container", "no container is named")
        if said in self._site.containers:
            return said
        found = self._by_name.get(said.casefold(), ())
        if len(found) > 1:
            which = ", ".join(sorted(found))
            raise _Wrong("container", f'"{said}" is the name of {which}: write the id')
        if not found:
            hint = self._hints.get(said)
            if hint is None:  # a log may name thousands that nobody has configured
                hint = self._hints[said] = did_you_mean(said, self._by_name)
            raise _Wrong("container", f'"{said[:64]}" is no container of the configuration{hint}')
        return next(iter(found))

    def _time(self, row: Row) -> tuple[int, bool]:
        """Return UTC ms, and whether it is of a date alone."""
        date, time = self._cell(row, "date"), self._cell(row, "time")
        said = f"{date} {time}" if date and _CLOCK.fullmatch(time) else time or date
        column = "time" if time or "date" not in self._columns else "date"
        if not said:
            raise _Wrong(column, f"no time is said: {_WRITE_TIME}")
        try:
            day, clock = self._day_and_clock(said)
            at = datetime.datetime.fromisoformat(f"{day.isoformat()}T{clock or '12:00'}")
        except ValueError:
            help_ = _WRITE_TIME
            if _DAY_FIRST.fullmatch(said) is not None and not self._style.month_first:
                help_ += "; where the month comes first, --month-first"
            raise _Wrong(column, f'"{said[:40]}" is no time: {help_}') from None
        if day.year not in _YEARS:
            raise _Wrong(column, f"{day.isoformat()} is not of the years 2000 to 2999")
        local, now_ms = self._site.timezone, self._site.now_ms
        if not clock:
            if day > datetime.datetime.fromtimestamp(now_ms / 1000, local).date():
                raise _Wrong(column, f"{day.isoformat()} has not come yet")
            return round(at.replace(tzinfo=local).timestamp() * 1000), True
        zone = datetime.UTC if self._is_utc else local
        at_ms = round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)
        if at_ms > now_ms + _AHEAD_MS:
            message = f'"{said}" has not come yet (times without an offset are in {zone})'
            raise _Wrong(column, message)
        return at_ms, False

    def _day_and_clock(self, said: str) -> tuple[datetime.date, str]:
        """Return the date and the time of day in ISO 8601, if there is one. Raises ValueError."""
        match = _DAY_FIRST.fullmatch(said)
        if match is not None:
            one, _, other, year, clock = match.groups()
            day, month = (
                (int(other), int(one)) if self._style.month_first else (int(one), int(other))
            )
            date = datetime.date(int(year), month, day)
        else:
            iso, _, clock = said.replace("T", " ", 1).partition(" ")
            date = datetime.date.fromisoformat(iso)
        clock = (clock or "").strip()
        if (plain := _CLOCK.fullmatch(clock)) is not None:
            hour, minute, second = plain.groups()
            clock = f"{int(hour):02}:{minute}:{second or '00'}"
        return date, clock

    def _number(self, row: Row, column: str, highest: float) -> float | None:
        said = self._cell(row, column)
        if not said:
            return None
        plain = _UNIT.sub("", said)
        other = {".": ",", ",": "."}.get(self._style.decimal or "")
        if _NUMBER.fullmatch(plain) is None or (other is not None and other in plain):
            sign = self._style.decimal or ". or ,"
            message = f'"{said[:20]}" is no number: with {sign} before decimals, and no other sign'
            raise _Wrong(column, message)
        value = float(plain.replace(",", "."))
        if not 0 <= value <= highest:
            raise _Wrong(column, f'"{said[:20]}" is not from 0 to {highest:g}')
        return value


def _by_name(containers: Mapping[str, str]) -> dict[str, set[str]]:
    """Return ids by what else people may call them: the name, in small letters."""
    found: dict[str, set[str]] = {}
    for identifier, name in containers.items():
        for said in (identifier, tidy(name)):
            found.setdefault(said.casefold(), set()).add(identifier)
    return found

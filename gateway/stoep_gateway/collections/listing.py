"""The emptyings that are known, as lines for people and as a table for spreadsheets."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple
from zoneinfo import ZoneInfo

from stoep_gateway.collections.merging import WITHIN_DATE_MS, merged
from stoep_gateway.errors import FatalError
from stoep_gateway.keeping.files import replacing
from stoep_gateway.publish.messages import utc
from stoep_gateway.store.latest import read_collections

__all__ = ["Line", "lines", "save_csv", "table", "write_csv"]

_COLUMNS = ("container", "time_utc", "told_by", "from_pct", "to_pct", "truck", "weight_kg")
_RISKY = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would take it for a formula


class Line(NamedTuple):
    """An emptying; ``date`` is the local one if no more is known of its time."""

    container: str
    at_ms: int
    date: str | None
    told_by: tuple[str, ...]
    from_pct: float | None
    to_pct: float | None
    truck: str | None
    weight_kg: float | None


def lines(
    path: Path,
    from_ms: int,
    to_ms: int,
    timezone: ZoneInfo,
    container: str | None = None,
    *,
    told: bool = False,
) -> list[Line]:
    """Read the emptyings of a span; ``told``: each as it was told. Raises as `read_collections`."""

    rows = read_collections(path, from_ms - WITHIN_DATE_MS, to_ms + WITHIN_DATE_MS)
    found = []
    for group in [[row] for row in rows] if told else [rows]:
        for it in merged(group):
            if not from_ms <= it.at_ms < to_ms or container not in (None, it.container):
                continue
            local = datetime.datetime.fromtimestamp(it.at_ms / 1000, timezone)
            date = local.date().isoformat() if it.date_only else None
            levels = it.from_pct, it.to_pct, it.truck, it.weight_kg
            found.append(Line(it.container, it.at_ms, date, it.sources, *levels))
    return found


def table(found: Sequence[Line], timezone: ZoneInfo) -> str:
    """Return lines to read, with local times."""
    if not found:
        return "no emptying is known\n"
    width = max(len("container"), *(len(it.container) for it in found))
    out = [f"{'when':16}  {'container':{width}}  {'from':>5}  {'to':>5}  {'kg':>6}  told by"]
    for it in found:
        local = datetime.datetime.fromtimestamp(it.at_ms / 1000, timezone)
        when = it.date or local.strftime("%Y-%m-%d %H:%M")
        numbers = f"{_percent(it.from_pct)}  {_percent(it.to_pct)}  {_shown(it.weight_kg):>6}"
        told_by = ", ".join(it.told_by) + (f" ({it.truck})" if it.truck else "")
        out.append(f"{when:16}  {it.container:{width}}  {numbers}  {told_by}")
    return "".join(f"{it}\n" for it in out)


def write_csv(found: Sequence[Line], file: IO[bytes]) -> None:
    """Write a table as RFC 4180 has it, with a mark that tells spreadsheets that it is UTF-8."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for it in found:
        truck = f"'{it.truck}" if it.truck and it.truck.startswith(_RISKY) else it.truck
        when = it.date or utc(it.at_ms)
        writer.writerow((it.container, when, " ".join(it.told_by), *it[4:6], truck, it.weight_kg))
    text.flush()
    text.detach()


def save_csv(found: Sequence[Line], target: Path, *, force: bool) -> None:
    """Write a table into a new file. Raises `FatalError`."""
    if target.exists() and not force:
        raise FatalError(f"{target}: is there already; --force replaces it")
    try:
        with replacing(target) as file:
            write_csv(found, file)
    except OSError as error:
        raise FatalError(f"{error.filename or target}: {error.strerror}") from None


def _percent(value: float | None) -> str:
    return f"{'' if value is None else f'{value:.0f} %':>5}"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}"

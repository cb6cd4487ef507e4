"""What a report rests on: from the gateway's store, or from tables of levels and collections."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from stoep_gateway import recorded_levels
from stoep_gateway.collections import log_file, outcome
from stoep_gateway.collections.log_file import Log, Site
from stoep_gateway.collections.merging import merged
from stoep_gateway.config import Config
from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.forecast.calendar import DAY_MS
from stoep_gateway.insight.readings import DOUBTED
from stoep_gateway.keeping import export, tables, uplinks
from stoep_gateway.keeping.tables import Span
from stoep_gateway.planning.days import date_of
from stoep_gateway.report import facts
from stoep_gateway.report.facts import Heard
from stoep_gateway.store.latest import read_collections, read_outcomes, read_plans

__all__ = ["of_files", "stored"]

_AROUND_MS = 2 * DAY_MS  # a level before holds on, an emptying is confirmed after
_ASSET = "container/"
_NAMES = [it.name for it in tables.COLUMNS["readings"]]


def stored(config: Config, from_ms: int, to_ms: int) -> Heard:
    """Read what the gateway of this configuration stored. Raises `FatalError`."""
    span = Span(from_ms - _AROUND_MS, to_ms + _AROUND_MS)
    path = config.store.path
    levels: dict[str, list[tuple[int, float]]] = defaultdict(list)
    heard_ms: dict[str, list[int]] = defaultdict(list)
    false_ms: dict[str, list[int]] = defaultdict(list)
    at, asset_of, fill_of, quality_of, reason_of = (
        _NAMES.index(it) for it in ("time_utc", "asset", "fill_pct", "quality", "reason")
    )
    with uplinks.connect(path) as connection:
        for row in export.table(config, connection, "readings", span):
            asset = row[asset_of]
            if asset is None or not asset.startswith(_ASSET) or row[reason_of] == "from_flaps":
                continue
            name, at_ms, quality = asset.removeprefix(_ASSET), row[at], row[quality_of]
            heard_ms[name].append(at_ms)
            if quality is not None and 0 < quality <= DOUBTED:
                false_ms[name].append(at_ms)
            elif row[fill_of] is not None:
                levels[name].append((at_ms, row[fill_of]))
    sorted_levels = {name: _in_order(of) for name, of in levels.items()}
    rows = read_collections(path, span.from_ms, span.to_ms)
    # Before the gateway kept emptyings, only the levels tell of them.
    kept_ms = min((it.at_utc_ms for it in rows if it.source == "sensor"), default=span.to_ms)
    rows += [it for it in facts.shown(sorted_levels) if it.at_utc_ms < kept_ms - DAY_MS]
    first, last = date_of(config, from_ms), date_of(config, to_ms - 1)
    plans = [it for it in read_plans(path, first, last) if not it.provisional]
    watched = {it.date: facts.watched(it, sorted_levels) for it in plans}
    for date, text in read_outcomes(path, first, last).items():
        try:
            watched[date] = outcome.loads(text)
        except ValueError as error:
            raise StoreCorrupt(f"{path}: {error}") from None
    return Heard(sorted_levels, merged(rows), plans, watched, heard_ms, false_ms)


def of_files(
    config: Config, levels: Path, collections: Path | None, now_ms: int
) -> tuple[Heard, list[str]]:
    """Read levels, and a log of collections; without one those are taken that the levels show.

    Returns what is to be said of rows that were left out, too. Raises `FatalError`.
    """
    found, bad = recorded_levels.read(levels, {it.id for it in config.containers})
    if not found:
        raise FatalError("\n".join([*bad, f"{levels}: has levels of none of the containers"]))
    found = {name: _in_order(of) for name, of in found.items()}
    rows = facts.shown(found)
    if collections is not None:
        log = _log(config, collections, now_ms)
        bad += [f"{it}; skipped" for it in log.mistakes]
        rows += log.rows
    return Heard(found, merged(rows)), bad


def _log(config: Config, path: Path, now_ms: int) -> Log:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FatalError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FatalError(f"{path}: is not a table (CSV) in UTF-8 text") from None
    names = {it.id: it.name or it.id for it in config.containers}
    log = log_file.read(str(path), text, Site(names, config.timezone, now_ms))
    if log.broken:
        raise FatalError("\n".join(map(str, log.mistakes)))
    return log


def _in_order(levels: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return levels by time, one of each."""
    return [next(of) for _, of in itertools.groupby(sorted(levels), key=lambda it: it[0])]

"""``stoep gateway export``: what was received, as CSV or Parquet, also while the gateway runs.

Uplinks are read a page at a time, so that no reader keeps the gateway's log from being folded in,
and written as they come: memory does not grow with them.
"""

from __future__ import annotations

import argparse
import csv
import io
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from stoep_gateway import config as configuration
from stoep_gateway import config_path
from stoep_gateway.assets import registry as registries
from stoep_gateway.assets.registry import Container
from stoep_gateway.config import Config
from stoep_gateway.errors import FatalError
from stoep_gateway.keeping import tables, uplinks
from stoep_gateway.keeping.files import replacing
from stoep_gateway.keeping.tables import Column, Kind, Named, Row, Span
from stoep_gateway.publish.messages import utc

__all__ = ["export", "run", "table"]

_PAGE = 2_000
_LAST_MS = 2**53
# Readings come late, and their numbers are told by those before them.
_AROUND_MS = 7 * 86_400_000
_PARQUET = ".parquet"
_STDOUT = "-"
_PERSONAL = {
    "bays": "when a car came and went can tell of a person: times are cut to five minutes (--raw)",
    "uplinks": "bays' uplinks are left out: they can tell of a person (--raw)",
}
_REMINDER = "this can tell of persons: keep it to yourself, and not longer than it is needed"
_COLUMNS = (
    "uplink_id, received_utc_ms, dev_eui, f_cnt_up, f_port, frm_payload, undecodable, freq_hz, dr,"
    " receptions"
)
_QUERY = (
    f"SELECT {_COLUMNS} FROM uplink WHERE uplink_id > ? AND uplink_id <= ?"  # noqa: S608
    " ORDER BY uplink_id LIMIT ?"
)


class Writer(Protocol):
    """Writes rows of one table, ``group`` at a time."""

    group: int

    def write(self, rows: Sequence[Row]) -> None:
        """Write some."""

    def close(self) -> None:
        """Write the end."""


def run(options: argparse.Namespace) -> int:
    """Export; return the exit code. Raises `FatalError`."""
    config = configuration.load(config_path.named(options.config))
    to_stdout = options.file == _STDOUT
    target = Path(options.file)
    kind: str = options.format or ("parquet" if target.suffix == _PARQUET else "csv")
    if not to_stdout and target.exists() and not options.force:
        raise FatalError(f"{target}: is there already; --force replaces it")
    if options.kind in _PERSONAL:
        print(_REMINDER if options.raw else _PERSONAL[options.kind], file=sys.stderr)
    span = Span(
        0 if options.since is None else options.since,
        _LAST_MS if options.until is None else options.until,
    )
    try:
        if to_stdout:
            count = export(config, options.kind, span, kind, sys.stdout.buffer, raw=options.raw)
            sys.stdout.buffer.flush()
        else:
            with replacing(target) as file:
                count = export(config, options.kind, span, kind, file, raw=options.raw)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FatalError(f"{error.filename or target}: {error.strerror}") from None
    print(f"{'standard output' if to_stdout else target}: {count} {options.kind}", file=sys.stderr)
    return 0


def export(
    config: Config, kind: Kind, span: Span, form: str, file: IO[bytes], *, raw: bool = False
) -> int:
    """Write what is in ``span`` into an open file as "csv" or "parquet"; return how many rows.

    Raises `FatalError`.
    """
    columns = tables.COLUMNS[kind]
    writer: Writer = _Parquet(file, columns) if form == "parquet" else _Csv(file, columns)
    count = 0
    with uplinks.connect(config.store.path) as connection:
        found = table(config, connection, kind, span, raw=raw)
        while some := list(islice(found, writer.group)):
            writer.write(some)
            count += len(some)
    writer.close()
    return count


def table(
    config: Config, connection: sqlite3.Connection, kind: Kind, span: Span, *, raw: bool = False
) -> Iterator[Row]:
    """Yield the rows of what is in ``span``, in the order in which they came."""
    found = _pages(connection, _around(kind, span))
    return tables.rows(kind, found, _named(config, connection), span, raw=raw)


def _around(kind: Kind, span: Span) -> Span:
    """Return when uplinks came that may tell of ``span``: a container's cycle began long before."""
    if kind == "emptyings":
        return Span(0, span.to_ms + _AROUND_MS)
    if kind == "readings":
        return Span(span.from_ms - _AROUND_MS, span.to_ms + _AROUND_MS)
    return span


def _pages(connection: sqlite3.Connection, span: Span) -> Iterator[tables.Uplink]:
    (last,) = connection.execute("SELECT ifnull(max(uplink_id), 0) FROM uplink").fetchone()
    after = 0
    while page := connection.execute(_QUERY, (after, last, _PAGE)).fetchall():
        after = page[-1][0]
        for row in page:
            if row[1] in span:
                yield tables.Uplink(*row)


def _named(config: Config, connection: sqlite3.Connection) -> Named:
    """Return what devices stand for: the configuration's word counts before the store's."""
    stored = connection.execute("SELECT dev_eui, asset, make FROM device").fetchall()
    said = {dev_eui: (asset, make) for dev_eui, asset, make in stored}
    said |= {device.dev_eui: (device.asset, device.make) for device in config.devices}
    assets = {dev_eui: asset for dev_eui, (asset, _) in said.items() if asset is not None}
    others = frozenset(dev_eui for dev_eui, (_, make) in said.items() if make is not None)
    things = registries.build(config).assets
    containers = {key: it for key, it in things.items() if isinstance(it, Container)}
    return Named(assets, containers, others)


class _Csv:
    group = 1_000

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        # Python's csv writes as RFC 4180 has it: CRLF, quotes where they are needed.
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        self._csv = csv.writer(self._text)
        self._csv.writerow([column.name for column in columns])
        self._times = [n for n, column in enumerate(columns) if column.type == "time"]

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            cells = list(row)
            for n in self._times:
                cells[n] = utc(cells[n])
            self._csv.writerow(cells)

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _Parquet:
    group = 20_000  # smaller ones are read slowly

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        try:
            import pyarrow  # noqa: PLC0415 (an extra)
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError:
            raise FatalError(
                'Parquet needs pyarrow: pip install "stoep[export]", or choose --format csv'
            ) from None
        types: dict[str, Any] = {
            "text": pyarrow.string(),
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "time": pyarrow.timestamp("ms", "UTC"),
        }
        self._schema = pyarrow.schema([(it.name, types[it.type]) for it in columns])
        self._batch = pyarrow.record_batch
        self._writer = parquet.ParquetWriter(file, self._schema)

    def write(self, rows: Sequence[Row]) -> None:
        columns = [list(cells) for cells in zip(*rows, strict=True)]
        self._writer.write_batch(self._batch(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()

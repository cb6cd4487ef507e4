"""The command ``stoep collections``: the city's own log in, and every emptying that is known out.

Exit codes: 0 done, 1 refused, 2 mistakes (nothing is done), 3 no gateway answers.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from stoep_gateway import config as configuration
from stoep_gateway import config_path, control_client
from stoep_gateway.collections import keeping, listing
from stoep_gateway.collections.commands import MOST_ROWS, Row, names
from stoep_gateway.collections.log_file import COLUMNS, Log, Site, Style, read
from stoep_gateway.config import Config
from stoep_gateway.config_reader import MAX_OCTETS
from stoep_gateway.config_sheets import shortened
from stoep_gateway.control_client import Client, GatewayAway
from stoep_gateway.errors import ConfigError, FatalError, Mistake
from stoep_gateway.keeping.command_line import utc_time
from stoep_gateway.store.records import CollectionRow, Record

__all__ = ["main"]

_STDIN = "-"
_LAST_MS = 1 << 47
_EPILOG = """columns: the container (its id, or its name), and when: a time, a date and a time, or
a date alone; if there are such, from_pct, to_pct (percent), truck, weight_kg. They are known by
these and some other names; else say which: --columns container=bin_id,"time=Collected at"

A time is in the time zone of the configuration, unless it says otherwise or its header ends in UTC.
The same file may be imported again: an emptying of the same time takes the place of the one there.
"""


def main(arguments: Sequence[str]) -> int:
    """Run ``stoep collections``; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except FatalError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except GatewayAway as error:
        print(error, file=sys.stderr)
        return GatewayAway.exit_code
    except BrokenPipeError:  # "stoep collections list | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stoep collections", description=__doc__.partition("\n")[0]
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    it = actions.add_parser(
        "import",
        help="take the city's own log of collections (CSV)",
        description="Take the city's own log of collections, whether the gateway runs or not.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    it.set_defaults(run=_import)
    it.add_argument("file", metavar="FILE", help='a table (CSV); "-": standard input')
    it.add_argument(
        "--columns",
        type=_columns,
        action="append",
        default=[],
        metavar="OURS=HEADER,…",
        help="see below; may be given several times",
    )
    it.add_argument("--month-first", action="store_true", help="01/02/2026 is in January")
    it.add_argument(
        "--decimal", choices=(".", ","), help="the sign before decimals; default: either"
    )
    it.add_argument("--encoding", default="utf-8", help="of the text; default: utf-8")
    it.add_argument("--skip-bad", action="store_true", help="take the rows without mistakes")
    it.add_argument("--dry-run", action="store_true", help="tell all mistakes, and change nothing")
    control_client.add_options(it)
    for action, run, what in (
        ("list", _list, "print the emptyings that are known, by whom they were told"),
        ("export", _export, "write them as CSV, for spreadsheets"),
    ):
        it = actions.add_parser(action, help=what, description=f"{what.capitalize()}.")
        it.set_defaults(run=run)
        if action == "export":
            it.add_argument("file", metavar="FILE", help='a new file; "-": standard output')
            it.add_argument("--force", action="store_true", help="replace a file of that name")
        it.add_argument("--from", dest="since", type=utc_time, metavar="TIME", help="default: all")
        it.add_argument("--to", dest="until", type=utc_time, metavar="TIME", help="not included")
        it.add_argument("--container", metavar="ID", help="only of this one")
        it.add_argument(
            "--told",
            action="store_true",
            help="each as it was told, not those of one emptying joined",
        )
        it.add_argument("--config", type=Path, metavar="FILE", help=config_path.HELP)
    it = actions.add_parser(
        "remove",
        help="forget what was imported, or what drivers said, of a span of time",
        description="Forget what was imported, or what drivers said, of a span of time: after a"
        " file that was wrong. What sensors saw stays.",
    )
    it.set_defaults(run=_remove)
    it.add_argument("--source", choices=("log", "driver"), required=True)
    it.add_argument("--from", dest="since", type=utc_time, required=True, metavar="TIME")
    it.add_argument("--to", dest="until", type=utc_time, required=True, metavar="TIME")
    control_client.add_options(it)
    return parser


def _columns(text: str) -> dict[str, str]:
    found = {}
    for pair in text.split(","):
        ours, equals, header = pair.partition("=")
        if not equals or ours.strip() not in COLUMNS:
            message = f"write OURS=HEADER,… where OURS is one of {', '.join(COLUMNS)}"
            raise argparse.ArgumentTypeError(message)
        found[ours.strip()] = header.strip()
    return found


class _Gateway:
    """Where collections are written: a gateway that runs, or the store of one that does not."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Raises `GatewayAway`, `FatalError`."""
        self._client: Client | None = None
        self._config: Config | None = None
        try:
            self._client = control_client.connect(options)
        except GatewayAway:
            if options.socket is not None:
                raise
            self._config = configuration.load(config_path.named(options.config))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def site(self) -> Site:
        """Return what a log is read against."""
        if self._client is None:
            assert self._config is not None
            now_ms = time.time_ns() // 1_000_000
            return Site(names(self._config), self._config.timezone, now_ms)
        said = self._ask("collections.site")
        return Site(said["containers"], ZoneInfo(said["timezone"]), said["now_utc_ms"])

    def add(self, rows: Sequence[CollectionRow]) -> int:
        """Add rows; return how many are new."""
        if self._client is None:
            assert self._config is not None
            before, after = keeping.write(self._config.store.path, Record(collections=tuple(rows)))
            return after - before
        new = 0
        rows = sorted(rows, key=lambda it: it[:2])  # as they are stored: five times as quick
        for start in range(0, len(rows), MOST_ROWS):
            some = [
                {key: it for key, it in row._asdict().items() if key in Row.model_fields}
                for row in rows[start : start + MOST_ROWS]
            ]
            said = self._ask("collections.add", rows=some)
            new += said["after"] - said["before"]
        return new

    def forget(self, source: str, from_ms: int, to_ms: int) -> int:
        """Forget rows of a source; return how many."""
        if self._client is None:
            assert self._config is not None
            record = Record(forgotten_collections=((source, from_ms, to_ms),))
            before, after = keeping.write(self._config.store.path, record)
            return before - after
        said = self._ask("collections.forget", source=source, from_utc_ms=from_ms, to_utc_ms=to_ms)
        return int(said["before"] - said["after"])

    def _ask(self, command: str, **members: Any) -> dict[str, Any]:
        assert self._client is not None
        answer = self._client.ask(command, **members)
        if "error" in answer:
            raise FatalError(answer["error"])
        return answer


def _import(options: argparse.Namespace) -> int:
    text = _text(options.file, options.encoding)
    with _Gateway(options) as gateway:
        return _import_into(gateway, text, options)


def _import_into(gateway: _Gateway, text: str, options: argparse.Namespace) -> int:
    columns = {ours: header for given in options.columns for ours, header in given.items()}
    style = Style(columns, options.month_first, options.decimal)
    name = "standard input" if options.file == _STDIN else options.file
    log = read(name, text, gateway.site(), style)
    if log.mistakes:
        for mistake in shortened(log.mistakes, {name}):
            print(mistake, file=sys.stderr)
        if log.broken or not options.skip_bad:
            bad = len({it.line for it in log.mistakes})
            said = f"{name}: nothing was imported: {_many(bad, 'line')} to correct"
            if not log.broken:
                said += f"; --skip-bad takes the other {_many(len(log.rows), 'row')}"
            print(said, file=sys.stderr)
            return ConfigError.exit_code
    print(_summary(name, log), end="")
    if options.dry_run:
        print("nothing was changed")
        return 0
    new = gateway.add(log.rows)
    print(f"{new} new, {len(log.rows) - new} in the place of what was known")
    return 0


def _summary(name: str, log: Log) -> str:
    containers = {row.container for row in log.rows}
    of = _many(len(containers), "container")
    lines = [f"{name}: {_many(len(log.rows), 'collection')} of {of}"]
    if log.double:
        lines.append(f"{_many(log.double, 'row')} left out that say the same again")
    if log.unused:
        lines.append(f"nothing is read from {', '.join(log.unused)}")
    return "".join(f"{it}\n" for it in lines)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _text(file: str, encoding: str) -> str:
    """Return a file's text. Raises `FatalError`."""
    try:
        if file == _STDIN:
            data = sys.stdin.buffer.read(MAX_OCTETS + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_OCTETS + 1)
    except OSError as error:
        raise FatalError(f"{file}: {error.strerror}") from None
    if len(data) > MAX_OCTETS:
        raise FatalError(f"{file}: is larger than {MAX_OCTETS >> 20} MB: divide it")
    read_as = encoding
    if encoding.lower() in ("utf-8", "utf8"):
        read_as = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(read_as)
    except LookupError:
        raise FatalError(f"there is no encoding {encoding}; spreadsheets write cp1252") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f'is not {encoding} text: save it as "CSV UTF-8", or say --encoding cp1252'
        raise ConfigError([Mistake(file, line, what)]) from None


def _list(options: argparse.Namespace) -> int:
    config, found = _found(options)
    print(listing.table(found, config.timezone), end="")
    return 0


def _export(options: argparse.Namespace) -> int:
    _, found = _found(options)
    if options.file == _STDIN:
        listing.write_csv(found, sys.stdout.buffer)
        return 0
    listing.save_csv(found, Path(options.file), force=options.force)
    print(f"{options.file}: {_many(len(found), 'collection')}", file=sys.stderr)
    return 0


def _found(options: argparse.Namespace) -> tuple[Config, list[listing.Line]]:
    config = configuration.load(config_path.named(options.config))
    from_ms = 0 if options.since is None else options.since
    to_ms = _LAST_MS if options.until is None else options.until
    path = config.store.path
    return config, listing.lines(
        path, from_ms, to_ms, config.timezone, options.container, told=options.told
    )


def _remove(options: argparse.Namespace) -> int:
    if options.until <= options.since:
        raise FatalError("--to is not after --from")
    with _Gateway(options) as gateway:
        count = gateway.forget(options.source, options.since, options.until)
    print(f"{count} forgotten")
    return 0

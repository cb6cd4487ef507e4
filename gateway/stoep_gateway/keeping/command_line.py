"""The options of ``stoep gateway backup``, ``restore`` and ``export``.

What they do is imported when they do it: it is not for the memory of a gateway that runs.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Any

from stoep_gateway import config_path

__all__ = ["add_parsers", "utc_time"]

_KINDS = ("readings", "bays", "status", "uplinks", "emptyings")


def add_parsers(actions: Any) -> None:
    """Add them to the actions of ``stoep gateway``."""
    it = actions.add_parser(
        "backup",
        help="copy database and configuration into one file, also while the gateway runs",
        description="Copy database and configuration into one file. The gateway may run. The"
        " sealing key, without which the copy is worthless, is not in it unless you say"
        " --with-key; files that the configuration names, such as passwords, are not either.",
    )
    it.set_defaults(run=_back_up)
    it.add_argument("file", type=Path, metavar="FILE", help="the copy (ZIP), or a folder for it")
    it.add_argument("--config", type=Path, metavar="FILE", help=config_path.HELP)
    it.add_argument("--force", action="store_true", help="replace a copy of that name")
    it.add_argument(
        "--with-key", action="store_true", help="with the sealing key, under a passphrase"
    )
    it.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="where the sealing key is, if the gateway's user alone could tell",
    )
    _add_passphrase(it)
    it = actions.add_parser(
        "restore",
        help="bring a gateway back from a copy; nothing that is there is overwritten",
        description="Bring a gateway back from what backup wrote, or from a database alone such"
        " as stoep.db.version-3. The gateway is stopped meanwhile. Nothing that is there is"
        " overwritten. Downlink counters and AppNonces skip ahead.",
    )
    it.set_defaults(run=_restore)
    it.add_argument("file", type=Path, metavar="FILE", help="the copy")
    it.add_argument("--config", type=Path, metavar="FILE", help=config_path.HELP)
    it.add_argument(
        "--replace-config",
        action="store_true",
        help="put back the copy's configuration where another one is, which is moved aside",
    )
    it.add_argument("--with-key", action="store_true", help="put back its sealing key, too")
    it.add_argument("--dry-run", action="store_true", help="check the copy, say what would be done")
    _add_passphrase(it)
    it = actions.add_parser(
        "export",
        help="write what was received as CSV or Parquet, also while the gateway runs",
        description="Write what was received as a table: readings of containers, each once and at"
        " its own time; their emptyings; states of bays; status of boards; or the uplinks as they"
        " came. Times of bays are cut to five minutes unless --raw.",
        epilog="A time is 2026-01-31 or 2026-01-31T06:00, in UTC unless it says +02:00.",
    )
    it.set_defaults(run=_export)
    it.add_argument("file", metavar="FILE", help='a new file; "-": standard output')
    it.add_argument("--kind", choices=_KINDS, default="readings", help="default: readings")
    it.add_argument("--from", dest="since", type=utc_time, metavar="TIME", help="default: all")
    it.add_argument("--to", dest="until", type=utc_time, metavar="TIME", help="not included")
    it.add_argument("--format", choices=("csv", "parquet"), help="default: by the file's name")
    it.add_argument("--config", type=Path, metavar="FILE", help=config_path.HELP)
    it.add_argument("--force", action="store_true", help="replace a file of that name")
    it.add_argument(
        "--raw", action="store_true", help="with what can tell of persons: bays to the second"
    )


def utc_time(text: str) -> int:
    """Return UTC milliseconds."""
    try:
        parsed = datetime.datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=datetime.UTC)
        return round(parsed.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("a time is 2026-01-31 or 2026-01-31T06:00") from None


def _add_passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="its first line, of at least 12 characters; else you are asked",
    )


def _back_up(options: argparse.Namespace) -> int:
    from stoep_gateway.keeping import copy_commands  # noqa: PLC0415

    return copy_commands.back_up(options)


def _restore(options: argparse.Namespace) -> int:
    from stoep_gateway.keeping import copy_commands  # noqa: PLC0415

    return copy_commands.bring_back(options)


def _export(options: argparse.Namespace) -> int:
    from stoep_gateway.keeping import export  # noqa: PLC0415

    return export.run(options)

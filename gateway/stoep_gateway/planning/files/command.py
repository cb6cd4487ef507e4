"""``stoep plan files``, and what the running gateway answers to it: the files of plans in force."""

from __future__ import annotations

import argparse
import asyncio
import base64
import datetime
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from stoep_gateway import config as configuration
from stoep_gateway import control_client
from stoep_gateway.config import Config
from stoep_gateway.config_planning import Language
from stoep_gateway.control import CommandRefused, ControlServer
from stoep_gateway.errors import FatalError
from stoep_gateway.planning.files import FORMATS, folder
from stoep_gateway.planning.plan import Plan
from stoep_gateway.store.latest import read_plans

__all__ = ["FileCommands", "add", "add_language", "document_asked", "run"]

_COMMAND = "plan.files"
_LAST = "9999-12-31"

FilesByDate = Mapping[str, Mapping[str, bytes]]


def add(actions: Any) -> None:
    """Add the command's parser to those of ``stoep plan``."""
    parser = actions.add_parser(
        "files",
        help="write sheets to print, maps and routes of the plans in force",
        description="Writes DIR/DATE/: summary and a sheet for each truck as HTML and PDF, a route"
        " for each truck as GPX, all as GeoJSON.",
    )
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="default: [planning] files, or here"
    )
    parser.add_argument("--date", type=_date, help="default: today's and what is planned ahead")
    add_language(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--config", type=Path, help="the plans that the store of this one holds")
    which.add_argument("--socket", type=Path, metavar="PATH", help="else the running gateway's")


def add_language(parser: argparse.ArgumentParser) -> None:
    """Let a command be told in which language drivers read."""
    parser.add_argument(
        "--language", choices=get_args(Language), help="default: [planning] language"
    )


def run(options: argparse.Namespace) -> int:
    """Write the files and name them; return the exit code. Raises ``FatalError``."""
    made, trouble, target = _made(options)
    try:
        for date, files in made.items():
            folder.write(target, date, files)
    except OSError as error:
        raise FatalError(f"{error.filename or target}: {error.strerror}") from None
    for date, files in made.items():
        for name in sorted(files):
            print(target / date / name)
    if trouble:
        print(trouble, file=sys.stderr)
    return 0


def _made(options: argparse.Namespace) -> tuple[FilesByDate, str, Path]:
    if options.config is not None:
        config = configuration.load(options.config)
        made, trouble = _files(config, options.date, options.language)
        return made, trouble, options.dir or config.planning.files or Path()
    with control_client.connect(options) as client:
        answer = client.ask(_COMMAND, date=options.date, language=options.language)
    if "error" in answer:
        raise FatalError(answer["error"])
    made = {
        date: {name: base64.b64decode(content) for name, content in files.items()}
        for date, files in answer["files"].items()
    }
    return made, answer["trouble"], options.dir or Path()


def _files(
    config: Config,
    date: str | None,
    language: Language | None,
    cancelled: Callable[[], bool] = bool,
) -> tuple[FilesByDate, str]:
    """Return the files of the plans that are stored. Raises ``FatalError`` if there is none."""
    from stoep_gateway.planning.files import formats  # noqa: PLC0415 (2 MB that most do not need)

    today = datetime.datetime.now(config.timezone).date().isoformat()
    plans = read_plans(config.store.path, date or today, date or _LAST)
    if not plans:
        raise FatalError(f"nothing is planned for {date or 'today or later'}")
    made: dict[str, Mapping[str, bytes]] = {}
    trouble = ""
    for plan in plans:
        made[plan.date], trouble = formats.files(plan, config, language, cancelled)
    return made, trouble


class FileCommands:
    """Makes files on request, off the event loop."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def reconfigure(self, config: Config) -> None:
        """Name places by another configuration from now on."""
        self._config = config

    def register(self, control: ControlServer) -> None:
        """Let the control socket know the command."""
        control.register(_COMMAND, self._answer)

    async def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        date, language = request.get("date"), request.get("language")
        if date is not None and not _is_date(date):
            raise CommandRefused("a date is written 2026-01-31")
        if language not in (None, *get_args(Language)):
            raise CommandRefused("language is en or nl")
        try:
            made, trouble = await asyncio.to_thread(_files, self._config, date, language)
        except FatalError as error:
            raise CommandRefused(str(error)) from None
        told = {
            date: {name: base64.b64encode(content).decode() for name, content in files.items()}
            for date, files in made.items()
        }
        return {"files": told, "trouble": trouble}


def document_asked(
    plan: Plan,
    config: Config,
    request: Mapping[str, Any],
    cancelled: Callable[[], bool] = bool,
) -> str:
    """Return what "format" and "language" of a request ask for, in base64; raises its refusal."""
    form, language = request.get("format"), request.get("language")
    if form not in FORMATS or language not in (None, *get_args(Language)):
        raise CommandRefused(f"format is one of {', '.join(FORMATS)}, language en or nl")
    from stoep_gateway.planning.files import formats  # noqa: PLC0415 (as above)

    try:
        document = formats.document(plan, config, form, language, cancelled)
    except RuntimeError as error:
        raise CommandRefused(str(error)) from None
    return base64.b64encode(document).decode()


def _date(text: str) -> str:
    if not _is_date(text):
        raise argparse.ArgumentTypeError("a date is written 2026-01-31")
    return text


def _is_date(text: object) -> bool:
    try:
        return isinstance(text, str) and datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False

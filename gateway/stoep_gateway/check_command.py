"""``stoep gateway check``: read the configuration; say what is wrong with it, or what it comes to.

Exit codes: 0 right, with or without warnings; 2 mistakes, or with ``--strict`` warnings.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel

from stoep_gateway import config as configuration
from stoep_gateway import config_fix, config_path
from stoep_gateway.config import Loaded
from stoep_gateway.config_model import TableModel
from stoep_gateway.config_sheets import SheetDocument
from stoep_gateway.errors import ConfigError

__all__ = ["add_parser", "run"]

_SECRETS = frozenset({"app_key", "nwk_s_key", "app_s_key"})


def add_parser(actions: Any) -> None:
    """Add ``check`` to the actions of ``stoep gateway``."""
    explanation = "read the configuration and report every mistake"
    parser = actions.add_parser("check", help=explanation, description=explanation.capitalize())
    parser.add_argument("--config", type=Path, metavar="FILE", help=config_path.HELP)
    parser.add_argument("--strict", action="store_true", help="let a warning count as a mistake")
    parser.add_argument(
        "--show", action="store_true", help="print all settings, and where each stands; no secrets"
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help="write keys of earlier versions as they are called now; the files are copied first",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check, print, and return the exit code. Raises `FatalError`."""
    path = config_path.named(options.config)
    if options.fix:
        for line in config_fix.fix(path):
            print(line)
    loaded = configuration.read(path)
    config = loaded.config
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if options.show:
        print("\n".join(_shown(loaded)))
        return 0
    others = [str(file) for file in config.files[1:]]
    print(
        f"{path}: right; site {config.site} with gateways: {len(config.gateways)},"
        f" devices: {len(config.devices)}, containers: {len(config.containers)},"
        f" bays: {len(config.bays)}, trucks: {len(config.trucks)}"
    )
    if others:
        print(f"read with it: {', '.join(others)}")
    for line in _of_sheets(loaded):
        print(line)
    return ConfigError.exit_code if options.strict and config.warnings else 0


def _of_sheets(loaded: Loaded) -> Iterator[str]:
    """Say what was read from tables and maps."""
    sheets = {
        entry.document.name: entry.document
        for entries in loaded.entries.values()
        for entry in entries
        if isinstance(entry.document, SheetDocument)
    }
    for sheet in sheets.values():
        count = len(sheet.values[sheet.of])
        unused = f"; not used: {', '.join(sheet.unused)}" if sheet.unused else ""
        yield f"{sheet.name}: {count} [[{sheet.of}]]{unused}"


def _shown(loaded: Loaded) -> Iterator[str]:
    config = loaded.config
    merged = loaded.merged
    for key, value in (("site", config.site), ("timezone", config.timezone.key)):
        where = merged.where((key,)) if key in merged.values else "default"
        yield _line(key, value, where)
    for name in type(config).model_fields:
        table = getattr(config, name)
        if isinstance(table, TableModel):
            yield f"\n[{name}]"
            for key in type(table).model_fields:
                given = (name, key) in merged.origins
                where = merged.where((name, key)) if given else "default"
                yield _line(key, getattr(table, key), where)
        elif table is None and name in ("basics_station", "http", "home_assistant", "ngsi_ld"):
            yield f"\n# [{name}] is not there, so it is off"
    for name, entries in loaded.entries.items():
        for entry in entries:
            yield f"\n[[{name}]]  # {entry.document.where(entry.path)}"
            model: BaseModel = entry.model
            for key in type(model).model_fields:
                if key in model.model_fields_set:
                    yield _line(key, getattr(model, key))


def _line(key: str, value: object, where: str = "") -> str:
    if value is None:
        text = f"# {key}"
    else:
        text = f"{key} = " + ('"(secret)"' if key in _SECRETS else _toml(value))
    return f"{text}  # {where}" if where else text


def _toml(value: object) -> str:
    match value:
        case bytes():
            return f'"{value.hex()}"'
        case (datetime.time() as early, datetime.time() as late):
            return f'"{early:%H:%M}-{late:%H:%M}"'
        case bool() | int() | float() | str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{_toml(key)} = {_toml(it)}' for key, it in value.items())} }}"
        case PurePath():
            return json.dumps(str(value), ensure_ascii=False)
        case datetime.date():
            return value.isoformat()
    return f'"{value:%H:%M}"'  # a time of day

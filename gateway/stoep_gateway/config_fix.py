"""``stoep gateway check --fix``: keys of earlier versions are written as they are called now.

Line by line, so that comments and order stay. The file is copied first, and what has come of it has
to be the same configuration.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from stoep_gateway import config as configuration
from stoep_gateway.config import Config
from stoep_gateway.config_documents import MOVED, Moved
from stoep_gateway.errors import FatalError

__all__ = ["fix", "rewritten"]

_HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(#.*)?")


def fix(path: Path) -> list[str]:
    """Rewrite the files of a configuration; return what was done, a line each.

    Raises `ConfigError` for one with mistakes, `FatalError` for one that cannot be rewritten.
    """
    before = configuration.load(path)
    said = []
    for file in before.files:
        try:
            old = file.read_text(encoding="utf-8")
            new, done = rewritten(old)
            if not done:
                continue
            copy = _free_name(file)
            shutil.copy2(file, copy)
            _replace(file, new)
        except OSError as error:
            raise FatalError(f"{file}: cannot be rewritten: {error.strerror}") from error
        said += [f"{file}: {it}" for it in done]
        said.append(f"{file}: as it was: {copy}")
        if not _is_same(before, configuration.load(path)):
            shutil.copy2(copy, file)
            raise FatalError(f"{file}: it would mean something else; left as it was")
    return said


def rewritten(text: str, moved: Iterable[Moved] = MOVED) -> tuple[str, list[str]]:
    """Return a file with moved keys in their new place, and what was done.

    A key that does not stand on a line of its own, below its table's header, is left alone.
    """
    lines = text.splitlines(keepends=True)
    done = []
    for one in moved:
        at = _line_of(lines, one.table, one.key)
        if at is None or _line_of(lines, one.new_table, one.new_key) is not None:
            continue
        line = lines.pop(at).rstrip("\r\n") + "\n"
        start = line.index(one.key)
        line = line[:start] + one.new_key + line[start + len(one.key) :]
        header = _header_of(lines, one.new_table)
        if header is None:
            if lines and not lines[-1].endswith("\n"):
                lines[-1] += "\n"
            lines += ["\n", f"[{one.new_table}]\n", line]
        else:
            lines.insert(header + 1, line)
        done.append(f"[{one.table}] {one.key} is now [{one.new_table}] {one.new_key}")
    return "".join(lines), done


def _header_of(lines: list[str], table: str) -> int | None:
    for number, line in enumerate(lines):
        match = _HEADER.fullmatch(line.rstrip("\r\n"))
        if match is not None and match[1].strip() == table:
            return number
    return None


def _line_of(lines: list[str], table: str, key: str) -> int | None:
    header = _header_of(lines, table)
    if header is None:
        return None
    plain = re.compile(rf"\s*{re.escape(key)}\s*=\s*[^\s\[{{\"'#][^\[{{\"'#]*(#.*)?")
    for number in range(header + 1, len(lines)):
        if lines[number].lstrip().startswith("["):
            return None
        if plain.fullmatch(lines[number].rstrip("\r\n")):
            return number
    return None


def _is_same(before: Config, after: Config) -> bool:
    names = [name for name in type(before).model_fields if name != "warnings"]
    return all(getattr(before, name) == getattr(after, name) for name in names)


def _free_name(file: Path) -> Path:
    number = 1
    while (copy := file.with_name(f"{file.name}.before-fix-{number}")).exists():
        number += 1
    return copy


def _replace(file: Path, text: str) -> None:
    """Write a file anew, whole or not at all, with the mode and the owner that it had."""
    new = file.with_name(file.name + ".partial")
    try:
        new.write_text(text, encoding="utf-8")
        shutil.copymode(file, new)
        was = file.stat()
        os.chown(new, was.st_uid, was.st_gid)
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)

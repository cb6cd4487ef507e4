"""Finds names that are nearly those of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stoep_gateway.config_reader import Entry, Reader, did_you_mean

__all__ = ["check_names"]

_DIGITS = re.compile(r"\d+")
_ALIKE = 0.8


def check_names(reader: Reader, entries: Mapping[str, Sequence[Entry]]) -> None:
    """Warn of containers whose kind or fraction is nearly one of those that have a table."""
    for table in ("kind", "fraction"):
        known = [entry.model.id for entry in entries[table] if entry.model is not None]
        hints: dict[str, str] = {}
        for entry in entries["container"]:
            if entry.model is None or (name := getattr(entry.model, table)) in known:
                continue
            if name not in hints:  # those that differ in a number are meant to be two
                other = [it for it in known if _DIGITS.sub("", it) != _DIGITS.sub("", name)]
                hints[name] = did_you_mean(name, other, _ALIKE)
            if hints[name]:
                message = f'{table} "{name}" has no [[{table}]]{hints[name]}'
                reader.warn(entry.document, (*entry.path, table), message)

"""Several files as one configuration: the main one, those of ``conf.d``, and keys that have moved.

A key of a table in ``conf.d/NAME.toml`` overrules the main file's, in the order of the names; lists
(``[[device]]``, …) add up. Every key remembers where it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoep_gateway import toml_lines
from stoep_gateway.config_reader import Document, Reader

__all__ = ["DROP_INS", "MOVED", "Merged", "Moved", "drop_ins", "merge"]

DROP_INS = "conf.d"


@dataclass(frozen=True, slots=True)
class Moved:
    """A key of an earlier version, still read with a warning."""

    table: str
    key: str
    new_table: str
    new_key: str

    def __str__(self) -> str:
        return (
            f"[{self.table}] {self.key} is [{self.new_table}] {self.new_key} now:"
            ' "stoep gateway check --fix" writes it there'
        )


MOVED = (Moved("store", "keep_uplinks_days", "retention", "uplinks_days"),)


@dataclass(frozen=True)
class Merged(Document):
    """The tables and plain keys of all documents; ``origins`` says where each key is from."""

    origins: dict[toml_lines.Path, tuple[Document, toml_lines.Path]] = field(default_factory=dict)

    def place(self, path: toml_lines.Path) -> tuple[str, int]:
        """Return the file and line of a key, or of the nearest table around it."""
        for length in (2, 1):
            origin = self.origins.get(path[:length])
            if origin is not None and len(path) >= length:
                document, there = origin
                return document.place((*there, *path[length:]))
        return super().place(path)

    def folder(self, path: toml_lines.Path) -> Path:
        """Return what a relative path in a key's value starts from."""
        origin = self.origins.get(path)
        return self.path.parent if origin is None else origin[0].path.parent


def drop_ins(reader: Reader, main: Path) -> list[Document]:
    """Read what is in ``conf.d`` beside the main file, in the order of the names."""
    found = []
    for path in sorted((main.parent / DROP_INS).glob("*.toml")):
        document = reader.document(path, str(path))
        if document is not None:
            found.append(document)
    return found


def merge(
    reader: Reader, documents: list[Document], tables: Collection[str], plain: Collection[str]
) -> Merged:
    """Return the tables and plain keys of the documents, of which later ones overrule."""
    main = documents[0]
    merged = Merged(main.path, main.name, {}, main.text)
    for document in documents:
        for name, value in _with_moved(reader, document).items():
            if name not in tables and name not in plain:
                continue
            at: toml_lines.Path = (name,)
            before = merged.values.get(name)
            if name in tables and isinstance(value, Mapping):
                if not isinstance(before, dict):
                    before = merged.values[name] = {}
                    merged.origins[at] = (document, at)
                for key, (inner, there) in value.items():
                    before[key] = inner
                    merged.origins[name, key] = (document, there)
            else:
                merged.values[name] = value
                merged.origins[at] = (document, at)
    return merged


def _with_moved(reader: Reader, document: Document) -> dict[str, Any]:
    """Return a document's values, each key of a table with where it stands."""
    values: dict[str, Any] = {
        name: {key: (inner, (name, key)) for key, inner in value.items()}
        if isinstance(value, dict)
        else value
        for name, value in document.values.items()
    }
    for moved in MOVED:
        old = values.get(moved.table)
        if not isinstance(old, dict) or moved.key not in old:
            continue
        reader.warn(document, (moved.table, moved.key), str(moved))
        new = values.setdefault(moved.new_table, {})
        if isinstance(new, dict):
            new.setdefault(moved.new_key, old[moved.key])
        del old[moved.key]
    return values

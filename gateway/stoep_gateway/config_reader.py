"""Turns TOML files into checked models, and everything wrong with them into lines to read.

This module knows no key by name: `stoep_gateway.config` says what may stand where. No value of a
key is repeated in a message unless it is a number or one of a few known words, so that a secret
put in the wrong place stays unseen.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from stoep_gateway import toml_lines
from stoep_gateway.errors import Mistake

Model = TypeVar("Model", bound=BaseModel)

MAX_OCTETS = 64 * 1024 * 1024  # of a file; ten thousand devices take 2 MB
_AT_LINE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")
_DECLARED_TWICE = re.compile(r"Cannot declare \((.*?),?\) twice")
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "a list",
    "date_type": "a date, such as 2026-04-27",
    "dict_type": "a table",
    "model_type": "a table",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True)
class Document:
    """One TOML file that could be parsed."""

    path: Path
    name: str
    values: dict[str, Any]
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> toml_lines.TomlLines:
        """Where each key stands; looked for only when there is a mistake to report."""
        return toml_lines.TomlLines(self.text)

    def place(self, path: toml_lines.Path) -> tuple[str, int]:
        """Return the file and line of a key or table."""
        return self.name, self.lines.line(path)

    def where(self, path: toml_lines.Path) -> str:
        """Return ``file:line`` of a key or table."""
        name, line = self.place(path)
        return f"{name}:{line}"

    def folder(self, path: toml_lines.Path) -> Path:
        """Return what a relative path in a key's value starts from."""
        return self._parent

    @cached_property
    def _parent(self) -> Path:
        return self.path.parent

    def told(self, path: toml_lines.Path, message: str) -> str:
        """Return a message about a key as people read it; nothing if it need not be told."""
        return message


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``[[name]]`` table: as written, and as a model if nothing in it is wrong."""

    document: Document
    path: toml_lines.Path
    raw: Mapping[str, Any]
    model: Any


def did_you_mean(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """Return `` (did you mean "…"?)`` for the known word nearest to ``word``, or nothing."""
    by_folded = {name.casefold(): name for name in known}
    nearest = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=alike)
    return f' (did you mean "{by_folded[nearest[0]]}"?)' if nearest else ""


class Reader:
    """Reads documents and gathers their ``mistakes``, and ``warnings`` that stop nothing.

    In ``lenient`` tables an unknown key is a warning; so is a wrong value of a ``cosmetic`` key, by
    table, which then has its default.
    """

    def __init__(
        self,
        sections: Mapping[str, type[BaseModel]],
        scalars: Iterable[str],
        lenient: Collection[str] = (),
        cosmetic: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.mistakes: list[Mistake] = []
        self.warnings: list[Mistake] = []
        self._sections = sections
        self._scalars = tuple(scalars)
        self._lenient = lenient
        self._cosmetic = cosmetic or {}

    def document(
        self, path: Path, name: str, named_at: tuple[Document, toml_lines.Path] | None = None
    ) -> Document | None:
        """Read and parse a file; ``named_at`` is where another one asks for it."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_OCTETS + 1)
            if len(data) > MAX_OCTETS:
                self.mistakes.append(Mistake(name, 0, f"is larger than {MAX_OCTETS >> 20} MB"))
                return None
            text = data.decode("utf-8-sig")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if named_at is None:
                self.mistakes.append(Mistake(name, 0, f"cannot be read: {reason}"))
            else:
                self.report(*named_at, f'"{path.name}" cannot be read: {reason}')
            return None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            self.mistakes.append(Mistake(name, line, "is not UTF-8 text"))
            return None
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            message = str(error)
            match = _AT_LINE.search(message)
            line = int(match[1]) if match and match[1] else text.rstrip().count("\n") + 1
            message = _DECLARED_TWICE.sub(_declared_twice, _AT_LINE.sub("", message))
            message = message.replace("Cannot overwrite a value", "this key was given before")
            self.mistakes.append(Mistake(name, line, f"this is not TOML: {message}"))
            return None
        except (RecursionError, ValueError):  # of the parser's own means
            self.mistakes.append(
                Mistake(name, 0, "this is not TOML: a list too deep or a number too long to read")
            )
            return None
        return Document(path, name, values, text)

    def report(self, document: Document, path: toml_lines.Path, message: str) -> None:
        """Add a mistake at a key or table of a document."""
        if told := document.told(path, message):
            self.mistakes.append(Mistake(*document.place(path), told))

    def warn(self, document: Document, path: toml_lines.Path, message: str) -> None:
        """Add a warning at a key or table of a document."""
        if told := document.told(path, message):
            self.warnings.append(Mistake(*document.place(path), told))

    def unknown_keys(self, document: Document, known: Iterable[str]) -> None:
        """Report keys at the top of a document that are not among ``known``.

        One that is like none of them is only warned of: it can be no misspelt one.
        """
        allowed = set(known)
        for key in document.values:
            if key in allowed:
                continue
            if key in self._sections or key in self._scalars:
                message = f'"{key}" belongs in the main file'
            else:
                hint = self._home(key) or did_you_mean(key, allowed)
                message = f'unknown key "{key}"{hint}'
                if not hint:
                    self.warn(document, (key,), message)
                    continue
            self.report(document, (key,), message)

    def section(self, document: Document, name: str, model: type[Model]) -> Model | None:
        """Check the table ``[name]``, empty if absent; return None if it is wrong."""
        raw = document.values.get(name, {})
        if isinstance(raw, list) and raw and all(isinstance(table, dict) for table in raw):
            self.report(document, (name,), f"write [{name}], in single brackets")
            return None
        if not isinstance(raw, dict):
            self.report(document, (name,), f"{name} must be a table, [{name}]")
            return None
        return self._checked(document, (name,), f"[{name}]", raw, model)

    def entries(self, document: Document, name: str, model: type[BaseModel]) -> list[Entry]:
        """Check every table ``[[name]]`` of a document."""
        raw_list = document.values.get(name, [])
        if isinstance(raw_list, dict):
            self.report(document, (name,), f"write [[{name}]], in double brackets")
            return []
        if not isinstance(raw_list, list):
            self.report(document, (name,), f"{name} must be tables, [[{name}]]")
            return []
        entries = []
        for index, raw in enumerate(raw_list):
            path = (name, index)
            if not isinstance(raw, dict):
                self.report(document, path, f"{name} must be tables, [[{name}]]")
                continue
            checked = self._checked(document, path, f"[[{name}]]", raw, model)
            entries.append(Entry(document, path, raw, checked))
        return entries

    def _checked(
        self,
        document: Document,
        path: toml_lines.Path,
        label: str,
        raw: Mapping[str, Any],
        model: type[Model],
    ) -> Model | None:
        context = {key: document.folder((*path, key)) for key in raw}
        context[""] = document.folder(())
        try:
            return model.model_validate(raw, context=context)
        except ValidationError as error:
            details = error.errors(include_url=False)
        name = str(path[0])
        harmless = {}
        for detail in details:
            key = detail["loc"][0] if detail["loc"] else ""
            at = (*path, key) if key else path
            message = explain(str(key), label, model, detail, self._home)
            if self._is_harmless(name, str(key), detail["type"]):
                self.warn(document, at, f"{message}; ignored")
                harmless[key] = detail
            else:
                self.report(document, at, message)
        if len(harmless) < len({detail["loc"][:1] for detail in details}):
            return None
        rest = {key: value for key, value in raw.items() if key not in harmless}
        return self._checked(document, path, label, rest, model)

    def _is_harmless(self, table: str, key: str, kind: str) -> bool:
        if kind == "extra_forbidden":
            return table in self._lenient
        return kind != "missing" and key in self._cosmetic.get(table, ())

    def _home(self, key: str) -> str:
        """Say in which other section a key would be known."""
        for name, model in self._sections.items():
            if key in model.model_fields:
                return f" (it belongs in [{name}])"
        return ""


def explain(
    key: str,
    label: str,
    model: type[BaseModel],
    detail: Mapping[str, Any],
    home: Callable[[str], str] = lambda _: "",
) -> str:
    """Say what pydantic found at ``key`` of a table; ``home`` says where else the key fits."""
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "missing":
        return f'{label} needs "{key}"'
    if kind == "extra_forbidden":
        hint = did_you_mean(key, model.model_fields) or home(key)
        return f'unknown key "{key}" in {label}{hint}'
    if kind in _KINDS:
        return f"{key} must be {_KINDS[kind]}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        value, bound = detail["input"], context[name]
        return f"{key} must be {words} {_number(bound)}, not {_number(value)}"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", str(context["expected"]))
        words = " or ".join(f'"{word}"' for word in known)
        value = detail["input"]
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        return f"{key} must be {words}{hint}"
    if kind == "string_too_short":
        return f"{key} must not be empty"
    if kind == "string_too_long":
        return f"{key} must have at most {context['max_length']} characters"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else f"{label} {context['error']}"
    return f"{key}: {detail['msg']}"


def _declared_twice(match: re.Match[str]) -> str:
    name = ".".join(part.strip(" '\"") for part in match[1].split(","))
    return f"[{name}] is declared twice (a list is written [[{name}]])"


def _number(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 64:  # Python may refuse to write it out
        return "a number that long"
    return f"{value:g}" if isinstance(value, float) else str(value)

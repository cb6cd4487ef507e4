"""Where each key of a TOML text stands: a path of keys and indexes to a line number.

``tomllib`` forgets lines as it parses, and a configuration mistake without its line is a riddle.
The scanner reads only text that ``tomllib`` has accepted, so it may trust the syntax.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")
_BLANK = re.compile(r"[ \t]*")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


class TomlLines:
    """The lines, counted from 1, of every table, key and array element in a valid TOML text."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._lines: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}
        self._scan()

    def line(self, path: Path) -> int:
        """Return the line of ``path``, or of the nearest table around it; 1 for the file itself."""
        while path:
            line = self._lines.get(path)
            if line is not None:
                return line
            path = path[:-1]
        return 1

    def _scan(self) -> None:
        text = self._text
        table: Path = ()
        while True:
            self._skip_blank_lines()
            if self._at >= len(text):
                return
            if text[self._at] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip_to_line_end()

    def _header(self) -> Path:
        """Read ``[a.b]`` or ``[[a.b]]`` and return the path that the next keys belong to."""
        line = self._here()
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        names = self._dotted_key()
        self._at += 2 if is_array else 1
        path: Path = ()
        for name in names[:-1]:
            path = self._inside((*path, name))
            self._lines.setdefault(path, line)
        path += (names[-1],)
        self._lines.setdefault(path, line)
        if is_array:
            index = self._lengths.get(path, 0)
            self._lengths[path] = index + 1
            path += (index,)
            self._lines[path] = line
        return path

    def _inside(self, path: Path) -> Path:
        """Add the index of the last element where ``path`` is an array of tables."""
        length = self._lengths.get(path)
        return path if length is None else (*path, length - 1)

    def _assignment(self, table: Path) -> None:
        line = self._here()
        path = table
        for name in self._dotted_key():
            path += (name,)
            self._lines.setdefault(path, line)
        self._at += 1  # "="
        self._value(path)

    def _dotted_key(self) -> list[str]:
        """Read ``a . "b" . c`` up to ``=`` or ``]``."""
        names: list[str] = []
        while True:
            self._skip_spaces()
            quote = self._text[self._at]
            if quote in "\"'":
                start = self._at + 1
                self._string()
                raw = self._text[start : self._at - 1]
                names.append(_unescape(raw) if quote == '"' else raw)
            else:
                match = _BARE_KEY.match(self._text, self._at)
                assert match is not None, "tomllib accepted this key"
                names.append(match.group())
                self._at = match.end()
            self._skip_spaces()
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _value(self, path: Path) -> None:
        self._skip_spaces()
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            match = _SCALAR.match(self._text, self._at)
            assert match is not None, "the pattern matches the empty string"
            self._at = match.end()

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip_blank_lines()
            if self._text[self._at] == "]":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            element = (*path, index)
            self._lines[element] = self._here()
            self._value(element)
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip_blank_lines()
            if self._text[self._at] == "}":
                self._at += 1
                return
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._assignment(path)

    def _string(self) -> None:
        """Move past the string that starts here; all four kinds."""
        text = self._text
        quote = text[self._at]
        triple = quote * 3
        is_long = text.startswith(triple, self._at)
        end = triple if is_long else quote
        at = self._at + len(end)
        while not text.startswith(end, at):
            at += 2 if quote == '"' and text[at] == "\\" else 1
        at += len(end)
        if is_long:  # up to two quotes may stand directly before the closing three
            while text.startswith(quote, at):
                at += 1
        self._at = at

    def _skip_spaces(self) -> None:
        match = _BLANK.match(self._text, self._at)
        assert match is not None, "the pattern matches the empty string"
        self._at = match.end()

    def _skip_blank_lines(self) -> None:
        text = self._text
        while True:
            self._skip_spaces()
            if text.startswith("#", self._at):
                self._skip_to_line_end()
            elif text.startswith("\n", self._at):
                self._at += 1
            else:
                return

    def _skip_to_line_end(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line


def _unescape(raw: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _ESCAPES.get(match[3], match[3])

    return _ESCAPED.sub(character, raw)

"""The locator finds every key of a valid TOML text on its line."""

import tomllib
from typing import Any

import pytest
from stoep_gateway.toml_lines import TomlLines

TEXT = r'''
top = 1 # 2
"quoted key" = "a # no comment [x]" # 3

[a] # 5
b.c = [ # 6
  1, 2, # 7
  [ "]", '[', """
  three " quotes \""" here """"", 9 ], # 8 and 9
  { x = 1, y = "}" }, # 10
]
'lit.eral' = '\'
"esc\u0061ped\"" = QQQ
[not.a.table]
QQQ
date = 1979-05-27T07:32:00Z
	[ a . "d" ] # 17, indented with a tab
	e = true

[[list]] # 20
k = 1
[list.sub]
k = 2
[[list.inner]]
k = 3
[[list]] # 26
[[list.inner]]
k = 4
[x.y.z]
w = { "n m".o = [1,
  2] } # 31'''.replace("QQQ", "'''")

EXPECTED = {
    ("top",): 2,
    ("quoted key",): 3,
    ("a",): 5,
    ("a", "b"): 6,
    ("a", "b", "c"): 6,
    ("a", "b", "c", 0): 7,
    ("a", "b", "c", 1): 7,
    ("a", "b", "c", 2): 8,
    ("a", "b", "c", 2, 0): 8,
    ("a", "b", "c", 2, 2): 8,
    ("a", "b", "c", 2, 3): 9,
    ("a", "b", "c", 3, "y"): 10,
    ("a", "lit.eral"): 12,
    ("a", 'escaped"'): 13,
    ("a", "date"): 16,
    ("a", "d"): 17,
    ("a", "d", "e"): 18,
    ("list", 0): 20,
    ("list", 0, "k"): 21,
    ("list", 0, "sub"): 22,
    ("list", 0, "sub", "k"): 23,
    ("list", 0, "inner", 0): 24,
    ("list", 0, "inner", 0, "k"): 25,
    ("list", 1): 26,
    ("list", 1, "inner", 0, "k"): 28,
    ("x", "y", "z"): 29,
    ("x", "y", "z", "w", "n m", "o"): 30,
    ("x", "y", "z", "w", "n m", "o", 1): 31,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_kind_of_key(newline: str) -> None:
    text = TEXT.replace("\n", newline)
    lines = TomlLines(text)
    assert {path: lines.line(path) for path in EXPECTED} == EXPECTED
    for path in _paths(tomllib.loads(text)):
        assert path in lines._lines, path


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inside: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    paths = [path] if path else []
    for key, it in inside:
        paths += _paths(it, (*path, key))
    return paths


def test_what_is_not_there_is_where_it_should_be() -> None:
    lines = TomlLines("a = 1\n[b]\nc = 2\n")
    assert lines.line(("b", "missing")) == 2
    assert lines.line(("missing",)) == 1
    assert TomlLines("").line(("missing",)) == 1

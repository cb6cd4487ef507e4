"""From octets to things that are nearly right: what a fuzzer's bytes decide is what is wrong.

Mutated bytes alone seldom get past a JSON parser or a MIC. So an input also steers how a valid
thing is altered, and the same input always makes the same thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

__all__ = ["Octets", "altered"]

_T = TypeVar("_T")

_STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    255,
    65_536,
    2**31,
    2**32,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63),
    10**40,
    0.0,
    -0.5,
    1e-320,
    1e308,
    "",
    "0",
    "\x00",
    "\ud800",
    "é" * 40,
    "A" * 2000,
    [],
    {},
    [[]],
    [None] * 300,
    {"": {}},
)


class Octets:
    """Reads an input from front to back; beyond its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """Return up to ``count`` octets."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data))

    def number(self, octets: int = 1) -> int:
        """Return an unsigned number of so many octets."""
        return int.from_bytes(self.take(octets), "big")

    def pick(self, choices: Sequence[_T]) -> _T:
        """Return one of the choices."""
        return choices[self.number() % len(choices)]

    def value(self) -> Any:
        """Return some JSON value."""
        kind = self.number()
        if kind < 128:
            return _STRANGE[kind % len(_STRANGE)]
        if kind < 160:
            return self.number(kind % 9) - self.number(kind % 5)
        if kind < 180:
            return self.number(3) / (self.number() or 7)
        if kind < 220:
            return self.take(kind - 180).decode("latin-1")
        if kind < 238:
            return [self.value() for _ in range(kind - 220) if self]
        return {self.take(3).decode("latin-1"): self.value() for _ in range(kind - 238) if self}


def altered(template: Any, octets: Octets, depth: int = 0) -> Any:
    """Return a JSON value like ``template`` with parts replaced, dropped or repeated.

    Only outer lists are repeated: within each other the copies would be too many.
    """
    how = octets.number() if octets else 0
    if how >= 224:
        return octets.value()
    if isinstance(template, dict):
        made = {}
        for name, part in template.items():
            if how & 1 and not octets.number() % 8:
                continue
            made[name] = altered(part, octets, depth + 1) if how & 2 else part
        if how & 4:
            made[octets.take(4).decode("latin-1")] = octets.value()
        return made
    if isinstance(template, list):
        parts = [altered(part, octets, depth + 1) for part in template]
        return parts * (how % 4) if how & 16 and depth < 3 else parts
    if isinstance(template, str) and how >= 128:
        at = octets.number() % (len(template) + 1)
        return template[:at] + octets.take(how % 4).decode("latin-1") + template[at + how % 3 :]
    return template

"""Values that one uplink makes many of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

__all__ = ["value"]

_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[_Class]) -> type[_Class]:
    """Make a class a dataclass with slots that nobody may change: the type checker sees to it.

    One that is really frozen takes five times as long to make, 2 µs for ten fields.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)

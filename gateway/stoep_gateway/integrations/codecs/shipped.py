"""The names of the makes that we bring along, each a mapping and a codec of our own."""

from __future__ import annotations

import functools
from pathlib import Path

__all__ = ["FOLDER", "names"]

FOLDER = Path(__file__).with_name("library")


@functools.cache
def names() -> frozenset[str]:
    """Return the ids of all of them."""
    return frozenset(path.stem for path in FOLDER.glob("*.toml"))

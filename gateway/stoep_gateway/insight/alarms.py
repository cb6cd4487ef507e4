"""What a container tells besides its level: a lid left open, a tilt, a move, a fire. Pure."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from stoep_protocol.schema import FIRE, LID_OPEN, MOVED, TILTED

__all__ = ["ALARMS", "changes", "names"]

_NAMES: Mapping[int, str] = {LID_OPEN: "lid_open", TILTED: "tilted", MOVED: "moved", FIRE: "fire"}
ALARMS = LID_OPEN | TILTED | MOVED | FIRE  # of the flags


@functools.cache
def names(flags: int) -> list[str]:
    """Return which alarms are in a set of flags."""
    return [name for flag, name in _NAMES.items() if flags & flag]


def changes(before: int, now: int) -> list[tuple[str, bool]]:
    """Return the alarms that are in one set of flags only, True: they have begun."""
    return [(name, bool(now & flag)) for flag, name in _NAMES.items() if (before ^ now) & flag]

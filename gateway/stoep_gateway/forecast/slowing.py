"""A level that rises more slowly the higher it is. Pure.

Waste is pressed by its own weight, and who finds a container nearly full goes to the next one: a
point of waste makes ``1 - slow * level / 100`` points of level. What is expected, and how far it is
off, is counted in points of waste; for ``slow`` 0 they are those of the level.
"""

from __future__ import annotations

from math import exp, log

__all__ = ["SLOW_MAX", "gain", "level_of", "waste_of"]

SLOW_MAX = 0.95
_LEAST = 1e-3
_FULL_PCT = 100.0


def gain(level_pct: float, slow: float) -> float:
    """Return how many points the level rises by a point of waste; beyond full as when full."""
    return 1 - slow * min(max(level_pct, 0.0), _FULL_PCT) / 100


def waste_of(level_pct: float, slow: float) -> float:
    """Return the waste that makes a level, monotone and 0 of 0."""
    if slow < _LEAST or level_pct <= 0:
        return level_pct
    if level_pct > _FULL_PCT:
        return waste_of(_FULL_PCT, slow) + (level_pct - _FULL_PCT) / (1 - slow)
    return -100 / slow * log(1 - slow * level_pct / 100)


def level_of(waste: float, slow: float) -> float:
    """Return the level that waste makes."""
    if slow < _LEAST or waste <= 0:
        return waste
    full = waste_of(_FULL_PCT, slow)
    if waste > full:
        return _FULL_PCT + (waste - full) * (1 - slow)
    return 100 / slow * (1 - exp(-slow * waste / 100))

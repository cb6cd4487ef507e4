"""Where in a codec's result a value is, and in which unit: ``"data.distance cm"``. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["UNITS", "Place", "number", "place"]

# Of each of our quantities: the units that a codec may have it in, as (factor, offset); first ours.
UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "distance_mm": {"mm": (1, 0), "cm": (10, 0), "m": (1000, 0), "in": (25.4, 0)},
    "battery_mv": {"mV": (1, 0), "V": (1000, 0)},
    "temperature_c": {"°C": (1, 0), "C": (1, 0), "°F": (5 / 9, -160 / 9), "K": (1, -273.15)},
    "previous_duration_s": {"s": (1, 0), "min": (60, 0), "h": (3600, 0)},
    "state": {},
    "flaps": {},
}


@dataclass(frozen=True, slots=True)
class Place:
    """Members and list indices from the result's top, and what makes the value ours."""

    path: tuple[str, ...]
    factor: float = 1
    offset: float = 0

    def __str__(self) -> str:
        return ".".join(self.path)

    def find(self, result: Any) -> Any:
        """Return what is there, None if nothing is."""
        for step in self.path:
            if isinstance(result, dict):
                result = result.get(step)
            elif isinstance(result, list) and step.isdecimal() and int(step) < len(result):
                result = result[int(step)]
            else:
                return None
        return result


def place(quantity: str, text: str) -> Place:
    """Return the place of a quantity of ours. Raises ValueError with what is wrong with it."""
    units = UNITS[quantity]
    path, _, unit = text.rpartition(" ")
    if unit not in units:
        path = text
        if units and " " in path.rpartition(".")[2]:
            raise ValueError(f'"{unit}" is none of its units: {", ".join(units)}')
    factor, offset = units.get(unit, (1, 0))
    steps = tuple(path.strip().split("."))
    if steps[0] != "data" or len(steps) < 2 or not all(steps):
        raise ValueError('says where in the codec\'s result it is, as "data.distance"')
    return Place(steps, factor, offset)


def number(at: Place, found: object) -> float:
    """Return a found value in our unit. Raises ValueError if it is no number."""
    value = found
    if isinstance(found, str):
        try:
            value = float(found)
        except ValueError:
            raise ValueError(f'{at} is "{found[:40]}", which is no number') from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{at} is no number")
    return value * at.factor + at.offset

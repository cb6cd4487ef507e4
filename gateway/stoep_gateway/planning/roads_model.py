"""What is asked of roads, and what is found on them. Pure, and there without the extra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Found", "Spot"]


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """A place in degrees; ``near``: the truck has to stop on the side of the street it is on."""

    lat: float
    lon: float
    near: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """From every spot to every other, -1 where no way leads.

    ``off_m`` is how far a spot is from its road, infinite if that is too far; ``across`` whether a
    truck can only stop on the other side of it.
    """

    metres: npt.NDArray[np.int32]
    seconds: npt.NDArray[np.int32]
    off_m: npt.NDArray[np.float64]
    across: npt.NDArray[np.bool_]

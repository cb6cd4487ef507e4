"""How far a sum over weeks and containers could be off by chance: a bootstrap. Pure, seeded.

Weeks are drawn again, whole, and so are containers; the wider of the two answers counts. Few weeks
say little of how far weeks differ, so draws are spread by what Student's t has over the normal
distribution and by sqrt(n / (n - 1)), as Hesterberg (2015, "What Teachers Should Know About the
Bootstrap", The American Statistician 69) does with percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_WEEKS", "Interval", "Table", "interval", "t_quantile"]

LEVEL = 0.9
LEAST_WEEKS = 2  # below, there is no telling how far weeks differ
_DRAWS = 2000

Array = NDArray[np.float64]
"""Of what is asked: rows are containers, columns weeks, the last axis what is summed."""
Table = Array


class Interval(NamedTuple):
    """An estimate, and between what it is in 90 of 100 such cases; None if nobody can tell."""

    value: float
    low: float | None = None
    high: float | None = None


def interval(
    tables: Sequence[Table],
    of_sums: Callable[..., Array],
    *,
    paired: bool,
    seed: int = 0,
    draws: int = _DRAWS,
) -> Interval:
    """Return ``of_sums`` of the tables' sums, and its interval.

    Each table is (containers, weeks, quantities); all have the same containers. ``of_sums`` is
    given an array (draws, quantities) for each and returns one value per draw. ``paired``: the
    tables are of the same weeks, which are drawn together.
    """
    sums = [it.sum(axis=(0, 1))[np.newaxis] for it in tables]
    value = float(of_sums(*sums)[0])
    weeks = [it.shape[1] for it in tables]
    if min(weeks) < LEAST_WEEKS:
        return Interval(value)
    source = np.random.default_rng(seed)
    containers = tables[0].shape[0]
    by_week = []
    counts = None
    for table in tables:
        if counts is None or not paired:
            counts = _drawn(source, table.shape[1], draws)
        by_week.append(counts @ table.sum(axis=0))
    found = [_limits(of_sums(*by_week), value, min(weeks))]
    if containers >= LEAST_WEEKS:
        counts = _drawn(source, containers, draws)
        by_container = [counts @ table.sum(axis=1) for table in tables]
        found.append(_limits(of_sums(*by_container), value, containers))
    low, high = max(found, key=lambda it: it[1] - it[0])
    return Interval(value, low, high)


def _drawn(source: np.random.Generator, count: int, draws: int) -> Array:
    """Return how often each was drawn, (draws, count)."""
    return source.multinomial(count, [1 / count] * count, size=draws).astype(np.float64)


def _limits(draws: Array, value: float, count: int) -> tuple[float, float]:
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return -math.inf, math.inf
    tail = (1 - LEVEL) / 2
    wider = math.sqrt(count / (count - 1)) * t_quantile(1 - tail, count - 1)
    wider /= NormalDist().inv_cdf(1 - tail)
    low, high = np.quantile(finite, [tail, 1 - tail])
    return value + (float(low) - value) * wider, value + (float(high) - value) * wider


def t_quantile(share: float, freedom: int) -> float:
    """Return Student's t below which ``share``, over one half, of it is; by bisection."""
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        if _t_below(middle, freedom) < share:
            low = middle
        else:
            high = middle
    return high


def _t_below(t: float, freedom: int) -> float:
    """Return the share of Student's t below ``t`` (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cos, sin = math.cos(angle), math.sin(angle)
    term, sums = 1.0, 0.0
    if freedom % 2:
        term = cos
        for number in range(2, freedom, 2):
            sums += term
            term *= number / (number + 1) * cos * cos
        return 0.5 + (angle + sin * sums) / math.pi
    for number in range(1, freedom, 2):
        sums += term
        term *= number / (number + 1) * cos * cos
    return 0.5 + sin * sums / 2

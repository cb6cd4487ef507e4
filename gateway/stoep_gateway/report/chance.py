"""How far a sum over weeks and containers could be off by chance: a bootstrap. Pure, seeded.

Weeks are drawn again, once whole, for all containers alike, as weather and holidays have it, and
once for each container by itself, as people's habits have it: few weeks may be alike by luck, many
containers hardly. The wider of the two answers counts. Containers themselves are not drawn: they
are no sample of something, they are all there are.

Few weeks say little of how far weeks differ, so draws are spread by what Student's t has over the
normal distribution and by sqrt(n / (n - 1)), as Hesterberg (2015, "What Teachers Should Know About
the Bootstrap", The American Statistician 69) does with percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_WEEKS", "Interval", "OfSums", "Table", "intervals", "t_quantile"]

LEVEL = 0.9
LEAST_WEEKS = 2  # below, there is no telling how far weeks differ
_DRAWS = 1000
_NORMAL = 1000  # degrees of freedom; more change nothing

Table = NDArray[np.float64]
"""Containers, their weeks, and in the last axis the quantities that are summed."""
OfSums = Callable[..., Table]
"""Makes one value per draw of arrays (draws, quantities), one for each table."""


class Interval(NamedTuple):
    """An estimate, and between what it is in 90 of 100 such cases; None if nobody can tell."""

    value: float
    low: float | None = None
    high: float | None = None


def intervals(
    tables: Sequence[Table], of_sums: Sequence[OfSums], *, paired: bool, seed: int = 0
) -> list[Interval]:
    """Return what each of ``of_sums`` makes of the tables' sums, with its interval.

    All tables have the same containers. ``paired``: and the same weeks, which are drawn together.
    """
    sums = [it.sum(axis=(0, 1))[np.newaxis] for it in tables]
    values = [float(of(*sums)[0]) for of in of_sums]
    weeks = min(it.shape[1] for it in tables)
    if weeks < LEAST_WEEKS or not len(tables[0]):
        return [Interval(it) for it in values]
    source = np.random.default_rng(seed)
    whole = _drawn(source, [it.sum(axis=0) for it in tables], paired)
    each = [np.zeros_like(it) for it in whole]
    for of_container in zip(*tables, strict=True):
        drawn = _drawn(source, of_container, paired)
        each = [total + it for total, it in zip(each, drawn, strict=True)]
    found = []
    for value, of in zip(values, of_sums, strict=True):
        limits = [
            _limits(of(*whole), value, weeks, weeks - 1),
            _limits(of(*each), value, weeks, len(tables[0]) * (weeks - 1)),
        ]
        found.append(Interval(value, *max(limits, key=lambda it: it[1] - it[0])))
    return found


def _drawn(source: np.random.Generator, tables: Sequence[Table], paired: bool) -> list[Table]:
    """Return sums (draws, quantities) of as many weeks as there are, of tables (weeks, ...)."""
    counts: Table | None = None
    found = []
    for table in tables:
        weeks = len(table)
        if counts is None or not paired:
            counts = source.multinomial(weeks, [1 / weeks] * weeks, _DRAWS).astype(np.float64)
        found.append(counts @ table)
    return found


def _limits(draws: Table, value: float, weeks: int, freedom: int) -> tuple[float, float]:
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return -math.inf, math.inf
    tail = (1 - LEVEL) / 2
    wider = math.sqrt(weeks / (weeks - 1)) * t_quantile(1 - tail, freedom)
    wider /= NormalDist().inv_cdf(1 - tail)
    low, high = np.quantile(finite, [tail, 1 - tail])
    return value + (float(low) - value) * wider, value + (float(high) - value) * wider


def t_quantile(share: float, freedom: int) -> float:
    """Return Student's t below which ``share``, over one half, of it is; by bisection."""
    freedom = min(freedom, _NORMAL)
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

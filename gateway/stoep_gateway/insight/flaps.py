"""How full a container is by how often its lid was opened. Pure.

What one opening brings, in points of the level, is learned per container from cycles between two
emptyings whose level is known: by its own sensor, or from a log of collections. Bags differ, so the
spread of a cycle grows with its openings, and the best estimate is all points by all openings; the
older a cycle the less it counts. Until there are some, what containers of the same kind and
fraction have learned is taken, in litres, or what is configured, or a guess.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from stoep_gateway.assets.geometry import FILL_MAX_PCT
from stoep_gateway.values import value

__all__ = [
    "ACCEPTED_PCT",
    "GUESSED_L",
    "FlapCount",
    "counted",
    "emptied",
    "estimate",
    "learned",
    "pooled",
]

FORGET = 0.9  # of what was learned, at every cycle
OPENINGS_MIN = 5  # of a cycle that is learned from
RISE_MIN_PCT = 10.0
FULL_PCT = 100.0  # from which nobody knows how much is beside or on top
PRIOR_CYCLES = 0.15  # weight of what others have learned, or of a guess, which may be off tenfold
CYCLES_MIN = 2.5  # from which the spread of cycles is known
ACCEPTED_PCT = 10.0  # standard error of a level that is not likely wrong
LOST_MAX = 48  # reports in a row whose openings are made up for
GUESSED_L = 10.0  # of one opening: a guess


@value
class FlapCount:
    """What is remembered of a lid; stored as an array: new fields go to the end.

    ``total`` openings since the emptying that left ``base_pct`` (negative: counted from later on),
    and ``f_cnt`` of the uplink that last told some (-1: none). ``cycles`` have been learned from,
    with ``openings`` and ``points`` in all of them, and ``squares``, the sum of points² / openings.
    """

    total: float = 0.0
    base_pct: float = 0.0
    f_cnt: int = -1
    cycles: float = 0.0
    openings: float = 0.0
    points: float = 0.0
    squares: float = 0.0


def counted(state: FlapCount, flaps: int, f_cnt: int, steps: int) -> FlapCount:
    """Return the state after a report of so many openings, ``steps`` readings after the last.

    A report that was lost, by its frame's counter and its reading's, is taken to have been alike.
    """
    lost = 0
    if state.f_cnt >= 0:
        lost = max(min(f_cnt - state.f_cnt - 1, steps - 1, LOST_MAX), 0)
    return FlapCount(
        round(state.total + flaps * (1 + lost), 1),
        state.base_pct,
        f_cnt,
        state.cycles,
        state.openings,
        state.points,
        state.squares,
    )


def emptied(
    state: FlapCount, to_pct: float, from_pct: float | None = None, since_pct: float | None = None
) -> FlapCount:
    """Return the state after an emptying, with a cycle learned if its levels are known.

    ``since_pct`` is the cycle's first level, if that is known better than at its begin.
    """
    if from_pct is not None and from_pct < FULL_PCT and state.base_pct >= 0:
        first_pct = state.base_pct if since_pct is None else since_pct
        state = learned(state, state.total, from_pct - first_pct)
    return replace(state, total=0.0, base_pct=to_pct)


def learned(state: FlapCount, openings: float, points: float) -> FlapCount:
    """Return the state with one more cycle learned, if it says anything."""
    if openings < OPENINGS_MIN or points < RISE_MIN_PCT:
        return state
    return replace(
        state,
        cycles=round(FORGET * state.cycles + 1, 3),
        openings=round(FORGET * state.openings + openings, 1),
        points=round(FORGET * state.points + points, 2),
        squares=round(FORGET * state.squares + points * points / openings, 2),
    )


def estimate(state: FlapCount, capacity_l: int, litres_per_flap: float) -> tuple[float, int]:
    """Return the level in percent, and its quality: 3 if it is known to 10 points, else 2.

    ``litres_per_flap`` is what is taken as long as little has been learned.
    """
    per_opening = 100 * litres_per_flap / capacity_l
    if state.cycles:  # both are scales: the mean of their logarithms
        own = state.points / state.openings
        per_opening = own * (per_opening / own) ** (PRIOR_CYCLES / (PRIOR_CYCLES + state.cycles))
    level = max(state.base_pct, 0.0) + per_opening * state.total
    quality = 2
    if state.cycles >= CYCLES_MIN:
        spread = max(state.squares - state.points**2 / state.openings, 0.0) / (state.cycles - 1)
        error = math.sqrt(spread * state.total * (1 + state.total / state.openings))
        quality = 3 if error <= ACCEPTED_PCT else 2
    return round(min(level, FILL_MAX_PCT), 1), quality


def pooled(known: Iterable[tuple[str, int, FlapCount]]) -> dict[str, float]:
    """Return the litres of one opening by pool; ``known`` are pool, litres at 100 % and state."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for pool, capacity_l, count in known:
        its = sums[pool]
        its[0] += count.points * capacity_l / 100
        its[1] += count.openings
    return {pool: litres / openings for pool, (litres, openings) in sums.items() if openings}

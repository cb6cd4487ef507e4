"""How a container fills: its emptyings, its rate, its level to come. Pure.

A drop counts as an emptying once the next reading confirms it, and is dated to the first low
reading: one stray echo empties nothing. ::

    filling --- level falls by DROP_PCT or more ---> dropped
    dropped --- next level still low --------------> filling (a new cycle)   Emptying
    dropped --- next level back up ----------------> filling (the same cycle)
"""

from __future__ import annotations

from dataclasses import dataclass

from stoep_gateway.values import value

__all__ = [
    "Emptying",
    "FillTrack",
    "advance",
    "correct",
    "hours_to",
    "rate_pct_per_h",
    "start",
]

DROP_PCT = 18.5  # below this, waste settling and a heap sliding look the same
CONFIRMED_PCT = 10.0  # of which this much must still be missing in the next reading
PRIOR_H = 24.0  # weight of the cycle before, in hours of the present one
SHORTEST_H = 6.0  # without a cycle before, less than this says nothing about the rate
_HOUR_MS = 3_600_000.0


@value
class FillTrack:
    """What is remembered of a container's levels; times in UTC milliseconds.

    ``fill_pct`` was measured at ``at_ms``; the cycle began at ``since_ms`` with ``since_pct``,
    with an emptying at ``emptied_ms`` unless that is None. ``rate_before`` is the rate of the
    cycle before, in points per hour. ``drop_ms`` marks a drop, from ``drop_from_pct`` at
    ``drop_from_ms`` to ``drop_to_pct``, that waits to be confirmed.
    """

    at_ms: int
    fill_pct: float
    since_ms: int
    since_pct: float
    emptied_ms: int | None = None
    rate_before: float | None = None
    drop_ms: int | None = None
    drop_from_ms: int = 0
    drop_from_pct: float = 0.0
    drop_to_pct: float = 0.0


@dataclass(frozen=True, slots=True)
class Emptying:
    """A container was emptied shortly before ``at_ms``, the first low reading.

    The level before that was read at ``after_ms``.
    """

    at_ms: int
    from_pct: float
    to_pct: float
    cycle_ms: int | None
    after_ms: int | None = None


def start(at_ms: int, fill_pct: float) -> FillTrack:
    """Return the track of a container whose first level is ``fill_pct``."""
    return FillTrack(at_ms, fill_pct, at_ms, fill_pct)


def advance(track: FillTrack, at_ms: int, fill_pct: float) -> tuple[FillTrack, Emptying | None]:
    """Return the track after one more level, and the emptying that the level confirms.

    A level that is not newer than the track changes nothing.
    """
    if at_ms <= track.at_ms:
        return track, None
    if track.drop_ms is None:
        dropped = fill_pct <= track.fill_pct - DROP_PCT
        return (
            FillTrack(
                at_ms,
                fill_pct,
                track.since_ms,
                track.since_pct,
                track.emptied_ms,
                track.rate_before,
                at_ms if dropped else None,
                track.at_ms if dropped else 0,
                track.fill_pct if dropped else 0.0,
                fill_pct if dropped else 0.0,
            ),
            None,
        )
    if fill_pct > track.drop_from_pct - CONFIRMED_PCT:
        same = FillTrack(
            at_ms, fill_pct, track.since_ms, track.since_pct, track.emptied_ms, track.rate_before
        )
        return same, None
    rate = rate_pct_per_h(track)
    if rate is not None:
        rate = round(rate, 5)  # it is stored for a whole cycle
    emptying = Emptying(
        track.drop_ms,
        track.drop_from_pct,
        track.drop_to_pct,
        None if track.emptied_ms is None else track.drop_ms - track.emptied_ms,
        track.drop_from_ms,
    )
    fresh = FillTrack(at_ms, fill_pct, track.drop_ms, track.drop_to_pct, track.drop_ms, rate)
    return fresh, emptying


def correct(track: FillTrack, at_ms: int, fill_pct: float) -> FillTrack:
    """Return the track when the levels since an earlier one have turned out to be wrong.

    The cycle goes on at ``fill_pct``, without an emptying.
    """
    since_pct = min(track.since_pct, fill_pct)
    return FillTrack(
        at_ms, fill_pct, track.since_ms, since_pct, track.emptied_ms, track.rate_before
    )


def rate_pct_per_h(track: FillTrack) -> float | None:
    """Return the mean rate since the last emptying in points per hour, None if not known yet.

    The rate of the cycle before counts as `PRIOR_H` hours, so that a fresh cycle has one too.
    """
    if track.drop_ms is not None:  # the last level may be a stray echo
        span_ms = track.drop_from_ms - track.since_ms
        return _rate(span_ms, track.drop_from_pct - track.since_pct, track)
    return _rate(track.at_ms - track.since_ms, track.fill_pct - track.since_pct, track)


def hours_to(track: FillTrack, threshold_pct: float) -> float | None:
    """Return the hours from the last level to the threshold: 0 if reached, None if not known."""
    if track.fill_pct >= threshold_pct:
        return 0.0
    rate = rate_pct_per_h(track)
    return (threshold_pct - track.fill_pct) / rate if rate else None


def _rate(span_ms: int, rise_pct: float, track: FillTrack) -> float | None:
    hours = span_ms / _HOUR_MS
    if track.rate_before is not None:
        return max(0.0, (rise_pct + track.rate_before * PRIOR_H) / (hours + PRIOR_H))
    if hours < SHORTEST_H:
        return None
    return max(0.0, rise_pct / hours)

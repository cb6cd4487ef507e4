"""From what the readings of a container make of its state to its history. Pure."""

from __future__ import annotations

from stoep_gateway.forecast.history import NOISE, History
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.insight.readings import DOUBTED, SUSPICIOUS

__all__ = ["feed"]

_SUSPICIOUS_NOISE = 5.0


def feed(
    history: History,
    track: FillTrack | None,
    level_pct: float | None,
    quality: int,
    pressed_ms: int | None = None,
) -> None:
    """Take in a reading's track, the level that is published with it, and its quality.

    ``pressed_ms`` is when a press last ran: what fell then was no emptying.
    """
    if quality <= DOUBTED:
        history.refused()
    if track is None or level_pct is None or track.drop_ms is not None:
        return  # the next reading tells whether it was emptied
    known_ms = history.at_ms
    if known_ms is not None:
        if track.emptied_ms is not None and track.emptied_ms > known_ms:
            history.correct(track.emptied_ms, track.since_pct)
        elif pressed_ms is not None and pressed_ms > known_ms:
            history.correct(track.at_ms, level_pct)
    noise = _SUSPICIOUS_NOISE if quality <= SUSPICIOUS else NOISE
    history.take(track.at_ms, level_pct, noise)

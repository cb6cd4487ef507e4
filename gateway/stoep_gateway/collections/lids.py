"""Containers whose lid is counted, once driver or log say that they were emptied. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stoep_gateway.assets.registry import Container, Device
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.collections.merging import WITHIN_MS, Collection
from stoep_gateway.publish.containers import emptied_by_log
from stoep_gateway.publish.messages import OutboxMessage

__all__ = ["emptied"]

_FRESH_MS = 24 * 3_600_000  # openings since then are few


def emptied(
    device: Device,
    container: Container,
    state: ContainerState | None,
    told: Sequence[Collection],
    now_ms: int,
    litres_per_flap: float,
) -> tuple[OutboxMessage, ContainerState] | None:
    """Return what is published, and the state, after the last emptying told of; None: it is known.

    ``told`` are in order of time. What an opening brings is learned if it is one emptying, and it
    was within a day: of several nobody knows which opening was before which.
    """
    last_ms = None if state is None or state.track is None else state.track.emptied_ms
    new = [it for it in told if last_ms is None or it.at_ms > last_ms + WITHIN_MS]
    if not new:
        return None
    last = new[-1]
    is_learned = len(new) == 1 and last_ms is not None and last.at_ms > now_ms - _FRESH_MS
    message, _, after = emptied_by_log(
        device,
        container,
        state,
        min(last.at_ms, now_ms),
        now_ms,
        last.from_pct if is_learned else None,
        last.to_pct or 0.0,
        litres_per_flap,
    )
    return message, after

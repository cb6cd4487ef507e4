"""What recorded levels tell of containers, as if the gateway had heard them. Pure.

They are taken as they are, as somebody noted them: each fall is an emptying, no second level has
to confirm it, and what a level is wrong by is not known better than of a sensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stoep_gateway.assets.geometry import FILL_MAX_PCT
from stoep_gateway.assets.occasions import calendar
from stoep_gateway.assets.states import AssetState, ContainerState
from stoep_gateway.config import Config
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight import filling
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.insight.readings import ACCEPTED
from stoep_gateway.planning import knowing
from stoep_gateway.planning.selection import Known

__all__ = ["known"]


def known(
    levels: Mapping[str, Sequence[tuple[int, float]]], config: Config, now_ms: int
) -> dict[str, Known]:
    """Return what is known of containers by their levels until now, as `knowing.known` does.

    ``levels`` are (UTC ms, percent) by container id, in order of time; later ones are not looked
    at.
    """
    pools = {it.id: it.pool for it in config.containers}
    rows = sorted(
        (at_ms, name, fill_pct)
        for name in pools
        for at_ms, fill_pct in levels.get(name, ())
        if at_ms <= now_ms
    )
    forecasts = Forecasts(calendar(config))
    tracks: dict[str, FillTrack] = {}
    for at_ms, name, fill_pct in rows:
        level_pct = min(fill_pct, FILL_MAX_PCT)
        track = tracks[name] = _after(tracks.get(name), at_ms, level_pct)
        forecasts.take(f"container/{name}", pools[name], at_ms, track, level_pct, ACCEPTED)
    states: dict[str, AssetState] = {
        f"container/{name}": ContainerState(0, track.at_ms, quality=ACCEPTED, track=track)
        for name, track in tracks.items()
    }
    return knowing.known(states, config, now_ms, forecasts)


def _after(track: FillTrack | None, at_ms: int, level_pct: float) -> FillTrack:
    if track is None:
        return filling.start(at_ms, level_pct)
    after, _ = filling.advance(track, at_ms, level_pct)
    if after.drop_ms is not None:
        # Looked at once more: what is noted is no stray echo.
        after, _ = filling.advance(after, at_ms + 1, level_pct)
    return after

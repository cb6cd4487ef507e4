"""What a plan rests on, from what is remembered of containers. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stoep_gateway.assets.occasions import calendar
from stoep_gateway.assets.states import AssetState, ContainerState
from stoep_gateway.config import Config
from stoep_gateway.forecast.calendar import DAY_MS
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.kind import Kind
from stoep_gateway.forecast.outlook import Outlook
from stoep_gateway.insight import filling
from stoep_gateway.planning.selection import Known

__all__ = ["known", "steady"]

_DAYS = 28
_MOST_PCT = 90.0  # in a day; a level beyond does not show what comes


def known(
    states: Mapping[str, AssetState],
    config: Config,
    now_ms: int,
    forecasts: Forecasts | None = None,
) -> dict[str, Known]:
    """Return what is known of every container, by its id.

    ``states`` are by asset key ("container/ID"), as stored. A container of which there is no
    forecast is taken to fill as it has since it was last emptied.
    """
    local = calendar(config)
    kind = Kind(local)
    found = {}
    for container in config.containers:
        key = f"container/{container.id}"
        state = states.get(key)
        if not isinstance(state, ContainerState) or (track := state.track) is None:
            continue
        outlook = None
        if forecasts is not None:
            outlook = forecasts.outlook(key, container.pool, now_ms)
        if outlook is None:
            rate = filling.rate_pct_per_h(track)
            per_day = None if rate is None else 24 * rate
            history = steady(kind, track.at_ms, track.fill_pct, per_day)
            history.attend(local.about.get(key))
            outlook = Outlook(history, now_ms)
        found[container.id] = Known(outlook, track.at_ms, track.emptied_ms, state.press)
    return found


def steady(kind: Kind, at_ms: int, fill_pct: float, rate_pct_per_day: float | None) -> History:
    """Return the history of a container that has filled at one rate; None: nobody knows."""
    history = History(kind)
    if rate_pct_per_day is not None:
        rise = min(rate_pct_per_day, _MOST_PCT)
        for begin_ms in range(at_ms - _DAYS * DAY_MS, at_ms, DAY_MS):
            history.correct(begin_ms, 0.0)
            history.take(begin_ms + DAY_MS, rise)
    history.correct(at_ms, fill_pct)
    return history

"""Which events the configuration tells of which containers. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from stoep_gateway.config import Config
from stoep_gateway.config_assets import EventConfig, concerns
from stoep_gateway.config_days import WEEK
from stoep_gateway.forecast.calendar import Calendar, day_of
from stoep_gateway.forecast.occasions import Event, Occasion, Occasions

__all__ = ["calendar", "events_of"]


def calendar(config: Config) -> Calendar:
    """Return the site's local time, with the events of its containers."""
    return Calendar(config.timezone, events_of(config))


def events_of(config: Config) -> dict[str, Occasions]:
    """Return the events of each container that has any, by its key ("container/ID").

    Containers with the same events share them.
    """
    occasions = [_occasion(event, config) for event in config.events]
    shared: dict[tuple[int, ...], Occasions] = {}
    found: dict[str, Occasions] = {}
    for container in config.containers:
        its = tuple(n for n, event in enumerate(config.events) if concerns(event, container))
        if its:
            if its not in shared:
                shared[its] = Occasions(occasions[n] for n in its)
            found[f"container/{container.id}"] = shared[its]
    return found


def _occasion(event: EventConfig, config: Config) -> Occasion:
    hours = None
    if event.hours is not None:
        first, last = ((60 * it.hour + it.minute) * 60_000 for it in event.hours)
        hours = (first, last)
    public = config.holidays.get(event.holidays or "", ())
    return Occasion(
        Event(event.id, event.factor, hours),
        _days((*event.dates, *public)),
        frozenset(map(WEEK.index, event.weekly)),
        _days(event.not_on),
    )


def _days(dates: Iterable[datetime.date]) -> frozenset[int]:
    return frozenset(map(day_of, dates))

"""The days on which the city empties its containers, as it says itself. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from stoep_gateway.config import Config
from stoep_gateway.config_days import WEEK, ScheduledConfig

__all__ = ["Schedule", "due", "schedule"]


class Schedule:
    """Says which containers are emptied on a local day, whatever is in them.

    ``names`` are those of which it says anything.
    """

    def __init__(self, said: Mapping[str, ScheduledConfig]) -> None:
        self._said = said
        self.names = frozenset(said)

    def __call__(self, day: datetime.date) -> list[str]:
        """Return the containers of a day."""
        return [name for name, its in self._said.items() if due(its, day)]


def schedule(config: Config) -> Schedule | None:
    """Return the city's own schedule, None if no container has one."""
    kinds = {it.id: it for it in config.kinds}
    said: dict[str, ScheduledConfig] = {}
    for container in config.containers:
        its = container if container.is_scheduled else kinds.get(container.kind)
        if its is not None and its.is_scheduled:
            said[container.id] = its
    return Schedule(said) if said else None


def due(its: ScheduledConfig, day: datetime.date) -> bool:
    """Tell whether a container is emptied on a day."""
    if day in its.also_on:
        return True
    if day in its.not_on:
        return False
    if its.every_days is not None and its.first_on is not None:
        return (day - its.first_on).days % its.every_days == 0
    is_even = day.isocalendar().week % 2 == 0
    is_week = its.weeks == "all" or (its.weeks == "even") == is_even
    return is_week and WEEK[day.weekday()] in its.emptied_on

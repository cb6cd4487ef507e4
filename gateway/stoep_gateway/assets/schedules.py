"""The days on which the city empties its containers by itself. Pure."""

from __future__ import annotations

from stoep_gateway.config import Config
from stoep_gateway.config_days import ScheduledConfig

__all__ = ["schedules"]


def schedules(config: Config) -> dict[str, ScheduledConfig]:
    """Return the days of each container that has any, its own or those of its kind, by its id."""
    kinds = {it.id: it for it in config.kinds}
    found: dict[str, ScheduledConfig] = {}
    for container in config.containers:
        said = container if container.is_scheduled else kinds.get(container.kind)
        if said is not None and said.is_scheduled:
            found[container.id] = said
    return found

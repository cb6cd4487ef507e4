"""Ways of choosing the containers of a day: what cities do, simple rules, and ours. Pure.

All are routed by the same planner at the same prices. A policy says which containers have to be
emptied, or that the planner shall choose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist
from typing import Protocol

from stoep_gateway.assets.schedules import schedules
from stoep_gateway.config import Config
from stoep_gateway.planning.days import local
from stoep_gateway.planning.selection import Decisions, Known

__all__ = [
    "AsNow",
    "Day",
    "Fixed",
    "MustGo",
    "Ours",
    "Policy",
    "Threshold",
    "fixed",
    "of_schedule",
    "tuned",
]

_LONGEST_DAYS = 21


@dataclass(frozen=True, slots=True)
class Day:
    """What a policy may know on a day's morning: containers by id, levels as the sensors tell."""

    number: int
    known: Mapping[str, Known]
    believed_pct: Mapping[str, float | None]
    now_ms: int
    next_ms: int


class Policy(Protocol):
    """Chooses the containers of a day.

    ``is_perfect``: it is told what will come; ``listens``: it asks what the sensors tell.
    """

    name: str
    is_perfect: bool = False
    listens: bool = True

    def decisions(self, day: Day) -> Decisions | None:
        """Return what has to be emptied and that nothing else is; None: the planner chooses."""


class Fixed(Policy):
    """Every container after its own number of days, on its own day of them."""

    listens = False

    def __init__(self, name: str, every: Mapping[str, int], phase: Mapping[str, int]) -> None:
        self.name = name
        self._every = every
        self._phase = phase

    def decisions(self, day: Day) -> Decisions:
        """Return those whose day it is."""
        due = {it for it, n in self._every.items() if day.number % n == self._phase[it]}
        return _only(due, day)


class AsNow(Policy):
    """By the city's own days. What falls on a day without rounds is emptied with those before."""

    name = "as now"
    listens = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self._days = schedules(config)

    def decisions(self, day: Day) -> Decisions:
        """Return those whose day it is."""
        first, end = (local(self._config, it).date() for it in (day.now_ms, day.next_ms))
        dates = [first + timedelta(number) for number in range(max(1, (end - first).days))]
        due = {name for name, its in self._days.items() if any(map(its.falls_on, dates))}
        return _only(due, day)


class Threshold(Policy):
    """All that are as full as that now."""

    def __init__(self, percent: float) -> None:
        self.name = f"at {percent:g} %"
        self._percent = percent

    def decisions(self, day: Day) -> Decisions:
        """Return those that are full."""
        levels = day.believed_pct.items()
        full = {it for it, level in levels if level is not None and level >= self._percent}
        return _only(full, day)


class MustGo(Policy):
    """All that overflow before the next rounds with that probability, by the forecast."""

    def __init__(self, percent: float) -> None:
        self.name = f"must-go at {percent:g} %"
        self._percent = percent

    def decisions(self, day: Day) -> Decisions:
        """Return those at risk."""
        outlooks = [(it, known.outlook) for it, known in day.known.items()]
        risky = {
            it
            for it, outlook in outlooks
            if outlook is not None and 100 * outlook.p_overflow_before(day.next_ms) >= self._percent
        }
        return _only(risky, day)


class Ours(Policy):
    """The planner's own choice."""

    def __init__(self, *, is_perfect: bool = False) -> None:
        self.is_perfect = is_perfect
        self.listens = not is_perfect
        self.name = "ours, perfect forecast" if is_perfect else "ours"

    def decisions(self, day: Day) -> None:
        """Leave it to the planner."""


def _only(names: set[str], day: Day) -> Decisions:
    return Decisions(included=names, excluded=day.believed_pct.keys() - names)


def fixed(config: Config, days: int) -> Fixed:
    """Return every container every so many days."""
    every = {container.id: days for container in config.containers}
    name = {7: "weekly", 14: "biweekly"}.get(days, f"every {days} days")
    return Fixed(name, every, _phases(config, every))


def of_schedule(config: Config) -> AsNow | None:
    """Return the city's own schedule; None if no container has one."""
    return AsNow(config) if schedules(config) else None


def tuned(config: Config, of_days: Mapping[str, Sequence[float]], risk: float) -> Fixed:
    """Return a schedule by what really came in past days: as seldom as a risk of overflow allows.

    ``of_days`` are points by container and day. The risk is that of one interval, by the normal
    distribution whose mean and spread are those of all intervals of that length in the past.
    """
    z = NormalDist().inv_cdf(1 - risk)
    every = {}
    for container in config.containers:
        days = of_days[container.id]
        longest = 1
        for length in range(2, min(_LONGEST_DAYS, len(days)) + 1):
            sums = [sum(days[at : at + length]) for at in range(len(days) - length + 1)]
            mean = sum(days) / len(days) * length
            spread = math.sqrt(sum((it - mean) ** 2 for it in sums) / len(sums))
            if mean + z * spread > 100:
                break
            longest = length
        every[container.id] = longest
    return Fixed(f"tuned, risk {risk:.0%}", every, _phases(config, every))


def _phases(config: Config, every: Mapping[str, int]) -> dict[str, int]:
    """Return the day of each, so that sectors around the yard are driven to on the same day."""
    yard = next(place for place in config.places if place.kind == "depot")
    angles = {
        it.id: math.atan2(it.lat - yard.lat, (it.lon - yard.lon) * math.cos(math.radians(it.lat)))
        for it in config.containers
    }
    order = sorted(angles, key=angles.__getitem__)
    share = {name: rank / len(order) for rank, name in enumerate(order)}
    return {name: int(share[name] * every[name]) for name in order}

"""What it takes to empty given containers on a day, by the router and prices of the plans. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from stoep_gateway.config import Config
from stoep_gateway.planning import planner, routes
from stoep_gateway.planning.routes import Answer, Question
from stoep_gateway.planning.selection import Decisions, Known
from stoep_gateway.report.figures import Trip

__all__ = ["Drive", "Driven", "router"]

_MOST_ITERATIONS = 200


class Driven(NamedTuple):
    """Trips, and when the truck is at each container; ``unfit`` are as many as did not fit in.

    What those would take is in the trips, by the mean of the others.
    """

    trips: tuple[Trip, ...]
    at_ms: Mapping[str, int]
    unfit: int = 0


Drive = Callable[[datetime.date, Mapping[str, float]], Driven]
"""Returns what emptying containers as full as that (percent) takes on a local day."""


class _AsFull:
    """The outlook of a container whose level is given."""

    doubt: str | None = None

    def __init__(self, fill_pct: float) -> None:
        self._fill_pct = fill_pct

    def level(self, at_ms: int, emptyings: Sequence[int] = ()) -> tuple[float, float, float]:
        return (self._fill_pct,) * 3

    def p_overflow_before(self, until_ms: int, emptyings: Sequence[int] = ()) -> float:
        return 0.0


def router(
    config: Config,
    answer: Callable[[Question, Callable[[], bool]], Answer] = routes.answer,
) -> Drive | None:
    """Return what drives with a configuration's trucks, None if it has none."""
    if not config.trucks:
        return None
    planning = config.planning
    quick = {"iterations": min(planning.iterations, _MOST_ITERATIONS), "solve_s": None}
    config = config.model_copy(update={"planning": planning.model_copy(update=quick)})
    names = {it.id for it in config.containers}
    # What was done is asked for twice: for the month, and for the comparison.
    found: dict[tuple[datetime.date, frozenset[tuple[str, float]]], Driven] = {}

    def drive(day: datetime.date, fills_pct: Mapping[str, float]) -> Driven:
        key = day, frozenset(fills_pct.items())
        if key not in found:
            found[key] = driven(day, fills_pct)
        return found[key]

    def driven(day: datetime.date, fills_pct: Mapping[str, float]) -> Driven:
        begin = datetime.datetime.combine(day, planning.at, tzinfo=config.timezone)
        begin_ms = round(begin.timestamp() * 1000)
        known = {name: Known(_AsFull(fill), begin_ms) for name, fill in fills_pct.items()}
        decisions = Decisions(included=set(fills_pct), excluded=names - fills_pct.keys())
        plan = planner.plan(known, config, begin_ms, decisions=decisions, answer=answer)
        at_ms = {
            stop.id: stop.eta_ms
            for of_truck in plan.rounds
            for stop in of_truck.stops
            if stop.action == "empty"
        }
        share = len(fills_pct) / len(at_ms) if at_ms else 1.0
        trips = [
            Trip(
                day,
                it.truck,
                tuple(stop.id for stop in it.stops if stop.action == "empty"),
                it.km * share,
                it.hours * share,
                it.eur * share,
            )
            for it in plan.rounds
            if it.containers
        ]
        late_ms = begin_ms + round(planning.service_min * 60_000)
        missing = fills_pct.keys() - at_ms.keys()
        return Driven(tuple(trips), at_ms | dict.fromkeys(missing, late_ms), len(missing))

    return drive

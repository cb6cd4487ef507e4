"""When each container is emptied next, by the plans in force. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stoep_gateway.collections.merging import WITHIN_MS
from stoep_gateway.planning.plan import Plan
from stoep_gateway.values import value

__all__ = ["Coming", "coming", "next_of"]


@value
class Coming:
    """A planned stop of a container: made if it was emptied from ``from_ms`` on, missed after
    ``until_ms``.

    ``told`` is what is published of it.
    """

    from_ms: int
    until_ms: int
    told: dict[str, object]


def coming(*plans: Plan | None) -> dict[str, tuple[Coming, ...]]:
    """Return the stops of plans by the container's id; the plans are in order of their dates."""
    found: dict[str, tuple[Coming, ...]] = {}
    for plan in filter(None, plans):
        for of_truck in plan.rounds:
            for stop in of_truck.stops:
                if stop.action != "empty" or stop.status != "planned":
                    continue
                told: dict[str, object] = {
                    "date": plan.date,
                    "truck": of_truck.truck,
                    "eta_utc": stop.eta_utc,
                    "sequence": stop.sequence,
                    "provisional": plan.provisional,
                }
                # Whoever planned knew of an emptying before; a truck may be hours early.
                from_ms = max(plan.planned_ms, stop.eta_ms - WITHIN_MS)
                it = Coming(from_ms, stop.eta_ms + WITHIN_MS, told)
                found[stop.id] = (*found.get(stop.id, ()), it)
    return found


def next_of(
    stops: Mapping[str, tuple[Coming, ...]], container: str, emptied_ms: int | None, now_ms: int
) -> dict[str, object] | None:
    """Return the first stop of a container that is still to be made, None if none is planned."""
    for stop in stops.get(container, ()):
        if now_ms <= stop.until_ms and (emptied_ms is None or emptied_ms < stop.from_ms):
            return stop.told
    return None

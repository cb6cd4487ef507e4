"""Plans made by hand, for what is held against them."""

from __future__ import annotations

from collections.abc import Iterable

from stoep_gateway.planning.plan import Plan, Round, Stop
from stoep_gateway.publish.messages import utc

DATE, NEXT_DATE = "2026-10-20", "2026-10-21"
START_MS = 1_792_468_800_000  # 2026-10-20T04:00:00Z: the rounds start
HOUR_MS = 3_600_000


def stop(container: str, hours: float, fill_pct: float | None = 80.0, sequence: int = 1) -> Stop:
    """Return a stop so many hours after `START_MS`."""
    at_utc = utc(START_MS + round(hours * HOUR_MS))
    where = (container, container, 0.0, 0.0)
    common = ("overflow_risk", 1.0, 1.0, at_utc, 100)
    return Stop(sequence, "empty", *where, *common, fill_pct=fill_pct, arrival_pct=fill_pct)


def plan(
    *,
    stops: Iterable[Stop] = (),
    truck: str = "truck-1",
    starts_h: float = 0,
    planned_h: float | None = None,
    provisional: bool = False,
) -> Plan:
    """Return a plan of one truck; of the next date if it starts in 24 hours or more."""
    starts_ms = START_MS + round(starts_h * HOUR_MS)
    planned_ms = START_MS if planned_h is None else START_MS + round(planned_h * HOUR_MS)
    stops = tuple(stops)
    sums = (len(stops), 0, 0, 0.0, 0.0, 0.0)
    at_utc = utc(starts_ms)
    status = "planned" if stops else "nothing_to_do"
    return Plan(
        site="street",
        date=DATE if starts_h < 24 else NEXT_DATE,
        planned_ms=planned_ms,
        starts_ms=starts_ms,
        next_round_ms=starts_ms + 24 * HOUR_MS,
        provisional=provisional,
        rounds=(Round(truck, status, stops, *sums, at_utc, 0.0, at_utc),),
        deferred=(),
        skipped=(),
        data_age_h=None,
        distance_source="none",
        solver="none",
        iterations=0,
        seed=0,
    )

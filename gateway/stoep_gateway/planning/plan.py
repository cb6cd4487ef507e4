"""What a plan says: the rounds of a day, and why each container is in one or is not. Pure.

`outputs` turns it into messages; the solver knows nothing of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from stoep_gateway.assets.registry import TOPIC_ROOT
from stoep_gateway.publish.messages import OutboxMessage, encode, utc

__all__ = ["LeftOut", "Plan", "Round", "Stop", "outputs"]


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop of a round: a container to empty, or a place to unload at.

    ``reason`` of an "empty": overflow_risk (100 % by the next round), threshold (reached now) or
    expected (reached by the next round); of an "unload": truck_full or end_of_round.
    ``load_after_l`` is in litres of the truck, ``volume_l`` in litres of loose waste.
    """

    sequence: int
    action: str
    id: str
    name: str
    lat: float
    lon: float
    reason: str
    leg_km: float
    leg_min: float
    eta_utc: str
    load_after_l: int
    volume_l: int | None = None
    fill_pct: float | None = None
    expected_pct: float | None = None
    data_age_h: float | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A container that no truck visits, and why.

    Deferred although it should be emptied: shift_too_short, larger_than_truck.
    Skipped: below_threshold, no_data.
    """

    container: str
    reason: str
    fill_pct: float | None
    expected_pct: float | None
    data_age_h: float | None


@dataclass(frozen=True, slots=True)
class Round:
    """One truck's ordered stops; distances and times from yard to yard.

    ``status`` is planned, nothing_to_do (no container is due), not_needed (other trucks do it
    all) or all_deferred.
    """

    truck: str
    status: str
    stops: tuple[Stop, ...]
    containers: int
    unloads: int
    volume_l: int
    km: float
    hours: float
    return_km: float
    return_utc: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The rounds of one local ``date``; there is one round per truck, an empty one at least."""

    site: str
    date: str
    planned_ms: int
    next_round_ms: int
    threshold_pct: float
    rounds: tuple[Round, ...]
    deferred: tuple[LeftOut, ...]
    skipped: tuple[LeftOut, ...]
    distance_source: str
    solver: str
    iterations: int
    seed: int


def outputs(plan: Plan) -> tuple[OutboxMessage, ...]:
    """Return one retained message per truck; the same plan gives the same event ids."""
    return tuple(_message(plan, truck_round) for truck_round in plan.rounds)


def _message(plan: Plan, truck_round: Round) -> OutboxMessage:
    name = f"{plan.date}/{truck_round.truck}"
    event_id = f"round/{plan.site}/{name}/{plan.planned_ms}"
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(plan.planned_ms),
            "date": plan.date,
            "truck": truck_round.truck,
            "status": truck_round.status,
            "threshold_pct": plan.threshold_pct,
            "next_round_utc": utc(plan.next_round_ms),
            "stops": [asdict(stop) for stop in truck_round.stops],
            "totals": {
                "containers": truck_round.containers,
                "unloads": truck_round.unloads,
                "volume_l": truck_round.volume_l,
                "km": truck_round.km,
                "hours": truck_round.hours,
                "return_km": truck_round.return_km,
                "return_utc": truck_round.return_utc,
            },
            "deferred": [asdict(left_out) for left_out in plan.deferred],
            "skipped": [asdict(left_out) for left_out in plan.skipped],
            "distance_source": plan.distance_source,
            "solver": plan.solver,
            "iterations": plan.iterations,
            "seed": plan.seed,
        }
    )
    topic = f"{TOPIC_ROOT}/{plan.site}/round/{name}"
    return OutboxMessage(topic, payload, True, "round", event_id)

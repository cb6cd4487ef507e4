"""What a plan says: the rounds of a day, and why each container is in one or is not. Pure.

`outputs` turns it into messages; the solver knows nothing of them.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from stoep_gateway.assets.registry import TOPIC_ROOT
from stoep_gateway.config_planning import SUMMARY
from stoep_gateway.publish.messages import OutboxMessage, encode, utc

__all__ = ["LeftOut", "Plan", "Round", "Stop", "dumps", "loads", "outputs"]


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop of a round: a container to empty, or a place to unload at.

    ``reason`` of an "empty" is manual, age, overflow_risk or on_the_way, of an "unload" truck_full
    or end_of_round. ``load_after_l`` is in litres of the truck, ``volume_l`` of loose waste.
    ``fill_pct`` is the level when the rounds start, ``arrival_pct`` the one at the ``eta_utc``, and
    ``p_overflow`` the probability that it overflows before the next rounds. Emptying it is worth
    ``prize_eur``; to leave it out would save ``detour_eur``. ``status`` is planned, done or skipped
    (the driver was there in vain), since ``done_utc`` if that was told.
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
    load_after_kg: int | None = None
    volume_l: int | None = None
    fill_pct: float | None = None
    arrival_pct: float | None = None
    p_overflow: float | None = None
    prize_eur: float | None = None
    detour_eur: float | None = None
    data_age_h: float | None = None
    doubt: str | None = None
    status: str = "planned"
    done_utc: str | None = None

    @property
    def eta_ms(self) -> int:
        """Return the ``eta_utc`` in milliseconds."""
        return round(datetime.datetime.fromisoformat(self.eta_utc).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A container that no truck visits, and why.

    Deferred although it should be emptied: shift_too_short, larger_than_truck, heavier_than_truck,
    too_far, window_missed, no_truck. Skipped: no_data, too_empty, not_worth_the_way (``prize_eur``
    is less than ``detour_eur``), excluded, skipped (a driver was there in vain), done.
    """

    container: str
    reason: str
    fill_pct: float | None
    expected_pct: float | None
    p_overflow: float | None
    prize_eur: float | None
    detour_eur: float | None
    data_age_h: float | None
    doubt: str | None


@dataclass(frozen=True, slots=True)
class Round:
    """One truck's ordered stops; distances and times from yard to yard.

    ``status`` is planned, done (all stops are), nothing_to_do (no container is worth the way),
    not_needed (other trucks do it all), all_deferred or out_of_service.
    """

    truck: str
    status: str
    stops: tuple[Stop, ...]
    containers: int
    unloads: int
    volume_l: int
    km: float
    hours: float
    eur: float
    leaves_utc: str
    return_km: float
    return_utc: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The rounds of one local ``date``; there is one round per truck, an empty one at least.

    ``provisional``: it is of another day, and will be made anew. ``data_age_h`` is the age of the
    oldest level that it rests on. ``notes`` say what people should know of the distances.
    """

    site: str
    date: str
    planned_ms: int
    starts_ms: int
    next_round_ms: int
    provisional: bool
    rounds: tuple[Round, ...]
    deferred: tuple[LeftOut, ...]
    skipped: tuple[LeftOut, ...]
    data_age_h: float | None
    distance_source: str
    solver: str
    iterations: int
    seed: int
    notes: tuple[str, ...] = ()


def dumps(plan: Plan) -> str:
    """Return a plan as JSON, for ``loads``."""
    return _adapter().dump_json(plan).decode()


def loads(text: str) -> Plan:
    """Return the plan that was written. Raises ``ValueError``."""
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"no plan: {where}: {first['msg']}") from None


@functools.cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def outputs(plan: Plan) -> tuple[OutboxMessage, ...]:
    """Return one retained message per truck and the summary; the same plan, the same event ids."""
    return (*(_round(plan, it) for it in plan.rounds), _summary(plan))


def _head(plan: Plan, last: str) -> tuple[str, str, dict[str, object]]:
    """Return topic, event id and the fields that both messages begin with."""
    name = f"{plan.date}/{last}"
    event_id = f"round/{plan.site}/{name}/{plan.planned_ms}"
    head: dict[str, object] = {
        "event_id": event_id,
        "time_utc": utc(plan.planned_ms),
        "date": plan.date,
        "provisional": plan.provisional,
    }
    return f"{TOPIC_ROOT}/{plan.site}/round/{name}", event_id, head


def _round(plan: Plan, it: Round) -> OutboxMessage:
    topic, event_id, head = _head(plan, it.truck)
    totals = _totals([it]) | {"return_km": it.return_km, "return_utc": it.return_utc}
    body = {
        "truck": it.truck,
        "status": it.status,
        "leaves_utc": it.leaves_utc,
        "stops": [asdict(stop) for stop in it.stops],
        "totals": totals,
        "distance_source": plan.distance_source,
    }
    payload = encode(head | body)
    return OutboxMessage(topic, payload, True, "round", event_id)


def _summary(plan: Plan) -> OutboxMessage:
    topic, event_id, head = _head(plan, SUMMARY)
    body = {
        "starts_utc": utc(plan.starts_ms),
        "next_round_utc": utc(plan.next_round_ms),
        "trucks": {it.truck: it.status for it in plan.rounds},
        "totals": _totals(plan.rounds),
        "deferred": [asdict(left_out) for left_out in plan.deferred],
        "skipped": [asdict(left_out) for left_out in plan.skipped],
        "data_age_h": plan.data_age_h,
        "distance_source": plan.distance_source,
        "solver": plan.solver,
        "iterations": plan.iterations,
        "seed": plan.seed,
        "notes": plan.notes,
    }
    payload = encode(head | body)
    return OutboxMessage(topic, payload, True, "round_summary", event_id)


def _totals(rounds: Sequence[Round]) -> dict[str, object]:
    return {
        "containers": sum(it.containers for it in rounds),
        "unloads": sum(it.unloads for it in rounds),
        "volume_l": sum(it.volume_l for it in rounds),
        "km": round(sum(it.km for it in rounds), 3),
        "hours": round(sum(it.hours for it in rounds), 2),
        "eur": round(sum(it.eur for it in rounds), 2),
    }

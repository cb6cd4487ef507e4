"""Rounds under way: a plan of which a part is done, and where its trucks are. Pure.

What is done stays in the plan, in the order in which it was done, before what is left to do::

    plan in force + facts of its day → stops done of each truck → Progress → planner → the rest
                                                  └─────────────── + ──────────────────┘
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from stoep_gateway.config import Config
from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.config_planning import PlaceConfig, TruckConfig
from stoep_gateway.insight.levels import loose_l
from stoep_gateway.planning import planner, routes
from stoep_gateway.planning.dispatch import Day, Decision
from stoep_gateway.planning.distances import straight_line_km
from stoep_gateway.planning.plan import LeftOut, Plan, Round, Stop
from stoep_gateway.planning.planner import Progress, prices
from stoep_gateway.planning.routes import Answer, Question
from stoep_gateway.planning.selection import Known, Running
from stoep_gateway.publish.messages import utc

__all__ = ["Solve", "following", "goes_as_planned", "marked", "replanned", "spent"]

_PUNCTUAL_MS = 15 * 60_000

Site = ContainerConfig | PlaceConfig
Solve = Callable[[Question, Callable[[], bool]], Answer]


def replanned(
    known: Mapping[str, Known],
    config: Config,
    now_ms: int,
    before: Plan | None,
    day: Day,
    running: Running,
    cancelled: Callable[[], bool] = bool,
    answer: Solve = routes.answer,
) -> Plan:
    """Return the plan from now on, with what is done; ``before`` is the one in force of its day.

    One that is provisional has not begun. Raises as `planner.plan`.
    """
    walk = _Walk(config, before, day)
    began = before is not None and not before.provisional
    rest = planner.plan(
        known,
        config,
        now_ms,
        decisions=day.decisions,
        running=running,
        progress=walk.progress(),
        began_ms=before.starts_ms if before is not None and began else None,
        before=None if before is None else walk.left(before),
        cancelled=cancelled,
        answer=answer,
    )
    if before is not None and began:
        rest = replace(rest, date=before.date, starts_ms=before.starts_ms)
    return walk.joined(rest)


def marked(config: Config, now_ms: int, before: Plan, day: Day) -> Plan:
    """Return the plan in force with what is done since; nothing else changes."""
    walk = _Walk(config, before, day)
    return walk.joined(replace(walk.left(before), planned_ms=now_ms))


def following(
    known: Mapping[str, Known],
    config: Config,
    now_ms: int,
    today: Plan,
    day: Day,
    running: Running,
    cancelled: Callable[[], bool] = bool,
    answer: Solve = routes.answer,
) -> Plan:
    """Return the provisional plan of the rounds after today's; ``day`` is what holds of theirs."""
    emptied = {
        stop.id: stop.eta_ms if stop.done_utc is None else _ms(stop.done_utc)
        for stop in _emptied(today)
    }
    return planner.plan(
        known,
        config,
        now_ms,
        starts_ms=today.next_round_ms,
        decisions=day.decisions,
        running=spent(today, running),
        emptied=emptied,
        cancelled=cancelled,
        answer=answer,
    )


def spent(plan: Plan, running: Running) -> Running:
    """Return running costs after the rounds of a plan."""
    fills = [100.0 if it.arrival_pct is None else it.arrival_pct for it in _emptied(plan)]
    return running.after(sum(it.eur for it in plan.rounds), fills)


def goes_as_planned(before: Plan, new: Iterable[Decision]) -> bool:
    """Whether decisions only say that trucks did what comes next, and when it was expected."""
    left = {
        it.truck: [stop for stop in it.stops if stop.status == "planned"] for it in before.rounds
    }
    for it in sorted(new, key=lambda it: it.order):
        stops = left.get(it.truck or "", [])
        while stops and it.container is not None and stops[0].action == "unload":
            stops.pop(0)
        if it.action != "done" or not stops or stops[0].id != (it.container or it.place):
            return False
        if abs(stops.pop(0).eta_ms - it.at_ms) > _PUNCTUAL_MS:
            return False
    return True


def _emptied(plan: Plan) -> list[Stop]:
    stops = (stop for it in plan.rounds for stop in it.stops)
    return [it for it in stops if it.action == "empty" and it.status != "skipped"]


def _ms(moment: str) -> int:
    return round(datetime.datetime.fromisoformat(moment).timestamp() * 1000)


class _Walk:
    """What trucks did on a day, along the stops of the plan in force."""

    def __init__(self, config: Config, before: Plan | None, day: Day) -> None:
        self._config = config
        self._before = {} if before is None else {it.truck: it for it in before.rounds}
        self._sites: dict[tuple[str, str], Site] = {
            ("empty", it.id): it for it in config.containers
        }
        self._sites |= {("unload", it.id): it for it in config.places}
        self._planned = {  # by container: its truck, and which of its stops
            stop.id: (it.truck, index)
            for it in self._before.values()
            for index, stop in enumerate(it.stops)
            if stop.action == "empty"
        }
        self._told = {
            it.container: "done" if it.action == "done" else "skipped"
            for it in day.facts
            if it.container is not None
        }
        self._done: dict[str, list[Stop]] = {}
        self._unloadings: set[tuple[str, int]] = set()  # of the plan, that are over
        self._loads: dict[str, tuple[int, int]] = {}
        for truck in config.trucks:
            facts = [it for it in day.facts if it.truck == truck.id]
            if facts:
                self._drive(truck, facts)

    def left(self, before: Plan) -> Plan:
        """Return the plan in force without what is done."""
        rounds = (
            replace(
                it,
                stops=tuple(
                    stop
                    if stop.status == "planned"
                    else replace(stop, status="planned", done_utc=None)
                    for index, stop in enumerate(it.stops)
                    if (it.truck, index) not in self._unloadings
                    and (stop.action == "unload" or stop.id not in self._told)
                ),
            )
            for it in before.rounds
        )
        return replace(before, rounds=tuple(rounds))

    def progress(self) -> dict[str, Progress]:
        """Return where trucks are that have done something, and what is in them."""
        found = {}
        for truck in self._config.trucks:
            done = self._done.get(truck.id, ())
            known = [it for it in done if (it.action, it.id) in self._sites]
            if known:
                load_l, load_kg = self._loads[truck.id]
                found[truck.id] = Progress(
                    known[-1].id,
                    min(load_l, int(truck.capacity_l * truck.compaction)),
                    load_kg if truck.capacity_kg is None else min(load_kg, truck.capacity_kg),
                    unloaded=known[-1].action == "unload",
                    driven_km=sum(it.leg_km for it in done),
                )
        return found

    def joined(self, rest: Plan) -> Plan:
        """Return the plan of what is done and of the rest."""
        trucks = {it.id: it for it in self._config.trucks}
        rounds = tuple(
            self._round(trucks[it.truck], self._done[it.truck], it)
            if self._done.get(it.truck)
            else it
            for it in rest.rounds
        )
        left = {it.container: it for it in (*rest.deferred, *rest.skipped)}
        shown = {stop.id for it in rounds for stop in it.stops if stop.action == "empty"}
        elsewhere = [  # by nobody knows which truck
            replace(left[name], reason=reason)
            if name in left
            else LeftOut(name, reason, None, None, None, None, None, None, None)
            for name, reason in self._told.items()
            if name not in shown and ("empty", name) in self._sites
        ]
        skipped = [it for it in rest.skipped if it.container not in self._told]
        order = {it.id: number for number, it in enumerate(self._config.containers)}
        skipped = sorted([*skipped, *elsewhere], key=lambda it: order.get(it.container, -1))
        deferred = tuple(it for it in rest.deferred if it.container not in self._told)
        return replace(rest, rounds=rounds, deferred=deferred, skipped=tuple(skipped))

    def _drive(self, truck: TruckConfig, facts: Sequence[Decision]) -> None:
        """Follow a truck from stop to stop."""
        planned = self._before[truck.id].stops if truck.id in self._before else ()
        done = self._done[truck.id] = []
        load_l = load_kg = 0
        for fact in facts:
            if fact.container is None:
                index = self._next_unloading(truck, planned, fact.place)
                load_l = load_kg = 0
            else:
                of_truck, index = self._planned.get(fact.container, ("", None))
                if of_truck != truck.id:
                    index = None
                if index is not None and self._unload_before(truck, planned, index):
                    load_l = load_kg = 0
            stop = self._stop(truck, planned, index, fact)
            if stop is None:  # neither in the plan nor, any more, in the configuration
                continue
            if fact.container is not None and fact.action == "done":
                stop, more_l, more_kg = self._emptied(stop, fact)
                load_l, load_kg = load_l + more_l, load_kg + more_kg
            done.append(
                replace(
                    stop,
                    status="done" if fact.action == "done" else "skipped",
                    done_utc=utc(fact.at_ms),
                    load_after_l=round(load_l / truck.compaction),
                    load_after_kg=load_kg if self._is_weighed() else None,
                )
            )
        self._loads[truck.id] = load_l, load_kg

    def _next_unloading(
        self, truck: TruckConfig, planned: Sequence[Stop], place: str | None
    ) -> int | None:
        """Return which planned unloading one at that place is."""
        for index, stop in enumerate(planned):
            is_it = stop.action == "unload" and stop.id == place
            if is_it and (truck.id, index) not in self._unloadings:
                self._unloadings.add((truck.id, index))
                return index
        return None

    def _unload_before(self, truck: TruckConfig, planned: Sequence[Stop], index: int) -> bool:
        """Take unloadings before a stop as done if the truck came by them, as planned.

        Drivers say of containers that they are done.
        """
        done = self._done[truck.id]
        first = index
        while first and planned[first - 1].action == "unload":
            first -= 1
        if first in (0, index) or not done or not _is_same(done[-1], planned[first - 1]):
            return False
        for it in range(first, index):
            self._unloadings.add((truck.id, it))
            done.append(replace(planned[it], status="done", done_utc=None))
        return True

    def _stop(
        self, truck: TruckConfig, planned: Sequence[Stop], index: int | None, fact: Decision
    ) -> Stop | None:
        """Return the stop at which something was done, and how it was reached."""
        done = self._done[truck.id]
        if index is not None:
            stop = planned[index]
            if _is_same(done[-1] if done else None, planned[index - 1] if index else None):
                return stop
        else:
            key = ("unload", fact.place) if fact.container is None else ("empty", fact.container)
            found = self._of_another(fact.container) or self._made(key, fact)
            if found is None:
                return None
            stop = found
        km = self._km(done[-1] if done else self._yard(truck), stop)
        return replace(stop, leg_km=km, leg_min=round(60 * km / self._config.planning.speed_kmh, 1))

    def _of_another(self, container: str | None) -> Stop | None:
        """Return the stop that was another truck's."""
        truck, index = self._planned.get(container or "", ("", 0))
        return self._before[truck].stops[index] if truck else None

    def _made(self, key: tuple[str, str | None], fact: Decision) -> Stop | None:
        """Return a stop that nobody had planned."""
        site = self._sites.get((key[0], key[1] or ""))
        if site is None:
            return None
        where = (site.id, site.name or site.id, site.lat, site.lon)
        reason = "manual" if key[0] == "empty" else "truck_full"
        return Stop(0, key[0], *where, reason, 0.0, 0.0, utc(fact.at_ms), 0)

    def _emptied(self, stop: Stop, fact: Decision) -> tuple[Stop, int, int]:
        """Return the stop with what was taken, and what that is to the truck: litres and kg."""
        container = self._sites.get(("empty", stop.id))
        if not isinstance(container, ContainerConfig):
            return stop, stop.volume_l or 0, round(fact.weight_kg or 0)
        volume_l = stop.volume_l
        if volume_l is None or fact.fill_pct is not None:  # room for a full one if nobody knows
            fill_pct = 100.0 if fact.fill_pct is None else fact.fill_pct
            volume_l = max(1, loose_l(container.capacity_l, container.compaction, fill_pct, None))
        weights = (it.kg_per_m3 for it in self._config.fractions if it.id == container.fraction)
        kg = volume_l * next(weights, 0.0) / 1000 if fact.weight_kg is None else fact.weight_kg
        is_exchanged = any(it.exchanged for it in self._config.kinds if it.id == container.kind)
        more_l = container.capacity_l if is_exchanged else volume_l
        return replace(stop, volume_l=volume_l), more_l, round(kg)

    def _round(self, truck: TruckConfig, done: list[Stop], rest: Round) -> Round:
        """Return a round of what is done and what is left."""
        old = self._before.get(truck.id)
        last = done[-1]
        stops = [
            it if it.sequence == n else replace(it, sequence=n)
            for n, it in enumerate((*done, *rest.stops), 1)
        ]
        return_km, return_utc = rest.return_km, rest.return_utc
        status = "planned"
        if not rest.stops:
            status = "out_of_service" if rest.status == "out_of_service" else "done"
            last_ms = max(_ms(it.done_utc) for it in done if it.done_utc is not None)
            if status == "out_of_service":
                return_km, return_utc = 0.0, utc(last_ms)
            elif old is not None and old.stops and _is_same(old.stops[-1], last):
                return_km, return_utc = old.return_km, old.return_utc
            else:
                return_km = self._km(last, self._yard(truck))
                hours = return_km / self._config.planning.speed_kmh
                return_utc = utc(last_ms + round(hours * 3_600_000))
        first_utc = min(it.done_utc for it in done if it.done_utc is not None)
        leaves_utc = first_utc if old is None else min(first_utc, old.leaves_utc)
        km = sum(it.leg_km for it in stops) + return_km
        hours = max(0.0, (_ms(return_utc) - _ms(leaves_utc)) / 3_600_000)
        per_km, per_h, fixed = prices(self._config.planning, truck)
        emptied = [it for it in stops if it.action == "empty" and it.status != "skipped"]
        return Round(
            truck.id,
            status,
            tuple(stops),
            len(emptied),
            sum(it.action == "unload" for it in stops),
            sum(it.volume_l or 0 for it in emptied),
            round(km, 3),
            round(hours, 2),
            round(per_km * km + per_h * hours + fixed, 2),
            leaves_utc,
            return_km,
            return_utc,
        )

    def _is_weighed(self) -> bool:
        return any(it.capacity_kg is not None for it in self._config.trucks)

    def _yard(self, truck: TruckConfig) -> Site:
        return self._sites["unload", truck.depot]

    def _km(self, start: Stop | Site, end: Stop | Site) -> float:
        """Return kilometres by the table, if it has them, else estimated."""
        table = self._config.distances
        if table is not None:
            from_id, to_id = self._table_id(start), self._table_id(end)
            if from_id in table and to_id in table:
                return table.km[from_id][to_id]
        straight = straight_line_km(start.lat, start.lon, end.lat, end.lon)
        return round(self._config.planning.detour_factor * straight, 3)

    def _table_id(self, it: Stop | Site) -> int:
        site = self._sites.get((it.action, it.id)) if isinstance(it, Stop) else it
        return -1 if site is None or site.distance_index is None else site.distance_index


def _is_same(one: Stop | None, other: Stop | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.action, one.id) == (other.action, other.id)

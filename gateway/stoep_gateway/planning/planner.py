"""Which containers to empty on a day, by which truck, in what order, and why. Pure.

::

    what is known of containers → cases → Question → tours → Plan
                                             ↑ places, trucks, hours, decisions

`plan` always answers: what cannot be done is deferred with its reason, and a day on which nothing
is worth the way has rounds that say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from stoep_gateway.config import Config
from stoep_gateway.config_model import ContainerConfig
from stoep_gateway.config_planning import KindConfig, PlaceConfig, PlanningConfig, TruckConfig
from stoep_gateway.planning import routes
from stoep_gateway.planning.days import date_of, round_at, seconds_of, windows_s
from stoep_gateway.planning.distances import Point
from stoep_gateway.planning.plan import LeftOut, Plan, Round, Stop, outputs
from stoep_gateway.planning.problem import MONEY_PER_EUR, Course, Disposal, Tour, Truck, Visit
from stoep_gateway.planning.routes import Answer, Question
from stoep_gateway.planning.selection import Case, Decisions, Known, Running, cases, obstacle
from stoep_gateway.planning.ways import Ways
from stoep_gateway.publish.messages import utc

__all__ = ["Plan", "Progress", "outputs", "plan", "prices"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A truck on its way: where it was last, and what is in it, in litres of loose waste.

    It was last at a container, or, with ``unloaded``, at a place.
    """

    at: str
    load_l: int
    load_kg: int = 0
    unloaded: bool = False
    driven_km: float = 0.0


def plan(
    known: Mapping[str, Known],
    config: Config,
    now_ms: int,
    *,
    starts_ms: int | None = None,
    decisions: Decisions | None = None,
    running: Running | None = None,
    emptied: Mapping[str, int] | None = None,
    progress: Mapping[str, Progress] | None = None,
    began_ms: int | None = None,
    before: Plan | None = None,
    cancelled: Callable[[], bool] = bool,
    answer: Callable[[Question, Callable[[], bool]], Answer] = routes.answer,
) -> Plan:
    """Return the plan of rounds that start now, or at ``starts_ms``, which is then provisional.

    ``known`` is by container id, ``emptied`` what an earlier plan empties and when, ``progress`` by
    truck id. Rounds that are under way, and so their shifts, ``began_ms``. The search starts from
    ``before``, a plan of the same day. The same arguments give the same plan, unless ``[planning]
    solve_s`` ends the search. Takes seconds of one core for hundreds of containers, so call it off
    the event loop; once ``cancelled()`` is true it ends soon, with a plan to throw away.

    Raises ValueError if the configuration has no truck.
    """
    if not config.trucks:
        raise ValueError("a round needs at least one truck")
    begin_ms = now_ms if starts_ms is None else starts_ms
    next_ms = round_at(config, begin_ms)
    said = decisions or Decisions()
    found = cases(config, known, begin_ms, next_ms, said, running or Running(), emptied or {})
    wanted = [it for it in found if it.wanted]
    day = _Day(config, wanted, begin_ms, began_ms, said, progress or {}, before)
    solved = answer(day.question, cancelled)
    rounds = day.rounds(solved)
    left = [
        *day.left_out(solved),
        *(_left_out(it, it.reason, None) for it in found if not it.wanted),
    ]
    order = {container.id: index for index, container in enumerate(config.containers)}
    left.sort(key=lambda it: order[it.container])
    ages = [it.level.data_age_h for it in found if it.level is not None]
    return Plan(
        site=config.site,
        date=date_of(config, begin_ms),
        planned_ms=now_ms,
        starts_ms=begin_ms,
        next_round_ms=next_ms,
        provisional=starts_ms is not None,
        rounds=rounds,
        deferred=tuple(it for it in left if it.reason in _DEFERRED),
        skipped=tuple(it for it in left if it.reason not in _DEFERRED),
        data_age_h=round(max(ages), 1) if ages else None,
        distance_source=solved.distance_source,
        notes=solved.notes,
        solver=solved.solver,
        iterations=config.planning.iterations,
        seed=config.planning.seed,
    )


_DEFERRED = frozenset(
    {
        "shift_too_short",
        "larger_than_truck",
        "heavier_than_truck",
        "too_far",
        "window_missed",
        "no_truck",
    }
)


def _left_out(case: Case, reason: str, detour: int | None) -> LeftOut:
    level = case.level
    return LeftOut(
        case.container.id,
        reason,
        None if level is None else round(level.fill_pct, 1),
        None if level is None else round(level.expected_pct, 1),
        None if level is None else round(level.p_overflow, 3),
        _eur(case.prize) if case.wanted else None,
        None if detour is None else _eur(detour),
        None if level is None else round(level.data_age_h, 1),
        None if level is None else level.doubt,
    )


def _eur(money: int) -> float:
    return round(money / MONEY_PER_EUR, 2)


def _point(site: ContainerConfig | PlaceConfig) -> Point:
    near = isinstance(site, ContainerConfig) and site.side == "near"
    return Point(site.lat, site.lon, site.distance_index, near, site.id)


def _ways(config: Config) -> Ways | None:
    planning = config.planning
    if planning.roads is None and planning.osrm is None:
        return None
    return Ways(
        roads=None if planning.roads is None else str(planning.roads),
        osrm=planning.osrm,
        left=planning.drives_on == "left",
        tonnes=planning.truck_t,
        height_m=planning.truck_height_m,
        folder=str(config.store.path.parent),
        places=[*map(_point, config.containers), *map(_point, config.places)],
    )


def prices(planning: PlanningConfig, truck: TruckConfig) -> tuple[float, float, float]:
    """Return what a truck costs in euros per kilometre, per hour and per round."""
    return (
        planning.eur_per_km if truck.eur_per_km is None else truck.eur_per_km,
        planning.eur_per_h if truck.eur_per_h is None else truck.eur_per_h,
        planning.eur_per_round if truck.eur_per_round is None else truck.eur_per_round,
    )


class _Day:
    """The question of a day, and the way back from its answer to rounds."""

    def __init__(
        self,
        config: Config,
        wanted: Sequence[Case],
        begin_ms: int,
        began_ms: int | None,
        decisions: Decisions,
        progress: Mapping[str, Progress],
        before: Plan | None,
    ) -> None:
        self._config = config
        self._begin_ms = begin_ms
        self._began_ms = began_ms
        self._trucks = [it for it in config.trucks if it.id not in decisions.trucks_out]
        self._locked = decisions.locked
        self._wanted = [self._fitting(it) for it in wanted]
        used = {name for truck in self._trucks for name in truck.disposal}
        places = {place.id: place for place in config.places}
        self._disposals = [it for it in config.places if it.id in used]
        yards = [places[truck.depot] for truck in self._trucks]
        containers = {it.id: it for it in config.containers}
        starts: list[ContainerConfig | PlaceConfig] = [
            yard
            if (on_way := progress.get(truck.id)) is None
            else (places if on_way.unloaded else containers)[on_way.at]
            for truck, yard in zip(self._trucks, yards, strict=True)
        ]
        sites: list[ContainerConfig | PlaceConfig] = [it.container for it in wanted]
        sites += self._disposals
        rows: dict[str, int] = {}  # of a place that several share, by what it is
        for site in (*yards, *starts):
            if f"{type(site)} {site.id}" not in rows:
                rows[f"{type(site)} {site.id}"] = len(sites)
                sites.append(site)
        self._kg = any(truck.capacity_kg is not None for truck in self._trucks)
        planning = config.planning
        self.question = Question(
            points=[_point(it) for it in sites],
            visits=[self._visit(number, it) for number, it in enumerate(self._wanted)],
            disposals=[
                Disposal(len(wanted) + number, *self._opening(it))
                for number, it in enumerate(self._disposals)
            ],
            trucks=[
                self._truck(
                    truck,
                    rows[f"{type(start)} {start.id}"],
                    rows[f"{type(yard)} {yard.id}"],
                    progress.get(truck.id),
                )
                for truck, start, yard in zip(self._trucks, starts, yards, strict=True)
            ],
            start=self._tours(before),
            km=None if config.distances is None else config.distances.km,
            detour_factor=planning.detour_factor,
            speed_kmh=planning.speed_kmh,
            iterations=planning.iterations,
            seconds=planning.solve_s,
            seed=planning.seed,
            ways=_ways(config),
        )

    def _may(self, container: ContainerConfig) -> tuple[int, ...]:
        """Return the trucks that may empty a container."""
        locked = self._locked.get(container.id)
        return tuple(
            index
            for index, truck in enumerate(self._trucks)
            if locked in (None, truck.id) and obstacle(truck, container) is None
        )

    def _fitting(self, case: Case) -> Case:
        """Return a case; as just full, if it is more that is too much for every truck.

        That lies beside the container, or is the guess of a forecast without levels.
        """
        kind = self._kind(case.container)
        if case.level is None or case.level.fill_pct <= 100 or (kind and kind.exchanged):
            return case
        for index in self._may(case.container):
            truck = self._trucks[index]
            fits_kg = truck.capacity_kg is None or case.weight_kg <= truck.capacity_kg
            if fits_kg and case.volume_l <= int(truck.capacity_l * truck.compaction):
                return case
        share = 100 / case.level.fill_pct
        return replace(
            case,
            volume_l=round(share * case.volume_l),
            weight_kg=round(share * case.weight_kg),
        )

    def _kind(self, container: ContainerConfig) -> KindConfig | None:
        return next((it for it in self._config.kinds if it.id == container.kind), None)

    def _visit(self, number: int, case: Case) -> Visit:
        container, config = case.container, self._config
        kind = self._kind(container)
        service_min = config.planning.service_min
        if kind is not None and kind.service_min is not None:
            service_min = kind.service_min
        may = self._may(container)
        return Visit(
            place=number,
            service_s=round(60 * service_min),
            load_l=container.capacity_l if kind is not None and kind.exchanged else case.volume_l,
            load_kg=case.weight_kg if self._kg else 0,
            prize=case.prize,
            required=case.required,
            windows=windows_s(config, container.windows, self._begin_ms),
            trucks=None if len(may) == len(self._trucks) else may,
        )

    def _opening(self, place: PlaceConfig) -> tuple[int, ...]:
        if place.open is None:
            return ()
        return windows_s(self._config, [place.open], self._begin_ms)[0]

    def _truck(self, truck: TruckConfig, start: int, home: int, progress: Progress | None) -> Truck:
        planning = self._config.planning
        per_km, per_h, fixed = prices(planning, truck)
        began_ms = self._begin_ms if self._began_ms is None else self._began_ms
        ago_s = (self._begin_ms - began_ms) // 1000
        starts_s = seconds_of(self._config, truck.starts or planning.at, began_ms) - ago_s
        names = [it.id for it in self._disposals]
        shift_s = round(3600 * truck.shift_h - 60 * truck.break_min)
        longest_m = None if truck.range_km is None else round(1000 * truck.range_km)
        if self._began_ms is not None:  # late, maybe, and then nobody's shift began before
            shift_s = max(0, shift_s + min(0, max(starts_s, -ago_s)))
        elif progress is not None:  # it left when its shift began
            shift_s = max(0, shift_s + min(0, starts_s))
        if progress is not None:
            fixed = 0.0
            if longest_m is not None:
                longest_m = max(0, longest_m - round(1000 * progress.driven_km))
        return Truck(
            start=start,
            home=home,
            disposals=tuple(names.index(name) for name in truck.disposal),
            capacity_l=int(truck.capacity_l * truck.compaction),
            unload_s=round(60 * truck.unload_min),
            shift_s=shift_s,
            per_m=round(per_km * MONEY_PER_EUR / 1000),
            per_s=round(per_h * MONEY_PER_EUR / 3600),
            fixed=round(fixed * MONEY_PER_EUR),
            capacity_kg=truck.capacity_kg,
            longest_m=longest_m,
            earliest_s=0 if truck.starts is None else max(0, starts_s),
            load_l=0 if progress is None else progress.load_l,
            load_kg=0 if progress is None else progress.load_kg,
        )

    def _tours(self, before: Plan | None) -> list[Tour]:
        """Return what is left of the tours of a plan."""
        if before is None:
            return []
        visits = {it.container.id: number for number, it in enumerate(self._wanted)}
        sites = {it.id: ~number for number, it in enumerate(self._disposals)}
        tours = {
            it.truck: tuple(
                number
                for stop in it.stops
                if (number := (visits if stop.action == "empty" else sites).get(stop.id))
                is not None
            )
            for it in before.rounds
        }
        return [tours.get(truck.id, ()) for truck in self._trucks]

    def left_out(self, solved: Answer) -> list[LeftOut]:
        """Return the containers that are worth a visit, and get none."""
        visited = {stop for tour in solved.tours for stop in tour}
        found = []
        for number, case in enumerate(self._wanted):
            if number in visited:
                continue
            reason = solved.impossible.get(number)
            if reason is None:
                detour = solved.detours[number]
                reason = "shift_too_short" if detour is None else "not_worth_the_way"
            found.append(_left_out(case, reason, solved.detours[number]))
        return found

    def rounds(self, solved: Answer) -> tuple[Round, ...]:
        """Return the round of every truck."""
        driven = {
            truck.id: (tour, course)
            for truck, tour, course in zip(self._trucks, solved.tours, solved.courses, strict=True)
        }
        is_required = any(case.required for case in self._wanted)
        idle = "not_needed" if any(solved.tours) else "nothing_to_do"
        if is_required and not any(solved.tours):
            idle = "all_deferred"
        return tuple(
            self._round(truck, *driven[truck.id], idle, solved.detours)
            if truck.id in driven
            else self._idle(truck, "out_of_service")
            for truck in self._config.trucks
        )

    def _idle(self, truck: TruckConfig, status: str) -> Round:
        at_utc = utc(self._begin_ms)
        return Round(truck.id, status, (), 0, 0, 0, 0.0, 0.0, 0.0, at_utc, 0.0, at_utc)

    def _round(
        self,
        truck: TruckConfig,
        tour: Tour,
        course: Course,
        idle: str,
        detours: Sequence[int | None],
    ) -> Round:
        if not tour:
            return self._idle(truck, idle)
        stops = []
        volume_l = 0
        for position, number in enumerate(tour):
            leg = course.legs[position]
            eta_ms = self._begin_ms + 1000 * leg.arrives_s
            common = (round(leg.metres / 1000, 3), round(leg.seconds / 60, 1), utc(eta_ms))
            load_l = round(leg.load_l / truck.compaction)
            load_kg = leg.load_kg if self._kg else None
            if number < 0:
                site = self._disposals[~number]
                name = site.name or site.id
                reason = "end_of_round" if position == len(tour) - 1 else "truck_full"
                where = (site.id, name, site.lat, site.lon)
                stops.append(Stop(position + 1, "unload", *where, reason, *common, load_l, load_kg))
                continue
            case = self._wanted[number]
            container, level = case.container, case.level
            volume_l += case.volume_l
            where = (container.id, container.name or container.id, container.lat, container.lon)
            detour = detours[number]
            stops.append(
                Stop(
                    position + 1,
                    "empty",
                    *where,
                    case.reason,
                    *common,
                    load_l,
                    load_kg,
                    case.volume_l,
                    None if level is None else round(level.fill_pct, 1),
                    None if level is None else round(level.at(eta_ms), 1),
                    None if level is None else round(level.p_overflow, 3),
                    _eur(case.prize),
                    None if detour is None else _eur(detour),
                    None if level is None else round(level.data_age_h, 1),
                    None if level is None else level.doubt,
                )
            )
        return Round(
            truck.id,
            "planned",
            tuple(stops),
            sum(stop >= 0 for stop in tour),
            sum(stop < 0 for stop in tour),
            volume_l,
            round(course.metres / 1000, 3),
            round(course.seconds / 3600, 2),
            _eur(course.cost),
            utc(self._begin_ms + 1000 * course.leaves_s),
            round(course.legs[-1].metres / 1000, 3),
            utc(self._begin_ms + 1000 * course.legs[-1].arrives_s),
        )

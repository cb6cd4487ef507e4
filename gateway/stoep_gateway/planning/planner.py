"""Which containers to empty today, by which truck, in what order, and why. Pure.

Due is a container that has reached the threshold, or is expected to before the round after this
one. `plan` always answers: what cannot be done is deferred with its reason, and a day on which
nothing is due has a round that says so.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stoep_gateway.assets.states import AssetState, ContainerState
from stoep_gateway.config import Config
from stoep_gateway.config_model import ContainerConfig, PlaceConfig, TruckConfig
from stoep_gateway.insight import filling
from stoep_gateway.insight.levels import loose_l
from stoep_gateway.planning import routing
from stoep_gateway.planning.distances import Point, matrix_m
from stoep_gateway.planning.plan import LeftOut, Plan, Round, Stop, outputs
from stoep_gateway.publish.messages import utc

__all__ = ["Plan", "next_round_ms", "outputs", "plan"]

_HOUR_MS = 3_600_000
_OVERFLOW_PCT = 100.0
_URGENCY = {"overflow_risk": 4.0, "threshold": 2.0, "expected": 1.0}


@dataclass(frozen=True, slots=True)
class _Due:
    """A container that should be emptied, and its litres of loose waste."""

    container: ContainerConfig
    reason: str
    fill_pct: float
    expected_pct: float
    data_age_h: float
    volume_l: int


def plan(
    states: Mapping[str, AssetState],
    config: Config,
    now_utc_ms: int,
    cancelled: Callable[[], bool] = bool,
    solve: Callable[..., list[list[int]]] = routing.solve,
) -> Plan:
    """Return the plan that starts now; ``states`` by asset key ("container/ID") as stored.

    The same arguments give the same plan. Takes about a second of one core for a thousand
    iterations on a hundred containers, so call it off the event loop; once ``cancelled()`` is
    true it ends soon, with a plan to throw away.

    Raises ValueError if the configuration has no truck.
    """
    if not config.trucks:
        raise ValueError("a round needs at least one truck")
    next_ms = next_round_ms(config, now_utc_ms)
    due, skipped = _select(states, config, now_utc_ms, next_ms)
    places = {place.id: place for place in config.places}
    largest_l = max(map(_loose_capacity_l, config.trucks))
    fitting = [it for it in due if it.volume_l <= largest_l]
    deferred = [_left_out(it, "larger_than_truck") for it in due if it.volume_l > largest_l]
    routes = _Routes(fitting, places, config)
    planning = config.planning
    tours = solve(routes.problem, planning.iterations, planning.seed, cancelled)
    visited = {visit for tour in tours for visit in tour}
    deferred += [
        _left_out(it, "shift_too_short")
        for number, it in enumerate(fitting)
        if number not in visited
    ]
    idle = "all_deferred" if due else "nothing_to_do"
    if visited:
        idle = "not_needed"
    return Plan(
        site=config.site,
        date=_local(config, now_utc_ms).date().isoformat(),
        planned_ms=now_utc_ms,
        next_round_ms=next_ms,
        threshold_pct=planning.threshold_pct,
        rounds=tuple(
            routes.round(number, tour, now_utc_ms, idle) for number, tour in enumerate(tours)
        ),
        deferred=tuple(deferred),
        skipped=tuple(skipped),
        distance_source=routes.distance_source,
        solver=routing.SOLVER,
        iterations=planning.iterations,
        seed=planning.seed,
    )


def next_round_ms(config: Config, after_utc_ms: int) -> int:
    """Return when the next round is planned: ``planning.at`` local time, after the given time.

    A local time that a change of clocks leaves out is taken at the offset before the change.
    """
    today = _local(config, after_utc_ms).date()
    for days in (0, 1, 2):
        day = today + datetime.timedelta(days=days)
        local = datetime.datetime.combine(day, config.planning.at, tzinfo=config.timezone)
        at_ms = round(local.timestamp()) * 1000
        if at_ms > after_utc_ms:
            return at_ms
    raise AssertionError("a day has less than 48 hours")


def _local(config: Config, utc_ms: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(utc_ms / 1000, tz=config.timezone)


def _select(
    states: Mapping[str, AssetState], config: Config, now_ms: int, next_ms: int
) -> tuple[list[_Due], list[LeftOut]]:
    threshold_pct = config.planning.threshold_pct
    due: list[_Due] = []
    skipped: list[LeftOut] = []
    for container in config.containers:
        state = states.get(f"container/{container.id}")
        track = state.track if isinstance(state, ContainerState) else None
        if track is None:
            skipped.append(LeftOut(container.id, "no_data", None, None, None))
            continue
        fill_pct = round(filling.level_at(track, now_ms), 1)
        expected_pct = round(filling.level_at(track, next_ms), 1)
        data_age_h = round(max(0, now_ms - track.at_ms) / _HOUR_MS, 1)
        if expected_pct < threshold_pct:
            reason = "below_threshold"
            skipped.append(LeftOut(container.id, reason, fill_pct, expected_pct, data_age_h))
            continue
        if expected_pct >= _OVERFLOW_PCT:
            reason = "overflow_risk"
        else:
            reason = "threshold" if fill_pct >= threshold_pct else "expected"
        press = state.press if isinstance(state, ContainerState) else None
        volume_l = max(1, loose_l(container.capacity_l, container.compaction, fill_pct, press))
        due.append(_Due(container, reason, fill_pct, expected_pct, data_age_h, volume_l))
    return due, skipped


def _left_out(due: _Due, reason: str) -> LeftOut:
    return LeftOut(due.container.id, reason, due.fill_pct, due.expected_pct, due.data_age_h)


def _loose_capacity_l(truck: TruckConfig) -> int:
    return int(truck.capacity_l * truck.compaction)


class _Routes:
    """The routing problem of the containers due, and the way back from tours to rounds."""

    def __init__(self, due: list[_Due], places: Mapping[str, PlaceConfig], config: Config) -> None:
        self._due = due
        self._trucks = config.trucks
        self._depots = [places[truck.depot] for truck in config.trucks]
        self._disposals = [places[truck.disposal] for truck in config.trucks]
        planning = config.planning
        sites: list[ContainerConfig | PlaceConfig] = [it.container for it in due]
        sites += self._depots
        sites += self._disposals
        points = [Point(site.lat, site.lon, site.distance_index) for site in sites]
        distances_m, self.distance_source = matrix_m(
            points, config.distances, planning.detour_factor
        )
        self.problem = routing.Problem(
            distances_m,
            [[round(metres * 3.6 / planning.speed_kmh) for metres in row] for row in distances_m],
            [
                routing.Visit(
                    number,
                    it.volume_l,
                    round(60 * planning.service_min),
                    _URGENCY[it.reason] + it.expected_pct / 1000,
                )
                for number, it in enumerate(due)
            ],
            [
                routing.Truck(
                    len(due) + number,
                    len(due) + len(config.trucks) + number,
                    _loose_capacity_l(truck),
                    round(3600 * truck.shift_h),
                    round(60 * truck.unload_min),
                )
                for number, truck in enumerate(config.trucks)
            ],
        )

    def round(self, number: int, tour: list[int], start_ms: int, idle: str) -> Round:
        """Return the round of a truck from its tour."""
        truck = self._trucks[number]
        model = self.problem.trucks[number]
        place, at_s, metres, load_l, volume_l = model.depot, 0, 0, 0, 0
        stops = []
        for position, visit in enumerate(tour):
            unloads = visit == routing.UNLOAD
            target = model.disposal if unloads else self.problem.visits[visit].place
            leg_m = self.problem.distances_m[place][target]
            leg_s = self.problem.durations_s[place][target]
            at_s += leg_s
            metres += leg_m
            leg_km, leg_min = round(leg_m / 1000, 3), round(leg_s / 60, 1)
            eta_utc = utc(start_ms + 1000 * at_s)
            if unloads:
                load_l = 0
                site = self._disposals[number]
                reason = "end_of_round" if position == len(tour) - 1 else "truck_full"
                stops.append(
                    Stop(
                        position + 1,
                        "unload",
                        site.id,
                        site.name or site.id,
                        site.lat,
                        site.lon,
                        reason,
                        leg_km,
                        leg_min,
                        eta_utc,
                        0,
                    )
                )
                at_s += model.unload_s
            else:
                due = self._due[visit]
                load_l += due.volume_l
                volume_l += due.volume_l
                container = due.container
                stops.append(
                    Stop(
                        position + 1,
                        "empty",
                        container.id,
                        container.name or container.id,
                        container.lat,
                        container.lon,
                        due.reason,
                        leg_km,
                        leg_min,
                        eta_utc,
                        math.ceil(load_l / truck.compaction),
                        due.volume_l,
                        due.fill_pct,
                        due.expected_pct,
                        due.data_age_h,
                    )
                )
                at_s += self.problem.visits[visit].service_s
            place = target
        return_m = self.problem.distances_m[place][model.depot]
        metres += return_m
        at_s += self.problem.durations_s[place][model.depot]
        emptied = sum(1 for visit in tour if visit != routing.UNLOAD)
        return Round(
            truck=truck.id,
            status="planned" if tour else idle,
            stops=tuple(stops),
            containers=emptied,
            unloads=len(tour) - emptied,
            volume_l=volume_l,
            km=round(metres / 1000, 3),
            hours=round(at_s / 3600, 2),
            return_km=round(return_m / 1000, 3),
            return_utc=utc(start_ms + 1000 * at_s),
        )

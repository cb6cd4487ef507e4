"""Ordered visits for a fleet of trucks, by PyVRP. Pure: the same problem gives the same answer.

A truck leaves its yard, empties containers, unloads at its disposal site whenever it is full and
once more before it drives home. PyVRP routes end at the disposal site; the way home is the same
whatever happens before, so it is taken off the shift and added to the result.

All visits are required as long as the shifts allow it. When they do not, every visit is optional
at a prize that no detour outweighs, the more urgent the higher. The search adds no unloading for
the sake of an optional visit, so a greedy insertion does that, before it and in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["SOLVER", "Problem", "Truck", "Visit", "solve"]

SOLVER = "pyvrp 0.14"
UNLOAD = -1  # in a tour: the truck unloads

_PRIZE_PER_WAY = 20  # a prize in units of the longest way; no detour costs that many
_STARTS = 8  # from one start alone the search stays far from the best of two or three visits
_MOST_ROUNDS = 10  # of insertion and search, when not all visits fit


@dataclass(frozen=True, slots=True)
class Visit:
    """A container to empty: where (a row of the matrix), how much, how long, how urgent (>= 1).

    Litres are of loose waste, here and in a truck's capacity.
    """

    place: int
    load_l: int
    service_s: int
    urgency: float


@dataclass(frozen=True, slots=True)
class Truck:
    """A truck with its yard and disposal site (rows of the matrix)."""

    depot: int
    disposal: int
    capacity_l: int
    shift_s: int
    unload_s: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Metres and seconds between places, the visits wanted, the trucks at hand."""

    distances_m: Sequence[Sequence[int]]
    durations_s: Sequence[Sequence[int]]
    visits: Sequence[Visit]
    trucks: Sequence[Truck]


def solve(
    problem: Problem, iterations: int, seed: int, cancelled: Callable[[], bool] = bool
) -> list[list[int]]:
    """Return each truck's tour: indexes of visits, and `UNLOAD` wherever it unloads.

    A tour that is not empty ends with `UNLOAD`. A visit that is in no tour did not fit. Once
    ``cancelled()`` is true, what has been found so far is returned soon.
    """
    possible = [number for number in range(len(problem.visits)) if _is_possible(problem, number)]
    possible.sort(key=lambda number: -problem.visits[number].urgency)
    tours: list[list[int]] = [[] for _ in problem.trucks]
    if not possible:
        return tours
    all_done = _search(problem, possible, None, iterations, seed, cancelled)
    if all_done is not None:
        return all_done
    for _ in range(_MOST_ROUNDS):
        if cancelled() or not _insert(problem, possible, tours):
            break
        tours = _search(problem, possible, tours, iterations, seed, cancelled) or tours
    return tours


def _is_possible(problem: Problem, number: int) -> bool:
    """Tell whether some truck could do this visit if it did nothing else."""
    visit = problem.visits[number]
    for truck in problem.trucks:
        there_s = problem.durations_s[truck.depot][visit.place]
        to_disposal_s = problem.durations_s[visit.place][truck.disposal]
        busy_s = there_s + visit.service_s + to_disposal_s
        if visit.load_l <= truck.capacity_l and busy_s <= _shift_to_disposal_s(problem, truck):
            return True
    return False


def _insert(problem: Problem, visits: Sequence[int], tours: list[list[int]]) -> bool:
    """Add to the tours what still fits, the most urgent first, each where it takes the least time.

    Returns whether anything was added.
    """
    done = {visit for tour in tours for visit in tour}
    added = False
    for visit in visits:
        if visit in done:
            continue
        best: tuple[int, int, list[int]] | None = None
        for number, tour in enumerate(tours):
            truck = problem.trucks[number]
            for longer in _with(visit, tour):
                took_s = _duration_s(problem, truck, longer)
                if (
                    took_s <= truck.shift_s
                    and _fits(problem, truck, longer)
                    and (best is None or took_s - _duration_s(problem, truck, tour) < best[0])
                ):
                    best = took_s - _duration_s(problem, truck, tour), number, longer
        if best is not None:
            tours[best[1]] = best[2]
            added = True
    return added


def _with(visit: int, tour: list[int]) -> Iterator[list[int]]:
    """Give the tour with one more visit at every place, within a trip or as a trip of its own."""
    for at in range(len(tour) + 1):
        if at < len(tour):
            yield [*tour[:at], visit, *tour[at:]]
        if at == 0 or tour[at - 1] == UNLOAD:
            yield [*tour[:at], visit, UNLOAD, *tour[at:]]


def _fits(problem: Problem, truck: Truck, tour: list[int]) -> bool:
    load_l = 0
    for it in tour:
        load_l = 0 if it == UNLOAD else load_l + problem.visits[it].load_l
        if load_l > truck.capacity_l:
            return False
    return True


def _duration_s(problem: Problem, truck: Truck, tour: list[int]) -> int:
    """Return the seconds from yard to yard."""
    place, total_s = truck.depot, 0
    for it in tour:
        target = truck.disposal if it == UNLOAD else problem.visits[it].place
        total_s += problem.durations_s[place][target]
        total_s += truck.unload_s if it == UNLOAD else problem.visits[it].service_s
        place = target
    return total_s + problem.durations_s[place][truck.depot]


def _search(
    problem: Problem,
    visits: Sequence[int],
    start: Sequence[Sequence[int]] | None,
    iterations: int,
    seed: int,
    cancelled: Callable[[], bool],
) -> list[list[int]] | None:
    """Return the tours that the solver finds, None if none is feasible.

    All visits are required, or, with tours to start from, optional.
    """
    # Half a second and 40 MB that a gateway without trucks need not spend.
    import numpy as np  # noqa: PLC0415
    import pyvrp  # noqa: PLC0415
    from pyvrp.stop import MaxIterations  # noqa: PLC0415

    # PyVRP's stubs spell an array's type as numpy no longer does.
    distances: Any = np.array(problem.distances_m, dtype=np.int64)
    durations: Any = np.array(problem.durations_s, dtype=np.int64)
    prize = _PRIZE_PER_WAY * max(1, int(distances.max()))
    clients = [
        pyvrp.Client(
            location=problem.visits[number].place,
            pickup=[problem.visits[number].load_l],
            service_duration=problem.visits[number].service_s,
            prize=round(prize * problem.visits[number].urgency),
            required=start is None,
        )
        for number in visits
    ]
    depots: list[pyvrp.Depot] = []
    vehicle_types = []
    usable = []
    for number, truck in enumerate(problem.trucks):
        shift_s = _shift_to_disposal_s(problem, truck)
        if shift_s <= 0:
            continue
        usable.append(number)
        yard = len(depots)
        depots.append(pyvrp.Depot(location=truck.depot))
        depots.append(pyvrp.Depot(location=truck.disposal, service_duration=truck.unload_s))
        vehicle_types.append(
            pyvrp.VehicleType(
                num_available=1,
                capacity=[truck.capacity_l],
                start_depot=yard,
                end_depot=yard + 1,
                reload_depots=[yard + 1],
                shift_duration=shift_s,
            )
        )
    places = [pyvrp.Location(0, 0) for _ in problem.distances_m]
    data = pyvrp.ProblemData(places, clients, depots, vehicle_types, [distances], [durations])
    client = pyvrp.ActivityType.CLIENT
    unload = pyvrp.ActivityType.DEPOT
    position = {number: index for index, number in enumerate(visits)}
    routes = [
        pyvrp.Route(
            data,
            [
                pyvrp.Activity(unload, 2 * vehicle_type + 1)
                if it == UNLOAD
                else pyvrp.Activity(client, position[it])
                for it in start[number][:-1]
            ],
            vehicle_type,
        )
        for vehicle_type, number in enumerate(usable)
        if start is not None and start[number]
    ]
    initial = None if start is None else pyvrp.Solution(data, routes)

    def run(share: int, seed: int, initial: pyvrp.Solution | None) -> pyvrp.Result:
        enough = MaxIterations(max(1, iterations // share))

        def stop(best_cost: int) -> bool:
            return enough(best_cost) or cancelled()

        return pyvrp.solve(
            data, stop, seed=seed, collect_stats=False, display=False, initial_solution=initial
        )

    first = (run(2 * _STARTS, seed + number, initial) for number in range(_STARTS))
    result = run(2, seed, min(first, key=lambda it: it.cost()).best)
    if not result.best.is_feasible():
        return None
    tours: list[list[int]] = [[] for _ in problem.trucks]
    for route in result.best.routes():
        tour = tours[usable[route.vehicle_type()]]
        for activity in route:
            if activity.is_client():
                tour.append(visits[activity.idx])
            elif tour and tour[-1] != UNLOAD:
                tour.append(UNLOAD)
    return tours


def _shift_to_disposal_s(problem: Problem, truck: Truck) -> int:
    """Return what is left of a shift for all but the last unloading and the way home.

    PyVRP does not charge the service at a route's end.
    """
    home_s = problem.durations_s[truck.disposal][truck.depot]
    return truck.shift_s - truck.unload_s - home_s

"""Ordered visits for a fleet of trucks, by PyVRP. Pure: the same problem gives the same answer.

A truck leaves its yard, empties containers, unloads at its disposal site whenever it is full and
once more before it drives home. PyVRP routes end at the disposal site; the way home is the same
whatever happens before, so it is taken off the shift and added to the result.

Every visit is optional to the solver, at a prize that no detour outweighs: what does not fit into
the shift is left out, the least urgent first, and there is always an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["SOLVER", "Problem", "Truck", "Visit", "solve"]

SOLVER = "pyvrp 0.14"
UNLOAD = -1  # in a tour: the truck unloads

_PRIZE_PER_WAY = 20  # a prize in units of the longest way; no detour costs that many


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


def solve(problem: Problem, iterations: int, seed: int) -> list[list[int]]:
    """Return each truck's tour: indexes of visits, and `UNLOAD` wherever it unloads.

    A tour that is not empty ends with `UNLOAD`. Loads must not exceed the capacity of the largest
    truck. A visit that is in no tour did not fit.
    """
    tours: list[list[int]] = [[] for _ in problem.trucks]
    usable = [
        number
        for number, truck in enumerate(problem.trucks)
        if _shift_to_disposal_s(problem, truck) > 0
    ]
    if not problem.visits or not usable:
        return tours
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
            location=visit.place,
            pickup=[visit.load_l],
            service_duration=visit.service_s,
            prize=round(prize * visit.urgency),
            required=False,
        )
        for visit in problem.visits
    ]
    depots: list[pyvrp.Depot] = []
    vehicle_types = []
    for number in usable:
        truck = problem.trucks[number]
        start = len(depots)
        depots.append(pyvrp.Depot(location=truck.depot))
        depots.append(pyvrp.Depot(location=truck.disposal, service_duration=truck.unload_s))
        vehicle_types.append(
            pyvrp.VehicleType(
                num_available=1,
                capacity=[truck.capacity_l],
                start_depot=start,
                end_depot=start + 1,
                reload_depots=[start + 1],
                shift_duration=_shift_to_disposal_s(problem, truck),
            )
        )
    places = [pyvrp.Location(0, 0) for _ in problem.distances_m]
    data = pyvrp.ProblemData(places, clients, depots, vehicle_types, [distances], [durations])
    result = pyvrp.solve(
        data, MaxIterations(iterations), seed=seed, collect_stats=False, display=False
    )
    if not result.best.is_feasible():
        return tours
    for route in result.best.routes():
        tour = tours[usable[route.vehicle_type()]]
        for activity in route:
            if activity.is_client():
                tour.append(activity.idx)
            elif tour and tour[-1] != UNLOAD:
                tour.append(UNLOAD)
    return tours


def _shift_to_disposal_s(problem: Problem, truck: Truck) -> int:
    """Return what is left of a shift for all but the last unloading and the way home.

    PyVRP does not charge the service at a route's end.
    """
    home_s = problem.durations_s[truck.disposal][truck.depot]
    return truck.shift_s - truck.unload_s - home_s

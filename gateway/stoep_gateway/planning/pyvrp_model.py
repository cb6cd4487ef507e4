"""A problem in PyVRP's words, and the way back. Pure.

What PyVRP has no word for is put into its data. A tour ends at a place of our own, "home by way of
the nearest disposal site", so that its last unloading and the way home are paid and fit into the
shift. A truck that may not do a visit has no room in a dimension of the load that only such visits
have. Of a visit with several windows there is a copy for each, one of which is made at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import pyvrp

from stoep_gateway.planning.problem import EVER_S, Problem, Tour, Truck

__all__ = ["Model"]

_MAY = 10_000  # of a dimension that says who may do what; a penalty is per unit


class Model:
    """A problem with some of its trucks in PyVRP's words, and the way back."""

    def __init__(
        self,
        problem: Problem,
        visits: Sequence[int],
        trucks: Sequence[int],
        required: Set[int],
        prizes: Mapping[int, int],
    ) -> None:
        self._problem = problem
        self._trucks = list(trucks)
        self._visits: list[int] = []  # of each client
        self._clients: dict[int, list[int]] = {}
        self._sites: list[int] = []  # of each PyVRP depot: a disposal's number, or -1
        self._ends = _Ends(problem)
        allowed = sorted(
            {it for number in visits if (it := problem.visits[number].trucks) is not None}
        )
        weighed = any(problem.trucks[it].capacity_kg is not None for it in trucks)
        clients: list[pyvrp.Client] = []
        groups: list[pyvrp.ClientGroup] = []
        for number in visits:
            visit = problem.visits[number]
            load = [visit.load_l, *[visit.load_kg] * weighed]
            load += [_MAY * (visit.trucks == it) for it in allowed]
            windows = visit.windows or ((0, EVER_S),)
            copies = list(range(len(clients), len(clients) + len(windows)))
            self._clients[number] = copies
            group = len(groups) if len(copies) > 1 else None
            for early_s, late_s in windows:
                self._visits.append(number)
                clients.append(
                    pyvrp.Client(
                        location=visit.place,
                        pickup=load,
                        service_duration=visit.service_s,
                        tw_early=max(0, early_s),
                        tw_late=late_s,
                        prize=prizes[number],
                        required=number in required and group is None,
                        group=group,
                    )
                )
            if group is not None:
                groups.append(pyvrp.ClientGroup(copies, number in required))
        depots: list[pyvrp.Depot] = []
        types = []
        for number in trucks:
            truck = problem.trucks[number]
            first = len(depots)
            depots.append(pyvrp.Depot(truck.start))
            depots.append(pyvrp.Depot(self._ends.place(number), tw_late=self._ends.late_s(number)))
            depots += [
                # One that is closed for the day may not be used: only at once, which nobody can.
                pyvrp.Depot(site.place, max(0, site.opens_s), max(0, site.closes_s), truck.unload_s)
                for site in (problem.disposals[number] for number in truck.disposals)
            ]
            self._sites += [-1, -1, *truck.disposals]
            room = [_MAY * len(visits) * (number in it) for it in allowed]
            weight = [EVER_S if truck.capacity_kg is None else truck.capacity_kg] * weighed
            types.append(
                pyvrp.VehicleType(
                    1,
                    [truck.capacity_l, *weight, *room],
                    first,
                    first + 1,
                    truck.fixed,
                    truck.earliest_s,
                    truck.latest_s,
                    truck.shift_s,
                    EVER_S if truck.longest_m is None else truck.longest_m,
                    truck.per_m,
                    truck.per_s,
                    initial_load=[truck.load_l, *[truck.load_kg] * weighed, *[0] * len(allowed)],
                    reload_depots=list(range(first + 2, len(depots))),
                )
            )
        places = [pyvrp.Location(0, 0) for _ in self._ends.metres]
        # PyVRP's stubs spell an array's type as numpy no longer does.
        metres: Any = self._ends.metres
        seconds: Any = self._ends.seconds
        self.data = pyvrp.ProblemData(places, clients, depots, types, [metres], [seconds], groups)

    def solution(self, tours: Sequence[Tour]) -> pyvrp.Solution:
        """Return tours as PyVRP has them; the last unloading is part of the way home."""
        data, first, routes = self.data, 0, []
        client, depot = pyvrp.ActivityType.CLIENT, pyvrp.ActivityType.DEPOT
        for position, number in enumerate(self._trucks):
            sites = self._problem.trucks[number].disposals
            tour = tours[number]
            if tour and tour[-1] < 0:
                tour = tour[:-1]
            way = [
                pyvrp.Activity(depot, first + 2 + sites.index(~it))
                if it < 0
                else pyvrp.Activity(client, self._clients[it][0])
                for it in tour
                if it < 0 or it in self._clients
            ]
            if way:
                routes.append(pyvrp.Route(data, way, position))
            first += 2 + len(sites)
        return pyvrp.Solution(data, routes)

    def tours(self, solution: pyvrp.Solution) -> list[Tour]:
        """Return the tours of all trucks of the problem, each with its last unloading."""
        tours: list[Tour] = [()] * len(self._problem.trucks)
        for route in solution.routes():
            number = self._trucks[route.vehicle_type()]
            tour: list[int] = []
            for activity in route:
                if activity.is_client():
                    tour.append(self._visits[activity.idx])
                elif (site := self._sites[activity.idx]) >= 0 and tour and tour[-1] >= 0:
                    tour.append(~site)
            tours[number] = self._ended(number, tuple(tour))
        return tours

    def _ended(self, number: int, tour: Tour) -> Tour:
        if not tour or tour[-1] < 0:
            return tour
        ways = [(*tour, ~it) for it in self._problem.trucks[number].disposals]
        courses = [self._problem.course(number, it) for it in ways]
        return ways[
            min(range(len(ways)), key=lambda it: (len(courses[it].faults), courses[it].cost))
        ]


class _Ends:
    """The matrices with a place more for each way a truck can end: by a disposal site, home."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        metres = np.asarray(problem.metres, dtype=np.int64)
        seconds = np.asarray(problem.seconds, dtype=np.int64)
        size = len(metres)
        kinds = list(dict.fromkeys(map(_end, problem.trucks)))
        self._place = {kind: size + position for position, kind in enumerate(kinds)}
        total = size + len(kinds)
        self.metres = np.zeros((total, total), dtype=np.int64)
        self.seconds = np.zeros((total, total), dtype=np.int64)
        self.metres[:size, :size] = metres
        self.seconds[:size, :size] = seconds
        sites = [it.place for it in problem.disposals]
        for (home, disposals, unload_s, per_m, per_s), end in self._place.items():
            still_open = [it for it in disposals if problem.disposals[it].closes_s >= 0]
            by = [sites[it] for it in still_open or disposals]
            far_m = metres[:, by] + metres[by, home]
            far_s = seconds[:, by] + seconds[by, home] + unload_s
            best = (far_m * per_m + far_s * per_s).argmin(axis=1)
            rows = np.arange(size)
            self.metres[:size, end] = far_m[rows, best]
            self.seconds[:size, end] = far_s[rows, best]
            for empty in (home, *by):  # nothing to unload
                self.metres[empty, end] = metres[empty, home]
                self.seconds[empty, end] = seconds[empty, home]
        for truck in problem.trucks:
            if truck.start != truck.home and not (truck.load_l or truck.load_kg):
                end = self._place[_end(truck)]
                self.metres[truck.start, end] = metres[truck.start, truck.home]
                self.seconds[truck.start, end] = seconds[truck.start, truck.home]

    def place(self, number: int) -> int:
        """Return the row of a truck's end."""
        return self._place[_end(self._problem.trucks[number])]

    def late_s(self, number: int) -> int:
        """Return until when a truck can be home, by the disposal site that is open the longest."""
        truck = self._problem.trucks[number]
        return max(
            truck.earliest_s,  # PyVRP refuses one that is late before it starts
            *(
                max(0, site.closes_s)
                + truck.unload_s
                + int(self._problem.seconds[site.place][truck.home])
                for site in (self._problem.disposals[it] for it in truck.disposals)
            ),
        )


def _end(truck: Truck) -> tuple[int, tuple[int, ...], int, int, int]:
    return truck.home, truck.disposals, truck.unload_s, truck.per_m, truck.per_s

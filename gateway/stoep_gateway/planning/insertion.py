"""Where in some tours one more visit costs the least. Pure.

What it costs is known for all places at once, but for the waiting. So they are tried in that order
until no other can be cheaper, and only those that nothing known at once rules out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stoep_gateway.planning.problem import EVER_S, Problem, Tour

__all__ = ["Insertion"]

_NONE = -1  # in place of a site: the truck does not unload after the visit
_FIGURES = 16  # of a place


class Insertion:
    """Some tours, and all the places in them at which one more visit could be made."""

    def __init__(self, problem: Problem, tours: Sequence[Tour]) -> None:
        self._problem = problem
        self._metres = np.asarray(problem.metres, dtype=np.int64)
        self._seconds = np.asarray(problem.seconds, dtype=np.int64)
        self.tours = tuple(tours)
        self._costs = [0] * len(self.tours)
        self._places: list[Any] = [None] * len(self.tours)
        self._all: Any = None
        for number, tour in enumerate(self.tours):
            self.change(number, tour)

    def change(self, number: int, tour: Tour) -> None:
        """Let a truck have another tour."""
        self.tours = (*self.tours[:number], tour, *self.tours[number + 1 :])
        self._costs[number] = self._problem.course(number, tour).cost
        places = list(self._places_of(number))
        self._places[number] = np.array(places, np.int64).reshape(-1, _FIGURES).T
        self._all = None

    def cheapest(self, number: int, limit: int | None = None) -> tuple[int, int, Tour] | None:
        """Return what one more visit costs at least, the truck, and its tour with it.

        None if it fits nowhere, or costs ``limit`` or more.
        """
        if self._all is None:
            self._all = np.concatenate([np.empty((_FIGURES, 0), np.int64), *self._places], axis=1)
        who, position, site, before, after, *figures = self._all
        metres, seconds, money, per_m, per_s, leaves_s, slack_s, spare_s, spare_m, *room = figures
        visit, here = self._problem.visits[number], self._problem.visits[number].place
        there_s = self._seconds[before, here]
        more_m = metres + self._metres[before, here] + self._metres[here, after]
        more_s = seconds + there_s + self._seconds[here, after] + visit.service_s
        cost = money + more_m * per_m + more_s * per_s
        fits = (more_s <= slack_s) & (more_s <= spare_s) & (more_m <= spare_m)
        fits &= (visit.load_l <= room[0]) & (visit.load_kg <= room[1])
        if visit.windows:
            fits &= leaves_s + there_s <= max(late_s for _, late_s in visit.windows)
        if visit.trucks is not None:
            fits &= np.isin(who, visit.trucks)
        if limit is not None:
            fits &= cost < limit
        (left,) = fits.nonzero()
        best: tuple[int, int, Tour] | None = None
        for it in left[np.lexsort((who[left], cost[left]))]:
            truck, at = int(who[it]), int(position[it])
            if best is not None and (cost[it], truck) > best[:2]:
                break
            tour = self.tours[truck]
            trip = (number,) if site[it] == _NONE else (number, ~int(site[it]))
            longer = (*tour[:at], *trip, *tour[at:])
            course = self._problem.course(truck, longer)
            if not course.faults:
                found = (course.cost - self._costs[truck], truck, longer)
                best = found if best is None else min(best, found)
        return best if best is None or limit is None or best[0] < limit else None

    def _places_of(self, number: int) -> Iterator[tuple[int, ...]]:
        """Give the figures of each place, from the last one on, as `cheapest` takes them apart.

        ``metres``, ``seconds``, ``money`` are what it costs beside the way to the visit and from
        it; ``leaves_s`` is at the earliest, ``slack_s`` how much later the truck may go on at most.
        """
        problem, tour = self._problem, self.tours[number]
        truck = problem.trucks[number]
        course = problem.course(number, tour, early=True)
        waits_s = [leg.begins_s - leg.arrives_s for leg in course.legs]
        busy_s = course.seconds - sum(waits_s)
        busy = course.metres * truck.per_m + busy_s * truck.per_s + truck.fixed
        money = (busy - self._costs[number], truck.per_m, truck.per_s)
        spare_s = min(truck.shift_s, truck.latest_s - truck.earliest_s) - busy_s
        spare_m = EVER_S if truck.longest_m is None else truck.longest_m - course.metres
        capacity_kg = EVER_S if truck.capacity_kg is None else truck.capacity_kg
        stops = [truck.start, *map(problem.place, tour), truck.home]
        lasts_s = [*map(problem.closes_s, tour), EVER_S]
        loads = [(truck.load_l, truck.load_kg), *((leg.load_l, leg.load_kg) for leg in course.legs)]
        slack_s, full = EVER_S, loads[-1]
        for at in range(len(tour), -1, -1):
            leg, before, after = course.legs[at], stops[at], stops[at + 1]
            slack_s = waits_s[at] + min(slack_s, lasts_s[at] - leg.begins_s)
            leaves_s = course.legs[at - 1].leaves_s if at else truck.earliest_s
            limits = (spare_s, spare_m)
            if at < len(tour):
                full = loads[at] if tour[at] < 0 else full
                room = (truck.capacity_l - full[0], capacity_kg - full[1])
                way = (-leg.metres, -leg.seconds, *money)
                yield number, at, _NONE, before, after, *way, leaves_s, slack_s, *limits, *room
            if at == 0 or tour[at - 1] < 0:
                room = (truck.capacity_l - loads[at][0], capacity_kg - loads[at][1])
                for site in truck.disposals:
                    by = problem.disposals[site].place
                    on_s = truck.unload_s + int(problem.seconds[by][after])
                    way = (int(problem.metres[by][after]) - leg.metres, on_s - leg.seconds, *money)
                    closes_s = problem.closes_s(~site)
                    until_s = min(slack_s, closes_s - leg.arrives_s + on_s)
                    yield number, at, site, before, by, *way, leaves_s, until_s, *limits, *room

"""Selection and routing in one solve: the tours that cost the least money. Pure.

PyVRP searches. It neither gives up a truck that it does not need nor drives to unload for the sake
of one more optional visit: the first is tried here truck by truck, the second by insertion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyvrp
from pyvrp.search import NeighbourhoodParams
from pyvrp.stop import MaxIterations, MaxRuntime

from stoep_gateway.planning.insertion import Insertion
from stoep_gateway.planning.problem import Problem, Tour, Truck
from stoep_gateway.planning.pyvrp_model import Model

__all__ = ["SOLVER", "Answer", "solve"]

SOLVER = "pyvrp 0.14"

# Up to two euros per litre, second or metre too much; PyVRP begins at half of it.
_PENALTIES = pyvrp.PenaltyParams(max_penalty=200_000)
# What has to be done, and cannot all be, is worth so much that it outweighs those.
_OVERLOADED = pyvrp.PenaltyParams(max_penalty=2_000_000)
_SHARES = 8  # that the search is in
_WORSE = 1.05  # costs that make giving up one more truck pointless

Timer = Callable[[float], Callable[[int], bool]]  # of seconds; tells whether they are over


@dataclass(frozen=True, slots=True)
class Answer:
    """A tour per truck; visits that no truck could do even alone, and why: ``impossible``.

    ``relaxed``: the trucks could not do all together that is required.
    """

    tours: tuple[Tour, ...]
    impossible: dict[int, str]
    relaxed: bool


def solve(
    problem: Problem,
    iterations: int,
    seed: int = 0,
    *,
    seconds: float | None = None,
    start: Sequence[Tour] = (),
    cancelled: Callable[[], bool] = bool,
    timer: Timer = MaxRuntime,
) -> Answer:
    """Return the tours that cost the least, of what the search finds and of ``start``.

    The same problem, iterations, seed and start give the same tours, unless ``seconds`` end the
    search, by the clock on the wall or another ``timer``. Trucks are given up one by one as long as
    that is cheaper. When not all that is required can be done, what has the smallest prizes is left
    out. Once ``cancelled()`` is true, what has been found so far is returned soon.
    """
    return _Search(problem, iterations, seed, seconds, cancelled, timer).answer(start)


@dataclass(frozen=True, slots=True)
class _Effort:
    """Shares of the search for all trucks, for each number of fewer ones, for the best at least.

    All trucks get more until the cost is no less than ``settled`` times what it was. ``anew``:
    every other of the shares for the best begins with nothing. The others are PyVRP's.
    """

    first: float
    settled: float
    fewer: float
    rest: float
    anew: bool
    neighbours: int
    history: int
    penalty: pyvrp.PenaltyParams


class _Mild(pyvrp.PenaltyParams):
    """Penalties that begin at what a litre, a second or a metre costs, about."""

    def midpoint_penalties(self, data: pyvrp.ProblemData) -> tuple[list[float], float, float]:
        return [2500.0] * data.num_load_dimensions, 2500.0, 2500.0


_OF_SMALL = _Effort(1, 0, 1, 1, anew=True, neighbours=50, history=300, penalty=_PENALTIES)
# A large problem is searched too shortly to begin anew, and with as many neighbours a step takes
# four times as long, and finds hardly more.
_LARGE = 100  # visits
_OF_LARGE = replace(_OF_SMALL, first=2, settled=0.995, fewer=0.5, rest=2, anew=False, neighbours=20)
# With so long a memory a huge one would be walked about in, and walls around what breaks a rule
# would keep it from ever using fewer trucks.
_HUGE = 400
_OF_HUGE = replace(
    _OF_LARGE, history=50, penalty=_Mild(25, 1.2, max_penalty=_PENALTIES.max_penalty)
)


class _Search:
    def __init__(
        self,
        problem: Problem,
        iterations: int,
        seed: int,
        seconds: float | None,
        cancelled: Callable[[], bool],
        timer: Timer,
    ) -> None:
        self._problem = problem
        self._iterations = max(1, iterations // _SHARES)
        self._seconds = None if seconds is None else seconds / _SHARES
        self._timer = timer
        self._is_late = None if seconds is None else timer(seconds)
        if self._is_late is not None:
            self._is_late(0)  # which begins to count
        self._seed = seed
        self._cancelled = cancelled
        self._impossible = _impossible(problem)
        self._possible = [n for n in range(len(problem.visits)) if n not in self._impossible]
        size = len(self._possible)
        self._effort = _OF_SMALL if size <= _LARGE else _OF_LARGE if size <= _HUGE else _OF_HUGE
        self._relaxed = False
        self._urgent = _urgent(problem)
        self._idle = tuple(_idle(problem, number) for number in range(len(problem.trucks)))

    def answer(self, start: Sequence[Tour]) -> Answer:
        best = self._with_more(self._idle)
        if self._possible:
            if start:
                best = min(best, self._with_more(self._cleaned(start)), key=self._worth)
            best = self._fewer_trucks(best)
        missed = {n for n in self._possible if self._problem.visits[n].required}
        missed.difference_update(*best)
        return Answer(best, self._impossible, bool(missed))

    def _fewer_trucks(self, best: tuple[Tour, ...]) -> tuple[Tour, ...]:
        everybody = trucks = list(range(len(self._problem.trucks)))
        effort = self._effort
        share, shares = effort.first, float(_SHARES)
        start = best
        while trucks and not self._is_over():
            found = self._with_more(self._search(trucks, start, self._seed, share))
            shares -= share
            before, worth = self._worth(best), self._worth(found)
            best = min(best, found, key=self._worth)
            used = [number for number in trucks if _is_used(found[number])]
            if shares <= effort.rest or not used or worth > _WORSE * before:
                break
            if trucks is everybody and worth < effort.settled * before:
                start, share = found, 1
                continue
            least = min(used, key=lambda number: self._earned(number, found[number]))
            trucks = [number for number in used if number != least]
            start, share = _instead(found, least, self._idle[least]), effort.fewer
        trucks = [number for number, tour in enumerate(best) if _is_used(tour)]
        for again in range(1, 1 + math.ceil(shares)):
            if trucks and not self._is_over():
                begun = self._idle if effort.anew and again % 2 else best
                share = min(1.0, shares - again + 1)
                found = self._with_more(self._search(trucks, begun, self._seed + again, share))
                best = min(best, found, key=self._worth)
        return best

    def _is_over(self) -> bool:
        return self._cancelled() or (self._is_late is not None and self._is_late(0))

    def _search(
        self, trucks: Sequence[int], start: tuple[Tour, ...], seed: int, share: float
    ) -> tuple[Tour, ...]:
        """Return the best tours of some trucks, from what they do already; ``start`` if none."""
        visits = self._problem.visits
        for relaxed in (self._relaxed, True):
            params = pyvrp.SolveParams(
                ils=pyvrp.IteratedLocalSearchParams(history_length=self._effort.history),
                penalty=_OVERLOADED if relaxed else self._effort.penalty,
                neighbourhood=NeighbourhoodParams(num_neighbours=self._effort.neighbours),
            )
            model = Model(
                self._problem,
                self._possible,
                trucks,
                set() if relaxed else {n for n in self._possible if visits[n].required},
                {n: visits[n].prize + self._urgent * visits[n].required for n in self._possible},
            )
            stops: list[Any] = [MaxIterations(max(1, round(share * self._iterations)))]
            if self._seconds is not None:
                stops += [self._is_late, self._timer(share * self._seconds)]

            def stop(best_cost: int, stops: Sequence[Any] = stops) -> bool:
                return self._cancelled() or any(it(best_cost) for it in stops)

            initial = model.solution(start) if any(map(_is_used, start)) else None
            result = pyvrp.solve(
                model.data,
                stop,
                seed=seed,
                collect_stats=False,
                display=False,
                params=params,
                initial_solution=initial,
            )
            if result.best.is_feasible():
                found = enumerate(model.tours(result.best))
                tours = tuple(tour or self._idle[number] for number, tour in found)
                if not any(self._problem.course(*it).faults for it in enumerate(tours)):
                    return tours
            if relaxed or len(trucks) < len(self._problem.trucks):
                break  # with all trucks it went, or it does not go at all
            self._relaxed = True
        return start

    def _worth(self, tours: tuple[Tour, ...]) -> int:
        """Return the cost of tours, what is required and left out above all else."""
        visited = {stop for tour in tours for stop in tour}
        missed = sum(self._problem.visits[n].required for n in self._possible if n not in visited)
        return self._problem.cost(tours) + missed * self._urgent

    def _earned(self, number: int, tour: Tour) -> int:
        prizes = sum(self._problem.visits[it].prize for it in tour if it >= 0)
        required = sum(self._problem.visits[it].required for it in tour if it >= 0)
        return prizes + required * self._urgent - self._problem.course(number, tour).cost

    def _cleaned(self, start: Sequence[Tour]) -> tuple[Tour, ...]:
        """Return tours that break no rule: others begin anew."""
        tours: list[Tour] = []
        possible = set(self._possible)
        for number in range(len(self._problem.trucks)):
            told = start[number] if number < len(start) else ()
            tour = tuple(it for it in told if it < 0 or it in possible)
            possible.difference_update(tour)
            whole = any(it >= 0 for it in tour)
            sound = whole and not self._problem.course(number, tour).faults
            tours.append(tour if sound else self._idle[number])
        return tuple(tours)

    def _with_more(self, tours: tuple[Tour, ...]) -> tuple[Tour, ...]:
        """Return the tours with every visit that they lack and that pays, where that is cheapest.

        The search seldom adds an unloading for the sake of one more visit.
        """
        visits = self._problem.visits
        visited = {stop for tour in tours for stop in tour}
        lacking = [n for n in self._possible if n not in visited]
        if not lacking:
            return tours
        lacking.sort(key=lambda n: (not visits[n].required, -visits[n].prize))
        into = Insertion(self._problem, tours)
        for number in lacking:
            if self._cancelled():
                break
            prize = visits[number].prize + self._urgent * visits[number].required
            best = into.cheapest(number, prize)
            if best is not None:
                into.change(best[1], best[2])
        return into.tours


def _instead(tours: tuple[Tour, ...], number: int, tour: Tour) -> tuple[Tour, ...]:
    return (*tours[:number], tour, *tours[number + 1 :])


def _is_used(tour: Tour) -> bool:
    return any(stop >= 0 for stop in tour)


def _idle(problem: Problem, number: int) -> Tour:
    """Return the tour of a truck that does nothing; one with a load has to unload it."""
    truck = problem.trucks[number]
    if not (truck.load_l or truck.load_kg):
        return ()
    ways = ((problem.course(number, (~site,)), ~site) for site in truck.disposals)
    return (min((len(course.faults), course.cost, stop) for course, stop in ways)[2],)


def _urgent(problem: Problem) -> int:
    """Return a prize that no detour and no choice among other visits outweighs."""
    dearest = max((it.prize for it in problem.visits), default=0)
    metres, seconds = problem.metres, problem.seconds
    longest = max(
        (
            truck.fixed
            + truck.per_m * (metres[truck.start][it.place] + metres[it.place][truck.home])
            + truck.per_s * (seconds[truck.start][it.place] + seconds[it.place][truck.home])
            for truck in problem.trucks
            for it in problem.visits
        ),
        default=0,
    )
    # In a small town to empty and to unload costs more than the way.
    alone = max(
        (
            problem.course(truck, (visit, ~site)).cost
            for it, truck in _unlike(problem).items()
            for site in it.disposals
            for visit in range(len(problem.visits))
        ),
        default=0,
    )
    return max(3 * longest, 2 * alone) + 10 * dearest


def _impossible(problem: Problem) -> dict[int, str]:
    """Return the visits that no truck could do if it did nothing else, and why not.

    The reason is that of the truck that lacks least: one that is too small says nothing of others.
    """
    why: dict[int, str] = {}
    anybody = tuple(_unlike(problem).values())
    for number, visit in enumerate(problem.visits):
        best = -1
        for truck in anybody if visit.trucks is None else visit.trucks:
            for site in problem.trucks[truck].disposals:
                loaded = problem.trucks[truck].load_l or problem.trucks[truck].load_kg
                tour = (~site, number, ~site) if loaded else (number, ~site)
                faults = problem.course(truck, tour).faults
                ranks = (rank for rank, (fault, _) in enumerate(_REASONS) if fault in faults)
                best = max(best, next(ranks, len(_REASONS)))
            if best == len(_REASONS):
                break
        else:
            why[number] = "no_truck" if best < 0 else _REASONS[best][1]
    return why


def _unlike(problem: Problem) -> dict[Truck, int]:
    """Return the first of each kind of trucks."""
    return {truck: problem.trucks.index(truck) for truck in problem.trucks}


_REASONS = (
    ("capacity", "larger_than_truck"),
    ("weight", "heavier_than_truck"),
    ("truck", "no_truck"),
    ("window", "window_missed"),
    ("range", "too_far"),
    ("shift", "shift_too_short"),
    ("late", "shift_too_short"),
)

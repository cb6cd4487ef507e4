"""What PyVRP makes of tours against what `Problem` makes of them: costs and rules that are broken.

PyVRP is a reckoning of its own, and so each is the other's oracle.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from stoep_gateway.planning.problem import Disposal, Problem, Tour, Truck, Visit
from stoep_gateway.planning.pyvrp_model import Model

_HOUR_S = 3600


def _problem(chance: random.Random) -> Problem:
    """Return places at random, ways that differ by direction, and rules that bind at times."""
    visits, places = 6, 11
    metres = [[chance.randint(500, 9000) * (a != b) for b in range(places)] for a in range(places)]
    # The nearest site from anywhere is the nearest in time and in money.
    seconds = [[it // 10 for it in row] for row in metres]
    earliest = chance.randint(0, _HOUR_S)

    def window() -> tuple[tuple[int, int], ...]:
        early = chance.randint(-_HOUR_S, 2 * _HOUR_S)
        return ((early, early + chance.randint(1, 3) * _HOUR_S),) if chance.random() < 0.5 else ()

    loaded = chance.random() < 0.3
    truck = Truck(
        start=8,
        home=8,
        disposals=(0, 1),
        capacity_l=1000,
        unload_s=chance.randint(0, 900),
        shift_s=chance.randint(2, 4) * _HOUR_S,
        per_m=100,
        per_s=chance.choice((0, 1700)),
        fixed=chance.choice((0, 2_000_000)),
        capacity_kg=chance.choice((None, 400)),
        longest_m=chance.choice((None, 45_000)),
        earliest_s=earliest,
    )
    other = replace(
        truck,
        start=9,
        disposals=(1,),
        capacity_l=1500,
        per_m=150,
        earliest_s=0,
        load_l=700 if loaded else 0,
        load_kg=150 if loaded else 0,
    )
    return Problem(
        metres,
        seconds,
        [
            Visit(
                number,
                chance.randint(60, 900),
                chance.randint(100, 700),
                chance.randint(10, 150),
                prize=chance.randint(0, 3_000_000),
                windows=window(),
                trucks=chance.choice((None, None, None, (0,), (1,))),
            )
            for number in range(visits)
        ],
        [Disposal(6), Disposal(7)],
        [truck, other],
    )


def _tours(problem: Problem, chance: random.Random) -> list[Tour]:
    """Return some of the visits in any order, on any truck, with unloading anywhere."""
    tours: list[list[int]] = [[] for _ in problem.trucks]
    order = list(range(len(problem.visits)))
    chance.shuffle(order)
    for visit in order[: chance.randint(1, len(order))]:
        truck = chance.randrange(len(tours))
        if tours[truck] and chance.random() < 0.5:
            tours[truck].append(~chance.choice(problem.trucks[truck].disposals))
        tours[truck].append(visit)
    return [tuple(it) for it in tours]


def _model(problem: Problem) -> Model:
    prizes = {number: it.prize for number, it in enumerate(problem.visits)}
    return Model(problem, range(len(problem.visits)), range(len(problem.trucks)), set(), prizes)


@pytest.mark.parametrize("seed", range(8))
def test_both_reckon_alike(seed: int) -> None:
    chance = random.Random(seed)
    seen = set()
    for _ in range(12):
        problem = _problem(chance)
        model = _model(problem)
        for _ in range(12):
            tours = _tours(problem, chance)
            if problem.trucks[1].load_l and not tours[1]:
                continue  # it has to unload all the same, which PyVRP knows nothing of
            solution = model.solution(tours)
            back = model.tours(solution)
            assert [it[:-1] for it in back if it] == [it for it in tours if it]
            assert all(tour[-1] < 0 for tour in back if tour)
            faults = [problem.course(*it).faults for it in enumerate(back)]
            seen |= {*frozenset().union(*faults), "none" if not any(faults) else "some"}
            assert solution.is_feasible() == (not any(faults)), (tours, faults)
            if any(faults):
                continue
            cost = solution.distance_cost() + solution.duration_cost()
            cost += solution.fixed_vehicle_cost() + solution.uncollected_prizes()
            assert cost == problem.cost(back)
    assert {"none", "capacity", "window"} <= seen


@pytest.mark.parametrize("seed", range(4))
def test_both_keep_the_hours_of_a_disposal_site(seed: int) -> None:
    chance = random.Random(100 + seed)
    seen = set()
    for _ in range(25):
        problem = _problem(chance)
        opens_s = chance.randint(-_HOUR_S, 2 * _HOUR_S)
        site = Disposal(6, opens_s, opens_s + chance.randint(1, 2) * _HOUR_S)
        trucks = [replace(it, disposals=(0,), load_l=0, load_kg=0) for it in problem.trucks]
        problem = replace(problem, disposals=[site], trucks=trucks)
        model = _model(problem)
        for _ in range(8):
            solution = model.solution(_tours(problem, chance))
            tours = model.tours(solution)
            courses = [problem.course(*it) for it in enumerate(tours)]
            if any(it.legs[-2].arrives_s < opens_s for it in courses if len(it.legs) > 1):
                continue  # that a truck waits for the last unloading, PyVRP is not told
            faults = [it.faults for it in courses]
            seen |= {it for of in faults for it in of} | {"none" for it in (faults,) if not any(it)}
            assert solution.is_feasible() == (not any(faults)), (tours, faults)
    assert {"none", "window"} <= seen


def test_the_way_home_is_by_a_site_that_is_open() -> None:
    """Home by the near site, which closed before the rounds began, would be 4 km, else 14."""
    km = [[abs(a - b) for b in (0, 2, 3, 8)] for a in (0, 2, 3, 8)]
    metres = [[1000 * it for it in row] for row in km]
    problem = Problem(
        metres,
        [[it // 10 for it in row] for row in metres],
        [Visit(1, 60, 10, prize=10**7)],
        [Disposal(2, -7200, -60), Disposal(3)],
        [Truck(0, 0, (0, 1), 100, 300, 7200, per_m=100, per_s=0)],
    )
    model = _model(problem)
    solution = model.solution([(0,)])
    assert model.tours(solution) == [(0, ~1)]
    assert solution.is_feasible()
    assert solution.distance() == 2000 + 6000 + 8000


def test_what_is_required_is_so_in_each_of_its_windows() -> None:
    problem = _problem(random.Random(1))
    visits = [replace(it, windows=(), trucks=None) for it in problem.visits]
    visits[0] = replace(visits[0], windows=((0, 7200), (9000, 90_000)))
    problem = replace(problem, visits=visits)
    for required in (set(), {0}, {1}):
        model = Model(problem, range(6), range(2), required, dict.fromkeys(range(6), 1))
        assert model.solution([(), (2,)]).is_feasible() == (not required)
        assert model.solution([(0,), (1,)]).is_feasible()

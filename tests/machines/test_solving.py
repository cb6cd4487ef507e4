"""The routing problem in money: against every tour there is, where they are few enough to try."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from stoep_gateway.planning import solving
from stoep_gateway.planning.problem import (
    MONEY_PER_EUR,
    Disposal,
    Problem,
    Tour,
    Truck,
    Visit,
)
from stoep_gateway.planning.solving import solve

_KM = 100  # of money per metre, at a euro per kilometre
_HOUR = 1694  # of money per second, at 61 euros per hour


def _grid(points: list[tuple[float, float]]) -> list[list[int]]:
    return [[round(math.dist(a, b)) for b in points] for a in points]


def _problem(
    seed: int, visits: int, trucks: int, capacity_l: int = 2000, shift_s: int = 4 * 3600
) -> Problem:
    rng = random.Random(seed)
    points = [(rng.uniform(-5000, 5000), rng.uniform(-5000, 5000)) for _ in range(visits + 3)]
    metres = _grid(points)
    yard = visits + 2
    return Problem(
        metres,
        [[round(it * 0.12) for it in row] for row in metres],
        [
            Visit(
                number,
                240,
                rng.randint(300, 1200),
                prize=round(rng.uniform(0, 30) * MONEY_PER_EUR),
                required=rng.random() < 0.2,
                trucks=(rng.randrange(trucks),) if rng.random() < 0.2 else None,
                windows=((0, 3600), (7200, 9000)) if rng.random() < 0.2 else (),
            )
            for number in range(visits)
        ],
        [Disposal(visits), Disposal(visits + 1, closes_s=2 * 3600)],
        [Truck(yard, yard, (0, 1), capacity_l, 600, shift_s, _KM, _HOUR, 20 * MONEY_PER_EUR)]
        * trucks,
    )


def _tours_of(problem: Problem, truck: int, visits: tuple[int, ...]) -> Iterator[Tour]:
    """Give every tour of these visits that ends unloaded."""
    if not visits:
        yield ()
        return
    sites = [~it for it in problem.trucks[truck].disposals]
    for order in itertools.permutations(visits):
        gaps = itertools.product([None, *sites], repeat=len(order) - 1)
        for between, last in itertools.product(gaps, sites):
            tour: list[int] = []
            for stop, unload in zip(order, [*between, last], strict=True):
                tour.append(stop)
                if unload is not None:
                    tour.append(unload)
            yield tuple(tour)


def _best(problem: Problem) -> int | None:
    """Return the least cost at which all that is required is done, by trying everything."""
    trucks = range(len(problem.trucks))
    numbers = range(len(problem.visits))
    cheapest: dict[tuple[int, tuple[int, ...]], int | None] = {}
    for truck in trucks:
        for count in range(len(problem.visits) + 1):
            for visits in itertools.combinations(numbers, count):
                courses = (problem.course(truck, it) for it in _tours_of(problem, truck, visits))
                costs = [it.cost for it in courses if not it.faults]
                cheapest[truck, visits] = min(costs, default=None)
    best = None
    for who in itertools.product([None, *trucks], repeat=len(problem.visits)):
        if any(problem.visits[n].required and who[n] is None for n in numbers):
            continue
        cost: int | None = sum(problem.visits[n].prize for n in numbers if who[n] is None)
        for truck in trucks:
            part = cheapest[truck, tuple(n for n in numbers if who[n] == truck)]
            cost = None if part is None or cost is None else cost + part
        if cost is not None and (best is None or cost < best):
            best = cost
    return best


def test_hardly_anything_is_cheaper_than_what_is_found() -> None:
    above = []
    for seed in range(12):
        problem = _problem(seed, visits=4, trucks=2)
        best = _best(problem)
        answer = solve(problem, 200, seed)
        assert not any(problem.course(*it).faults for it in enumerate(answer.tours))
        assert answer.relaxed == (best is None and not answer.impossible)
        if best is not None:
            above.append(problem.cost(answer.tours) / best)
    assert len(above) >= 8
    assert sorted(above)[-2] == 1
    assert max(above) < 1.05


def test_a_truck_that_is_not_needed_stays_at_home() -> None:
    problem = _problem(1, visits=12, trucks=4, capacity_l=100_000, shift_s=10 * 3600)
    answer = solve(problem, 400)
    problem = replace(problem, visits=[replace(it, trucks=None) for it in problem.visits])
    alone = replace(problem, trucks=problem.trucks[:1])
    assert sum(map(bool, answer.tours)) == 1
    assert problem.cost(answer.tours) <= alone.cost(solve(alone, 400).tours)


def test_the_same_problem_seed_and_iterations_give_the_same_tours() -> None:
    problem = _problem(5, visits=30, trucks=2)
    assert solve(problem, 200, 3).tours == solve(problem, 200, 3).tours


def test_what_is_required_comes_before_what_pays() -> None:
    metres = _grid([(0, 0), (1000, 0), (1000, 100), (-1000, 0)])
    truck = Truck(0, 0, (0,), 1000, 600, 8 * 3600, _KM, _HOUR)
    visits = [
        Visit(1, 240, 900, prize=500 * MONEY_PER_EUR),
        Visit(2, 240, 900, prize=1, required=True),
    ]
    # Time for one only: the second would need another way to the site.
    short = Truck(0, 0, (0,), 1000, 600, 1300, _KM, _HOUR)
    problem = Problem(
        metres, [[it // 10 for it in row] for row in metres], visits, [Disposal(3)], [short]
    )
    assert solve(problem, 50).tours == ((1, ~0),)
    both = Problem(problem.metres, problem.seconds, visits, [Disposal(3)], [truck])
    assert sorted(it for it in solve(both, 50).tours[0] if it >= 0) == [0, 1]


def test_when_not_all_can_be_done_the_smallest_prizes_are_left_out() -> None:
    points = [(0.0, 0.0), *[(1000.0, 10.0 * n) for n in range(6)], (-1000.0, 0.0)]
    metres = _grid(points)
    visits = [
        Visit(n + 1, 600, 100, prize=(n + 1) * MONEY_PER_EUR, required=True) for n in range(6)
    ]
    truck = Truck(0, 0, (0,), 1000, 600, 600 * 4 + 600 + 500, _KM, _HOUR)
    problem = Problem(
        metres, [[it // 10 for it in row] for row in metres], visits, [Disposal(7)], [truck]
    )
    answer = solve(problem, 100)
    assert answer.relaxed
    assert sorted(it for it in answer.tours[0] if it >= 0) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("visit", "why"),
    [
        (Visit(1, 60, 1001), "larger_than_truck"),
        (Visit(1, 60, 10, load_kg=101), "heavier_than_truck"),
        (Visit(1, 60, 10, windows=((0, 99),)), "window_missed"),
        (Visit(1, 60, 10, trucks=()), "no_truck"),
        (Visit(1, 7200, 10), "shift_too_short"),
        (Visit(2, 60, 10), "too_far"),
    ],
)
def test_what_no_truck_can_do_is_named_with_its_reason(visit: Visit, why: str) -> None:
    metres = _grid([(0, 0), (1000, 0), (6000, 0)])
    truck = Truck(0, 0, (0,), 1000, 300, 7200, _KM, _HOUR, capacity_kg=100, longest_m=10_000)
    possible = Visit(1, 60, 10, prize=100 * MONEY_PER_EUR)
    problem = Problem(
        metres,
        [[it // 10 for it in row] for row in metres],
        [visit, possible],
        [Disposal(0)],
        [truck],
    )
    answer = solve(problem, 50)
    assert answer.impossible == {0: why}
    assert answer.tours == ((1, ~0),)


def test_the_reason_is_that_of_the_truck_that_lacks_least() -> None:
    metres = _grid([(0, 0), (1000, 0)])
    small = Truck(0, 0, (0,), 9, 300, 7200, _KM, _HOUR)
    tired = Truck(0, 0, (0,), 1000, 300, 60, _KM, _HOUR, longest_m=1000)
    for trucks, why in (
        ([small, tired], "too_far"),
        ([tired, small], "too_far"),
        ([small, replace(tired, longest_m=None)], "shift_too_short"),
    ):
        seconds = [[it // 10 for it in row] for row in metres]
        visits = [Visit(1, 60, 10, required=True)]
        answer = solve(Problem(metres, seconds, visits, [Disposal(0)], trucks), 1)
        assert answer.impossible == {0: why}


def test_a_plan_goes_on_from_the_one_in_force() -> None:
    problem = _problem(8, visits=40, trucks=2)
    before = solve(problem, 800, 1)
    again = solve(problem, 8, 2, start=before.tours)
    assert problem.cost(again.tours) <= problem.cost(before.tours)


def test_a_truck_on_its_way_has_its_load_and_ends_at_home() -> None:
    metres = _grid([(0, 0), (1000, 0), (2000, 0), (500, 500)])
    seconds = [[it // 10 for it in row] for row in metres]
    truck = Truck(1, 0, (0,), 1000, 300, 7200, _KM, _HOUR, load_l=900)
    visit = Visit(2, 60, 300, prize=100 * MONEY_PER_EUR)
    problem = Problem(metres, seconds, [visit], [Disposal(3)], [truck])
    answer = solve(problem, 50)
    assert answer.tours == ((~0, 0, ~0),)
    course = problem.course(0, answer.tours[0])
    assert not course.faults
    assert course.metres == 707 + 1581 + 1581 + 707


def test_waiting_for_a_window_is_spent_at_the_yard() -> None:
    metres = _grid([(0, 0), (1000, 0)])
    visit = Visit(1, 60, 10, windows=((5000, 6000),))
    truck = Truck(0, 0, (0,), 100, 300, 7200, _KM, _HOUR)
    problem = Problem(
        metres, [[it // 10 for it in row] for row in metres], [visit], [Disposal(0)], [truck]
    )
    course = problem.course(0, (0, ~0))
    assert course.leaves_s == 4900
    assert course.seconds == 100 + 60 + 100 + 300


def test_a_search_that_is_given_up_still_answers() -> None:
    problem = _problem(2, visits=60, trucks=2)
    answer = solve(problem, 1_000_000, cancelled=lambda: True)
    assert all(not problem.course(*it).faults for it in enumerate(answer.tours))


def test_no_visits_and_no_trucks_need_no_search() -> None:
    problem = _problem(1, visits=4, trucks=1)
    assert solve(Problem(problem.metres, problem.seconds, (), (), problem.trucks), 9).tours == ((),)
    nobody = Problem(problem.metres, problem.seconds, problem.visits, problem.disposals, ())
    assert solve(nobody, 9).tours == ()


def test_what_is_required_next_to_the_yard_is_done() -> None:
    """The way there is short: to empty and to unload it is what costs, and it is worth nothing."""
    metres = [[0, 50, 100], [50, 0, 50], [100, 50, 0]]
    visits = [Visit(0, 480, 1100, required=True)]
    trucks = [Truck(1, 1, (0,), 9000, 900, 8 * 3600, _KM, _HOUR)]
    problem = Problem(metres, metres, visits, [Disposal(2)], trucks)
    assert solve(problem, 100, 0).tours == ((0, ~0),)


@pytest.mark.parametrize("huge", [40, 20])
def test_large_towns_are_searched_as_well(huge: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _problem(7, visits=30, trucks=3)
    thorough = problem.cost(solve(problem, 400, 1).tours)
    monkeypatch.setattr(solving, "_LARGE", 20)
    monkeypatch.setattr(solving, "_HUGE", huge)
    answer = solve(problem, 400, 1)
    assert answer == solve(problem, 400, 1)
    assert not any(problem.course(*it).faults for it in enumerate(answer.tours))
    assert problem.cost(answer.tours) < 1.03 * thorough


def test_a_search_ends_when_its_time_is_over() -> None:
    asked: list[float] = []

    def timer(seconds: float) -> Callable[[int], bool]:
        asked.append(seconds)
        return lambda _: True

    problem = _problem(2, visits=30, trucks=2)
    answer = solve(problem, 1_000_000, seconds=8, timer=timer)
    assert asked == [8]
    assert not any(problem.course(*it).faults for it in enumerate(answer.tours))

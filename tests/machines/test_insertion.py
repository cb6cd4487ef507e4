"""Where one more visit costs the least: against every place that there is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from stoep_gateway.planning.distances import Point, matrix_m, straight_line_km
from stoep_gateway.planning.insertion import Insertion
from stoep_gateway.planning.problem import MONEY_PER_EUR, Disposal, Problem, Tour, Truck, Visit


def _problem(rng: random.Random) -> Problem:
    """Return trucks with loads, ranges and hours of their own, ways that are shorter one way."""
    places = 20
    metres = [[rng.randint(50, 9000) * (a != b) for b in range(places)] for a in range(places)]
    seconds = [[it // 8 for it in row] for row in metres]
    opens = [rng.randint(0, 4000) for _ in range(30)]
    visits = [
        Visit(
            rng.randrange(places),
            240,
            rng.randint(300, 1200),
            load_kg=rng.randint(10, 90),
            prize=rng.randint(1, 30) * MONEY_PER_EUR,
            windows=((it, it + 900), (it + 3600, it + 9000))[: rng.randint(0, 2)],
            trucks=(rng.randrange(3),) if rng.random() < 0.2 else None,
        )
        for it in opens
    ]
    trucks = [
        Truck(
            rng.randrange(places),
            rng.randrange(places),
            (0, 1),
            3000,
            300,
            rng.choice((9000, 20_000)),
            100,
            1694,
            20 * MONEY_PER_EUR,
            rng.choice((None, 250)),
            rng.choice((None, 60_000)),
            rng.choice((0, 1800)),
            rng.choice((10**8, 15_000)),
            *rng.choice(((0, 0), (700, 50))),
        )
        for _ in range(3)
    ]
    return Problem(metres, seconds, visits, [Disposal(0), Disposal(1, 600, 7000)], trucks)


def _longer(problem: Problem, tour: Tour, visit: int) -> Iterator[Tour]:
    for at in range(len(tour) + 1):
        if at < len(tour):
            yield (*tour[:at], visit, *tour[at:])
        if at == 0 or tour[at - 1] < 0:
            for site in range(len(problem.disposals)):
                yield (*tour[:at], visit, ~site, *tour[at:])


def _by_trying(
    problem: Problem, tours: tuple[Tour, ...], visit: int
) -> tuple[int, int, Tour] | None:
    return min(
        (
            (problem.course(truck, longer).cost - problem.course(truck, tour).cost, truck, longer)
            for truck, tour in enumerate(tours)
            for longer in _longer(problem, tour, visit)
            if not problem.course(truck, longer).faults
        ),
        default=None,
    )


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_cheaper_than_what_is_found_at_once(seed: int) -> None:
    problem = _problem(random.Random(seed))
    into = Insertion(problem, [(~0,) if it.load_l else () for it in problem.trucks])
    found = []
    for visit in range(len(problem.visits)):
        best = into.cheapest(visit)
        assert best == _by_trying(problem, into.tours, visit)
        found.append(best)
        if best is not None:
            assert into.cheapest(visit, best[0]) is None
            assert into.cheapest(visit, best[0] + 1) == best
            into.change(best[1], best[2])
    assert {it is None for it in found} == {True, False}


def test_nobody_takes_nothing() -> None:
    problem = replace(_problem(random.Random(1)), trucks=())
    assert Insertion(problem, ()).cheapest(0) is None


def test_estimates_are_straight_lines_times_a_factor() -> None:
    rng = random.Random(3)
    points = [Point(rng.uniform(-80, 80), rng.uniform(-180, 180)) for _ in range(30)]
    rows, _ = matrix_m(points, None, 1.35)
    assert [list(row) for row in rows] == [
        [round(1350 * straight_line_km(a.lat, a.lon, b.lat, b.lon)) for b in points] for a in points
    ]

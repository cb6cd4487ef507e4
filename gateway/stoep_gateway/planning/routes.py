"""From places on the map to tours: what a solver is asked, and what it answers. Pure.

The question and the answer are JSON, so that a process of its own can do it (`apart`): distances
between a thousand places take seconds, the solver tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stoep_gateway.planning.distances import DistanceTable, Point
from stoep_gateway.planning.problem import (
    EVER_S,
    Course,
    Disposal,
    Problem,
    Tour,
    Truck,
    Visit,
)
from stoep_gateway.planning.ways import Find, Ways, matrices

if TYPE_CHECKING:
    from stoep_gateway.planning.insertion import Insertion

__all__ = ["Answer", "Question", "answer", "nothing"]


@dataclass(frozen=True, slots=True)
class Question:
    """A routing problem whose places are points, and how long to search.

    ``km`` are distances by road between points, by their index, as far as they are known; ``ways``
    knows where else to find some.
    """

    points: Sequence[Point]
    visits: Sequence[Visit]
    disposals: Sequence[Disposal]
    trucks: Sequence[Truck]
    start: Sequence[Tour]
    km: dict[int, dict[int, float]] | None
    detour_factor: float
    speed_kmh: float
    iterations: int
    seconds: float | None
    seed: int
    ways: Ways | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A tour and a course per truck; per visit what it adds to the cost of its tour, in money.

    Of a visit in no tour that is what it would have added, None if it fitted nowhere though it was
    worth it. That it was not may show only if shifts had no end.
    ``impossible`` says why no truck could do it even alone.
    """

    tours: tuple[Tour, ...]
    courses: tuple[Course, ...]
    detours: tuple[int | None, ...]
    impossible: dict[int, str]
    relaxed: bool
    solver: str
    distance_source: str
    notes: tuple[str, ...] = ()


def answer(
    question: Question, cancelled: Callable[[], bool] = bool, find: Find | None = None
) -> Answer:
    """Solve: the same question gives the same answer, unless ``seconds`` end the search.

    Without somebody to ``find`` ways, those that no table has are estimated.
    """
    # Half a second and 40 MB that a gateway without trucks need not spend.
    from stoep_gateway.planning import insertion, solving  # noqa: PLC0415

    table = None if question.km is None else DistanceTable(question.km)
    roads = matrices(
        question.points,
        table,
        question.detour_factor,
        question.speed_kmh,
        question.ways,
        find,
    )
    problem = Problem(
        roads.metres, roads.seconds, question.visits, question.disposals, question.trucks
    )
    solved = solving.solve(
        problem,
        question.iterations,
        question.seed,
        seconds=question.seconds,
        start=question.start,
        cancelled=cancelled,
    )
    courses = tuple(problem.course(*it) for it in enumerate(solved.tours))
    return Answer(
        solved.tours,
        courses,
        _detours(problem, courses, insertion.Insertion(problem, solved.tours)),
        solved.impossible,
        solved.relaxed,
        solving.SOLVER,
        roads.source,
        roads.notes,
    )


def nothing(question: Question) -> Answer:
    """Return the answer that nothing is driven."""
    idle = Course((), 0, 0, 0, 0, frozenset())
    trucks, visits = len(question.trucks), len(question.visits)
    return Answer(((),) * trucks, (idle,) * trucks, (None,) * visits, {}, False, "none", "none")


def _detours(
    problem: Problem, courses: Sequence[Course], into: Insertion
) -> tuple[int | None, ...]:
    detours: list[int | None] = [None] * len(problem.visits)
    for number, (tour, course) in enumerate(zip(into.tours, courses, strict=True)):
        for position, stop in enumerate(tour):
            if stop >= 0:
                without = _tidied((*tour[:position], *tour[position + 1 :]), problem.trucks[number])
                detours[stop] = course.cost - problem.course(number, without).cost
    visited = {stop for tour in into.tours for stop in tour}
    tireless: Insertion | None = None  # the same tours of trucks whose shift does not end
    for number, visit in enumerate(problem.visits):
        if number in visited:
            continue
        best = into.cheapest(number)
        if best is None and not visit.required:
            if tireless is None:
                trucks = [replace(it, shift_s=EVER_S) for it in problem.trucks]
                tireless = type(into)(replace(problem, trucks=trucks), into.tours)
            best = tireless.cheapest(number)
            if best is not None and best[0] < visit.prize:
                best = None
        detours[number] = None if best is None else best[0]
    return tuple(detours)


def _tidied(tour: Tour, truck: Truck) -> Tour:
    """Return a tour without unloadings of nothing."""
    tidy: list[int] = []
    loaded = bool(truck.load_l or truck.load_kg)
    for stop in tour:
        if stop >= 0 or loaded:
            tidy.append(stop)
        loaded = stop >= 0
    return tuple(tidy)

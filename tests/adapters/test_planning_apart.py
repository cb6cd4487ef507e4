"""The solver in a process of its own: the same plan, an end when told, a word when it fails."""

import subprocess
import sys
from pathlib import Path

import pytest
from stoep_gateway.planning import apart
from stoep_gateway.planning.routing import UNLOAD, Problem, Truck, Visit, solve

WAYS = [[0, 900, 700, 400], [900, 0, 300, 600], [700, 300, 0, 500], [400, 600, 500, 0]]
TOWN = Problem(
    WAYS,
    WAYS,
    [Visit(1, 4000, 300, 1.0), Visit(2, 5000, 300, 2.0)],
    [Truck(0, 3, 8000, 20_000, 600)],
)


def test_the_same_problem_has_the_same_tours() -> None:
    tours = apart._solve(TOWN, 50, 1, lambda: False)
    assert tours == solve(TOWN, 50, 1)
    assert sorted(set(tours[0])) == [UNLOAD, 0, 1]


def test_nothing_to_do_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    nothing = Problem(TOWN.distances_m, TOWN.durations_s, [], TOWN.trucks)
    assert apart._solve(nothing, 50, 1, lambda: False) == [[]]


def test_it_ends_when_told() -> None:
    assert apart._solve(TOWN, 1_000_000, 1, lambda: True) == [[]]


def test_a_solver_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho first >&2\necho no such library >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(RuntimeError, match="has ended with 3: no such library"):
        apart._solve(TOWN, 50, 1, lambda: False)

"""The solver in a process of its own: the same answer, an end when told, a word when it fails."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stoep_gateway.planning import apart, child, routes
from stoep_gateway.planning.distances import Point
from stoep_gateway.planning.problem import MONEY_PER_EUR, Disposal, Truck, Visit
from stoep_gateway.planning.routes import Question

TOWN = Question(
    points=(Point(52.0, 5.0), Point(52.0, 5.02), Point(52.01, 5.0), Point(52.01, 5.02)),
    visits=(
        Visit(1, 300, 4000, prize=500 * MONEY_PER_EUR, windows=((0, 3600),)),
        Visit(2, 300, 5000, required=True, trucks=(0,)),
    ),
    disposals=(Disposal(3),),
    trucks=(Truck(0, 0, (0,), 8000, 600, 20_000, 100, 1694),) * 2,
    start=(),
    km=None,
    detour_factor=1.35,
    speed_kmh=30,
    iterations=50,
    seconds=None,
    seed=1,
)


def test_the_same_question_has_the_same_answer() -> None:
    answer = apart.answer(TOWN)
    assert answer == routes.answer(TOWN)
    assert sorted({stop for tour in answer.tours for stop in tour}) == [~0, 0, 1]


def test_nothing_to_do_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert apart.answer(replace(TOWN, visits=())).tours == ((), ())


def test_it_ends_when_told() -> None:
    assert apart.answer(replace(TOWN, iterations=1_000_000), lambda: True).tours == ((), ())


def test_what_is_longer_than_a_pipe_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_ASK_S", 0.001)
    ended = child.run("json.tool", b"[" + b"1," * 1_000_000 + b"1]", lambda: False)
    assert ended.returncode == 0
    assert ended.stdout.count(b"1") == 1_000_001


def test_a_solver_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho first >&2\necho no such library >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(RuntimeError, match="has ended with 3: no such library"):
        apart.answer(TOWN)

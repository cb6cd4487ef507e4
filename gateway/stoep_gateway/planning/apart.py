"""Plans with the solver in a process of its own, which takes its memory with it when it ends.

PyVRP and numpy are 40 MB, and a plan for a large town some hundred more, which a gateway that has
planned once would keep. To be called off the event loop.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

import orjson

from stoep_gateway.assets.states import AssetState
from stoep_gateway.config import Config
from stoep_gateway.planning import planner, solver
from stoep_gateway.planning.plan import Plan
from stoep_gateway.planning.routing import Problem

__all__ = ["plan"]

_ASK_S = 0.2  # whether to give up


def plan(
    states: Mapping[str, AssetState], config: Config, now_utc_ms: int, cancelled: Callable[[], bool]
) -> Plan:
    """Do as ``planner.plan``. Raises ``RuntimeError`` too, for a solver that has failed."""
    return planner.plan(states, config, now_utc_ms, cancelled, _solve)


def _solve(
    problem: Problem, iterations: int, seed: int, cancelled: Callable[[], bool]
) -> list[list[int]]:
    nothing: list[list[int]] = [[] for _ in problem.trucks]
    if not problem.visits:
        return nothing
    request = orjson.dumps([problem, iterations, seed])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", solver.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    ) as process:
        given: bytes | None = request
        while True:
            try:
                answer, words = process.communicate(given, timeout=_ASK_S)
                break
            except subprocess.TimeoutExpired:
                given = None
                if cancelled():
                    process.kill()
                    return nothing
    if process.returncode != 0:
        last = words.decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"the solver has ended with {process.returncode}: {last}")
    tours: list[list[int]] = orjson.loads(answer)
    return tours

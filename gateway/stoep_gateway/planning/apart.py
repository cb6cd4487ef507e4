"""Plans with the solver in a process of its own, which takes its memory with it when it ends.

PyVRP and numpy are 40 MB, and a plan for a large town some hundred more, which a gateway that has
planned once would keep. To be called off the event loop.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from stoep_gateway.planning import routes, solver
from stoep_gateway.planning.routes import Answer, Question

__all__ = ["answer"]

_ASK_S = 0.2  # whether to give up


def answer(question: Question, cancelled: Callable[[], bool] = bool) -> Answer:
    """Do as ``routes.answer``, and find ways, whose failure costs no plan.

    Raises ``RuntimeError`` too, for a solver that has failed. Once ``cancelled()`` is true the
    answer is that nothing is driven.
    """
    if not question.visits and not any(it.load_l or it.load_kg for it in question.trucks):
        return routes.nothing(question)
    asked: bytes | None = solver.QUESTION.dump_json(question)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", solver.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    ) as process:
        while True:
            try:
                told, words = process.communicate(asked, timeout=_ASK_S)
                break
            except subprocess.TimeoutExpired:
                asked = None
                if cancelled():
                    process.kill()
                    return routes.nothing(question)
    if process.returncode != 0:
        last = words.decode(errors="replace").strip().rpartition("\n")[2]
        said = f"the solver has ended with {process.returncode}: {last}".removesuffix(": ")
        if question.ways is None:
            raise RuntimeError(said)
        # A map may be more than this machine has room for, or more than a library can bear.
        estimated = answer(replace(question, ways=None), cancelled)
        return replace(estimated, notes=(f"distances are estimated: {said}",))
    return solver.ANSWER.validate_json(told)

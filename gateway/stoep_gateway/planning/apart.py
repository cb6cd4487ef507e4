"""Plans with the solver in a process of its own, which takes its memory with it when it ends.

PyVRP and numpy are 40 MB, and a plan for a large town some hundred more, which a gateway that has
planned once would keep. To be called off the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stoep_gateway.planning import child, routes, solver
from stoep_gateway.planning.routes import Answer, Question

__all__ = ["answer"]


def answer(question: Question, cancelled: Callable[[], bool] = bool) -> Answer:
    """Do as ``routes.answer``, and find ways, whose failure costs no plan.

    Raises ``RuntimeError`` too, for a solver that has failed. Once ``cancelled()`` is true the
    answer is that nothing is driven.
    """
    if not question.visits and not any(it.load_l or it.load_kg for it in question.trucks):
        return routes.nothing(question)
    ended = child.run(solver.__name__, solver.QUESTION.dump_json(question), cancelled)
    if cancelled():
        return routes.nothing(question)
    if ended.returncode != 0:
        said = child.why(ended, "the solver")
        if question.ways is None:
            raise RuntimeError(said)
        # A map may be more than this machine has room for, or more than a library can bear.
        estimated = answer(replace(question, ways=None), cancelled)
        return replace(estimated, notes=(f"distances are estimated: {said}",))
    return solver.ANSWER.validate_json(ended.stdout)

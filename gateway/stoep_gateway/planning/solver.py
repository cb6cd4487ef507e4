"""The solver as a program of its own: a question comes in, its answer goes out; see `apart`."""

from __future__ import annotations

import sys

from pydantic import TypeAdapter

from stoep_gateway.planning.finding import find
from stoep_gateway.planning.routes import Answer, Question, answer

QUESTION = TypeAdapter(Question)
ANSWER = TypeAdapter(Answer)


def _main() -> None:
    question = QUESTION.validate_json(sys.stdin.buffer.read())
    sys.stdout.buffer.write(ANSWER.dump_json(answer(question, find=find)))


if __name__ == "__main__":
    _main()

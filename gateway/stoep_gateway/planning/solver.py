"""The solver as a program of its own: a problem comes in as JSON, tours go out; see ``apart``."""

from __future__ import annotations

import sys

import orjson

from stoep_gateway.planning.routing import Problem, Truck, Visit, solve


def _main() -> None:
    told, iterations, seed = orjson.loads(sys.stdin.buffer.read())
    problem = Problem(
        told["distances_m"],
        told["durations_s"],
        [Visit(**visit) for visit in told["visits"]],
        [Truck(**truck) for truck in told["trucks"]],
    )
    sys.stdout.buffer.write(orjson.dumps(solve(problem, iterations, seed)))


if __name__ == "__main__":
    _main()

"""The action ``stoep plan solve``: somebody's own routing problem, in the format of VRPLIB.

It is put in the words of a day's rounds: every visit is required, and a truck comes home to unload.
A tour with several unloadings is several routes. Money is distance.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoep_gateway.errors import ConfigError, FatalError, Mistake
from stoep_gateway.planning.problem import EVER_S, Disposal, Problem, Tour, Truck, Visit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Instance", "add", "read", "routes", "run"]

_SECONDS = 10.0
_ITERATIONS = 10**9  # more than there is time for
_MONEY = 100  # of a unit of distance, as a metre's in a town: penalties are of that size
_FINE = 1000  # parts of a unit of distance, where it is not whole
_SPECIFICATIONS = frozenset(
    {
        *("NAME", "COMMENT", "TYPE", "DIMENSION", "CAPACITY", "VEHICLES", "SERVICE_TIME"),
        *("EDGE_WEIGHT_TYPE", "EDGE_WEIGHT_FORMAT", "NODE_COORD_TYPE", "DISPLAY_DATA_TYPE"),
    }
)
_COLUMNS = {  # after the node's number
    "NODE_COORD_SECTION": 2,
    "DISPLAY_DATA_SECTION": 2,
    "DEMAND_SECTION": 1,
    "SERVICE_TIME_SECTION": 1,
    "TIME_WINDOW_SECTION": 2,
}
_LISTS = ("DEPOT_SECTION", "EDGE_WEIGHT_SECTION")
_TYPES = ("CVRP", "CVRPTW", "VRPTW")
_SOLOMON = 7  # columns


@dataclass(frozen=True, slots=True)
class Instance:
    """A problem; ``weights`` are the distances as the format counts them, the depot's first.

    ``vehicles`` None: as many as it takes.
    """

    weights: npt.NDArray[np.float64]
    vehicles: int | None
    problem: Problem


def add(actions: Any) -> None:
    """Add the action to those of ``stoep plan``."""
    solve = actions.add_parser(
        "solve", help="solve a routing problem of VRPLIB's format (CVRP, VRPTW), or of Solomon's"
    )
    solve.add_argument("file", type=Path, metavar="FILE.vrp")
    how_long = solve.add_mutually_exclusive_group()
    how_long.add_argument(
        "--seconds", type=_positive, help=f"search for so long (default: {_SECONDS:.0f})"
    )
    how_long.add_argument("--iterations", type=int, help="or for so many steps: always the same")
    solve.add_argument("--seed", type=int, default=0)
    solve.add_argument(
        "--sol", type=Path, metavar="FILE", help="a solution to compare with, in VRPLIB's format"
    )


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError
    return seconds


def run(options: argparse.Namespace) -> int:
    """Print the routes and their cost as VRPLIB's solutions have them; the rest is on stderr.

    Raises ConfigError for a file that cannot be read, FatalError if no routes are found.
    """
    instance = read(options.file)
    known = None if options.sol is None else _cost_of(options.sol)
    # Half a second and 40 MB that no other action of the command needs.
    from stoep_gateway.planning.solving import solve  # noqa: PLC0415

    seconds = options.seconds or (None if options.iterations else _SECONDS)
    iterations = options.iterations or _ITERATIONS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyVRP's of its penalties, which nobody can do about
        answer = solve(instance.problem, iterations, options.seed, seconds=seconds)
    found = routes(answer.tours)
    if answer.relaxed or answer.impossible:
        raise FatalError("no routes were found that visit all")
    if instance.vehicles is not None and len(found) > instance.vehicles:
        raise FatalError(f"{len(found)} routes were found, for {instance.vehicles} vehicles")
    cost = sum(
        float(instance.weights[it]) for route in found for it in itertools.pairwise((0, *route, 0))
    )
    for number, route in enumerate(found, 1):
        print(f"Route #{number}: {' '.join(map(str, route))}")
    print(f"Cost {cost:.10g}")
    if known is not None:
        print(f"{100 * (cost / known - 1):+.2f} % of {known:g}", file=sys.stderr)
    return 0


def routes(tours: Sequence[Tour]) -> list[list[int]]:
    """Return the clients between one unloading and the next, numbered from 1."""
    found = []
    for tour in tours:
        for is_visit, stops in itertools.groupby(tour, lambda stop: stop >= 0):
            if is_visit:
                found.append([stop + 1 for stop in stops])
    return found


def read(path: Path) -> Instance:
    """Read an instance; raises ConfigError with all that is wrong with the file."""
    from vrplib.parse import (  # type: ignore[import-untyped]  # noqa: PLC0415
        parse_solomon,
        parse_vrplib,
    )

    text = _text(path)
    lines = text.splitlines()
    is_solomon = any(line.split()[:1] == ["CUSTOMER"] for line in lines)
    check = _faults_of_solomon if is_solomon else _faults
    mistakes = [Mistake(str(path), number, what) for number, what in check(lines)]
    if not mistakes:
        try:
            told = parse_solomon(text, False) if is_solomon else parse_vrplib(text, False)
            return _instance(told)
        except (ValueError, KeyError, IndexError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            mistakes = [Mistake(str(path), 0, what)]
    raise ConfigError(mistakes)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError([Mistake(str(path), 0, f"cannot be read: {error.strerror}")]) from None


def _cost_of(path: Path) -> float:
    from vrplib.parse import parse_solution  # noqa: PLC0415

    try:
        cost = float(parse_solution(_text(path))["cost"])
    except (ValueError, KeyError, TypeError):
        cost = 0.0
    if cost <= 0:
        raise ConfigError([Mistake(str(path), 0, 'a solution has a line "Cost 1234"')])
    return cost


def _faults(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Give what VRPLIB's reader would not tell, or not tell the place of, with its line."""
    said: dict[str, str] = {}
    rows: dict[str, int] = {}
    section = ""
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words == ["EOF"]:
            continue
        name, colon, value = (it.strip() for it in line.partition(":"))
        if words[0].endswith("_SECTION"):
            section = words[0]
            rows[section] = 0
            if section not in _COLUMNS and section not in _LISTS:
                yield number, f"{section} is not understood"
        elif colon:
            said[name] = value
            if name not in _SPECIFICATIONS:
                yield number, f"{name} is not understood"
            elif name == "TYPE" and value not in _TYPES:
                yield number, f"TYPE is one of {', '.join(_TYPES)}"
            elif name in ("DIMENSION", "CAPACITY", "VEHICLES") and not value.isdecimal():
                yield number, f"{name} is a whole number"
        elif not section:
            yield number, "expected NAME : VALUE"
        elif not all(map(_is_number, words)):
            yield number, f"{section} has numbers"
        elif section in _COLUMNS:
            rows[section] += 1
            if len(words) != 1 + _COLUMNS[section]:
                yield number, f"{section} has {1 + _COLUMNS[section]} numbers in a line"
            elif words[0] != str(rows[section]):
                yield number, f"node {rows[section]} is expected here, not {words[0]}"
                rows[section] = int(words[0]) if words[0].isdecimal() else rows[section]
            elif section == "DEMAND_SECTION" and not words[1].isdecimal():
                yield number, "a demand is a whole number"
    for name in ("DIMENSION", "CAPACITY", "EDGE_WEIGHT_TYPE"):
        if name not in said:
            yield 0, f"{name} is missing"
    if "DEMAND_SECTION" not in rows:
        yield 0, "DEMAND_SECTION is missing"
    dimension = said.get("DIMENSION", "")
    for name, count in rows.items():
        if name in _COLUMNS and dimension.isdecimal() and count != int(dimension):
            yield 0, f"{name} has {count} nodes, DIMENSION says {dimension}"


def _faults_of_solomon(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    is_row = False
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words[:1] == ["CUST"]:
            is_row = True
        elif is_row and words and not (len(words) == _SOLOMON and all(map(_is_number, words))):
            yield number, f"a customer has {_SOLOMON} numbers"


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _instance(told: Any) -> Instance:
    """Return the instance that VRPLIB's reader has read; raises ValueError or KeyError."""
    import numpy as np  # noqa: PLC0415

    if list(told.get("depot", [0])) != [0]:
        raise ValueError("there has to be one depot, node 1")
    weights = _weights(told)
    demand = np.asarray(told["demand"])
    size = len(demand)
    if weights.shape != (size, size):
        raise ValueError(f"the distances are of {len(weights)} nodes, the demands of {size}")
    fine = 1 if (weights == np.rint(weights)).all() else _FINE
    windows = told.get("time_window")
    service = np.broadcast_to(told.get("service_time", 0), size)
    opens_s, closes_s = (0, EVER_S) if windows is None else (int(it * fine) for it in windows[0])
    vehicles = told.get("vehicles")
    trucks = math.ceil(demand.sum() / int(told["capacity"])) + 2
    truck = Truck(
        *(0, 0, (0,)),
        capacity_l=int(told["capacity"]),
        unload_s=0,
        shift_s=EVER_S,
        per_m=_MONEY,
        per_s=0,
        earliest_s=opens_s,
        latest_s=closes_s,
    )
    visits = [
        Visit(
            place,
            math.ceil(fine * service[place]),
            int(demand[place]),
            required=True,
            windows=()
            if windows is None
            else ((math.ceil(fine * windows[place][0]), int(fine * windows[place][1])),),
        )
        for place in range(1, size)
    ]
    problem = Problem(
        np.rint(fine * weights).astype(np.int64).tolist(),
        np.ceil(fine * weights).astype(np.int64).tolist(),
        visits,
        [Disposal(0)],
        [truck] * (vehicles or trucks),
    )
    return Instance(weights, vehicles, problem)


def _weights(told: Any) -> npt.NDArray[np.float64]:
    """Return the distances as TSPLIB95 has them rounded; those of Solomon's are not."""
    import numpy as np  # noqa: PLC0415

    if "edge_weight" in told:
        return np.asarray(told["edge_weight"], dtype=np.float64)
    at = np.asarray(told["node_coord"], dtype=np.float64)
    straight = np.hypot(*(at[:, None] - at[None, :]).transpose(2, 0, 1))
    rounded: Any = {
        "EUC_2D": lambda: np.floor(straight + 0.5),
        "FLOOR_2D": lambda: np.floor(straight),
        "CEIL_2D": lambda: np.ceil(straight),
        "EXACT_2D": lambda: np.floor(1000 * straight + 0.5),
        None: lambda: straight,
    }
    kind = told.get("edge_weight_type")
    if kind not in rounded:
        raise ValueError(f"EDGE_WEIGHT_TYPE {kind} is not understood")
    found: npt.NDArray[np.float64] = rounded[kind]()
    return found

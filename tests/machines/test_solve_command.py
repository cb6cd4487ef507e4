"""Somebody's own routing problem: what PyVRP's reader and VRPLIB's say of what comes out."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import pyvrp
import vrplib
from stoep_gateway.planning import cli

INSTANCE = Path(__file__).parent.parent / "vectors" / "vrplib" / "E-n22-k4.vrp"
TIMED = """NAME : timed
TYPE : VRPTW
DIMENSION : 6
VEHICLES : 3
CAPACITY : 30
SERVICE_TIME : 10
EDGE_WEIGHT_TYPE : EUC_2D
NODE_COORD_SECTION
1 0 0
2 10 0
3 20 0
4 0 10
5 0 20
6 10 10
DEMAND_SECTION
1 0
2 10
3 10
4 10
5 10
6 10
TIME_WINDOW_SECTION
1 0 200
2 100 120
3 20 40
4 30 60
5 0 25
6 0 200
DEPOT_SECTION
1
-1
EOF
"""
SOLOMON = """C-tiny

VEHICLE
NUMBER     CAPACITY
  3         30

CUSTOMER
CUST NO.  XCOORD.  YCOORD.  DEMAND  READY TIME  DUE DATE  SERVICE TIME

    0      0          0          0          0        200          0
    1     10          1         10        100        120         10
    2     20          3         10         20         40         10
    3      1         10         10         30         60         10
    4      0         20         10          0         25         10
"""


def solved(file: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[Path, str]:
    """Return a file with the solution, and what else was said."""
    assert cli.main(["solve", str(file), "--iterations", "80", *more]) == 0
    told = capsys.readouterr()
    solution = file.parent / "found.sol"
    solution = solution if file != INSTANCE else Path(more[-1]).with_name("found.sol")
    solution.write_text(told.out)
    return solution, told.err


def test_an_instance_is_solved_and_its_cost_is_what_another_reader_makes_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = tmp_path / "best.sol"
    best.write_text("Route #1: 1 2\nCost 300\n")
    solution, said = solved(INSTANCE, capsys, "--sol", str(best))
    data = pyvrp.read(INSTANCE, round_func="round")
    found = pyvrp.read_solution(solution, data)
    assert found.is_feasible()
    assert found.is_complete()
    assert found.distance() == vrplib.read_solution(solution)["cost"] == 375
    assert said == "+25.00 % of 300\n"


def test_windows_of_time_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "timed.vrp"
    file.write_text(TIMED)
    solution, _ = solved(file, capsys)
    found = pyvrp.read_solution(solution, pyvrp.read(file, round_func="round"))
    assert found.is_feasible()
    assert found.is_complete()
    assert found.distance() == vrplib.read_solution(solution)["cost"]


def test_solomons_format_is_read_and_its_distances_are_not_rounded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.txt"
    file.write_text(SOLOMON)
    solution, _ = solved(file, capsys)
    told = vrplib.read_instance(file, instance_format="solomon")
    found = vrplib.read_solution(solution)
    cost = 0.0
    for route in found["routes"]:
        now = 0.0
        for a, b in itertools.pairwise((0, *route, 0)):
            leg = math.dist(told["node_coord"][a], told["node_coord"][b])
            now = max(now + leg, told["time_window"][b][0])
            assert now <= told["time_window"][b][1]
            now += told["service_time"][b]
            cost += leg
        assert sum(told["demand"][it] for it in route) <= 30
    assert sorted(itertools.chain(*found["routes"])) == [1, 2, 3, 4]
    assert found["cost"] == pytest.approx(cost, abs=1e-6)


@pytest.mark.parametrize(
    "weights",
    [
        "FULL_MATRIX\nEDGE_WEIGHT_SECTION\n0 3 9\n4 0 5\n9 6 0\n",
        "LOWER_ROW\nEDGE_WEIGHT_SECTION\n3\n9 5\n",
    ],
)
def test_distances_may_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: str
) -> None:
    file = tmp_path / "told.vrp"
    file.write_text(
        "NAME : told\nTYPE : CVRP\nDIMENSION : 3\nCAPACITY : 9\nEDGE_WEIGHT_TYPE : EXPLICIT\n"
        f"EDGE_WEIGHT_FORMAT : {weights}DEMAND_SECTION\n1 0\n2 4\n3 5\nDEPOT_SECTION\n1\n-1\nEOF\n"
    )
    solution, _ = solved(file, capsys)
    found = pyvrp.read_solution(solution, pyvrp.read(file, round_func="round"))
    assert found.is_complete()
    assert found.distance() == vrplib.read_solution(solution)["cost"] == 17


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("6 2100", "6 many", ":36: DEMAND_SECTION has numbers"),
        ("6 2100", "6", ":36: DEMAND_SECTION has 2 numbers in a line"),
        ("6 2100", "6 2.5", ":36: a demand is a whole number"),
        ("6 163 247\n", "", ":13: node 6 is expected here, not 7"),
        ("CAPACITY : 6000\n", "", ": CAPACITY is missing"),
        ("CAPACITY : 6000", "CAPACITY : big", ":6: CAPACITY is a whole number"),
        ("DIMENSION : 22", "DIMENSION : 23", ": DEMAND_SECTION has 22 nodes, DIMENSION says 23"),
        ("EUC_2D", "GEO", ": EDGE_WEIGHT_TYPE GEO is not understood"),
        ("COMMENT", "DISTANCE", ":2: DISTANCE is not understood"),
        ("DEPOT_SECTION", "BACKHAUL_SECTION", ":53: BACKHAUL_SECTION is not understood"),
        ("\n 1\n", "\n 2\n", ": there has to be one depot, node 1"),
        ("NAME : E", "E", ":1: expected NAME : VALUE"),
        ("TYPE : CVRP", "TYPE : ACVRP", ":3: TYPE is one of CVRP, CVRPTW, VRPTW"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, what: str
) -> None:
    file = tmp_path / "bad.vrp"
    file.write_text(INSTANCE.read_text().replace(old, new, 1))
    assert cli.main(["solve", str(file)]) == 2
    assert f"{file}{what}\n" in capsys.readouterr().err + "\n"


@pytest.mark.parametrize(
    ("text", "options", "what"),
    [
        (SOLOMON.replace("25         10", "25"), [], ":14: a customer has 7 numbers"),
        (TIMED.replace("5 0 25", "5 0 5"), [], "no routes were found that visit all"),
        (TIMED, ["--sol", "no.sol"], "no.sol: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_solved_is_an_error(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    options: list[str],
    what: str,
) -> None:
    file = tmp_path / "bad.txt"
    file.write_text(text)
    assert cli.main(["solve", str(file), "--iterations", "8", *options]) != 0
    assert what in capsys.readouterr().err

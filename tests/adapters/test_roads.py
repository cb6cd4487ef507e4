"""Ways on a map of roads: by hand, against a plain Dijkstra, kept on disk, and not to be had."""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from road_maps import At, Way, degrees, write_map
from stoep_gateway import config
from stoep_gateway.planning import apart, finding, planner, road_cache
from stoep_gateway.planning.distances import Point
from stoep_gateway.planning.problem import MONEY_PER_EUR, Disposal, Truck, Visit
from stoep_gateway.planning.road_tags import Lorry, speeds_kmh
from stoep_gateway.planning.roads_model import Found, Spot
from stoep_gateway.planning.routes import Question
from stoep_gateway.planning.selection import Decisions
from stoep_gateway.planning.ways import RoadsError, Ways, matrices

pytest.importorskip("osmium", reason="the extra [roads] is not installed")
pytest.importorskip("scipy", reason="the extra [roads] is not installed")

from stoep_gateway.planning import roads

LORRY = Lorry(18, 3.8)
STREET = {"highway": "residential", "maxspeed": "30"}  # 22.5 km/h: 160 ms for a metre
ONE_WAY = STREET | {"oneway": "yes"}

# One way north from b to c, a bridge from d to n, a roundabout e-f-g-h, dead ends m, k and l.
#
#   n --------- m          y = 1000
#   | (bridge)  x bollard
#   d --------- c          y = 500           l
#   |           ^                            |
#   a --------- b --------- e ( f g h ) ---- k
NODES: dict[str, At] = {
    "a": (0, 0),
    "b": (1000, 0),
    "c": (1000, 500),
    "d": (0, 500),
    "n": (0, 1000),
    "m": (1000, 1000),
    "x": (1000, 750),
    "e": (2000, 0),
    "f": (2020, -20),
    "g": (2040, 0),
    "h": (2020, 20),
    "k": (3000, 0),
    "l": (2020, 500),
    "island": (5000, 5000),
    "beach": (5500, 5000),
    "gate": (-500, 0),
}
WAYS: list[Way] = [
    ("abe", STREET),
    ("bc", ONE_WAY),
    ("cda", STREET),
    ("dn", STREET | {"bridge": "yes"}),
    ("nm", STREET),
    ("cxm", STREET),
    ("efghe", STREET | {"junction": "roundabout"}),
    ("gk", STREET),
    ("hl", STREET),
    (("island", "beach"), STREET),
    (("gate", "a"), STREET | {"access": "private"}),
]
QUARTER_M = math.hypot(20, 20)


@pytest.fixture
def town(tmp_path: Path) -> Path:
    return write_map(tmp_path / "town.osm", NODES, WAYS, {"x": {"barrier": "bollard"}})


def spot(at: At, near: bool = False) -> Spot:
    return Spot(*degrees(at), near)


def between(file: Path, *places: At | Spot, left: bool = False) -> Found:
    spots = [it if isinstance(it, Spot) else spot(it) for it in places]
    return roads.matrix(file, spots, LORRY, left=left)


@pytest.mark.parametrize(
    ("start", "end", "there_m", "back_m"),
    [
        ("a", "b", 1000, 1000),
        ("b", "c", 500, 2500),  # back round by d and a
        ("c", "m", 2500, 2500),  # by the bridge: a bollard stands in the short way
        ("b", "k", 1000 + 2 * QUARTER_M + 960, 1000 + 2 * QUARTER_M + 960),
        ("e", "l", 3 * QUARTER_M + 480, QUARTER_M + 480),
        ("f", "e", 3 * QUARTER_M, QUARTER_M),
    ],
)
def test_ways_by_hand(town: Path, start: str, end: str, there_m: float, back_m: float) -> None:
    found = between(town, NODES[start], NODES[end])
    assert found.metres.tolist() == [
        [0, pytest.approx(there_m, abs=1)],
        [pytest.approx(back_m, abs=1), 0],
    ]
    assert found.seconds[0, 1] == pytest.approx(0.16 * there_m, abs=1)


def test_a_place_is_on_its_street(town: Path) -> None:
    """300 m along the one-way street, beside it, and 100 m farther on the same street."""
    found = between(town, (990, 300), (1010, 400), NODES["c"])
    assert found.metres.tolist() == [[0, 100, 200], [2900, 0, 100], [2800, 2900, 0]]
    assert found.off_m.tolist() == pytest.approx([10, 10, 0], abs=0.2)


def test_at_a_corner_a_truck_comes_from_any_road(town: Path) -> None:
    """A step into the one-way street, at b, is no reason to come round from its other end."""
    found = between(town, NODES["a"], (1000, 3), NODES["e"])
    assert found.metres.tolist() == [[0, 1000, 2000], [1000, 0, 1000], [2000, 1000, 0]]


def test_two_places_at_one_spot(town: Path) -> None:
    assert between(town, (500, 5), (500, -5)).metres.tolist() == [[0, 0], [0, 0]]


def test_a_truck_stops_on_the_right_side(town: Path) -> None:
    """North of the street from b to e: going west is right, going east is left."""
    north, south = spot((1500, 10), near=True), spot((1500, -10), near=True)
    found = between(town, NODES["b"], north, south)
    assert found.metres[0].tolist() == [0, 1500, 500]  # to the north side by way of e
    assert found.metres[1, 0] == 500
    mirrored = between(town, NODES["b"], north, south, left=True)
    assert mirrored.metres[0].tolist() == [0, 500, 1500]
    assert not found.across.any()


def test_on_the_wrong_side_of_a_one_way_street(town: Path) -> None:
    """West of a street to the north is left of it: there is no other street, and that is said."""
    found = between(town, spot((990, 300), near=True), spot((1010, 300), near=True), NODES["c"])
    assert found.across.tolist() == [True, False, False]
    assert found.metres[0, 2] == found.metres[1, 2] == 200


def test_what_cannot_be_reached_is_left_to_the_estimate(town: Path) -> None:
    found = between(town, NODES["a"], (-300, 0), (-200, 0), NODES["beach"])
    assert found.off_m.tolist() == [
        pytest.approx(0, abs=0.1),
        math.inf,
        pytest.approx(200, abs=1),
        math.inf,
    ]
    assert found.metres[0].tolist() == [0, -1, 0, -1]
    assert found.metres[3].tolist() == [-1, -1, -1, -1]


@pytest.mark.parametrize(
    ("tags", "kmh"),
    [
        ({"highway": "residential"}, (22.5, 22.5)),
        ({"highway": "residential", "maxspeed": "50"}, (30, 30)),
        ({"highway": "primary", "maxspeed": "70"}, (70, 70)),
        ({"highway": "primary", "maxspeed": "30 mph"}, (36.21, 36.21)),
        ({"highway": "primary", "maxspeed": "100", "maxspeed:hgv": "60"}, (45, 45)),
        ({"highway": "primary", "maxspeed": "NL:urban"}, (37.5, 37.5)),
        ({"highway": "primary", "maxspeed": "DE:zone:30"}, (22.5, 22.5)),
        ({"highway": "primary", "maxspeed": "signals"}, (37.5, 37.5)),
        ({"highway": "motorway", "maxspeed": "none"}, (80, 0)),
        ({"highway": "living_street"}, (7.5, 7.5)),
        ({"highway": "service", "service": "parking_aisle"}, (7.5, 7.5)),
        ({"highway": "residential", "oneway": "-1"}, (0, 22.5)),
        ({"highway": "residential", "oneway": "reversible"}, (0, 0)),
        ({"highway": "residential", "oneway": "no", "junction": "roundabout"}, (22.5, 22.5)),
        ({"highway": "residential", "junction": "roundabout"}, (22.5, 0)),
        ({"highway": "residential", "access": "private"}, (0, 0)),
        ({"highway": "residential", "access": "no", "motor_vehicle": "destination"}, (22.5, 22.5)),
        ({"highway": "residential", "hgv": "no"}, (0, 0)),
        ({"highway": "residential", "hgv": "delivery"}, (22.5, 22.5)),
        ({"highway": "residential", "maxweight": "7.5"}, (0, 0)),
        ({"highway": "residential", "maxweight": "7500 kg"}, (0, 0)),
        ({"highway": "residential", "maxweight": "30 t"}, (22.5, 22.5)),
        ({"highway": "residential", "maxweight": "default"}, (22.5, 22.5)),
        (
            {
                "highway": "residential",
                "maxweight": "7,5",
                "maxweight:conditional": "none @ destination",
            },
            (22.5, 22.5),
        ),
        ({"highway": "residential", "maxheight": "3.5 m"}, (0, 0)),
        ({"highway": "residential", "maxheight": "12'6\""}, (22.5, 22.5)),
        ({"highway": "residential", "maxheight": "12'"}, (0, 0)),
        ({"highway": "pedestrian"}, (0, 0)),
        ({"highway": "pedestrian", "motor_vehicle": "delivery"}, (6, 6)),
        ({"highway": "track"}, (0, 0)),
        ({"highway": "track", "tracktype": "grade1"}, (11.25, 11.25)),
        ({"highway": "footway"}, (0, 0)),
        ({"highway": "construction"}, (0, 0)),
    ],
)
def test_what_a_truck_reads_in_tags(tags: dict[str, str], kmh: tuple[float, float]) -> None:
    assert speeds_kmh(tags, LORRY) == pytest.approx(kmh, abs=0.01)


def _plain_dijkstra(
    nodes: Mapping[str, At], ways: list[Way], start: str
) -> dict[str, tuple[float, float]]:
    """Return seconds and metres to every node: on all nodes, with another algorithm's data."""
    arcs = defaultdict(list)
    for names, tags in ways:
        forward, backward = speeds_kmh(tags, LORRY)
        for one, other in itertools.pairwise(names):
            metres = math.dist(nodes[one], nodes[other])
            if forward:
                arcs[one].append((other, metres * 3.6 / forward, metres))
            if backward:
                arcs[other].append((one, metres * 3.6 / backward, metres))
    done: dict[str, tuple[float, float]] = {}
    ahead = [(0.0, 0.0, start)]
    while ahead:
        seconds, metres, here = heapq.heappop(ahead)
        if here in done:
            continue
        done[here] = seconds, metres
        for there, more_s, more_m in arcs[here]:
            heapq.heappush(ahead, (seconds + more_s, metres + more_m, there))
    return done


def _random_town(seed: int, one_ways: bool) -> tuple[dict[str, At], list[Way]]:
    """A grid whose streets have a bend between two crossings, some of them gone or one way."""
    rng = random.Random(seed)
    side = 7
    nodes: dict[str, At] = {
        f"{x},{y}": (400 * x + rng.uniform(-90, 90), 400 * y + rng.uniform(-90, 90))
        for x in range(side)
        for y in range(side)
    }
    ways: list[Way] = []
    for x in range(side):
        for y in range(side):
            for to_x, to_y in ((x + 1, y), (x, y + 1)):
                if side in (to_x, to_y) or rng.random() < 0.1:
                    continue
                one, other = f"{x},{y}", f"{to_x},{to_y}"
                bend = f"{one}-{other}"
                (ax, ay), (bx, by) = nodes[one], nodes[other]
                nodes[bend] = (
                    (ax + bx) / 2 + rng.uniform(-60, 60),
                    (ay + by) / 2 + rng.uniform(-60, 60),
                )
                tags = {"highway": rng.choice(["residential", "tertiary", "living_street"])}
                if one_ways and rng.random() < 0.3:
                    tags["oneway"] = rng.choice(["yes", "-1"])
                ways.append(((one, bend, other), tags))
    return nodes, ways


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("one_ways", [False, True])
def test_against_a_plain_dijkstra(tmp_path: Path, seed: int, one_ways: bool) -> None:
    nodes, ways = _random_town(seed, one_ways)
    names = sorted(it for it in nodes if "-" in it)[:25]  # along edges, not only at their ends
    found = between(write_map(tmp_path / "town.osm", nodes, ways), *(nodes[it] for it in names))
    told = {it: _plain_dijkstra(nodes, ways, it) for it in names}
    held = [
        # in the part of the town from which, and to which, a way leads
        row
        for row, it in enumerate(names)
        if found.off_m[row] < 0.1
    ]
    assert len(held) >= 20
    for a in held:
        for b in held:
            seconds, metres = told[names[a]][names[b]]
            assert found.seconds[a, b] == pytest.approx(seconds, abs=1 + 0.001 * seconds)
            assert found.metres[a, b] == pytest.approx(metres, abs=2 + 0.001 * metres)
    times = found.seconds[np.ix_(held, held)].astype(np.int64)
    detours = times[:, :, None] + times[None, :, :]  # from a by b to c
    assert (times[:, None, :] <= detours + 2).all()
    if not one_ways:
        assert (times == times.T).all()


def test_what_is_found_is_kept_until_the_map_changes(
    town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spots = [spot(NODES["a"]), spot(NODES["c"])]

    def ask(*, left: bool = False) -> list[list[int]]:
        return road_cache.matrix(town, spots, LORRY, left=left, folder=town.parent).metres.tolist()

    asked = []
    real = roads.matrix
    monkeypatch.setattr(roads, "matrix", lambda *args, **kw: asked.append(kw) or real(*args, **kw))
    first = ask()
    assert (ask(), len(asked)) == (first, 1)
    (kept,) = town.parent.glob("roads-*.npz")
    whole = kept.read_bytes()
    for size in range(0, len(whole), len(whole) // 20):
        kept.write_bytes(whole[:size])
        assert ask() == first
        assert kept.read_bytes() == whole
    assert len(asked) == 1 + len(range(0, len(whole), len(whole) // 20))
    write_map(town, NODES, [*WAYS, ("ac", STREET)])
    assert ask()[0][1] == pytest.approx(math.hypot(1000, 500), abs=1)
    ask(left=True)
    for _ in range(6):
        town.write_text(town.read_text() + "\n")
        ask()
    assert len([*town.parent.glob("roads-*")]) == 4


def test_two_runs_at_once_keep_one_whole_file(town: Path) -> None:
    spots = [spot(it) for it in NODES.values()]
    found: list[Found] = []

    def run() -> None:
        found.append(road_cache.matrix(town, spots, LORRY, left=False, folder=town.parent))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    assert all((it.metres == found[0].metres).all() for it in found)
    assert not [*town.parent.glob("*.part")]
    (kept,) = town.parent.glob("roads-*.npz")
    assert (np.load(kept)["metres"] == found[0].metres).all()


def _points(*names: str) -> list[Point]:
    return [Point(*degrees(NODES[it]), name=it) for it in names]


def test_a_place_without_a_road_is_estimated_and_named(town: Path) -> None:
    points = [*_points("a", "b", "island"), Point(*degrees((2500, 180)), name="mill")]
    ways = Ways(roads=str(town))
    found = matrices(points, None, 2.0, 30, ways, finding.find)
    assert found.source == "mixed"
    assert found.metres[0][1] == pytest.approx(1000, abs=1)
    assert found.metres[0][2] == pytest.approx(2 * math.hypot(5000, 5000), rel=0.001)
    assert found.notes == (
        "estimated, since no road for a truck is within 250 m: island",
        "far from the nearest road for a truck: mill (180 m)",
    )
    assert matrices(_points("a", "b"), None, 2.0, 30, ways, finding.find).source == "roads"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", ""),
        (b"no map", ""),
        (b"<osm version='0.6'></osm>", "it has no road for a truck anywhere near"),
    ],
)
def test_no_map_no_roads(tmp_path: Path, content: bytes | None, said: str) -> None:
    town = tmp_path / "town.osm"
    if content is not None:
        town.write_bytes(content)
    found = matrices(_points("a", "b"), None, 1.35, 30, Ways(roads=str(town)), finding.find)
    (note,) = found.notes
    assert found.source == "estimate"
    assert found.metres[0][1] == pytest.approx(1350, abs=1)
    assert note.startswith(f"distances are estimated: town.osm: {said}")


def test_without_the_extra(town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "osmium", None)
    monkeypatch.delitem(sys.modules, "stoep_gateway.planning.roads")
    monkeypatch.delattr("stoep_gateway.planning.roads")
    found = matrices(_points("a", "b"), None, 1.35, 30, Ways(roads=str(town)), finding.find)
    assert found.source == "estimate"
    assert "pip install 'stoep[roads]'" in found.notes[0]


def _question(town: Path) -> Question:
    return Question(
        points=_points("a", "c", "k"),
        visits=[Visit(1, 60, 100, prize=100 * MONEY_PER_EUR)],
        disposals=[Disposal(2)],
        trucks=[Truck(0, 0, (0,), 8000, 600, 20_000, 100, 1694)],
        start=(),
        km=None,
        detour_factor=1.35,
        speed_kmh=30,
        iterations=10,
        seconds=None,
        seed=0,
        ways=Ways(roads=str(town), folder=str(town.parent), places=_points("a", "b", "c", "k")),
    )


def test_the_solver_s_process_reads_the_map(town: Path) -> None:
    answer = apart.answer(_question(town))
    assert (answer.distance_source, answer.notes) == ("roads", ())
    assert [it.metres for it in answer.courses[0].legs] == [
        pytest.approx(it, abs=1) for it in (1500, 1500 + 2000 + 57 + 960, 3000 + 17)
    ]
    assert len([*town.parent.glob("roads-*.npz")]) == 1


def _place(table: str, name: str, at: At, **keys: object) -> str:
    lat, lon = degrees(at)
    lines = [f"[[{table}]]", f'id = "{name}"', f"lat = {lat:.7f}", f"lon = {lon:.7f}"]
    return "\n".join([*lines, *(f"{key} = {json.dumps(it)}" for key, it in keys.items()), ""])


@pytest.mark.parametrize(("drives_on", "back_km"), [("right", [1.5, 1.5]), ("left", [0.5, 0.5])])
def test_from_the_configuration_to_the_messages(
    town: Path, drives_on: str, back_km: list[float]
) -> None:
    """One container, 500 m along a street from the yard: the truck comes on its side."""
    bin_ = {"capacity_l": 1100, "depth_mm": 1000}
    stoep = town.with_name("stoep.toml")
    stoep.write_text(
        f'site = "t"\n[planning]\nroads = "town.osm"\ndrives_on = "{drives_on}"\niterations = 9\n'
        + _place("container", "north", (1500, 10), side="near", **bin_)
        + _place("container", "isle", (5400, 5010), **bin_)
        + _place("place", "yard", NODES["b"], kind="depot")
        + _place("place", "dump", NODES["e"], kind="disposal")
        + '[[truck]]\nid = "t"\ncapacity_l = 9000\ndepot = "yard"\ndisposal = "dump"\n'
    )
    loaded = config.load(stoep)
    plan = planner.plan(
        {},
        loaded,
        1_792_000_000_000,
        decisions=Decisions(included=frozenset({"north"})),
        answer=apart.answer,
    )
    assert (plan.distance_source, plan.notes) == ("roads", ())
    assert [it.leg_km for it in plan.rounds[0].stops] == pytest.approx(back_km, abs=0.002)
    assert len([*town.parent.glob("roads-*.npz")]) == 1  # of all four places
    both = Decisions(included=frozenset({"north", "isle"}))
    plan = planner.plan({}, loaded, 1_792_000_000_000, decisions=both, answer=apart.answer)
    summary = planner.outputs(plan)[-1]
    assert json.loads(summary.payload)["notes"] == [
        "estimated, since no road for a truck is within 250 m: isle"
    ]
    assert plan.distance_source == "mixed"
    assert len([*town.parent.glob("roads-*.npz")]) == 1


def test_the_gateway_s_own_process_loads_nothing_for_it() -> None:
    heavy = {"numpy", "scipy", "osmium", "httpx", "pyvrp"}
    program = f"import sys, stoep_gateway.app; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.strip() == b"[]"


def test_a_map_that_ends_the_solver_costs_no_plan(
    town: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = tmp_path / "ends" / "osmium.py"
    library.parent.mkdir()
    library.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.syspath_prepend(library.parent)
    answer = apart.answer(_question(town))
    assert (answer.distance_source, answer.tours) == ("estimate", ((0, ~0),))
    assert answer.notes == ("distances are estimated: the solver has ended with -9",)


def test_a_map_of_half_the_world(town: Path) -> None:
    with town.open("r+b") as file:
        file.truncate(300_000_001)
    with pytest.raises(RoadsError, match="has more than 300 MB: cut the town out of it"):
        road_cache.matrix(town, [spot((0, 0))], LORRY, left=False, folder=None)


def test_the_map_says_which_error(town: Path) -> None:
    with pytest.raises(RoadsError):
        roads.matrix(town.with_name("gone.osm"), [spot((0, 0))], LORRY)

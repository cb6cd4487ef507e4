"""How good rounds are after 1, 10 and 60 s of searching, against 600 s, and what memory they take.

    python bench/vrp.py                    200 containers for 1 s, and the small machine
    python bench/vrp.py --long             200, 1000 and 2000 containers for 1, 10 and 60 s, too
    python bench/vrp.py --store 600 1000   search for 600 s, and keep the tours in bench/data/vrp

    vrp_200_1s      money above that of the stored tours, of 200 containers after 1 s
    vrp_200_1s_cpu  what it took in all
    vrp_200_1s_rss  the process at its largest
    vrp_pi_s        a plan of 500 containers from the store to the messages, with 512 MB, one core
    vrp_pi_rss_mb   both its processes at their largest

A made-up town offers that many containers, of which every fifth has to be emptied and the others
are worth it more or less; one in ten has hours. There are two disposal sites and a truck for every
forty containers, that unloads when it is full and has a shift of eight hours. Seconds are those of
a processor, so that a busy machine finds the same.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

import stored_town
from stoep_gateway.planning.distances import Point
from stoep_gateway.planning.problem import MONEY_PER_EUR, Disposal, Problem, Truck, Visit
from stoep_gateway.planning.solving import Answer, solve
from stoep_gateway.planning.ways import matrices

STORED = Path(__file__).parent / "data" / "vrp"
SIZES, SECONDS = (200, 1000, 2000), (1, 10, 60)
_KM_PER_DEGREE = 111.195
_LAT, _LON = 52.09, 5.12


def instance(visits: int, seed: int = 1) -> Problem:
    """Return a made-up town, as large as the number of its containers says."""
    rng = random.Random(f"vrp/{seed}/{visits}")
    radius_km = 4 * math.sqrt(visits / 200)
    centres = [_in_circle(rng, radius_km) for _ in range(max(8, visits // 25))]
    places = [
        (east + rng.gauss(0, 0.8), north + rng.gauss(0, 0.8))
        for east, north in (rng.choice(centres) for _ in range(visits))
    ]
    yard, near, far = visits, visits + 1, visits + 2
    for east, north in ((1, -0.3), (1.5, 0.4), (-1.2, 0.6)):
        places.append((east * radius_km, north * radius_km))
    roads = matrices([_point(*it) for it in places], None, 1.35, 25)
    truck = Truck(yard, yard, (0, 1), 80_000, 900, 8 * 3600, 100, 1694)
    return Problem(
        roads.metres,
        roads.seconds,
        [_visit(rng, place) for place in range(visits)],
        [Disposal(near), Disposal(far, closes_s=9 * 3600)],
        [truck] * (visits // 40),
    )


def _visit(rng: random.Random, place: int) -> Visit:
    fill = rng.uniform(0.4, 1.1)
    p_overflow = min(1.0, max(0.0, (fill - 0.6) / 0.5))
    worth_eur = 36 * p_overflow + (12 * (fill / 0.7) ** 3 if fill >= 0.5 else 0)
    return Visit(
        place,
        360,
        round(rng.choice((3000, 4000, 5000)) * min(1.0, fill)),
        prize=round(worth_eur * MONEY_PER_EUR),
        required=p_overflow >= 0.7,
        windows=((0, 4 * 3600),) if rng.random() < 0.1 else (),
    )


def _in_circle(rng: random.Random, radius_km: float) -> tuple[float, float]:
    angle, far_km = rng.uniform(0, 2 * math.pi), radius_km * math.sqrt(rng.random())
    return far_km * math.cos(angle), far_km * math.sin(angle)


def _point(east_km: float, north_km: float) -> Point:
    lon = _LON + east_km / _KM_PER_DEGREE / math.cos(math.radians(_LAT))
    return Point(_LAT + north_km / _KM_PER_DEGREE, lon)


class ProcessorTime:
    """Whether this thread has worked so many seconds since it was first asked."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begin_s: float | None = None

    def __call__(self, _: int) -> bool:
        now_s = time.thread_time()
        if self._begin_s is None:
            self._begin_s = now_s
        return now_s - self._begin_s > self._seconds


def solved(problem: Problem, seconds: float) -> Answer:
    """Return what the search finds in so many seconds of a processor."""
    answer = solve(problem, 10**9, 0, seconds=seconds, timer=ProcessorTime)
    assert not answer.relaxed
    assert not answer.impossible
    return answer


def cost_eur(problem: Problem, tours) -> float:
    """Return what tours cost that break no rule and leave out nothing that is required."""
    assert not any(problem.course(*it).faults for it in enumerate(tours))
    stops = [stop for tour in tours for stop in tour if stop >= 0]
    assert len(stops) == len(set(stops))
    assert set(stops) >= {number for number, it in enumerate(problem.visits) if it.required}
    return problem.cost(tours) / MONEY_PER_EUR


def one(visits: int, seconds: int) -> None:
    """Print the figures of one search."""
    problem = instance(visits)
    stored = json.loads((STORED / f"{visits}.json").read_text())
    best_eur = cost_eur(problem, [tuple(tour) for tour in stored["tours"]])
    begin_s = time.thread_time()
    found_eur = cost_eur(problem, solved(problem, seconds).tours)
    took_s = time.thread_time() - begin_s
    name = f"vrp_{visits}_{seconds}s"
    print(f"{name} {100 * (found_eur / best_eur - 1):.2f} %")
    print(f"{name}_cpu {took_s:.2f} s")
    print(f"{name}_rss {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def store(visits: int, seconds: int) -> None:
    """Keep the tours of a long search, if they are cheaper than those that are kept already."""
    problem = instance(visits)
    tours = solved(problem, seconds).tours
    kept = {"cost_eur": cost_eur(problem, tours), "processor_s": seconds, "tours": tours}
    file = STORED / f"{visits}.json"
    if file.exists() and json.loads(file.read_text())["cost_eur"] <= kept["cost_eur"]:
        print(f"# {kept['cost_eur']:.2f} is not less than what is kept", file=sys.stderr)
        return
    file.write_text(json.dumps(kept, separators=(",", ":")).replace("],[", "],\n[") + "\n")


def small_machine() -> None:
    """Print what a plan takes with the defaults."""
    with tempfile.TemporaryDirectory() as folder:
        planned = stored_town.plan(*stored_town.write(Path(folder), 500), limit_mb=512)
    print(f"vrp_pi_s {planned.seconds:.1f} s")
    print(f"vrp_pi_rss_mb {planned.rss_mb:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--long", action="store_true", help="all sizes and times")
    parser.add_argument("--one", nargs=2, type=int, metavar=("CONTAINERS", "SECONDS"))
    parser.add_argument("--store", nargs=2, type=int, metavar=("SECONDS", "CONTAINERS"))
    options = parser.parse_args()
    if options.one:
        one(*options.one)
    elif options.store:
        store(options.store[1], options.store[0])
    else:
        runs = [(n, s) for n in SIZES for s in SECONDS] if options.long else [(200, 1)]
        for run in runs:  # each in a process of its own, for its memory
            subprocess.run([sys.executable, __file__, "--one", *map(str, run)], check=True)
        small_machine()


if __name__ == "__main__":
    main()

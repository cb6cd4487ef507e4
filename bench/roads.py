"""What it takes to read a town's roads, and to find the ways between 500 places on them.

An extract of OpenStreetMap may be named, otherwise a town of straight streets is drawn. Needs the
extra ``roads``.

    roads_parse   reading the map and making a graph of it
    roads_matrix  the ways from every place to every other
    roads_rss     the process at its largest
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from stoep_gateway.planning import roads
from stoep_gateway.planning.road_tags import Lorry
from stoep_gateway.planning.roads_model import Spot

LORRY = Lorry(18, 3.8)


def drawn(folder: Path, side: int = 100) -> Path:
    """Write a town of ``side`` x ``side`` crossings, 100 m apart, each street with three bends."""
    file = folder / "town.osm"
    rng = random.Random(1)
    with file.open("w") as out:
        out.write("<?xml version='1.0'?>\n<osm version='0.6'>\n")
        number = side * side
        ways = []
        for x in range(side):
            for y in range(side):
                out.write(f"<node id='{x * side + y + 1}' lat='{52 + y / 1112:.7f}'")
                out.write(f" lon='{5 + x / 685:.7f}'/>\n")
        for x in range(side):
            for y in range(side):
                for to_x, to_y in ((x + 1, y), (x, y + 1)):
                    if side in (to_x, to_y):
                        continue
                    bends = []
                    for share in (0.25, 0.5, 0.75):
                        number += 1
                        bends.append(number)
                        lat = 52 + (y + (to_y - y) * share) / 1112 + rng.uniform(-1e-4, 1e-4)
                        lon = 5 + (x + (to_x - x) * share) / 685 + rng.uniform(-1e-4, 1e-4)
                        out.write(f"<node id='{number}' lat='{lat:.7f}' lon='{lon:.7f}'/>\n")
                    ways.append((x * side + y + 1, *bends, to_x * side + to_y + 1))
        for way_number, way in enumerate(ways, 1):
            refs = "".join(f"<nd ref='{it}'/>" for it in way)
            one_way = "<tag k='oneway' v='yes'/>" if rng.random() < 0.1 else ""
            out.write(f"<way id='{way_number}'>{refs}<tag k='highway' v='residential'/>{one_way}")
            out.write("</way>\n")
        out.write("</osm>\n")
    return file


def _scattered(file: Path, count: int) -> list[Spot]:
    """Return places at nodes of roads."""
    ways = roads.read(file, LORRY)
    rng = random.Random(2)
    picked = rng.sample(range(len(ways.refs)), count)
    return [Spot(float(ways.lats[it]), float(ways.lons[it])) for it in picked]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="an extract, .osm.pbf or .osm")
    parser.add_argument("--places", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or drawn(Path(folder))
        spots = _scattered(file, options.places)
        times_s = []
        for some in (spots[:1], spots):
            begin_s = time.perf_counter()
            found = roads.matrix(file, some, LORRY)
            times_s.append(time.perf_counter() - begin_s)
    leads = (found.metres >= 0).mean()
    print(f"# {len(spots)} places, {100 * leads:.1f} % of the ways found", file=sys.stderr)
    print(f"roads_parse {times_s[0]:.2f} s")
    print(f"roads_matrix {times_s[1] - times_s[0]:.2f} s")
    print(f"roads_rss {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

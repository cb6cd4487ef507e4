"""Make this example's files from the data of Global Health Engineering, ETH Zurich.

    python examples/blantyre/convert.py FOLDER

FOLDER has `blantyre_skip_fullness_daily.csv`, `blantyre_skip_locations.csv` and
`blantyre_skip_distance_km.csv`. What is changed, and what is assumed, is said in README.md.
"""

import argparse
import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

HERE = Path(__file__).parent
ZONE = ZoneInfo("Africa/Blantyre")
FULL_M3 = 7.0
NOON = 12
DEPTH_MM = 1500  # a guess: nobody measured in them, and no sensor hangs there
# The name of an area's sites, by how its columns begin.
AREAS = {
    "Bangwe": "Bangwe market",
    "BCA": "BCA market",
    "Naizi": "Naizi market",
    "Chigumula": "Chigumula",
}
# Where these are is not in the data: estimated from the distances, as is said in
# hardware/stoep_hardware/data/blantyre/README.md. Rounds are planned by the distances alone.
PLACES = (
    (54, "dump", "Mzedi dump", "disposal", -15.7839, 35.0939),
    (55, "composting", "Limbe composting", "disposal", -15.8454, 35.0526),
    (56, "yard", "Vehicle yard", "depot", -15.7976, 35.0239),
)
NOTICE = """\
# Adapted from data of the repository 2022-msc-sem-proj-nseemann,
# Copyright (c) Global Health Engineering ETH Zurich, CC BY 4.0. Made by convert.py; see README.md.
"""


class Site(NamedTuple):
    """One of the places where skips stand; ids are those of the distances."""

    id: int
    name: str
    lat: float
    lon: float
    capacity_l: int


class Skip(NamedTuple):
    """A column of the log, and where we take it to stand."""

    column: str
    id: str
    fraction: str
    site: Site


def main() -> None:
    """Write the files beside this one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the data are")
    for name, text in converted(parser.parse_args().folder).items():
        (HERE / name).write_text(text, encoding="utf-8")


def converted(folder: Path) -> dict[str, str]:
    """Return the files by their names."""
    sites = [
        Site(
            number,
            row["Name"],
            round(float(row["lat"]), 6),
            round(float(row["long"]), 6),
            int(row["capacity"]),
        )
        for number, row in enumerate(_rows(folder / "blantyre_skip_locations.csv"), 1)
    ]
    log = list(_rows(folder / "blantyre_skip_fullness_daily.csv"))
    skips = [_skip(column, sites) for column in log[0] if column != "date"]
    return {
        "assets.toml": _assets(skips),
        "distances.csv": (folder / "blantyre_skip_distance_km.csv").read_text(encoding="utf-8"),
        "levels.csv": _levels(skips, log),
    }


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _skip(column: str, sites: list[Site]) -> Skip:
    """Put the skips of number n, one for each fraction, on the n-th site of their area."""
    area, fraction, number = column.split("_")
    site = [it for it in sites if it.name == AREAS[area]][int(number) - 1]
    return Skip(column, column.lower().replace("_", "-"), fraction.lower(), site)


def _assets(skips: list[Skip]) -> str:
    blocks = [NOTICE]
    for skip in skips:
        name = f"{skip.site.name} {skip.site.id}, {skip.fraction}"
        blocks.append(
            "[[container]]\n"
            f'id = "{skip.id}"\n'
            f'name = "{name}"\n'
            f"lat = {skip.site.lat}\n"
            f"lon = {skip.site.lon}\n"
            'kind = "skip"\n'
            f'fraction = "{skip.fraction}"\n'
            f"capacity_l = {skip.site.capacity_l}\n"
            f"depth_mm = {DEPTH_MM}\n"
            f"distance_index = {skip.site.id}\n"
        )
    for number, identifier, name, kind, lat, lon in PLACES:
        blocks.append(
            "[[place]]\n"
            f'id = "{identifier}"\n'
            f'name = "{name}"\n'
            f'kind = "{kind}"\n'
            f"lat = {lat}\n"
            f"lon = {lon}\n"
            f"distance_index = {number}\n"
        )
    return "\n".join(blocks)


def _levels(skips: list[Skip], log: list[dict[str, str]]) -> str:
    lines = ["container,time_utc,fill_pct"]
    for row in log:
        noon = datetime.strptime(row["date"], "%d-%b-%y").replace(hour=NOON, tzinfo=ZONE)
        time_utc = noon.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
        for skip in skips:
            cell = row[skip.column].strip()
            if cell not in ("", "."):
                lines.append(f"{skip.id},{time_utc},{100 * float(cell) / FULL_M3:.1f}")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()

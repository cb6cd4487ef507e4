"""A small town, plans of it, and names that nobody should give a container."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from stoep_gateway import config
from stoep_gateway.config import Config
from stoep_gateway.planning.plan import LeftOut, Plan, Round, Stop

NASTY = [
    "<script>alert(1)</script> & \"quotes\" 'x'",
    "]]>&amp;<!-- {page} {place} %s \\",
    "X" * 200,
    "a\u0001b\tc\ufffe",
    "شارع محمد الخامس 12",
    "רחוב הרצל 5",
    "🗑️ glass 東京",
]
CONFIG = """
site = "town"
timezone = "Europe/Amsterdam"
[[place]]
id = "yard"
name = "The yard"
kind = "depot"
lat = 52.0
lon = 5.0
[[place]]
id = "dump"
kind = "disposal"
lat = 52.4
lon = 5.0
open = "07:00-16:30"
[[truck]]
id = "truck-1"
capacity_l = 20000
depot = "yard"
disposal = "dump"
[[truck]]
id = "truck-2"
capacity_l = 20000
depot = "yard"
disposal = "dump"
[[container]]
id = "c1"
name = "Market"
lat = 52.01
lon = 5.01
capacity_l = 4000
depth_mm = 1800
fraction = "paper"
windows = ["06:00-07:30", "19:00-21:00"]
side = "near"
[[container]]
id = "c2"
lat = 52.011
lon = 5.02
capacity_l = 4000
depth_mm = 1800
[[container]]
id = "c3"
lat = 52.02
lon = 5.01
capacity_l = 4000
depth_mm = 1800
"""


def town_at(folder: Path, text: str = CONFIG) -> Config:
    path = folder / "stoep.toml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


def stop(number: int, name: str, *, action: str = "empty", **more: Any) -> Stop:
    said: dict[str, Any] = {
        "id": f"c{number}",
        "lat": 52.01 + number / 1000,
        "lon": 5.01,
        "reason": "overflow_risk" if action == "empty" else "end_of_round",
        "leg_km": 1.25,
        "leg_min": 3.0,
        "eta_utc": "2026-10-20T04:23:00.000Z",
        "load_after_l": 5000,
        "arrival_pct": 84.6,
        "p_overflow": 0.345,
    }
    return Stop(number, action, name=name, **(said | more))


def left_out(container: str, reason: str, **more: Any) -> LeftOut:
    values = dict.fromkeys(LeftOut.__slots__)
    return LeftOut(**(values | {"container": container, "reason": reason, "fill_pct": 61.0} | more))


def round_of(truck: str, *stops: Stop) -> Round:
    status = "planned" if stops else "not_needed"
    times = "2026-10-20T04:00:00.000Z", 4.6, "2026-10-20T06:05:00.000Z"
    return Round(truck, status, stops, len(stops) - 1, 1, 5950, 37.6, 2.08, 137.43, *times)


def plan_of(*rounds: Round, **more: Any) -> Plan:
    values: dict[str, Any] = {
        "site": "town",
        "date": "2026-10-20",
        "planned_ms": 1_792_468_800_000,
        "starts_ms": 1_792_468_800_000,
        "next_round_ms": 1_792_555_200_000,
        "provisional": False,
        "rounds": rounds,
        "deferred": (left_out("c2", "shift_too_short"),),
        "skipped": (
            left_out("c3", "too_empty", fill_pct=20.0),
            left_out("gone", "not_worth_the_way", prize_eur=5.82, detour_eur=11.69),
        ),
        "data_age_h": 3.0,
        "distance_source": "estimate",
        "solver": "pyvrp",
        "iterations": 1000,
        "seed": 0,
    }
    return Plan(**(values | more))


DUMP = stop(2, "dump", action="unload", id="dump", lat=52.4, lon=5.0, arrival_pct=None)
PLAN = plan_of(round_of("truck-1", stop(1, "Market"), DUMP), round_of("truck-2"))
NASTY_PLAN = plan_of(
    round_of(
        "truck-1",
        *(stop(number, name) for number, name in enumerate(NASTY, start=1)),
        replace(DUMP, sequence=8),
    ),
    round_of("gone", stop(1, NASTY[0])),
    provisional=True,
    notes=(NASTY[0],),
)

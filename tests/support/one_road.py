"""Towns on one straight road, whose plans can be reckoned by hand."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stoep_gateway import config
from stoep_gateway.config import Config
from stoep_gateway.planning import planner
from stoep_gateway.planning.plan import Plan
from stoep_gateway.planning.selection import Known
from street import HOUR_MS, checked

NOW = 1_792_468_800_000  # 2026-10-20T04:00:00Z, 06:00 in Blantyre, a Tuesday
YARD, DUMP = 90, 91
# A way costs next to nothing, so that whatever has a prize is emptied.
FREE = {"eur_per_km": 0.1, "eur_per_h": 1, "prize_from_pct": 80}


@dataclass(frozen=True)
class Sure:
    """Fills at one rate, and nobody doubts it."""

    fill_pct: float
    rate_pct_per_day: float = 0.0
    doubt: str | None = None

    def level(self, at_ms: int, emptyings: Sequence[int] = ()) -> tuple[float, float, float]:
        before = [it for it in emptyings if it <= at_ms]
        level, from_ms = (0.0, before[-1]) if before else (self.fill_pct, NOW)
        level += self.rate_pct_per_day * (at_ms - from_ms) / (24 * HOUR_MS)
        return level, level, level

    def p_overflow_before(self, until_ms: int, emptyings: Sequence[int] = ()) -> float:
        return float(self.level(until_ms, emptyings)[0] >= 100)


def town(
    folder: Path,
    positions_km: dict[int, float],
    *,
    capacity_l: int = 14_000,
    shift_h: float = 8,
    trucks: int = 1,
    road: bool = True,
    more: str = "",
    of_container: str = "",
    of_truck: str = "",
    **planning: Any,
) -> Config:
    """Write a town on one straight road: containers, yard and dump at kilometres along it."""
    places = {YARD: 0.0, DUMP: 10.0} | positions_km
    rows = ["FROM_ID,TO_ID,DIST_KM"]
    rows += [f"{a},{b},{abs(places[a] - places[b])}" for a, b in itertools.product(places, places)]
    (folder / "distances.csv").write_text("\n".join(rows), encoding="utf-8")
    text = ['site = "town"', 'timezone = "Africa/Blantyre"', "[planning]"]
    text += ['distances = "distances.csv"'] if road else []
    text += [
        f"{key} = {value}"
        for key, value in {
            "service_min": 6,
            "speed_kmh": 60,
            "iterations": 200,
            **FREE,
            **planning,
        }.items()
    ]
    for index in positions_km:
        text += ["[[container]]", f'id = "c{index}"', f"lat = {index / 1000}", "lon = 0"]
        text += ["capacity_l = 7000", "depth_mm = 1000", f"distance_index = {index}", of_container]
    for index, name, kind in ((YARD, "yard", "depot"), (DUMP, "dump", "disposal")):
        text += ["[[place]]", f'id = "{name}"', f'kind = "{kind}"', f"lat = {index / 1000}"]
        text += ["lon = 0", f"distance_index = {index}"]
    for number in range(1, trucks + 1):
        text += ["[[truck]]", f'id = "t{number}"', f"capacity_l = {capacity_l}", 'depot = "yard"']
        text += ['disposal = "dump"', f"shift_h = {shift_h}", "unload_min = 12", of_truck]
    text.append(more)
    (folder / "stoep.toml").write_text("\n".join(text), encoding="utf-8")
    return config.load(folder / "stoep.toml")


def levels(rate_pct_per_day: float = 0, /, **percent: float) -> dict[str, Known]:
    """Return containers with these levels now, all filling at one rate."""
    return {name: Known(Sure(level, rate_pct_per_day), NOW, NOW) for name, level in percent.items()}


def checked_plan(known: dict[str, Known], town: Config, **said: Any) -> Plan:
    """Plan, and check what holds for every plan."""
    plan = planner.plan(known, town, NOW, **said)
    assert planner.plan(known, town, NOW, **said) == plan
    seen = [stop.id for it in plan.rounds for stop in it.stops if stop.action == "empty"]
    seen += [it.container for it in (*plan.deferred, *plan.skipped)]
    assert sorted(seen) == sorted(container.id for container in town.containers)
    assert len(plan.rounds) == len(town.trucks)
    for it, truck in zip(plan.rounds, town.trucks, strict=True):
        assert [stop.sequence for stop in it.stops] == list(range(1, len(it.stops) + 1))
        assert all(stop.load_after_l <= truck.capacity_l for stop in it.stops)
        assert all(stop.load_after_l == 0 for stop in it.stops if stop.action == "unload")
        assert not it.stops or it.stops[-1].reason == "end_of_round"
        assert it.km == pytest.approx(sum(stop.leg_km for stop in it.stops) + it.return_km)
        assert it.hours <= truck.shift_h + 0.01
        assert (it.status == "planned") is bool(it.stops)
    *messages, summary = map(checked, planner.outputs(plan))
    for values, it in zip(messages, plan.rounds, strict=True):
        assert len(values["stops"]) == len(it.stops)
        assert values["date"] == plan.date
    assert [it.topic for it in planner.outputs(plan)] == [
        f"stoep/v1/{town.site}/round/{plan.date}/{name}"
        for name in (*(it.truck for it in plan.rounds), "summary")
    ]
    assert summary["totals"]["km"] == pytest.approx(sum(it.km for it in plan.rounds))
    return plan


def route(plan: Plan, number: int = 0) -> list[str]:
    return [stop.id for stop in plan.rounds[number].stops]

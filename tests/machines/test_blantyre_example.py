"""The example of Blantyre: files as its script makes them, plans as its table of roads says."""

import csv
import importlib.util
import itertools
import json
import re
import statistics
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from stoep_gateway import config, recorded_levels
from stoep_gateway.backtest import cli as backtest
from stoep_gateway.config import Config
from stoep_gateway.insight import filling
from stoep_gateway.planning import cli, planner, recorded
from stoep_gateway.planning.plan import Plan
from stoep_gateway.report import cli as report

EXAMPLE = Path(__file__).parents[2] / "examples" / "blantyre"
SOURCE = Path(__file__).parents[3] / "shared" / "data" / "blantyre"
SITES = {"organic": ("composting", 55), "inorganic": ("dump", 54)}
YARD = 56
DAYS = [
    "2020-10-20",  # the first of the log, before anything is noted
    "2020-10-21",
    *(f"2020-{month}-01" for month in (11, 12)),
    *(f"2021-{month:02d}-01" for month in range(1, 10)),
    "2021-03-03",
    "2021-07-03",  # two were seen again after four and seven days
    "2021-09-30",  # after the last; most were not seen for ten days, two for three months
]

Levels = dict[str, list[tuple[int, float]]]


@cache
def example() -> tuple[Config, Levels]:
    """Return the configuration and the log."""
    here = config.load(EXAMPLE / "stoep.toml")
    levels, bad = recorded_levels.read(EXAMPLE / "levels.csv", {it.id for it in here.containers})
    assert not bad
    return here, levels


@cache
def roads() -> dict[tuple[int, int], int]:
    """Return metres by road, as the file says."""
    with (EXAMPLE / "distances.csv").open(encoding="utf-8", newline="") as file:
        return {
            (int(row["FROM_ID"]), int(row["TO_ID"])): round(1000 * float(row["DIST_KM"]))
            for row in csv.DictReader(file)
        }


def ms(day: str) -> int:
    return round(datetime.fromisoformat(f"{day}T06:00+02:00").timestamp() * 1000)


def planned(day: str) -> Plan:
    here, levels = example()
    quick = here.planning.model_copy(update={"iterations": 200})
    here = here.model_copy(update={"planning": quick})
    return planner.plan(recorded.known(levels, here, ms(day)), here, ms(day))


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert", EXAMPLE / "convert.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_script_makes_of_the_source() -> None:
    if not SOURCE.is_dir():
        pytest.skip(f"the data are not at {SOURCE}")
    for name, text in script().converted(SOURCE).items():
        assert (EXAMPLE / name).read_text(encoding="utf-8") == text, name


def test_the_town_is_all_there() -> None:
    here, levels = example()
    assert len(here.containers) == 16
    assert here.distances is not None
    assert len(here.distances) == 56
    assert len(roads()) == 56 * 56
    assert {it.id: it.distance_index for it in here.places} == {
        "dump": 54,
        "composting": 55,
        "yard": YARD,
    }
    # As many as the log has cells with a number.
    assert sum(map(len, levels.values())) == 3429
    steps = {round(it, 1) for of in levels.values() for _, it in of}
    assert steps == {0.0, 25.0, 50.0, 75.0, 100.0, 114.3}
    never = {it.id for it in here.containers} - levels.keys()
    assert never == {"naizi-organic-2", "naizi-inorganic-2"}
    first = min(of[0][0] for of in levels.values())
    last = max(of[-1][0] for of in levels.values())
    assert [datetime.fromtimestamp(it / 1000, UTC).isoformat() for it in (first, last)] == [
        "2020-10-20T10:00:00+00:00",
        "2021-09-29T10:00:00+00:00",
    ]


@pytest.mark.parametrize("day", DAYS)
def test_a_plan_for_any_day(day: str) -> None:
    here, levels = example()
    by_id = {it.id: it for it in here.containers}
    plan = planned(day)
    assert (plan.date, plan.notes) == (day, ())
    emptied = [stop for it in plan.rounds for stop in it.stops if stop.action == "empty"]
    assert plan.distance_source == "table"
    left = {it.container: it.reason for it in (*plan.deferred, *plan.skipped)}
    assert sorted([*(stop.id for stop in emptied), *left]) == sorted(by_id)
    last = {
        name: [row for row in of if row[0] <= ms(day)][-1]
        for name, of in levels.items()
        if of[0][0] <= ms(day)
    }
    assert {name for name, reason in left.items() if reason == "no_data"} == set(by_id) - set(last)
    for name, (_, fill_pct) in last.items():
        if fill_pct >= 100:  # full, and so it stays
            assert left.get(name) in (None, "shift_too_short")
    for stop in emptied:
        assert stop.fill_pct is not None
        assert stop.fill_pct >= last[stop.id][1] - 0.1
        assert stop.data_age_h == round((ms(day) - last[stop.id][0]) / 3_600_000, 1)
    for truck, it in zip(here.trucks, plan.rounds, strict=True):
        assert it.hours <= truck.shift_h
        (fraction,) = truck.fractions
        site, index = SITES[fraction]
        # One skip, one unloading, and so on: a skip lorry has room for one.
        assert [stop.action for stop in it.stops] == ["empty", "unload"] * it.containers
        assert [stop.load_after_l for stop in it.stops] == [7000, 0] * it.containers
        skips = [by_id[stop.id] for stop in it.stops[::2]]
        assert {skip.fraction for skip in skips} <= {fraction}
        assert {stop.id for stop in it.stops[1::2]} <= {site}
        if not skips:
            continue
        # Every leg and the sum are those of the file ...
        at = [YARD, *itertools.chain(*((skip.distance_index, index) for skip in skips)), YARD]
        legs = [roads()[a, b] / 1000 for a, b in itertools.pairwise(at)]
        assert [*(stop.leg_km for stop in it.stops), it.return_km] == legs
        assert it.km == pytest.approx(sum(legs))
        # ... and no order of these skips is shorter: whichever the first is, the others are ways
        # from the site and back to it.
        ways = [roads()[index, skip.distance_index] for skip in skips]
        firsts = [roads()[YARD, skip.distance_index] for skip in skips]
        back = sum(roads()[skip.distance_index, index] for skip in skips) + roads()[index, YARD]
        saved = max(way - first for way, first in zip(ways, firsts, strict=True))
        assert round(1000 * it.km) == sum(ways) - saved + back


def test_what_its_page_says_of_the_log() -> None:
    page = " ".join((EXAMPLE / "README.md").read_text(encoding="utf-8").split())
    _, levels = example()
    notes = [[it for _, it in of] for of in levels.values()]
    full = sum(it >= 100 for of in notes for it in of)
    assert f"{full} of {sum(map(len, notes))} notes are full or overfull" in page
    falls = [(a, b) for of in notes for a, b in itertools.pairwise(of) if b <= a - filling.DROP_PCT]
    assert f"there are {len(falls)} emptyings, of which {sum(a >= 100 for a, _ in falls)}" in page
    assert sum(a < 50 for a, _ in falls) == 9
    assert f"Of {len(falls)}, {sum(b > 0 for _, b in falls)} leave something" in page
    runs = [
        len(list(run))
        for of in notes
        for is_full, run in itertools.groupby(of, lambda it: it >= 100)
        if is_full
    ]
    assert f"for four notes in the median, and for {max(runs)} at worst" in page
    assert statistics.median(runs) == 4


def test_its_page_s_commands_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLE.parents[1])
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    \$ stoep (.+)$", page, re.MULTILINE)
    show, waste, months = (it.split() for it in commands)
    assert (show.pop(0), waste.pop(0), months.pop(0)) == ("plan", "sim", "report")
    assert cli.main(show) == 0
    rounds = r"^ *2021-03-03, (\S+: \d+ containers), .+ \(road distances\)$"
    found = re.findall(rounds, capsys.readouterr().out, re.MULTILINE)
    assert found == re.findall(rounds, page, re.MULTILINE)
    assert len(found) == 2
    # The year takes a minute, so only a week of two rules.
    short = ["--days", "7", "--iterations", "20", "--policies", "weekly,ours", "--json"]
    assert backtest.main([*waste, *short]) == 0
    weekly, ours = json.loads(capsys.readouterr().out)
    assert ours["eur"] < weekly["eur"]
    assert ours["emptyings"] < weekly["emptyings"]
    # The months of the log take some seconds too.
    assert months[:2] == ["month", "2020-10..2021-09"]
    assert report.main(["month", "2021-03", *months[2:]], ms("2021-05-01")) == 0
    assert "March 2021: " in capsys.readouterr().out

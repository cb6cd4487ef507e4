"""How often the report's interval holds the truth, over weeks whose truth is known.

    python bench/report.py [--towns 4] [--weeks 88] [--containers 20]

A made-up town is emptied for years: every week by a schedule, and by what its sensors say (at
75 %). The report is given the levels of the sensors, which err and fall silent, four weeks at a
time, and what it says was saved is compared with what is saved in the long run, by the true levels
and the same router. ``before`` compares eight weeks of the schedule with the four after them, of a
town that goes over from one to the other and back.

- report_schedule_coverage_pct, report_before_coverage_pct: of intervals of 90 %, how many held it
- report_…_wrong_pct: of them, how many said yes or no and were wrong
- report_…_told_pct: how many said yes or no
- report_…_bias_pct: the mean error of what was saved, of what the schedule costs
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stoep_gateway import config as configuration
from stoep_gateway.assets.geometry import inside
from stoep_gateway.assets.schedules import schedules
from stoep_gateway.backtest import town
from stoep_gateway.backtest.sensor import Sensor
from stoep_gateway.backtest.waste import FULL_PCT, Waste
from stoep_gateway.collections.merging import merged
from stoep_gateway.config import Config
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS, Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.report import drive as drives
from stoep_gateway.report import facts, making
from stoep_gateway.report.chance import Interval
from stoep_gateway.report.drive import Drive
from stoep_gateway.report.facts import Heard
from stoep_gateway.report.periods import Period

READ_EVERY_MS = 2 * HOUR_MS
FROM_PCT = 75.0
WARM_UP_WEEKS = 2
BEFORE_WEEKS = 8

Levels = dict[str, list[tuple[int, float]]]
Choose = Callable[[datetime.date, Mapping[str, float | None]], Sequence[str]]


@dataclass
class Life:
    """What became of a town: levels that its sensors told, and by day what it really cost."""

    levels: Levels
    eur: list[float]
    emptied: dict[str, list[int]]


def live(config: Config, waste: Waste, choose: Choose, drive: Drive, days: int, seed: int) -> Life:
    """Let a town live for so many days, of which each is chosen for in the morning."""
    forecasts = Forecasts(Calendar(config.timezone))
    sensors = {
        it.id: Sensor(it.id, it.pool, seed, inside(it), forecasts) for it in config.containers
    }
    life = Life({name: [] for name in sensors}, [], {name: [] for name in sensors})
    base = dict.fromkeys(sensors, 0.0)
    price = config.planning.eur_per_overflow_day
    first = datetime.datetime.fromtimestamp(waste.start_ms / 1000, config.timezone).date()
    for number in range(days):
        day = first + datetime.timedelta(days=number)
        begin_ms, begin, end_ms = (
            round(datetime.datetime.combine(at, time, tzinfo=config.timezone).timestamp() * 1000)
            for at, time in (
                (day, datetime.time()),
                (day, config.planning.at),
                (day + datetime.timedelta(days=1), datetime.time()),
            )
        )
        _read(life, sensors, waste, base, begin_ms, begin)
        chosen = choose(day, {name: it.believed_pct for name, it in sensors.items()})
        fills = {it: min(waste.until(it, begin) - base[it], FULL_PCT) for it in chosen}
        driven = drive(day, fills) if fills else drives.Driven((), {})
        eur = sum(it.eur for it in driven.trips)
        full = {name for name in sensors if waste.until(name, begin) - base[name] >= FULL_PCT}
        at_ms = begin
        for name, emptied_ms in sorted(driven.at_ms.items(), key=lambda it: it[1]):
            _read(life, sensors, waste, base, at_ms, emptied_ms)
            at_ms = max(at_ms, emptied_ms)
            if waste.until(name, emptied_ms) - base[name] >= FULL_PCT:
                full.add(name)
            base[name] = waste.until(name, emptied_ms)
            life.emptied[name].append(emptied_ms)
        _read(life, sensors, waste, base, at_ms, end_ms)
        full |= {name for name in sensors if waste.until(name, end_ms) - base[name] >= FULL_PCT}
        life.eur.append(eur + price * len(full))
    return life


def _read(
    life: Life,
    sensors: Mapping[str, Sensor],
    waste: Waste,
    base: Mapping[str, float],
    from_ms: int,
    to_ms: int,
) -> None:
    at_ms = -(-from_ms // READ_EVERY_MS) * READ_EVERY_MS
    while at_ms < to_ms:
        for name, sensor in sensors.items():
            sensor.read(at_ms, waste.until(name, at_ms) - base[name])
            track = sensor.level.track
            if track is not None and track.at_ms == at_ms:
                life.levels[name].append((at_ms, track.fill_pct))
        at_ms += READ_EVERY_MS


def built(seed: int, containers: int, folder: Path) -> Config:
    """Return a town whose containers are emptied weekly, a part of them each working day."""
    path = folder / "stoep.toml"
    text = town.config_text(seed, containers).split("[[container]]")
    days = ("mon", "tue", "wed", "thu", "fri")
    its = (
        f'[[container]]\nemptied_on = ["{days[number * 5 // containers]}"]{it}'
        for number, it in enumerate(text[1:])
    )
    path.write_text("".join((text[0], *its)), encoding="utf-8")
    return configuration.load(path)


def heard(levels: Levels) -> Heard:
    """Return what a gateway would have stored of it."""
    return Heard(levels, merged(facts.shown(levels)))


def of_town(seed: int, weeks: int, containers: int) -> list[tuple[str, float, float, Interval]]:
    """Return each comparison: its kind, the truth, the schedule's true cost, the interval."""
    with tempfile.TemporaryDirectory() as folder:
        config = built(seed, containers, Path(folder))
    waste = town.waste(seed, [it.id for it in config.containers], 7 * weeks + 2)
    own, drive = schedules(config), drives.router(config)
    first = datetime.datetime.fromtimestamp(waste.start_ms / 1000, config.timezone).date()
    assert drive is not None

    def by_level(_: datetime.date, believed: Mapping[str, float | None]) -> list[str]:
        return [name for name, level in believed.items() if (level or 0.0) >= FROM_PCT]

    def by_schedule(day: datetime.date, _: Mapping[str, float | None]) -> list[str]:
        return [name for name, its in own.items() if its.falls_on(day)]

    def by_turn(day: datetime.date, believed: Mapping[str, float | None]) -> list[str]:
        week = (day - first).days // 7 - WARM_UP_WEEKS
        is_before = week % (BEFORE_WEEKS + 4) < BEFORE_WEEKS
        return by_schedule(day, believed) if is_before else by_level(day, believed)

    fixed = live(config, waste, by_schedule, drive, 7 * weeks, seed)
    ours = live(config, waste, by_level, drive, 7 * weeks, seed)
    by_turns = live(config, waste, by_turn, drive, 7 * weeks, seed)
    begin = 7 * WARM_UP_WEEKS
    a_day = sum(fixed.eur[begin:]) / len(fixed.eur[begin:])
    truth = 28 * (a_day - sum(ours.eur[begin:]) / len(ours.eur[begin:]))

    def period(week: int, count: int) -> Period:
        begin = first + datetime.timedelta(weeks=week)
        end = begin + datetime.timedelta(days=7 * count - 1)
        return Period(f"{week}", begin, end, config.timezone)

    def within(levels: Levels, it: Period, before_days: int = 0) -> Levels:
        from_ms, to_ms = it.from_ms - before_days * DAY_MS, it.to_ms + DAY_MS
        return {
            name: [row for row in of if from_ms <= row[0] < to_ms] for name, of in levels.items()
        }

    found = []
    for week in range(making.WARM_UP_DAYS // 7, weeks - 3, 4):
        it = period(week, 4)
        report = making.make(
            config,
            heard(within(ours.levels, it, making.WARM_UP_DAYS)),
            it,
            drive,
            schedule=own,
            seed=week,
        )
        assert report.comparison is not None
        found.append(("schedule", truth, 28 * a_day, report.comparison.saved))
    for week in range(WARM_UP_WEEKS, weeks - BEFORE_WEEKS - 3, BEFORE_WEEKS + 4):
        one, two = period(week, BEFORE_WEEKS), period(week + BEFORE_WEEKS, 4)
        levels = within(by_turns.levels, Period("", one.first, two.last, config.timezone))
        report = making.make(config, heard(levels), two, drive, before=one, seed=week)
        assert report.comparison is not None
        found.append(("before", truth, 28 * a_day, report.comparison.saved))
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--towns", type=int, default=4)
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--weeks", type=int, default=88)
    parser.add_argument("--containers", type=int, default=20)
    options = parser.parse_args()
    given = [
        (options.seed + number, options.weeks, options.containers)
        for number in range(options.towns)
    ]
    with ProcessPoolExecutor(max_workers=1) as workers:
        towns = list(workers.map(of_town, *zip(*given, strict=True)))
    for kind in ("schedule", "before"):
        its = [it for of in towns for it in of if it[0] == kind and it[3].low is not None]
        held = [low <= truth <= high for _, truth, _, (_, low, high) in its]  # type: ignore[operator]
        told = [it for it in its if it[3].low > 0 or it[3].high < 0]  # type: ignore[operator]
        wrong = [it for it in told if (it[3].value > 0) != (it[1] > 0)]
        bias = sum(100 * (it[3].value - it[1]) / it[2] for it in its) / len(its)
        width = sum(100 * (it[3].high - it[3].low) / it[2] for it in its) / len(its)  # type: ignore[operator]
        name = f"report_{kind}"
        print(f"# {kind}: {len(its)} months of {options.towns} towns, intervals {width:.0f} % wide")
        print(f"{name}_coverage_pct {100 * sum(held) / len(held):.1f} %")
        print(f"{name}_told_pct {100 * len(told) / len(its):.1f} %")
        print(f"{name}_wrong_pct {100 * len(wrong) / len(its):.1f} %")
        print(f"{name}_bias_pct {bias:.1f} %")


if __name__ == "__main__":
    main()

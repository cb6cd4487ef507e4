"""Two ways of emptying the same containers, counted alike: what was done, what would have been.

Both are driven by the same router at the same prices, and meet the waste that came. Pure.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stoep_gateway.config import Config
from stoep_gateway.config_days import ScheduledConfig
from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.report import waste
from stoep_gateway.report.drive import Drive
from stoep_gateway.report.figures import NEEDLESS_PCT, Cells, Emptying, Figures, Trip
from stoep_gateway.report.periods import Period
from stoep_gateway.report.waste import Came

__all__ = ["Side", "done", "driven", "scheduled"]

_FULL_PCT = 100.0
_AFTER_MS = 2 * HOUR_MS  # the round's start, where nothing is routed


@dataclass(frozen=True, slots=True)
class Side:
    """Figures by container and week, the waste of each in points, and what could not be driven."""

    period: Period
    cells: Cells
    waste: Mapping[tuple[str, int], float]
    unfit: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of containers before and in a period: waste since, and levels at, a time."""

    from_ms: int
    came: Mapping[str, Came]
    levels: Mapping[str, float]


def driven(
    emptyings: Sequence[Emptying], period: Period, drive: Drive
) -> tuple[tuple[Trip, ...], int]:
    """Return what it took to empty what was emptied, day by day, and how many did not fit in."""
    of_days: dict[datetime.date, dict[str, float]] = defaultdict(dict)
    for it in emptyings:
        if period.first <= it.day <= period.last:
            of_days[it.day][it.container] = _FULL_PCT if it.fill_pct is None else it.fill_pct
    trips: list[Trip] = []
    unfit = 0
    for day, fills_pct in sorted(of_days.items()):
        of_day = drive(day, fills_pct)
        trips += of_day.trips
        unfit += of_day.unfit
    return tuple(trips), unfit


def done(
    config: Config,
    period: Period,
    past: Past,
    emptied: Mapping[str, Sequence[int]],
    trips: Sequence[Trip],
    unfit: int = 0,
) -> Side:
    """Return what came of emptying containers at these times (UTC ms), by trips that were driven.

    Only containers of ``past`` are counted, each with its share of its trips.
    """
    weeks = period.weeks()
    number_of = {
        day: number for number, week in enumerate(weeks) for day in period.dates() if day in week
    }
    cells: Cells = {}
    points: dict[tuple[str, int], float] = {}
    price = config.planning.eur_per_overflow_day
    for name, came in past.came.items():
        times = emptied.get(name, ())
        life = waste.lived(came, past.levels[name], times, period, past.from_ms)
        for number, week in enumerate(weeks):
            from_ms = period.midnight_ms(week.first)
            to_ms = period.midnight_ms(week.first + datetime.timedelta(days=week.days))
            fills = [fill for at_ms, fill in life.fills if from_ms <= at_ms < to_ms]
            full_days = sum(day in week for day in life.full_days)
            cells[name, number] = Figures(
                frozenset((name,)),
                to_ms - from_ms,
                emptyings=len(fills),
                needless=sum(it < NEEDLESS_PCT for it in fills),
                fills_pct=tuple(min(it, _FULL_PCT) for it in fills),
                full_ms=sum(max(0, min(two, to_ms) - max(one, from_ms)) for one, two in life.full),
                overflow_days=full_days,
                eur_overflow=full_days * price,
            )
            points[name, number] = came.until(to_ms) - came.until(from_ms)
    for trip in trips:
        count = len(trip.containers)
        share = Figures(km=trip.km / count, hours=trip.hours / count, eur_rounds=trip.eur / count)
        for name in trip.containers:
            if (key := (name, number_of.get(trip.day, -1))) in cells:
                cells[key] += share
    return Side(period, cells, points, unfit)


def scheduled(
    config: Config, period: Period, past: Past, days: Mapping[str, ScheduledConfig], drive: Drive
) -> Side:
    """Return what would have come of emptying containers by a schedule since the past begins.

    What is before the period is not counted: it lets levels become the schedule's own.
    """
    emptied: dict[str, list[int]] = defaultdict(list)
    base = {name: came.until(past.from_ms) - past.levels[name] for name, came in past.came.items()}
    trips: list[Trip] = []
    unfit = 0
    day = period.day_of(past.from_ms)
    while day <= period.last:
        begin = datetime.datetime.combine(day, config.planning.at, tzinfo=period.zone)
        begin_ms = round(begin.timestamp() * 1000)
        due = [
            name
            for name in past.came
            if begin_ms >= past.from_ms and name in days and days[name].falls_on(day)
        ]
        at_ms: Mapping[str, int] = dict.fromkeys(due, begin_ms + _AFTER_MS)
        if due and day >= period.first:
            fills = {
                name: min(past.came[name].until(begin_ms) - base[name], _FULL_PCT) for name in due
            }
            of_day = drive(day, fills)
            trips += of_day.trips
            unfit += of_day.unfit
            at_ms = of_day.at_ms
        for name in due:
            emptied[name].append(at_ms[name])
            base[name] = past.came[name].until(at_ms[name])
        day += datetime.timedelta(days=1)
    return done(config, period, past, emptied, trips, unfit)

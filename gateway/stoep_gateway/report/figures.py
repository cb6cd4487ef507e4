"""What is counted of containers and weeks, and adds up over both. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import quantiles
from typing import NamedTuple

from stoep_gateway.config import Config
from stoep_gateway.report.courses import Course
from stoep_gateway.report.periods import Period

__all__ = [
    "NEEDLESS_PCT",
    "Cells",
    "Emptying",
    "Facts",
    "Figures",
    "Kept",
    "Trip",
    "cells",
    "of_trucks",
    "total",
]

NEEDLESS_PCT = 50.0  # an emptying below this was needless

Cells = dict[tuple[str, int], "Figures"]  # by container and number of the week


class Emptying(NamedTuple):
    """A container was emptied on a local day; litres are of loose waste; None: nobody knows."""

    container: str
    day: datetime.date
    fill_pct: float | None = None
    litres: float | None = None
    weight_kg: float | None = None
    truck: str | None = None


class Trip(NamedTuple):
    """What a truck drove on a day, and the containers that it emptied."""

    day: datetime.date
    truck: str | None
    containers: tuple[str, ...]
    km: float
    hours: float
    eur: float


class Kept(NamedTuple):
    """What became of a planned stop, or an emptying that no plan had."""

    day: datetime.date
    container: str
    truck: str | None
    verdict: str  # confirmed, contradicted, unknown, unplanned


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums. ``unknown_fill`` of the emptyings nobody knows how full the container was."""

    containers: frozenset[str] = frozenset()
    span_ms: int = 0
    known_ms: int = 0
    readings: int = 0
    false_readings: int = 0
    emptyings: int = 0
    needless: int = 0
    unknown_fill: int = 0
    fills_pct: tuple[float, ...] = ()
    full_ms: int = 0
    overflow_days: int = 0
    litres: float = 0.0
    weight_kg: float = 0.0
    weighed: int = 0
    km: float = 0.0
    hours: float = 0.0
    eur_rounds: float = 0.0
    eur_overflow: float = 0.0
    planned: int = 0
    confirmed: int = 0
    contradicted: int = 0
    unplanned: int = 0

    def __add__(self, other: Figures) -> Figures:
        sums = [
            getattr(self, it.name) + getattr(other, it.name)
            for it in fields(self)
            if it.name != "containers"
        ]
        return Figures(self.containers | other.containers, *sums)

    @property
    def eur(self) -> float:
        """Return what rounds and overflows cost."""
        return self.eur_rounds + self.eur_overflow

    @property
    def known_pct(self) -> float | None:
        """Return for how much of the time levels are known."""
        return 100 * self.known_ms / self.span_ms if self.span_ms else None

    @property
    def quartiles_pct(self) -> tuple[float, float, float] | None:
        """Return a quarter, half and three quarters of the fills at emptying, in order."""
        if len(self.fills_pct) < 2:
            return (self.fills_pct[0],) * 3 if self.fills_pct else None
        first, middle, third = quantiles(self.fills_pct, n=4, method="inclusive")
        return first, middle, third


def total(figures: Iterable[Figures]) -> Figures:
    """Return the sum of all."""
    return sum(figures, Figures())


@dataclass(frozen=True, slots=True)
class Facts:
    """What happened in a period; by container: courses, and when readings were false or good."""

    period: Period
    courses: Mapping[str, Course]
    heard_ms: Mapping[str, Sequence[int]] = field(default_factory=dict)
    false_ms: Mapping[str, Sequence[int]] = field(default_factory=dict)
    emptyings: Sequence[Emptying] = ()
    trips: Sequence[Trip] = ()
    kept: Sequence[Kept] = ()


def cells(config: Config, facts: Facts) -> Cells:
    """Return the figures of every container of the configuration and week of the period.

    What a trip costs is shared equally by the containers that it emptied.
    """
    period = facts.period
    weeks = period.weeks()
    price = config.planning.eur_per_overflow_day
    found: Cells = {}
    for container in config.containers:
        name = container.id
        course = facts.courses.get(name, Course(()))
        full_days = course.full_days(period)
        for number, week in enumerate(weeks):
            from_ms = period.midnight_ms(week.first)
            to_ms = period.midnight_ms(week.first + datetime.timedelta(days=week.days))
            of_week = sum(day in week for day in full_days)
            found[name, number] = Figures(
                frozenset((name,)),
                to_ms - from_ms,
                course.known_ms(from_ms, to_ms),
                sum(from_ms <= at_ms < to_ms for at_ms in facts.heard_ms.get(name, ())),
                sum(from_ms <= at_ms < to_ms for at_ms in facts.false_ms.get(name, ())),
                full_ms=course.full_ms(from_ms, to_ms),
                overflow_days=of_week,
                eur_overflow=of_week * price,
            )
    number_of = {
        day: number for number, week in enumerate(weeks) for day in period.dates() if day in week
    }
    for key, figures in _events(facts):
        if (at := (key[0], number_of.get(key[1], -1))) in found:
            found[at] += figures
    return found


def _events(facts: Facts) -> Iterable[tuple[tuple[str, datetime.date], Figures]]:
    for emptying in facts.emptyings:
        yield (emptying.container, emptying.day), _of_emptying(emptying)
    for trip in facts.trips:
        for name in trip.containers:
            yield (name, trip.day), _of_trip(trip, len(trip.containers))
    for kept in facts.kept:
        yield (kept.container, kept.day), _of_kept(kept)


def of_trucks(facts: Facts) -> dict[str, Figures]:
    """Return what each truck did; where nobody said which it was, the one of the trip."""
    found: dict[str, Figures] = {}
    by_trip = {(name, it.day): it.truck for it in facts.trips for name in it.containers}
    told = [
        *(
            (
                it.truck or by_trip.get((it.container, it.day)),
                it.day,
                it.container,
                _of_emptying(it),
            )
            for it in facts.emptyings
        ),
        *(
            (it.truck, it.day, name, _of_trip(it, len(it.containers)))
            for it in facts.trips
            for name in it.containers
        ),
        *((it.truck, it.day, it.container, _of_kept(it)) for it in facts.kept),
    ]
    for truck, day, name, figures in told:
        if truck is not None and facts.period.first <= day <= facts.period.last:
            found[truck] = found.get(truck, Figures()) + Figures(frozenset((name,))) + figures
    return dict(sorted(found.items()))


def _of_emptying(it: Emptying) -> Figures:
    known = it.fill_pct is not None
    return Figures(
        emptyings=1,
        needless=int(it.fill_pct is not None and it.fill_pct < NEEDLESS_PCT),
        unknown_fill=int(not known),
        fills_pct=() if it.fill_pct is None else (it.fill_pct,),
        litres=it.litres or 0.0,
        weight_kg=it.weight_kg or 0.0,
        weighed=int(it.weight_kg is not None),
    )


def _of_trip(it: Trip, containers: int) -> Figures:
    return Figures(
        km=it.km / containers, hours=it.hours / containers, eur_rounds=it.eur / containers
    )


def _of_kept(it: Kept) -> Figures:
    return Figures(
        planned=int(it.verdict != "unplanned"),
        confirmed=int(it.verdict == "confirmed"),
        contradicted=int(it.verdict == "contradicted"),
        unplanned=int(it.verdict == "unplanned"),
    )

"""From levels, collections and plans to what happened on which day. Pure."""

from __future__ import annotations

import datetime
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from stoep_gateway.collections import outcome
from stoep_gateway.collections.merging import Collection
from stoep_gateway.collections.outcome import Outcome, Watched
from stoep_gateway.config import Config
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS
from stoep_gateway.insight import filling
from stoep_gateway.insight.levels import loose_l
from stoep_gateway.planning.plan import Plan
from stoep_gateway.report import waste
from stoep_gateway.report.courses import Course, Told
from stoep_gateway.report.figures import Emptying, Kept
from stoep_gateway.report.periods import Period
from stoep_gateway.report.sides import Past
from stoep_gateway.store.records import CollectionRow

__all__ = ["Heard", "Seen", "believed", "kept", "past", "seen", "shown", "watched"]

_ROUND_MS = 8 * HOUR_MS
_LEAST_KNOWN = 0.7  # of the time, for a container's waste to be told


@dataclass(frozen=True, slots=True)
class Heard:
    """What was recorded: levels that are believed, by container; when any or false ones came.

    ``watched`` is what is known of planned stops, by local date and container.
    """

    levels: Mapping[str, Sequence[tuple[int, float]]]
    collections: Sequence[Collection]
    plans: Sequence[Plan] = ()
    watched: Mapping[str, Mapping[str, Watched]] = field(default_factory=dict)
    heard_ms: Mapping[str, Sequence[int]] = field(default_factory=dict)
    false_ms: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """The same, held together: courses, when each container was emptied, emptyings by day."""

    courses: Mapping[str, Course]
    emptied_ms: Mapping[str, Sequence[int]]
    emptyings: Sequence[Emptying]


def shown(levels: Mapping[str, Sequence[tuple[int, float]]]) -> list[CollectionRow]:
    """Return the emptyings that levels alone show, as a sensor's."""
    found = []
    for name, of in levels.items():
        track = None
        for at_ms, fill_pct in of:
            if track is None:
                track = filling.start(at_ms, fill_pct)
                continue
            track, emptied = filling.advance(track, at_ms, fill_pct)
            if emptied is not None:
                found.append(
                    CollectionRow(
                        name, emptied.at_ms, "sensor", emptied.from_pct, emptied.to_pct, None, None
                    )
                )
    return found


def seen(config: Config, heard: Heard, period: Period) -> Seen:
    """Return what was recorded, of the containers of the configuration."""
    told: dict[str, list[Collection]] = {it.id: [] for it in config.containers}
    for collection in heard.collections:
        if collection.container in told:
            told[collection.container].append(collection)
    courses, emptied_ms, emptyings = {}, {}, []
    for container in config.containers:
        its = told[container.id]
        exact = [Told(it.at_ms, it.to_pct) for it in its if "driver" in it.sources]
        course = courses[container.id] = Course(heard.levels.get(container.id, ()), exact)
        moments: list[int] = []
        for it in its:
            fill_pct = it.from_pct
            if fill_pct is None and not it.date_only:
                fill_pct = course.before(it.at_ms)
            litres = None
            if fill_pct is not None:
                litres = loose_l(container.capacity_l, container.compaction, fill_pct, None)
            at_ms, day = _moment(config, period, it, course, moments[-1] if moments else None)
            moments.append(at_ms)
            emptyings.append(Emptying(container.id, day, fill_pct, litres, it.weight_kg, it.truck))
        emptied_ms[container.id] = sorted(moments)
    return Seen(courses, emptied_ms, emptyings)


def _moment(
    config: Config, period: Period, it: Collection, course: Course, last_ms: int | None
) -> tuple[int, datetime.date]:
    """Return the likely time of an emptying, and the day of its round.

    A sensor tells only between which readings it was: then it is the time in the hours of a round
    that is nearest to when the container was empty, at the rate since it was emptied last.
    """
    before_ms = course.last_before(it.at_ms)
    if it.sources != ("sensor",) or before_ms is None:
        return it.at_ms, period.day_of(it.at_ms)
    likely_ms = it.at_ms
    if last_ms is not None and before_ms > last_ms and it.from_pct and it.to_pct:
        likely_ms -= round(it.to_pct * (before_ms - last_ms) / it.from_pct)
    found = it.at_ms, period.day_of(it.at_ms)
    nearest_ms: int | None = None
    day = period.day_of(before_ms)
    while day <= period.day_of(it.at_ms):
        begin = datetime.datetime.combine(day, config.planning.at, tzinfo=period.zone)
        begin_ms = round(begin.timestamp() * 1000)
        early_ms, late_ms = max(begin_ms, before_ms + 1), min(begin_ms + _ROUND_MS, it.at_ms)
        at_ms = min(max(likely_ms, early_ms), late_ms)
        if early_ms <= late_ms and (nearest_ms is None or abs(at_ms - likely_ms) < nearest_ms):
            found, nearest_ms = (at_ms, day), abs(at_ms - likely_ms)
        day += datetime.timedelta(days=1)
    return found


def watched(plan: Plan, levels: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, Watched]:
    """Return what levels tell of the stops of a plan, by container."""
    found = outcome.follow({}, plan)
    from_ms, to_ms = plan.starts_ms - DAY_MS, plan.next_round_ms
    for name, it in found.items():
        its = levels.get(name, ())
        for at_ms, fill_pct in its[bisect_left(its, (from_ms, 0.0)) :]:
            if at_ms >= to_ms:
                break
            it = it.seen(at_ms, fill_pct)  # noqa: PLW2901 (it grows)
        found[name] = it
    return found


def believed(heard: Heard, period: Period) -> Heard:
    """Return the same without emptyings that somebody told of and levels deny."""
    denied = {
        one.collection
        for it in _outcomes(heard, period).values()
        for one in it.stops
        if one.status == "contradicted"
    }
    return replace(heard, collections=[it for it in heard.collections if it not in denied])


def kept(heard: Heard, period: Period) -> list[Kept]:
    """Return what became of every planned stop, and the emptyings of planned days without one."""
    found: list[Kept] = []
    for date, it in _outcomes(heard, period).items():
        day = datetime.date.fromisoformat(date)
        found += [Kept(day, one.stop.container, one.stop.truck, one.status) for one in it.stops]
        found += [Kept(day, one.container, one.truck, "unplanned") for one in it.unplanned]
    return found


def _outcomes(heard: Heard, period: Period) -> dict[str, Outcome]:
    return outcome.outcomes(
        heard.watched, heard.collections, lambda at_ms: period.day_of(at_ms).isoformat()
    )


def past(heard: Heard, seen_: Seen, period: Period, from_ms: int) -> Past:
    """Return the waste since ``from_ms`` of containers known well enough in the period."""
    came, levels = {}, {}
    least_ms = _LEAST_KNOWN * (period.to_ms - period.from_ms)
    for name, course in seen_.courses.items():
        if course.known_ms(period.from_ms, period.to_ms) < least_ms:
            continue
        its = heard.levels[name]
        times = [at_ms for at_ms, _ in its]
        first = bisect_left(times, from_ms)
        found = waste.came(its, seen_.emptied_ms[name], from_ms, period.to_ms)
        if found is not None and first < len(its):
            came[name] = found
            levels[name] = its[max(0, first - 1)][1]
    return Past(from_ms, came, levels)

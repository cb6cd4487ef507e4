"""Whether what was planned for a day was done: by the emptyings told of, and by the levels. Pure.

::

    plans in force ─► follow ─► Watched ◄─ seen ◄─ levels
                                   │
    emptyings, merged ─────────► judged ─► Outcome

A stop is *confirmed* by an emptying that the sensor saw, or that driver or log told of and no level
denies. It is *contradicted* when `READINGS` levels from `LATE_MS` after its time on are about as
high as before, whoever says that it was emptied. All else is *unknown*, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace

import orjson

from stoep_gateway.assets.registry import TOPIC_ROOT
from stoep_gateway.collections.merging import WITHIN_DATE_MS, WITHIN_MS, Collection, apart_ms
from stoep_gateway.config_planning import OUTCOME
from stoep_gateway.insight.filling import CONFIRMED_PCT, DROP_PCT
from stoep_gateway.planning.plan import Plan
from stoep_gateway.publish.messages import OutboxMessage, encode, utc

__all__ = [
    "Judged",
    "Outcome",
    "Watched",
    "dumps",
    "follow",
    "loads",
    "of_note",
    "outcomes",
    "output",
]

READINGS = 3  # one may be a stray echo, and two have been
LATE_MS = 2 * 3_600_000  # by which a truck may be late
SOON_MS = 30 * 60_000  # by which a driver may say it too early
_KNOWN_MS = 2 * 3_600_000  # what was emptied so long before a plan, the plan knew of


@dataclass(frozen=True, slots=True)
class Watched:
    """A container at which a plan of the day has a stop, or had: then it is not ``in_force``.

    ``planned_ms`` is the first of these plans' time. ``before_pct`` is the last level before
    ``eta_ms``; from ``due_ms`` on, ``after`` levels were ``after_pct`` or higher; the newest of all
    is of ``seen_ms``.
    """

    container: str
    truck: str
    eta_ms: int
    planned_ms: int
    due_ms: int
    in_force: bool = True
    seen_ms: int = 0
    before_pct: float | None = None
    after: int = 0
    after_pct: float | None = None

    def seen(self, at_ms: int, fill_pct: float) -> Watched:
        """Return the same after a level that is believed."""
        if at_ms <= self.seen_ms:
            return self
        if at_ms < self.eta_ms:
            return replace(self, seen_ms=at_ms, before_pct=fill_pct)
        if at_ms < self.due_ms:
            return replace(self, seen_ms=at_ms)
        lowest = fill_pct if self.after_pct is None else min(self.after_pct, fill_pct)
        return replace(self, seen_ms=at_ms, after=self.after + 1, after_pct=lowest)

    def due(self, due_ms: int) -> Watched:
        """Return the same with levels that count from a time on, if that is later."""
        if due_ms <= self.due_ms:
            return self
        return replace(self, due_ms=due_ms, after=0, after_pct=None)

    @property
    def why_unknown(self) -> str | None:
        """Why its levels cannot tell that it was not emptied; None: they do."""
        if self.after < READINGS or self.after_pct is None:
            return "no_readings"
        if self.before_pct is None or self.before_pct < DROP_PCT:
            return "too_empty"
        return None if self.after_pct > self.before_pct - CONFIRMED_PCT else "unclear"


@dataclass(frozen=True, slots=True)
class Judged:
    """A planned stop, and what became of it; ``reason`` says why that is unknown."""

    stop: Watched
    status: str
    reason: str | None
    collection: Collection | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the stops of a local date, and what was emptied that no plan had."""

    date: str
    stops: tuple[Judged, ...]
    unplanned: tuple[Collection, ...]


def follow(watched: Mapping[str, Watched], plan: Plan) -> dict[str, Watched]:
    """Return what is to be watched, by container, once a plan of the same date is in force."""
    found = {name: replace(it, in_force=False) for name, it in watched.items()}
    for of_truck in plan.rounds:
        for stop in of_truck.stops:
            if stop.action != "empty" or stop.status == "skipped":
                continue
            due_ms = stop.eta_ms + LATE_MS
            it = found.get(stop.id)
            if it is None:
                new = stop.id, of_truck.truck, stop.eta_ms, plan.planned_ms, due_ms
                found[stop.id] = Watched(*new)
            else:
                same = replace(it, truck=of_truck.truck, eta_ms=stop.eta_ms, in_force=True)
                found[stop.id] = same.due(due_ms)
    return found


def outcomes(
    days: Mapping[str, Mapping[str, Watched]],
    collections: Iterable[Collection],
    date_of: Callable[[int], str],
) -> dict[str, Outcome]:
    """Return the outcome of each local date; ``days`` is what is watched on it.

    ``collections`` are all of these dates and of half a day around; ``date_of`` a time's date.
    """
    told: dict[str, list[Collection]] = {}
    for it in collections:
        told.setdefault(it.container, []).append(it)
    fitting = sorted(
        (gap, date, number, it.container)
        for date, its in days.items()
        for it in its.values()
        for number, collection in enumerate(told.get(it.container, ()))
        if (gap := _apart(it, collection)) is not None
    )
    found: dict[tuple[str, str], Collection] = {}
    taken = set()
    for _, date, number, container in fitting:
        if (date, container) not in found and (container, number) not in taken:
            found[date, container] = told[container][number]
            taken.add((container, number))
    rest = [
        it
        for container, its in told.items()
        for number, it in enumerate(its)
        if (container, number) not in taken
    ]
    rest.sort(key=lambda it: it.at_ms)
    judged = {}
    for date in sorted(days):
        stops = [
            _judged(it, found.get((date, it.container)))
            for it in days[date].values()
            if it.in_force or (date, it.container) in found
        ]
        judged[date] = tuple(sorted(stops, key=lambda it: (it.stop.eta_ms, it.stop.container)))
    return {
        date: Outcome(date, stops, tuple(it for it in rest if date_of(it.at_ms) == date))
        for date, stops in judged.items()
    }


def _apart(stop: Watched, it: Collection) -> tuple[int, int] | None:
    """Return how far an emptying is from a stop, in order of closeness; None: it is not its."""
    gap_ms = apart_ms(it.at_ms, it.after_ms, stop.eta_ms, None)
    if it.date_only:
        fits = gap_ms <= WITHIN_DATE_MS
    else:
        fits = gap_ms <= WITHIN_MS and it.at_ms >= stop.planned_ms - _KNOWN_MS
    return (gap_ms, abs(it.at_ms - stop.eta_ms)) if fits else None


def _judged(stop: Watched, collection: Collection | None) -> Judged:
    if collection is not None and "sensor" in collection.sources:
        return Judged(stop, "confirmed", None, collection)
    if collection is not None and not collection.date_only:
        stop = stop.due(collection.at_ms + SOON_MS)
    reason = stop.why_unknown
    if reason is None:
        return Judged(stop, "contradicted", None, collection)
    if collection is not None:
        return Judged(stop, "confirmed", None, collection)
    return Judged(stop, "unknown", reason, None)


def of_note(outcome: Outcome) -> object:
    """Return what makes one outcome another than the last: all but how many levels there were."""
    stops = [
        (it.stop.container, it.stop.truck, it.stop.eta_ms, it.status, it.reason, it.collection)
        for it in outcome.stops
    ]
    return stops, outcome.unplanned


def output(site: str, outcome: Outcome, now_ms: int) -> OutboxMessage:
    """Return the retained message of an outcome."""
    event_id = f"round/{site}/{outcome.date}/{OUTCOME}/{now_ms}"
    statuses = [it.status for it in outcome.stops]
    totals = {it: statuses.count(it) for it in ("confirmed", "contradicted", "unknown")}
    values: dict[str, object] = {
        "event_id": event_id,
        "time_utc": utc(now_ms),
        "date": outcome.date,
        "totals": {
            "planned": len(statuses),
            **totals,
            "unplanned": len(outcome.unplanned),
        },
        "stops": [_told(it) for it in outcome.stops],
        "unplanned": [
            {"container": it.container, "truck": it.truck, **_emptied(it)}
            for it in outcome.unplanned
        ],
    }
    topic = f"{TOPIC_ROOT}/{site}/round/{outcome.date}/{OUTCOME}"
    payload = encode(values)
    return OutboxMessage(topic, payload, True, "round_outcome", event_id)


def _told(it: Judged) -> dict[str, object]:
    stop = it.stop
    return {
        "container": stop.container,
        "truck": stop.truck,
        "eta_utc": utc(stop.eta_ms),
        "status": it.status,
        "reason": it.reason,
        "before_pct": stop.before_pct,
        "after_pct": stop.after_pct,
        "readings": stop.after,
        **_emptied(it.collection),
    }


def _emptied(it: Collection | None) -> dict[str, object]:
    if it is None:
        return {"emptied_utc": None, "sources": [], "from_pct": None, "to_pct": None}
    return {
        "emptied_utc": utc(it.at_ms),
        "sources": it.sources,
        "from_pct": it.from_pct,
        "to_pct": it.to_pct,
    }


def dumps(watched: Mapping[str, Watched]) -> str:
    """Return what is watched as JSON, for `loads`."""
    return orjson.dumps([asdict(it) for it in watched.values()]).decode()


def loads(text: str) -> dict[str, Watched]:
    """Return what was written. Raises ``ValueError``."""
    try:
        found = [Watched(**it) for it in orjson.loads(text)]
    except TypeError as error:
        raise ValueError(f"no outcome: {error}") from None
    return {it.container: it for it in found}

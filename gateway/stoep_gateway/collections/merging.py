"""One emptying may be told by the container's sensor, by the driver and by the city's log. Pure.

What two of them tell of one container within `WITHIN_MS` is one emptying, the nearest pairs first.
A sensor was emptied at any time between two of its levels, which may be a day where it is silent.
Nobody tells one twice, so what the same source tells are two, however near.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stoep_gateway.store.records import SOURCES, CollectionRow

__all__ = ["WITHIN_DATE_MS", "WITHIN_MS", "Collection", "apart_ms", "merged"]

# A shift: many a log has one time for a whole round, and a driver may say it all at the end of it.
# A sensor that is heard every hour is late by one or two. Yesterday's round is further away.
WITHIN_MS = 8 * 3_600_000
WITHIN_DATE_MS = 12 * 3_600_000  # of the noon of a local date


@dataclass(frozen=True, slots=True)
class Collection:
    """An emptying, and the ``sources`` that told of it: sensor, driver, log, in this order.

    ``at_ms`` is the earlier of what sensor and driver say, as neither can know before; the log's
    where it is alone, and where it is between the two levels of the sensor. It is ``date_only`` if
    it is the noon of a local date, and a sensor's is some time after ``after_ms``.
    """

    container: str
    at_ms: int
    sources: tuple[str, ...]
    from_pct: float | None = None
    to_pct: float | None = None
    truck: str | None = None
    weight_kg: float | None = None
    date_only: bool = False
    after_ms: int | None = None


def merged(rows: Iterable[CollectionRow]) -> list[Collection]:
    """Return the emptyings that these rows tell of, in order of time and of their containers.

    What is measured counts before what is said. Rows of half a day around a span are needed for
    those in it.
    """
    by_container: dict[str, list[CollectionRow]] = defaultdict(list)
    for row in rows:
        by_container[row.container].append(row)
    found = [_one(group) for its in by_container.values() for group in _groups(its)]
    return sorted(found, key=lambda it: (it.at_ms, it.container))


def apart_ms(at_ms: int, after_ms: int | None, other_ms: int, other_after_ms: int | None) -> int:
    """Return how far two times are apart, each of them some time after another if that is known."""
    since_ms = at_ms if after_ms is None else after_ms
    other_since_ms = other_ms if other_after_ms is None else other_after_ms
    return max(0, since_ms - other_ms, other_since_ms - at_ms)


def _groups(rows: Sequence[CollectionRow]) -> list[list[CollectionRow]]:
    """Join one container's rows by their nearness; at most one of each source."""
    rows = sorted(rows, key=lambda it: (_since_ms(it), it.at_utc_ms, it.source))
    pairs = []
    for one, row in enumerate(rows):
        for other in range(one + 1, len(rows)):
            gap_ms = _apart_ms(row, rows[other])
            if gap_ms > WITHIN_DATE_MS:
                break
            pairs.append((gap_ms, abs(rows[other].at_utc_ms - row.at_utc_ms), one, other))
    groups = [[row] for row in rows]  # of each row; rows that are joined share one
    for *_, one, other in sorted(pairs):
        left, right = groups[one], groups[other]
        if left is not right and all(_may_join(a, b) for a in left for b in right):
            left += right
            groups = [left if it is right else it for it in groups]
    return list({id(group): group for group in groups}.values())


def _since_ms(row: CollectionRow) -> int:
    return row.at_utc_ms if row.after_utc_ms is None else row.after_utc_ms


def _apart_ms(one: CollectionRow, other: CollectionRow) -> int:
    return apart_ms(one.at_utc_ms, one.after_utc_ms, other.at_utc_ms, other.after_utc_ms)


def _may_join(one: CollectionRow, other: CollectionRow) -> bool:
    within_ms = WITHIN_DATE_MS if one.date_only or other.date_only else WITHIN_MS
    return one.source != other.source and _apart_ms(one, other) <= within_ms


def _one(group: Sequence[CollectionRow]) -> Collection:
    by_source = {row.source: row for row in group}
    told = [by_source[source] for source in SOURCES if source in by_source]
    sensor, log = by_source.get("sensor"), by_source.get("log")
    timed = [row for row in told if row is not log]
    if not timed or (sensor and log and not log.date_only and not _apart_ms(sensor, log)):
        timed = told
    first = min(timed, key=lambda it: it.at_utc_ms)

    def best(name: str) -> Any:
        return next((said for row in told if (said := getattr(row, name)) is not None), None)

    return Collection(
        first.container,
        first.at_utc_ms,
        tuple(row.source for row in told),
        best("from_pct"),
        best("to_pct"),
        best("truck"),
        best("weight_kg"),
        bool(first.date_only),
        first.after_utc_ms,
    )

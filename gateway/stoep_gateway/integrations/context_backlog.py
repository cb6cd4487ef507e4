"""What a context broker has still to be told, and what its answers mean. Pure.

::

    recorded row ─▶ waiting ─ batch ─▶ asked ─ told ─▶ gone
                      ▲  ▲               │
                      │  └─ put off ─────┤ refused by itself
                      └──── again ───────┘ the request failed

One row per topic, the newest: an outage of days costs no more than an hour's. A row that the broker
refuses waits longer and longer, and until its next message at most.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from stoep_gateway.publish.ngsi_ld import Entity
from stoep_gateway.store.records import ContextRow

__all__ = ["Answer", "Backlog", "Batch", "answer"]

_PUT_OFF_MS = 300_000
_PUT_OFF_MOST_MS = 6 * 3_600_000
_DETAIL_LENGTH = 200
_OF_THE_REQUEST = frozenset({400, 413, 422})  # RFC 9110: another one may well be taken
_TOLD = frozenset({200, 201, 204})
_MULTI_STATUS = 207


@dataclass(slots=True)
class _PutOff:
    """A version that was refused."""

    version: int
    until_ms: int
    pause_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes in one request: entities by id, and of which rows they are."""

    entities: Mapping[str, Entity]
    rows: Mapping[ContextRow, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker's answer means: ``refused`` are entities and why.

    With ``problem`` the whole request failed: ``is_ours`` because of what was in it.
    """

    refused: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None
    is_ours: bool = False


class Backlog:
    """The rows that wait, in memory as in the store; times are monotonic milliseconds."""

    def __init__(self, rows: Iterable[ContextRow], most: int) -> None:
        """Begin with the store's rows; a request holds ``most`` entities or a few more."""
        self._waiting = {row.topic: row for row in rows}
        self._most = self._limit = most
        self._put_off: dict[str, _PutOff] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, row: ContextRow) -> None:
        """Take a row that is recorded, in place of the one before of its topic."""
        self._waiting[row.topic] = row
        self._put_off.pop(row.topic, None)

    def due(self, now: int) -> bool:
        """Whether there is something to tell now."""
        return any(self._is_due(topic, now) for topic in self._waiting)

    def next_ms(self) -> int | None:
        """Return when the first row that was put off is due, None if there is none."""
        return min((it.until_ms for it in self._put_off.values()), default=None)

    def batch(self, now: int, make: Callable[[ContextRow], Sequence[Entity]]) -> Batch:
        """Return what to tell next, the oldest first."""
        entities: dict[str, Entity] = {}
        rows: dict[ContextRow, tuple[str, ...]] = {}
        for topic, row in self._waiting.items():
            if not self._is_due(topic, now):
                continue
            made = make(row)
            rows[row] = tuple(entity.id for entity in made)
            entities |= {entity.id: entity for entity in made}
            if len(entities) >= self._limit:
                break
        return Batch(entities, rows)

    def settle(self, batch: Batch, answer: Answer, now: int) -> list[ContextRow]:
        """Take an answer; return the rows that are done with."""
        if answer.problem is not None:
            if answer.is_ours:
                if len(batch.rows) > 1:  # find out by whose fault
                    self._limit = max(1, min(self._limit, len(batch.rows)) // 2)
                else:
                    for row in batch.rows:
                        self._refused(row, now)
            return []
        self._limit = min(self._most, 2 * self._limit)
        told = []
        for row, ids in batch.rows.items():
            if any(entity_id in answer.refused for entity_id in ids):
                self._refused(row, now)
                continue
            told.append(row)
            if self._waiting.get(row.topic) == row:
                del self._waiting[row.topic]
                self._put_off.pop(row.topic, None)
        return told

    def _is_due(self, topic: str, now: int) -> bool:
        put_off = self._put_off.get(topic)
        return put_off is None or put_off.until_ms <= now

    def _refused(self, row: ContextRow, now: int) -> None:
        if self._waiting.get(row.topic) != row:
            return  # a newer one came meanwhile
        before = self._put_off.get(row.topic)
        pause_ms = _PUT_OFF_MS if before is None else min(2 * before.pause_ms, _PUT_OFF_MOST_MS)
        self._put_off[row.topic] = _PutOff(row.version, now + pause_ms, pause_ms)


def answer(status: int, body: bytes, asked: Container[str]) -> Answer:
    """Return what an answer to a batch means; ``asked`` are the entities' ids.

    ETSI GS CIM 009, 5.6.8 and 6.15.
    """
    if status in _TOLD:
        return Answer()
    if status == _MULTI_STATUS:
        refused = _errors(body)
        if not refused or any(entity_id not in asked for entity_id in refused):
            return Answer(problem="it answered 207 without saying which entity it refuses")
        return Answer(refused)
    if status in (401, 403):
        return Answer(problem=f"it answered {status}, see token_file and tenant under [ngsi_ld]")
    detail = _detail(body)
    problem = f"it answered {status}" + (f": {detail}" if detail else "")
    return Answer(problem=problem, is_ours=status in _OF_THE_REQUEST)


def _errors(body: bytes) -> dict[str, str] | None:
    try:
        errors = orjson.loads(body)["errors"]
        return {str(it["entityId"]): _problem(it.get("error")) for it in errors}
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def _detail(body: bytes) -> str:
    try:
        return _problem(orjson.loads(body))
    except ValueError:
        return ""


def _problem(details: Any) -> str:
    """Return a ProblemDetails (RFC 7807) as one line."""
    if isinstance(details, dict):
        told = [str(details[key]) for key in ("title", "detail") if details.get(key)]
    else:
        told = [details] if isinstance(details, str) else []
    text = " ".join(": ".join(told).split())[:_DETAIL_LENGTH]
    return "".join(sign for sign in text if sign.isprintable())

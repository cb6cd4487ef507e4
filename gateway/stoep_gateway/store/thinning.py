"""Which unsent messages to let go of when they outgrow the room they have on the disk. Pure.

The rows are gone through from the oldest to the newest, a step at a time, until the excess is gone:

1. States first: of a retained topic only the newest row is needed. (A survey finds those.)
2. Then events, about every other of each topic, and again, so that the older are the sparser.
3. When every topic has one event left, those, too, the oldest first.

The newest row of a retained topic always stays. "Every other" follows the Thue-Morse sequence:
from a bay that is taken and freed in turn, plainly every second event would leave only the former.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["STEP_ROWS", "Thinned", "Thinner", "UnsentRow"]

STEP_ROWS = 1000
_STEP_DELETIONS = 200  # a few milliseconds

_SURVEY, _STATES, _EVENTS, _LAST_EVENTS, _END = range(5)


class UnsentRow(NamedTuple):
    """A row of the outbox without its payload; ``octets`` are those of ``OutboxRow.octets``."""

    outbox_id: int
    kind: str
    topic: str
    retain: int
    octets: int


@dataclass(frozen=True, slots=True)
class Thinned:
    """What a step has deleted."""

    octets: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


class Thinner:
    """One thinning, of the rows up to ``last_id``, by ``excess`` octets.

    Each step begins beyond ``after_id``: ``choose`` gets the next ``STEP_ROWS`` rows there and goes
    through as many of them as it may.
    """

    def __init__(self, last_id: int, excess: int) -> None:
        self.last_id = last_id
        self.after_id = 0
        self._excess = excess
        self._pass = _SURVEY
        self._newest: dict[str, int] = {}
        self._seen: Counter[str] = Counter()
        self._found = False

    @property
    def done(self) -> bool:
        """Whether the excess is gone, or nothing is left that may go."""
        return self._excess <= 0 or self._pass == _END

    def choose(self, rows: Sequence[UnsentRow]) -> list[UnsentRow]:
        """Return which of these to delete; fewer than ``STEP_ROWS`` are the last of a pass."""
        chosen = []
        for row in rows:
            if self._may_go(row):
                chosen.append(row)
                self._excess -= row.octets
                self._found = True
                if self._excess <= 0 or len(chosen) == _STEP_DELETIONS:
                    self.after_id = row.outbox_id
                    return chosen
        if len(rows) < STEP_ROWS:
            self._end_pass()
        else:
            self.after_id = rows[-1].outbox_id
        return chosen

    def _may_go(self, row: UnsentRow) -> bool:
        if self._pass == _SURVEY:
            if row.retain:
                self._newest[row.topic] = row.outbox_id
            return False
        if self._pass == _STATES:
            return bool(row.retain) and row.outbox_id != self._newest.get(row.topic, row.outbox_id)
        if row.retain:
            return False
        if self._pass == _EVENTS:
            number = self._seen[row.topic]
            self._seen[row.topic] = number + 1
            return number.bit_count() % 2 == 1
        return True

    def _end_pass(self) -> None:
        self.after_id = 0
        self._seen.clear()
        if self._pass != _EVENTS or not self._found:
            self._pass += 1
        self._found = False

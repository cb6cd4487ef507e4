"""The order in which recorded messages go to the broker, as a machine without input or output.

::

    committed row ─▶ waiting ─ take ─▶ in flight ─ acknowledge ─▶ acknowledged ─ collect ─▶ deleted
                        ▲                  │
                        └── disconnected ──┘

Rows leave in the order of their ids, so each topic's order is kept; after a lost connection all
that were in flight go again, with the same event ids. Memory holds a page of rows: during a long
outage the rest stays in the store until ``wants_page`` asks for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from stoep_gateway.store.records import OutboxRow

__all__ = ["Outbox"]


class Outbox:
    """Rows between their commit and the broker's acknowledgement."""

    def __init__(self, rows: Sequence[OutboxRow], last_id: int, capacity: int = 10_000) -> None:
        """Begin with the oldest rows of the store, ``last_id`` being the newest there."""
        self._waiting = deque(rows)
        self._in_flight: dict[int, OutboxRow] = {}
        self._acknowledged: list[int] = []
        self._capacity = capacity
        self._newest_id = last_id
        self._loaded_id = rows[-1].outbox_id if rows else last_id
        self._reading = False

    def __len__(self) -> int:
        """Return how many rows the broker has not acknowledged, those in the store included."""
        return len(self._waiting) + len(self._in_flight) + self._newest_id - self._loaded_id

    @property
    def in_flight(self) -> int:
        """How many rows have been sent and not acknowledged."""
        return len(self._in_flight)

    @property
    def loaded_id(self) -> int:
        """The newest row in memory."""
        return self._loaded_id

    def add(self, rows: Iterable[OutboxRow]) -> None:
        """Take rows that have just been committed, in the order of their ids."""
        for row in rows:
            whole = self._loaded_id == self._newest_id
            self._newest_id = row.outbox_id
            if whole and len(self._waiting) < self._capacity:
                self._waiting.append(row)
                self._loaded_id = row.outbox_id

    def wants_page(self) -> bool:
        """Whether rows should be read from the store now; true once per page."""
        wanted = (
            not self._reading
            and self._loaded_id < self._newest_id
            and 2 * len(self._waiting) < self._capacity
        )
        self._reading = self._reading or wanted
        return wanted

    def add_page(self, rows: Sequence[OutboxRow]) -> None:
        """Take the rows that follow ``loaded_id`` in the store, each of them added before."""
        self._reading = False
        if rows:
            self._waiting.extend(rows)
            self._loaded_id = rows[-1].outbox_id

    def take(self, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` rows to publish now, oldest first; they are then in flight."""
        waiting = self._waiting
        taken = [waiting.popleft() for _ in range(min(limit, len(waiting)))]
        for row in taken:
            self._in_flight[row.outbox_id] = row
        return taken

    def acknowledge(self, outbox_id: int) -> None:
        """Note that the broker has a row."""
        if self._in_flight.pop(outbox_id, None) is not None:
            self._acknowledged.append(outbox_id)

    def disconnected(self) -> None:
        """Put everything in flight back to the front of the queue."""
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()

    @property
    def acknowledged(self) -> int:
        """How many rows wait to be collected."""
        return len(self._acknowledged)

    def collect(self) -> tuple[tuple[int, int], ...]:
        """Return the acknowledged rows, to be deleted, as ranges with both ends included."""
        ranges: list[tuple[int, int]] = []
        for outbox_id in sorted(self._acknowledged):
            if ranges and ranges[-1][1] == outbox_id - 1:
                ranges[-1] = (ranges[-1][0], outbox_id)
            else:
                ranges.append((outbox_id, outbox_id))
        self._acknowledged.clear()
        return tuple(ranges)

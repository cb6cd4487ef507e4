"""The order in which recorded messages go to the broker, as a machine without input or output.

::

    committed row ─▶ waiting ─ take ─▶ in flight ─ acknowledge ─▶ acknowledged ─ collect ─▶ deleted
                        ▲                  │
                        └── disconnected ──┘

Rows leave in the order of their ids, so each topic's order is kept; after a lost connection all
that were in flight go again, with the same event ids. Memory holds a page of rows: during a long
outage the rest stays in the store until ``wants_page`` asks for it.

The store has room for ``limit_octets`` of them. When there are more, rows that are not in flight
are left to the store and thinned there, by the steps that ``wants_thinning`` asks for, down to
three quarters of the limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from stoep_gateway.store.records import OutboxRow
from stoep_gateway.store.thinning import Thinned, Thinner

__all__ = ["Outbox"]

_NO_LIMIT = 1 << 62


class Outbox:
    """Rows between their commit and the broker's acknowledgement."""

    def __init__(
        self,
        rows: Sequence[OutboxRow],
        last_id: int,
        capacity: int = 10_000,
        *,
        depth: int | None = None,
        octets: int | None = None,
        limit_octets: int = _NO_LIMIT,
    ) -> None:
        """Begin with the oldest rows of the store, ``last_id`` being the newest there.

        ``depth`` and ``octets`` are of all in the store; by default ``rows`` and what the ids from
        there to ``last_id`` allow for.
        """
        self._waiting = deque(rows)
        self._in_flight: dict[int, OutboxRow] = {}
        self._acknowledged: list[int] = []
        self._capacity = capacity
        self._newest_id = last_id
        self._loaded_id = rows[-1].outbox_id if rows else last_id
        self._asked_id = 0
        self._reading = False
        self._held = False
        self._depth = len(rows) + last_id - self._loaded_id if depth is None else depth
        self._octets = sum(row.octets for row in rows) if octets is None else octets
        self._oldest_utc_ms = 0
        self._limit = limit_octets
        self._thin_beyond = limit_octets
        self._thinner: Thinner | None = None
        self._stepping = False

    def __len__(self) -> int:
        """Return how many rows the broker has not acknowledged, those in the store included."""
        return self._depth

    @property
    def octets(self) -> int:
        """About how much room they take on the disk."""
        return self._octets

    @property
    def limit_octets(self) -> int:
        """How much room they may take."""
        return self._limit

    @property
    def oldest_utc_ms(self) -> int | None:
        """When the oldest of them was recorded; None when there is none.

        After a thinning this may be that of an earlier one, which has gone.
        """
        if not self._depth:
            return None
        for row in self._in_flight.values():
            return row.created_utc_ms
        return self._waiting[0].created_utc_ms if self._waiting else self._oldest_utc_ms

    @property
    def in_flight(self) -> int:
        """How many rows have been sent and not acknowledged."""
        return len(self._in_flight)

    @property
    def loaded_id(self) -> int:
        """The newest row in memory."""
        return self._loaded_id

    def hold(self, from_utc_ms: int) -> None:
        """Leave rows to the store, those in memory from this time on, too, until ``release``."""
        self._held = True
        while self._waiting and self._waiting[-1].created_utc_ms >= from_utc_ms:
            self._loaded_id = self._waiting.pop().outbox_id - 1

    def release(self) -> None:
        """Go on with what was held back, as the store has it now."""
        self._held = False

    def add(self, rows: Iterable[OutboxRow]) -> None:
        """Take rows that have just been committed, in the order of their ids."""
        for row in rows:
            whole = self._loaded_id == self._newest_id and not self._held
            self._newest_id = row.outbox_id
            if not self._depth:
                self._oldest_utc_ms = row.created_utc_ms
            self._depth += 1
            self._octets += row.octets
            if whole and len(self._waiting) < self._capacity:
                self._waiting.append(row)
                self._loaded_id = row.outbox_id

    def wants_page(self) -> bool:
        """Whether rows should be read from the store now; true once per page."""
        wanted = (
            not self._reading
            and not self._held
            and self._loaded_id < self._newest_id
            and 2 * len(self._waiting) < self._capacity
        )
        if wanted:
            self._reading = True
            self._asked_id = self._newest_id
        return wanted

    def add_page(self, rows: Sequence[OutboxRow], *, last: bool = False) -> None:
        """Take the rows that follow ``loaded_id`` in the store, each of them added before.

        ``last``: no others follow there.
        """
        self._reading = False
        if rows:
            self._waiting.extend(rows)
            self._loaded_id = rows[-1].outbox_id
        if last:
            self._loaded_id = max(self._loaded_id, self._asked_id)

    def take(self, limit: int) -> list[OutboxRow]:
        """Return up to ``limit`` rows to publish now, oldest first; they are then in flight."""
        waiting = self._waiting
        taken = [waiting.popleft() for _ in range(min(limit, len(waiting)))]
        for row in taken:
            self._in_flight[row.outbox_id] = row
        return taken

    def acknowledge(self, outbox_id: int) -> None:
        """Note that the broker has a row."""
        row = self._in_flight.pop(outbox_id, None)
        if row is not None:
            self._acknowledged.append(outbox_id)
            self._oldest_utc_ms = row.created_utc_ms
            self._depth -= 1
            self._octets -= row.octets

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

    # Room on the disk.

    @property
    def thinning(self) -> bool:
        """Whether a thinning is under way."""
        return self._thinner is not None

    def wants_thinning(self) -> bool:
        """Whether a step of thinning should be made now: ``next_step``."""
        if self._stepping or self._reading:
            return False
        if self._thinner is not None:
            return True
        if self._octets <= self._limit:
            self._thin_beyond = self._limit
            return False
        return self._octets > self._thin_beyond and (
            bool(self._waiting) or self._loaded_id < self._newest_id
        )

    def next_step(self) -> Thinner:
        """Return the thinner whose next step to make, after what ``collect`` returns is deleted.

        All that is not in flight is left to the store; the step must not touch what is.
        """
        if self._thinner is None:
            self._thinner = Thinner(self._newest_id, self._octets - self._limit * 3 // 4)
        self._stepping = True
        if self._waiting:
            first = self._waiting[0]
            if not self._in_flight:
                self._oldest_utc_ms = first.created_utc_ms
            self._loaded_id = next(reversed(self._in_flight), first.outbox_id - 1)
            self._waiting.clear()
        self._thinner.after_id = max(self._thinner.after_id, self._loaded_id)
        return self._thinner

    def thinned(self, what: Thinned) -> None:
        """Take note of what the step has deleted."""
        self._stepping = False
        self._depth -= what.kinds.total()
        self._octets -= what.octets
        if self._thinner is not None and self._thinner.done:
            self._thinner = None
            # When nothing was left that may go, it is not looked for again at once.
            self._thin_beyond = max(self._limit, self._octets + self._limit // 16)

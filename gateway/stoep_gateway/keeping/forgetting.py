"""The service that forgets uplinks by the rules of `stoep_gateway.keeping.retention`.

And collections by their age.

The looking is done on a thread and a connection of its own; the writer gets what it has to delete,
a bounded part at a time, between the uplinks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from stoep_protocol.schema import F_PORT_BAY, F_PORT_BIN

from stoep_gateway.assets.registry import Bay, Registry
from stoep_gateway.clock import Clock
from stoep_gateway.config import Config
from stoep_gateway.errors import FatalError
from stoep_gateway.keeping import uplinks
from stoep_gateway.keeping.retention import Rule, Step, StoredUplink, Walk, rules
from stoep_gateway.metrics import Metrics
from stoep_gateway.services import Parts, Service
from stoep_gateway.store.records import SOURCES, Record, RetentionRow
from stoep_gateway.store.store import Store

__all__ = ["Forgetting", "as_ours", "build"]

WINDOW = 1000
_FIRST_MS = 60_000
_EVERY_MS = 300_000
_DAY_MS = 86_400_000
_MONTH_MS = 30 * _DAY_MS
_MORE_MS = 1_000  # so that a backlog leaves the disk to the uplinks

_log = logging.getLogger(__name__)


def build(parts: Parts) -> Service:
    """Return the service."""
    service = Forgetting(
        parts.config.store.path,
        parts.store,
        parts.clock,
        parts.metrics,
        rules(parts.config.retention),
        partial(as_ours, parts.registry),
        parts.config.retention.collections_days,
    )

    def reload(config: Config) -> None:
        service.follow(rules(config.retention), config.retention.collections_days)

    parts.on_reload.append(reload)
    return service


def as_ours(registry: Registry, row: StoredUplink) -> StoredUplink:
    """Return an uplink of another make as if one of ours that stands for the same had sent it."""
    device = registry.devices.get(row.dev_eui)
    if device is None or device.make is None or device.asset is None:
        return row
    return row._replace(f_port=F_PORT_BAY if isinstance(device.asset, Bay) else F_PORT_BIN)


class Forgetting:
    """Sweeps every five minutes, and goes on at once where there is more than a window."""

    name = "retention"

    def __init__(
        self,
        path: Path,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        wanted: tuple[Rule, ...],
        seen_as: Callable[[StoredUplink], StoredUplink] = lambda row: row,
        collections_days: int | None = None,
    ) -> None:
        self._path = path
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._rules = wanted
        self._seen_as = seen_as
        self._collections_days = collections_days
        self._walks: dict[str, Walk] = {}
        self._due = asyncio.Event()
        self._failing = False

    def follow(self, wanted: tuple[Rule, ...], collections_days: int | None = None) -> None:
        """Take other rules, from the next sweep on."""
        self._rules = wanted
        self._collections_days = collections_days

    async def open(self) -> None:
        """Nothing is held."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        self._clock.when_started(partial(self._sweep_in, _FIRST_MS))
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                more = await self._sweep()
            finally:
                self._clock.end()
            self._sweep_in(_MORE_MS if more else _EVERY_MS)

    async def close(self) -> None:
        """Nothing is held."""

    def _sweep_in(self, ms: int) -> None:
        self._clock.call_at(self._clock.now_ms() + ms, self._begin)

    def _begin(self) -> None:
        self._clock.begin()  # simulated time waits for the thread
        self._due.set()

    async def _sweep(self) -> bool:
        """Take one step by each rule; tell whether one has more to do."""
        if not self._clock.utc_is_settled():  # a clock a year ahead would forget everything
            return False
        try:
            now_utc_ms = self._clock.utc_ms()
            steps = await asyncio.to_thread(self._steps, self._rules, now_utc_ms)
            old = await asyncio.to_thread(self._old_collections, now_utc_ms)
        except FatalError as error:  # the writer, too, would notice; not to be repeated here
            if not self._failing:
                _log.warning("old uplinks are not forgotten: %s", error)
            self._failing = True
            return False
        if self._failing:
            _log.info("old uplinks are forgotten again")
        self._failing = False
        if steps or old is not None:
            await self._write(steps, old)
        return old is not None or any(step.more for step in steps.values())

    def _old_collections(self, now_utc_ms: int) -> int | None:
        """Return up to when to forget collections, a month of them at a time; None: none."""
        if self._collections_days is None:
            return None
        with uplinks.connect(self._path) as connection:
            (oldest,) = connection.execute("SELECT min(at_utc_ms) FROM collection").fetchone()
        before = now_utc_ms - self._collections_days * _DAY_MS
        return None if oldest is None or oldest >= before else min(before, oldest + _MONTH_MS)

    def _steps(self, wanted: tuple[Rule, ...], now_utc_ms: int) -> dict[str, Step]:
        """Look at the next window of each rule; return what those say that have moved on."""
        steps = {}
        with uplinks.connect(self._path) as connection:
            marks = uplinks.marks(connection)
            for rule in wanted:
                walk = self._walks.setdefault(rule.name, Walk(rule, marks.get(rule.name, 0)))
                walk.rule = rule
                before = walk.mark
                rows = [self._seen_as(row) for row in uplinks.window(connection, before, WINDOW)]
                step = walk.take(rows, WINDOW, now_utc_ms)
                if step.mark != before:
                    steps[rule.name] = step
        return steps

    async def _write(self, steps: Mapping[str, Step], old: int | None) -> None:
        forgotten = {uplink_id for step in steps.values() for uplink_id in step.forgotten}
        written = asyncio.Event()
        self._store.submit(
            Record(
                forgotten_uplinks=tuple(sorted(forgotten)),
                retention=tuple(RetentionRow(name, step.mark) for name, step in steps.items()),
                forgotten_collections=(
                    () if old is None else tuple((source, 0, old) for source in SOURCES)
                ),
            ),
            written.set,
        )
        await written.wait()
        if forgotten:
            self._metrics.count("uplinks_forgotten", len(forgotten))

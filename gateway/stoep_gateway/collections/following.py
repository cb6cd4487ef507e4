"""Follows the plans in force: tells each container's next stop, and what became of the day's.

And has openings of lids counted anew after an emptying. A driver of `outcome`, `coming` and `lids`:
it knows the clock, the store and the newest levels. What it
watches is kept with the outcome, so that a restart goes on.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path

from stoep_gateway.assets import states
from stoep_gateway.assets.registry import Container, Registry
from stoep_gateway.assets.states import AssetState, ContainerState
from stoep_gateway.clock import Clock, Timer
from stoep_gateway.collections import lids, outcome
from stoep_gateway.collections.coming import coming
from stoep_gateway.collections.merging import WITHIN_DATE_MS, Collection, merged
from stoep_gateway.collections.outcome import Outcome, Watched
from stoep_gateway.config import Config
from stoep_gateway.errors import FatalError
from stoep_gateway.insight.readings import DOUBTED, REJECTED
from stoep_gateway.pipeline import Pipeline
from stoep_gateway.planning.days import date_of
from stoep_gateway.planning.plan import Plan
from stoep_gateway.store.latest import read_collections, read_outcomes
from stoep_gateway.store.records import CollectionRow, LatestRow, OutboxRow, OutcomeRow, Record

__all__ = ["Following"]

_EVERY_MS = 15 * 60_000
_DAYS = 2  # after its date an outcome may still change
_DAY_MS = 86_400_000
_LAST = "9999-12-31"

_log = logging.getLogger(__name__)


class Following:
    """Looks every quarter of an hour, and whenever a plan comes into force."""

    name = "outcomes"

    def __init__(
        self,
        config: Config,
        registry: Registry,
        known: MutableMapping[str, AssetState],
        pipeline: Pipeline,
        clock: Clock,
    ) -> None:
        self._config = config
        self._path: Path = config.store.path
        self._registry = registry
        self._states = known
        self._pipeline = pipeline
        self._clock = clock
        self._days: dict[str, dict[str, Watched]] = {}
        self._plans: list[Plan] = []  # in force since the last look
        self._is_read = False
        self._kept: dict[str, str] = {}
        self._told: dict[str, object] = {}  # what was published of each date, but for levels
        self._due = asyncio.Event()
        self._timer: Timer | None = None
        self._failing = False

    def reconfigure(self, config: Config) -> None:
        """Go by another configuration's time zone and site."""
        self._config = config

    def in_force(self, today: Plan | None, next_one: Plan | None) -> None:
        """Take the plans by which trucks drive from now on."""
        self._pipeline.interpreter.coming = coming(today, next_one)
        if today is not None and not today.provisional:
            self._plans.append(today)
            self.look()

    def look(self) -> None:
        """Look soon: something has changed."""
        if not self._due.is_set():
            self._clock.begin()  # simulated time waits for the thread
            self._due.set()

    async def open(self) -> None:
        """Nothing is held."""

    async def run(self) -> None:
        """Look until cancelled; an outcome that cannot be told now is told later."""
        self._clock.when_started(self._wait)
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._look()
            except Exception:  # noqa: BLE001 (an outcome less, not a gateway)
                _log.exception("what became of the rounds cannot be told")
            finally:
                self._clock.end()
            self._wait()

    async def close(self) -> None:
        """Nothing is held."""

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._clock.now_ms() + _EVERY_MS, self.look)

    async def _look(self) -> None:
        if not self._clock.utc_is_known():
            return
        now_ms = self._clock.utc_ms()
        earliest = date_of(self._config, now_ms - _DAYS * _DAY_MS)
        try:
            if not self._is_read:
                texts = await asyncio.to_thread(read_outcomes, self._path, earliest, _LAST)
                self._go_on(texts)
            self._follow(earliest)
            rows = await asyncio.to_thread(self._rows, earliest, now_ms)
        except FatalError as error:  # the writer, too, would notice
            if not self._failing:
                _log.warning("what became of the rounds cannot be told: %s", error)
            self._failing = True
            return
        if self._failing:
            _log.info("what becomes of the rounds is told again")
        self._failing = False
        self._see()
        collections = [
            it
            for it in merged(rows)
            if isinstance(self._registry.assets.get(f"container/{it.container}"), Container)
        ]
        self._count_anew(collections, now_ms)
        told = outcome.outcomes(self._days, collections, partial(date_of, self._config))
        for found in told.values():
            self._tell(found, now_ms)

    def _go_on(self, texts: Mapping[str, str]) -> None:
        """Watch what was watched before the last stop."""
        for date, text in texts.items():
            try:
                self._days[date] = outcome.loads(text)
            except ValueError as error:
                _log.warning("what became of the plan of %s is unreadable: %s", date, error)
        self._is_read = True

    def _follow(self, earliest: str) -> None:
        """Watch what is in force now, and no longer what was days ago."""
        for plan in self._plans:
            self._days[plan.date] = outcome.follow(self._days.get(plan.date, {}), plan)
        self._plans.clear()
        for date in [it for it in self._days if it < earliest]:
            del self._days[date]
            self._kept.pop(date, None)
            self._told.pop(date, None)

    def _see(self) -> None:
        """Take the newest levels that are believed."""
        for stops in self._days.values():
            for name, stop in stops.items():
                key = f"container/{name}"
                asset, state = self._registry.assets.get(key), self._states.get(key)
                if not isinstance(asset, Container) or asset.by_flaps:
                    continue
                if not isinstance(state, ContainerState) or (track := state.track) is None:
                    continue
                if track.at_ms == state.measured_ms and state.quality not in (REJECTED, DOUBTED):
                    stops[name] = stop.seen(track.at_ms, track.fill_pct)

    def _count_anew(self, collections: Sequence[Collection], now_ms: int) -> None:
        """Let openings of lids be counted from when somebody said that it was emptied."""
        told: dict[str, list[Collection]] = {}
        for it in collections:
            told.setdefault(f"container/{it.container}", []).append(it)
        for key, of in told.items():
            asset, device = self._registry.assets.get(key), self._registry.device_of(key)
            if not isinstance(asset, Container) or not asset.by_flaps or device is None:
                continue
            state = self._states.get(key)
            before = state if isinstance(state, ContainerState) else None
            litres = self._pipeline.flap_pools.litres_per_flap(asset)
            new = lids.emptied(device, asset, before, of, now_ms, litres)
            if new is not None:
                message, after = new
                self._states[key] = after
                latest = (LatestRow(key, states.dumps(after)),)
                rows = self._pipeline.outbox_rows((message,))
                self._pipeline.record(Record(latest=latest, outbox=rows))

    def _rows(self, first_date: str, now_ms: int) -> list[CollectionRow]:
        begin = datetime.datetime.combine(
            datetime.date.fromisoformat(first_date), datetime.time(), self._config.timezone
        )
        from_ms = round(begin.timestamp() * 1000) - WITHIN_DATE_MS
        return read_collections(self._path, from_ms, now_ms + WITHIN_DATE_MS)

    def _tell(self, found: Outcome, now_ms: int) -> None:
        """Keep an outcome that has changed, and publish it if that is of note."""
        date = found.date
        for it in found.stops:
            self._days[date][it.stop.container] = it.stop
        text = outcome.dumps(self._days[date])
        told = outcome.of_note(found)
        if text == self._kept.get(date) and told == self._told.get(date):
            return
        rows: tuple[OutboxRow, ...] = ()
        if told != self._told.get(date):
            message = outcome.output(self._config.site, found, now_ms)
            rows = self._pipeline.outbox_rows((message,))
        self._kept[date], self._told[date] = text, told
        self._pipeline.record(Record(outcomes=(OutcomeRow(date, text),), outbox=rows))

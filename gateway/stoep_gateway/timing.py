"""The service that watches the system's clock, and what happens when the time becomes known.

A driver of `stoep_gateway.timekeeping`: until UTC is known nothing is published and readings are
held back; then everything that was recorded meanwhile is corrected, in one transaction, and told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stoep_gateway import recording
from stoep_gateway.assets import states
from stoep_gateway.assets.registry import Registry
from stoep_gateway.clock import SystemClock
from stoep_gateway.config_service import TimeConfig
from stoep_gateway.forwarders.links import Links
from stoep_gateway.memory import Memory
from stoep_gateway.pipeline import Pipeline
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.publish.mqtt import Publisher
from stoep_gateway.publish.outbox import Outbox
from stoep_gateway.store.correcting import Correction
from stoep_gateway.store.records import (
    CollectionRow,
    HeldRow,
    LatestRow,
    ProvisionalRow,
    Record,
    State,
)
from stoep_gateway.store.store import Store
from stoep_gateway.system_time import SystemTime
from stoep_gateway.timekeeping import Known, Reading, Stepped, Timekeeper

__all__ = ["Timing", "keep"]

POLL_S = 1.0
_AT_ONCE = 25
_AGREE_MS = 5_000
_LOOPBACK = ("127.", "::1")
_WHY = {
    "synchronised": "the system's clock is synchronised",
    "trusted": "[time] trust_clock",
    "kept": "the machine's own clock says so",
    "set": "the system's clock was set",
    "agreed": "gateways elsewhere have the same time",
}

_log = logging.getLogger(__name__)


def keep(clock: SystemClock, system: SystemTime, config: TimeConfig, state: State) -> None:
    """Have a keeper decide what time it is, from what is known at the start."""
    began, resumed_utc_ms = state.provisional, None
    if began is not None:
        if began.boot_id == system.boot_id():
            resumed_utc_ms = began.from_utc_ms + system.boot_ms() - began.boot_ms
        else:  # how long the machine was off nobody knows: those times stay
            began = None
    clock.keeper = Timekeeper(
        clock.now_ms(),
        Reading(system.utc_ms(), system.is_synchronised(), system.is_kept()),
        floor_utc_ms=0 if began is not None else state.newest_utc_ms,
        trust=config.trust_clock,
        wait_ms=config.wait_min * 60_000,
        began_utc_ms=None if began is None else began.from_utc_ms,
        resumed_utc_ms=resumed_utc_ms,
    )


class Timing:
    """Feeds the keeper; ``on_step`` is called when UTC has jumped.

    ``left_over``: an earlier start ended before it knew the time.
    """

    name = "time"

    def __init__(
        self,
        clock: SystemClock,
        system: SystemTime,
        config: TimeConfig,
        registry: Registry,
        links: Links,
        memory: Memory,
        pipeline: Pipeline,
        outbox: Outbox,
        publisher: Publisher,
        store: Store,
        on_step: Callable[[], None],
        *,
        left_over: bool,
    ) -> None:
        assert clock.keeper is not None
        self._clock = clock
        self._keeper = clock.keeper
        self._system = system
        self._config = config
        self._registry = registry
        self._links = links
        self._memory = memory
        self._pipeline = pipeline
        self._outbox = outbox
        self._publisher = publisher
        self._store = store
        self._on_step = on_step
        self._left_over = left_over
        self._moved = Known("synchronised", 0, 0), 0  # of what is held, so many of the first

    async def open(self) -> None:
        """Hold back what would be told at a time that is not known."""
        from_utc_ms = self._keeper.provisional_from_ms
        if from_utc_ms is None:
            return
        self._outbox.hold(from_utc_ms)
        here = ProvisionalRow(self._system.boot_id(), self._system.boot_ms(), from_utc_ms)
        if not self._keeper.is_resumed:
            self._store.submit(Record(provisional=(here,)))
        _log.warning(
            "this machine's clock is not synchronised: what is heard is recorded, and told when it"
            " is, or in %d min; if it is right all the same: [time] trust_clock = true",
            self._config.wait_min,
        )

    async def run(self) -> None:
        """Look at the clock until cancelled."""
        if self._keeper.is_known and self._left_over:  # by a start of the machine that never knew
            self._store.correct(Correction(0, 0))
        while True:
            self._look()
            if self._keeper.is_known:
                await self._tell_held()
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Nothing is held."""

    def _look(self) -> None:
        system = self._system
        now = self._clock.now_ms()
        sure = self._keeper.why in ("synchronised", "trusted")
        reading = Reading(
            system.utc_ms(),
            system.is_synchronised(),
            not sure and system.is_kept(),
            not sure and self._forwarders_agree(),
        )
        event = self._keeper.read(now, reading)
        if isinstance(event, Known):
            self._known(event)
        elif isinstance(event, Stepped):
            _log.warning("the system's clock stepped by %+.1f s", event.by_ms / 1000)
            self._on_step()

    def _known(self, event: Known) -> None:
        by_ms, from_utc_ms = event.by_ms, event.from_utc_ms
        if event.why == "waited":
            _log.warning(
                "the clock is still not synchronised after %d min: messages go out with the time"
                " as it is",
                self._config.wait_min,
            )
        else:
            _log.info(
                "the time is known (%s): what was recorded is moved by %+.1f s",
                _WHY[event.why],
                by_ms / 1000,
            )
        self._store.correct(Correction(from_utc_ms, by_ms))
        for session in self._memory.sessions.all():
            if session.created_utc_ms >= from_utc_ms:
                session.created_utc_ms += by_ms
            if session.heard_utc_ms is not None and session.heard_utc_ms >= from_utc_ms:
                session.heard_utc_ms += by_ms
        self._memory.queue.move_times(from_utc_ms, by_ms)
        self._pipeline.configurations.move_times(from_utc_ms, by_ms)
        self._pipeline.device_watching.move_times(from_utc_ms, by_ms)
        self._pipeline.downlinks.arm_expiry()
        self._moved = event, len(self._pipeline.interpreter.held)
        # Once the record after the correction is there, the store's page is the corrected one.
        self._store.submit(Record(), self._release)
        self._on_step()

    async def _tell_held(self) -> None:
        """Tell what is held back, a few at a time: what comes meanwhile waits its turn there."""
        held = self._pipeline.interpreter.held
        while held:
            self._tell(held[:_AT_ONCE])
            del held[:_AT_ONCE]
            await asyncio.sleep(0)

    def _tell(self, held: list[HeldRow]) -> None:
        pipeline, interpreter = self._pipeline, self._pipeline.interpreter
        event, moved = self._moved
        self._moved = event, max(0, moved - len(held))
        latest: dict[str, LatestRow] = {}
        messages: list[OutboxMessage] = []
        collections: list[CollectionRow] = []
        for number, row in enumerate(held):
            device = self._registry.devices.get(row.dev_eui)
            if device is None:  # it was removed meanwhile
                continue
            by_ms = event.by_ms if number < moved else 0
            plain, meta = recording.held(row, event.from_utc_ms, by_ms)
            message, _ = interpreter.decode(device, plain, meta.f_cnt_up, meta.received_utc_ms)
            outputs = interpreter.outputs_now(device, plain, message, meta)
            state = interpreter.remember(device, message, outputs)
            if state is not None:
                latest[state[0]] = LatestRow(state[0], states.dumps(state[1]))
            messages += outputs.messages
            collections += outputs.collections
        rows = pipeline.outbox_rows(messages)
        pipeline.record(
            Record(
                latest=tuple(latest.values()),
                outbox=rows,
                told_held=len(held),
                collections=tuple(collections),
            )
        )

    def _release(self) -> None:
        self._outbox.release()
        self._publisher.announce()
        self._publisher.wake()

    def _forwarders_agree(self) -> bool:
        """Whether gateways that are not on this machine have our time, and none another."""
        utc_is_ours = self._clock.utc_ms() - self._system.utc_ms()
        offsets = [
            link.clock_offset_ms + utc_is_ours
            for link in self._links.values()
            if link.clock_offset_ms is not None
            and link.peer is not None
            and not str(link.peer[0]).startswith(_LOOPBACK)
        ]
        return bool(offsets) and all(abs(offset) < _AGREE_MS for offset in offsets)

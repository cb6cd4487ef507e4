"""Plans the round once a day, off the event loop, and hands its messages on.

A driver of the pure planner: it knows the clock and an executor. While the solver runs, simulated
time stands still, so a simulated morning's round is planned at its minute.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from stoep_gateway.assets.states import AssetState
from stoep_gateway.clock import Clock, Timer
from stoep_gateway.config import Config
from stoep_gateway.metrics import Metrics
from stoep_gateway.planning import planner
from stoep_gateway.publish.messages import OutboxMessage

__all__ = ["DailyRounds"]

# Then look again: UTC may have been set meanwhile, back by years or on past the round's time.
_LONGEST_WAIT_MS = 3_600_000

_log = logging.getLogger(__name__)


class DailyRounds:
    """``record`` gets the messages of every plan."""

    def __init__(
        self,
        config: Config,
        states: Mapping[str, AssetState],
        clock: Clock,
        metrics: Metrics,
        record: Callable[[Iterable[OutboxMessage]], None],
    ) -> None:
        self._config = config
        self._states = states
        self._clock = clock
        self._metrics = metrics
        self._record = record
        self._due_utc_ms = 0
        self._stopped = threading.Event()
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    def reconfigure(self, config: Config) -> None:
        """Plan with another configuration, or not at all any more."""
        self._config = config
        if self._timer is not None:
            self._timer.cancel()
        self.start()

    def start(self) -> None:
        """Wait for the next time of day, if rounds are planned at all."""
        if not (self._config.planning.enabled and self._config.trucks):
            return
        self._due_utc_ms = planner.next_round_ms(self._config, self._clock.utc_ms())
        self._arm()

    def stop(self) -> None:
        """Wait no more, and have a solver that is running give up."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _arm(self) -> None:
        wait_ms = min(max(0, self._due_utc_ms - self._clock.utc_ms()), _LONGEST_WAIT_MS)
        self._timer = self._clock.call_at(self._clock.now_ms() + wait_ms, self._look)

    def _look(self) -> None:
        utc_ms = self._clock.utc_ms()
        if not self._due_utc_ms <= utc_ms <= self._due_utc_ms + _LONGEST_WAIT_MS:
            self.start()
            return
        self._clock.begin()
        self._task = asyncio.get_running_loop().create_task(self._plan(), name="round")
        self.start()

    async def _plan(self) -> None:
        try:
            plan = await asyncio.to_thread(
                planner.plan,
                dict(self._states),
                self._config,
                self._clock.utc_ms(),
                self._stopped.is_set,
            )
            self._record(planner.outputs(plan))
            self._metrics.count("rounds_planned")
        except Exception:  # noqa: BLE001 (the root of this task: a day without a round, not without a gateway)
            self._metrics.count("rounds_failed")
            _log.exception("today's round cannot be planned")
        finally:
            self._clock.end()

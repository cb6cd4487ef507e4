"""Plans the round once a day, off the event loop, and hands its messages on.

A driver of the pure planner: it knows the clock and an executor. While the solver runs, simulated
time stands still, so a simulated morning's round is planned at its minute.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from stoep_gateway.assets.states import AssetState
from stoep_gateway.clock import Clock, Timer
from stoep_gateway.config import Config
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.metrics import Metrics
from stoep_gateway.planning import apart, knowing, planner
from stoep_gateway.planning.days import round_at
from stoep_gateway.planning.selection import Running
from stoep_gateway.publish.messages import OutboxMessage

__all__ = ["DailyRounds"]

# Then look again: UTC may have been set meanwhile, back by years or on past the round's time.
_LONGEST_WAIT_MS = 3_600_000
_LATEST_MS = 4 * 3_600_000  # after its time a round that is missing is still planned

_log = logging.getLogger(__name__)


class DailyRounds:
    """``record`` gets the messages of every plan, ``planned`` the local date of the last one.

    ``planned_date`` is what ``planned`` got before the last stop: a round that was missed while the
    gateway was down is planned at the start, unless that is late.
    """

    def __init__(
        self,
        config: Config,
        states: Mapping[str, AssetState],
        forecasts: Forecasts,
        clock: Clock,
        metrics: Metrics,
        record: Callable[[Iterable[OutboxMessage]], None],
        planned_date: str = "",
        planned: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._states = states
        self._forecasts = forecasts
        self._clock = clock
        self._metrics = metrics
        self._record = record
        self._planned_date = planned_date
        self._planned = planned
        self._running = Running()
        self._notes: tuple[str, ...] = ()
        self._due_utc_ms = 0
        self._stopped = threading.Event()
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    def reconfigure(self, config: Config) -> None:
        """Plan with another configuration, or not at all any more."""
        self._config = config
        self.look_again()

    def start(self) -> None:
        """Plan a round that was missed, and wait for the next time of day, if there are any."""
        if not (self._config.planning.enabled and self._config.trucks):
            return
        utc_ms = self._clock.utc_ms()
        self._due_utc_ms = round_at(self._config, utc_ms)
        missed_ms = round_at(self._config, utc_ms - _LATEST_MS)
        if missed_ms <= utc_ms and self._date(missed_ms) > self._planned_date != "":
            self._due_utc_ms = missed_ms
        self._arm()

    def look_again(self) -> None:
        """Look at the time anew: it has been set."""
        if self._timer is not None:
            self._timer.cancel()
        self.start()

    def stop(self) -> None:
        """Wait no more, and have a solver that is running give up."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _arm(self) -> None:
        wait_ms = min(max(0, self._due_utc_ms - self._clock.utc_ms()), _LONGEST_WAIT_MS)
        if not self._clock.utc_is_known():
            wait_ms = _LONGEST_WAIT_MS  # or until ``look_again``
        self._timer = self._clock.call_at(self._clock.now_ms() + wait_ms, self._look)

    def _look(self) -> None:
        utc_ms = self._clock.utc_ms()
        due = self._due_utc_ms <= utc_ms <= self._due_utc_ms + _LATEST_MS
        if not due or not self._clock.utc_is_known():
            self.start()
            return
        self._planned_date = self._date(utc_ms)
        self._clock.begin()
        self._task = asyncio.get_running_loop().create_task(self._plan(), name="round")
        self.start()

    def _tell(self, notes: tuple[str, ...]) -> None:
        """Log what is new to say of distances, and that there is nothing to say any more."""
        if notes != self._notes:
            for note in notes:
                _log.warning("rounds: %s", note)
            if not notes:
                _log.info("rounds: all distances are known again")
        self._notes = notes

    def _date(self, utc_ms: int) -> str:
        at = datetime.datetime.fromtimestamp(utc_ms / 1000, self._config.timezone)
        return at.date().isoformat()

    async def _plan(self) -> None:
        try:
            utc_ms = self._clock.utc_ms()
            today, next_one, self._running = await asyncio.to_thread(
                planner.two_days,
                knowing.known(self._states, self._config, utc_ms, self._forecasts),
                self._config,
                utc_ms,
                self._running,
                self._stopped.is_set,
                apart.answer,
            )
            self._record([*planner.outputs(today), *planner.outputs(next_one)])
            self._tell(today.notes)
            self._planned(self._planned_date)
            self._metrics.count("rounds_planned")
        except Exception:  # noqa: BLE001 (the root of this task: a day without a round, not without a gateway)
            self._metrics.count("rounds_failed")
            _log.exception("today's round cannot be planned")
        finally:
            self._clock.end()

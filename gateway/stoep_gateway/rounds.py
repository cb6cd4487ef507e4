"""Plans the rounds once a day, and anew when people decide; hands what comes of it on.

A driver of `planning.in_force`: it knows the clock and an executor. While the solver runs,
simulated time stands still, so a simulated morning's round is planned at its minute.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from stoep_gateway.assets.states import AssetState
from stoep_gateway.clock import Clock, Timer
from stoep_gateway.config import Config
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.metrics import Metrics
from stoep_gateway.planning import apart, knowing, planner
from stoep_gateway.planning.days import date_of, round_at
from stoep_gateway.planning.dispatch import Answer, Word
from stoep_gateway.planning.in_force import InForce, Kept, Need
from stoep_gateway.planning.plan import Plan
from stoep_gateway.planning.selection import Known
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.store.records import Record

__all__ = ["DailyRounds", "Keep"]

# Then look again: UTC may have been set meanwhile, back by years or on past the round's time.
_LONGEST_WAIT_MS = 3_600_000
_LATEST_MS = 4 * 3_600_000  # after its time a round that is missing is still planned
_GATHER_MS = 3_000  # decisions that come at once make one plan

# Keeps messages and what is recorded with them, and calls back once both are durable.
Keep = Callable[[Iterable[OutboxMessage], Record, Callable[[], None] | None], None]

_log = logging.getLogger(__name__)


def _nothing(_answer: Answer) -> Iterable[OutboxMessage]:
    return ()


class DailyRounds:
    """``keep`` gets every plan and decision; ``tell`` the plans of today and of the next rounds.

    ``found`` is what was kept before the last stop: its plans go on, and a round that was missed
    while the gateway was down is planned at the start, unless that is late.
    """

    def __init__(
        self,
        config: Config,
        states: Mapping[str, AssetState],
        forecasts: Forecasts,
        clock: Clock,
        metrics: Metrics,
        keep: Keep,
        found: Kept,
        tell: Callable[[Plan | None, Plan | None], None] = lambda _today, _next_one: None,
    ) -> None:
        self._config = config
        self._states = states
        self._forecasts = forecasts
        self._clock = clock
        self._metrics = metrics
        self._keep = keep
        self._in_force = InForce(found)
        for what in self._in_force.unreadable:
            _log.warning("rounds: %s", what)
        self._planned_date = found.planned_date
        self._tell = tell
        self._notes: tuple[str, ...] = ()
        self._due_utc_ms = 0
        self._stopped = threading.Event()
        self._timer: Timer | None = None
        self._gathering: Timer | None = None
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def plans(self) -> tuple[Plan | None, Plan | None]:
        """Return the plan by which trucks drive, or drove last, and the provisional next one."""
        today, next_one = self._in_force.today, self._in_force.next_one
        return None if today is None else today.plan, None if next_one is None else next_one.plan

    @property
    def in_force(self) -> InForce:
        """Return all that holds; whoever looks at it changes nothing."""
        return self._in_force

    def reconfigure(self, config: Config) -> None:
        """Plan with another configuration, or not at all any more."""
        self._config = config
        self.look_again()

    def go_on(self) -> None:
        """Go on after a start with what is in force, and with what had been decided of it."""
        self._tell(*self.plans)
        self._gather()
        self.start()

    def start(self) -> None:
        """Plan a round that was missed, and wait for the next time of day, if there are any."""
        if not self._is_wanted():
            return
        utc_ms = self._clock.utc_ms()
        self._due_utc_ms = round_at(self._config, utc_ms)
        missed_ms = round_at(self._config, utc_ms - _LATEST_MS)
        if missed_ms <= utc_ms and date_of(self._config, missed_ms) > self._planned_date != "":
            self._due_utc_ms = missed_ms
        self._arm()

    def look_again(self) -> None:
        """Look at the time anew: it has been set."""
        if self._timer is not None:
            self._timer.cancel()
        self._gather()
        self.start()

    def stop(self) -> None:
        """Wait no more, and have a solver that is running give up."""
        self._stopped.set()
        for timer in (self._timer, self._gathering):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()

    def decide(
        self,
        word: Word,
        sender: str,
        then: Callable[[], None] | None = None,
        say: Callable[[Answer], Iterable[OutboxMessage]] = _nothing,
    ) -> Answer:
        """Take what somebody decides; ``then`` is called once that, and what we ``say``, is kept.

        Also where nothing changes: what is known may still be on its way to the disk.
        """
        if self._clock.utc_is_known():
            answer = self._in_force.decide(word, sender, self._config, self._clock.utc_ms())
        else:
            answer = Answer(word.id, "refused", "the gateway does not know the time yet")
        self._metrics.count(f"decisions_{answer.result}")
        self._keep(say(answer), self._in_force.kept(answer), then)
        self._gather()
        return answer

    def _is_wanted(self) -> bool:
        return self._config.planning.enabled and bool(self._config.trucks)

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
        self._planned_date = date_of(self._config, utc_ms)
        self._begin("day")
        self.start()

    def _gather(self) -> None:
        """Wait for more decisions if there is one that needs a plan."""
        if self._gathering is None and self._need() is not None:
            when_ms = self._clock.now_ms() + _GATHER_MS
            self._gathering = self._clock.call_at(when_ms, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self._begin(None)

    def _need(self) -> Need | None:
        if not (self._is_wanted() and self._clock.utc_is_known()):
            return None
        return self._in_force.need(self._config, self._clock.utc_ms())

    def _begin(self, need: Need | None) -> None:
        self._clock.begin()
        task = asyncio.get_running_loop().create_task(self._plan(need), name="round")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _plan(self, need: Need | None) -> None:
        """Make the day's plans, or, with None, those that decisions need."""
        try:
            async with self._one_at_a_time:
                need = need or self._need()
                if need is not None:
                    self._publish(await self._planned(need), need)
        except Exception:  # noqa: BLE001 (the root of this task: a day without a round, not without a gateway)
            self._metrics.count("rounds_failed")
            _log.exception("the round cannot be planned")
        finally:
            self._clock.end()

    async def _planned(self, need: Need) -> Record:
        utc_ms = self._clock.utc_ms()
        known: dict[str, Known] = {}
        if need != "notes":
            known = knowing.known(self._states, self._config, utc_ms, self._forecasts)
        made = await asyncio.to_thread(
            self._in_force.planning(
                need,
                known,
                self._config,
                utc_ms,
                self._stopped.is_set,
                apart.answer,
            )
        )
        return self._in_force.take(made)

    def _publish(self, record: Record, need: Need) -> None:
        """Keep plans, and tell everybody of them."""
        today, next_one = self.plans
        changed = {row.date for row in record.plans}
        messages = [
            message
            for plan in (today, next_one)
            if plan is not None and plan.date in changed
            for message in planner.outputs(plan)
        ]
        self._keep(messages, record, None)
        self._tell(today, next_one)
        if today is not None:
            self._say_notes(today.notes)
        if need != "notes":
            self._metrics.count("rounds_planned" if need == "day" else "rounds_replanned")
        if need == "day" and self._clock.utc_is_settled():
            self._keep((), self._in_force.forget(self._config, self._clock.utc_ms()), None)
        self._gather()  # for what was decided meanwhile

    def _say_notes(self, notes: tuple[str, ...]) -> None:
        """Log what is new to say of distances, and that there is nothing to say any more."""
        if notes != self._notes:
            for note in notes:
                _log.warning("rounds: %s", note)
            if not notes:
                _log.info("rounds: all distances are known again")
        self._notes = notes

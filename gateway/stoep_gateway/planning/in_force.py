"""The plans by which trucks drive, and what people decide of them. Pure.

It knows what has to be planned anew, and what has to be kept so that a restart goes on.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from stoep_gateway.config import Config
from stoep_gateway.planning import driving, routes
from stoep_gateway.planning import plan as plans
from stoep_gateway.planning.days import date_of, local, round_at
from stoep_gateway.planning.dispatch import (
    Answer,
    Day,
    Decision,
    Dispatch,
    Word,
    dumps,
    is_under_way,
    loads,
)
from stoep_gateway.planning.driving import Solve
from stoep_gateway.planning.plan import Plan
from stoep_gateway.planning.selection import Known, Running
from stoep_gateway.store.records import CollectionRow, DecisionRow, PlanRow, Record

__all__ = ["InForce", "Kept", "Need", "Standing"]

_DECISIONS_DAYS = 31  # they tell of people

# To plan a day's rounds, the rest of today's, the next ones; or to note what trucks did.
Need = Literal["day", "rest", "next", "notes"]


class Kept(NamedTuple):
    """What the store held, see `store.records.State`."""

    plans: tuple[PlanRow, ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    last_decision: int = 0
    planned_date: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A plan, what an emptying cost when its day began, and the last decision that it regards."""

    plan: Plan
    running: Running
    decided: int

    def row(self) -> PlanRow:
        """Return what is kept of it."""
        plan, running = self.plan, self.running
        return PlanRow(
            plan.date,
            int(plan.provisional),
            plan.planned_ms,
            running.emptying_eur,
            running.fill_pct,
            self.decided,
            plans.dumps(plan),
        )


class InForce:
    """``today`` is the plan by which trucks drive, or drove last; ``next_one`` is provisional.

    ``unreadable`` says what was kept and is lost.
    """

    def __init__(self, found: Kept) -> None:
        self.unreadable: list[str] = []
        self.today: Standing | None = None
        self.next_one: Standing | None = None
        for row in found.plans:
            try:
                standing = _read(row)
            except ValueError as error:
                self.unreadable.append(f"the plan of {row.date}: {error}")
                continue
            if row.date == found.planned_date and not row.provisional:
                self.today = standing
            elif row.provisional and self._is_next(standing):
                self.next_one = standing
        self.dispatch = Dispatch(self._decisions(found.decisions), found.last_decision)

    def decide(self, word: Word, sender: str, config: Config, now_ms: int) -> Answer:
        """Take what somebody decides, if it can be; the rest is up to ``need``."""
        if not (config.planning.enabled and config.trucks):
            return Answer(word.id, "refused", "no rounds are planned with this configuration")
        today = None if self.today is None else self.today.plan
        return self.dispatch.decide(word, sender, config, now_ms, today)

    def kept(self, answer: Answer) -> Record:
        """Return what to keep of an answer: what was decided, and emptyings told by it."""
        if answer.decision is None or answer.result != "accepted":
            return Record()
        date = answer.decision.date
        # They are found by their times, which others may share.
        gone = {it.at_ms for it in answer.not_emptied}
        facts = self.dispatch.day(date).facts if gone else ()
        again = [it for it in facts if it.at_ms in gone and it.tells_emptying]
        return Record(
            decisions=(_row(answer.decision),),
            forgotten_collections=tuple(("driver", it, it + 1) for it in sorted(gone)),
            collections=tuple(map(_collection, {*answer.emptied, *again})),
        )

    def need(self, config: Config, now_ms: int) -> Need | None:
        """Return what decisions make necessary, the first of several."""
        today, next_one = self.today, self.next_one
        if today is not None and (new := self._new(today)):
            if not is_under_way(today.plan, config, now_ms) or driving.goes_as_planned(
                today.plan, new
            ):
                return "notes"
            return "rest"
        if next_one is not None and now_ms < next_one.plan.starts_ms and self._new(next_one):
            return "next"
        return None

    def at(self, config: Config, now_ms: int, *, is_now: bool) -> tuple[Standing | None, Day]:
        """Return the plan that a plan made then goes on from, if any, and what holds of its day."""
        today = self.today
        if today is None or not is_now or not is_under_way(today.plan, config, now_ms):
            return None, self.dispatch.day(date_of(config, now_ms))
        return today, self.dispatch.day(today.plan.date)

    def planning(
        self,
        need: Need,
        known: Mapping[str, Known],
        config: Config,
        now_ms: int,
        cancelled: Callable[[], bool] = bool,
        answer: Solve = routes.answer,
    ) -> Callable[[], tuple[Standing, Standing | None]]:
        """Return what makes the plans that are needed, off the event loop; ``take`` them then."""
        today, next_one = self.today, self.next_one
        date = date_of(config, now_ms)
        before = None
        running = Running()
        if today is not None and (need != "day" or today.plan.date == date):
            date, before, running = today.plan.date, today.plan, today.running
        else:
            if today is not None:
                running = driving.spent(today.plan, today.running)
            if next_one is not None and next_one.plan.date == date:
                before = next_one.plan
        next_ms = round_at(config, now_ms)
        if need == "next" and today is not None:
            next_ms = today.plan.next_round_ms
        next_date = date_of(config, next_ms)
        # All of it is read now: what is decided meanwhile is of the next plan.
        (day, decided), (next_day, next_decided) = map(self._said, (date, next_date))

        def solve() -> tuple[Standing, Standing | None]:
            first = today
            if first is not None and need == "notes":
                plan = driving.marked(config, now_ms, first.plan, day)
                return Standing(plan, running, decided), next_one
            if first is None or need != "next":
                plan = driving.replanned(
                    known, config, now_ms, before, day, running, cancelled, answer
                )
                first = Standing(plan, running, decided)
            plan = driving.following(
                known, config, now_ms, first.plan, next_day, first.running, cancelled, answer
            )
            return first, Standing(plan, driving.spent(first.plan, first.running), next_decided)

        return solve

    def take(self, made: tuple[Standing, Standing | None]) -> Record:
        """Have plans in force; return what to keep."""
        before, is_old = self.today, {id(self.today), id(self.next_one)}
        self.today, self.next_one = made
        new = (it for it in made if it is not None and id(it) not in is_old)
        record = Record(plans=tuple(it.row() for it in new))
        if before is None or self.today.plan.date != before.plan.date:
            record = record._replace(planned_date=self.today.plan.date)
        return record

    def forget(self, config: Config, now_ms: int) -> Record:
        """Forget what is old; return what the store has to."""
        today = local(config, now_ms).date()
        plans_from, decisions_from = (
            (today - datetime.timedelta(days=days)).isoformat()
            for days in (config.retention.uplinks_days, _DECISIONS_DAYS)
        )
        self.dispatch.forget(decisions_from)
        return Record(rounds_from=((plans_from, decisions_from),))

    def _said(self, date: str) -> tuple[Day, int]:
        return self.dispatch.day(date), self.dispatch.last(date)

    def _new(self, standing: Standing) -> list[Decision]:
        return self.dispatch.after(standing.plan.date, standing.decided)

    def _is_next(self, standing: Standing) -> bool:
        return self.today is not None and standing.plan.starts_ms == self.today.plan.next_round_ms

    def _decisions(self, rows: Iterable[DecisionRow]) -> Iterator[Decision]:
        for row in rows:
            try:
                yield loads(*row)
            except ValueError as error:
                self.unreadable.append(str(error))


def _row(it: Decision) -> DecisionRow:
    return DecisionRow(it.number, it.date, it.sender, it.id, dumps(it))


def _collection(it: Decision) -> CollectionRow:
    assert it.container is not None
    return CollectionRow(
        it.container, it.at_ms, "driver", it.fill_pct, truck=it.truck, weight_kg=it.weight_kg
    )


def _read(row: PlanRow) -> Standing:
    running = Running(row.emptying_eur, row.emptying_pct)
    return Standing(plans.loads(row.plan), running, row.decided)

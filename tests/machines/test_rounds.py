"""When a round is planned, above all when somebody sets the clock."""

import asyncio
import datetime
import threading
from dataclasses import replace

import pytest
from hand_clock import HandClock
from stoep_gateway import config
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.forecast.calendar import Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.metrics import Metrics
from stoep_gateway.planning import days, driving, knowing
from stoep_gateway.planning import planner as real_planner
from stoep_gateway.planning.dispatch import Word
from stoep_gateway.planning.in_force import Kept
from stoep_gateway.planning.plan import Plan
from stoep_gateway.planning.selection import Running
from stoep_gateway.rounds import DailyRounds
from stoep_gateway.store.records import CollectionRow, DecisionRow

HOUR_MS = 3_600_000
KEPT = Kept()
TOWN = """
site = "town"
timezone = "Africa/Blantyre"
[planning]
iterations = 1_000_000
[[place]]
id = "yard"
kind = "depot"
lat = 0
lon = 0
[[place]]
id = "dump"
kind = "disposal"
lat = 0.1
lon = 0
[[truck]]
id = "t"
capacity_l = 14000
depot = "yard"
disposal = "dump"
""" + "".join(
    f'[[container]]\nid = "c{n}"\nlat = 0.0{n}\nlon = 0.0{n}\ncapacity_l = 1100\ndepth_mm = 1000\n'
    for n in range(1, 9)
)


@pytest.fixture
def town(tmp_path):
    (tmp_path / "stoep.toml").write_text(TOWN)
    return config.load(tmp_path / "stoep.toml")


def utc_ms(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def plan_nothing(monkeypatch, notes=lambda: ()):
    """Have planning do no more than say for when and by what it was asked."""

    def plan(config, now_ms, starts_ms, provisional):
        date = days.local(config, starts_ms).date().isoformat()
        next_ms = days.round_at(config, starts_ms)
        return Plan(
            "town", date, now_ms, starts_ms, next_ms, provisional, (), (), (), None, "none", "none",
            1, 0, notes(),
        )  # fmt: skip

    def replanned(_known, config, now_ms, before, day, running, *_):
        plan_nothing.asked.append((before, day, running))
        made = plan(config, now_ms, now_ms, provisional=False)
        if before is not None and not before.provisional:
            made = replace(made, date=before.date, starts_ms=before.starts_ms)
        return made

    def following(_known, config, now_ms, today, day, *_):
        plan_nothing.asked_next.append(day)
        return plan(config, now_ms, today.next_round_ms, provisional=True)

    plan_nothing.asked = []
    plan_nothing.asked_next = []
    monkeypatch.setattr(driving, "replanned", replanned)
    monkeypatch.setattr(driving, "following", following)


class Planner:
    """Daily rounds at 06:00 in Blantyre, 04:00 UTC, with the planner and the clock in hand."""

    def __init__(self, town, monkeypatch, now, found=KEPT, notes=lambda: ()):
        self.clock = HandClock(utc_ms(now))
        plan_nothing(monkeypatch, notes)
        self.kept = []
        self.said = []
        self.told = []
        self.metrics = Metrics()
        self.rounds = DailyRounds(
            town,
            {},
            Forecasts(Calendar()),
            self.clock,
            self.metrics,
            self.keep,
            found,
            lambda *plans: self.told.append(plans),
        )

    def keep(self, messages, record, then):
        self.kept.append(record)
        self.said += messages
        if then is not None:
            then()

    def set_clock(self, text):
        self.clock._utc_start_ms = utc_ms(text) - self.clock.now_ms()

    async def settle(self):
        while self.rounds._tasks:
            await asyncio.wait(self.rounds._tasks)

    async def pass_hours(self, hours):
        """Return when a round was planned meanwhile."""
        self.kept.clear()
        for _ in range(hours):
            self.clock.pass_ms(HOUR_MS)
            await self.settle()
        return [it.plans[0].planned_utc_ms for it in self.kept if it.planned_date]

    async def pass_s(self, seconds):
        self.clock.pass_ms(1000 * seconds)
        await self.settle()

    def decide(self, action, **more):
        words = {"id": f"n{len(self.kept)}", "action": action} | more
        return self.rounds.decide(Word.read(words), "user/a")

    def row(self):
        """Return what a restart finds."""
        plans = {row.date: row for record in self.kept for row in record.plans}
        decisions = tuple(row for record in self.kept for row in record.decisions)
        dates = [record.planned_date for record in self.kept if record.planned_date]
        plans = tuple(row for date, row in sorted(plans.items()) if date >= dates[-1])
        return Kept(plans, decisions, len(decisions), dates[-1])


@pytest.fixture
def planner(town, monkeypatch):
    planner = Planner(town, monkeypatch, "2026-10-20T00:00Z")
    planner.rounds.go_on()
    return planner


async def test_what_is_estimated_is_logged_once(town, monkeypatch, caplog):
    caplog.set_level("INFO", "stoep_gateway.rounds")
    said = iter([(), ("no map",), ("no map",), ("no answer",), (), ()])
    now = []
    planner = Planner(town, monkeypatch, "2026-10-20T00:00Z", notes=lambda: now[-1])
    planner.rounds.go_on()
    for notes in said:
        now.append(notes)
        await planner.pass_hours(24)
    assert [it.getMessage() for it in caplog.records] == [
        "rounds: no map",
        "rounds: no answer",
        "rounds: all distances are known again",
    ]


async def test_once_a_day(planner):
    assert await planner.pass_hours(3) == []
    assert await planner.pass_hours(1) == [utc_ms("2026-10-20T04:00Z")]
    assert await planner.pass_hours(48) == [
        utc_ms("2026-10-21T04:00Z"),
        utc_ms("2026-10-22T04:00Z"),
    ]


async def test_a_clock_that_was_years_ahead(planner):
    planner.set_clock("2031-01-01T00:00Z")
    await planner.pass_hours(24)
    planner.set_clock("2026-10-20T20:00Z")
    assert await planner.pass_hours(10) == [utc_ms("2026-10-21T04:00Z")]


async def test_a_clock_that_was_years_behind_plans_no_round_in_the_afternoon(planner):
    planner.set_clock("1970-01-01T00:00Z")
    await planner.pass_hours(1)
    planner.set_clock("2026-10-20T14:00Z")
    assert await planner.pass_hours(13) == []
    assert await planner.pass_hours(1) == [utc_ms("2026-10-21T04:00Z")]


async def test_a_stop_tells_the_solver_to_give_up(planner, monkeypatch):
    cancelled = asyncio.get_running_loop().create_future()
    go_on = threading.Event()

    def plan(_known, _config, _now_ms, _before, _day, _running, told, _answer):
        cancelled.get_loop().call_soon_threadsafe(cancelled.set_result, told)
        go_on.wait(30)

    monkeypatch.setattr(driving, "replanned", plan)
    planner.clock.pass_ms(4 * HOUR_MS)
    told = await cancelled
    assert not told()
    planner.rounds.stop()
    go_on.set()
    assert told()
    await planner.settle()
    assert planner.kept == []


def test_a_solver_that_is_told_to_give_up_does(town):
    now = utc_ms("2026-10-20T04:00Z")
    full = ContainerState(1, now, track=FillTrack(now, 90.0, now, 90.0))
    states = {f"container/c{n}": full for n in range(1, 9)}
    known = knowing.known(states, town, now)
    assert len(real_planner.plan(known, town, now, cancelled=lambda: True).rounds) == 1


MISSED = [
    # the last round, the start, and whether one is planned at once
    ("2026-10-19", "2026-10-20T04:30Z", True),
    ("2026-10-19", "2026-10-20T07:59Z", True),
    ("2026-10-19", "2026-10-20T08:01Z", False),  # too late in the day
    ("2026-10-19", "2026-10-20T03:59Z", False),
    ("2026-10-20", "2026-10-20T04:30Z", False),
    ("", "2026-10-20T04:30Z", False),  # the first start of all
    ("2031-01-01", "2026-10-20T04:30Z", False),  # the clock was wrong once
]


@pytest.mark.parametrize(("last", "now", "at_once"), MISSED)
async def test_a_round_that_was_missed(town, monkeypatch, last, now, at_once):
    planner = Planner(town, monkeypatch, now, KEPT._replace(planned_date=last))
    planner.rounds.go_on()
    await planner.pass_s(0)
    dates = [it.planned_date for it in planner.kept if it.planned_date]
    assert dates == (["2026-10-20"] if at_once else [])


async def test_no_round_before_the_time_is_known(town, monkeypatch):
    planner = Planner(
        town, monkeypatch, "2026-10-20T03:30Z", KEPT._replace(planned_date="2026-10-19")
    )
    planner.clock.is_known = False
    planner.rounds.go_on()
    assert await planner.pass_hours(2) == []
    assert planner.decide("include", container="c1").reason == (
        "the gateway does not know the time yet"
    )
    planner.clock.is_known = True
    planner.rounds.look_again()
    await planner.pass_s(1)
    assert [it.planned_date for it in planner.kept if it.planned_date] == ["2026-10-20"]


# What people decide.


async def test_decisions_that_come_at_once_make_one_plan(planner):
    await planner.pass_hours(5)
    for name in ("c1", "c2", "c3"):
        assert planner.decide("include", container=name).result == "accepted"
        planner.clock.pass_ms(900)
    plan_nothing.asked.clear()
    planner.said.clear()
    await planner.pass_s(10)
    ((before, day, running),) = plan_nothing.asked
    assert before.date == "2026-10-20"
    assert day.decisions.included == {"c1", "c2", "c3"}
    assert running == Running()
    assert [(row.date, row.decided) for row in planner.kept[-1].plans] == [
        ("2026-10-20", 3),
        ("2026-10-21", 0),
    ]
    assert planner.kept[-1].planned_date == ""
    assert [it.topic for it in planner.said] == [
        "stoep/v1/town/round/2026-10-20/summary",
        "stoep/v1/town/round/2026-10-21/summary",
    ]
    assert [plan.date for plan in planner.told[-1]] == ["2026-10-20", "2026-10-21"]
    assert planner.metrics.counts["rounds_replanned"] == 1
    assert planner.metrics.counts["decisions_accepted"] == 3
    assert planner.clock.under_way == 0


async def test_what_is_decided_of_tomorrow_plans_tomorrow_alone(planner):
    await planner.pass_hours(5)
    plan_nothing.asked.clear()
    planner.decide("exclude", container="c1", date="2026-10-21")
    await planner.pass_s(10)
    assert plan_nothing.asked == []
    assert plan_nothing.asked_next[-1].decisions.excluded == {"c1"}
    assert [(row.date, row.provisional) for row in planner.kept[-1].plans] == [("2026-10-21", 1)]
    planner.decide("exclude", container="c2", date="2026-10-22")  # of which there is no plan yet
    await planner.pass_s(10)
    assert [it.plans for it in planner.kept[-1:]] == [()]
    assert len(await planner.pass_hours(23)) == 1
    ((before, day, _),) = plan_nothing.asked
    assert (before.date, before.provisional) == ("2026-10-21", True)
    assert day.decisions.excluded == {"c1"}


async def test_what_is_decided_while_a_plan_is_made_makes_another(planner, monkeypatch):
    await planner.pass_hours(5)
    really, begun, go_on = driving.replanned, threading.Event(), threading.Event()

    def slowly(*arguments):
        begun.set()
        go_on.wait(30)
        return really(*arguments)

    monkeypatch.setattr(driving, "replanned", slowly)
    planner.decide("include", container="c1")
    planner.clock.pass_ms(3000)
    assert await asyncio.to_thread(begun.wait, 30)
    planner.decide("include", container="c2")
    planner.clock.pass_ms(3000)
    go_on.set()
    await planner.settle()
    await planner.pass_s(3)
    included = [day.decisions.included for _, day, _ in plan_nothing.asked]
    assert included == [set(), {"c1"}, {"c1", "c2"}]


async def test_a_plan_that_fails_is_made_with_the_next_decision(planner, monkeypatch, caplog):
    await planner.pass_hours(5)
    really = driving.replanned
    monkeypatch.setattr(driving, "replanned", lambda *_: 1 / 0)
    planner.decide("include", container="c1")
    await planner.pass_s(60)
    assert planner.metrics.counts["rounds_failed"] == 1
    assert "the round cannot be planned" in caplog.text
    monkeypatch.setattr(driving, "replanned", really)
    planner.decide("include", container="c2")
    await planner.pass_s(60)
    assert plan_nothing.asked[-1][1].decisions.included == {"c1", "c2"}
    assert planner.clock.under_way == 0


async def test_a_restart_goes_on_with_what_is_in_force(planner, town, monkeypatch):
    await planner.pass_hours(5)
    planner.decide("include", container="c1")
    found = Kept(
        planner.kept[-2].plans if planner.kept[-2].plans else planner.row().plans,
        planner.kept[-1].decisions,
        1,
        "2026-10-20",
    )
    again = Planner(town, monkeypatch, "2026-10-20T06:00Z", found)
    again.rounds.go_on()
    assert again.rounds.plans == planner.rounds.plans
    assert again.told == [planner.rounds.plans]
    await again.pass_s(10)  # it had been decided, and not planned yet
    ((before, day, _),) = plan_nothing.asked
    assert (before, day.decisions.included) == (planner.rounds.plans[0], {"c1"})
    once_more = Planner(
        town, monkeypatch, "2026-10-20T06:10Z", found._replace(plans=again.kept[-1].plans)
    )
    once_more.rounds.go_on()
    await once_more.pass_s(10)
    assert once_more.kept == []


async def test_what_is_kept_and_cannot_be_read_is_told(planner, town, monkeypatch, caplog):
    await planner.pass_hours(5)
    plans = tuple(it._replace(plan="{}") for it in planner.row().plans)
    decision = DecisionRow(1, "2026-10-20", "user/a", "x", "{}")
    again = Planner(
        town, monkeypatch, "2026-10-20T06:00Z", Kept(plans, (decision,), 1, "2026-10-20")
    )
    again.rounds.go_on()
    assert again.rounds.plans == (None, None)
    assert caplog.text.count("no plan") == 2
    assert "decision 1" in caplog.text


async def test_what_an_emptying_costs_outlives_a_restart(planner, town, monkeypatch):
    await planner.pass_hours(5)
    row = planner.row()
    costly = tuple(it._replace(emptying_eur=40.0, emptying_pct=80.0) for it in row.plans)
    again = Planner(town, monkeypatch, "2026-10-20T06:00Z", row._replace(plans=costly))
    again.rounds.go_on()
    await again.pass_hours(24)
    assert plan_nothing.asked[-1][2] == Running(40.0, 80.0)


async def test_an_emptying_that_is_told_is_kept_and_taken_back(planner):
    await planner.pass_hours(5)
    at = "2026-10-20T04:30:00Z"
    for name in ("c1", "c2"):
        planner.decide("done", container=name, time_utc=at, fill_pct=80.0)
    rows = [row for record in planner.kept for row in record.collections]
    at_ms = utc_ms(at)
    assert rows == [CollectionRow(name, at_ms, "driver", 80.0, truck="t") for name in ("c1", "c2")]
    planner.decide("undo", container="c1")
    assert planner.kept[-1].forgotten_collections == (("driver", at_ms, at_ms + 1),)
    assert planner.kept[-1].collections == (rows[1],)  # which has the same time


async def test_what_is_old_is_forgotten(planner):
    await planner.pass_hours(5)
    assert [it.rounds_from for it in planner.kept if it.rounds_from] == [
        (("2025-09-15", "2026-09-19"),)
    ]


async def test_without_rounds_nothing_is_decided(town, monkeypatch):
    config = town.model_copy(update={"trucks": ()})
    planner = Planner(config, monkeypatch, "2026-10-20T00:00Z")
    planner.rounds.go_on()
    assert planner.decide("include", container="c1").reason == (
        "no rounds are planned with this configuration"
    )

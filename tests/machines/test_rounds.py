"""When a round is planned, above all when somebody sets the clock."""

import asyncio
import datetime
import threading

import pytest
from hand_clock import HandClock
from stoep_gateway import config, rounds
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.forecast.calendar import Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.metrics import Metrics
from stoep_gateway.planning import knowing
from stoep_gateway.planning import planner as real_planner
from stoep_gateway.rounds import DailyRounds

HOUR_MS = 3_600_000
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


class Today(int):
    """A plan that is no more than when it was made."""

    notes = ()


def plan_nothing(monkeypatch, planned):
    """Have planning do no more than note when it was asked."""

    def two_days(_1, _2, now_ms, running, *_):
        return Today(now_ms), None, running

    monkeypatch.setattr(rounds.planner, "two_days", two_days)

    def outputs(plan):
        planned.extend([] if plan is None else [plan])
        return ()

    monkeypatch.setattr(rounds.planner, "outputs", outputs)


class Planner:
    """Daily rounds at 06:00 in Blantyre, 04:00 UTC, with the planner and the clock in hand."""

    def __init__(self, town, monkeypatch, now):
        self.clock = HandClock(utc_ms(now))
        self.planned = []
        plan_nothing(monkeypatch, self.planned)
        self.rounds = DailyRounds(
            town, {}, Forecasts(Calendar()), self.clock, Metrics(), lambda messages: None
        )
        self.rounds.start()

    def set_clock(self, text):
        self.clock._utc_start_ms = utc_ms(text) - self.clock.now_ms()

    async def pass_hours(self, hours):
        for _ in range(hours):
            self.clock.pass_ms(HOUR_MS)
            if self.clock.under_way:
                await self.rounds._task
        done, self.planned[:] = list(self.planned), []
        return done


@pytest.fixture
def planner(town, monkeypatch):
    return Planner(town, monkeypatch, "2026-10-20T00:00Z")


async def test_what_is_estimated_is_logged_once(planner, monkeypatch, caplog):
    caplog.set_level("INFO", "stoep_gateway.rounds")
    for notes in ((), ("no map",), ("no map",), ("no answer",), (), ()):
        monkeypatch.setattr(Today, "notes", notes)
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

    def plan(_known, _config, _now_ms, _running, told, _answer):
        cancelled.get_loop().call_soon_threadsafe(cancelled.set_result, told)
        go_on.wait()

    monkeypatch.setattr(rounds.planner, "two_days", plan)
    planner.clock.pass_ms(4 * HOUR_MS)
    told = await cancelled
    assert not told()
    planner.rounds.stop()
    go_on.set()
    assert told()
    assert planner.planned == []


def test_a_solver_that_is_told_to_give_up_does(town):
    now = utc_ms("2026-10-20T04:00Z")
    full = ContainerState(1, now, track=FillTrack(now, 90.0, now, 90.0))
    states = {f"container/c{n}": full for n in range(1, 9)}
    known = knowing.known(states, town, now)
    assert len(real_planner.plan(known, town, now, cancelled=lambda: True).rounds) == 1


def started(town, monkeypatch, now, planned_date):
    planner = Planner.__new__(Planner)
    planner.clock = HandClock(utc_ms(now))
    planner.planned = []
    planner.dates = []
    plan_nothing(monkeypatch, planner.planned)
    planner.rounds = DailyRounds(
        town,
        {},
        Forecasts(Calendar()),
        planner.clock,
        Metrics(),
        lambda _: None,
        planned_date,
        planner.dates.append,
    )
    return planner


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
    planner = started(town, monkeypatch, now, last)
    planner.rounds.start()
    planner.clock.pass_ms(0)
    if planner.clock.under_way:
        await planner.rounds._task
    assert planner.planned == ([utc_ms(now)] if at_once else [])
    assert planner.dates == (["2026-10-20"] if at_once else [])


async def test_no_round_before_the_time_is_known(town, monkeypatch):
    planner = started(town, monkeypatch, "2026-10-20T03:30Z", "2026-10-19")
    planner.clock.is_known = False
    planner.rounds.start()
    assert await planner.pass_hours(2) == []
    planner.clock.is_known = True
    planner.rounds.look_again()
    planner.clock.pass_ms(1)
    await planner.rounds._task
    assert planner.dates == ["2026-10-20"]

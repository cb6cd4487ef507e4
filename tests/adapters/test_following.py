"""The plans in force followed over hours, restarts and a store that cannot be read."""

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest
from hand_clock import HandClock
from planned import HOUR_MS, START_MS, plan, stop
from stoep_gateway import config
from stoep_gateway.assets import registry, states
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.collections import following as following_module
from stoep_gateway.collections.following import Following
from stoep_gateway.insight import filling
from stoep_gateway.insight.flaps import FlapCount
from stoep_gateway.recording import outbox_rows
from stoep_gateway.store.latest import read_outcomes
from stoep_gateway.store.migrate import migrate
from stoep_gateway.store.records import CollectionRow, Record
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.sql import write_group
from waiting import until

CONFIG = (
    'site = "street"\ntimezone = "UTC"\n'
    + "".join(
        f'[[container]]\nid = "{name}"\nlat = 0\nlon = 0\ncapacity_l = 1100\n{level}\n'
        for name, level in (
            ("a", "depth_mm = 1500"),
            ("b", "depth_mm = 1500"),
            ("c", 'level = "flaps"'),
        )
    )
    + """[[device]]
dev_eui = "70b3d57ed0000003"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/c"
"""
)


class Interpreter:
    coming = None


class FlapPools:
    def litres_per_flap(self, container):
        return 10.0


class Pipeline:
    """Writes at once what it is given, and keeps what would be published."""

    def __init__(self, path):
        self.interpreter = Interpreter()
        self.flap_pools = FlapPools()
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        migrate(self.connection, path)
        self.told = []
        self.events = []

    def outbox_rows(self, messages):
        return outbox_rows(messages, len(self.told) + len(self.events), START_MS)

    def record(self, record):
        write_group(self.connection, [record], Sealer(bytes(32)))
        payloads = [json.loads(row.payload) for row in record.outbox]
        self.events += [it for it in payloads if it.get("event") == "emptied"]
        self.told += [it for it in payloads if "totals" in it]


class Site:
    def __init__(self, path):
        (path / "stoep.toml").write_text(CONFIG)
        self.config = config.load(path / "stoep.toml")
        self.registry = registry.build(self.config)
        self.states = {}
        self.clock = HandClock(START_MS)
        self.pipeline = Pipeline(self.config.store.path)

    @property
    def told(self):
        return self.pipeline.told

    def level(self, name, fill_pct, quality=4):
        now_ms = self.clock.utc_ms()
        track = filling.start(now_ms, fill_pct)
        self.states[f"container/{name}"] = ContainerState(0, now_ms, quality=quality, track=track)

    def collected(self, *rows):
        self.pipeline.record(Record(collections=rows))

    @asynccontextmanager
    async def running(self):
        parts = self.registry, self.states, self.pipeline, self.clock
        following = Following(self.config, *parts)
        await following.open()
        task = asyncio.create_task(following.run())
        await asyncio.sleep(0)
        try:
            yield following
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            self.clock.forget_all()

    async def hours(self, hours, *levels):
        """Let hours pass, with levels at each, and wait for every look."""
        for _ in range(max(1, round(hours))):
            self.clock.pass_ms(round(min(hours, 1) * HOUR_MS))
            for it in levels:
                self.level(*it)
            await until(lambda: not self.clock.under_way, "the look is over")


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def statuses(outcome):
    return {it["container"]: it["status"] for it in outcome["stops"]}


async def test_a_day_from_its_plan_to_its_end(site):
    site.level("a", 85.0)
    site.level("b", 70.0)
    async with site.running() as following:
        following.in_force(plan(stops=[stop("a", 1), stop("b", 2), stop("c", 3)]), None)
        assert site.pipeline.interpreter.coming["a"][0].told["truck"] == "truck-1"
        await until(lambda: site.told, "the plan's first outcome")
        assert set(statuses(site.told[0]).values()) == {"unknown"}
        await site.hours(3, ("b", 71.0), ("c", 50.0))
        assert len(site.told) == 1  # nothing of note
        site.collected(CollectionRow("a", START_MS + HOUR_MS, "sensor", 85.0, 2.0))
        site.collected(CollectionRow("c", START_MS + 3 * HOUR_MS, "driver"))
        site.collected(CollectionRow("nowhere", START_MS + 3 * HOUR_MS, "log"))
        await site.hours(0.25)
        await site.hours(4, ("b", 72.0))
        assert statuses(site.told[-1]) == {
            "a": "confirmed",
            "b": "contradicted",
            "c": "confirmed",
        }
        assert site.told[-1]["unplanned"] == []
        count = len(site.told)
        await site.hours(12, ("b", 75.0))
        assert len(site.told) == count
        site.clock.pass_ms(60 * HOUR_MS)
        await site.hours(0.5)
        assert following._days == {}
    assert len(site.told) == count


async def test_what_was_watched_goes_on_after_a_restart(site):
    site.level("b", 70.0)
    async with site.running() as following:
        following.in_force(plan(stops=[stop("b", 0.5)]), None)
        await until(lambda: site.told, "the plan's first outcome")
        await site.hours(3, ("b", 71.0))
    async with site.running():
        await site.hours(2, ("b", 71.0))
        assert statuses(site.told[-1]) == {"b": "contradicted"}


@pytest.mark.parametrize("quality", [1, 2])
async def test_levels_that_are_not_believed_deny_nothing(site, quality):
    site.level("b", 70.0)
    async with site.running() as following:
        following.in_force(plan(stops=[stop("b", 0.5)]), None)
        await site.hours(8, ("b", 71.0, quality))
    assert {it["stops"][0]["reason"] for it in site.told} == {"no_readings"}


def openings(site, total):
    count = FlapCount(total=total)
    track = replace(filling.start(START_MS - 99 * HOUR_MS, 0.0), emptied_ms=START_MS - 99 * HOUR_MS)
    state = ContainerState(3, START_MS, quality=2, reason="from_flaps", track=track, flaps=count)
    site.states["container/c"] = state


async def test_openings_are_counted_anew_once_somebody_says_that_it_was_emptied(site):
    openings(site, 50.0)
    async with site.running():
        site.collected(CollectionRow("c", START_MS, "driver", 60.0))
        await site.hours(0.25)
        after = site.states["container/c"]
        assert (after.flaps.total, after.flaps.cycles, after.track.emptied_ms) == (0, 1, START_MS)
        assert [it["from_pct"] for it in site.pipeline.events] == [60.0]
        site.collected(CollectionRow("c", START_MS + 5 * HOUR_MS, "log", 70.0))  # of the same
        await site.hours(8)
        assert site.states["container/c"] is after
    kept = dict(site.pipeline.connection.execute("SELECT asset, state FROM latest"))
    assert states.loads("container/c", kept["container/c"]) == after


async def test_of_several_emptyings_told_of_late_only_the_last_counts_and_teaches_nothing(site):
    openings(site, 50.0)
    times = (START_MS - 40 * HOUR_MS, START_MS - 16 * HOUR_MS)
    site.collected(*(CollectionRow("c", it, "log", 60.0) for it in times))
    async with site.running():
        await site.hours(0.25)
    after = site.states["container/c"]
    assert (after.flaps.total, after.flaps.cycles, after.track.emptied_ms) == (0, 0, times[1])
    assert len(site.pipeline.events) == 1


async def test_a_plan_of_another_day_is_not_watched(site):
    async with site.running() as following:
        tomorrow = plan(stops=[stop("b", 25)], starts_h=24, provisional=True)
        following.in_force(None, tomorrow)
        assert "b" in site.pipeline.interpreter.coming
        following.in_force(tomorrow, None)
        await site.hours(1)
    assert site.told == []


async def test_nothing_is_told_by_a_time_that_nobody_knows(site):
    site.clock.is_known = False
    async with site.running() as following:
        following.in_force(plan(stops=[stop("b", 0.5)]), None)
        await site.hours(1)
        assert site.told == []
        site.clock.is_known = True
        await site.hours(0.25)
        assert len(site.told) == 1


async def test_a_store_that_cannot_be_read_is_told_once_and_waited_for(site, caplog):
    async with site.running() as following:
        following._path = site.config.store.path.with_name("nowhere.db")
        following.in_force(plan(stops=[stop("b", 0.5)]), None)
        await site.hours(2)
        assert caplog.text.count("cannot be told") == 1
        following._path = site.config.store.path
        caplog.set_level("INFO")
        await site.hours(0.5)
        assert caplog.text.count("is told again") == 1
        assert len(site.told) == 1


async def test_a_mishap_costs_an_outcome_and_no_gateway(site, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError

    async with site.running() as following:
        with monkeypatch.context() as patched:
            patched.setattr(following_module.outcome, "outcomes", fail)
            following.in_force(plan(stops=[stop("b", 0.5)]), None)
            await site.hours(0.25)
            assert "ZeroDivisionError" in caplog.text
        await site.hours(0.25)
        assert len(site.told) == 1


async def test_what_is_unreadable_is_told_and_begins_anew(site, caplog):
    with closing(sqlite3.connect(site.config.store.path)) as connection, connection:
        connection.execute("INSERT INTO outcome VALUES ('2026-10-20', '[{}]')")
    async with site.running() as following:
        following.in_force(plan(stops=[stop("b", 0.5)]), None)
        await until(lambda: site.told, "its outcome")
        assert "2026-10-20 is unreadable" in caplog.text
    kept = read_outcomes(site.config.store.path, "2026-10-20", "2026-10-20")
    assert '"container":"b"' in kept["2026-10-20"]

"""The service that forgets: on a real store with many uplinks, in simulated time."""

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, closing

import pytest
from stoep_gateway.clock import SimulatedClock
from stoep_gateway.config_service import RetentionConfig
from stoep_gateway.keeping import forgetting
from stoep_gateway.keeping.forgetting import Forgetting
from stoep_gateway.keeping.retention import rules
from stoep_gateway.metrics import Metrics
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
UPLINKS = 200_000
NOW = 1_800_000_000_000 // DAY_MS * DAY_MS
STEP_MS = 30 * DAY_MS // UPLINKS  # so many uplinks in thirty days


@pytest.fixture
async def store(tmp_path):
    store = Store(tmp_path / "stoep.db", lambda check_value: Sealer(bytes(32)))
    await store.open()
    yield store
    await store.close()


def fill(path, uplinks):
    """Every other a bay's; every twentieth a status report of a device."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO uplink (received_utc_ms, dev_eui, session_id, f_cnt_up, f_port,"
            " frm_payload, freq_hz, dr, receptions) VALUES (?, ?, 1, ?, ?, ?, 868100000, 5, ?)",
            (
                (
                    NOW - 30 * DAY_MS + n * STEP_MS,
                    (n % 50).to_bytes(8, "big"),
                    n,
                    11 if n % 2 else 12 if n % 20 == 0 else 10,
                    bytes(12),
                    '[["0016c001ff10a235",-101.2,7.5],["0016c001ff10a236",-111.2,3.5]]',
                )
                for n in range(uplinks)
            ),
        )
        connection.commit()


def counts(path):
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT f_port, count(*) FROM uplink GROUP BY f_port"))


def service(path, store, clock, metrics, **wanted):
    return Forgetting(path, store, clock, metrics, rules(RetentionConfig(**wanted)))


@asynccontextmanager
async def running(clock, forgetter):
    task = asyncio.create_task(forgetter.run())
    await asyncio.sleep(0)
    clock.start(NOW)
    async with asyncio.timeout(300):
        yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def run_for(path, store, metrics, ms, **wanted):
    clock = SimulatedClock()
    async with running(clock, service(path, store, clock, metrics, **wanted)):
        await clock.advance(ms)


async def test_two_hundred_thousand_uplinks_are_forgotten_in_short_steps(store, tmp_path):
    path = tmp_path / "stoep.db"
    fill(path, UPLINKS)
    submitted, commits_s = [], []
    submit = store.submit

    def watched(record, done):
        began = time.perf_counter()
        submitted.append(record)
        submit(record, lambda: (commits_s.append(time.perf_counter() - began), done()))

    store.submit = watched
    metrics = Metrics()
    await run_for(path, store, metrics, 400_000, bin_daily_after_days=10, device_uplinks_days=5)
    left = counts(path)
    per_day = UPLINKS // 30
    assert left[11] == pytest.approx(2 * per_day // 2, abs=60)
    assert left[12] == pytest.approx(5 * per_day // 20, abs=60)
    daily = 20 * 25  # of 20 days, the 25 devices with even numbers
    assert left[10] == pytest.approx(10 * per_day * 9 // 20 + daily, abs=100)
    assert metrics.counts["uplinks_forgotten"] == UPLINKS - sum(left.values())
    # What is forgotten is bounded by the window, and so is how long the writer is taken up.
    assert max(len(record.forgotten_uplinks) for record in submitted) <= 4 * forgetting.WINDOW
    assert sorted(commits_s)[len(commits_s) // 2] < 0.5
    assert max(len(record.retention) for record in submitted) == 3


async def test_a_restart_goes_on_where_it_was(store, tmp_path):
    path = tmp_path / "stoep.db"
    fill(path, 5000)
    await run_for(path, store, Metrics(), 60_000)
    with closing(sqlite3.connect(path)) as connection:
        marks = dict(connection.execute("SELECT * FROM retention"))
    assert marks == {"bay": forgetting.WINDOW}
    seen = []
    real = forgetting.uplinks.window

    def watched(connection, after_id, limit):
        seen.append(after_id)
        return real(connection, after_id, limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting.uplinks, "window", watched)
        await run_for(path, store, Metrics(), 60_000)
    assert seen[0] == forgetting.WINDOW
    assert counts(path)[11] == 1500


async def test_collections_go_by_their_age_a_month_at_a_time(store, tmp_path):
    path = tmp_path / "stoep.db"
    ages = {"sensor": 99.9, "log": 100.1, "driver": 400}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO collection (container, at_utc_ms, source) VALUES ('a', ?, ?)",
            [(NOW - round(days * DAY_MS), source) for source, days in ages.items()],
        )
    clock = SimulatedClock()
    metrics = Metrics()
    forgetter = Forgetting(path, store, clock, metrics, rules(RetentionConfig()), lambda it: it)
    async with running(clock, forgetter):
        await clock.advance(300_000)
        assert kept(path) == {"sensor", "log", "driver"}
        forgetter.follow(rules(RetentionConfig()), 100)
        await clock.advance(900_000)
    assert kept(path) == {"sensor"}


def kept(path):
    with closing(sqlite3.connect(path)) as connection:
        return {it for (it,) in connection.execute("SELECT source FROM collection")}


async def test_the_newest_uplink_stays_so_that_numbers_do_not_begin_again(store, tmp_path):
    path = tmp_path / "stoep.db"
    fill(path, 10)
    await run_for(path, store, Metrics(), 60_000)
    assert counts(path)[11] == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT max(uplink_id) FROM uplink").fetchone() == (10,)


async def test_a_database_that_cannot_be_read_is_told_once(store, tmp_path, caplog):
    path = tmp_path / "stoep.db"
    clock = SimulatedClock()
    caplog.set_level("INFO")
    forgetter = service(tmp_path / "other.db", store, clock, Metrics())
    async with running(clock, forgetter):
        await clock.advance(3 * 300_000)
        (told,) = [it.getMessage() for it in caplog.records]
        assert told.startswith("old uplinks are not forgotten: ")
        forgetter._path = path
        await clock.advance(4 * 300_000)
    assert caplog.records[-1].getMessage() == "old uplinks are forgotten again"


async def test_nothing_is_written_where_nothing_is_old(store, tmp_path):
    submitted = []
    store.submit = lambda record, done: submitted.append(record)
    await run_for(tmp_path / "stoep.db", store, Metrics(), 3 * 300_000)
    assert submitted == []


async def test_other_rules_are_followed_from_the_next_sweep_on(store, tmp_path):
    path = tmp_path / "stoep.db"
    fill(path, 5000)
    clock = SimulatedClock()
    forgetter = service(path, store, clock, Metrics(), bay_uplinks_h=24 * 60)
    async with running(clock, forgetter):
        await clock.advance(10 * 60_000)
        assert counts(path)[11] == 2500
        forgetter.follow(rules(RetentionConfig()))
        await clock.advance(20 * 60_000)
    assert counts(path)[11] < 100

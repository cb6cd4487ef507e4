"""What forecasts learn is in the store, and there again after a restart or a kill."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC

import pytest
from stoep_gateway.clock import SimulatedClock
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS, Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.forecasting import Forecasting
from stoep_gateway.insight import filling
from stoep_gateway.store.records import Record
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store
from waiting import until

START_MS = 1_767_571_200_000


def opened(path):
    return Store(path, lambda check_value: Sealer(bytes(32)))


def teach(forecasts, names, hours, begin=0):
    for name in names:
        track = filling.start(START_MS + begin * HOUR_MS, begin * 0.25)
        for hour in range(begin, begin + hours):
            track, _ = filling.advance(track, START_MS + hour * HOUR_MS, hour * 0.25)
            forecasts.take(name, "skip", track.at_ms, track, track.fill_pct, 4)


def rows(path):
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT about, learned FROM forecast"))


async def minute_passes(clock, store, minute):
    """With an uplink in it, which what is patient goes with."""
    await clock.advance(minute * 60_000)
    await asyncio.sleep(0)
    store.submit(Record())


async def restarted(path):
    store = opened(path)
    state = await store.open()
    return store, Forecasts(Calendar(UTC), {it.about: it.learned for it in state.forecasts})


async def test_days_are_kept_as_they_end_and_the_rest_at_the_end(tmp_path):
    path = tmp_path / "stoep.db"
    store, forecasts = await restarted(path)
    clock = SimulatedClock()
    service = Forecasting(forecasts, clock, store)
    task = asyncio.create_task(service.run())
    await asyncio.sleep(0)
    clock.start(START_MS)
    names = [f"container/{n}" for n in range(250)]
    teach(forecasts, names, 30)
    # A hundred a minute: nothing else is held up.
    for minute in range(1, 4):
        await minute_passes(clock, store, minute)
        there = min(100 * minute, 250) + 1  # and their kind
        await until(lambda there=there: len(rows(path)) == there, f"{there} rows")
    teach(forecasts, names[:3], 5, begin=30)
    kept = rows(path)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await service.close()
    await store.close()
    now = rows(path)
    assert {name for name in now if now[name] != kept[name]} >= set(names[:3])
    store, again = await restarted(path)
    now_ms = START_MS + 34 * HOUR_MS
    before, after = (it.outlook(names[0], "skip", now_ms) for it in (forecasts, again))
    assert after.level(now_ms) == pytest.approx(before.level(now_ms))
    assert after.hours_to(80) == pytest.approx(before.hours_to(80), rel=0.05)
    await store.close()


async def test_after_a_kill_it_goes_on_from_the_last_day_that_was_kept(tmp_path):
    path = tmp_path / "stoep.db"
    store, forecasts = await restarted(path)
    service = Forecasting(forecasts, SimulatedClock(), store)
    teach(forecasts, ["container/a"], 10 * 24)
    await service.close()
    await store.close()
    store, again = await restarted(path)
    # Nineteen hours were lost with the process.
    teach(again, ["container/a"], 3 * 24, begin=10 * 24 + 19)
    history = again.history("container/a", "skip")
    assert list(history.course.rates) == pytest.approx([6.0] * 7, rel=0.2)
    assert history.at_ms == START_MS + (13 * 24 + 18) * HOUR_MS
    await store.close()


async def test_what_is_unreadable_is_told_once_and_replaced(tmp_path, caplog):
    path = tmp_path / "stoep.db"
    store, _ = await restarted(path)
    await store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO forecast VALUES ('container/a', 'nonsense')")
    store, forecasts = await restarted(path)
    clock = SimulatedClock()
    service = Forecasting(forecasts, clock, store)
    task = asyncio.create_task(service.run())
    await asyncio.sleep(0)
    clock.start(START_MS)
    teach(forecasts, ["container/a"], 2 * DAY_MS // HOUR_MS)
    for minute in (1, 2):
        await minute_passes(clock, store, minute)
        await until(lambda: rows(path)["container/a"] != "nonsense", "a new row")
    assert caplog.text.count("container/a is unreadable") == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await service.close()
    await store.close()

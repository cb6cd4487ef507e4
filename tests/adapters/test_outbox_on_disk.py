"""An outage that outgrows its room on the disk: the store, the outbox and a real broker."""

import asyncio
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber
from mqtt_publisher import Running
from stoep_gateway.store import store as store_module
from stoep_gateway.store.records import OutboxRow, Record
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import OUTBOX_PAGE, Store
from stoep_gateway.store.thinning import Thinner
from waiting import PATIENCE_S, until

SEALER = Sealer(bytes(32))
PLACES = 200


def new_store(path: Path) -> Store:
    return Store(path, lambda check_value: SEALER)


def message(outbox_id: int) -> OutboxRow:
    """Return a state or an event of one of the places, in turn."""
    turn, retain = divmod(outbox_id, 2)
    place = turn % PLACES
    payload = json.dumps({"event_id": outbox_id, "fill": "x" * 150}).encode()
    kind, topic = ("state", "state") if retain else ("event", "event")
    return OutboxRow(outbox_id, kind, f"street/{place}/{topic}", payload, retain, outbox_id)


class Kept(Running):
    """A publisher over a store, wired as the gateway does."""

    def __init__(self, port: int, store: Store, state, limit_octets: int):
        super().__init__(port)
        self.store = store
        self.outbox.__init__(
            state.outbox,
            state.last_outbox_id,
            depth=state.outbox_depth,
            octets=state.outbox_octets,
            limit_octets=limit_octets,
        )
        self.most_in_memory = 0
        self._stepped = asyncio.Event()
        self._stepped.set()
        self.publisher._read_page = self._read
        self.publisher._thin = self._step
        self.publisher._delete = lambda ranges: store.submit(Record(published=ranges))

    def _read(self):
        self.store.read_outbox(self.outbox.loaded_id, self._add_page)

    def _add_page(self, page):
        self.outbox.add_page(page, last=len(page) < OUTBOX_PAGE)
        self.note()
        self.publisher.wake()

    def _step(self, thinner, done):
        self._stepped = stepped = asyncio.Event()

        def both(thinned):
            stepped.set()
            done(thinned)

        self.store.thin_outbox(thinner, both)

    def note(self):
        in_memory = len(self.outbox._waiting) + self.outbox.in_flight
        self.most_in_memory = max(self.most_in_memory, in_memory)

    async def record(self, group):
        committed = asyncio.get_running_loop().create_future()
        self.store.submit(Record(outbox=tuple(group)), lambda: committed.set_result(None))
        await asyncio.wait({committed, self.store.failure}, return_when=asyncio.FIRST_COMPLETED)
        if self.store.failure.done():
            self.store.failure.result()
        self.outbox.add(group)
        self.note()
        self.publisher.wake()
        await self._stepped.wait()  # one step for each group, however busy the machine is


@pytest.mark.slow
async def test_the_newest_of_everything_arrives_after_an_outage_that_outgrows_the_disk(
    tmp_path, caplog, monkeypatch
):
    pragmas = (
        it.replace("synchronous = FULL", "synchronous = OFF") for it in store_module._PRAGMAS
    )
    monkeypatch.setattr(store_module, "_PRAGMAS", tuple(pragmas))  # thousands of commits
    caplog.set_level(logging.INFO, logger="stoep_gateway.publish.mqtt")
    total, limit_octets = 200_000, 12_000_000  # of 49 MB
    store = new_store(tmp_path / "stoep.db")
    with Mosquitto(tmp_path / "broker", "log_type error\n") as broker:
        city = Subscriber(broker, "street/#", client_id="city")
        await asyncio.to_thread(broker.stop)
        kept = Kept(broker.port, store, await store.open(), limit_octets)
        await until(lambda: "is away" in caplog.text)
        most_octets = 0
        first = 1
        while first <= total:
            group = 50 if kept.outbox.octets > limit_octets // 2 else 500
            await kept.record([message(n) for n in range(first, first + group)])
            first += group
            most_octets = max(most_octets, kept.outbox.octets)
        await until(lambda: not kept.outbox.thinning)
        assert most_octets < 1.3 * limit_octets  # with 50 rows a step, thousands a second
        assert kept.most_in_memory <= 10_000 + OUTBOX_PAGE
        with closing(sqlite3.connect(tmp_path / "stoep.db")) as connection:
            stored = connection.execute("SELECT count(*) FROM outbox").fetchone()
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert stored == (len(kept.outbox),)
        assert (tmp_path / "stoep.db").stat().st_size < 2 * limit_octets
        left = len(kept.outbox)
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(2 * PATIENCE_S):
            await kept.publisher.drained()
        await asyncio.to_thread(city.wait_for, lambda: len(city.messages) >= left)
        await kept.stop()
        await store.close()
        with city:
            ids = [json.loads(payload)["event_id"] for _, payload, _ in city.messages]
    arrived = dict.fromkeys(ids)
    assert len(arrived) == left
    assert kept.outbox.octets == len(kept.outbox) == 0
    newest = {message(n).topic: n for n in range(1, total + 1) if message(n).retain}
    assert len(newest) == PLACES
    assert all(n in arrived for n in newest.values())
    events = defaultdict(list)
    for n in arrived:
        if not message(n).retain:
            events[message(n).topic].append(n)
    assert len(events) == PLACES
    assert all(of_place == sorted(of_place) for of_place in events.values())
    counts = [len(of_place) for of_place in events.values()]
    assert max(counts) <= 1.3 * min(counts)
    of_quarters = Counter((n - 1) * 4 // total for of_place in events.values() for n in of_place)
    assert 0 < of_quarters[0] <= of_quarters[1] <= of_quarters[2] <= of_quarters[3]
    told = kept.metrics.counts
    assert told["outbox_thinned_state"] + told["outbox_thinned_event"] == total - left
    assert caplog.text.count("are let go") == caplog.text.count("room again") == 1


async def test_a_step_of_thinning_takes_a_few_milliseconds_whatever_the_backlog(tmp_path):
    store = new_store(tmp_path / "stoep.db")
    await store.open()
    for first in range(1, 20_001, 500):
        store.submit(Record(outbox=tuple(message(n) for n in range(first, first + 500))))
    thinner = Thinner(20_000, 3_000_000)
    took_s, octets = [], 0
    while not thinner.done:
        began_s = time.perf_counter()
        step = asyncio.get_running_loop().create_future()
        store.thin_outbox(thinner, step.set_result)
        octets += (await step).octets
        took_s.append(time.perf_counter() - began_s)
    await store.close()
    assert 3_000_000 <= octets < 3_000_400
    assert len(took_s) > 30
    assert (
        sorted(took_s)[len(took_s) // 2] < 0.1
    )  # 3 ms here; a hundred times the backlog, the same


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {support!r}]
import test_outbox_on_disk as t

async def main():
    store = t.new_store(Path({path!r}))
    state = await store.open()
    kept = t.Kept(1, store, state, 400_000)  # nobody listens there
    n = state.last_outbox_id
    while True:
        await kept.record([t.message(n + i) for i in range(1, 51)])
        n += 50
        print(n, kept.metrics.counts["outbox_thinned_event"], flush=True)

asyncio.run(main())
"""


def test_a_kill_amid_thinning_leaves_the_newest_of_each_topic(tmp_path):
    path = tmp_path / "stoep.db"
    script = CHILD.format(
        tests=str(Path(__file__).parent),
        support=str(Path(__file__).parents[1] / "support"),
        path=str(path),
    )
    for round_ in range(6):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
            timer = threading.Timer(PATIENCE_S, child.kill)
            timer.start()
            try:
                lines = 0
                thinned = recorded = 0
                while not thinned or lines < 40 + 7 * round_:
                    recorded, thinned = map(int, child.stdout.readline().split())
                    lines += 1
                os.kill(child.pid, signal.SIGKILL)
            finally:
                timer.cancel()
                child.kill()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            ids = {n for (n,) in connection.execute("SELECT outbox_id FROM outbox")}
            (octets,) = connection.execute(
                "SELECT sum(length(topic) + length(payload) + 40) FROM outbox"
            ).fetchone()
        last = max(ids)
        assert last >= recorded
        newest = {message(n).topic: n for n in range(1, last + 1) if message(n).retain}
        assert set(newest.values()) <= ids
        assert octets < 500_000

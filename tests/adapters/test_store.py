"""The store on real files: what it keeps, in which order it says so, and what ends it."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.store import store as store_module
from stoep_gateway.store.faults import fatal
from stoep_gateway.store.migrate import latest_version, migrate
from stoep_gateway.store.records import (
    AirtimeRow,
    ConfigurationRow,
    GatewayRow,
    LatestRow,
    NonceRow,
    OutboxRow,
    Record,
    RetentionRow,
    SessionRow,
    UplinkRow,
)
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.sql import write_group
from stoep_gateway.store.store import OUTBOX_PAGE, Store
from waiting import wait_until

EUI = bytes.fromhex("70b3d57ed0000001")
SEALER = Sealer(bytes(32))
CHILD_PATIENCE_S = 60


def new_store(path: Path) -> Store:
    return Store(path, lambda check_value: SEALER)


def session(session_id: int = 1, confirmed: int = 0) -> SessionRow:
    return SessionRow(session_id, EUI, 0x26000001, b"n" * 16, b"a" * 16, 7, confirmed, 1000)


def uplink(f_cnt_up: int, session_id: int = 1) -> UplinkRow:
    return UplinkRow(2000, EUI, session_id, f_cnt_up, 10, b"\x81\x01", None, 868_100_000, 5, "[]")


def outbox(outbox_id: int) -> OutboxRow:
    return OutboxRow(outbox_id, "kind", f"topic/{outbox_id}", b'{"a":1}', 1, 3000)


def accepted(f_cnt_up: int, session_id: int = 1) -> Record:
    return Record(
        counters=((session_id, f_cnt_up, 0),),
        uplinks=(uplink(f_cnt_up, session_id),),
        latest=(LatestRow("container/a", f'{{"n":{f_cnt_up}}}'),),
        outbox=(outbox(f_cnt_up + 1),),
    )


JOIN = Record(sessions=(session(),), nonces=(NonceRow(EUI, 5, 7, 1000),))


async def write(store: Store, *records: Record) -> None:
    written = asyncio.get_running_loop().create_future()
    for record in records[:-1]:
        store.submit(record)
    store.submit(records[-1], lambda: written.set_result(None))
    await asyncio.wait({written, store.failure}, return_when=asyncio.FIRST_COMPLETED)
    if store.failure.done():
        store.failure.result()


async def state_of(path: Path):
    store = new_store(path)
    state = await store.open()
    await store.close()
    return state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stoep.db"


async def test_an_empty_store(path):
    state = await state_of(path)
    assert state.sessions == state.nonces == state.latest == state.outbox == ()
    assert state.last_outbox_id == state.last_session_id == 0


async def test_everything_is_found_again(path):
    store = new_store(path)
    await store.open()
    await write(store, JOIN, accepted(0), Record(gateways=(GatewayRow(EUI, 1, "{}"),)))
    await write(store, Record(counters=((1, 3, 2),), confirmed_sessions=(1,)))
    await store.close()
    state = await state_of(path)
    assert state.sessions == ((session(confirmed=1), 3, 2),)
    assert state.nonces == (NonceRow(EUI, 5, 7, 1000),)
    assert state.latest == (LatestRow("container/a", '{"n":0}'),)
    assert state.outbox == (outbox(1),)
    assert state.last_outbox_id == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM uplink").fetchall() == [(1, *uplink(0))]
        assert connection.execute("SELECT * FROM gateway").fetchall() == [(EUI, 1, "{}")]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_many_records_in_one_group(path):
    store = new_store(path)
    await store.open()
    order: list[int] = []
    store.submit(JOIN)
    for f_cnt_up in range(1000):
        store.submit(accepted(f_cnt_up), lambda n=f_cnt_up: order.append(n))
    await write(store, Record())
    await store.close()
    assert order == list(range(1000))
    state = await state_of(path)
    assert state.sessions[0][1] == 999
    assert state.latest == (LatestRow("container/a", '{"n":999}'),)
    assert [row.outbox_id for row in state.outbox] == list(range(1, 1001))


class Listening(sqlite3.Connection):
    """A connection that keeps what it is asked to execute."""

    asked: set[str]

    def execute(self, question, values=()):
        self.asked.add(question)
        return super().execute(question, values)


async def test_groups_of_any_size_share_a_few_prepared_statements(path):
    """Each that SQLite has prepared costs memory for as long as the process lives."""
    await state_of(path)
    with closing(sqlite3.connect(path, isolation_level=None, factory=Listening)) as connection:
        connection.asked = set()
        write_group(connection, [JOIN], SEALER)
        f_cnt_up = 0
        for size in range(1, 101):
            records = [accepted(f_cnt_up + n) for n in range(size)]
            write_group(connection, records, SEALER)
            f_cnt_up += size
        inserts = [it for it in connection.asked if it.startswith("INSERT INTO outbox")]
        assert len(inserts) == 6
        assert len(connection.asked) < 40
        written = connection.execute("SELECT * FROM outbox ORDER BY outbox_id").fetchall()
    assert written == [outbox(n) for n in range(1, f_cnt_up + 1)]


async def test_published_rows_are_deleted_by_range(path):
    store = new_store(path)
    await store.open()
    await write(store, Record(outbox=tuple(outbox(n) for n in range(1, 11))))
    await write(store, Record(published=((1, 3), (5, 5), (7, 9))))
    await store.close()
    state = await state_of(path)
    assert [row.outbox_id for row in state.outbox] == [4, 6, 10]


async def test_what_can_wait_goes_with_the_next(path):
    store = new_store(path)
    await store.open()
    await write(store, Record(outbox=tuple(outbox(n) for n in range(1, 4))))
    begun = len(store.group)
    for n in (1, 2):
        store.submit_patiently(Record(published=((n, n),)))
    await write(store, Record(outbox=(outbox(4),)))
    assert len(store.group) == begun + 1
    assert store.group.total == begun + 3
    store.submit_patiently(Record(published=((3, 3),)))
    await store.close()
    state = await state_of(path)
    assert [row.outbox_id for row in state.outbox] == [4]


async def test_what_can_wait_does_not_wait_for_ever(path, monkeypatch):
    monkeypatch.setattr(store_module, "_PATIENCE_S", 0.001)
    store = new_store(path)
    await store.open()
    await write(store, Record(outbox=(outbox(1),)))
    store.submit_patiently(Record(published=((1, 1),)))
    with closing(sqlite3.connect(path, check_same_thread=False)) as other:

        def is_empty() -> bool:
            return other.execute("SELECT count(*) FROM outbox").fetchone() == (0,)

        await asyncio.to_thread(wait_until, is_empty, "deleted")
    await store.close()


async def test_the_outbox_is_read_in_pages_after_what_was_submitted(path):
    store = new_store(path)
    await store.open()
    count = OUTBOX_PAGE + 10
    for n in range(1, count + 1):
        store.submit(Record(outbox=(outbox(n),)))
    pages = []
    for after_id in (0, OUTBOX_PAGE, count):
        page = asyncio.get_running_loop().create_future()
        store.read_outbox(after_id, page.set_result)
        pages.append(await page)
    await store.close()
    assert [len(page) for page in pages] == [OUTBOX_PAGE, 10, 0]
    assert pages[1][-1] == outbox(count)
    state = await state_of(path)
    assert len(state.outbox) == OUTBOX_PAGE
    assert state.last_outbox_id == count


async def test_ended_sessions_go_with_their_counters_and_keep_their_number(path):
    store = new_store(path)
    await store.open()
    await write(store, JOIN)
    second = Record(sessions=(session(2),), nonces=(NonceRow(EUI, 6, 8, 1),))
    await write(store, second, Record(ended_sessions=(1, 2)))
    await store.close()
    state = await state_of(path)
    assert state.sessions == ()
    assert len(state.nonces) == 2
    assert state.last_session_id == 2


@pytest.mark.parametrize("claim", [(1, 5, 4), (1, 5, 3), (1, 4, 9), (1, 6, 3)])
async def test_a_counter_that_does_not_go_forward_is_the_end(path, claim):
    store = new_store(path)
    await store.open()
    await write(store, JOIN, Record(counters=((1, 5, 4),)))
    with pytest.raises(FatalError, match="claimed twice"):
        await write(store, Record(counters=(claim,), outbox=(outbox(1),)))
    await store.close()
    state = await state_of(path)
    assert state.sessions[0][1:] == (5, 4)
    assert state.outbox == ()


@pytest.mark.parametrize("claim", [(1, 5, 5), (1, 6, 4), (1, 6, 5)])
async def test_counters_that_go_forward(path, claim):
    store = new_store(path)
    await store.open()
    await write(store, JOIN, Record(counters=((1, 5, 4),)), Record(counters=(claim,)))
    await store.close()
    state = await state_of(path)
    assert state.sessions[0][1:] == claim[1:]


async def test_a_nonce_that_was_used_is_the_end(path):
    store = new_store(path)
    await store.open()
    await write(store, JOIN)
    with pytest.raises(FatalError, match="commit failed"):
        await write(store, Record(nonces=(NonceRow(EUI, 5, 9, 1),)))
    await store.close()


async def test_one_bad_record_takes_its_whole_group_along(path):
    store = new_store(path)
    await store.open()
    await write(store, JOIN)
    store.submit(accepted(0))
    with pytest.raises(FatalError, match="claimed twice"):
        await write(store, accepted(0))
    await store.close()
    state = await state_of(path)
    # Either the first was a group of its own and is there whole, or nothing is.
    assert len(state.outbox) == (0 if state.sessions[0][1] == -1 else 1)


async def test_a_full_disk_is_the_end_and_nothing_is_half_written(path):
    store = new_store(path)
    await store.open()
    await write(store, JOIN)
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA max_page_count = {pages}")
        big = tuple(OutboxRow(n, "k", "t", b"x" * 4000, 0, 0) for n in range(1, 50))
        with pytest.raises(sqlite3.OperationalError, match="full"):
            write_group(connection, [Record(counters=((1, 0, 0),), outbox=big)], SEALER)
        assert connection.execute("SELECT f_cnt_up FROM frame_counter").fetchone() == (-1,)
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


async def test_two_gateways_on_one_store(path):
    store = new_store(path)
    await store.open()
    with pytest.raises(FatalError, match="another gateway"):
        await new_store(path).open()
    await store.close()
    await state_of(path)


async def test_two_gateways_that_call_one_store_by_two_names(path, tmp_path):
    store = new_store(path)
    await store.open()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.db").symlink_to(path)
    with pytest.raises(FatalError, match="another gateway"):
        await new_store(tmp_path / "elsewhere" / "other.db").open()
    await store.close()


async def test_a_file_that_is_no_database(path):
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(StoreCorrupt, match=r"stoep\.db: .*; restore a copy"):
        await state_of(path)


async def test_a_store_that_another_program_has_locked(path, monkeypatch):
    monkeypatch.setattr(store_module, "_PRAGMAS", ("PRAGMA busy_timeout = 1",))
    await state_of(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(FatalError, match="locked; another program"):
            await state_of(path)


async def test_a_commit_waits_for_a_program_that_holds_the_store(path):
    store = new_store(path)
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        written = asyncio.create_task(write(store, JOIN))
        await asyncio.sleep(0)
        assert not written.done()
        connection.execute("COMMIT")
        await written
    await store.close()
    assert (await state_of(path)).sessions


async def test_commits_that_are_held_up_are_told_of_once_and_so_is_their_end(
    path, monkeypatch, caplog
):
    caplog.set_level("INFO", logger="stoep_gateway.store.store")
    store = new_store(path)
    await store.open()
    caplog.clear()
    monkeypatch.setattr(store_module, "_SLOW_S", 0.0)
    await write(store, JOIN)
    await write(store, accepted(0))
    monkeypatch.setattr(store_module, "_SLOW_S", 3600.0)
    await write(store, accepted(1))
    await write(store, accepted(2))
    await store.close()
    slow, quick = [record.getMessage() for record in caplog.records]
    assert slow.startswith(f"{path}: a commit took 0.")
    assert quick == f"{path}: commits are quick again"
    assert len(store.commit_s) == len(store.group) == 4


def test_what_sqlite_says_comes_with_a_remedy(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA query_only = ON")
        with pytest.raises(sqlite3.OperationalError) as raised:
            connection.execute("INSERT INTO t VALUES (1)")
    error = fatal(path, raised.value, "commit failed: ")
    assert type(error) is FatalError
    assert str(error).startswith(
        f"{path}: commit failed: attempt to write a readonly database; let"
    )


async def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FatalError, match="file"):
        await state_of(tmp_path / "file" / "stoep.db")


async def test_a_database_of_a_newer_program(path):
    await state_of(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {latest_version() + 1}")
    with pytest.raises(StoreCorrupt, match="newer"):
        await state_of(path)


async def test_a_configuration_is_kept_until_another_or_until_its_device_goes(path):
    store = new_store(path)
    await store.open()
    first = ConfigurationRow(EUI, b"\x81\x18\x1e", 1, 2, None, None, 0, 1, 3)
    second = first._replace(payload=b"\x80", told_hash=7, told_utc_ms=8, refused=3)
    other = first._replace(dev_eui=bytes(8))
    await write(store, Record(configurations=(first, other)), Record(configurations=(second,)))
    await store.close()
    assert set((await state_of(path)).configurations) == {second, other}
    store = new_store(path)
    await store.open()
    await write(store, Record(removed_devices=(EUI,)))
    await store.close()
    assert (await state_of(path)).configurations == (other,)


CHILD = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = {paths!r}
import test_store as t
from stoep_gateway.store.store import Store

async def main():
    store = t.new_store(Path({path!r}))
    state = await store.open()
    f_cnt_up = state.sessions[0][1] + 1 if state.sessions else 0
    if not state.sessions:
        await t.write(store, t.JOIN)
    gate = asyncio.Semaphore(40)
    while True:
        await gate.acquire()
        def done(n=f_cnt_up):
            os.write(1, b"%d\\n" % n)
            gate.release()
        store.submit(t.accepted(f_cnt_up), done)
        f_cnt_up += 1

asyncio.run(main())
"""


@contextmanager
def ended_after(child, seconds):
    """Kill a child that hangs, so that nobody waits for its output for ever, or is left over."""
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        child.kill()


def test_what_was_said_to_be_written_is_there_after_a_kill(path):
    """Ten kills at whatever point the writer had reached."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent / "support")]
    script = CHILD.format(paths=paths, path=str(path))
    for _ in range(10):
        with (
            subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child,
            ended_after(child, CHILD_PATIENCE_S),
        ):
            assert child.stdout is not None
            told = [int(child.stdout.readline()) for _ in range(60)]
            os.kill(child.pid, signal.SIGKILL)
            told += [int(line) for line in child.stdout.read().split(b"\n")[:-1]]
        assert told == list(range(told[0], told[-1] + 1))
        with closing(sqlite3.connect(path)) as connection:
            ((f_cnt_up,),) = connection.execute("SELECT f_cnt_up FROM frame_counter").fetchall()
            rows = connection.execute("SELECT f_cnt_up FROM uplink ORDER BY uplink_id").fetchall()
            outbox_ids = connection.execute("SELECT outbox_id FROM outbox").fetchall()
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert f_cnt_up >= told[-1]
        assert [row[0] for row in rows] == list(range(f_cnt_up + 1))
        assert [row[0] for row in outbox_ids] == list(range(1, f_cnt_up + 2))


async def test_uplinks_that_are_forgotten_leave_nothing_behind(path):
    store = new_store(path)
    await store.open()
    secret = b"a car came at noon"
    rows = tuple(uplink(n)._replace(frm_payload=secret) for n in range(3000))
    await write(store, JOIN, Record(uplinks=rows))
    await write(
        store,
        Record(
            forgotten_uplinks=tuple(range(1, 2990)),
            retention=(RetentionRow("bay", 7), RetentionRow("all", 3)),
        ),
    )
    await write(store, Record(retention=(RetentionRow("bay", 2989),)))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT min(uplink_id) FROM uplink").fetchone() == (2990,)
        marks = connection.execute("SELECT * FROM retention ORDER BY rule").fetchall()
    await store.close()
    assert marks == [("all", 3), ("bay", 2989)]
    assert path.read_bytes().count(secret) == 11


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE device_session SET nwk_s_key = 'text'",
        "UPDATE device_session SET dev_eui = 'text'",
    ],
)
async def test_what_no_gateway_wrote_ends_the_start(path, change):
    await state_of(path)
    store = new_store(path)
    await store.open()
    await write(store, JOIN)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()
    async with asyncio.timeout(60):
        with pytest.raises(StoreCorrupt, match="restore a copy"):
            await new_store(path).open()


async def test_a_writer_that_fails_in_an_unforeseen_way_is_the_end(path):
    store = new_store(path)
    await store.open()
    store.submit(Record(outbox=(OutboxRow(2**63, "kind", "topic", b"", 0, 0),)))
    async with asyncio.timeout(60):
        with pytest.raises(FatalError, match="commit failed"):
            await store.failure
    await store.close()


async def test_others_may_not_read_the_database_nor_the_copy_of_an_old_one(path):
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, to=1)
    connection.close()
    await state_of(path)
    (copy,) = path.parent.glob("*.version-1")
    assert copy.stat().st_mode & 0o077 == 0
    path.unlink()
    await state_of(path)
    assert path.stat().st_mode & 0o007 == 0


async def test_airtime_is_forgotten_after_two_hours_whichever_way_utc_was_set(path):
    hour_ms = 3_600_000
    store = new_store(path)
    await store.open()
    for ends_utc_ms in (10 * hour_ms, 3 * hour_ms, 1 * hour_ms, 2 * hour_ms):
        await write(store, Record(airtimes=(AirtimeRow(ends_utc_ms, EUI, 868_100_000, 50_000),)))
    await store.close()
    kept = {row.ends_utc_ms for row in (await state_of(path)).airtimes}
    assert kept == {hour_ms, 2 * hour_ms, 3 * hour_ms}

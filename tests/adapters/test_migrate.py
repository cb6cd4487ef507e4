"""Migrations: each in its order and once, from every version that was released."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.store import migrate as migrating
from stoep_gateway.store.migrate import latest_version, migrate, versions
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stoep.db"


def test_migrations_run_in_order_and_once(path):
    assert versions() == sorted(set(versions()))
    assert versions()[-1] == latest_version()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for version in versions():
            migrate(connection, path, to=version)
            assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        before = connection.execute("SELECT sql FROM sqlite_schema").fetchall()
        migrate(connection, path)
        assert connection.execute("SELECT sql FROM sqlite_schema").fetchall() == before


SEALER = Sealer(bytes(32))
EUI = bytes.fromhex("70b3d57ed0000001")
DUMPS = sorted(VECTORS.glob("store_version_*.sql"))


def restored(dump, path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))


async def opened(path):
    store = Store(path, lambda check_value: SEALER)
    state = await store.open()
    await store.close()
    return state


def contents(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
async def test_a_database_of_an_earlier_version_loses_nothing(path, dump):
    restored(dump, path)
    version = int(dump.stem.rpartition("_")[2])
    state = await opened(path)
    ((session, f_cnt_up, f_cnt_down),) = state.sessions
    assert (session.dev_eui, session.nwk_s_key, session.app_s_key) == (EUI, b"n" * 16, b"a" * 16)
    assert (session.app_nonce, session.confirmed, f_cnt_up, f_cnt_down) == (7, 1, 41, 9)
    assert [(it.dev_eui, it.dev_nonce, it.app_nonce) for it in state.nonces] == [(EUI, 5, 7)]
    assert [(it.outbox_id, it.topic) for it in state.outbox] == [(8, "topic/8")]
    assert [it.asset for it in state.latest] == ["container/a"]
    if version >= 2:
        assert [(it.dev_eui, it.name, it.asset) for it in state.devices] == [
            (EUI, "lid one", "container/a")
        ]
        assert [it.downlink_id for it in state.downlinks] == [3]
    if version >= 3:
        assert [it.payload for it in state.configurations] == [b"\x81\x18\x1e"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (latest_version(),)
        assert connection.execute("SELECT dev_eui, f_cnt_up FROM uplink").fetchall() == [(EUI, 41)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        marks = connection.execute("SELECT * FROM retention").fetchall()
    if version >= 7:
        assert marks == [("bay", 17)]
        assert state.app_nonce_floor == 99
    if version >= 10:
        assert [it.about for it in state.forecasts] == ["container/a"]
    if version >= 11:
        assert [(it.date, it.emptying_eur) for it in state.plans] == [
            ("2026-10-20", 11.5),
            ("2026-10-21", 11.25),
        ]
        assert [(it.number, it.sender, it.id) for it in state.decisions] == [
            (1, "user/operator", "a")
        ]
    copies = [it.name for it in path.parent.glob("*.version-*")]
    assert copies == ([] if version == latest_version() else [f"{path.name}.version-{version}"])


class Scripts:
    """The migrations there are, and one more that is wrong."""

    def __init__(self, text):
        self.name = f"{latest_version() + 1:04}_wrong.sql"
        self._text = text

    def read_text(self, encoding):
        return self._text

    def __call__(self):
        return [*REAL(), (int(self.name[:4]), self)]


REAL = migrating._migrations


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE more (a);\nINSERT INTO uplink SELECT * FROM nowhere;",
        "DELETE FROM outbox;\nDROP TABLE latest;\nthis is no SQL;",
        "DELETE FROM device_session;",  # its counters would be orphans
    ],
)
async def test_a_migration_that_fails_leaves_the_database_as_it_was(path, monkeypatch, text):
    restored(VECTORS / "store_version_2.sql", path)
    before = contents(path)
    with monkeypatch.context() as patched:
        patched.setattr(migrating, "_migrations", Scripts(text))
        with pytest.raises(FatalError):
            await opened(path)
    assert contents(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert contents(path.with_name(f"{path.name}.version-2")) == before
    assert (await opened(path)).last_downlink_id == 3


LIMITED = """
import asyncio, resource, signal, sys
sys.path.insert(0, sys.argv[1])
import test_migrate as t
limit = int(sys.argv[3])
much = [f"CREATE TABLE more_{n} AS SELECT * FROM airtime;" for n in range(5)]
t.migrating._migrations = t.Scripts("\\n".join(much))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    asyncio.run(t.opened(t.Path(sys.argv[2])))
except t.FatalError as error:
    sys.exit(str(error))
"""


def test_a_disk_that_is_full_leaves_the_database_as_it_was(path):
    """Full while it is copied, and full while it is migrated."""
    restored(VECTORS / "store_version_2.sql", path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executemany(
            "INSERT INTO airtime VALUES (?, ?, 868100000, 1)",
            ((n, bytes(8)) for n in range(9000, 14000)),
        )
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before, octets = contents(path), path.stat().st_size
    for limit, said in ((octets // 2, "no copy can be made"), (octets + 4096, "is the disk full")):
        command = [sys.executable, "-c", LIMITED, str(Path(__file__).parent), path, str(limit)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (run.returncode, "Traceback" in run.stderr) == (1, False)
        assert said in run.stderr
        assert contents(path) == before
        assert list(path.parent.glob("*.partial")) == []
    assert contents(path.with_name(f"{path.name}.version-2")) == before


async def test_a_newer_database_names_the_copy_to_go_back_to(path):
    restored(VECTORS / "store_version_2.sql", path)
    await opened(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {latest_version() + 1}")
    with pytest.raises(StoreCorrupt, match=rf"newer.*stoep gateway restore {path}\.version-2$"):
        await opened(path)
    path.with_name(f"{path.name}.version-2").unlink()
    with pytest.raises(StoreCorrupt, match=r"or a newer one$"):
        await opened(path)

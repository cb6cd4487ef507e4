"""Copies of a gateway and the way back: real databases, in use and not."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from stoep_gateway import config
from stoep_gateway.cli import main
from stoep_gateway.keeping import backup
from stoep_gateway.store import copied_mark
from stoep_gateway.store.migrate import latest_version, migrate
from stoep_gateway.store.records import (
    DownlinkRow,
    NonceRow,
    OutboxRow,
    Record,
    SessionRow,
    UplinkRow,
)
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store

EUI = bytes.fromhex("70b3d57ed0000001")
KEY = bytes(range(32))
PHRASE = "a passphrase of words"
CONFIG = """
site = "here"
assets = ["street.toml"]
[store]
path = "data/stoep.db"
[mqtt]
username = "stoep"
password_file = "secret"
"""
ASSETS = '[[device]]\ndev_eui = "70b3d57ed0000002"\napp_key = "00112233445566778899aabbccddeeff"\n'


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "etc" / "stoep.toml"
        self.database = folder / "etc" / "data" / "stoep.db"
        self.copy = folder / "copy.zip"

    def write(self) -> None:
        self.config.parent.mkdir(parents=True)
        self.config.write_text(CONFIG)
        (self.config.parent / "street.toml").write_text(ASSETS)
        (self.config.parent / "secret").write_text("hush")
        (self.config.parent / "secret").chmod(0o600)

    def phrase(self, phrase: str = PHRASE) -> list[str]:
        (self.folder / "phrase").write_text(phrase + "\n")
        return ["--with-key", "--passphrase-file", str(self.folder / "phrase")]

    def store(self) -> Store:
        self.database.parent.mkdir(exist_ok=True)
        self.key.write_text(KEY.hex())
        self.key.chmod(0o600)
        return Store(self.database, lambda check_value: Sealer(KEY))

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query, values).fetchall()

    @property
    def key(self) -> Path:
        return Path(f"{self.database}.key")

    @property
    def log(self) -> Path:
        return Path(f"{self.database}-wal")

    def move_away(self) -> None:
        for path in self.database.parent.glob("stoep.db*"):
            path.rename(path.with_name("old-" + path.name))


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    site.write()
    return site


def uplinks(first: int, count: int) -> tuple[UplinkRow, ...]:
    return tuple(
        UplinkRow(n, EUI, 1, n, 10, b"\x81\x01", None, 868_100_000, 5, "[]")
        for n in range(first, first + count)
    )


BEGUN = Record(
    sessions=(SessionRow(1, EUI, 0x26000001, b"n" * 16, b"a" * 16, 7, 1, 1000),),
    nonces=(NonceRow(EUI, 5, 7, 1000),),
    counters=((1, 40, 9),),
    downlinks=(DownlinkRow(3, EUI, 13, b"\x81", 0, 0, 1, None, 0),),
    outbox=(OutboxRow(1, "kind", "topic", b"{}", 1, 3000),),
    uplinks=uplinks(0, 100),
)


async def written(store: Store, *records: Record) -> None:
    done = asyncio.get_running_loop().create_future()
    for record in records[:-1]:
        store.submit(record)
    store.submit(records[-1], lambda: done.set_result(None))
    await done


async def filled(site: Site, *more: Record) -> None:
    store = site.store()
    await store.open()
    await written(store, BEGUN, *more)
    await store.close()


def run(*arguments: object) -> int:
    return main([str(it) for it in arguments])


async def test_there_and_back(site, capsys):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config, *site.phrase()) == 0
    said = capsys.readouterr().out
    assert "keys of devices" in said
    assert f"not in it: {site.config.parent / 'secret'}" in said
    assert site.copy.stat().st_mode & 0o077 == 0
    assert KEY.hex().encode() not in site.copy.read_bytes()
    assert copied_mark(site.database).exists()
    before = site.rows("SELECT * FROM uplink")
    site.move_away()
    assert run("restore", site.copy, "--config", site.config, *site.phrase()) == 0
    said = capsys.readouterr().out
    assert "0 devices" not in said
    assert site.rows("SELECT * FROM uplink") == before
    assert site.rows("SELECT topic FROM outbox") == [("topic",)]
    assert site.key.read_text() == KEY.hex() + "\n"
    assert site.key.stat().st_mode & 0o777 == 0o600
    assert sorted(it.name for it in site.database.parent.glob("*.partial*")) == []
    # Nothing is used twice.
    state = await site_state(site)
    ((row, f_cnt_up, f_cnt_down),) = state.sessions
    assert (row.nwk_s_key, f_cnt_up) == (b"n" * 16, 40)
    assert 9 + 1024 <= f_cnt_down < 9 + 16384
    assert state.app_nonce_floor >= 7 + 1024
    assert state.downlinks == ()
    assert state.last_session_id >= 1 + 1024
    assert state.last_downlink_id >= 3 + 1024


async def site_state(site):
    store = Store(site.database, lambda check_value: Sealer(KEY))
    state = await store.open()
    await store.close()
    return state


async def test_a_copy_holds_what_was_committed_when_it_began_and_nobody_waits(site):
    store = site.store()
    await store.open()
    await written(store, BEGUN)
    answers_s: list[float] = []
    copied = threading.Event()
    loaded = config.load(site.config)
    copying = asyncio.create_task(asyncio.to_thread(backup.back_up, loaded, site.copy))
    copying.add_done_callback(lambda _: copied.set())
    n = 100
    while not copied.is_set() or n < 200:
        began = time.perf_counter()
        await written(store, Record(uplinks=uplinks(n, 1)))
        answers_s.append(time.perf_counter() - began)
        n += 1
    await copying
    await store.close()
    site.move_away()
    assert run("restore", site.copy, "--config", site.config) == 0
    found = [row[0] for row in site.rows("SELECT f_cnt_up FROM uplink ORDER BY uplink_id")]
    assert found == list(range(len(found)))
    assert 100 <= len(found) <= n
    assert sorted(answers_s)[len(answers_s) // 2] < 1.0


def test_a_copy_of_a_gateway_that_was_killed_has_what_is_in_its_log(site, tmp_path):
    script = (
        "import asyncio, os, sys; sys.path.insert(0, sys.argv[1]); import test_copies as t\n"
        "async def main():\n"
        "    store = t.Site(t.Path(sys.argv[2])).store(); await store.open()\n"
        "    await t.written(store, t.BEGUN); os._exit(9)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 9
    assert site.log.exists()
    assert run("backup", site.copy, "--config", site.config) == 0
    site.move_away()
    assert run("restore", site.copy, "--config", site.config) == 0
    assert site.rows("SELECT count(*) FROM uplink") == [(100,)]


async def test_nothing_that_is_there_is_overwritten(site, capsys):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config) == 0
    assert run("backup", site.copy, "--config", site.config) == 1
    assert "--force" in capsys.readouterr().err
    assert run("backup", site.copy, "--config", site.config, "--force") == 0
    before = site.database.read_bytes()
    assert run("restore", site.copy, "--config", site.config) == 1
    assert f"mv {site.database} {site.database}.old" in capsys.readouterr().err
    assert site.database.read_bytes() == before
    site.database.unlink()
    site.log.write_bytes(b"x")
    assert run("restore", site.copy, "--config", site.config) == 1


async def test_a_gateway_that_runs_is_not_restored(site, capsys):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config) == 0
    store = Store(site.database, lambda check_value: Sealer(KEY))
    await store.open()
    for path in site.database.parent.glob("stoep.db*"):
        if path.suffix != ".lock":
            path.rename(path.with_name("old-" + path.name))
    assert run("restore", site.copy, "--config", site.config) == 1
    assert "stop it first" in capsys.readouterr().err
    await store.close()


async def test_a_dry_run_changes_nothing_and_says_what_would_be_done(site, capsys):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config) == 0
    site.move_away()
    (site.config.parent / "street.toml").write_text("")
    before = sorted(site.folder.rglob("*"))
    capsys.readouterr()
    assert run("restore", site.copy, "--config", site.config, "--dry-run") == 0
    said = capsys.readouterr().out
    assert f"the database goes to {site.database}" in said
    assert f"the sealing key is not at {site.database}.key" in said
    assert f"{site.config.parent / 'street.toml'} stays" in said
    assert sorted(site.folder.rglob("*")) == before


async def test_on_a_new_machine_the_configuration_comes_back_too(site, tmp_path):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config) == 0
    new = Site(tmp_path / "new")
    new.config.parent.mkdir(parents=True)
    assert run("restore", site.copy, "--config", new.config) == 0
    assert new.config.read_text() == CONFIG
    assert (new.config.parent / "street.toml").read_text() == ASSETS
    assert new.rows("SELECT count(*) FROM uplink") == [(100,)]
    assert not (new.config.parent / "secret").exists()


async def test_a_folder_that_is_a_link_is_named_as_the_operator_does(site, tmp_path):
    """As systemd's /var/lib/stoep-gateway is one to /var/lib/private."""
    await filled(site)
    (tmp_path / "link").symlink_to(site.config.parent)
    linked = tmp_path / "link" / "stoep.toml"
    assert run("backup", site.copy, "--config", linked) == 0
    with zipfile.ZipFile(site.copy) as opened:
        manifest = json.loads(opened.read("manifest.json"))
    assert manifest["config"] == str(linked)
    assert manifest["database"] == str(tmp_path / "link" / "data" / "stoep.db")
    assert {it["name"] for it in manifest["files"]} == {
        "stoep.db",
        "config/stoep.toml",
        "config/street.toml",
    }


async def test_a_configuration_is_replaced_only_if_asked_and_the_other_one_is_kept(site, capsys):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config) == 0
    site.move_away()
    other = CONFIG.replace("here", "elsewhere")
    site.config.write_text(other)
    assert run("restore", site.copy, "--config", site.config, "--replace-config") == 0
    assert site.config.read_text() == CONFIG
    (aside,) = site.config.parent.glob("stoep.toml.before-*")
    assert aside.read_text() == other


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
async def test_a_damaged_copy_is_not_restored(site, capsys, at):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config) == 0
    data = bytearray(site.copy.read_bytes())
    for offset in range(40):
        data[int(len(data) * at) - offset] ^= 0x55
    site.copy.write_bytes(data)
    site.move_away()
    assert run("restore", site.copy, "--config", site.config) == 1
    assert "damaged" in capsys.readouterr().err
    assert not site.database.exists()


def altered(copy: Path, **changes: object) -> None:
    with zipfile.ZipFile(copy) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(parts["manifest.json"]) | changes
    parts["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(copy, "w") as new:
        for name, data in parts.items():
            new.writestr(name, data)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 999}, "newer"),
        ({"format": 2, "program": "9.9"}, "newer program, 9.9"),
        ({"schema": 1}, "another version"),
        ({"made_utc_ms": "noon"}, "manifest"),
        ({"files": []}, "has no stoep.db"),
    ],
)
async def test_a_copy_that_does_not_fit_is_not_restored(site, capsys, changes, said):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config) == 0
    altered(site.copy, **changes)
    site.move_away()
    assert run("restore", site.copy, "--config", site.config) == 1
    assert said in capsys.readouterr().err
    assert not site.database.exists()


async def test_a_name_that_leads_elsewhere_is_not_followed(site, tmp_path):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config) == 0
    with zipfile.ZipFile(site.copy) as opened:
        files = json.loads(opened.read("manifest.json"))["files"]
    for it in files:
        if it["name"] == "config/street.toml":
            it["name"] = "config/../../planted.toml"
    with zipfile.ZipFile(site.copy, "a") as opened:
        opened.writestr("config/../../planted.toml", ASSETS)
    altered(site.copy, files=files)
    site.move_away()
    assert run("restore", site.copy, "--config", site.config) == 0
    assert list(tmp_path.rglob("planted*")) == []


async def test_the_wrong_passphrase_and_the_wrong_key(site, capsys):
    await filled(site)
    wrong = site.folder / "wrong.key"
    wrong.write_text(bytes(32).hex())
    options = ["--config", site.config, *site.phrase()]
    assert run("backup", site.copy, *options, "--key-file", wrong) == 1
    assert "not the one that sealed" in capsys.readouterr().err
    assert run("backup", site.copy, *options) == 0
    site.move_away()
    assert (
        run("restore", site.copy, "--config", site.config, *site.phrase("another one, longer")) == 1
    )
    assert "another passphrase" in capsys.readouterr().err
    assert not site.database.exists()
    assert not site.key.exists()


async def test_a_key_that_is_there_is_not_replaced(site, capsys):
    await filled(site)
    assert run("backup", site.copy, "--config", site.config, *site.phrase()) == 0
    for path in site.database.parent.glob("stoep.db*"):
        if path.suffix != ".key":
            path.unlink()
    assert run("restore", site.copy, "--config", site.config, *site.phrase()) == 1
    assert "a key is there already" in capsys.readouterr().err
    assert run("restore", site.copy, "--config", site.config) == 0


async def test_the_copy_of_an_old_database_comes_back_as_a_new_one(site):
    site.database.parent.mkdir()
    old = site.folder / "stoep.db.version-2"
    dump = Path(__file__).parents[1] / "vectors" / "store_version_2.sql"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    assert run("restore", old, "--config", site.config) == 0
    assert site.rows("PRAGMA user_version") == [(latest_version(),)]
    ((f_cnt_down,),) = site.rows("SELECT f_cnt_down FROM frame_counter")
    assert f_cnt_down >= 9 + 1024
    assert [it.name for it in site.database.parent.glob("*version*")] == []


async def test_a_damaged_database_gives_no_copy(site, capsys):
    await filled(site)
    data = bytearray(site.database.read_bytes())
    data[3 * 4096 : 5 * 4096] = os.urandom(2 * 4096)
    site.database.write_bytes(data)
    site.copy.write_bytes(b"yesterday's")
    assert run("backup", site.copy, "--config", site.config, "--force") == 1
    assert site.copy.read_bytes() == b"yesterday's"
    assert sorted(it.name for it in site.folder.glob("copy*")) == ["copy.zip"]


LIMITED = """
import resource, sys
from stoep_gateway.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("action", ["backup", "restore"])
def test_a_disk_that_is_full_leaves_nothing_behind(site, action):
    asyncio.run(filled(site, Record(uplinks=uplinks(100, 3000))))
    if action == "restore":
        assert run("backup", site.copy, "--config", site.config) == 0
        site.move_away()

    def files():
        of_readers = (".lock", ".db-wal", ".db-shm", ".copied")
        return [it for it in sorted(site.folder.rglob("*")) if it.suffix not in of_readers]

    before = files()
    command = [sys.executable, "-c", LIMITED, "60000", action, site.copy, "--config", site.config]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert files() == before


def test_a_database_that_no_gateway_wrote(site, capsys):
    site.database.parent.mkdir()
    sqlite3.connect(site.database).close()
    assert run("backup", site.copy, "--config", site.config) == 1
    assert "no gateway has written it" in capsys.readouterr().err
    site.database.unlink()
    assert run("backup", site.copy, "--config", site.config) == 1
    assert "has the gateway run" in capsys.readouterr().err


def test_a_folder_gets_a_copy_with_a_name_of_its_time(site):
    site.database.parent.mkdir()
    with closing(sqlite3.connect(site.database, isolation_level=None)) as connection:
        migrate(connection, site.database)
    (site.folder / "copies").mkdir()
    assert run("backup", site.folder / "copies", "--config", site.config) == 0
    (copy,) = (site.folder / "copies").iterdir()
    assert copy.name.startswith("stoep-here-2")
    with zipfile.ZipFile(copy) as opened:
        assert opened.testzip() is None

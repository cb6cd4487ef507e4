"""``stoep collections``: a log into the store, with and without a gateway that runs, and out."""

from __future__ import annotations

import csv
import fcntl
import io
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from gateway_process import Gateway
from stoep_gateway.collections import cli, commands
from stoep_gateway.control_client import Client
from stoep_gateway.store.latest import read_collections
from stoep_gateway.store.migrate import latest_version, migrate
from stoep_gateway.store.records import CollectionRow, Record
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.sql import write_group

EDINBURGH = Path(__file__).parents[1] / "vectors" / "edinburgh" / "emptyings.csv"
EVER = (0, 1 << 47)
CONFIG = """
site = "street"
timezone = "Europe/Amsterdam"
[mqtt]
port = {port}
[gwmp]
port = 0
[lorawan]
dedup_window_ms = 20
""" + "".join(
    f'[[container]]\nid = "{name}"\nlat = 0\nlon = 0\ncapacity_l = 240\ndepth_mm = 1500\n'
    for name in ("324975", "324976", "325060", "325087", "bank-1")
)


def nobodys_port() -> int:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port: int = nobody.getsockname()[1]
        return port


class Site:
    """A gateway that has run and stopped."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "stoep.toml"
        self.config.write_text(CONFIG.format(port=nobodys_port()))
        self.store = folder / "stoep.db"
        with closing(sqlite3.connect(self.store, isolation_level=None)) as connection:
            migrate(connection, self.store)

    def run(self, action: str, *arguments: object) -> int:
        return cli.main([action, *map(str, arguments), "--config", str(self.config)])

    def rows(self) -> list[CollectionRow]:
        return read_collections(self.store, *EVER)

    def told(self, *rows: CollectionRow) -> None:
        with closing(sqlite3.connect(self.store, isolation_level=None)) as connection:
            write_group(connection, [Record(collections=rows)], Sealer(bytes(32)))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def log_of(folder: Path, *rows: str, head: str = "container,time,truck") -> Path:
    file = folder / "log.csv"
    file.write_text("\n".join([head, *rows]) + "\n")
    return file


def test_a_real_log_twice_is_there_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.run("import", EDINBURGH) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{EDINBURGH}: 270 collections of 4 containers",
        "270 new, 0 in the place of what was known",
    ]
    rows = site.rows()
    assert len(rows) == 270
    assert rows[0] == CollectionRow("324975", 1_464_960_028_000, "log", 79.2)
    assert site.run("import", EDINBURGH, "--columns", "container=device") == 0
    assert "0 new, 270 in the place" in capsys.readouterr().out
    assert site.rows() == rows


def test_with_mistakes_nothing_is_written_unless_asked(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ("bank-1,2026-01-30 06:00,w", "bank-9,2026-01-30,w", "bank-1,soon,w")
    file = log_of(tmp_path, *rows)
    assert site.run("import", file) == 2
    err = capsys.readouterr().err.splitlines()
    assert [it.split(" ")[0] for it in err] == [f"{file}:3:", f"{file}:4:", f"{file}:"]
    assert err[-1].endswith(
        "nothing was imported: 2 lines to correct; --skip-bad takes the other 1 row"
    )
    assert site.rows() == []
    assert site.run("import", file, "--skip-bad", "--dry-run") == 0
    assert site.rows() == []
    assert site.run("import", file, "--skip-bad") == 0
    assert [it.container for it in site.rows()] == ["bank-1"]
    assert site.run("import", log_of(tmp_path, "bank-1,2026-01-30", head="a,b"), "--skip-bad") == 2


def test_many_mistakes_of_a_kind_are_told_shortly(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = log_of(tmp_path, *(f"Kerkstraat {n},2026-01-30,w" for n in range(500)))
    assert site.run("import", file) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 12
    assert err[-2].endswith("and 490 more like this")
    assert "500 lines to correct" in err[-1]


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        (b"container,time\nb\xe4nk,2026-01-30", (), "2: is not utf-8 text: save it as"),
        (b"container,time\n", ("--encoding", "klingon"), "there is no encoding klingon"),
        (b"", (), "is empty"),
    ],
)
def test_a_file_that_cannot_be_read(
    site: Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: bytes,
    options: tuple[str, ...],
    why: str,
) -> None:
    file = tmp_path / "log.csv"
    file.write_bytes(text)
    assert site.run("import", file, *options) in (1, 2)
    assert why in capsys.readouterr().err
    assert site.run("import", tmp_path / "nowhere.csv") == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_texts_of_spreadsheets(site: Site, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "log.csv"
    file.write_bytes("container;time;truck\r\nbank-1;30-01-2026;Müller\r\n".encode(encoding))
    options = ("--encoding", encoding) if encoding == "cp1252" else ()
    assert site.run("import", file, *options) == 0
    assert site.rows()[0].truck == "Müller"


def test_a_store_of_others_is_left_alone(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = log_of(tmp_path, "bank-1,2026-01-30,w")
    with Path(f"{site.store}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert site.run("import", file) == 1
    assert "a gateway has it open" in capsys.readouterr().err
    with closing(sqlite3.connect(site.store)) as connection:
        connection.execute(f"PRAGMA user_version = {latest_version() - 1}")
    assert site.run("import", file) == 1
    assert "start the gateway once" in capsys.readouterr().err
    assert site.run("list") == 0


def test_no_gateway_at_the_socket(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    file = log_of(site.store.parent, "bank-1,2026-01-30,w")
    assert cli.main(["import", str(file), "--socket", str(site.store.parent / "none.sock")]) == 3
    assert "no gateway is running there" in capsys.readouterr().err


def test_what_is_known_is_listed_joined_and_as_it_was_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = 1_769_752_800_000  # 2026-01-30T06:00Z
    site.told(
        CollectionRow("bank-1", begin, "sensor", 80.4, 2.0),
        CollectionRow("bank-1", begin + 600_000, "log", None, None, "=W1", 120.5),
        CollectionRow("324975", begin + 18_000_000, "log", date_only=1),
    )
    assert site.run("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "when              container   from     to      kg  told by",
        "2026-01-30 07:00  bank-1      80 %    2 %   120.5  sensor, log (=W1)",
        "2026-01-30        324975                           log",
    ]
    assert site.run("list", "--told", "--container", "bank-1", "--to", "2026-01-30T06:05") == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "2026-01-30 07:00  bank-1      80 %    2 %          sensor"
    ]
    assert site.run("list", "--from", "2026-02-01") == 0
    assert capsys.readouterr().out == "no emptying is known\n"
    file = site.store.parent / "out.csv"
    assert site.run("export", file) == 0
    data = file.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfcontainer,time_utc")
    assert list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))[1:] == [
        ["bank-1", "2026-01-30T06:00:00.000Z", "sensor log", "80.4", "2.0", "'=W1", "120.5"],
        ["324975", "2026-01-30", "log", "", "", "", ""],
    ]
    assert site.run("export", file) == 1
    assert "--force" in capsys.readouterr().err
    assert site.run("export", file, "--force") == 0


def test_an_export_is_the_same_again_when_it_is_imported(site: Site) -> None:
    begin = 1_769_752_800_000
    rows = [
        CollectionRow("bank-1", begin, "log", 80.4, 2.0, "=W1", 120.5),
        CollectionRow("324975", begin + 18_000_000, "log", date_only=1),
    ]
    site.told(*rows)
    file = site.store.parent / "out.csv"
    assert site.run("export", file) == 0
    assert site.run("remove", "--source", "log", "--from", "2026-01-01", "--to", "2027-01-01") == 0
    assert site.rows() == []
    assert site.run("import", file) == 0
    assert site.rows() == rows


def test_what_was_imported_can_be_forgotten_and_what_was_seen_stays(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = 1_769_752_800_000
    kept = CollectionRow("bank-1", begin, "sensor", 80.0, 2.0)
    site.told(kept, kept._replace(source="log"), kept._replace(source="driver"))
    span = ("--from", "2026-01-30", "--to", "2026-01-31")
    assert site.run("remove", "--source", "log", *span) == 0
    assert capsys.readouterr().out == "1 forgotten\n"
    assert [it.source for it in site.rows()] == ["driver", "sensor"]
    assert site.run("remove", "--source", "log", "--from", "2026-02-01", "--to", "2026-01-01") == 1


@pytest.mark.slow
def test_a_gateway_that_runs_takes_a_log_and_refuses_what_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CONFIG.format(port=nobodys_port())
    with Gateway(tmp_path / "gateway", config) as gateway:
        store = gateway.folder / "stoep.db"
        monkeypatch.setattr(cli, "MOST_ROWS", 2)
        rows = [f"bank-1,2026-01-{day:02} 06:00,w{day}" for day in range(1, 6)]
        file = str(log_of(tmp_path, *rows))
        options = ("--socket", str(gateway.folder / "stoep.db.sock"))
        for new in (5, 0):
            assert cli.main(["import", file, *options]) == 0
            assert f"{new} new, {5 - new} in" in capsys.readouterr().out
        assert [it.truck for it in read_collections(store, *EVER)] == [
            f"w{day}" for day in range(1, 6)
        ]
        span = ("--from", "2026-01-02", "--to", "2026-01-04")
        assert cli.main(["remove", "--source", "log", *span, *options]) == 0
        assert capsys.readouterr().out == "2 forgotten\n"
        good = {"container": "bank-1", "at_utc_ms": 1_769_752_800_000}
        with Client(gateway.folder / "stoep.db.sock") as client:
            for said, why in (
                (None, "is a list"),
                ([good] * (commands.MOST_ROWS + 1), "is a list of at most"),
                ([good, {}], "rows[1].container: Field required"),
                ([good | {"source": "sensor"}], "rows[0].source: Extra"),
                ([good | {"at_utc_ms": 1.5}], "rows[0].at_utc_ms"),
                ([good | {"weight_kg": -1}], "rows[0].weight_kg"),
                ([good, good | {"container": "nowhere"}], "no container 'nowhere' is configured"),
            ):
                assert why in client.ask("collections.add", rows=said)["error"]
            refused = client.ask("collections.forget", source="sensor", from_utc_ms=0, to_utc_ms=9)
            assert refused["error"].startswith("source: ")
            said = client.ask("collections.site")
            assert abs(said["now_utc_ms"] - time.time() * 1000) < 60_000
            assert said["containers"]["bank-1"] == "bank-1"
        assert len(read_collections(store, *EVER)) == 3

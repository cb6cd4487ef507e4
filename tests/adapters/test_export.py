"""Exports: files that other programs read, from a database that is in use."""

import asyncio
import csv
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from stoep_gateway.cli import main
from stoep_gateway.store.records import DeviceRow, Record, UplinkRow
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store
from stoep_protocol import messages
from stoep_protocol.messages import BayReport, BinReport

HOUR_MS = 3_600_000
T0 = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
BIN, BAY = bytes.fromhex("70b3d57ed0000001"), bytes.fromhex("70b3d57ed0000002")
CONFIG = """
site = "here"
[[container]]
id = "a"
lat = 0
lon = 0
capacity_l = 1100
depth_mm = 1000
[[bay]]
id = "b"
street = "Hoog, \\"straat\\""
lat = 0
lon = 0
[[device]]
dev_eui = "70b3d57ed0000002"
app_key = "00112233445566778899aabbccddeeff"
asset = "bay/b"
"""
RADIO = '[["0016c001ff10a235",-101.2,7.5],["0016c001ff10a236",-111,3]]'


def stored(at_ms, message, dev_eui, n):
    f_port, payload = messages.encode(message)
    return UplinkRow(at_ms, dev_eui, 1, n, f_port, payload, None, 868_100_000, 5, RADIO)


def reading(n):
    history = ((60, 900 - 10 * ((n - 1) % 80), 4),) if n else ()
    return stored(
        T0 + n * HOUR_MS, BinReport(n % 65536, 900 - 10 * (n % 80), 4, history=history), BIN, n
    )


class Site:
    def __init__(self, folder):
        self.config = folder / "stoep.toml"
        self.database = folder / "stoep.db"
        self.config.write_text(CONFIG)

    async def fill(self, *uplinks):
        store = Store(self.database, lambda check_value: Sealer(bytes(32)))
        await store.open()
        device = DeviceRow(
            BIN,
            bytes(8),
            None,
            None,
            None,
            None,
            "s",
            "1.0.3",
            "A",
            1,
            1,
            None,
            "container/a",
            0,
            0,
        )
        written = asyncio.get_running_loop().create_future()
        store.submit(Record(uplinks=uplinks, devices=(device,)), lambda: written.set_result(None))
        await written
        return store


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


async def fill_and_close(site, *uplinks):
    await (await site.fill(*uplinks)).close()


def run(site, *arguments):
    return main(["export", "--config", str(site.config), *map(str, arguments)])


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
async def test_readings_are_read_by_another_program_while_the_gateway_runs(site, tmp_path, name):
    store = await site.fill(*(reading(n) for n in (0, 1, 2, 4, 5)))
    target = tmp_path / name
    assert run(site, target) == 0
    await store.close()
    read = arrow_csv.read_csv if target.suffix == ".csv" else parquet.read_table
    table = read(target)
    rows = table.to_pylist()
    assert [it["sequence"] for it in rows] == [0, 1, 2, 3, 4, 5]
    assert [it["time_utc"] for it in rows] == [
        datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(6)
    ]
    assert rows[3]["received_utc"] - rows[3]["time_utc"] == timedelta(hours=1)
    assert [it["fill_pct"] for it in rows] == pytest.approx([10, 11, 12, 13, 14, 15])
    assert {it["asset"] for it in rows} == {"container/a"}
    assert target.stat().st_mode & 0o077 == 0
    if target.suffix == ".parquet":
        assert table.schema.field("time_utc").type == pyarrow.timestamp("ms", "UTC")
        assert table.schema.field("flaps").type == pyarrow.int64()


async def test_csv_is_that_of_the_rfc(site, tmp_path, capfd):
    await fill_and_close(site, *(reading(n) for n in range(3)))
    assert run(site, "-") == 0
    out, err = capfd.readouterr()
    assert err == "standard output: 3 readings\n"
    lines = out.split("\r\n")
    assert lines[-1] == ""
    assert "\n" not in "".join(lines)
    assert len({len(row) for row in csv.reader(lines[:-1])}) == 1
    assert re.fullmatch(r"2026-03-01T00:00:00\.000Z,.*", lines[1])


async def test_from_and_to(site, tmp_path):
    await fill_and_close(site, *(reading(n) for n in range(48)))
    options = ["--from", "2026-03-01T06:00", "--to", "2026-03-02T02:00+02:00"]
    assert run(site, tmp_path / "out.csv", *options) == 0
    rows = arrow_csv.read_csv(tmp_path / "out.csv").to_pylist()
    assert [it["sequence"] for it in rows] == list(range(6, 24))


async def test_a_file_that_is_there_stays_unless_forced(site, tmp_path, capsys):
    await fill_and_close(site, reading(0))
    target = tmp_path / "out.csv"
    target.write_text("mine")
    assert run(site, target) == 1
    assert "--force" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert run(site, target, "--force") == 0
    assert target.read_text().startswith("time_utc,")


async def test_bays_come_with_a_reminder(site, tmp_path, capsys):
    await fill_and_close(site, stored(T0 + 437_000, BayReport(1, 5), BAY, 1), reading(0))
    assert run(site, tmp_path / "bays.csv", "--kind", "bays") == 0
    assert "five minutes" in capsys.readouterr().err
    (row,) = arrow_csv.read_csv(tmp_path / "bays.csv").to_pylist()
    assert (row["asset"], row["time_utc"]) == ("bay/b", datetime(2026, 3, 1, 0, 5, tzinfo=UTC))
    assert run(site, tmp_path / "raw.csv", "--kind", "bays", "--raw") == 0
    assert "keep it to yourself" in capsys.readouterr().err
    (row,) = arrow_csv.read_csv(tmp_path / "raw.csv").to_pylist()
    assert row["time_utc"] == datetime(2026, 3, 1, 0, 7, 17, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["readings", "bays", "status", "uplinks", "emptyings"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
async def test_every_kind_in_every_form_also_where_nothing_is(site, tmp_path, kind, form):
    await fill_and_close(site)
    target = tmp_path / f"out.{form}"
    assert run(site, target, "--kind", kind, "--format", form) == 0
    if form == "csv":
        assert target.read_bytes().count(b"\r\n") == 1
    else:
        assert parquet.read_table(target).num_rows == 0


async def test_without_pyarrow_it_says_what_to_install(site, tmp_path, capsys, monkeypatch):
    await fill_and_close(site, reading(0))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run(site, tmp_path / "out.parquet") == 1
    assert 'pip install "stoep[export]"' in capsys.readouterr().err
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", ""])
def test_a_time_that_is_none(site, capsys, text):
    with pytest.raises(SystemExit):
        run(site, "-", "--from", text)
    assert "a time is 2026-01-31" in capsys.readouterr().err


MEASURED = """
import resource, sys
from stoep_gateway.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_uplinks(site, tmp_path):
    asyncio.run(fill_and_close(site))
    columns = "received_utc_ms, dev_eui, session_id, f_cnt_up, f_port, frm_payload, undecodable"
    insert = f"INSERT INTO uplink ({columns}, freq_hz, dr, receptions) VALUES (?{', ?' * 9})"
    peaks = []
    for first, last in ((0, 5_000), (5_000, 60_000)):
        with closing(sqlite3.connect(site.database)) as connection:
            connection.executemany(insert, (reading(n) for n in range(first, last)))
            connection.commit()
        command = [sys.executable, "-c", MEASURED, "export", str(tmp_path / "out.csv"), "--force"]
        ended = subprocess.run(
            [*command, "--config", site.config], capture_output=True, check=True, timeout=300
        )
        peaks.append(int(ended.stdout))
    assert peaks[1] < peaks[0] + 8_000  # kB

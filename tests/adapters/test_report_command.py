"""The command ``stoep report month``: from a gateway's store, and from tables."""

import asyncio
import csv
import datetime
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from stoep_gateway.backtest import town
from stoep_gateway.report import cli
from stoep_gateway.store.records import CollectionRow, DeviceRow, Record, UplinkRow
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store
from stoep_protocol import messages
from stoep_protocol.messages import BinReport

HOUR_MS = 3_600_000
T0 = round(datetime.datetime(2026, 9, 30, 22, tzinfo=datetime.UTC).timestamp() * 1000)
NOW = T0 + 45 * 24 * HOUR_MS
BIN = bytes.fromhex("70b3d57ed0000001")
RADIO = '[["0016c001ff10a235",-101.2,7.5]]'


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "stoep.toml"
        text = town.config_text(1, 1).replace(
            "[[container]]", '[[container]]\nemptied_on = ["mon"]'
        )
        self.config.write_text(text, encoding="utf-8")

    def run(self, *arguments: object, now_ms: int = NOW) -> int:
        options = ["month", *map(str, arguments), "--config", str(self.config)]
        return cli.main(options, now_ms)

    def table(self, name: str = "out.csv") -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def uplink(hour: int, distance_mm: int | None) -> UplinkRow:
    report = BinReport(hour % 65536, distance_mm, 4 if distance_mm is not None else 1)
    f_port, payload = messages.encode(report)
    at_ms = T0 + hour * HOUR_MS
    return UplinkRow(at_ms, BIN, 1, hour, f_port, payload, None, 868_100_000, 5, RADIO)


async def stored(site: Site, *collections: CollectionRow) -> None:
    """Store a month: five points a day, emptied on the 11th and the 21st; a day without an echo."""
    store = Store(site.folder / "stoep.db", lambda check_value: Sealer(bytes(32)))
    await store.open()
    nothing = (None,) * 4
    device = DeviceRow(BIN, bytes(8), *nothing, "s", "1.0.3", "A", 1, 1, None, "container/c1", 0, 0)
    uplinks = []
    for hour in range(31 * 24):
        level = (hour % 240) * 5 / 24
        lost = 120 <= hour < 144
        uplinks.append(uplink(hour, None if lost else round(1800 - level / 100 * 1500)))
    written = asyncio.get_running_loop().create_future()
    record = Record(uplinks=tuple(uplinks), devices=(device,), collections=collections)
    store.submit(record, lambda: written.set_result(None))
    await written
    await store.close()


async def test_a_month_of_what_the_gateway_stored(site: Site, capsys) -> None:
    told = CollectionRow("c1", T0 + 240 * HOUR_MS, "sensor", 49.8, 0.0)
    await stored(site, told, told._replace(at_utc_ms=T0 + 480 * HOUR_MS))
    html = site.folder / "out.html"
    assert site.run("2026-10", "--csv", site.folder / "out.csv", "--html", html) == 0
    (whole,) = (it for it in site.table() if it["scope"] == "all")
    assert (whole["emptyings"], whole["overflow_h"]) == ("2", "0.00")
    assert (whole["readings"], whole["false_readings"]) == ("744", "24")
    assert (whole["needless"], whole["unknown_fill"]) == ("2", "0")
    # A level holds for three hours of the silent day, and the last of the month for its last hour.
    assert float(whole["known_pct"]) == pytest.approx(100 * (744 - 22) / 745, abs=0.2)
    assert "<svg" in html.read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "October 2026" in said
    assert "own schedule" in said


async def test_emptyings_from_before_they_were_kept_are_those_that_levels_show(site: Site) -> None:
    await stored(site)
    assert site.run("2026-10", "--csv", site.folder / "out.csv") == 0
    assert site.table()[0]["emptyings"] == "3"  # the 11th, the 21st and the 31st
    # A database of an older gateway has no such tables.
    with closing(sqlite3.connect(site.folder / "stoep.db")) as connection:
        for name in ("collection", "round_plan", "outcome"):
            connection.execute(f"DROP TABLE {name}")
        connection.commit()
    assert site.run("2026-10", "--csv", site.folder / "again.csv") == 0
    assert site.table("again.csv") == site.table()


async def test_a_gateway_that_was_updated_in_the_month_has_kept_the_last_ones(site: Site) -> None:
    await stored(site, CollectionRow("c1", T0 + 480 * HOUR_MS, "sensor", 49.8, 0.0))
    assert site.run("2026-10", "--csv", site.folder / "out.csv") == 0
    assert site.table()[0]["emptyings"] == "2"


def levels_file(site: Site, days: int, per_day: float = 5, start_ms: int = T0) -> Path:
    path = site.folder / "levels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["container", "time_utc", "fill_pct"])
        for hour in range(days * 24):
            at = datetime.datetime.fromtimestamp(start_ms / 1000 + hour * 3600, datetime.UTC)
            writer.writerow(["c1", at.isoformat(), hour * per_day / 24 % 60])
        writer.writerow(["c1", "yesterday", 5])
    return path


def test_a_month_of_a_table_of_levels(site: Site, capsys) -> None:
    levels = levels_file(site, 31, 20)
    target = site.folder / "out.csv"
    assert site.run("2026-10", "--levels", levels, "--csv", target, "--monthly-cost", 10) == 0
    assert site.table()[0]["emptyings"] == "10"
    out, err = capsys.readouterr()
    assert "levels.csv:746" in err
    assert "€10 for sensors, gateway and connection" in out
    # The same again is the same table, and is not written over.
    before = target.read_bytes()
    assert site.run("2026-10", "--levels", levels, "--csv", target) == 1
    assert "--force replaces it" in capsys.readouterr().err
    more = "--monthly-cost", 10, "--force"
    assert site.run("2026-10", "--levels", levels, "--csv", target, *more) == 0
    assert target.read_bytes() == before


def test_a_log_tells_of_emptyings_that_levels_do_not_show(site: Site, capsys) -> None:
    levels = levels_file(site, 31)  # emptied after twelve days, and after twelve more
    log = site.folder / "log.csv"
    said = "container,time,weight_kg\nc1,2026-10-13 00:30,120\nc1,2026-10-05 10:00,\nc9,2026-10-05,"
    log.write_text(said, encoding="utf-8")
    target = site.folder / "out.csv"
    assert site.run("2026-10", "--levels", levels, "--collections", log, "--csv", target) == 0
    whole = site.table()[0]
    assert (whole["emptyings"], whole["weighed"], whole["weight_kg"]) == ("3", "1", "120.00")
    assert "log.csv:4" in capsys.readouterr().err
    log.write_text("nothing of the kind", encoding="utf-8")
    assert site.run("2026-10", "--levels", levels, "--collections", log) == 1


def test_months_before(site: Site, capsys) -> None:
    levels = levels_file(site, 61, 20, T0 - 30 * 24 * HOUR_MS)
    assert site.run("2026-10", "--before", "2026-09", "--levels", levels, "--language", "nl") == 0
    assert "Vergeleken met september 2026" in capsys.readouterr().out


def test_the_month_that_is_asked_for_by_nobody_is_the_last(site: Site, capsys) -> None:
    levels = levels_file(site, 31)
    assert site.run("--levels", levels) == 0
    assert "October 2026" in capsys.readouterr().out
    assert site.run("--levels", levels, now_ms=T0 + HOUR_MS) == 0
    assert "September 2026" in capsys.readouterr().out


def test_a_month_that_has_not_ended(site: Site, capsys) -> None:
    levels = levels_file(site, 20)
    now_ms = T0 + 20 * 24 * HOUR_MS + HOUR_MS
    assert site.run("2026-10", "--levels", levels, now_ms=now_ms) == 0
    assert "not over: 20 days" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["2026-13"], "'2026-13' is not a month"),
        (["2026-12"], "no day of it is over"),
        (["2026-10", "--before", "2026-10"], "is not before"),
        (["2026-10", "--collections", "x.csv"], "goes with --levels"),
        (["2026-10"], "no such database"),
        (["2026-10", "--levels", "nowhere.csv"], "cannot be read"),
        (["2026-10", "--levels", "{other}"], "has levels of none of the containers"),
        (["2026-10", "--levels", "{levels}", "--html", "/nowhere/out.html"], "/nowhere/out.html"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(site: Site, capsys, arguments, said) -> None:
    levels = levels_file(site, 31)
    other = site.folder / "other.csv"
    other.write_text(
        "container,time_utc,fill_pct\nelsewhere,2026-10-01T00:00Z,50\n", encoding="utf-8"
    )
    code = site.run(
        *(it.replace("{levels}", str(levels)).replace("{other}", str(other)) for it in arguments)
    )
    error = capsys.readouterr().err
    assert code == 1
    assert said in error.splitlines()[-1]


def test_a_schedule_that_nobody_has_said(site: Site, capsys) -> None:
    site.config.write_text(town.config_text(1, 1), encoding="utf-8")
    levels = levels_file(site, 31)
    assert site.run("2026-10", "--levels", levels, "--schedule") == 1
    assert "emptied_on" in capsys.readouterr().err
    assert site.run("2026-10", "--levels", levels) == 0
    assert "Compared with nothing" in capsys.readouterr().out

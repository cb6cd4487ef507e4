"""``stoep plan files`` and ``stoep plan show --format``: with a configuration, and of a gateway."""

import asyncio
import io
import json
import tempfile
import types
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import gpxpy
import pytest
from hand_clock import HandClock
from plan_files import CONFIG, PLAN, town_at
from pypdf import PdfReader
from stoep_gateway.assets import states
from stoep_gateway.config import Config
from stoep_gateway.control import ControlServer
from stoep_gateway.forecast.calendar import Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.planning import cli, routes
from stoep_gateway.planning.commands import PlanCommands
from stoep_gateway.planning.files import command, pdf, printing
from stoep_gateway.planning.files.command import FileCommands
from stoep_gateway.planning.in_force import InForce, Kept
from stoep_gateway.planning.plan import dumps
from stoep_gateway.store.records import PlanRow, Record
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store

TODAY = date.fromisoformat(PLAN.date)
YESTERDAY, TOMORROW = (str(TODAY + timedelta(days=days)) for days in (-1, 1))


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    now = command.datetime.datetime.fromisoformat(f"{PLAN.date}T05:00:00+00:00")
    frozen = types.SimpleNamespace(now=now.astimezone)
    monkeypatch.setattr(
        command, "datetime", types.SimpleNamespace(datetime=frozen, date=command.datetime.date)
    )


@pytest.fixture
async def town(tmp_path: Path) -> Config:
    """Return a town in whose store three days are planned."""
    config = town_at(tmp_path, CONFIG + '[planning]\nlanguage = "nl"\niterations = 1\n')
    store = Store(config.store.path, lambda _: Sealer(bytes(32)))
    await store.open()
    days = ((YESTERDAY, False), (PLAN.date, False), (TOMORROW, True))
    plans = [replace(PLAN, date=day, provisional=provisional) for day, provisional in days]
    rows = [PlanRow(it.date, int(it.provisional), 5, 11.5, 71.5, 7, dumps(it)) for it in plans]
    store.submit(Record(plans=tuple(rows)))
    await store.close()
    return config


@pytest.fixture
async def socket(town: Config) -> AsyncIterator[Path]:
    """Return the control socket of a gateway that plans for that town."""
    with tempfile.TemporaryDirectory() as short:
        path = Path(short) / "control.sock"
        server = ControlServer(path)
        FileCommands(town).register(server)
        forecasts = Forecasts(Calendar(town.timezone))
        known: dict[str, states.AssetState] = {}
        clock = HandClock(PLAN.planned_ms)
        PlanCommands(town, known, forecasts, clock, InForce(Kept())).register(server)
        await server.open()
        yield path
        await server.close()


@pytest.fixture
def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the time that processes take to start."""
    monkeypatch.setattr(cli.apart, "answer", routes.answer)
    monkeypatch.setattr(printing, "pdfs", lambda asked, _: [pdf.document(it) for it in asked])


async def plan(capsys: pytest.CaptureFixture[bytes], *arguments: str | Path) -> tuple[int, bytes]:
    code = await asyncio.to_thread(cli.main, [*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out or captured.err


def names(folder: Path) -> Sequence[str]:
    return sorted(str(it.relative_to(folder)) for it in folder.rglob("*") if it.is_file())


@pytest.mark.usefixtures("in_one_process", "today")
async def test_files_of_today_and_of_what_is_planned_ahead(
    town: Config, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    target = tmp_path / "out"
    code, out = await plan(capsysbinary, "files", "--config", town.path, "--dir", target)
    assert code == 0
    assert out.decode().splitlines() == [str(target / name) for name in names(target)]
    assert {it.split("/")[0] for it in names(target)} == {PLAN.date, TOMORROW}
    assert f"{PLAN.date}/truck-1.pdf" in names(target)
    assert b'lang="nl"' in (target / PLAN.date / "truck-1.html").read_bytes()


@pytest.mark.usefixtures("in_one_process")
async def test_files_of_a_date_in_another_language_from_the_running_gateway(
    socket: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    target = tmp_path / "out"
    which = ("--socket", socket, "--dir", target, "--date", YESTERDAY, "--language", "en")
    code, _ = await plan(capsysbinary, "files", *which)
    assert code == 0
    assert {it.split("/")[0] for it in names(target)} == {YESTERDAY}
    assert b'lang="en"' in (target / YESTERDAY / "truck-1.html").read_bytes()
    assert (target / YESTERDAY / "summary.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.usefixtures("in_one_process")
async def test_what_is_not_planned_or_cannot_be_written(
    town: Config, socket: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for which in (("--config", town.path), ("--socket", socket)):
        code, out = await plan(capsysbinary, "files", *which, "--date", "2026-01-01")
        assert (code, out) == (1, b"nothing is planned for 2026-01-01\n")
    (tmp_path / "out").write_text("in the way")
    which = ("--config", town.path, "--dir", tmp_path / "out")
    code, out = await plan(capsysbinary, "files", *which, "--date", PLAN.date)
    assert (code, out) == (1, f"{tmp_path / 'out'}: File exists\n".encode())


async def test_without_reportlab_the_rest_is_written_and_the_remedy_named(
    town: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(printing.importlib.util, "find_spec", lambda _: None)
    which = ("files", "--config", str(town.path), "--date", PLAN.date, "--dir", str(tmp_path))
    assert cli.main(which) == 0
    assert capsys.readouterr().err == printing.REMEDY + "\n"
    assert (tmp_path / PLAN.date / "truck-1.html").exists()
    levels = tmp_path / "levels.json"
    levels.write_text('{"containers": {}}')
    assert cli.main(["show", str(levels), "--config", str(town.path), "--format", "pdf"]) == 1
    assert capsys.readouterr().err == printing.REMEDY + "\n"


@pytest.mark.usefixtures("in_one_process")
async def test_a_plan_in_every_format(
    town: Config, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    levels = tmp_path / "levels.json"
    full = {"fill_pct": 99, "rate_pct_per_day": 12}
    levels.write_text(json.dumps({"containers": {"c1": full, "c3": full}}))

    async def show(form: str, *more: str) -> bytes:
        at = ("--at", "2026-10-20T04:00Z", "--format", form)
        code, out = await plan(capsysbinary, "show", levels, "--config", town.path, *at, *more)
        assert code == 0
        return out

    found = json.loads(await show("geojson"))
    kinds = [it["properties"]["feature"] for it in found["features"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "round": 2,
        "stop": 3,
        "left_out": 1,
        "place": 2,
    }
    (route,) = gpxpy.parse((await show("gpx")).decode()).routes
    assert len(route.points) == 5
    assert b"Round of truck-1" in await show("html", "--language", "en")
    pages = PdfReader(io.BytesIO(await show("pdf"))).pages
    assert "Ronde van truck-1" in pages[0].extract_text().replace("\u00a0", " ")
    assert json.loads((await show("text", "--json")).splitlines()[0])["truck"] == "truck-1"


@pytest.mark.usefixtures("in_one_process")
async def test_formats_from_the_running_gateway(
    socket: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    which: tuple[Any, ...] = ("show", "--socket", socket)
    code, out = await plan(capsysbinary, *which, "--format", "html")
    assert code == 0
    assert b"nog geen meting ontvangen" in out
    code, out = await plan(capsysbinary, *which, "--format", "geojson")
    assert json.loads(out)["date"] == "2026-10-20"
    code, out = await plan(capsysbinary, *which, "--json")
    assert json.loads(out.splitlines()[0])["status"] == "nothing_to_do"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"command": "plan.files", "date": "20-10-2026"}, "a date is written 2026-01-31"),
        ({"command": "plan.files", "language": "fr"}, "language is en or nl"),
        ({"command": "plan.show", "format": "docx"}, "format is one of geojson, gpx, html, pdf"),
    ],
)
async def test_what_the_gateway_refuses(asked: dict[str, str], answered: str, socket: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(socket, limit=2**20)
    writer.write(json.dumps(asked).encode() + b"\n")
    answer = json.loads(await reader.readline())
    assert answer["error"].startswith(answered)
    writer.close()
    await writer.wait_closed()


def test_a_date_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["files", "--date", "20-10-2026"])
    assert "a date is written 2026-01-31" in capsys.readouterr().err

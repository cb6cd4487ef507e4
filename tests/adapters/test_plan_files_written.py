"""The files of plans on disk: whole, for the group, cleaned up; PDFs read by another's parser."""

import asyncio
import errno
import io
import logging
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
from gateway_process import Gateway
from hand_clock import HandClock
from plan_files import CONFIG, NASTY, NASTY_PLAN, PLAN, plan_of, round_of, stop, town_at
from pypdf import PdfReader
from stoep_gateway.config import Config
from stoep_gateway.planning.files import folder, formats, pdf, printing
from stoep_gateway.planning.files.sheet import sheets
from stoep_gateway.planning.files.words import Words
from stoep_gateway.planning.files.writer import Writer
from stoep_gateway.planning.plan import dumps
from stoep_gateway.store.records import PlanRow, Record
from stoep_gateway.store.sealing import open_sealer
from stoep_gateway.store.store import Store
from waiting import until

DAY = "2026-10-20"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return town_at(tmp_path_factory.mktemp("town"))


def read(document: bytes) -> list[str]:
    """Return the text of each page, with plain blanks; its header comes last."""
    pages = PdfReader(io.BytesIO(document)).pages
    return [" ".join(page.extract_text().split()) for page in pages]


def test_a_pdf_says_what_the_page_says(town: Config) -> None:
    of_plan = sheets(PLAN, town, Words("nl", town.timezone))
    document = pdf.document(of_plan)
    of_truck, idle, office, *_ = read(document)
    for part in (
        "truck-1 · dinsdag 20 oktober 2026 · town · gepland 20 oktober 06:00",
        "Ronde van truck-1, dinsdag 20 oktober 2026",
        "06:23 Market c1 · paper · 52.01100, 5.01000 kans op overlopen 34 %",
        "alleen 06:00–07:30 en 19:00–21:00; stop aan de kant van de container",
        "LOSSEN: dump",
        "blad 1 van 1",
    ):
        assert part in of_truck, part
    assert "niet nodig: andere wagens doen alles" in idle
    assert "gone 61 %" in office
    assert pdf.document(of_plan) == document
    first = PdfReader(io.BytesIO(document))
    assert (first.metadata or {})["/Title"] == "Ronde van truck-1, dinsdag 20 oktober 2026"
    assert first.trailer["/Root"]["/Lang"] == "nl"  # type: ignore[index]


def test_a_pdf_of_any_names_and_many_stops(town: Config) -> None:
    many = [stop(number, NASTY[number % len(NASTY)]) for number in range(1, 81)]
    plan = replace(NASTY_PLAN, rounds=(round_of("truck-1", *many), round_of("truck-2")))
    pages = read(pdf.document(sheets(plan, town, Words("en", town.timezone))))
    of_truck = [page for page in pages if "PROVISIONAL · truck-1 ·" in page]
    assert len(of_truck) > 5
    for number, page in enumerate(of_truck, start=1):
        assert f"page {number} of {len(of_truck)}" in page
    assert NASTY[0] in of_truck[0] or NASTY[0] in of_truck[1]
    assert "80" in of_truck[-1]


@pytest.mark.parametrize("files", [("Vera.ttf", "VeraBd.ttf"), None])
def test_a_pdf_without_the_font_that_knows_all(
    files: tuple[str, str] | None, town: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "FONTS", () if files is None else (tuple(map(Path, files)),))
    plan = plan_of(round_of("truck-1", stop(1, "Café 🗑️ 東 5 €")))
    (first, *_) = read(pdf.document(sheets(plan, town, Words("en", town.timezone))))
    assert "Café ? ? 5 €" in first


@pytest.mark.parametrize(
    ("said", "drawn"),
    [
        ("Market 5", "Market 5"),
        ("רחוב הרצל 5", "לצרה בוחר 5"),
        ("Plein (שוק) 7", "Plein )קוש( 7"),
    ],
)
def test_words_from_the_right_are_turned_round(said: str, drawn: str) -> None:
    assert pdf._left_to_right(said) == drawn


def test_all_files_of_a_plan(town: Config, tmp_path: Path) -> None:
    made, trouble = formats.files(PLAN, town)
    assert not trouble
    assert sorted(made) == [
        "rounds.geojson",
        *("summary.html", "summary.pdf"),
        *("truck-1.gpx", "truck-1.html", "truck-1.pdf"),
        *("truck-2.html", "truck-2.pdf"),
    ]
    assert "Round of truck-1" in read(made["truck-1.pdf"])[0]
    assert b'lang="en"' in made["truck-1.html"]
    folder.write(tmp_path / "rounds", DAY, made)
    written = tmp_path / "rounds" / DAY
    assert {path.name: path.read_bytes() for path in written.iterdir()} == made
    assert {stat.S_IMODE(path.stat().st_mode) for path in written.iterdir()} == {0o640}
    assert stat.S_IMODE(written.stat().st_mode) == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_whom_the_folder_belongs(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 23456)
    folder.write(tmp_path, DAY, {"truck-1.pdf": b"one"})
    owners = {(it.stat().st_uid, it.stat().st_gid) for it in tmp_path.rglob("*")}
    assert owners == {(12345, 23456)}


def test_files_of_trucks_that_are_gone_and_of_old_dates_go(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    folder.write(tmp_path, "2026-09-18", {"truck-1.pdf": b"old"})
    folder.write(tmp_path, "2026-09-19", {"truck-1.pdf": b"old"})
    (tmp_path / "2026-09-19" / "notes.txt").write_text("of somebody")
    folder.write(tmp_path, DAY, {"truck-1.pdf": b"one", "truck-2.pdf": b"two"})
    folder.write(tmp_path, DAY, {"truck-1.pdf": b"new"})
    (tmp_path / "other").mkdir()
    folder.forget(tmp_path, "2026-09-20")
    left = sorted(str(it.relative_to(tmp_path)) for it in tmp_path.rglob("*"))
    assert left == ["2026-09-19", "2026-09-19/notes.txt", DAY, f"{DAY}/truck-1.pdf", "other"]
    assert (tmp_path / DAY / "truck-1.pdf").read_bytes() == b"new"
    assert (tmp_path / DAY).stat().st_mode & stat.S_ISGID  # the group of the folder above


def test_without_reportlab_the_remedy_is_named(
    town: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing.importlib.util, "find_spec", lambda _: None)
    made, trouble = formats.files(PLAN, town)
    assert trouble == printing.REMEDY
    assert "truck-1.html" in made
    assert "truck-1.pdf" not in made
    with pytest.raises(RuntimeError, match="stoep\\[sheet\\]"):
        formats.document(PLAN, town, "pdf")


def test_a_process_that_fails_says_so_and_one_that_is_cancelled_ends(town: Config) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 1: .*IndexError"):
        printing.pdfs([[]])
    of_plan = sheets(PLAN, town, Words("en", town.timezone))
    with pytest.raises(RuntimeError, match="ended with -9"):
        printing.pdfs([of_plan] * 200, lambda: True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return town_at(tmp_path, CONFIG + '[planning]\nfiles = "rounds"\nlanguage = "nl"\n')


@pytest.fixture
def no_pdfs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "pdfs", lambda documents, _: [b"%PDF"] * len(documents))


@pytest.fixture
async def running(config: Config) -> AsyncIterator[tuple[Writer, HandClock]]:
    clock = HandClock()
    writer = Writer(config, clock)
    await writer.open()
    task = asyncio.create_task(writer.run())
    yield writer, clock
    task.cancel()
    await asyncio.wait([task])
    await writer.close()
    assert clock.under_way == 0


Running = tuple[Writer, HandClock]


@pytest.mark.usefixtures("no_pdfs")
async def test_trouble_is_logged_once_and_so_is_its_end(
    running: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    writer, clock = running
    target = tmp_path / "rounds"
    target.write_text("in the way")
    for _ in range(2):
        writer.take(PLAN, replace(PLAN, date="2026-10-21"))
        await until(lambda: not clock.under_way)
    target.unlink()
    for _ in range(2):
        writer.take(PLAN, replace(PLAN, date="2026-10-21"))
        await until(lambda: not clock.under_way)
    assert [it.getMessage() for it in caplog.records] == [
        f"files of rounds: {target}: File exists",
        "files of rounds: all are written again",
    ]
    assert sorted(it.name for it in target.iterdir()) == [DAY, "2026-10-21"]
    assert b'lang="nl"' in (target / DAY / "truck-1.html").read_bytes()


@pytest.mark.usefixtures("no_pdfs")
async def test_only_the_newest_plan_of_a_date_is_written_and_nothing_without_a_folder(
    running: Running, town: Config, tmp_path: Path
) -> None:
    writer, clock = running
    for name in ("one", "two", "three"):
        writer.take(plan_of(round_of(name, stop(1, "Market"))), None)
    assert clock.under_way == 1
    await until(lambda: not clock.under_way)
    assert (tmp_path / "rounds" / DAY / "three.gpx").exists()
    assert not (tmp_path / "rounds" / DAY / "one.gpx").exists()
    writer.reconfigure(town)
    writer.take(replace(PLAN, date="2026-10-21"))
    assert clock.under_way == 0


@pytest.mark.usefixtures("no_pdfs")
async def test_a_fault_of_ours_costs_no_more_than_the_files(
    running: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer, clock = running
    with monkeypatch.context() as broken:
        broken.setattr(formats, "files", lambda *_, **__: 1 / 0)
        writer.take(PLAN)
        await until(lambda: not clock.under_way)
    assert "the files of a plan cannot be made" in caplog.text
    writer.take(PLAN)
    await until(lambda: not clock.under_way)
    assert (tmp_path / "rounds" / DAY / "truck-1.pdf").exists()


@pytest.mark.usefixtures("no_pdfs")
async def test_a_full_disk_is_named(
    running: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer, clock = running
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr("os.fsync", Mock(side_effect=full))
    writer.take(PLAN)
    await until(lambda: not clock.under_way)
    assert caplog.messages == [f"files of rounds: {tmp_path / 'rounds'}: No space left on device"]
    assert not [*(tmp_path / "rounds" / DAY).iterdir()]  # nothing half written


async def test_what_stops_meanwhile_removes_nothing(config: Config, tmp_path: Path) -> None:
    folder.write(tmp_path / "rounds", DAY, {"truck-1.pdf": b"before"})
    writer = Writer(config, HandClock())
    await writer.close()
    assert writer._one(PLAN, config) == ""
    assert (tmp_path / "rounds" / DAY / "truck-1.pdf").read_bytes() == b"before"


async def test_the_gateway_writes_what_is_in_force(config: Config, tmp_path: Path) -> None:
    store = Store(config.store.path, partial(open_sealer, config.store, {}))
    await store.open()
    row = PlanRow(DAY, 0, PLAN.planned_ms, 11.5, 71.5, 0, dumps(PLAN))
    store.submit(Record(plans=(row,), planned_date=DAY))
    await store.close()
    text = config.path.read_text(encoding="utf-8")
    with Gateway(tmp_path, text + "enabled = false\n[gwmp]\nport = 0\n") as gateway:
        sheet = tmp_path / "rounds" / DAY / "truck-1.pdf"
        await until(sheet.exists)
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log()
    assert "Ronde van truck-1" in read(sheet.read_bytes())[0]

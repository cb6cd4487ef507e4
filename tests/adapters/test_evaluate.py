"""``stoep evaluate``: recorded files in, figures out, the same that the benches print."""

import argparse
import csv
import importlib.util
import json
import random
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stoep_gateway.keeping import tables
from stoep_hardware.labelled import bin_series
from stoep_tools.evaluate.command import main
from stoep_tools.evaluate.kinds import GROUP

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000
T0_MS = 1_767_225_600_000

CONFIG = """
site = "here"
[[container]]
id = "a"
lat = 0
lon = 0
capacity_l = 1100
depth_mm = 1500
full_mm = 500
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "00112233445566778899aabbccddeeff"
asset = "container/a"
"""


def evaluate(capsys, *arguments):
    code = main([str(it) for it in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def figures(capsys, *arguments):
    code, out, err = evaluate(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def hourly(path, count=200, name="a", heading="device,time_utc,distance_cm"):
    """Write a container that rises by a centimetre an hour, and is emptied after four days."""
    rows = (f"{name},{T0_MS + n * HOUR_MS},{149 - n % 96 * 0.9:.1f}" for n in range(count))
    path.write_text("\n".join([heading, *rows, ""]), encoding="utf-8")
    return path


def bench():
    spec = importlib.util.spec_from_file_location("bench_bins", ROOT / "bench" / "bins.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def utc(at_ms):
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


@pytest.mark.slow
def test_labelled_series_give_the_figures_of_the_bench(tmp_path, capsys):
    bins = bench()
    file, geometry, emptyings = (tmp_path / it for it in ("s.csv", "g.csv", "e.csv"))
    with file.open("w") as series, geometry.open("w") as depths, emptyings.open("w") as truth:
        print("device,time_utc,distance_mm,true_pct,good", file=series)
        print("device,depth_mm,full_cm", file=depths)
        print("device;time_utc;from_pct;to_pct", file=truth)
        for seed in range(2000, 2006):
            unit = bin_series(seed, 40, bins.FIELD)
            print(f"u{seed},{unit.depth_mm},{unit.full_mm / 10}", file=depths)
            for at_ms, before, after in unit.emptyings:
                print(f"u{seed};{utc(at_ms)};{before};{after}", file=truth)
            for it in unit.samples:
                distance = "" if it.distance_mm is None else it.distance_mm
                good = int(it.label == "good")
                print(f"u{seed},{utc(it.at_ms)},{distance},{it.true_pct},{good}", file=series)
    total = bins.run(6, 40, 2000, bins.FIELD)
    given = figures(capsys, "bins", file, "--geometry", geometry, "--emptyings", emptyings)["all"]
    scores = given["scores"]
    assert scores["mae_pp"] == round(total.mae(), 3)
    assert scores["raw_mae_pp"] == round(total.raw_mae(), 3)
    assert scores["false_reject_pct"] == round(total.false_reject_pct(), 3)
    assert scores["emptying_recall"] == round(total.recall(), 4)
    assert scores["emptying_precision"] == round(total.precision(), 4)
    assert scores["emptyings"] == total.emptyings > 10
    assert given["skipped"] == {}


def test_a_series_for_people(tmp_path, capsys):
    code, out, err = evaluate(capsys, "bins", hourly(tmp_path / "s.csv"), "--depth-cm", "150")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "a: 2026-01-01T00:00Z to 2026-01-09T07:00Z"
    assert lines[1] == "  readings    200, one every 60 min"
    assert lines[2].startswith("  quality     4: 19")
    (emptied,) = (it for it in lines if it.startswith("  emptied     2 x; "))
    assert "2026-01-05T00:00Z 58→1 %" in emptied
    assert "all: 1 device" in lines


def test_every_reading_is_written_as_it_was_judged(tmp_path, capsys):
    out = tmp_path / "judged.csv"
    file = hourly(tmp_path / "s.csv")
    arguments = ("bins", file, "--depth-cm", "150", "--full-cm", "50", "--out", out)
    assert evaluate(capsys, *arguments)[0] == 0
    with out.open(newline="") as judged:
        rows = list(csv.DictReader(judged))
    assert len(rows) == 200
    assert rows[0] == {
        "device": "a",
        "time_utc": "2026-01-01T00:00:00.000Z",
        "distance_mm": "1490",
        "raw_fill_pct": "1.0",
        "fill_pct": "1.0",
        "quality": "4",
        "reason": "",
        "emptied_utc": "",
    }
    assert rows[96]["reason"] == "sudden_fall"
    assert rows[97]["emptied_utc"] == "2026-01-05T00:00:00.000Z"
    assert not list(tmp_path.glob("*.partial"))
    code, _, err = evaluate(capsys, *arguments)
    assert code == 2
    assert "--force replaces it" in err
    assert evaluate(capsys, *arguments, "--force")[0] == 0


@pytest.mark.parametrize("name", ["a", "container/a", "70b3d57ed0000001"])
def test_depths_come_from_a_configuration(name, tmp_path, capsys):
    config = tmp_path / "stoep.toml"
    config.write_text(CONFIG)
    given = figures(capsys, "bins", hourly(tmp_path / "s.csv", name=name), "--config", config)
    assert (given["devices"][name]["depth_mm"], given["devices"][name]["full_mm"]) == (1500, 500)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), 'how deep "a" is is not known: say --depth-cm'),
        (("--depth-cm", "30", "--full-cm", "40"), "full is nearer to the sensor"),
        (("--depth-cm", "nan"), "a depth of nan cm"),
        (("--depth-cm", "inf"), "a depth of inf cm"),
        (("--config", "none.toml"), "none.toml"),
        (("--geometry", "none.csv"), "none.csv: cannot be read: No such file"),
        (("--geometry", "s.csv"), "s.csv:2: has no depth_cm or depth_mm"),
        (("--depth-cm", "100", "--emptyings", "s.csv", "--out", "no/o.csv"), "cannot be written"),
    ],
    ids=range(8),
)
def test_what_is_missing_is_said_with_its_remedy(arguments, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hourly(tmp_path / "s.csv")
    code, out, err = evaluate(capsys, "bins", "s.csv", *arguments)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; the first line names the columns"),
        ("device,time_utc,distance_cm\n", "has no rows below its heading"),
        ("device,time_utc,distance_cm\na,never,1\n", "no row can be used, for what is said above"),
        ("device,time_utc\na,2026-01-01\n", "no column distance_cm or distance_mm"),
        ("time_utc,distance_cm,distance_mm\n", "both distance_mm and distance_cm"),
        ("device,distance_cm\n", 'no column "time_utc"'),
    ],
)
def test_a_file_with_nothing_to_use_is_an_error(text, says, tmp_path, capsys):
    file = tmp_path / "s.csv"
    file.write_text(text)
    code, out, err = evaluate(capsys, "bins", file, "--depth-cm", "100")
    assert (code, out) == (2, "")
    assert says in err
    assert str(file) in err


def test_bad_rows_are_told_with_their_lines_skipped_and_counted(tmp_path, capsys):
    file = tmp_path / "s.csv"
    rows = [
        "device;time;distance_cm;temperature_c;note",
        "a;2026-01-01T00:00Z;149,5;12,5;x",
        "a;2026-01-01T01:00Z;no;12;x",  # 3
        "a;2026-01-01T02:00Z;148;12;x",
        "a;2026-01-01T01:30Z;148;12;x",  # 5: time backwards
        "a;2026-01-01T02:00Z;148;12;x",  # 6: twice
        "b;2026-01-01T00:00Z;148;12;x",  # another device has its own time
        "a;2026-01-01T03:00Z;147;12",  # 8
        "a;2026-01-01T04:00Z;147;900;x",  # 9
        "a;2026-01-01T05:00Z;99999999;12;x",  # 10
        "a;2026-01-01T06:00Z;;;x",
    ]
    file.write_text("\ufeff" + "\r\n".join(rows), encoding="utf-8")
    code, out, err = evaluate(capsys, "bins", file, "--depth-cm", "150", "--json")
    assert code == 0
    told = [line.removeprefix(f"{file}:") for line in err.splitlines()]
    assert [line.split(": ")[0] for line in told] == ["1", "3", "5", "6", "8", "9", "10"]
    assert told[0] == "1: not used: note"
    assert "not later than the row before, of 2026-01-01T02:00:00.000Z" in told[2]
    given = json.loads(out)
    assert given["all"]["skipped"] == {
        "time backwards": 2,
        "impossible": 2,
        "not a number": 1,
        "wrong number of values": 1,
    }
    assert len(given["skipped"]) == 6
    assert given["all"]["readings"] == 4
    assert given["devices"]["a"]["reasons"] == {"no_echo": 1}


def test_many_bad_rows_are_counted_and_the_first_are_told(tmp_path, capsys):
    file = hourly(tmp_path / "s.csv")
    with file.open("a") as more:
        more.write("nonsense\n" * 500)
    code, out, err = evaluate(capsys, "bins", file, "--depth-cm", "150")
    assert code == 0
    assert len(err.splitlines()) == 21
    assert "skipped     wrong number of values: 500" in out


def test_a_spreadsheet_s_utf_16_is_read(tmp_path, capsys):
    file = hourly(tmp_path / "s.csv")
    file.write_text(file.read_text().replace(",", "\t"), encoding="utf-16")
    assert figures(capsys, "bins", file, "--depth-cm", "150")["all"]["readings"] == 200


def test_a_file_without_devices_is_one(tmp_path, capsys):
    file = tmp_path / "s.csv"
    file.write_text("time,distance_mm\n2026-01-01,1000\n2026-01-02,900\n")
    assert list(figures(capsys, "bins", file, "--depth-cm", "150")["devices"]) == ["all"]


def test_the_gateway_s_own_export_is_read_as_it_is(tmp_path, capsys):
    columns = [it.name for it in tables.COLUMNS["readings"]]
    cells = dict.fromkeys(columns, "")
    cells |= {"dev_eui": "70b3d57ed0000009", "asset": "container/a", "temperature_c": "21"}
    file, config = tmp_path / "s.csv", tmp_path / "stoep.toml"
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        for n in range(48):
            reading = {"time_utc": utc(T0_MS + n * HOUR_MS), "distance_mm": 1400 - n}
            writer.writerow(cells | reading)
    config.write_text(CONFIG)
    given = figures(capsys, "bins", file, "--config", config)
    assert given["devices"]["container/a"]["readings"] == 48
    assert given["all"]["skipped"] == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_said(tmp_path, capsys):
    (tmp_path / "o.csv.partial").symlink_to("/dev/full")
    file, out = hourly(tmp_path / "s.csv"), tmp_path / "o.csv"
    code, said, err = evaluate(capsys, "bins", file, "--depth-cm", "150", "--out", out)
    assert (code, said) == (2, "")
    assert "No space left on device" in err
    assert not out.exists()


def test_standard_input(tmp_path):
    file = hourly(tmp_path / "s.csv")
    command = [sys.executable, "-m", "stoep_tools.cli", "evaluate", "bins", "-", "--depth-cm=150"]
    run = subprocess.run(
        command, input=file.read_bytes(), capture_output=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert b"all: 1 device" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "kinds: bays, bins"),
        (["--help"], 0, "kinds: bays, bins"),
        (["bin"], 2, "no kind 'bin'; there are: bays, bins"),
    ],
)
def test_the_kinds_are_named(arguments, code, says, capsys):
    done, out, err = evaluate(capsys, *arguments)
    assert done == code
    assert says in out + err


# Bays


def street(path, count=400, unit=1.0, seed=1, every_s=60, jitter=0.2):
    """Write a bay with its truth: an empty hour, then cars that come and go."""
    source = random.Random(seed)
    rows = ["device,time_utc,x,y,z,occupied"]
    occupied, car = False, (0.0, 0.0, 0.0)
    for n in range(count):
        if n > 60 and n % 40 == 0:
            occupied = not occupied
            car = (18.0, -14.0, 25.0) if occupied else (0.0, 0.0, 0.0)
        field = [
            (base + more + source.gauss(0, jitter)) * unit
            for base, more in zip((20.5, -2.5, 25.5), car, strict=True)
        ]
        cells = ",".join(f"{it:.3f}" for it in field)
        rows.append(f"p,{T0_MS + n * every_s * 1000},{cells},{int(occupied)}")
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize(
    ("unit", "factor"), [("ut", 1.0), ("nt", 1000.0), ("mgauss", 10.0), ("counts", 68.42)]
)
def test_cars_are_told_in_any_unit(unit, factor, tmp_path, capsys):
    given = figures(capsys, "bays", street(tmp_path / "b.csv", unit=factor), "--unit", unit)
    scores = given["all"]["scores"]
    assert scores["balanced_accuracy"] > 0.95
    assert (scores["changes"], scores["changes_found"], scores["changes_false"]) == (8, 8, 0)
    told = given["devices"]["p"]["changes"]
    assert [it["state"] for it in told] == ["occupied", "free"] * 4


def test_single_measurements_make_looks(tmp_path, capsys):
    file = street(tmp_path / "b.csv", count=2000, every_s=0.1, jitter=0.05)
    out = tmp_path / "o.csv"
    given = figures(capsys, "bays", file, "--fields", "6", "--out", out)
    device = given["devices"]["p"]
    assert device["reasons"]["gathering"] > 1500
    assert device["scores"]["changes_found"] > 40
    with out.open(newline="") as judged:
        rows = list(csv.DictReader(judged))
    assert rows[5]["reason"] == ""
    assert rows[0]["x_counts"].lstrip("-").isdigit()
    assert {row["state"] for row in rows} >= {"free", "occupied"}


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ("time,x,y\n1767225600,1,2\n", (), 'has no column "z"'),
        ("time,x,y,z\n1767225600,1,2,\n", (), "has no z"),
        ("time,x,y,z\n1767225600,1,2,1e9\n", (), "no magnet is as strong as z = 1e+09; see --unit"),
        ("time,x,y,z\n1767225600,1,2,3\n", ("--threshold-ut", "0"), "--threshold-ut is from"),
        ("time,x,y,z\n1767225600,1,2,3\n", ("--fields", "0"), "--fields is from"),
        ("time,x,y,z\n1767225600,1,2,3\n", ("--counts-per-ut", "nan"), "--counts-per-ut is"),
    ],
)
def test_a_field_that_cannot_be_used_is_said(text, arguments, says, tmp_path, capsys):
    file = tmp_path / "b.csv"
    file.write_text(text)
    code, _, err = evaluate(capsys, "bays", file, *arguments)
    assert code == 2
    assert says in err


# Anything

CELLS = st.sampled_from(
    [
        "",
        "a",
        "b",
        "0",
        "1",
        "-1",
        "1e30",
        "12,5",
        "2026-01-01",
        "2026-01-02T00:00Z",
        '"',
        "\0",
        "é",
    ]
) | st.text(max_size=6)
ROWS = st.lists(st.lists(CELLS, max_size=8).map(",".join), max_size=12).map("\n".join)
HEADINGS = st.sampled_from(
    [
        "",
        "device,time_utc,distance_cm,true_pct,emptied,good\n",
        "time;distance_mm;true_distance_mm\n",
        "device,time,x,y,z,occupied\n",
        "x,y\n",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(HEADINGS, ROWS | st.binary(max_size=200), st.sampled_from(["bins", "bays"]))
def test_any_file_is_judged_or_refused(tmp_path, capsys, heading, rows, kind):
    file = tmp_path / "any.csv"
    data = rows if isinstance(rows, bytes) else rows.encode("utf-8", "surrogatepass")
    file.write_bytes(heading.encode() + data)
    depth = ["--depth-cm", "150"] if kind == "bins" else []
    code, out, err = evaluate(capsys, kind, file, *depth)
    assert code in (0, 2)
    assert (out != "") == (code == 0)
    assert code == 0 or err


PAGE = "".join(
    (ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("sensing.md", "forecast.md")
)


@pytest.mark.parametrize("kind", ["bins", "bays", "forecast"])
def test_the_page_shows_what_the_command_says(kind, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    block = re.search(rf"\$ stoep (evaluate {kind} docs/.*)\n([^`]*)```", PAGE)
    code, out, _ = evaluate(capsys, *shlex.split(block[1])[1:])
    assert code == 0
    said, shown = (text.split("\n\n")[0].splitlines() for text in (out, block[2]))
    # Figures are those of the filter when the page was written; what they are of has to be right.
    assert [line[:14] for line in said[1:]] == [line[:14] for line in shown[1:]]
    assert said[:2] == shown[:2]


def test_the_page_names_every_column_and_option():
    for entry in entry_points(group=GROUP):
        kind = entry.load()()
        parser = argparse.ArgumentParser()
        kind.add_options(parser)
        options = [it for action in parser._actions for it in action.option_strings]
        for name in [*(f"--{it}" for it in kind.sides), *kind.columns, *options]:
            stem = name.removesuffix("_mm")
            assert name in ("-h", "--help") or stem in PAGE, name


def test_a_kind_has_all_that_the_command_asks_of_it():
    kinds = {entry.name: entry.load()() for entry in entry_points(group=GROUP)}
    assert set(kinds) == {"bays", "bins", "flaps", "forecast"}
    for kind in kinds.values():
        assert set(kind.columns.values()) <= {"text", "number", "flag", "time"}
        assert kind.description
        assert kind.out
        assert kind.course_top > 0

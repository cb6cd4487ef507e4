"""``stoep plan show``: the round for people and for machines, and mistakes in what it reads."""

import errno
import json
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import planned
import pytest
from stoep_gateway.assets import states
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.planning import cli, decide_cli
from stoep_gateway.planning.text import for_people
from street import START_MS, example

EXAMPLE = example().path


def show(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = cli.main(["show", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def levels(folder: Path, **containers: Any) -> Path:
    path = folder / "levels.json"
    path.write_text(json.dumps({"containers": containers}), encoding="utf-8")
    return path


def test_a_round_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = levels(tmp_path, **{"market-organic-1": {"fill_pct": 85, "rate_pct_per_day": 48}})
    at = "2026-10-20T06:00+02:00"
    code, out, err = show(capsys, file, "--config", EXAMPLE, "--at", at)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        (
            "2026-10-20, truck-1: 1 container, 5950 l, unloaded 1 x, 37.6 km, 1.6 h, 137.43 €"
            " (estimated distances)"
        ),
        "     at         km   fill  load l  stop",
        (
            "  1  06:23    11.9   85 %    5950"
            "  Market, organic 1: would overflow (100 % by the next round)"
        ),
        "  2  06:53    10.8              0  dump: end of the round",
        "     07:38    14.9              0  back",
        "",
        "Not today:",
        "  market-paper-1: has sent no level yet",
    ]


def test_nothing_to_do_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = levels(tmp_path, **{"market-paper-1": {"fill_pct": 20.0, "age_h": 2}})
    code, out, _ = show(capsys, file, "--config", EXAMPLE, "--at", "2026-10-20T04:00Z")
    assert code == 0
    assert out.splitlines() == [
        "2026-10-20, truck-1: nothing to do: no container is worth the way",
        "",
        "Not today:",
        "  market-organic-1: has sent no level yet",
        "  market-paper-1: too empty (20 %, overflows by the next round: < 1 %)",
    ]


def test_why_distances_are_estimated_after_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    config = tmp_path / "stoep.toml"
    config.write_text(text.replace("# roads = ", "roads = "), encoding="utf-8")
    arguments = levels(tmp_path, **{"market-paper-1": {"fill_pct": 99}}), "--config", config
    note = f"distances are estimated: town.osm.pbf: cannot be read: {os.strerror(errno.ENOENT)}"
    _, out, _ = show(capsys, *arguments)
    assert "(estimated distances)" in out
    assert out.endswith(f"\nOf the distances:\n  {note}\n")
    _, out, _ = show(capsys, *arguments, "--json")
    summary = json.loads(out.splitlines()[-1])
    assert (summary["distance_source"], summary["notes"]) == ("estimate", [note])


def test_a_round_as_the_message_it_would_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = levels(tmp_path, **{"market-paper-1": {"fill_pct": 99}})
    code, out, _ = show(capsys, file, "--config", EXAMPLE, "--at", "2026-10-20T04:00", "--json")
    assert code == 0
    message, summary = map(json.loads, out.splitlines())
    assert summary["trucks"] == {"truck-1": "planned"}
    assert message["date"] == "2026-10-20"
    assert [stop["id"] for stop in message["stops"]] == ["market-paper-1", "dump"]


def test_from_the_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stoep.toml").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = ("--config", tmp_path / "stoep.toml", "--at", "2026-10-20T04:00Z")
    code, _, err = show(capsys, *arguments)
    assert code == 1
    assert err == (
        f"{tmp_path}/stoep.db: no such database; has the gateway run with this configuration?\n"
    )
    with closing(sqlite3.connect(tmp_path / "stoep.db")) as connection:
        connection.execute("CREATE TABLE latest (asset TEXT PRIMARY KEY, state TEXT NOT NULL)")
        state = ContainerState(4, START_MS, track=FillTrack(START_MS, 91.0, START_MS, 91.0))
        rows = [
            ("container/market-paper-1", states.dumps(state)),
            ("bay/high-street-1", '{"state":1,"since_ms":1,"change_count":2,"reported_ms":3}'),
        ]
        connection.executemany("INSERT INTO latest VALUES (?, ?)", rows)
        connection.commit()
        code, out, _ = show(capsys, *arguments)
        assert code == 0
        assert "91 %" in out
        connection.execute("UPDATE latest SET state = '[]'")
        connection.commit()
    code, _, err = show(capsys, *arguments)
    assert code == 1
    assert err.startswith(f"{tmp_path}/stoep.db: the state of ")
    (tmp_path / "stoep.db").write_bytes(b"no database at all" * 100)
    code, _, err = show(capsys, *arguments)
    assert code == 1
    assert err.startswith(f"{tmp_path}/stoep.db: file is not a database; restore a copy")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "JSON: Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ("{}", "containers: Field required"),
        (
            '{"containers": {"market-organic-1": {"fill_pct": 121}}}',
            ("containers.market-organic-1.fill_pct: Input should be less than or equal to 120"),
        ),
        (
            '{"containers": {"market-organic-l": {"fill_pct": 1}}}',
            '"market-organic-l" is not a container (did you mean "market-organic-1"?)',
        ),
    ],
)
def test_mistakes_in_the_levels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, expected: str
) -> None:
    file = tmp_path / "levels.json"
    file.write_text(content, encoding="utf-8")
    code, out, err = show(capsys, file, "--config", EXAMPLE)
    assert (code, out, err) == (2, "", f"{file}: {expected}\n")


def test_mistakes_in_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stoep.toml"
    path.write_text('site = "a"\nsight = 1\n', encoding="utf-8")
    code, _, err = show(capsys, "--config", path)
    assert (code, err) == (2, f'{path}:2: unknown key "sight" (did you mean "site"?)\n')
    path.write_text('site = "a"\n', encoding="utf-8")
    code, _, err = show(capsys, "--config", path)
    assert (code, err) == (2, f"{path}: a round needs at least one [[truck]]\n")


def test_a_time_without_an_offset_is_utc_wherever_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TZ", "Europe/Amsterdam")
            time.tzset()
            assert decide_cli.utc_ms("2026-07-01T06:00") == 1_782_885_600_000
            assert decide_cli.utc_ms("2026-07-01T06:00+02:00") == 1_782_878_400_000
    finally:
        time.tzset()


def test_a_time_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(["show", "--config", str(EXAMPLE), "--at", "noon"])
    assert raised.value.code == 2
    assert "a time is written 2026-01-31T06:00Z" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["show", "--config", str(EXAMPLE), "--at", "9999-12-31T23:59Z"])
    assert "a time is of the years 2000 to 2999" in capsys.readouterr().err


def test_without_a_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = tmp_path / "nobody.sock"
    code, _, err = show(capsys, "--socket", nobody)
    said = f"{nobody}: no gateway is running there; without a gateway, say --config\n"
    assert (code, err) == (3, said)
    code, _, err = show(capsys, levels(tmp_path), "--socket", nobody)
    assert (code, err) == (1, "a round from a file of levels needs --config\n")


def test_a_round_from_recorded_levels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "levels.csv"
    rows = ["container,time_utc,fill_pct"]
    rows += [f"market-paper-1,2026-10-{day}T10:00Z,{4 * (day - 10)}" for day in range(10, 20)]
    # It falls, and later levels are of the future.
    rows += ["market-organic-1,2026-10-18T10:00Z,97", "market-organic-1,2026-10-19T10:00Z,9"]
    rows += ["market-organic-1,2026-10-21T10:00Z,99", "market-paper-1,noon,5"]
    file.write_text("\n".join(rows), encoding="utf-8")
    arguments = ("--config", EXAMPLE, "--levels", file, "--at", "2026-10-20T04:00Z")
    code, out, err = show(capsys, *arguments, "--json")
    assert (code, err) == (0, f"{file}:15: 'noon' is no time: write 2026-01-31T06:00Z; skipped\n")
    *_, summary = map(json.loads, out.splitlines())
    organic, paper = summary["skipped"]
    assert (organic["container"], paper["reason"]) == ("market-organic-1", "too_empty")
    # 36 % at noon of the day before, and about 4 points a day.
    assert 36 < paper["fill_pct"] < 41
    assert paper["data_age_h"] == 18
    assert 9 <= organic["fill_pct"] < 40
    file.write_text("container,time_utc,fill_pct\nelsewhere,2026-10-19,5\n", encoding="utf-8")
    code, out, err = show(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err == f"{file}: has levels of none of the configured containers\n"
    code, _, err = show(capsys, levels(tmp_path), *arguments)
    assert (code, err) == (1, "levels are from a FILE or from --levels, not from both\n")
    code, _, err = show(capsys, "--levels", file)
    assert (code, err) == (1, "a round from a file of levels needs --config\n")


def test_a_truck_that_broke_down_is_said_to_be_out_of_service_and_not_to_come_back() -> None:
    made = planned.plan(stops=[replace(planned.stop("a", 1), status="done")])
    out = replace(made, rounds=(replace(made.rounds[0], status="out_of_service"),))
    title, _, stop = for_people(out, example()).splitlines()
    assert title.startswith("2026-10-20, truck-1 (out of service): 1 container, ")
    assert stop.endswith("a: done")

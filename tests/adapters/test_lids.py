"""Openings of lids: a recorded series becomes what a running gateway knows, and goes on live."""

from __future__ import annotations

import base64
import csv
import itertools
import json
import random
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from stoep_gateway.assets import states
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.control_client import Client
from stoep_gateway.store.latest import read_collections
from stoep_protocol.messages import BinReport
from waiting import wait_until

ROOT = Path(__file__).parents[2]
EDINBURGH = ROOT / "tests" / "vectors" / "edinburgh" / "emptyings.csv"
EUI, KEY = "70b3d57ed0000001", "2b7e151628aed2a6abf7158809cf4f3c"
CONFIG = f"""
site = "street"
[mqtt]
port = {{port}}
[gwmp]
port = 0
[lorawan]
dedup_window_ms = 20
rx1_delay_s = 15
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[device]]
dev_eui = "{EUI}"
app_key = "{KEY}"
asset = "container/bank-1"
[[container]]
id = "bank-1"
lat = 0
lon = 0
capacity_l = 1000
level = "flaps"
[[container]]
id = "bank-2"
lat = 0
lon = 0
capacity_l = 1000
level = "flaps"
[[container]]
id = "with-sensor"
lat = 0
lon = 0
capacity_l = 1000
depth_mm = 1500
"""
LITRES = 2.5  # of one opening, in the mean


def stoep(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "stoep_tools.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done
    return done.stdout if code == 0 else done.stderr


def openings(log: Path, file: Path, capacity_l: int, heading: str = "device,time_utc") -> None:
    """Make up what was opened between the collections of a log, for what was collected."""
    source = random.Random(5)
    emptyings = defaultdict(list)
    with log.open(encoding="utf-8") as text:
        for row in csv.DictReader(text):
            at = datetime.fromisoformat(row["time_utc"])
            emptyings[row["device"]].append((at, float(row["from_pct"])))
    with file.open("w", encoding="utf-8") as text:
        print(heading, file=text)
        for device, collections in emptyings.items():
            for (since, _), (until, from_pct) in itertools.pairwise(collections):
                litres, opened = 0.0, []
                while litres < from_pct / 100 * capacity_l:
                    litres += source.expovariate(1 / LITRES)
                    opened.append(since + (until - since) * source.random())
                for at in sorted(opened):
                    print(device, at.isoformat(), sep=",", file=text)


def test_collections_of_a_city_teach_what_an_opening_brings(tmp_path: Path) -> None:
    """The collections are Edinburgh's, the openings are made up for them."""
    file = tmp_path / "flaps.csv"
    openings(EDINBURGH, file, 240)
    judged = json.loads(
        stoep("evaluate", "flaps", file, "--emptyings", EDINBURGH, "--capacity-l", 240, "--json")
    )
    assert judged["all"]["devices"] == 4
    assert judged["all"]["skipped"] == {}
    assert judged["all"]["emptied"] == 270 - 4  # no row comes after the last
    assert judged["all"]["litres_per_flap_by_kind"]["all"] == pytest.approx(LITRES, rel=0.05)
    assert judged["all"]["mae_pp"] < 8  # seventy items of 2.5 l +- 2.5 l differ by 9 points
    for device in judged["devices"].values():
        assert device["litres_per_flap"] == pytest.approx(LITRES, rel=0.15)


def test_the_page_shows_what_the_command_says() -> None:
    page = (ROOT / "docs" / "sensing.md").read_text(encoding="utf-8")
    block = re.search(r"\$ stoep (evaluate flaps docs/.*)\n([^`]*)\n```", page)
    assert block is not None
    arguments = [ROOT / it if it.startswith("docs/") else it for it in shlex.split(block[1])]
    assert stoep(*arguments).split("\n\n")[0] == block[2]


def test_what_cannot_be_is_told_with_its_line(tmp_path: Path) -> None:
    series, log = tmp_path / "flaps.csv", tmp_path / "log.csv"
    series.write_text(
        "container;time;count\na;2026-01-01;3\na;2026-01-01;2\na;2025-12-31;2\na;2026-01-02;-1\n"
        "a;2026-01-02;2,5\na;2026-01-02;\n"
    )
    log.write_text("device,time_utc,from_pct\na,2026-01-01,300\n")
    given = ("evaluate", "flaps", series, "--capacity-l", "100")
    judged = json.loads(stoep(*given, "--json"))
    assert judged["devices"]["a"]["openings"] == 5
    assert [it.split(":")[1] for it in judged["skipped"]] == ["4", "5", "6"]
    assert "log.csv:2: no container is 300 % full" in stoep(*given, "--emptyings", log, code=2)
    log.write_text("device,time_utc,from_pct,to_pct\na,2026-01-01,9,90\n")
    assert "log.csv:2: from 9 to 90 % is no" in stoep(*given, "--emptyings", log, code=2)
    log.write_text("device,time_utc,from_pct\na,2025-12-31,\na,2025-12-31,9\n")
    assert "5, emptied 2 x" in stoep(*given, "--emptyings", log)
    assert "--store needs --config" in stoep(*given, "--store", code=2)
    assert 'how large "a" is is not known' in stoep("evaluate", "flaps", series, code=2)


def test_what_was_lost_of_our_own_exports_is_made_up_for(tmp_path: Path) -> None:
    series = tmp_path / "readings.csv"
    rows = (
        ("00", "", 1019, 99),  # an earlier reading, repeated
        ("01", 5, 1020, 99),
        ("02", "", 1021, 103),
        ("03", "", 1022, 103),
        ("04", 3, 1023, 103),  # two reports did not come, and one of another kind
        ("05", 0, 0, 104),
    )
    lines = [f"a,2026-01-01T{hour}:00Z,{n},{number},{f_cnt}" for hour, n, number, f_cnt in rows]
    series.write_text("\n".join(["device,time_utc,flaps,sequence,f_cnt", *lines, ""]))
    log = tmp_path / "log.csv"
    log.write_text("device,time_utc\na,2025-12-31T23:00Z\n")
    judged = json.loads(
        stoep("evaluate", "flaps", series, "--emptyings", log, "--capacity-l", 100, "--json")
    )
    assert judged["devices"]["a"]["openings_since"] == 5 + 3 * 3


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # a port at which nobody will ever listen
        config = CONFIG.format(port=nobody.getsockname()[1])
        with Gateway(tmp_path / "gateway", config) as running:
            yield running


def stored(gateway: Gateway, name: str) -> ContainerState:
    with closing(sqlite3.connect(gateway.folder / "stoep.db")) as store:
        (row,) = store.execute("SELECT state FROM latest WHERE asset = ?", (f"container/{name}",))
    state = states.loads(f"container/{name}", row[0])
    assert isinstance(state, ContainerState)
    return state


def published(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(gateway.folder / "stoep.db")) as store:
        rows = store.execute("SELECT payload FROM outbox WHERE kind = ? ORDER BY rowid", (kind,))
        return [json.loads(payload) for (payload,) in rows]


@pytest.mark.slow
def test_what_a_series_has_taught_goes_on_live(tmp_path: Path, gateway: Gateway) -> None:
    file, log = tmp_path / "flaps.csv", tmp_path / "log.csv"
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(days=40)
    with log.open("w", encoding="utf-8") as text:
        print("device,time_utc,from_pct", file=text)
        for cycle in range(10):
            print(EUI, (begin + timedelta(days=4 * cycle)).isoformat(), "60", sep=",", file=text)
    openings(log, file, 1000)
    with file.open("a", encoding="utf-8") as text:
        for hour in range(80):  # since the last emptying
            print(EUI, (begin + timedelta(days=36, hours=hour)).isoformat(), sep=",", file=text)
    config = gateway.folder / "stoep.toml"
    said = stoep("evaluate", "flaps", file, "--emptyings", log, "--config", config, "--store")
    assert "learned" in said
    known = stored(gateway, "bank-1")
    assert (known.sequence, known.reason) == (-1, "from_flaps")
    assert known.flaps is not None
    assert known.flaps.total == 80
    assert known.track is not None
    assert known.track.fill_pct == pytest.approx(80 * LITRES / 10, rel=0.1)

    forwarder = Forwarder(bytes.fromhex("0016c001ff10a235"), gateway.port)
    forwarder.pull()
    board = Device(bytes.fromhex(EUI), bytes(8), bytes.fromhex(KEY))
    forwarder.push(rxpk(board.join_request(), tmst=10_000_000))
    board.accept(base64.b64decode(forwarder.take_downlink()["data"]))
    forwarder.push(rxpk(board.uplink(BinReport(0, None, 0, flaps=40)), tmst=20_000_000))
    wait_until(lambda: published(gateway, "container_state"), "its state")
    (state,) = published(gateway, "container_state")
    assert (state["quality"], state["reason"]) == (3, "from_flaps")
    assert state["fill_pct"] == pytest.approx(120 * LITRES / 10, rel=0.1)
    assert state["hours_to_threshold"] > 0

    said = stoep("gateway", "emptied", "bank-1", "--from-pct", "31", "--config", config)
    assert said.startswith("bank-1: emptied at ")
    (emptied,) = published(gateway, "container_emptied")
    assert (emptied["from_pct"], emptied["to_pct"]) == (31.0, 0.0)
    (row,) = read_collections(gateway.folder / "stoep.db", 0, 1 << 53)
    assert (row.container, row.source, row.from_pct, row.to_pct) == ("bank-1", "log", 31.0, 0.0)
    gateway.kill()
    gateway.start()
    after = stored(gateway, "bank-1")
    assert after.flaps is not None
    assert (after.flaps.total, after.flaps.cycles) == (0, round(known.flaps.cycles * 0.9 + 1, 3))
    forwarder.close()


@pytest.mark.slow
def test_what_cannot_be_is_refused(gateway: Gateway) -> None:
    hour_ms = 3_600_000
    now_ms = time.time_ns() // 1_000_000
    with Client(gateway.folder / "stoep.db.sock") as client:
        for asked, why in (
            ({"container": "bank-1", "at_utc_ms": now_ms + hour_ms}, "has not come yet"),
            ({"container": "bank-1", "at_utc_ms": 1.5}, "whole UTC milliseconds"),
            ({"container": "bank-1", "from_pct": 121}, "from_pct is a number from 0 to 120"),
            ({"container": "bank-1", "to_pct": True}, "to_pct is a number from 0 to 120"),
            ({"container": "bank-1", "from_pct": 9, "to_pct": 90}, "from 9 to 90 % is no emptying"),
            ({"container": "bank-2"}, "no device stands for bank-2"),
            ({"container": "with-sensor"}, "tells when it was emptied"),
            ({"container": "nowhere"}, "no container 'nowhere' is configured"),
            ({}, "no container 'None' is configured"),
        ):
            assert why in client.ask("container.emptied", **asked)["error"]
        for learned, why in (
            (None, "is an object"),
            ({"nowhere": {}}, "no container 'nowhere'"),
            ({"bank-1": []}, "is an object"),
            ({"bank-1": {"cycles": -1}}, "cycles is a number from 0"),
            ({"bank-1": {"cycles": 1}}, "openings is a number from 0"),
            (
                {"bank-1": {"cycles": 1, "openings": 0, "points": 1, "squares": 1}},
                "has openings and points",
            ),
        ):
            assert why in client.ask("container.learned", containers=learned)["error"]
        asked_ms = time.time_ns() // 1_000_000
        fast = client.ask("container.emptied", container="bank-1", at_utc_ms=asked_ms + 50_000)
        assert datetime.fromisoformat(fast["emptied_utc"]).timestamp() * 1000 < asked_ms + 40_000
        again = client.ask("container.emptied", container="bank-1", at_utc_ms=now_ms - hour_ms)
        assert "was emptied at" in again["error"]

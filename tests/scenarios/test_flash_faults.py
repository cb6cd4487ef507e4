"""What goes wrong at the bench is said, with what finishes the board; the ledger stays right."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench_port import BenchPort
from board_on_pty import BoardOnPty
from micropython_image import firmware
from stoep_hardware import board_data
from stoep_tools.flash import images, ports, steps
from stoep_tools.flash.errors import BOARD_FAILED, GATEWAY_REFUSED, FlashError
from stoep_tools.flash.ledger import Ledger
from stoep_tools.flash.together import at_once

MAC = "34b7da0c1d2e"
BOARD = board_data.load("heltec_wifi_lora_32_v3")
NO_GATEWAY = [sys.executable, "-m", "stoep_tools.cli"]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "boards.db") as made:
        yield made


def order(folder: Path, **more: Any) -> steps.Order:
    path = folder / "ESP32_GENERIC_S3.bin"
    path.write_bytes(firmware())
    said = {"self_test": False, **more}
    return steps.Order(BOARD, "bin", "EU868", images.load(path, BOARD), **said)


def flash(bench: BenchPort, ledger: Ledger, wanted: steps.Order) -> steps.Outcome:
    return steps.flash(bench.port, wanted, ledger, lambda *_: None, lambda *_: None)


def states(ledger: Ledger) -> list[str]:
    return [entry.state for entry in ledger.entries()]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"chip": "esp32"}, "esp32"), ({"megabytes": 4}, "4 MB of flash")],
    ids=["chip", "flash"],
)
def test_another_board_is_not_touched(
    options: dict[str, Any], says: str, ledger: Ledger, tmp_path: Path
) -> None:
    with BenchPort(tmp_path, mac=MAC, **options) as bench:
        outcome = flash(bench, ledger, order(tmp_path))
        assert outcome.problem is not None
        assert says in outcome.problem.message
        assert "--board" in outcome.problem.remedy
        assert "not touched" in outcome.left
        assert states(ledger) == []
        assert set(bench.flash()) == {0xFF}


def test_flash_that_does_not_hold_is_half_done_and_then_finished(
    ledger: Ledger, tmp_path: Path
) -> None:
    with BenchPort(tmp_path, mac=MAC) as bench:
        bench.loader.bad_cell(0x200100)
        outcome = flash(bench, ledger, order(tmp_path))
        assert outcome.problem is not None
        assert outcome.problem.exit_code == BOARD_FAILED
        assert "not what was written" in outcome.problem.message
        assert "half done" in outcome.left
        assert f"--port {bench.port}" in outcome.left
        assert states(ledger) == ["issued"]
        bench.loader.sound()
        done = flash(bench, ledger, order(tmp_path))
        assert (done.problem, done.again) == (None, True)
        assert states(ledger) == ["verified"]


def test_one_port_is_one_runs(ledger: Ledger, tmp_path: Path) -> None:
    with BenchPort(tmp_path, mac=MAC) as bench, ports.lock(bench.port):
        outcome = flash(bench, ledger, order(tmp_path))
        assert outcome.problem is not None
        assert "another run of stoep flash" in outcome.problem.message
        assert "did not touch" in outcome.left
        assert bench.said == {"bootloader": 0, "prompt": 0}
        assert states(ledger) == []


def test_a_ledger_that_cannot_be_written_leaves_the_board_alone(
    ledger: Ledger, tmp_path: Path
) -> None:
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk: SQLITE_FULL
    with BenchPort(tmp_path, mac=MAC) as bench:
        wanted = order(tmp_path, name="n" * 20_000)
        outcome = flash(bench, ledger, wanted)
        assert outcome.problem is not None
        assert "make room" in outcome.problem.remedy
        assert "not touched" in outcome.left
        assert set(bench.flash()) == {0xFF}
        assert states(ledger) == []
        ledger._connection.execute("PRAGMA max_page_count = 1000000")
        assert flash(bench, ledger, wanted).problem is None
        assert states(ledger) == ["verified"]


@pytest.mark.parametrize(
    ("gateway", "says"),
    [
        ([*NO_GATEWAY], "no gateway answers"),
        (["/nonexistent/ssh", "PI", "stoep"], "cannot be run"),
        ([sys.executable, "-c", "import sys; sys.exit('no')"], "the gateway refused"),
    ],
    ids=["away", "no ssh", "refuses"],
)
def test_a_gateway_that_does_not_take_it_is_told_later(
    gateway: Sequence[str], says: str, ledger: Ledger, tmp_path: Path
) -> None:
    away = ["--socket", str(tmp_path / "nobody.sock")]
    with BenchPort(tmp_path, mac=MAC) as bench:
        outcome = flash(bench, ledger, order(tmp_path, gateway=gateway, gateway_options=away))
        assert outcome.problem is not None
        assert outcome.problem.exit_code == GATEWAY_REFUSED
        assert says in outcome.problem.message
        assert outcome.entry is not None
        dev_eui = outcome.entry.identity.dev_eui.hex()
        assert f"stoep flash register {dev_eui}" in outcome.left
        assert states(ledger) == ["verified"]


@pytest.mark.parametrize("says", [b"\xff\x00\x13" * 50, b"\r\nbrownout detector\r\n"])
def test_a_board_that_says_something_else_is_flashed_again(
    says: bytes, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "Repl", partial(steps.Repl, wait_s=2))
    with BenchPort(tmp_path, mac=MAC, boot=lambda _: BoardOnPty(says=says)) as bench:
        outcome = flash(bench, ledger, order(tmp_path, self_test=True))
        assert outcome.problem is not None
        assert "no MicroPython answers" in outcome.problem.message
        assert "the board is half done" in outcome.left
        assert bench.port in outcome.left
        assert states(ledger) == ["verified"]


def test_of_three_boards_at_once_one_fails_and_two_are_done(ledger: Ledger, tmp_path: Path) -> None:
    wanted = order(tmp_path)
    with (
        BenchPort(tmp_path, mac="34b7da0c1d01", name="a") as a,
        BenchPort(tmp_path, mac="34b7da0c1d02", name="b") as b,
        BenchPort(tmp_path, mac="34b7da0c1d03", name="c") as c,
    ):
        b.pull_at["bootloader"] = 60_000
        benches = {"a": a, "b": b, "c": c}
        done = at_once(
            {name: lambda one=one: flash(one, ledger, wanted) for name, one in benches.items()}
        )
        outcomes = {}
        for name, outcome in done.items():
            assert not isinstance(outcome, FlashError)
            outcomes[name] = outcome
        assert [name for name, one in outcomes.items() if one.problem is None] == ["a", "c"]
        assert outcomes["b"].problem is not None
        assert outcomes["b"].problem.exit_code == BOARD_FAILED
        assert sorted(states(ledger)) == ["issued", "verified", "verified"]
        assert len({entry.identity.app_key for entry in ledger.entries()}) == 3
        b.plug()
        assert flash(b, ledger, wanted).problem is None
        assert states(ledger) == ["verified"] * 3

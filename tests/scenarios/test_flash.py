"""From an empty board to its first reading at a broker: real esptool and MicroPython, one port."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench_port import BenchPort
from bench_street import BenchStreet
from broker import Mosquitto, Subscriber
from micropython_image import firmware
from sim_board_on_pty import SimBoardOnPty
from stoep_hardware import board_data, micropython_runtime
from stoep_hardware.engine import US_PER_S
from stoep_tools.flash import filesystem, images, steps
from stoep_tools.flash.ledger import Ledger

pytestmark = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)

MAC = "34b7da0c1d2e"
BOARD = board_data.load("heltec_wifi_lora_32_v3")
STOEP = [sys.executable, "-m", "stoep_tools.cli"]
HOUR_US = 3_600 * US_PER_S
HOLD_MS = 60_000  # in which a board can be interrupted, of real time: this machine may stand still
MOST_S = 240


def test_an_empty_board_becomes_a_sensor(broker: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "ESP32_GENERIC_S3.bin"
    path.write_bytes(firmware())
    said: list[tuple[str, str]] = []
    with (
        Subscriber(broker, "stoep/v1/test/container/#") as subscriber,
        BenchStreet(tmp_path / "gateway", broker.address, bytes.fromhex(MAC)) as street,
        BenchPort(
            tmp_path,
            mac=MAC,
            boot=lambda image: SimBoardOnPty(image, street.board, street.step, hold_ms=HOLD_MS),
        ) as bench,
        Ledger(tmp_path / "bench" / "boards.db") as ledger,
    ):
        order = steps.Order(
            BOARD,
            "bin",
            "EU868",
            images.load(path, BOARD),
            asset="container/market-1",
            gateway=STOEP,
            gateway_options=street.options,
            labels=tmp_path / "labels",
        )

        def tell(step: str, what: str) -> None:
            said.append((step, what))
            if bench.board is not None and "sleep current" in what:  # the last of its tests
                bench.board.hold_ms = 0

        outcome = steps.flash(bench.port, order, ledger, tell, lambda *_: None)
        assert outcome.problem is None, said
        assert [check.name for check in outcome.checks if check.passed is False] == []
        entry = ledger.entries()[0]
        assert entry.state == "labelled"
        assert set(entry.times) == {"issued", "written", "verified", "registered", "labelled"}
        assert bench.board is not None
        bench.board.wait_asleep()
        bench.board.run_until(2 * HOUR_US)
        subscriber.wait_for(lambda: subscriber.of("/market-1/state"))
        state = json.loads(subscriber.of("/market-1/state")[0][1])
        assert state["distance_mm"] == pytest.approx(800, abs=10)

        bench.board.hold_ms = HOLD_MS
        # Again: it keeps its identity, and the same gateway takes its next DevNonce.
        again = steps.flash(bench.port, order, ledger, lambda *_: None, lambda *_: None)
        assert (again.problem, again.again) == (None, True)
        assert again.entry is not None
        assert again.entry.identity == entry.identity
        assert again.entry.flashed == 2
        assert again.entry.dev_nonce == 1
        (join,) = [check for check in again.checks if check.name == "join"]
        assert join.passed
        assert join.value.endswith("DevNonce 1")


def _command(bench: BenchPort, image: Path, folder: Path, *more: str) -> list[str]:
    words = [*STOEP, "flash", "--yes", "--json", "--port", bench.port, "--board", BOARD.name]
    words += ["--kind", "bin", "--region", "EU868", "--firmware", str(image), "--trust"]
    return [*words, "--ledger", str(folder / "boards.db"), "--no-gateway", *more]


def _environment(folder: Path) -> dict[str, str]:
    places = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR")
    for place in places:
        (folder / place).mkdir(exist_ok=True)
    return {**os.environ, **{place: str(folder / place) for place in places}}


def _arguments() -> bytes:
    """Return the arguments of every process on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return b"".join(found)


def _written(folder: Path) -> bytes:
    """Return all that lies outside the ledger and the board's flash, names and all."""
    octets = []
    for path in sorted(folder.rglob("*")):
        octets.append(str(path).encode())
        if path.is_file() and path.suffix not in (".flash", ".vfs", ".db", ".key"):
            octets.append(path.read_bytes())
    return b"".join(octets)


def _assert_no_key(octets: bytes, key: bytes) -> None:
    for form in (key, base64.b64encode(key).rstrip(b"="), repr(key).encode()):
        assert form not in octets
    assert key.hex().encode() not in octets.lower()


# What the computer has said when something happens: to the loader it says a few octets to find
# out the chip and its flash, then what is written; then comes the self-test.
MOMENTS = {"finding": ("bootloader", 200), "writing": ("bootloader", 60_000)}
# In `make test-system` also at every so many octets of the writing.
STRIDE = int(os.environ.get("STOEP_FLASH_STRIDE", "0"))
if STRIDE:
    MOMENTS |= {f"writing {at}": ("bootloader", at) for at in range(60_000, 90_000, STRIDE)}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("what", ["SIGINT", "SIGKILL", "cable"])
def test_a_run_that_is_cut_short_is_finished_by_the_next(
    what: str, moment: str, tmp_path: Path
) -> None:
    image = tmp_path / "ESP32_GENERIC_S3.bin"
    image.write_bytes(firmware())
    environment = _environment(tmp_path)
    mode, octets = MOMENTS[moment]
    seen: list[bytes] = []
    with BenchPort(tmp_path, mac=MAC) as bench:
        command = _command(bench, image, tmp_path, "--no-self-test", "--no-labels")
        with subprocess.Popen(
            ["env", "--default-signal=INT", *command],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as run:

            def happen() -> None:
                seen.append(_arguments())
                if what != "cable":
                    run.send_signal(getattr(signal, what))

            bench.on[mode] = (octets, happen)
            if what == "cable":
                bench.pull_at[mode] = octets
            said, _ = run.communicate(timeout=MOST_S)
        codes = {"SIGINT": (130,), "SIGKILL": (-9,), "cable": (3, 4)}
        assert run.returncode in codes[what], said
        with Ledger(tmp_path / "boards.db") as ledger:
            states = [entry.state for entry in ledger.entries()]
            assert states == ([] if moment == "finding" else ["issued"])
        if moment == "finding":
            assert set(bench.flash()) == {0xFF}  # untouched
        if what == "cable":
            (board,) = json.loads(said)["boards"]
            left = "not touched" if moment == "finding" else "half done"
            assert left in board["left"], board
            bench.plug()
        bench.on.clear()
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, timeout=MOST_S, check=False
        )
        assert done.returncode == 0, done
        seen += [said, done.stdout, done.stderr, _written(tmp_path)]
        with Ledger(tmp_path / "boards.db") as ledger:
            (entry,) = ledger.entries()
            assert entry.state == "verified"
            assert entry.flashed == (1 if moment == "finding" else 2)
        flashed = filesystem.read(bench.flash()[0x200000:][:0x600000])
        key = entry.identity.app_key
        assert json.loads(flashed["config.json"])["app_key"] == key.hex()
        assert bench.flash().startswith(image.read_bytes())
        _assert_no_key(b"".join(seen), key)

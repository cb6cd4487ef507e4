"""Every fault of a bench at every step: the ledger is right, and what is said finishes the board.

The whole command, with the real esptool and MicroPython, a gateway's program and a network in reach
of the board. Each run is stopped before a step (support/stepped_flash.py), something happens, and
what the command then says is done to the letter. No key is outside the ledger, gateway and board.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import stepped_flash
from bench_port import BenchPort
from bench_street import World
from dual_device import new_key
from firmware_place import Far
from micropython_image import firmware
from sim_board_on_pty import SimBoardOnPty
from stoep_hardware import board_data, micropython_runtime
from stoep_tools.flash import filesystem
from stoep_tools.flash.ledger import Entry, Ledger
from waiting import wait_until

pytestmark = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)

MAC = "34b7da0c1d2e"
DEV_EUI = "34b7dafffe0c1d2e"
BOARD = board_data.load("heltec_wifi_lora_32_v3")
MOST_S = 240
HOLD_MS = 30_000  # in which it can be interrupted, of real time: this machine may stand still
DONE, USAGE, NO_BOARD, FAILED, REFUSED, INTERRUPTED = 0, 2, 3, 4, 5, 130

# `stoep` as a technician has it, and as the gateway's machine has it: what `stoep device import`
# reads is kept, refused (and said aloud, as no gateway should) or never answered.
PROGRAM = """\
#!{python}
import os, sys, time
if sys.argv[1] != "device":
    os.execv("{python}", ["{python}", "-m", "stoep_tools.cli", *sys.argv[1:]])
mode = open("{folder}/mode").read()
said = sys.stdin.read()
if mode == "hangs":
    open("{folder}/hangs-%d" % os.getpid(), "w").close()
    time.sleep(3600)
if mode == "refuses":
    sys.exit("no: " + said)
with open("{folder}/devices", "a") as file:
    file.write(said)
print('{{"added": 1, "changed": 0, "unchanged": 0}}')
"""


class Network(Far):  # type: ignore[misc]
    """Knows the devices that the gateway's program was told of."""

    def __init__(self, world: Any, folder: Path) -> None:
        nobody = {"app_key": "00" * 16, "dev_eui": DEV_EUI, "join_eui": "00" * 8}
        super().__init__(world.engine, world.air, nobody)
        self._folder = folder

    def on_frame(self, frame: Any, intact: bool, *heard: Any) -> None:
        keys = keys_in(self._folder / "devices", DEV_EUI)  # another board may be there, too
        if keys and intact:  # a board that is reset in the middle sends half a frame
            self.network.app_key = new_key(keys[-1])
            super().on_frame(frame, intact, *heard)


def keys_in(path: Path, dev_eui: str = r"\w{16}") -> list[bytes]:
    text = path.read_text() if path.exists() else ""
    device = rf'dev_eui: "{dev_eui}"\n.*\n +app_key: "(\w{{32}})"'
    return [bytes.fromhex(key) for key in re.findall(device, text)]


class Gate:
    """Lets the world go on, or not: a board whose air stands still says nothing."""

    def __init__(self, step: Callable[[int], None]) -> None:
        self._step = step
        self.is_open = threading.Event()
        self.is_open.set()

    def __call__(self, until_us: int) -> None:
        assert self.is_open.wait(MOST_S)
        self._step(until_us)


class Bench:
    """A technician's table: one board, one gateway; what was said is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.gateway = folder / "gateway"
        for one in (self.home, self.gateway, folder / "bin", folder / "ledger", folder / "board"):
            one.mkdir()
        program = folder / "bin" / "stoep"
        program.write_text(PROGRAM.format(python=sys.executable, folder=self.gateway))
        program.chmod(0o755)
        self.image = folder / "ESP32_GENERIC_S3.bin"
        self.image.write_bytes(firmware())
        self.gateway_is("there")
        self.seen: list[bytes] = []
        self.world = World(bytes.fromhex(MAC))
        self.network = Network(self.world, self.gateway)
        self.gate = Gate(self.world.step)
        self.port = BenchPort(
            folder / "board",
            mac=MAC,
            boot=lambda image: SimBoardOnPty(image, self.world.board, self.gate, hold_ms=HOLD_MS),
        )
        places = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR")
        for place in places:
            (self.home / place).mkdir()
        self.environment = {
            **os.environ,
            **{place: str(self.home / place) for place in places},
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
        self.words = ["--yes", "--json", "--port", self.port.port, "--board", BOARD.name]
        self.words += ["--kind", "bin", "--region", "EU868", "--firmware", str(self.image)]
        self.words += ["--trust", "--ledger", str(folder / "ledger" / "boards.db")]
        self.words += ["--gateway", "local"]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.is_open.set()
        self.port.__exit__()
        if self.port.board is not None and self.port.board.problem is not None:
            raise self.port.board.problem

    def gateway_is(self, mode: str) -> None:
        (self.gateway / "mode").write_text(mode)

    def entry(self) -> Entry | None:
        with Ledger(self.folder / "ledger" / "boards.db") as ledger:
            entries = ledger.entries()
        assert len(entries) <= 1
        return entries[0] if entries else None

    def begin(self, moment: str = "-", words: list[str] | None = None) -> Run:
        return Run(self, moment, self.words if words is None else words)

    def do(self, command: str) -> tuple[int, str]:
        """Do what a technician is told to, to the letter."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MOST_S,
            check=False,
        )
        self.seen += [done.stdout, done.stderr]
        return done.returncode, (done.stdout + done.stderr).decode()


class Run:
    """The command, stopped before a moment; a context manager."""

    def __init__(self, bench: Bench, moment: str, words: list[str]) -> None:
        self._bench = bench
        theirs_r, ours_w = os.pipe()
        ours_r, theirs_w = os.pipe()
        program = Path(stepped_flash.__file__)
        self._ends = (ours_r, ours_w)
        self.process = subprocess.Popen(
            # Runs of tests in the background ignore it.
            [
                *("env", "--default-signal=INT", sys.executable, str(program), moment),
                *(str(theirs_w), str(theirs_r), *words),
            ],
            cwd=bench.home,
            env=bench.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(theirs_w, theirs_r),
        )
        os.close(theirs_r)
        os.close(theirs_w)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        for end in self._ends:
            os.close(end)

    def wait(self) -> None:
        """Wait until it has come to its moment."""
        assert select.select([self._ends[0]], [], [], MOST_S)[0]
        assert os.read(self._ends[0], 1) == b"x", self.process.communicate()

    def go(self, how: bytes = stepped_flash.GO) -> None:
        os.write(self._ends[1], how)

    def ends(self) -> tuple[int, dict[str, Any]]:
        """Return its exit code and answer, {} if it has given none."""
        out, err = self.process.communicate(timeout=MOST_S)
        self._bench.seen += [out, err]
        assert b"Traceback" not in err, err
        return self.process.returncode, json.loads(out) if out.strip() else {}


# What happens, before it goes on; it tells how it is to go on, None if it is no more.

Fault = Callable[[Bench, Run], bytes | None]


def interrupted(_bench: Bench, run: Run) -> bytes:
    run.process.send_signal(signal.SIGINT)
    return stepped_flash.STOPPED


def killed(_bench: Bench, run: Run) -> None:
    run.process.kill()


def pulled(bench: Bench, _run: Run) -> bytes:
    bench.port.pull()
    return stepped_flash.GONE


def full(_bench: Bench, _run: Run) -> bytes:
    return stepped_flash.FULL


def refused(bench: Bench, _run: Run) -> bytes:
    bench.gateway_is("refuses")
    return stepped_flash.GO


def lost(bench: Bench, _run: Run) -> bytes:
    """An octet from the board is lost soon."""
    for mode, heard in bench.port.heard.items():
        bench.port.lose_at[mode] = heard + 150
    return stepped_flash.GO


def lost_by_loader(bench: Bench, _run: Run) -> bytes:
    bench.port.loader.lose_after(40)
    return stepped_flash.GO


def misread(bench: Bench, _run: Run) -> bytes:
    """What is written does not hold."""
    bench.port.loader.bad_cell(0x200100)
    return stepped_flash.GO


def rotten(bench: Bench, _run: Run) -> bytes:
    """A file has changed since it was written: one that seldom runs."""
    files = filesystem.firmware_files(BOARD, "bin", "EU868")
    (name,) = (name for name in files if name.endswith("/safe.mpy"))
    at = bench.port.loader.flash().index(files[name][-300:])
    bench.port.loader.put(at, b"#")
    return stepped_flash.GO


def second(bench: Bench, _run: Run) -> bytes:
    """Another run comes to the same port."""
    with bench.begin() as other:
        code, answer = other.ends()
    (board,) = answer["boards"]
    assert (code, board["done"], board["finish"]) == (FAILED, False, [])
    assert "another run of stoep flash" in board["error"]
    assert "did not touch" in board["left"]
    return stepped_flash.GO


ALL = tuple(stepped_flash.MOMENTS)
BOOTLOADER = ("finding", "reading back", "writing")
PROMPT = ("opening", "testing", "joining", "tested")
CASES = [
    *((fault, moment) for fault in (interrupted, killed, pulled, full, second) for moment in ALL),
    *((lost, moment) for moment in (*BOOTLOADER, *PROMPT)),
    *((lost_by_loader, moment) for moment in BOOTLOADER),
    *((misread, moment) for moment in ("reading back", "writing")),
    (rotten, "opening"),
    (refused, "registering"),
]
# A run of `make test` has one of each kind; `make test-system` all of them.
SHORT = [
    (interrupted, "written"),
    (killed, "registered"),
    (pulled, "joining"),
    (full, "labelling"),
    (lost, "testing"),
    (second, "registering"),
    (rotten, "opening"),
]
STRIDE = int(os.environ.get("STOEP_FLASH_STRIDE", "0"))
# What the ledger has been told before the moment.
TOLD = {
    **dict.fromkeys(("finding", "reading back", "issuing"), None),
    **dict.fromkeys(("writing", "written"), "issued"),
    "verified": "written",
    **dict.fromkeys(("registering", "registered"), "verified"),
    **dict.fromkeys(("opening", "testing", "joining", "tested"), "registered"),
    **dict.fromkeys(("labelling", "labelled"), "registered"),
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("fault", "moment"),
    CASES if STRIDE else SHORT,
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
def test_at_every_step_a_fault_leaves_what_the_command_says(
    fault: Fault, moment: str, bench: Bench
) -> None:
    before: Entry | None = None
    if moment == "reading back":  # which is done of a board that is known
        with bench.begin() as first:
            assert first.ends()[0] == DONE
        before = bench.entry()
    with bench.begin(moment) as run:
        run.wait()
        told = bench.entry()
        assert state_of(told) == ("labelled" if before else TOLD[moment])
        how = fault(bench, run)
        if how is not None:
            run.go(how)
        code, answer = run.ends()
    commands = check_what_is_said(bench, fault, code, answer, before)
    mend(bench)
    for command in commands:
        code, said = bench.do(command)
        assert code == DONE, (command, said)
    check_finished(bench, before)


def state_of(entry: Entry | None) -> str | None:
    return None if entry is None else entry.state


def check_what_is_said(
    bench: Bench, fault: Fault, code: int, answer: dict[str, Any], before: Entry | None
) -> list[str]:
    """Compare what the command says with ledger and board; return what it says is to be done."""
    entry = bench.entry()
    again = f"stoep flash {' '.join(bench.words)}"
    if fault is killed:  # what nobody could say, the ledger knows
        assert code == -signal.SIGKILL
        unfinished = bench.do(f"stoep flash list --unfinished --ledger {bench.words[-3]}")
        half_done = entry is not None and "verified" not in entry.times
        assert ("HALF DONE" in unfinished[1]) == half_done, unfinished
        assert ("stoep flash" in unfinished[1]) == half_done
        return [again]
    (board,) = answer["boards"]
    assert answer["exit_code"] == code
    if fault is interrupted:
        assert code == INTERRUPTED
        assert answer["error"] == "interrupted"
    elif fault is refused:
        assert code == REFUSED
    else:
        assert code in (DONE, USAGE, NO_BOARD, FAILED)
    assert board["done"] == (board["error"] is None)
    if board["done"]:
        assert (board["left"], board["finish"]) == (None, [])
        assert state_of(entry) == "labelled"
        assert code in (DONE, INTERRUPTED)
        return []
    if board["dev_eui"] is None:
        assert "not touch" in board["left"]
        assert (entry is None) if before is None else (state_of(entry) == before.state)
        assert before is not None or set(bench.port.flash()) == {0xFF}
        return [again]
    assert entry is not None
    assert board["dev_eui"] == entry.identity.dev_eui.hex() == DEV_EUI
    assert board["finish"]
    assert all(command in board["left"] for command in board["finish"])
    whole = "verified" in entry.times
    assert ("half done" in board["left"]) == (not whole or fault is rotten)
    if whole and fault is not rotten:
        check_flashed(bench, entry)
        registers = any("stoep flash register" in one for one in board["finish"])
        assert registers == ("registered" not in entry.times)
        labels = any("stoep flash label" in one for one in board["finish"])
        assert labels == ("labelled" not in entry.times)
    return list(board["finish"])


def mend(bench: Bench) -> None:
    if not Path(bench.port.port).exists():
        bench.port.plug()
    bench.port.lose_at.clear()
    bench.port.loader.sound()
    bench.gateway_is("there")
    bench.gate.is_open.set()


def check_flashed(bench: Bench, entry: Entry) -> None:
    """Compare the board with the ledger."""
    flash = bench.port.flash()
    assert flash.startswith(bench.image.read_bytes())
    config = json.loads(filesystem.read(flash[0x200000:][:0x600000])["config.json"])
    assert config["dev_eui"] == DEV_EUI
    assert config["app_key"] == entry.identity.app_key.hex()


def check_finished(bench: Bench, before: Entry | None) -> None:
    entry = bench.entry()
    assert entry is not None
    assert before is None or entry.identity == before.identity
    assert {"issued", "written", "verified", "registered", "labelled"} == set(entry.times)
    assert (bench.home / "labels" / f"{DEV_EUI}.png").stat().st_size > 1000
    key = entry.identity.app_key
    assert set(keys_in(bench.gateway / "devices")) == {key}  # issued once
    assert len(bench.network.network.dev_nonces) == len(set(bench.network.network.dev_nonces)) > 0
    check_flashed(bench, entry)
    octets = b"".join([*bench.seen, *everything_in(bench.home)])
    for form in (key, base64.b64encode(key).rstrip(b"="), repr(key).encode()):
        assert form not in octets
    assert key.hex().encode() not in octets.lower()


def everything_in(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        yield str(path).encode()
        if path.is_file():
            yield path.read_bytes()


# Several boards at once: one command, of which each board has its own end.


@contextmanager
def another(bench: Bench) -> Iterator[BenchPort]:
    """Plug in a second board, which has MicroPython and never says a word."""
    with BenchPort(bench.folder / "board", mac=MAC[:-2] + "2f", name="other") as port:
        yield port


def ends_at_once(run: Run) -> dict[str, dict[str, Any]]:
    """Press Ctrl-C; return what became of each board, by its port's name."""
    pressed_s = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    code, answer = run.ends()
    assert time.monotonic() < pressed_s + 100  # nothing was waited for to its end
    assert (code, answer["exit_code"], answer["error"]) == (INTERRUPTED, INTERRUPTED, "interrupted")
    return {Path(board["port"]).name: board for board in answer["boards"]}


def test_ctrl_c_does_not_wait_for_a_gateway(bench: Bench) -> None:
    bench.gateway_is("hangs")
    with another(bench) as other, bench.begin(words=[*bench.words, "--port", other.port]) as run:
        wait_until(lambda: len(list(bench.gateway.glob("hangs-*"))) == 2, "it hangs", MOST_S)
        boards = ends_at_once(run)
    assert len(boards) == 2
    for board in boards.values():
        assert board["error"] == "interrupted"
        register, test, label = board["finish"]
        assert f"stoep flash register {board['dev_eui']} --gateway local" in register
        assert f"stoep flash test --port {board['port']}" in test
        assert f"stoep flash label {board['dev_eui']}" in label
    # To the letter, for the one that can talk.
    mend(bench)
    for command in boards[Path(bench.port.port).name]["finish"]:
        assert bench.do(command)[0] == DONE
    with Ledger(bench.folder / "ledger" / "boards.db") as ledger:
        assert [entry.state for entry in ledger.entries()].count("labelled") == 1


def test_ctrl_c_does_not_wait_for_a_join(bench: Bench) -> None:
    with another(bench) as other:
        run = bench.begin("joining", [*bench.words, "--port", other.port])
        with run:
            run.wait()
            bench.gate.is_open.clear()  # no answer comes, not in three minutes
            said = bench.port.said["prompt"]
            run.go()
            wait_until(lambda: bench.port.said["prompt"] > said + 40, "it joins", MOST_S)
            boards = ends_at_once(run)
    board = boards[Path(bench.port.port).name]
    assert board["error"] == "interrupted"
    test, _ = board["finish"]
    assert f"stoep flash test --port {board['port']}" in test
    assert boards[Path(other.port).name]["finish"]
    mend(bench)
    for command in board["finish"]:
        code, said_then = bench.do(command)
        assert code == DONE, said_then
    with Ledger(bench.folder / "ledger" / "boards.db") as ledger:
        assert ledger.of(bytes.fromhex(DEV_EUI)).state == "labelled"


@pytest.mark.parametrize(
    ("gateway", "code"), [("there", FAILED), ("refuses", REFUSED)], ids=["cell", "gateway"]
)
def test_of_two_boards_each_has_its_end_and_the_first_failure_its_code(
    gateway: str, code: int, bench: Bench
) -> None:
    bench.gateway_is(gateway)
    with another(bench) as other:
        if gateway == "there":
            other.loader.bad_cell(0x200100)
        words = [*bench.words, "--port", other.port, "--no-self-test"]
        with bench.begin(words=words) as run:
            ended, answer = run.ends()
        ours, theirs = answer["boards"]
        assert (ended, answer["exit_code"], theirs["exit_code"]) == (code, code, code)
        assert ours["done"] == (gateway == "there")
        (command,) = theirs["finish"][:1]
        assert theirs["port" if gateway == "there" else "dev_eui"] in command
        other.loader.sound()
        bench.gateway_is("there")
        for command in [*ours["finish"], *theirs["finish"]]:
            done, said = bench.do(command)
            assert done == DONE, (command, said)
    with Ledger(bench.folder / "ledger" / "boards.db") as ledger:
        assert [entry.state for entry in ledger.entries()] == ["labelled"] * 2
        keys = {entry.identity.app_key for entry in ledger.entries()}
    assert set(keys_in(bench.gateway / "devices")) == keys

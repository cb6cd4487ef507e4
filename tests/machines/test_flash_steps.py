"""The steps of a board, as a machine: what happens at one decides which are done, and what is left.

Boards, gateway and files are stand-ins; ledger and words are the real ones.
"""

from pathlib import Path

import pytest
from micropython_image import firmware
from stoep_hardware import board_data
from stoep_tools.flash import images, labels, ledger, ports, registration, selftest, steps
from stoep_tools.flash.errors import (
    BOARD_FAILED,
    GATEWAY_REFUSED,
    INTERRUPTED,
    NO_BOARD,
    USAGE,
    FlashError,
)
from stoep_tools.flash.esptool_output import Chip
from stoep_tools.flash.repl import Unflashed
from stoep_tools.flash.selftest import Check

MAC = bytes.fromhex("34b7da0c1d2e")
DEV_EUI = "34b7dafffe0c1d2e"
BOARD = board_data.load("heltec_wifi_lora_32_v3")
PORT = "/dev/ttyUSB1"

CABLE = FlashError("the board is gone in the middle", "plug it in", BOARD_FAILED)
SILENT = FlashError("the board is silent", "press RESET", NO_BOARD)
ANOTHER = Unflashed("no MicroPython answers", "flash it")
REFUSED = FlashError("the gateway refused", "it says why", GATEWAY_REFUSED)
CTRL_C = FlashError("interrupted", "run it again", INTERRUPTED)
TAKEN = FlashError("another run is working on it", "wait", BOARD_FAILED)
FULL = FlashError("the ledger failed: disk is full", "make room", BOARD_FAILED)
MISTAKE = ZeroDivisionError("app_key 00112233")

AGAIN = f"stoep flash --yes --gateway pi --port {PORT}"
REGISTER = f"stoep flash register {DEV_EUI} --gateway pi"
TEST = f"stoep flash test --port {PORT}"
LABEL = f"stoep flash label {DEV_EUI}"

EVERY = ["detect", "issue", "write", "mark written", "mark verified", "register"]
EVERY += ["mark registered", "hold", "test", "reset", "label", "mark labelled"]

# What happens at which action: the state that the ledger has then, and what is left to do.
EVENTS = [
    ("lock", TAKEN, None, []),
    ("detect", CABLE, None, []),
    ("detect", CTRL_C, None, []),
    ("issue", FULL, None, []),
    ("write", CABLE, "issued", [AGAIN]),
    ("write", CTRL_C, "issued", [AGAIN]),
    ("write", MISTAKE, "issued", [AGAIN]),
    ("mark written", FULL, "issued", [AGAIN]),
    ("mark verified", FULL, "written", [AGAIN]),
    ("register", REFUSED, "verified", [REGISTER, TEST, LABEL]),
    ("register", CTRL_C, "verified", [REGISTER, TEST, LABEL]),
    ("mark registered", FULL, "verified", [REGISTER, TEST, LABEL]),
    ("hold", SILENT, "registered", [TEST, LABEL]),
    ("hold", CTRL_C, "registered", [TEST, LABEL]),
    ("hold", ANOTHER, "registered", [AGAIN]),
    ("test", CABLE, "registered", [TEST, LABEL]),
    ("test", CTRL_C, "registered", [TEST, LABEL]),
    ("test", [Check("sensor", False, "silent", "mm", "plug")], "registered", [TEST, LABEL]),
    ("test", [Check("files", False, "a differs", "as flashed")], "registered", [AGAIN]),
    ("test", [Check("sleep current", None, "not measured", "9 uA")], "labelled", []),
    ("label", OSError(28, "No space left on device"), "registered", [LABEL]),
    ("mark labelled", FULL, "registered", [LABEL]),
    (None, None, "labelled", []),
]


class Bench:
    """Stands in for the board and the gateway; keeps what was done."""

    def __init__(self, folder, monkeypatch):
        self.done = []
        self.at = self.event = None
        self.folder = folder
        self.book = ledger.Ledger(folder / "boards.db")
        path = folder / "ESP32_GENERIC_S3.bin"
        path.write_bytes(firmware())
        self.image = images.load(path, BOARD)
        bench = self

        class Esptool:
            def __init__(self, port, baud, *, hint, stay=False):
                assert port == PORT

            def detect(self):
                bench.do("detect")
                return Chip("esp32s3", MAC, BOARD.flash["size"])

            def write(self, regions, progress):
                bench.do("write")
                return 0

            def fetch(self, offset, size):
                bench.do("read back")
                raise FlashError("not readable")

        class Repl:
            def __init__(self, port, *, ask):
                assert port == PORT

            def __enter__(self):
                bench.do("hold")
                return self

            def __exit__(self, *_):
                pass

            def reset(self):
                bench.do("reset")

        class Lock:
            def __init__(self, port):
                pass

            def __enter__(self):
                bench.happens("lock")

            def __exit__(self, *_):
                pass

        issue, mark = self.book.issue, self.book.mark

        def marks(dev_eui, state):
            bench.do(f"mark {state}")
            return mark(dev_eui, state)

        def issues(*arguments, **more):
            bench.do("issue")
            return issue(*arguments, **more)

        def register(command, entries, *, options):
            bench.do("register")
            return registration.Registered(1, 0, 0)

        def test(repl, board, kind, *, files, join, say):
            found = bench.do("test")
            return found or [Check("radio", True, "calibrated", "calibrated")]

        def draw(label):
            bench.do("label")
            return b"png"

        for whose, name, what in (
            (steps, "Esptool", Esptool),
            (steps, "Repl", Repl),
            (ports, "lock", Lock),
            (self.book, "mark", marks),
            (self.book, "issue", issues),
            (registration, "register", register),
            (selftest, "run", test),
            (labels, "label_png", draw),
        ):
            monkeypatch.setattr(whose, name, what)

    def do(self, action):
        self.done.append(action)
        return self.happens(action)

    def happens(self, action):
        if action == self.at:
            if isinstance(self.event, Exception):
                raise self.event
            return self.event
        return None

    def flash(self, at=None, event=None, **wanted):
        self.done, self.at, self.event = [], at, event
        order = steps.Order(
            **{
                "board": BOARD,
                "kind": "bin",
                "region": "EU868",
                "image": self.image,
                "gateway": ["ssh", "pi", "stoep"],
                "gateway_name": "pi",
                "labels": Path("labels"),
                "again": ["--yes", "--gateway", "pi", "--new-key"],
                **wanted,
            }
        )
        return steps.flash(PORT, order, self.book, lambda *_: None, lambda *_: None)

    @property
    def states(self):
        return [entry.state for entry in self.book.entries()]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path, monkeypatch)
    monkeypatch.setattr(steps, "default_path", lambda: bench.book.path)
    with bench.book:
        yield bench


@pytest.mark.parametrize(("at", "event", "state", "left"), EVENTS)
def test_what_happens_decides_what_is_left(bench, at, event, state, left):
    outcome = bench.flash(at, event)
    assert bench.states == ([] if state is None else [state])
    assert list(outcome.finish) == left
    assert (outcome.problem is None) == (state == "labelled")
    if at in EVERY and outcome.problem is not None:
        # What comes after it is not done; of a test that has found something the board is let go.
        done = EVERY[: EVERY.index(at) + 1]
        assert bench.done == done + ["reset"] * isinstance(event, list)
    elif outcome.problem is None:
        assert bench.done == EVERY
        assert outcome.left == ""
        place = f"ssh pi stoep device place {DEV_EUI} --asset container/ID --lat … --lon …"
        assert outcome.place == place
    assert all(command in outcome.left for command in left)
    if outcome.problem is not None and not left:
        assert "not touch" in outcome.left
    if event is MISTAKE:
        assert "ZeroDivisionError" in outcome.problem.message
        assert "app_key" not in str(outcome.problem)
    if isinstance(event, OSError):
        assert outcome.problem.exit_code == USAGE


def test_only_what_was_wanted_is_done_and_left(bench):
    outcome = bench.flash("write", CABLE, self_test=False, gateway=None, labels=None)
    assert list(outcome.finish) == [AGAIN]
    outcome = bench.flash(self_test=False, gateway=None, labels=None)
    assert (outcome.problem, bench.states) == (None, ["verified"])
    assert bench.done == ["detect", "read back", "issue", "write", "mark written", "mark verified"]
    outcome = bench.flash("hold", SILENT, gateway=None, labels=None)
    assert list(outcome.finish) == [f"{TEST} --no-join"]
    outcome = bench.flash("register", REFUSED, self_test=False, labels=None)
    assert list(outcome.finish) == [REGISTER]


def test_what_is_left_names_ledger_and_folder_where_they_are_not_the_usual(bench, monkeypatch):
    monkeypatch.setattr(steps, "default_path", lambda: Path("/elsewhere"))
    outcome = bench.flash("hold", SILENT, labels=Path("my labels"))
    ledger_option = f"--ledger {bench.book.path}"
    assert list(outcome.finish) == [
        f"{TEST} {ledger_option}",
        f"{LABEL} --folder 'my labels' {ledger_option}",
    ]


def test_a_known_board_that_is_not_reached_keeps_what_the_ledger_says(bench):
    assert bench.flash().problem is None
    outcome = bench.flash("detect", CABLE)
    assert outcome.finish == ()
    assert bench.states == ["labelled"]
    outcome = bench.flash("write", CABLE)
    assert bench.states == ["issued"]
    assert list(outcome.finish) == [AGAIN]


def test_another_board_is_refused_untouched(bench, monkeypatch):
    for chip in (Chip("esp32", MAC, 8 << 20), Chip("esp32s3", MAC, 4 << 20)):
        monkeypatch.setattr(steps.Esptool, "detect", lambda _self, chip=chip: chip)
        outcome = bench.flash()
        assert "--board" in outcome.problem.remedy
        assert (bench.done, bench.states) == ([], [])

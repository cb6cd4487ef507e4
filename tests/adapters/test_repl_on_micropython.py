"""The bench's REPL against the real MicroPython on a pseudo-terminal, its files on a littlefs."""

import os

import pytest
from board_on_pty import BoardOnPty, make_image, read_image
from stoep_hardware import micropython_runtime
from stoep_tools.flash.errors import BOARD_FAILED, NO_BOARD, FlashError
from stoep_tools.flash.repl import CHUNK, BoardError, Repl

pytestmark = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)

MAIN = b"""
import time, machine
if machine.reset_cause() != machine.DEEPSLEEP_RESET:
    time.sleep_ms(60000)
machine.deepsleep(1000)
"""
FILES = {"main.py": MAIN, "config.json": b"{}", "lib/a/b.mpy": bytes(range(256)) * 20}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "vfs.img"
    path.write_bytes(make_image(FILES))
    return path


@pytest.fixture
def board(image):
    with BoardOnPty(image) as board:
        yield board


def hold(board, **options):
    return Repl(board.port, pulse=board.pulse, **{"wait_s": 60, **options})


def test_a_board_is_held_before_its_program_begins(board):
    with hold(board) as repl:
        assert repl.value("6 * 7") == 42
        assert repl.run("print('a')\nprint('b')").split() == ["a", "b"]
    assert board.starts == 2  # ours, and the pulse's


def test_a_sleeping_board_is_held_by_a_reset(board):
    board.reset("asleep")
    board.wait_asleep()
    with hold(board) as repl:
        assert repl.value("__import__('machine').reset_cause()") == 1


def test_a_person_is_asked_where_nothing_else_can_reset(board):
    board.reset("asleep")
    board.wait_asleep()
    asked = []

    def press(text):
        asked.append(text)
        board.reset()

    with Repl(board.port, wait_s=60, ask=press) as repl:
        assert repl.value("1 + 1") == 2
    assert len(asked) == 1
    assert "RESET" in asked[0]


def test_a_program_that_raises_is_told_by_its_last_line(board):
    with hold(board) as repl:
        with pytest.raises(BoardError) as told:
            repl.run("import os\nos.stat('/no')")
        assert told.value.errno == 2
        with pytest.raises(BoardError, match="ValueError"):
            repl.run("int('x')")
        assert repl.value("3") == 3


def test_files_are_read_written_listed_and_removed(board):
    data = os.urandom(3 * CHUNK + 17)
    told = []
    with hold(board) as repl:
        assert repl.list() == {"/" + name: len(octets) for name, octets in FILES.items()}
        assert repl.read("/lib/a/b.mpy") == FILES["lib/a/b.mpy"]
        assert repl.read("/none") is None
        repl.write("/new/deep/x.bin", data, lambda done, whole: told.append((done, whole)))
        assert repl.read("/new/deep/x.bin") == data
        repl.write("/config.json", b"")
        assert repl.read("/config.json") == b""
        repl.remove("/lib/a/b.mpy")
        repl.remove("/lib/a/b.mpy")
        assert set(repl.list()) == {"/main.py", "/config.json", "/new/deep/x.bin"}
        assert set(repl.hashes(["/main.py", "/none"])) == {"/main.py"}
        free, size = repl.free()
        assert 0 < free < size
    assert told[-1] == (len(data), len(data))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert board.files() == {"main.py": MAIN, "config.json": b"", "new/deep/x.bin": data}


def test_a_full_storage_leaves_the_old_file(board):
    with hold(board) as repl:
        with pytest.raises(FlashError, match="full") as told:
            repl.write("/lib/a/b.mpy", os.urandom(600_000))
        assert repl.read("/lib/a/b.mpy") == FILES["lib/a/b.mpy"]
        assert not [path for path in repl.list() if path.endswith(".new")]
        assert repl.value("1") == 1
    assert told.value.exit_code == BOARD_FAILED
    assert told.value.remedy


@pytest.mark.parametrize("after", [300, 2000, 5000, 9000])
def test_a_cable_that_is_pulled_leaves_every_file_whole(board, image, after):
    new = os.urandom(8 * CHUNK)
    with hold(board) as repl:
        board.cut_after = board.carried + after
        with pytest.raises(FlashError) as told:
            repl.write("/lib/a/b.mpy", new)
    assert "gone" in told.value.message
    assert told.value.exit_code == BOARD_FAILED
    found = read_image(image.read_bytes())
    assert found["lib/a/b.mpy"] in (FILES["lib/a/b.mpy"], new)
    assert found["main.py"] == MAIN
    board.plug_in()
    with hold(board) as repl:
        repl.write("/lib/a/b.mpy", new)
        assert repl.read("/lib/a/b.mpy") == new
        assert not [path for path in repl.list() if path.endswith(".new")]


def test_a_board_that_dies_is_told_of(board):
    with hold(board) as repl, pytest.raises(FlashError, match="answers no more"):
        repl.run("import uos\nuos.system('kill -KILL $PPID')", timeout_s=1)


def test_a_board_that_nobody_caught_is_reset_once_more(board):
    pulses = []

    def pulse(_serial):
        # As if the computer had stood still while it could be interrupted.
        pulses.append(board.starts)
        board.reset("asleep" if len(pulses) == 1 else "power")
        if len(pulses) == 1:
            board.wait_asleep()

    with Repl(board.port, wait_s=60, pulse=pulse) as repl:
        assert repl.value("6 * 7") == 42
    assert len(pulses) > 1


def test_what_a_board_says_late_is_left_behind(board):
    with hold(board) as repl:
        # Each is answered by a banner, some of them after the first has been seen.
        repl._need_line().serial.write(b"\r\x03\x03\x01" * 300)
        repl._greet(repl._need_line())
        assert repl.value("6 * 7") == 42
        assert repl._need_line().use_raw_paste  # which an answer to something else would end


@pytest.mark.parametrize(
    ("says", "message", "exit_code"),
    [
        (b"", "silent", NO_BOARD),
        (b"invalid header: 0xffffffff\r\n" * 3, "flash it first", BOARD_FAILED),
        (b"Meshtastic 2.5\r\n", "flash it first", BOARD_FAILED),
        (b"waiting for download\r\n", "bootloader", BOARD_FAILED),
    ],
)
def test_what_is_not_micropython_is_told_of(says, message, exit_code):
    with BoardOnPty(says=says) as board:
        with pytest.raises(FlashError, match=message) as told, hold(board, wait_s=1):
            pass
        assert told.value.exit_code == exit_code
        assert told.value.remedy


def test_a_port_that_is_not_there_is_told_of():
    with pytest.raises(FlashError, match="cannot be opened") as told, Repl("/dev/no", wait_s=0.2):
        pass
    assert told.value.exit_code == NO_BOARD


def test_let_go_the_board_starts_its_program(board):
    with hold(board) as repl:
        repl.write("/main.py", b"import machine\nmachine.deepsleep(1)\n")
        repl.reset()
    board.wait_asleep()


def test_caught_too_early_or_too_late_it_is_started_again(board):
    for spoil, starts in (("import vfs\nvfs.umount('/')", 1), (LATE, 1)):
        with hold(board) as repl:
            repl.run(spoil)
        before = board.starts
        # Its port has no lines here: what is caught is the state that was left.
        with Repl(board.port, wait_s=60, pulse=lambda _serial: None) as repl:
            assert set(repl.list()) == {"/" + name for name in FILES}
        assert board.starts == before + starts


LATE = "import sys\nsys.modules['stoep_firmware.wake'] = sys"


def test_what_is_held_or_always_too_late_is_given_up(board):
    with hold(board) as repl:
        repl.write("/main.py", LATE.encode() + b"\nimport time\ntime.sleep_ms(60000)\n")
        with pytest.raises(FlashError, match="cannot be opened"), hold(board, wait_s=0.2):
            pass  # it is held already
    with pytest.raises(FlashError, match="its program runs"), hold(board):
        pass

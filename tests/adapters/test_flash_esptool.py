"""Real esptool against a board that is not there: what it does, and what is said when it cannot."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

import pytest
import serial
from mock_board import MockBoard
from stoep_hardware import board_data
from stoep_tools.flash import esptool, ports, together
from stoep_tools.flash.errors import BOARD_FAILED, NO_BOARD, USAGE, FlashError
from stoep_tools.flash.esptool import PIECE, Chip, Esptool
from waiting import wait_until

HINT = esptool.boot_hint(board_data.load("heltec_wifi_lora_32_v3").buttons)
FIRMWARE = 0x0
VFS = 0x200000


def octets(count, seed=1):
    """Half of it compressible."""
    noise = random.Random(seed).randbytes(count // 2)
    return noise + bytes(count - len(noise))


@pytest.fixture
def board(tmp_path):
    with MockBoard(tmp_path) as board:
        yield board


def tool(board, **options):
    return Esptool(board.port, hint=HINT, **options)


def refusal(action, *arguments):
    with pytest.raises(FlashError) as refused:
        action(*arguments)
    return refused.value


@pytest.mark.parametrize(
    ("chip", "mac", "megabytes"),
    [("esp32s3", "f412fa0102ab", 8), ("esp32", "240ac4fedcba", 4), ("esp32s3", "0c8b95000000", 16)],
)
def test_detects_chip_mac_and_flash(tmp_path, chip, mac, megabytes):
    with MockBoard(tmp_path, chip=chip, mac=mac, megabytes=megabytes) as board:
        assert tool(board).detect() == Chip(chip, bytes.fromhex(mac), megabytes << 20)


def test_writes_verifies_reads_and_erases(board, tmp_path):
    firmware, vfs = octets(3 * PIECE - 5000), octets(4 * 4096, seed=2)
    (tmp_path / "firmware.bin").write_bytes(firmware)
    regions = [(VFS, vfs), (FIRMWARE, tmp_path / "firmware.bin")]
    heard = []
    skipped = tool(board).write(regions, lambda done, total: heard.append((done, total)))
    assert skipped == 0
    assert board.flash(FIRMWARE, len(firmware)) == firmware
    assert board.flash(VFS, len(vfs)) == vfs
    total = len(firmware) + len(vfs)
    assert heard[-1] == (total, total)
    assert heard == sorted(heard)
    assert len(heard) > 20

    tool(board).verify(regions)
    altered = refusal(tool(board).verify, [(VFS, vfs[:-1] + b"\1")])
    assert "not what was written" in altered.message

    out = tmp_path / "out"
    heard.clear()
    tool(board).read(VFS, len(vfs), out, lambda done, total: heard.append((done, total)))
    assert out.read_bytes() == vfs
    assert out.stat().st_mode & 0o777 == 0o600
    assert heard[-1] == (len(vfs), len(vfs))
    assert tool(board).fetch(VFS + 4096, 4096) == vfs[4096:8192]

    tool(board).erase()
    assert set(board.flash()) == {0xFF}


def test_a_cable_pulled_in_the_middle_goes_on_where_it_was(board):
    data = random.Random(3).randbytes(3 * PIECE)
    board.pull_after(2 * PIECE + 100_000)
    pulled = refusal(tool(board).write, [(FIRMWARE, data)])
    assert "unplugged" in pulled.message
    assert "plug the board in again" in pulled.remedy
    assert pulled.exit_code == BOARD_FAILED
    assert board.flash(0, PIECE) == data[:PIECE]
    assert board.flash(0, len(data)) != data

    gone = refusal(tool(board).detect)
    assert "is not there" in gone.message
    assert gone.exit_code == NO_BOARD

    board.plug()
    assert tool(board).write([(FIRMWARE, data)]) in (PIECE, 2 * PIECE)
    assert board.flash(0, len(data)) == data
    before = int(board.octets().split()[0])
    assert tool(board).write([(FIRMWARE, data)]) == len(data)
    assert int(board.octets().split()[0]) - before < 20_000  # the stub, and no data


def test_a_cable_that_is_back_in_time_goes_unnoticed(board):
    data = random.Random(5).randbytes(2 * PIECE)
    board.pull_after(100_000)

    def put_back():
        wait_until(lambda: not Path(board.port).exists(), "the cable pulled")
        board.plug()

    helper = threading.Thread(target=put_back)
    helper.start()
    tool(board).write([(FIRMWARE, data)])
    helper.join()
    assert board.flash(0, len(data)) == data


def test_what_a_board_has_changed_since_is_written_again(board):
    data = octets(2 * PIECE)
    tool(board).write([(FIRMWARE, data)])
    board.put(PIECE + 5, b"\x5a")
    assert tool(board).write([(FIRMWARE, data)]) == PIECE
    assert board.flash(0, len(data)) == data


def test_a_bad_cell_is_found_by_hash(board):
    board.bad_cell(VFS + 5000)
    data = octets(8192)
    wrong = refusal(tool(board).write, [(FIRMWARE, data), (VFS, data)])
    assert "not what was written" in wrong.message
    assert "worn" in wrong.remedy
    board.sound()
    assert tool(board).write([(FIRMWARE, data), (VFS, data)]) == len(data)
    assert board.flash(VFS, len(data)) == data


def test_a_board_that_does_not_answer_says_which_button_to_hold(board):
    board.deaf()
    silent = refusal(tool(board).detect)
    assert "does not answer" in silent.message
    assert silent.remedy == "hold PRG (GPIO0), press RST, let go, and run it again"
    assert silent.exit_code == NO_BOARD
    board.hear()
    assert tool(board).detect().name == "esp32s3"


@pytest.mark.parametrize(
    ("board", "hint"),
    [
        ("heltec_wifi_lora_32_v3", "hold PRG (GPIO0), press RST, let go"),
        ("lilygo_t3_s3", "hold BOOT (GPIO0), press RST, let go"),
        ("lilygo_ttgo_lora32_v21", "connect GPIO0 to GND, press RST, take the wire away"),
        ("esp32_s3_sx1262_module", "connect GPIO0 to GND, reset the board, take the wire away"),
    ],
)
def test_each_board_has_its_own_way_into_the_bootloader(board, hint):
    assert esptool.boot_hint(board_data.load(board).buttons) == f"{hint}, and run it again"


def test_a_board_that_falls_silent_in_the_middle(board, monkeypatch):
    monkeypatch.setattr(esptool, "_ANSWER_S", 1.0)
    board.stop_after(100_000)
    silent = refusal(tool(board).write, [(FIRMWARE, random.Random(4).randbytes(PIECE))])
    assert "the line to the board is bad" in silent.message
    assert "--baud 115200" in silent.remedy


def test_an_octet_lost_while_reading_is_read_again(board, tmp_path):
    data = octets(65536)
    board.put(FIRMWARE, data)
    runs = []

    def run(command, folder, line):
        runs.append(command)
        return esptool.run_program(command, folder, line)

    board.lose_after(20_000)
    tool(board, run=run).read(FIRMWARE, len(data), tmp_path / "out")
    assert len(runs) > 1
    assert (tmp_path / "out").read_bytes() == data


def test_a_line_that_stays_bad_is_said(board, tmp_path):
    def run(command, folder, line):
        board.lose_after(20_000)
        return esptool.run_program(command, folder, line)

    short = refusal(tool(board, run=run).read, FIRMWARE, 65536, tmp_path / "out")
    assert "the line to the board is bad" in short.message
    assert short.exit_code == BOARD_FAILED
    assert not (tmp_path / "out").exists()


def test_a_laptop_that_stands_still_goes_unnoticed(board):
    data = random.Random(6).randbytes(2 * PIECE)
    stopped = threading.Event()

    def stand_still():
        wait_until(lambda: int(board.octets().split()[0]) > 100_000, "it is being written")
        os.kill(board.process.pid, signal.SIGSTOP)
        stopped.wait(4)  # longer than esptool waits by itself
        os.kill(board.process.pid, signal.SIGCONT)

    helper = threading.Thread(target=stand_still)
    helper.start()
    try:
        tool(board).write([(FIRMWARE, data)])
    finally:
        stopped.set()
        helper.join()
    assert board.flash(0, len(data)) == data


def test_another_chip_is_refused_before_anything_is_written(board):
    wrong = refusal(tool(board, chip="esp32").write, [(FIRMWARE, octets(8192))])
    assert "the chip is an ESP32-S3, not ESP32" in wrong.message
    assert wrong.exit_code == USAGE
    assert set(board.flash()) == {0xFF}


def test_what_does_not_fit_is_refused(board):
    wrong = refusal(tool(board).write, [(0x7FF000, octets(8192))])
    assert "smaller" in wrong.message
    assert set(board.flash()) == {0xFF}


def test_a_port_that_another_program_has_is_said_to_be_used(board):
    with serial.Serial(board.port, exclusive=True):
        busy = refusal(tool(board).detect)
    assert "is used by another program" in busy.message
    assert busy.exit_code == NO_BOARD


def test_a_board_may_stay_in_its_bootloader(board):
    commands = []

    def run(command, folder, line):
        commands.append(command)
        return esptool.run_program(command, folder, line)

    tool(board, run=run, stay=True).detect()
    tool(board, run=run).detect()
    after = [command[command.index("--after") + 1] for command in commands]
    assert after == ["no-reset", "hard-reset"]


HOLDER = """
import sys
from stoep_tools.flash import ports
with ports.lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_at_once_on_one_port_and_the_first_dies(board):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, board.port], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FlashError) as held, ports.lock(board.port):
            pass
        assert f"(process {holder.pid})" in held.value.message
        assert held.value.exit_code == BOARD_FAILED
        holder.kill()
        holder.wait()
        with ports.lock(board.port):
            pass


def test_no_esptool_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    missing = refusal(Esptool, "/dev/ttyUSB0")
    assert "esptool is not installed" in missing.message
    assert "pip install" in missing.remedy
    assert '"esptool' in missing.remedy
    assert missing.exit_code == USAGE


def test_no_content_is_in_an_argument_and_nothing_is_left_behind(board, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "ram"))
    (tmp_path / "ram").mkdir()
    seen = []

    def run(command, folder, line):
        seen.append((command, oct(folder.stat().st_mode & 0o777), list(folder.iterdir())))
        return esptool.run_program(command, folder, line)

    secret = "00112233445566778899aabbccddeeff"
    tool(board, run=run).write([(VFS, f'{{"app_key":"{secret}"}}'.encode().ljust(4096))])
    ((command, mode, files),) = seen
    assert mode == "0o700"
    assert {file.parent.parent for file in files} == {tmp_path / "ram"}
    assert secret not in " ".join(command)
    assert list((tmp_path / "ram").iterdir()) == []


def test_without_a_folder_of_its_own_ram_is_shared_memory(monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with esptool._private_folder() as folder:
        assert folder.parent in (Path("/dev/shm"), Path(tempfile.gettempdir()))
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_what_a_run_that_was_killed_has_left_is_removed_by_the_next(board, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "--version"]) as dead:
        pass
    left = tmp_path / f"stoep-flash-{dead.pid}-abc"
    alive = tmp_path / f"stoep-flash-{os.getppid()}-abc"
    for folder in (left, alive):
        folder.mkdir()
        (folder / "00200000").write_text("app_key")
    tool(board).detect()
    assert not left.exists()
    assert alive.exists()


def test_a_full_disk_is_said(board, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "no room" in refusal(tool(board).write, [(FIRMWARE, bytes(4096))]).message


def test_regions_must_not_overlap_or_share_a_sector(board):
    for regions in ([(0, bytes(5000)), (4096, b"x")], [(100, b"x")]):
        with pytest.raises(ValueError, match="within a sector or another region"):
            tool(board).write(regions)


def test_several_boards_at_once_and_one_of_them_fails(tmp_path):
    data = octets(2 * PIECE)
    boards = [MockBoard(tmp_path, name=f"b{n}", mac=f"240ac400000{n}") for n in range(3)]
    try:
        boards[1].pull_after(100_000)
        write = {b.port: partial(tool(b).write, [(FIRMWARE, data)]) for b in boards}
        got = together.at_once(write)
        assert got[boards[0].port] == got[boards[2].port] == 0
        assert isinstance(got[boards[1].port], FlashError)
        assert [board.flash(0, len(data)) == data for board in boards] == [True, False, True]
    finally:
        for board in boards:
            board.__exit__()


PROGRAM = """
import os, sys
from stoep_tools.flash import esptool, together
data = os.urandom(1 << 22)  # which takes three quarters of a minute
def tell(done, total):
    print(done, flush=True)
def job(port):
    return lambda: esptool.Esptool(port).write([(0, data)], tell)
jobs = {port: job(port) for port in sys.argv[1:]}
try:
    together.at_once(jobs)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def esptools_at(port):
    """List the processes whose arguments name the port, but for the one that started them."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"esptool" in arguments and port.encode() in arguments:
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_esptool_outlives_us(tmp_path, how):
    with (
        MockBoard(tmp_path, name="a", paced=True) as a,
        MockBoard(tmp_path, name="b", paced=True) as b,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, a.port, b.port], stdout=subprocess.PIPE, text=True
        ) as program,
    ):
        assert int(program.stdout.readline()) >= 0
        wait_until(lambda: esptools_at(a.port) and esptools_at(b.port), "both are being flashed")
        os.kill(program.pid, how)
        rest = program.stdout.read()
        program.wait()
        assert ("interrupted" in rest) == (how == signal.SIGINT)
        wait_until(lambda: not esptools_at(a.port) + esptools_at(b.port), "esptool gone")


def test_a_program_that_says_nothing_for_too_long_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(esptool, "_SILENCE_S", 0.0)
    silent = "print('begin', flush=True); import threading as t; t.Event().wait()"
    code, said = esptool.run_program([sys.executable, "-c", silent], tmp_path)
    assert code != 0
    assert said in ("begin\n", "")


def test_nothing_is_started_after_an_interruption(tmp_path):
    began, go_on = threading.Event(), threading.Event()

    def job():
        began.set()
        go_on.wait()
        return esptool.run_program([sys.executable, "--version"], tmp_path)

    def interrupt():
        began.wait()
        together.stop_all()
        go_on.set()

    threading.Thread(target=interrupt).start()
    got = together.at_once({"board": job})
    assert isinstance(got["board"], FlashError)
    assert together.at_once({"board": job})["board"][0] == 0

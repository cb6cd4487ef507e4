"""A technician at a terminal: the real command on a pseudo-terminal, the real esptool, a mock."""

import errno
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import pytest
from micropython_image import firmware
from mock_board import MockBoard

STOEP = [sys.executable, "-m", "stoep_tools.cli"]
MAC = "240ac4000001"
DEV_EUI = "240ac4fffe000001"
MOST_S = 240


class Terminal:
    """A program on a terminal of 100 columns; a context manager."""

    def __init__(self, folder, *words):
        self.seen = ""
        self._read_to = 0
        self._tty, slave = pty.openpty()
        self._process = subprocess.Popen(
            [*STOEP, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environment(folder),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY),  # noqa: PLW1509
        )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._tty)

    def sees(self, text):
        """Wait for a text behind the one that was seen last."""
        until_s = time.monotonic() + MOST_S
        while text not in self.seen[self._read_to :]:
            assert time.monotonic() < until_s, self.seen
            assert self._hears(), self.seen
        self._read_to = self.seen.index(text, self._read_to) + len(text)

    def types(self, text):
        os.write(self._tty, text.encode())

    def ends(self):
        """Return the exit code."""
        while self._hears():
            pass
        return self._process.wait(MOST_S)

    def _hears(self):
        select.select([self._tty], [], [], MOST_S)
        try:
            data = os.read(self._tty, 4096)
        except OSError as problem:
            if problem.errno != errno.EIO:  # which says that the other end is closed
                raise
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


def environment(folder):
    return dict(
        os.environ,
        HOME=str(folder),
        COLUMNS="100",
        TERM="xterm",
        XDG_CONFIG_HOME=str(folder / "config"),
        XDG_DATA_HOME=str(folder / "data"),
    )


def run(folder, *words):
    """Run the command without a terminal."""
    return subprocess.run(
        [*STOEP, *words],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=MOST_S,
    )


def key(folder):
    """Return the key of the first board, as an export has it."""
    assert run(folder, "flash", "export", "keys.csv").returncode == 0
    return (folder / "keys.csv").read_text().splitlines()[1].split(",")[2]


@pytest.fixture
def board(tmp_path):
    with MockBoard(tmp_path, mac=MAC) as board:
        yield board


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "ESP32_GENERIC_S3.bin"
    path.write_bytes(firmware())
    return path


@pytest.mark.slow
def test_a_street_of_boards_at_one_port(tmp_path, board, image):
    with Terminal(tmp_path, "flash", "--port", board.port, "--no-self-test") as terminal:
        terminal.sees("Which board is it?")
        terminal.types("heltec\n")
        terminal.sees("What will it measure?")
        terminal.types("1\n")
        terminal.sees("Where will it be?")
        terminal.types("eu868\n")
        terminal.sees("micropython.org/download/ESP32_GENERIC_S3")
        terminal.types(f"'{image}'\n")
        terminal.sees("is not known")
        terminal.sees("[y/N]")
        terminal.types("y\n")
        terminal.sees("Register at which gateway?")
        terminal.types("\n")
        terminal.sees("DevEUI 240A C4FF FE00 0001, new")
        terminal.sees("verified by hash")
        terminal.sees("done")
        terminal.sees("Plug in the next board")
        board.pull()
        terminal.types("\n")
        terminal.sees("FAILED")
        terminal.sees("Plug in the next board")
        board.plug()
        terminal.types("\n")
        terminal.sees("as before")
        terminal.sees("were there already")
        terminal.sees("Plug in the next board")
        terminal.types("q\n")
        assert terminal.ends() == 0  # what failed was done in the end
        seen = terminal.seen
    assert (tmp_path / "labels" / f"{DEV_EUI}.png").exists()
    assert key(tmp_path) not in seen.lower()
    # Everything is known now: a script says nothing but what differs.
    done = run(tmp_path, "flash", "--port", board.port, "--no-self-test", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [answer] = json.loads(done.stdout)["boards"]
    assert (answer["dev_eui"], answer["again"], answer["done"]) == (DEV_EUI, True, True)


@pytest.mark.slow
def test_ctrl_c_leaves_a_board_that_is_told_of(tmp_path, image):
    options = ["--board", "heltec_wifi_lora_32_v3", "--kind", "bin", "--region", "EU868"]
    options += ["--firmware", str(image), "--trust", "--no-gateway", "--no-self-test"]
    with MockBoard(tmp_path, mac=MAC, paced=True) as board:
        with Terminal(tmp_path, "flash", "--port", board.port, *options) as terminal:
            terminal.sees("writing")
            terminal.sees(" %")
            terminal.types("\x03")
            assert terminal.ends() == 130
            assert "the board is half done" in terminal.seen
            assert "interrupted" in terminal.seen
        listed = json.loads(run(tmp_path, "flash", "list", "--unfinished", "--json").stdout)
        assert [entry["dev_eui"] for entry in listed["boards"]] == [DEV_EUI]
        done = run(tmp_path, "flash", "--port", board.port, "--no-self-test", "--yes")
        assert done.returncode == 0, done.stderr
        assert "as before" in done.stdout
    assert run(tmp_path, "flash", "list", "--unfinished").stdout == "nothing is half done\n"


def test_without_a_terminal_nothing_is_asked(tmp_path, image):
    done = run(tmp_path, "flash", "--firmware", str(image))
    assert (done.returncode, done.stdout) == (2, "")
    assert "--board" in done.stderr


def test_a_reader_that_has_read_enough_is_no_mistake(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [*STOEP, "flash", "list"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN),  # noqa: PLW1509
    ) as process:
        os.close(writer)
        _, err = process.communicate(timeout=MOST_S)
    assert (process.returncode, err) == (0, "")

"""A board that is not there: the real MicroPython on a pseudo-terminal, littlefs on an image file.

`port` is what a tool opens. Between it and MicroPython's own terminal a pump carries octets, as a
USB bridge does, so that the port outlives resets and the cable can be pulled. The board starts as
an ESP32 does: boot.py, main.py, then the prompt; Ctrl-C ends any of them. What stands in for its
`machine` is below, or the simulator's (sim_board_on_pty.py).
"""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

from littlefs import LittleFS
from stoep_hardware.micropython_runtime import HEAP_BYTES

HERE = Path(__file__).parent
BLOCK = 4096
_ASLEEP, _RESET = signal.SIGUSR1, signal.SIGUSR2
_LISTENS = b"\x06"  # said by board_start.py when boot.py is next


def make_image(files, size=512 * 1024):
    """Return a littlefs image with these files, by path without a slash in front."""
    fs = LittleFS(block_size=BLOCK, block_count=size // BLOCK)
    for path, data in files.items():
        folder = path.rpartition("/")[0]
        if folder:
            fs.makedirs(folder, exist_ok=True)
        with fs.open(path, "wb") as file:
            file.write(data)
    return bytes(fs.context.buffer)


def read_image(data):
    """Return the files of a littlefs image, by path without a slash in front."""
    fs = LittleFS(block_size=BLOCK, block_count=len(data) // BLOCK, mount=False)
    fs.context.buffer[:] = data
    fs.mount()
    found = {}
    for folder, _, names in fs.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with fs.open(path, "rb") as file:
                found[path.lstrip("/")] = file.read()
    return found


class BoardOnPty:
    """One board; a context manager.

    `image` is the file that holds its file system. `says` replaces MicroPython by something that
    only says this at each start. `modules` are folders found before the board's own.
    """

    def __init__(self, image=None, *, says=None, modules=(HERE / "board_modules",), hold_ms=3000):
        self._image = image
        self._says = says
        self._modules = modules
        self.hold_ms = hold_ms  # of the next start
        self._lock = threading.RLock()
        self._process = None
        self._console = None
        self._is_closed = False
        self._quiet = False
        self._is_deaf = False  # until its start may be interrupted
        self.starts = 0
        self.cut_after = None  # octets from the tool after which the cable is pulled
        self.carried = 0
        self._wake_r, self._wake_w = os.pipe()
        self._plug()
        self._pump = threading.Thread(target=self._carry, daemon=True)
        self._pump.start()

    def __enter__(self):
        self.reset()
        return self

    def __exit__(self, *_):
        self.close()

    # ---- what a hand can do ---------------------------------------------------------------------

    def reset(self, cause="power"):
        """Press RESET, or connect the battery."""
        with self._lock:
            self._end()
            self._start(cause)

    def pulse(self, _serial):
        """What `Repl(pulse=)` takes: a pseudo-terminal has no lines to reset by."""
        self.reset()

    def power_off(self):
        with self._lock:
            self._end()

    def pull_cable(self):
        """The port is gone for whoever has it open; the board goes off with it."""
        with self._lock:
            self._end()
            os.close(self._tool)
            os.close(self._slave)
            self._tool = None
            self._nudge()

    def plug_in(self):
        """The port comes again; its name may be another."""
        with self._lock:
            self._plug()
            self.cut_after = None
            self.reset()

    def close(self):
        with self._lock:
            self._is_closed = True
            self._end()
            self._nudge()
        self._pump.join(10)
        for descriptor in (self._tool, self._slave, self._wake_r, self._wake_w):
            if descriptor is not None:
                os.close(descriptor)

    def wait_asleep(self, timeout_s=60):
        """Wait until the program sleeps deeply."""
        until_s = time.monotonic() + timeout_s
        while not self.is_asleep:
            assert time.monotonic() < until_s, "the board does not go to sleep"
            self._process_ended.wait(0.05)

    @property
    def is_asleep(self):
        with self._lock:
            return self._process is None and self._quiet

    def files(self):
        """Return what the file system holds; the board is off meanwhile."""
        self.power_off()
        return read_image(Path(self._image).read_bytes())

    # ---- inside ---------------------------------------------------------------------------------

    def _plug(self):
        self._tool, self._slave = pty.openpty()
        _make_raw(self._slave)
        self.port = os.ttyname(self._slave)
        self.carried = 0
        self._process_ended = threading.Event()
        self._nudge()

    def _nudge(self):
        os.write(self._wake_w, b"x")

    def _command(self, cause):
        return [
            *(sys.executable, "-c", "from micropython_unix import main; main()"),
            *("-X", f"heapsize={HEAP_BYTES}"),
        ]

    def _start(self, cause):
        self._end()  # what has just gone to sleep may not have ended
        self.starts += 1
        self._quiet = False
        self._process_ended.clear()
        if self._says is not None:
            os.write(self._tool, self._says)
            return
        self._is_deaf = True
        self._console, terminal = pty.openpty()
        _make_raw(terminal, signals=True)
        environment = dict(os.environ, MICROPYPATH=".frozen", PYTHONDONTWRITEBYTECODE="1")
        self._process = subprocess.Popen(
            self._command(cause),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment,
            pass_fds=self._pass_fds(),
            preexec_fn=_own_terminal,  # noqa: PLW1509 - two calls to the kernel
        )
        os.close(terminal)
        self._begin(cause)
        self._nudge()

    def _pass_fds(self):
        return ()

    def _begin(self, cause):
        """Type the start program into the raw prompt; what that says is kept from the tool."""
        folders = [str(folder) for folder in self._modules]
        program = (HERE / "board_start.py").read_text()
        program += f"\nstart({str(self._image)!r}, {folders!r}, {cause!r}, {self.hold_ms})\n"
        _expect(self._console, b">>> ")
        os.write(self._console, b"\x01")
        _expect(self._console, b"raw REPL; CTRL-B to exit\r\n>")
        os.write(self._console, program.encode() + b"\x04")
        _expect(self._console, b"OK")
        self._booting = True

    def _end(self):
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        console, self._console = self._console, None
        if console is not None:
            os.close(console)

    def _carry(self):
        while not self._is_closed:
            self._wait(0.5)
            with self._lock:
                if self._is_closed:
                    return
                # Once more, for what was ready may have been closed and opened since.
                ready = self._wait(0)
                if self._wake_r in ready:
                    os.read(self._wake_r, 1000)
                if self._tool in ready:
                    self._from_tool()
                if self._console is not None and self._console in ready:
                    self._from_board()

    def _wait(self, timeout_s):
        ends = [end for end in (self._tool, self._console, self._wake_r) if end is not None]
        try:
            return select.select(ends, [], [], timeout_s)[0]
        except (OSError, ValueError):
            return []  # closed meanwhile

    def _from_tool(self):
        try:
            data = os.read(self._tool, 4096)
        except OSError:
            return
        if self.cut_after is not None and self.carried + len(data) > self.cut_after:
            data = data[: self.cut_after - self.carried]
            self._to_board(data)
            self.pull_cable()
            return
        self.carried += len(data)
        self._to_board(data)

    def _to_board(self, data):
        if self._console is not None and not self._is_deaf:
            os.write(self._console, data)

    def _from_board(self):
        try:
            data = os.read(self._console, 4096)
        except OSError:
            data = b""
        if not data:
            self._ended()
            return
        if self._is_deaf and _LISTENS in data:
            data = data.replace(_LISTENS, b"", 1)
            self._is_deaf = False
        if self._booting and b"\x04" in data:
            # The start program is over: from here on it is the tool's prompt, a friendly one.
            data, _, rest = data.partition(b"\x04")
            self._booting = False
            try:
                _expect(self._console, b">", already=rest)
                os.write(self._console, b"\x02")
            except OSError:  # it has gone to sleep
                os.write(self._tool, data)
                self._ended()
                return
        os.write(self._tool, data)

    def _ended(self):
        """The program went to sleep, or asked for a reset."""
        status = self._process.wait()
        self._process = None
        self._end()
        if status == -_RESET:
            self._start("hard")
            return
        self._quiet = True
        self._process_ended.set()


def _make_raw(descriptor, signals=False):
    mode = termios.tcgetattr(descriptor)
    mode[0] = 0  # iflag
    mode[1] = 0  # oflag: no CR before LF, MicroPython writes its own
    mode[3] = termios.ISIG if signals else 0
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    mode[6][termios.VINTR] = b"\x03"
    mode[6][termios.VQUIT] = mode[6][termios.VSUSP] = b"\x00"
    termios.tcsetattr(descriptor, termios.TCSANOW, mode)


def _own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _expect(descriptor, ending, already=b"", timeout_s=30):
    heard = already
    until_s = time.monotonic() + timeout_s
    while not heard.endswith(ending):
        assert time.monotonic() < until_s, heard
        ready, _, _ = select.select([descriptor], [], [], 1)
        if ready:
            heard += os.read(descriptor, 1)
    return heard

"""A board on a pseudo-terminal as the simulator's own kind of device, for the self-test.

The simulator runs in a thread. Its time stands still while the board sleeps deeply or waits at its
prompt, until `let` lets it go on; so what a tool does takes no more of it than its own waits.
"""

import socket
import threading
import time
from importlib import resources
from pathlib import Path

from board_on_pty import HERE, BoardOnPty
from stoep_hardware.esp32 import HARD_RESET, Reset
from stoep_hardware.micropython_device import MicroPythonDevice

_ASLEEP = 75
_PATIENCE_S = 180
MODULES = (
    HERE / "tested_board_modules",
    Path(str(resources.files("stoep_hardware") / "micropython")),
)


class TestedBoard(BoardOnPty):
    """`board` is a SimBoard, `config` its device's; the image decides what runs on it."""

    __test__ = False

    def __init__(self, image, engine, board, config, *, hold_ms=0):
        self._link = None
        self._change = threading.Condition()
        self._wants_reset = False
        self._until_us = 0
        self.problem = None
        super().__init__(image, modules=MODULES, hold_ms=hold_ms)
        self.engine = engine
        self.sim = board
        self.device = _Device(self, engine, board, config)
        self._life = threading.Thread(target=self._live, daemon=True)

    def __enter__(self):
        self.device.start(self.engine.now_us)
        self._life.start()
        self._await(lambda: self.starts > 0)
        with self._lock:  # it has started
            return self

    def reset(self, cause="hard"):
        """Press RESET."""
        with self._lock:
            before = self.starts
            self._wants_reset = True  # noticed in deep sleep; else the end of the wire is
            self._end()
        with self._change:
            self._change.notify_all()
        self._await(lambda: self.starts > before)
        with self._lock:
            pass

    def let(self, seconds):
        """Let simulated time go on for so long; the board's program has to run or sleep."""
        until_us = self.engine.now_us + round(seconds * 1_000_000)
        with self._change:
            self._until_us = until_us
            self._change.notify_all()
        self._await(lambda: self.engine.now_us >= until_us)

    def wait_asleep(self, timeout_s=_PATIENCE_S):
        self._await(lambda: self.is_deep)

    @property
    def is_deep(self):
        return self.sim.esp32._asleep == "deep"

    def close(self):
        self._is_closed = True
        with self._change:
            self._change.notify_all()
        with self._lock:
            self._end()
        self._life.join(_PATIENCE_S)
        super().close()
        self.device.close()

    def _await(self, is_so):
        until_s = time.monotonic() + _PATIENCE_S
        while not is_so():
            if self.problem is not None:
                raise self.problem
            assert time.monotonic() < until_s, "the simulator does not get there"
            with self._change:
                self._change.wait(0.02)

    # ---- the simulator's thread -----------------------------------------------------------------

    def _live(self):
        try:
            while not self._is_closed:
                with self._change:
                    while not (self._is_closed or self._wants_reset or self._may_go_on()):
                        self._change.wait(0.5)
                    wants_reset, self._wants_reset = self._wants_reset, False
                if self._is_closed:
                    return
                if wants_reset:
                    self.device.reset()
                    continue
                next_us = self.engine.next_us()
                if self.is_deep and (next_us is None or next_us > self._until_us):
                    next_us = self._until_us
                self.engine.run_until(next_us)
        except Exception as problem:  # noqa: BLE001 - for the test to see
            self.problem = problem

    def _may_go_on(self):
        return not self.is_deep or self.engine.now_us < self._until_us

    def launch(self):
        """Start MicroPython; returns our end of its wire."""
        ours, theirs = socket.socketpair()
        with self._lock:
            self._link = theirs
            try:
                self._start("power")
            finally:
                theirs.close()
        return ours

    def _command(self, cause):
        command = super()._command(cause)
        command[2] = f"import os; os.dup2({self._link.fileno()}, 3); {command[2]}"
        return command

    def _pass_fds(self):
        return (self._link.fileno(),)

    def _ended(self):
        """The simulator learns it from the wire."""
        self._process.wait()
        self._process = None
        self._end()
        self._quiet = True
        self._process_ended.set()


class _Device(MicroPythonDevice):
    """The simulator's device; its programs run on the terminal, and may be ended by a hand."""

    def __init__(self, terminal, engine, board, config):
        self._terminal = terminal
        super().__init__(engine, board, config, _Runtime(terminal))

    @property
    def console(self):
        return ""

    def _run(self):
        try:
            super()._run()
        except Reset as reset:
            self._reset(reset.cause)

    def _resume(self):
        try:
            super()._resume()
        except Reset as reset:
            self._reset(reset.cause)

    def _fail(self, what):
        self._terminal._wants_reset = False  # this is it
        program, self._program = self._program, None
        if program is not None:
            program.kill()
        raise Reset(HARD_RESET)


class _Runtime:
    """Stands in for the runtime that starts a process per wake."""

    def __init__(self, terminal):
        self._terminal = terminal

    def add_device(self, name):
        folder = Path(self._terminal._image).parent / f"device-{name}"
        folder.mkdir(exist_ok=True)
        return folder

    def remove_device(self, folder):
        pass

    def start(self, folder, console):
        return _Program(self._terminal)


class _Program:
    """Starts when it is first talked to: the board's next wake has no terminal before."""

    def __init__(self, terminal):
        self._terminal = terminal
        self._wire = None

    @property
    def link(self):
        if self._wire is None:
            self._wire = _Wire(self._terminal.launch())
        return self._wire

    def wait(self):
        self._close()
        return _ASLEEP

    def kill(self):
        if self._wire is not None:
            with self._terminal._lock:
                self._terminal._end()
        self._close()
        return 0

    def _close(self):
        if self._wire is not None:
            self._wire.close()


class _Wire:
    def __init__(self, link):
        self._link = link
        self.sendall, self.close = link.sendall, link.close

    def recv(self, count):
        try:
            return self._link.recv(count)
        except ConnectionResetError:
            return b""

    def settimeout(self, _seconds):
        """A tool may take its time at the prompt."""

"""One port with a whole board behind it: its bootloader, and MicroPython on what was flashed.

A pseudo-terminal has no lines by which esptool and the REPL choose between the two, so what the
computer says first chooses: a SLIP frame is for the bootloader (mock_board.py), Ctrl-C for
MicroPython (board_on_pty.py), which is then reset as by RTS. Both have the same flash.
"""

import os
import pty
import select
import threading
import time
import tty
from pathlib import Path

from mock_board import MockBoard

_SLIP, _INTERRUPT = b"\xc0", b"\r\x03"
_PATIENCE_S = 30


class BenchPort:
    """The port `port` of a board; a context manager.

    `boot(image)` makes the BoardOnPty whose file system is that file; None: nothing ever answers.
    The cable is pulled when the computer has said `pull_at[mode]` octets in all to the
    "bootloader" or the "prompt"; at `on[mode] = (octets, call)` something else is done. Of what the
    board says one octet is lost when `lose_at[mode]` have come from there.
    """

    def __init__(self, folder, *, boot=None, vfs=(0x200000, 0x600000), name="board", **options):
        self.port = str(Path(folder) / f"tty-{name}-port")
        self.loader = MockBoard(folder, name=name, **options)
        self.board = None
        self.said = {"bootloader": 0, "prompt": 0}
        self.heard = {"bootloader": 0, "prompt": 0}
        self.pull_at = {}
        self.lose_at = {}
        self.on = {}
        self._boot = boot
        self._vfs = vfs
        self._image = Path(folder) / f"{name}.vfs"
        self._has_run = False  # since flash was last written by us
        self._front = self._back = None
        self._pulled = []
        self._lock = threading.RLock()
        self._is_closed = False
        self.mode = "off"
        self.plug()
        self._pump = threading.Thread(target=self._carry, daemon=True)
        self._pump.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._is_closed = True
        self._pump.join(30)
        assert not self._pump.is_alive()
        self.pull()
        if self.board is not None:
            self.board.close()
        for descriptor in self._pulled:
            os.close(descriptor)
        self.loader.__exit__()

    def plug(self):
        """Put the cable in, again; what was to go wrong does not any more."""
        with self._lock:
            self.pull_at.clear()
            self.lose_at.clear()
            self.on.clear()
            self._front, slave = pty.openpty()
            tty.setraw(slave)
            Path(self.port).unlink(missing_ok=True)
            Path(self.port).symlink_to(os.ttyname(slave))
            os.close(slave)

    def pull(self):
        """Pull the cable, and the power with it."""
        with self._lock:
            if self._front is not None:
                # Until the end nobody else gets a port of this name, which a run may have locked.
                self._pulled.append(os.open(self.port, os.O_RDWR | os.O_NOCTTY))
                Path(self.port).unlink(missing_ok=True)
                os.close(self._front)
                self._front = None
                self._hang_up()
                if self.board is not None:
                    self.board.power_off()

    def flash(self):
        """Return all that flash holds; the board is off meanwhile."""
        self._keep()
        return self.loader.flash()

    def files(self):
        """Return the files on the board."""
        self._keep()
        return {} if self.board is None else self.board.files()

    # ---- inside ---------------------------------------------------------------------------------

    def _hang_up(self):
        if self._back is not None:
            os.close(self._back)
            self._back = None
        self.mode = "off"

    def _keep(self):
        """Turn MicroPython off; what it wrote is in flash."""
        if self._has_run:
            self._has_run = False
            self.board.power_off()
            self.loader.put(self._vfs[0], self._image.read_bytes())

    def _choose(self, data):
        """Look what the computer wants to talk to."""
        if data.startswith(_SLIP) and self.mode != "bootloader":
            self._hang_up()
            self._keep()
            self._back = self._open(self.loader.port)
            self.mode = "bootloader"
        elif data.startswith(_INTERRUPT) and self.mode != "prompt":
            self._hang_up()
            self._keep()
            self.mode = "prompt"
            self._image.write_bytes(self.loader.flash()[self._vfs[0] :][: self._vfs[1]])
            if self._boot is not None:
                if self.board is None:
                    self.board = self._boot(self._image)
                self._has_run = True
                self._back = self._open(self.board.port)
                self.board.reset()

    def _open(self, port):
        descriptor = os.open(port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(descriptor)
        return descriptor

    def _carry(self):
        while not self._is_closed:
            with self._lock:
                front, back = self._front, self._back
            if front is None:
                select.select([], [], [], 0.01)
                continue
            poll = select.poll()
            for end in (front, back):
                if end is not None:
                    poll.register(end, select.POLLIN)
            events = dict(poll.poll(20))
            with self._lock:
                if self._front != front or self._back != back:
                    continue
                if back is not None and events.get(back):
                    self._from_board(back)
                if events.get(front, 0) & select.POLLIN:
                    self._from_computer(front)
                elif events.get(front, 0) & select.POLLHUP:
                    self._closed()

    def _closed(self):
        """Nobody has the port open: what is said next chooses anew."""
        if self.mode != "off":
            self._hang_up()
        self._lock.release()
        try:
            select.select([], [], [], 0.002)
        finally:
            self._lock.acquire()

    def _from_board(self, back):
        try:
            data = os.read(back, 65_536)
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        before = self.heard[self.mode]
        self.heard[self.mode] += len(data)
        lost = self.lose_at.get(self.mode, -1)
        if before <= lost < before + len(data):
            del self.lose_at[self.mode]
            data = data[: lost - before] + data[lost - before + 1 :]
        if self._front is not None:
            self._tell(self._front, data)

    def _tell(self, front, data):
        """Say it to whoever has the port open, who may stand still for a while."""
        poll = select.poll()
        poll.register(front, select.POLLOUT)
        until_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until_s:
            events = dict(poll.poll(100)).get(front, 0)
            if events & select.POLLHUP:
                return  # whoever has died does not read
            if events & select.POLLOUT:
                os.write(front, data)
                return

    def _from_computer(self, front):
        try:
            data = os.read(front, 65_536)
        except OSError:
            return
        self._choose(data)
        if self.mode not in self.said:
            return
        before = self.said[self.mode]
        self.said[self.mode] += len(data)
        if self.said[self.mode] >= self.pull_at.get(self.mode, float("inf")) > before:
            self.pull()
            return
        after, call = self.on.get(self.mode, (float("inf"), None))
        if self.said[self.mode] >= after:
            del self.on[self.mode]
            call()
        if self._back is None or (self.mode == "prompt" and not self._may_interrupt()):
            return
        try:
            os.write(self._back, data)
        except OSError:
            self._hang_up()

    def _may_interrupt(self):
        ready = getattr(self.board, "can_be_interrupted", None)
        return ready is None or ready.is_set()

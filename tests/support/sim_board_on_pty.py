"""A board on a pseudo-terminal whose pins and clocks are the simulator's: it measures and sends.

A thread of its own runs the simulation: it answers MicroPython's wire (micropython/_link.py), and
lets time pass while the firmware waits. In deep sleep time stands still but for `run_until`.
"""

import os
import select
import socket
import struct
import sys
import threading
from collections import deque
from importlib import resources
from pathlib import Path

from board_on_pty import HERE, BoardOnPty
from stoep_hardware import esp32 as soc
from stoep_hardware.buses import CALL_US
from stoep_hardware.engine import US_PER_MS, US_PER_S
from stoep_hardware.micropython_device import Wire
from stoep_hardware.micropython_runtime import HEAP_BYTES
from stoep_hardware.pins import PIN_US

_HEAD = struct.Struct("<BIH")
_CAUSES = {"hard": soc.HARD_RESET, "watchdog": soc.WDT_RESET}
_FEED = 28  # what its start says when it is over
_LAG_US = 10 * US_PER_MS  # of the world behind a processor that runs


class SimBoardOnPty(BoardOnPty):
    """A board of chip models; `board` is the SimBoard, `step(until_us)` lets its world go on."""

    def __init__(self, image, board, step, **options):
        self.board = board
        self._step = step
        self._wire = Wire(board.esp32)
        self._link = None
        self._theirs = None
        self._received = bytearray()
        self._orders = deque()
        self._until_us = 0
        self._reached = threading.Condition()
        self._order_r, self._order_w = os.pipe()
        self.problem = None
        self.can_be_interrupted = threading.Event()
        mcu = board.esp32
        mcu.on_boot, mcu.on_resume, mcu.on_reset = self._boot, self._resume, self._reset
        modules = (HERE / "sim_board_modules", resources.files("stoep_hardware") / "micropython")
        super().__init__(image, modules=[Path(str(one)) for one in modules], **options)
        self._simulation = threading.Thread(target=self._simulate, daemon=True)
        self._simulation.start()

    def run_until(self, t_us, timeout_s=120):
        """Let simulated time pass; the board wakes and sleeps meanwhile."""
        with self._reached:
            self._until_us = t_us
            self._order("go on")
            assert self._reached.wait_for(
                lambda: self.problem or self._now_us() >= t_us, timeout_s
            ), "the simulation stands still"
        self.check()

    def wait_asleep(self, timeout_s=180):
        with self._reached:
            asleep = self._reached.wait_for(lambda: self.problem or self._is_deep, timeout_s)
        self.check()
        assert asleep, "the board does not go to sleep"

    @property
    def _is_deep(self):
        return self._wire.is_deep and self._now_us() >= self._until_us

    def check(self):
        """Raise what went wrong in the simulation."""
        if self.problem is not None:
            raise self.problem
        assert self.board.violations == [], self.board.violations

    def power_off(self):
        super().power_off()
        self._order("off")

    def close(self):
        super().close()
        self._order("close")
        self._simulation.join(30)
        assert not self._simulation.is_alive()
        for descriptor in (self._order_r, self._order_w):
            os.close(descriptor)

    # ---- the process ----------------------------------------------------------------------------

    def _command(self, cause):
        become = f"import os; os.dup2({self._theirs.fileno()}, 3)"
        main = "from micropython_unix import main; main()"
        return [sys.executable, "-c", f"{become}; {main}", "-X", f"heapsize={HEAP_BYTES}"]

    def _pass_fds(self):
        return (self._theirs.fileno(),)

    def _start(self, cause):
        """Let it start in its world, which then calls `_boot`."""
        self.can_be_interrupted.clear()
        self._order(cause)

    def _order(self, what):
        self._orders.append(what)
        os.write(self._order_w, b"x")

    # ---- the simulation, in its thread ----------------------------------------------------------

    def _now_us(self):
        return self.board.esp32._engine.now_us

    def _simulate(self):
        try:
            while not self._is_closed:
                self._turn()
        except BaseException as problem:  # noqa: BLE001 - the test shall see it
            with self._reached:
                self.problem = problem
                self._reached.notify_all()
        finally:
            self._unlink()

    def _turn(self):
        mcu = self.board.esp32
        while self._orders:
            self._obey(self._orders.popleft())
        if mcu.is_awake:
            self._serve()
        elif mcu._asleep == "off" or self._is_deep:
            with self._reached:
                self._reached.notify_all()
            self._rest(self._order_r)
        else:
            # Event by event: code that an event wakes must not fall behind its world.
            limit_us = self._until_us if self._wire.is_deep else self._now_us() + US_PER_S
            self._step(min(limit_us, self.board.esp32._engine.next_us() or limit_us))

    def _obey(self, order):
        mcu = self.board.esp32
        if order in ("power", "off"):
            # The radio first, lest it sees the processor's pins fall.
            self.board.radio.power(False, self._now_us())
            self.board.power_off()
        if order == "power":
            self.board.power_on()
        elif order in _CAUSES:
            mcu.reset(_CAUSES[order])
        if order != "go on":
            self._unlink()

    def _unlink(self):
        self._wire.is_deep = False
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _boot(self):
        """Start MicroPython, now, and tell it what woke it."""
        mcu = self.board.esp32
        self._unlink()
        self._received.clear()
        with self._lock:
            if self._is_closed:
                return
            self._end_gently()
            self._link, self._theirs = socket.socketpair()
            with self._theirs:
                super()._start("power")
        begin = struct.pack(
            "<6sBBQIIIII",
            mcu.unique_id,
            mcu.reset_cause,
            mcu.wake_reason,
            sum(1 << number for number in mcu.rtc_pins),
            mcu.freq_hz,
            *(PIN_US, CALL_US, soc.SLEEP_CALL_US, soc.IDLE_FROM_US),
        )
        self._send(begin)

    def _end_gently(self):
        """A program that went to sleep a moment ago may not have ended."""
        process = self._process
        if process is not None and self._wire.is_deep:
            process.wait(60)
        self._end()

    def _resume(self):
        self._answer(bytes((self.board.esp32.wake_reason,)))

    def _reset(self, cause):
        with self._lock:
            self._end()
        self._unlink()
        self.board.esp32.reset(cause)

    def _serve(self):
        if self._link is None:
            self._rest(self._order_r)
            return
        mcu = self.board.esp32
        if mcu.t_us - self._now_us() > _LAG_US:
            self._step(mcu.t_us)
        if not self._complete():
            self._rest(self._order_r, self._link)
            return
        operation, spent_us, size = _HEAD.unpack_from(self._received)
        payload = bytes(self._received[_HEAD.size : _HEAD.size + size])
        del self._received[: _HEAD.size + size]
        if operation == _FEED:
            self.can_be_interrupted.set()
        try:
            mcu.advance(spent_us)
            answer = self._wire.perform(operation, payload)
        except soc.Reset as reset:
            self._reset(reset.cause)
            return
        if answer is not None:
            self._answer(answer)

    def _complete(self):
        """Tell whether a whole message is there, having read what has come."""
        while self._link is not None:
            if len(self._received) >= _HEAD.size:
                size = _HEAD.size + _HEAD.unpack_from(self._received)[2]
                if len(self._received) >= size:
                    return True
            if not select.select([self._link], [], [], 0)[0]:
                return False
            data = self._link.recv(65_536)
            if not data:
                self._unlink()
            self._received += data
        return False

    def _answer(self, answer):
        self._send(self.board.esp32.rtc_us().to_bytes(8, "little") + answer)

    def _send(self, data):
        try:
            if self._link is not None:
                self._link.sendall(data)
        except OSError:
            self._unlink()

    def _rest(self, *ends):
        ready = select.select([end for end in ends if end is not None], [], [], 0.5)[0]
        if self._order_r in ready:
            os.read(self._order_r, 1000)

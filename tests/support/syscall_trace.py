"""Runs a program under strace and reads what it asked of the kernel: files, syncs, sends.

Every call has two places on one line of time, ``start`` and ``end``: strace stops a thread before
the kernel begins the call and again after it, and writes down both. So whatever ended before
another call started really came first, on whichever threads the two ran; calls that overlap have
no order. Only what may change a file or leave the machine is recorded.

A call that this reader does not understand and that could write is an error, not a gap: a gap
would let a program pass that should not.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Call", "TracedProcess", "UnreadableTraceError", "read_calls"]

NEVER = 1 << 62  # the end of a call that the trace's end, or a kill, cut off

# What is understood (by power_cut), and what must not happen unnoticed. A question mark: this
# machine may not have the call.
_UNDERSTOOD = (
    "open openat creat close dup dup2 dup3 fcntl write pwrite64 writev ftruncate fsync fdatasync"
    " rename renameat renameat2 unlink unlinkat mkdir mkdirat rmdir lseek socket connect"
    " accept accept4 sendto sendmsg"
)
_REFUSED = (
    "pwritev pwritev2 truncate fallocate copy_file_range sendfile splice link linkat symlink"
    " symlinkat sendmmsg io_uring_setup io_setup sync_file_range mmap chdir fchdir"
    " clone clone3 fork vfork execve"
)

_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)  # short process ids are padded
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)(?: .*)?$", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_TRACER_PATIENCE_S = 60


class UnreadableTraceError(Exception):
    """The program did something that this instrument cannot follow."""


@dataclass(frozen=True, slots=True)
class Call:
    """One system call; ``result`` is None when it never returned."""

    start: int
    end: int
    name: str
    arguments: str
    result: int | None

    @property
    def done(self) -> bool:
        """It returned, and not with an error."""
        return self.result is not None and self.result >= 0


class TracedProcess:
    """A program running under strace, in a process group of its own; ends with the ``with``."""

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        trace: Path,
        *,
        cwd: Path,
        stderr: Path | None = None,
    ) -> None:
        strace = shutil.which("strace")
        if strace is None:
            raise RuntimeError("strace is not installed: sudo apt install strace")
        calls = ",".join(f"?{name}" for name in f"{_UNDERSTOOD} {_REFUSED}".split())
        options = ["-f", "--seccomp-bpf", "-a", "1", "-xx", "-s", "16777216", "-e", "signal=none"]
        self.trace = trace
        self._errors = (stderr or trace.with_suffix(".stderr")).open("wb")
        self.process = subprocess.Popen(
            [strace, *options, "-o", trace, "-e", f"trace={calls}", "--", *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )

    def wait(self, timeout_s: float) -> int:
        """Wait for the program's end and return its exit code."""
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """Kill what still runs: first the program, so that strace can write its last line whole."""
        if self.process.poll() is None:
            tracer = self.process.pid
            try:
                children = Path(f"/proc/{tracer}/task/{tracer}/children").read_text()
                for child in children.split():
                    os.kill(int(child), signal.SIGKILL)
            except OSError:  # one of them has just ended by itself
                pass
            try:
                self.process.wait(_TRACER_PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(tracer, signal.SIGKILL)
                self.process.wait()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_calls(trace: Path) -> list[Call]:
    """Return all calls of a trace in the order in which they started."""
    calls = list(_calls(trace))
    calls.sort(key=lambda call: call.start)
    return calls


def _calls(trace: Path) -> Iterator[Call]:
    begun: dict[str, tuple[int, str]] = {}
    with trace.open(encoding="ascii") as lines:
        for at, text in enumerate(lines):
            line = _LINE.fullmatch(text.rstrip("\n"))
            if line is None:
                raise UnreadableTraceError(f"line {at}: {text[:80]!r}")
            thread, what = line.groups()
            if what.startswith(("+++", "---")):
                continue
            start = at
            if what.endswith(_UNFINISHED):
                begun[thread] = (at, what.removesuffix(_UNFINISHED))
                continue
            resumed = _RESUMED.fullmatch(what)
            if resumed is not None:
                start, first = begun.pop(thread)
                what = first + resumed[1]
            yield _call(start, at, what)
    for start, what in begun.values():
        yield _call(start, NEVER, what + ") = ?")


def _call(start: int, end: int, what: str) -> Call:
    parts = _WHOLE.fullmatch(what)
    if parts is None:
        raise UnreadableTraceError(f"line {end}: {what[:80]!r}")
    name, arguments, result = parts.groups()
    if result == "?":
        return Call(start, NEVER, name, arguments, None)
    return Call(start, end, name, arguments, int(result, 0))

"""A module as a program of its own, which takes its memory with it when it ends. Blocking."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

__all__ = ["run", "why"]

_ASK_S = 0.2  # whether to give up


def run(
    module: str, asked: bytes, cancelled: Callable[[], bool]
) -> subprocess.CompletedProcess[bytes]:
    """Run it with ``asked`` as its input; once ``cancelled()`` is true it is killed."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        ThreadPoolExecutor(1) as beside,
        subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
        ) as process,
    ):
        # With a timeout it would not go on with an input for which the pipe has had no room yet.
        ending = beside.submit(process.communicate, asked)
        while not wait([ending], _ASK_S).done:
            if cancelled():
                process.kill()
        told, words = ending.result()
    return subprocess.CompletedProcess(module, process.returncode, told, words)


def why(ended: subprocess.CompletedProcess[bytes], what: str) -> str:
    """Return in a line how it has failed: its code, and the last that it said."""
    last = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f"{what} has ended with {ended.returncode}: {last}".removesuffix(": ")

"""Several boards at once, and Ctrl-C: only the main thread has it, every board's has to notice.

What runs is ended, and what waits stops waiting: each board is then told of as if it had failed.
"""

import subprocess
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from .errors import INTERRUPTED, FlashError

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")

_GRACE_S = 2.0
_LOOK_S = 0.2  # on Windows nothing else lets Ctrl-C in

_programs: "set[subprocess.Popen[str]]" = set()
_change = threading.Lock()
_stopped = threading.Event()


def check() -> None:
    """Raise `FlashError` if all were told to stop."""
    if _stopped.is_set():
        raise _interrupted()


def rest(seconds: float) -> None:
    """Wait so long. Raises `FlashError` at once if all are told to stop."""
    if _stopped.wait(seconds):
        raise _interrupted()


def _interrupted() -> FlashError:
    return FlashError("interrupted", "run it again: it goes on where it was", INTERRUPTED)


def mistake(problem: Exception) -> FlashError:
    """Return what is said of a mistake of ours: its own words may hold a key."""
    return FlashError(
        f"a mistake of this program: {type(problem).__name__}",
        "run it again; if it stays, report it",
    )


@contextmanager
def program(command: Sequence[str], **options: Any) -> "Iterator[subprocess.Popen[str]]":
    """Start a program that speaks text, and end it with the context or when all are to stop."""
    with _change:
        check()
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            **options,
        )
        _programs.add(child)
    try:
        yield child
    finally:
        _end(child)
        with _change:
            _programs.discard(child)
    check()


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    for end in (child.stdin, child.stdout, child.stderr):
        if end is not None:
            with suppress(OSError):  # what it has not read
                end.close()


def at_once(jobs: Mapping[Key, Callable[[], Result]]) -> dict[Key, Result | FlashError]:
    """Do one job per board, all at once; return what each gave, or how it failed.

    Ctrl-C ends every program that runs, waits until the jobs have noticed, and goes on up.
    """
    try:
        with ThreadPoolExecutor(max(1, len(jobs))) as threads:
            running = {key: threads.submit(job) for key, job in jobs.items()}
            try:
                return {key: _result(future) for key, future in running.items()}
            except BaseException:
                stop_all()
                raise
    finally:
        _stopped.clear()


def _result(future: "Future[Any]") -> Any:
    while not future.done():
        wait([future], _LOOK_S)
    try:
        return future.result()
    except FlashError as problem:
        return problem
    except Exception as problem:  # noqa: BLE001 - the other boards are still told of
        return mistake(problem)


def stop_all() -> None:
    """End every program that runs, and have all that waits stop, until `at_once` has ended."""
    with _change:
        _stopped.set()
        for child in _programs:
            with suppress(OSError):
                child.terminate()

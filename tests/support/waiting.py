"""Waiting for a condition in real time: no fixed sleeps, and a deadline that fails loudly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["PATIENCE_S", "until", "wait_until"]

PATIENCE_S = 60.0  # far beyond what anything takes, for machines that are busy with other tests
_POLL_S = 0.005


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Return once ``condition()`` is true. Raises ``TimeoutError`` naming ``what`` otherwise."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {patience_s:.0f} s still not: {what}")
        time.sleep(_POLL_S)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Do the same on the event loop."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {PATIENCE_S:.0f} s still not: {what}")
        await asyncio.sleep(0.001)

"""Logging: one format for the journal, and a throttle so that bad input cannot flood it."""

from __future__ import annotations

import logging
import sys

__all__ = ["Throttle", "set_up"]

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def set_up(*, verbose: bool = False) -> None:
    """Log to standard error, uplinks one by one only if ``verbose``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("stoep_gateway")
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False


class _OneLine(logging.Formatter):
    """Writes out control characters: a message may quote what strangers sent."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the library's name)
        return super().formatMessage(record).translate(_CONTROLS)


class Throttle:
    """Lets each key through once per interval and counts what it holds back."""

    def __init__(self, interval_ms: int = 60_000) -> None:
        self._interval_ms = interval_ms
        self._keys: dict[str, tuple[int, int]] = {}

    def passes(self, key: str, now: int) -> int:
        """Return how often ``key`` came since it last passed, this time included; 0: be silent."""
        until_ms, held_back = self._keys.get(key, (now, 0))
        if now < until_ms:
            self._keys[key] = (until_ms, held_back + 1)
            return 0
        self._keys[key] = (now + self._interval_ms, 0)
        return held_back + 1

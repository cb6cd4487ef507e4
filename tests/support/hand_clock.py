"""A clock for machine tests: time passes when the test says so, commits when it lets them."""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["HandClock"]


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class HandClock:
    """Fits ``stoep_gateway.clock.Clock``; ``under_way`` counts work begun and not ended."""

    def __init__(self, utc_start_ms: int = 1_767_225_600_000) -> None:
        self._now_ms = 0
        self._utc_start_ms = utc_start_ms
        self._timers: list[tuple[int, int, _Timer]] = []
        self._count = 0
        self.under_way = 0
        self.is_known = True

    def now_ms(self) -> int:
        return self._now_ms

    def utc_ms(self) -> int:
        return self._utc_start_ms + self._now_ms

    def utc_is_known(self) -> bool:
        return self.is_known

    def utc_is_settled(self) -> bool:
        return self.is_known

    def call_at(self, when_ms: int, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(callback)
        self._count += 1
        heapq.heappush(self._timers, (when_ms, self._count, timer))
        return timer

    def when_started(self, callback: Callable[[], None]) -> None:
        callback()

    def begin(self) -> None:
        self.under_way += 1

    def end(self) -> None:
        self.under_way -= 1

    def timers(self) -> int:
        """Return how many calls are to come."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def next_ms(self) -> int | None:
        """Return when the next call is due."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def forget_all(self) -> None:
        """Forget all calls and what is under way, as the end of a process does."""
        self._timers.clear()
        self.under_way = 0

    def set_utc(self, by_ms: int) -> None:
        """Set the system's clock forward or back; the monotonic one goes on."""
        self._utc_start_ms += by_ms

    def pass_ms(self, ms: int) -> None:
        """Let time pass, with every call that falls due."""
        until_ms = self._now_ms + ms
        while self._timers and self._timers[0][0] <= until_ms:
            when_ms, _, timer = heapq.heappop(self._timers)
            self._now_ms = max(self._now_ms, when_ms)
            if timer.callback is not None:
                timer.callback()
        self._now_ms = until_ms

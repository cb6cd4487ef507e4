"""The virtual clock: a queue of callbacks in order of time, and the seeded randomness of a run.

Time is an integer of microseconds since the simulation began and moves only from one callback to
the next. Nothing here knows devices, radios, sockets or the wall clock.
"""

import hashlib
import heapq
import random
from collections.abc import Callable

Callback = Callable[[], None]

US_PER_MS = 1_000
US_PER_S = 1_000_000


class Handle:
    """A callback that is due at `at_us`; `cancel()` takes it back, before or after it ran."""

    __slots__ = ("_callback", "at_us")

    def __init__(self, at_us: int, callback: Callback) -> None:
        self.at_us = at_us
        self._callback: Callback | None = callback

    @property
    def is_due(self) -> bool:
        """Tell whether the callback is still going to run."""
        return self._callback is not None

    def cancel(self) -> None:
        """Make the callback not run. Cancelling twice, or too late, is no error."""
        self._callback = None

    def take(self) -> Callback | None:
        """Return the callback, once; None when it was cancelled. For the engine."""
        callback, self._callback = self._callback, None
        return callback


class Engine:
    """Runs callbacks in order of time; those of one instant run in the order they were asked for.

    A callback takes no simulated time. A device that spends time inside one (an SPI transfer, a
    short busy wait) keeps the difference itself and asks for what follows at its own later time.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.now_us = 0
        self.events_run = 0
        self._queue: list[tuple[int, int, Handle]] = []
        self._next_number = 0
        self._randoms: dict[str, random.Random] = {}

    def at(self, t_us: int, callback: Callback) -> Handle:
        """Ask for `callback()` at `t_us`; raises ValueError when that is in the past."""
        if t_us < self.now_us:
            raise ValueError(f"asked for {t_us} us, but it is already {self.now_us} us")
        handle = Handle(t_us, callback)
        heapq.heappush(self._queue, (t_us, self._next_number, handle))
        self._next_number += 1
        return handle

    def after(self, delay_us: int, callback: Callback) -> Handle:
        """Ask for `callback()` in `delay_us`."""
        return self.at(self.now_us + delay_us, callback)

    def next_us(self) -> int | None:
        """Return the time of the next callback, None when there is none."""
        queue = self._queue
        while queue and not queue[0][2].is_due:
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def run_until(self, t_us: int) -> None:
        """Run every callback due up to and including `t_us`; then it is `t_us`.

        An exception in a callback is passed on; the time is then that callback's.
        """
        queue = self._queue
        while queue and queue[0][0] <= t_us:
            at_us, _, handle = heapq.heappop(queue)
            callback = handle.take()
            if callback is not None:
                self.now_us = at_us
                self.events_run += 1
                callback()
        self.now_us = max(self.now_us, t_us)

    def random(self, name: str) -> random.Random:
        """Return this run's source of randomness for one purpose, always the same object.

        Its sequence depends on the seed and the name alone, so that one purpose's draws never
        shift another's.
        """
        source = self._randoms.get(name)
        if source is None:
            digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
            source = random.Random(digest)  # noqa: S311 - reproducible on purpose
            self._randoms[name] = source
        return source

"""UTC as an offset to monotonic time, and what is known of that offset. Pure.

A Raspberry Pi has no clock that runs while it is off: at boot its time is hours to years wrong.
Until somebody sets it UTC is *provisional*: it runs on from the newest time that was recorded, and
what is recorded meanwhile is corrected by ``Known.by_ms`` later. Once it is known, a step of the
system's clock is followed; a small one back, as a leap second's, by going slower for a while, so
that no time comes twice.

::

    provisional ── synchronised, set by hand, or the forwarders agree ──▶ known ─┐ steps are
         └──────────────── waited long enough: as it is ──────────────────▲  └───┘ followed

Times are milliseconds; ``now`` is monotonic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Known", "Reading", "Stepped", "Timekeeper", "Why"]

STEP_MS = 500  # less than that is how long reading two clocks may take on a busy machine
SET_MS = 5_000  # by so much at least does somebody who sets a wrong clock move it
SLEWED_MS = 5_000
SLEW_SHARE = 10  # a tenth slower
SETTLED_AFTER_MS = 3_600_000
UNCERTAIN_MS = 86_400_000
_BUILT_UTC_MS = 1_780_000_000_000  # of May 2026: this program is not older
_TEN_YEARS_MS = 10 * 31_557_600_000

Why = Literal["synchronised", "trusted", "kept", "set", "agreed", "waited"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The system's clock. ``synchronised``: the kernel says so.

    ``kept``: the machine has a clock that runs while it is off, and the two agree. ``agreed``:
    forwarders on other machines have the same time.
    """

    utc_ms: int
    synchronised: bool = False
    kept: bool = False
    agreed: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """UTC is no longer provisional; what was recorded from ``from_utc_ms`` on is ``by_ms`` off."""

    why: Why
    from_utc_ms: int
    by_ms: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """The system's clock was set while UTC was known, and UTC with it."""

    by_ms: int


class Timekeeper:
    """Says what time it is. ``read`` wants to be called every second or so.

    ``floor_utc_ms`` is the newest time that was ever recorded. ``resumed_utc_ms``: an earlier
    process of this boot had provisional times; it would be so late in them now, and they began at
    ``began_utc_ms``.
    """

    def __init__(
        self,
        now: int,
        reading: Reading,
        *,
        floor_utc_ms: int = 0,
        trust: bool = False,
        wait_ms: int = 600_000,
        began_utc_ms: int | None = None,
        resumed_utc_ms: int | None = None,
    ) -> None:
        self._trust = trust
        self._floor_ms = floor_utc_ms
        self._give_up_ms = now + wait_ms
        self._lag_ms = 0  # what is left to be lost by going slower, at ``_lag_at_ms``
        self._lag_at_ms = now
        self._seen_ahead_ms = reading.utc_ms - now
        self._settled_ms = now
        why = self._why(reading)
        self.why: Why | None = why
        self.is_resumed = began_utc_ms is not None
        self.provisional_from_ms: int | None = None
        self._ahead_ms = self._seen_ahead_ms
        if why is None or began_utc_ms is not None:
            self.why = None
            start_ms = max(reading.utc_ms, floor_utc_ms + 1)
            if began_utc_ms is not None and resumed_utc_ms is not None:
                start_ms = resumed_utc_ms
            self.provisional_from_ms = start_ms if began_utc_ms is None else began_utc_ms
            self._ahead_ms = start_ms - now
        elif why == "kept":
            self._settled_ms = now + UNCERTAIN_MS

    @property
    def is_known(self) -> bool:
        """Whether times go out as they are."""
        return self.why is not None

    def is_settled(self, now: int) -> bool:
        """Whether old things may be forgotten by this time: it is known, and not since just now."""
        return self.why not in (None, "waited") and now >= self._settled_ms

    def utc_ms(self, now: int) -> int:
        """Return UTC."""
        if self._lag_ms:
            left_ms = self._lag_ms - (now - self._lag_at_ms) // SLEW_SHARE
            if left_ms > 0:
                return now + self._ahead_ms + left_ms
            self._lag_ms = 0
        return now + self._ahead_ms

    def read(self, now: int, reading: Reading) -> Known | Stepped | None:
        """Take what the system's clock says now."""
        ahead_ms = reading.utc_ms - now
        step_ms = ahead_ms - self._seen_ahead_ms
        if abs(step_ms) < STEP_MS:
            step_ms = 0
        else:
            self._seen_ahead_ms = ahead_ms
        if self.why is None:
            return self._provisional(now, reading, abs(step_ms) >= SET_MS)
        if self.why in ("waited", "kept") and reading.synchronised:
            self.why = "synchronised"
            self._settled_ms = now + SETTLED_AFTER_MS
        # Of what was waited for in vain the first synchronisation may be no step, but still right.
        step_ms = self._seen_ahead_ms - self._ahead_ms
        if abs(step_ms) < STEP_MS or (self.why == "waited" and not self._plausible(reading)):
            return None
        self._step(now, step_ms)
        return Stepped(step_ms)

    def _provisional(self, now: int, reading: Reading, was_set: bool) -> Known | None:
        why = self._why(reading)
        if why is None and was_set and self._plausible(reading):
            why = "set"
        began_ms = self.provisional_from_ms
        assert began_ms is not None
        if why is None:
            if now < self._give_up_ms:
                return None
            self.why = "waited"
            self.provisional_from_ms = None
            # Steps from here on count from where we are.
            return Known("waited", began_ms, 0)
        by_ms = reading.utc_ms - now - self._ahead_ms
        self.why = why
        self._ahead_ms += by_ms
        self._seen_ahead_ms = self._ahead_ms
        self._settled_ms = now + (UNCERTAIN_MS if why == "kept" else SETTLED_AFTER_MS)
        self.provisional_from_ms = None
        return Known(why, began_ms, by_ms)

    def _step(self, now: int, step_ms: int) -> None:
        shown_ms = self.utc_ms(now)
        self._ahead_ms += step_ms
        lag_ms = shown_ms - (now + self._ahead_ms)
        self._lag_ms = lag_ms if lag_ms > 0 and step_ms >= -SLEWED_MS - STEP_MS else 0
        self._lag_at_ms = now
        if abs(step_ms) > SLEWED_MS:
            self._settled_ms = max(self._settled_ms, now + SETTLED_AFTER_MS)

    def _why(self, reading: Reading) -> Why | None:
        if self._trust:
            return "trusted"
        if reading.synchronised:
            return "synchronised"
        if not self._plausible(reading):
            return None
        if reading.agreed:
            return "agreed"
        return "kept" if reading.kept else None

    def _plausible(self, reading: Reading) -> bool:
        earliest_ms = max(_BUILT_UTC_MS, self._floor_ms)
        return earliest_ms <= reading.utc_ms < _BUILT_UTC_MS + _TEN_YEARS_MS

"""How late a Basics Station's messages come, by the clock in their ``xtime``. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LATENESS_WINDOW_MS", "Lateness"]

LATENESS_WINDOW_MS = 600_000
_COUNTER = 2**48 - 1


@dataclass(slots=True)
class Lateness:
    """How much later than its fastest messages a station's message has come."""

    session: int = -1  # xtime's upper bits: radio and a number drawn at each start
    since_ms: int = 0
    fastest_us: int = 0
    fastest_before_us: int = 0

    def of(self, xtime: int, now: int) -> int:
        """Return it in milliseconds; the fastest of the last 10 to 20 minutes counts."""
        distance_us = 1000 * now - (xtime & _COUNTER)
        age_ms = now - self.since_ms
        if xtime >> 48 != self.session or age_ms > 2 * LATENESS_WINDOW_MS:
            self.session, self.since_ms = xtime >> 48, now
            self.fastest_us = self.fastest_before_us = distance_us
        elif age_ms > LATENESS_WINDOW_MS:
            self.fastest_before_us, self.since_ms = self.fastest_us, now
            self.fastest_us = distance_us
        else:
            self.fastest_us = min(self.fastest_us, distance_us)
        return max(0, distance_us - min(self.fastest_us, self.fastest_before_us)) // 1000

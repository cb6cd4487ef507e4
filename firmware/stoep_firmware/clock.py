"""The board's time in milliseconds: it survives deep sleep, not a power loss, and never wraps.

It rests on `time.time_ns()`, which the RTC carries through deep sleep; `ticks_ms` restarts at
every wake. Nothing in the firmware sets the RTC, so this time runs forward from power-on and says
nothing about the date. Where the RTC begins anew and its memory does not, app.py adds an offset.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Reads the board's time."""

    def __init__(self, time_ns: "Callable[[], int]") -> None:
        self._time_ns = time_ns
        self.offset_ms = 0  # what keeps this time from going back when the RTC has

    def now_ms(self) -> int:
        """Milliseconds on the board's own scale."""
        return self._time_ns() // 1_000_000 + self.offset_ms

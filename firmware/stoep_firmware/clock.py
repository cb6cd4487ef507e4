"""The board's time in milliseconds: it survives deep sleep, not a power loss, and never wraps.

It rests on `time.time_ns()`, which the RTC carries through deep sleep; `ticks_ms` restarts at
every wake. Nothing in the firmware sets the RTC, so this time runs forward from power-on and says
nothing about the date. Where the RTC begins anew and its memory does not, there is an
offset from then on.

What the network says of the time tells how fast this clock is. It changes nothing in `now_ms`:
ages are corrected by `elapsed_ms`, and receive windows widen by `error_ppm`.
"""

import struct

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

_FORMAT = "<qqii"
_UNKNOWN_PPM = const(3000)
# The network's time is right to 100 ms (LoRaWAN 1.0.3, 5.10), at both ends of a measurement.
_SYNC_ERROR_MS = const(200)
_SHORTEST_MS = const(6 * 3_600_000)  # a measurement: 9 ppm of that error
_LEAST_PPM = const(100)  # half a millisecond in the longest wait for RX1 that is usual
_MOST_PPM = const(50_000)  # no RTC is worse: it has begun anew in between


class Clock:
    """Reads the board's time. `drift_ppm` is how much too fast it goes, 0 until that is known."""

    def __init__(self, time_ns: "Callable[[], int]") -> None:
        self._time_ns = time_ns
        self.offset_ms = 0  # what keeps this time from going back when the RTC has
        self.drift_ppm = 0
        self._spread_ppm = 0  # how uncertain that is; 0 before the first measurement
        self._board_ms = 0  # where the measurement began, in both times
        self._gps_ms = 0

    def now_ms(self) -> int:
        """Milliseconds on the board's own scale."""
        return self._time_ns() // 1_000_000 + self.offset_ms

    def synced(self, board_ms: int, gps_ms: int) -> None:
        """Learn that at `board_ms` it was `gps_ms`."""
        span_ms = gps_ms - self._gps_ms
        if self._gps_ms and 0 <= span_ms < _SHORTEST_MS:
            return
        if self._gps_ms and span_ms > 0:
            drift_ppm = (board_ms - self._board_ms - span_ms) * 1_000_000 // span_ms
            if abs(drift_ppm) <= _MOST_PPM:
                # It changes with the temperature: expect twice the last change, and forget slowly.
                change_ppm = 2 * abs(drift_ppm - self.drift_ppm)
                before_ppm = self._spread_ppm * 3 // 4
                if not self._spread_ppm:
                    change_ppm, before_ppm = 0, _UNKNOWN_PPM // 4
                error_ppm = _SYNC_ERROR_MS * 1_000_000 // span_ms
                self._spread_ppm = max(change_ppm, before_ppm, error_ppm, _LEAST_PPM)
                self.drift_ppm = drift_ppm
        self._board_ms = board_ms
        self._gps_ms = gps_ms

    def broke(self) -> None:
        """Forget where the measurement began: nobody knows how much time has been lost since."""
        self._gps_ms = 0

    def error_ppm(self) -> int:
        """Return how far off a time may be that was measured by this clock alone."""
        if not self._spread_ppm:
            return _UNKNOWN_PPM
        return abs(self.drift_ppm) + self._spread_ppm

    def elapsed_ms(self, since_ms: int, now_ms: int) -> int:
        """Return how much time has really passed between two times of this clock."""
        return (now_ms - since_ms) * 1_000_000 // (1_000_000 + self.drift_ppm)

    def pack(self) -> bytes:
        """Return what RTC memory keeps of the drift."""
        return struct.pack(_FORMAT, self._board_ms, self._gps_ms, self.drift_ppm, self._spread_ppm)

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave; nothing in `b""`."""
        if data:
            self._board_ms, self._gps_ms, self.drift_ppm, self._spread_ppm = struct.unpack(
                _FORMAT, data
            )

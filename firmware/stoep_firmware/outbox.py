"""Readings of a container, numbered, kept across sleep so that every report carries earlier ones.

The newest `KEPT` readings live in RTC memory. A report repeats as many as the settings ask for,
and those that have not been in a report yet; what does not fit the data rate is left out.
Numbers go on after a power loss beyond any that was used, in the manner of FCntUp (session.py).
"""

import struct

from stoep_protocol.messages import BinReport

from stoep_firmware.session import RESERVE

KEPT = 24

_HEAD = "<HHB"
_READING = "<qHB"  # time, distance or _NO_ECHO, quality
_NO_ECHO = 0xFFFF
_FRESH_MIN = 5


def _minutes(ms: int) -> int:
    return (ms + 30000) // 60000


class Outbox:
    """Readings, newest first, as (board ms, distance_mm or None, quality)."""

    def __init__(self) -> None:
        self.sequence = 0xFFFF  # of the newest reading; the first will be 0
        self.limit = 0  # numbers from here on have not been claimed in storage
        self._unsent = 0
        self._readings: list[tuple[int, int | None, int]] = []

    def add(self, now_ms: int, distance_mm: "int | None", quality: int) -> bool:
        """Take a reading in; True if `limit` has moved and storage has to be written."""
        self._readings = [(now_ms, distance_mm, quality)] + self._readings[: KEPT - 1]
        self._unsent = min(self._unsent + 1, KEPT)
        claimed = self.sequence == (self.limit - 1) & 0xFFFF
        self.sequence = (self.sequence + 1) & 0xFFFF
        if claimed:
            self.limit = (self.sequence + RESERVE) & 0xFFFF
        return claimed

    def report(self, now_ms: int, history: int, flags: int) -> BinReport:
        """Return the report of the newest reading with at least `history` earlier ones.

        A newest reading that has waited for minutes is reported with its age, as an earlier one.
        """
        readings = self._readings
        newest_ms, distance_mm, quality = readings[0]
        age_min = _minutes(now_ms - newest_ms)
        if age_min < _FRESH_MIN:
            age_min = 0
        count = max(history, self._unsent - 1)
        past = []
        for at_ms, past_mm, past_quality in readings[1 : 1 + count]:
            past.append((age_min + _minutes(newest_ms - at_ms), past_mm, past_quality))
        return BinReport(
            self.sequence,
            distance_mm,
            quality=quality,
            flags=flags,
            history=tuple(past),
            age_min=age_min,
        )

    def sent(self) -> None:
        """Note that a report with everything in it has gone out."""
        self._unsent = 0

    def restart(self, limit: int) -> None:
        """After a power loss: go on beyond every number that may have been used."""
        self.limit = limit
        self.sequence = (limit - 1) & 0xFFFF

    def pack(self) -> bytes:
        """Return the content for RTC memory."""
        out = struct.pack(_HEAD, self.sequence, self.limit, self._unsent)
        for at_ms, distance_mm, quality in self._readings:
            code = _NO_ECHO if distance_mm is None else distance_mm
            out += struct.pack(_READING, at_ms, code, quality)
        return out

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        self.sequence, self.limit, self._unsent = struct.unpack_from(_HEAD, data, 0)
        self._readings = []
        for at in range(struct.calcsize(_HEAD), len(data), struct.calcsize(_READING)):
            at_ms, code, quality = struct.unpack_from(_READING, data, at)
            self._readings.append((at_ms, None if code == _NO_ECHO else code, quality))

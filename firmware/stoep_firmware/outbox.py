"""Readings of a container, numbered, kept across sleep until they have been told, and longer.

The newest `KEPT` live in RTC memory, four octets each, so that what the air lost can be told
again: every report repeats a few earlier ones, and the network may ask for those it misses. What
has not been told yet, or is asked for, goes first; what does not fit waits for the next uplink.
Numbers go on after a power loss beyond any that was used, in the manner of FCntUp (session.py).
"""

import struct

from stoep_protocol.messages import BinReport
from stoep_protocol.schema import AGE_MAX_MIN, HISTORY_MAX, SEQUENCE_MODULUS

from stoep_firmware.session import RESERVE

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stoep_firmware.clock import Clock

KEPT = 120

_HEAD = "<HHHq"
_NO_ECHO = const(0xFFFF)
_FRESH_MIN = const(2)  # a reading is told as taken now as long as its age rounds to less

# A reading in 32 bits: minutes since the one before : 18, told : 1, value : 13, which is
# 5 * (0 for no echo, or 1 + cm) + quality.
_OCTETS = const(4)
_TOLD = const(0x20)  # in the second octet
_GAP_MAX_MIN = const(0x3FFFF)


class Outbox:
    """The readings; index 0 is the newest, whose number is `sequence` and time `newest_ms`.

    `newest_ms` is on the board's scale and up to 30 s off: readings lie whole minutes apart.
    """

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self.sequence = 0xFFFF  # of the newest reading; the first will be 0
        self.limit = 0  # numbers from here on have not been claimed in storage
        self.newest_ms = 0
        self._newest_mm = _NO_ECHO
        self._kept = bytearray()

    def full(self) -> bool:
        """Tell whether the next reading pushes out one that has not been told."""
        kept = self._kept
        return len(kept) == KEPT * _OCTETS and not kept[1 - _OCTETS] & _TOLD

    def add(self, now_ms: int, distance_mm: "int | None", quality: int) -> bool:
        """Take a reading in; True if `limit` has moved and storage has to be written."""
        gap_min = 0
        self._newest_mm = _NO_ECHO
        value = quality
        if distance_mm is not None:
            self._newest_mm = distance_mm
            value += 5 + (distance_mm + 5) // 10 * 5
        if self._kept:
            gap_min = max(0, self._minutes(now_ms))
            now_ms -= self._clock.elapsed_ms(self.newest_ms, now_ms) - gap_min * 60000
            gap_min = min(gap_min, _GAP_MAX_MIN)
        self.newest_ms = now_ms
        newest = struct.pack("<I", gap_min << 14 | value)
        self._kept = bytearray(newest) + self._kept[: (KEPT - 1) * _OCTETS]
        claimed = self.sequence == (self.limit - 1) & 0xFFFF
        self.sequence = (self.sequence + 1) & 0xFFFF
        if claimed:
            self.limit = (self.sequence + RESERVE) & 0xFFFF
        return claimed

    def message(self, now_ms: int, history: int, flags: int) -> "BinReport | None":
        """Return what to tell next; None if all has been told. It may have to be cut to fit.

        That is the newest reading, unless it has been told, with `history` earlier ones and all
        that is untold within reach; or else the newest untold reading and what else is.
        A reading that has waited for minutes is told with its age, and any but the newest with one
        of a minute at least: without an age it would pass for the newest.
        """
        first = -1
        last = 0
        past: list[tuple[int, int | None, int]] = []
        for index, (age_min, value, told) in enumerate(self._walk(now_ms)):
            if first < 0 and not told:
                first = last = index
            if first >= 0:
                if index > first + HISTORY_MAX:
                    break
                if not told or (first == 0 and index <= history):
                    last = index
                distance_mm = None if value < 5 else (value // 5 - 1) * 10
                past.append((age_min or int(first > 0), distance_mm, value % 5))
        if first < 0:
            return None
        age_min, distance_mm, quality = past[0]
        if first:
            flags = 0
        elif distance_mm is not None:
            distance_mm = self._newest_mm
        return BinReport(
            (self.sequence - first) & 0xFFFF,
            distance_mm,
            quality,
            flags,
            history=tuple(past[1 : last - first + 1]),
            age_min=age_min,
        )

    def told(self, sequence: int, count: int, told: bool = True) -> bool:
        """Mark reading `sequence` (modulo 1024) and those before it, `count` in all, as told or as
        to be told; False if none of them is kept.
        """
        first = (self.sequence - sequence) % SEQUENCE_MODULUS
        kept = self._kept
        octets = range(first * _OCTETS + 1, min((first + count) * _OCTETS, len(kept)), _OCTETS)
        for at in octets:
            kept[at] = kept[at] | _TOLD if told else kept[at] & ~_TOLD
        return len(octets) > 0

    def restart(self, limit: int) -> None:
        """After a power loss: go on beyond every number that may have been used."""
        self.limit = limit
        self.sequence = (limit - 1) & 0xFFFF

    def pack(self) -> bytes:
        """Return the content for RTC memory."""
        head = struct.pack(_HEAD, self.sequence, self.limit, self._newest_mm, self.newest_ms)
        return head + self._kept

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        head = struct.unpack_from(_HEAD, data, 0)
        self.sequence, self.limit, self._newest_mm, self.newest_ms = head
        self._kept = bytearray(data[struct.calcsize(_HEAD) :])

    def _minutes(self, now_ms: int) -> int:
        """Return how long ago the newest reading was taken."""
        return (self._clock.elapsed_ms(self.newest_ms, now_ms) + 30000) // 60000

    def _walk(self, now_ms: int) -> "Iterator[tuple[int, int, bool]]":
        """Yield (age_min, value, told) of each reading that is not too old to be told."""
        age_min = self._minutes(now_ms)
        if age_min < _FRESH_MIN:
            age_min = 0
        for at in range(0, len(self._kept), _OCTETS):
            if age_min > AGE_MAX_MIN:
                return
            (word,) = struct.unpack_from("<I", self._kept, at)
            yield age_min, word & 0x1FFF, word & _TOLD << 8 != 0
            age_min += word >> 14

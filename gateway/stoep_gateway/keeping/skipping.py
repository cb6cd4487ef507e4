"""How far counters skip when an older state comes back: no number is used twice. Pure.

What the gateway did after the copy was made is lost, but the devices remember: a downlink counter
used twice is ignored by the device and encrypts two frames with one keystream; an AppNonce given
twice is refused by the device.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Skips", "skips"]

_MINUTE_MS = 60_000
_AT_LEAST = 1024
# Devices up to LoRaWAN 1.0.3 take no downlink 16384 or more ahead (MAX_FCNT_GAP).
_MOST_DOWNLINKS = 16_000


class Skips(NamedTuple):
    """What to add to each session's FCntDown, and to the largest AppNonce and numbers of rows.

    ``enough``: a downlink a minute to each device is covered.
    """

    f_cnt_down: int
    numbers: int
    enough: bool


def skips(elapsed_ms: int) -> Skips:
    """Return them for a copy that was made ``elapsed_ms`` ago.

    They grow with the time, so that coming back twice to one copy uses nothing twice, either.
    """
    numbers = _AT_LEAST + max(elapsed_ms, 0) // _MINUTE_MS
    return Skips(min(numbers, _MOST_DOWNLINKS), numbers, numbers <= _MOST_DOWNLINKS)

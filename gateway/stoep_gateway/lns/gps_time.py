"""GPS time, which DeviceTimeAns (LoRaWAN 1.0.3, 5.10) and Basics Station's timesync tell. Pure."""

from __future__ import annotations

__all__ = ["gps_ms"]

_EPOCH_UTC_MS = 315_964_800_000  # 1980-01-06
_LEAP_MS = 18_000  # GPS ahead of UTC since 2017, no further leap second announced


def gps_ms(utc_ms: int) -> int:
    """Return milliseconds since the GPS epoch for those of Unix time."""
    return utc_ms - _EPOCH_UTC_MS + _LEAP_MS

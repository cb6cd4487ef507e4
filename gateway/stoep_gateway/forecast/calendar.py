"""Local days, weekdays and hours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from stoep_gateway.forecast.occasions import Occasions

__all__ = ["DAY_MS", "HOUR_MS", "Calendar", "day_of", "weekday"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_KEPT = 10_000
_FIRST = date(1970, 1, 1).toordinal()


class Calendar:
    """The local time of a site. ``about`` has the events of containers, by their keys.

    A local time is in ms, as a UTC time would be that showed the same on the wall. It never goes
    back: while the clock on the wall shows an hour again, it stands.
    """

    def __init__(
        self, zone: tzinfo | None = None, about: Mapping[str, Occasions] | None = None
    ) -> None:
        self._zone = zone or ZoneInfo("Europe/Amsterdam")
        self.about = about or {}
        self._offsets: dict[int, tuple[int, bool]] = {}

    def local_ms(self, utc_ms: int) -> int:
        """Return the local time."""
        hour = utc_ms // HOUR_MS
        offset_ms, again = self._offsets.get(hour) or self._look_up(hour)
        if again:  # clocks are set back at a full hour
            return hour * HOUR_MS + offset_ms
        return utc_ms + offset_ms

    def utc_ms(self, local_ms: int) -> int:
        """Return when it is that local time, the first time; an hour that is left out is over."""
        at_ms = local_ms - (self.local_ms(local_ms) - local_ms)
        return at_ms + local_ms - self.local_ms(at_ms)

    def _look_up(self, hour: int) -> tuple[int, bool]:
        if len(self._offsets) > _KEPT:
            self._offsets.clear()
        offset_ms = self._offset_ms(hour)
        before_ms = self._offset_ms(hour - 1)
        again = before_ms - offset_ms == HOUR_MS
        found = self._offsets[hour] = (before_ms if again else offset_ms, again)
        return found

    def _offset_ms(self, hour: int) -> int:
        local = datetime.fromtimestamp(hour * 3600, UTC).astimezone(self._zone)
        offset = local.utcoffset()
        assert offset is not None
        return round(offset.total_seconds() * 1000)


def day_of(at: date) -> int:
    """Return a date's number, 1970-01-01 being 0; that of a local time is ``ms // DAY_MS``."""
    return at.toordinal() - _FIRST


def weekday(day: int) -> int:
    """Return the weekday of a day by its number, 0 for Monday."""
    return (day + 3) % 7

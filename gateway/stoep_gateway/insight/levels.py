"""What each reading of a container makes of its level: echoes judged, emptyings found. Pure.

The gateway takes live readings so, an export stored ones, and ``stoep evaluate`` anybody's.
"""

from __future__ import annotations

from dataclasses import replace

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.insight import echoes, filling, readings
from stoep_gateway.insight.echoes import EchoState
from stoep_gateway.insight.filling import Emptying, FillTrack
from stoep_gateway.insight.readings import Reading

__all__ = ["Level", "likely_pct"]


class Level:
    """What is known of a container's level; readings are taken in oldest first."""

    def __init__(
        self,
        inside: Inside,
        previous: ContainerState | None = None,
        received_ms: int = 0,
    ) -> None:
        self._inside = inside
        self.track: FillTrack | None = None
        self.echo: EchoState | None = None
        self.likely_mm: float | None = None
        # After the clock was set back, a level from the future would stand until then.
        if previous is not None and (previous.track is None or previous.track.at_ms <= received_ms):
            self.track = previous.track
            self.echo, self.likely_mm = previous.echo, previous.likely_mm

    def take(self, reading: Reading) -> tuple[Reading, Emptying | None]:
        """Return the reading with what the ones before say of it, and the emptying it confirms."""
        distance_mm, inside = reading.distance_mm, self._inside
        if not reading.newer or distance_mm is None or reading.quality == readings.REJECTED:
            return reading, None
        if reading.reason == "beyond_floor" and self.echo is not None:
            return reading, None
        distance_mm = max(distance_mm, inside.dead_zone_mm)
        self.echo, verdict = echoes.advance(self.echo, reading.at_ms, distance_mm, inside.depth_mm)
        self.likely_mm = round(verdict.distance_mm, 1)
        if verdict.quality < (reading.quality or readings.ACCEPTED):
            reading = replace(reading, quality=verdict.quality, reason=verdict.reason)
        if not verdict.believed:
            return reading, None
        level_pct = inside.fill_pct(distance_mm)
        if self.track is None:
            self.track = filling.start(reading.at_ms, level_pct)
        elif verdict.undone:
            self.track = filling.correct(self.track, reading.at_ms, level_pct)
        else:
            self.track, emptying = filling.advance(self.track, reading.at_ms, level_pct)
            return reading, emptying
        return reading, None


def likely_pct(inside: Inside, track: FillTrack | None, likely_mm: float | None) -> float | None:
    """Return how full the container most likely is, None as long as no reading had an echo."""
    if track is None:
        return None
    if likely_mm is None:
        return track.fill_pct
    return inside.fill_pct(likely_mm)

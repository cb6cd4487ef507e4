"""What each reading of a container makes of its level: echoes judged, emptyings found. Pure.

The gateway takes live readings so, an export stored ones, and ``stoep evaluate`` anybody's.
"""

from __future__ import annotations

from dataclasses import replace

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.insight import echoes, filling, readings, soundness
from stoep_gateway.insight.echoes import EchoState
from stoep_gateway.insight.filling import Emptying, FillTrack
from stoep_gateway.insight.readings import Reading
from stoep_gateway.insight.soundness import Soundness

__all__ = ["Level", "likely_pct", "loose_l"]

FLOOR_PCT = 20.0  # an emptying that leaves more does not show the floor
OVERFULL_PCT = 95.0  # waste at the sensor may give one distance for days
PRESS_SLACK_PCT = 5.0  # below what the factor says, which is a mean
_ELSEWHERE = ("lid_open", "tilted")


class Level:
    """What is known of a container's level; readings are taken in oldest first."""

    def __init__(
        self,
        inside: Inside,
        compaction: float = 1.0,
        previous: ContainerState | None = None,
        received_ms: int = 0,
    ) -> None:
        self._inside = inside
        self._compaction = compaction
        self.track: FillTrack | None = None
        self.echo: EchoState | None = None
        self.likely_mm: float | None = None
        self.press: tuple[int, float] | None = None
        self.sensor: Soundness | None = None
        # After the clock was set back, a level from the future would stand until then.
        if previous is not None and (previous.track is None or previous.track.at_ms <= received_ms):
            self.track = previous.track
            self.echo, self.likely_mm = previous.echo, previous.likely_mm
            self.press, self.sensor = previous.press, previous.sensor

    def take(
        self, reading: Reading, *, pressed: bool = False, flaps: int = 0
    ) -> tuple[Reading, Emptying | None]:
        """Return the reading with what the ones before say of it, and the emptying it confirms.

        ``pressed``: the container's own press has run since the reading before, or may have;
        ``flaps`` is how often its lid was opened.
        """
        judged, emptying = self._judge(reading, pressed)
        distance_mm = reading.distance_mm
        if (
            not reading.newer
            or distance_mm is None
            or distance_mm <= self._inside.dead_zone_mm
            or self._inside.level_pct(distance_mm) >= OVERFULL_PCT
            or reading.reason in _ELSEWHERE
        ):
            return judged, emptying
        sensor = soundness.seen(self.sensor, reading.at_ms, distance_mm, flaps)
        if emptying is not None and emptying.to_pct <= FLOOR_PCT:
            depth_mm = self._inside.depth_mm
            sensor = soundness.emptied(sensor, reading.at_ms, distance_mm, depth_mm)
        self.sensor = sensor
        quality = judged.quality or readings.ACCEPTED
        if quality > readings.DOUBTED and soundness.is_stuck(sensor):
            judged = replace(judged, quality=readings.DOUBTED, reason="sensor_stuck")
        elif quality > readings.SUSPICIOUS and sensor.drifting:
            judged = replace(judged, quality=readings.SUSPICIOUS, reason="sensor_drifting")
        return judged, emptying

    def _judge(self, reading: Reading, pressed: bool) -> tuple[Reading, Emptying | None]:
        distance_mm, inside = reading.distance_mm, self._inside
        if not reading.newer or distance_mm is None or reading.quality == readings.REJECTED:
            return reading, None
        if reading.reason in _ELSEWHERE or (
            reading.reason == "beyond_floor" and self.echo is not None
        ):
            return reading, None
        distance_mm = max(distance_mm, inside.dead_zone_mm)
        if pressed and self._was_pressed(reading.at_ms, distance_mm):
            return reading, None
        is_first = self.echo is None
        self.echo, verdict = echoes.advance(self.echo, reading.at_ms, distance_mm, inside.depth_mm)
        self.likely_mm = round(verdict.distance_mm, 1)
        if verdict.quality < (reading.quality or readings.ACCEPTED):
            reading = replace(reading, quality=verdict.quality, reason=verdict.reason)
        if not verdict.believed:
            return reading, None
        level_pct = inside.fill_pct(distance_mm)
        if pressed:
            self.press = reading.at_ms, level_pct
        if self.track is None:
            self.track = filling.start(reading.at_ms, level_pct)
        elif verdict.undone or is_first:  # a level before the first distance was by flaps
            self.track = filling.correct(self.track, reading.at_ms, level_pct)
        else:
            self.track, emptying = filling.advance(self.track, reading.at_ms, level_pct)
            if emptying is not None and self.press is not None:
                self.press = self.press[0], 0.0
            return reading, emptying
        return reading, None

    def _was_pressed(self, at_ms: int, distance_mm: int) -> bool:
        """Take a level that a press can have made of the one before, if it is one."""
        if self.echo is None or self.track is None or at_ms <= self.track.at_ms:
            return False
        before_pct, level_pct = self.track.fill_pct, self._inside.fill_pct(distance_mm)
        if not before_pct / self._compaction - PRESS_SLACK_PCT <= level_pct < before_pct:
            return False
        self.echo = echoes.settle(self.echo, at_ms, distance_mm)
        self.likely_mm = float(distance_mm)
        self.track = filling.correct(self.track, at_ms, level_pct)
        self.press = at_ms, level_pct
        return True


def likely_pct(inside: Inside, track: FillTrack | None, likely_mm: float | None) -> float | None:
    """Return how full the container most likely is, None as long as no reading had an echo."""
    if track is None:
        return None
    if likely_mm is None:
        return track.fill_pct
    return inside.fill_pct(likely_mm)


def loose_l(
    capacity_l: int, compaction: float, fill_pct: float, press: tuple[int, float] | None
) -> int:
    """Return how many litres of loose waste are in a container.

    Up to the level that its press left, waste is taken as compacted; all of it where the press does
    not tell when it runs.
    """
    pressed_pct = fill_pct if press is None else min(press[1], fill_pct)
    return round(capacity_l / 100 * (fill_pct + pressed_pct * (compaction - 1)))

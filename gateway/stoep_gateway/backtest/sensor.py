"""What a container's sensor makes of a level, with what goes wrong in the field. Pure.

Shares as measured over a year on 77 units of one city: fixed false echoes on half of the units, a
quarter of whose hourly readings sit on them, in runs of 4.3; spikes; uplinks missing in runs.
"""

from __future__ import annotations

import random

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight import readings
from stoep_gateway.insight.levels import Level, likely_pct
from stoep_gateway.insight.readings import Reading

__all__ = ["Sensor"]

_FALSE_UNITS = 39 / 77
_FALSE_SHARE = 0.25
_FALSE_RUN = 4.3
_FALSE_MM = (450, 650)
_SPIKES = 0.029
_MISSING = 0.18
_MISSING_RUN = 1.7
_SENT = 4  # readings in an uplink, the last ones: three past ones bring back most that was missing
_NOISE_MM = 6.0
_NEAREST_MM = 30


class Sensor:
    """One container's; what it sends goes through the filter and the forecast of production."""

    def __init__(
        self, name: str, pool: str, seed: int, inside: Inside, forecasts: Forecasts
    ) -> None:
        source = self._source = random.Random(f"sensor/{seed}/{name}")  # noqa: S311 (a simulation)
        self._key = f"container/{name}"
        self._pool = pool
        self._inside = inside
        self._forecasts = forecasts
        self.level = Level(inside)
        self._number = 0
        self._unsent: list[Reading] = []
        self._false_mm = source.uniform(*_FALSE_MM) if source.random() < _FALSE_UNITS else None
        self._is_false = self._is_missing = False

    @property
    def believed_pct(self) -> float | None:
        """Return how full the container most likely was at the last reading."""
        return likely_pct(self._inside, self.level.track, self.level.likely_mm)

    def read(self, at_ms: int, true_pct: float) -> None:
        """Take a reading of the level that there is; send it, with those before that were lost."""
        source, inside = self._source, self._inside
        span_mm = inside.depth_mm - inside.full_mm
        surface_mm = inside.depth_mm - min(true_pct, 115.0) / 100 * span_mm
        distance_mm = surface_mm + source.gauss(0, _NOISE_MM)
        draws = source.random(), source.random(), source.random(), source.uniform(150, 600)
        self._is_false = _stays(self._is_false, draws[0], _FALSE_SHARE, _FALSE_RUN)
        self._is_missing = _stays(self._is_missing, draws[1], _MISSING, _MISSING_RUN)
        if self._is_false and self._false_mm is not None and self._false_mm < surface_mm - 20:
            distance_mm = self._false_mm + source.gauss(0, 4)
        if draws[2] < _SPIKES:
            distance_mm = surface_mm + (draws[3] if draws[2] < _SPIKES / 2 else -draws[3])
        shown_mm = round(min(max(distance_mm, _NEAREST_MM), inside.depth_mm + 600))
        quality, reason = readings.judge(
            shown_mm, readings.ACCEPTED, 0, inside.depth_mm, inside.dead_zone_mm
        )
        self._number += 1
        self._unsent.append(Reading(self._number, at_ms, shown_mm, quality, reason, newer=True))
        if self._is_missing:
            return
        for reading in self._unsent[-_SENT:]:
            judged, _ = self.level.take(reading)
        self._unsent.clear()
        self._forecasts.take(
            self._key, self._pool, at_ms, self.level.track, self.believed_pct, judged.quality
        )


def _stays(is_so: bool, draw: float, share: float, run: float) -> bool:
    """Return whether it is so now: in runs of that mean, for that share of the time."""
    leave = 1 / run
    return draw >= leave if is_so else draw < leave * share / (1 - share)

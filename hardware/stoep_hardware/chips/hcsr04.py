"""A model of the HC-SR04 and the JSN-SR04T: trigger, ping, and a pulse as long as the echo's way.

Figures are those of sellers' pages, as the makers publish no data sheet with a number: HC-SR04 2 to
400 cm, 15 mA; JSN-SR04T 25 to 450 cm, 30 mA while it works; a trigger of 10 us, from its end
until the pulse begins the 200 us of eight waves and as much again (a guess).

            trigger falls           RISE_US            the first sound that comes, or no_echo_us
    ready ───────────────► pinging ─────────► echo high ────────────────────────────► ready
"""

from typing import Any

from stoep_hardware.engine import US_PER_MS
from stoep_hardware.world import DistanceSource

from .state_log import StateLog
from .talker import Air, echo_us_per_mm

LEAST_TRIGGER_US = 10
RISE_US = 450
HC_SR04: dict[str, Any] = {"nearest_mm": 20, "farthest_mm": 4_000, "active_ua": 15_000.0}
JSN_SR04T: dict[str, Any] = {"nearest_mm": 250, "farthest_mm": 4_500, "active_ua": 30_000.0}


class Hcsr04:
    """One sensor that points at `source`, through air of `air_c`.

    Without an echo its pulse lasts `no_echo_ms`; with 0 there is none, with None it does not end
    until the supply is cut. `other_ms` is the period in which another sensor's pings arrive here,
    `rings` whether a ping is still heard when the next is sent too early. `stuck` holds the line.
    """

    def __init__(
        self,
        source: DistanceSource,
        *,
        nearest_mm: int,
        farthest_mm: int,
        active_ua: float,
        no_echo_ms: int | None = 38,
        air_c: Air = 20.0,
        other_ms: int | None = None,
        rings: bool = True,
        keep_states: bool = False,
    ) -> None:
        self.log = StateLog(keep=keep_states)
        self.stuck: bool | None = None
        self.pings_us: list[int] = []
        self._source = source
        self._nearest_mm = nearest_mm
        self._farthest_mm = farthest_mm
        self._active_ua = active_ua
        self._no_echo_us = None if no_echo_ms is None else no_echo_ms * US_PER_MS
        self._air_c = air_c
        self._other_us = other_ms and other_ms * US_PER_MS
        self._rings = rings
        self._is_on = False
        self._triggered_us: int | None = None
        self._rises_us = 0
        self._falls_us: int | None = 0
        self._rung_out_us = 0

    def power(self, on: bool, t_us: int) -> None:
        """Switch the supply."""
        if on == self._is_on:
            return
        self._is_on = on
        self._rises_us = self._falls_us = 0  # a line without a supply is low
        self._triggered_us = None
        self.log.enter(t_us, "on" if on else "off", self._active_ua if on else 0.0)

    def trigger(self, level: bool, t_us: int) -> None:
        """Follow the trigger; a ping begins when it falls."""
        if level:
            if self._triggered_us is None:
                self._triggered_us = t_us
            return
        since_us, self._triggered_us = self._triggered_us, None
        if not self._is_on or since_us is None or t_us - since_us < LEAST_TRIGGER_US:
            return
        if self._falls_us is None or t_us < self._falls_us:
            return  # it has not done with the last
        self.pings_us.append(t_us)
        self._ping(t_us)

    def _ping(self, t_us: int) -> None:
        rises_us = t_us + RISE_US
        us_per_mm = echo_us_per_mm(self._air_c, t_us)
        distance_mm = self._source.distance_mm(t_us)
        way_us = 0
        arrivals_us = [self._rung_out_us] if self._rings and self._rung_out_us > rises_us else []
        if self._other_us:
            arrivals_us.append((rises_us // self._other_us + 1) * self._other_us)
        if distance_mm is not None and distance_mm <= self._farthest_mm:
            way_us = round(max(distance_mm, self._nearest_mm) * us_per_mm)
            arrivals_us.append(rises_us + way_us)
        latest_us = rises_us + round(self._farthest_mm * us_per_mm)
        arrivals_us = [arrival_us for arrival_us in arrivals_us if arrival_us <= latest_us]
        self._rises_us = rises_us
        if arrivals_us:
            self._falls_us = min(arrivals_us)
        elif self._no_echo_us is None:
            self._falls_us = None
        else:
            self._falls_us = rises_us + self._no_echo_us
        # It goes to and fro once more between floor and lid.
        self._rung_out_us = rises_us + 2 * way_us

    def level(self, t_us: int) -> bool:
        """Return the level of the echo's line."""
        if self.stuck is not None:
            return self.stuck
        return self._rises_us <= t_us and (self._falls_us is None or t_us < self._falls_us)

    def stable_until_us(self, t_us: int) -> int | None:
        """Return when the line changes next unless something is done; None for never."""
        if self.stuck is not None:
            return None
        if t_us < self._rises_us:
            return self._rises_us
        return self._falls_us if self._falls_us is None or t_us < self._falls_us else None

"""What is done to a container: opened, leant on, tipped over, carried off, emptied, set on fire.

A test says what happens; `everyday` lets people come by. Figures without a source are guesses.
"""

import math
from collections.abc import Callable

from .engine import US_PER_MS, US_PER_S, Engine
from .world import HOUR_US, Vector, Weather

_FREQUENCIES_HZ = (0.9, 1.7, 2.3)  # of what rolls or is carried, per axis
_SLAM_US = 400 * US_PER_MS
_SLAM_MG = 900.0


class Handling:
    """One container's body and lid, in its weather.

    The sensor's z axis points upward at first, turned by `mounted` degrees about its x axis.
    """

    FLAPS_PER_HOUR = 2.5  # by day
    OPEN_S = (1.5, 6.0)

    def __init__(
        self, engine: Engine, name: str, weather: Weather | None = None, *, mounted: float = 0.0
    ) -> None:
        self.name = name
        self.flaps = 0  # so often the lid has been opened for as long as a hand takes
        self._engine = engine
        self._weather = Weather(0) if weather is None else weather
        self._random = engine.random(f"world/handling/{name}")
        self._mounted = mounted
        self._degrees = 0.0
        self._shaken: tuple[int, int, float] = (0, 0, 0.0)  # from, until, mg
        self._is_open = False
        self._fire: tuple[int, float, float] | None = None  # since, degrees a minute, at most
        self._motion: list[Callable[[], None]] = []
        self._lid: list[Callable[[bool, int], None]] = []

    # ---- what sensors see -----------------------------------------------------------------------

    def acceleration_mg(self, t_us: int) -> Vector:
        """Return what pulls along the sensor's axes."""
        angle = math.radians(self._mounted + self._degrees)
        x, y, z = 0.0, 1000 * math.sin(angle), 1000 * math.cos(angle)
        since_us, until_us, strength_mg = self._shaken
        if since_us <= t_us < until_us:
            s = (t_us - since_us) / US_PER_S
            x, y, z = (
                part + strength_mg * math.sin(2 * math.pi * hz * s + hz)
                for part, hz in zip((x, y, z), _FREQUENCIES_HZ, strict=True)
            )
        return x, y, z

    def is_still(self, t_us: int) -> bool:
        """Tell whether nothing moves now."""
        return t_us >= self._shaken[1]

    def on_motion(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called whenever a movement begins."""
        self._motion.append(callback)

    def temperature_c(self, t_us: int) -> float:
        """Return the temperature under the lid: the air's, or a fire's."""
        air_c = self._weather.temperature_c(t_us)
        if self._fire is None:
            return air_c
        since_us, per_min, most_c = self._fire
        return min(air_c + per_min * (t_us - since_us) / (60 * US_PER_S), most_c)

    def is_open(self) -> bool:
        """Tell whether the lid is open."""
        return self._is_open

    def on_lid(self, callback: Callable[[bool, int], None]) -> None:
        """Have `callback(open, t_us)` called whenever the lid's switch changes, bounces too."""
        self._lid.append(callback)

    # ---- what happens ---------------------------------------------------------------------------

    def tilt(self, degrees: float) -> None:
        """Turn it, now, to so many degrees from how it was put up."""
        self._degrees = degrees
        self._stir()

    def shake(self, seconds: float, strength_mg: float = 600.0) -> None:
        """Move it about from now on for so long."""
        now_us = self._engine.now_us
        self._shaken = (now_us, now_us + round(seconds * US_PER_S), strength_mg)
        self._stir()

    def empty(self) -> None:
        """Let a lorry take it: rolled there, lifted, turned over, and put back within a minute."""
        self.shake(55)
        for after_s, degrees in ((10, 40.0), (14, 135.0), (26, 40.0), (30, 0.0)):
            self._engine.after(
                after_s * US_PER_S,
                lambda degrees=degrees: self.tilt(degrees),  # type: ignore[misc]
            )

    def set_lid(self, is_open: bool, *, bounces: int = 0) -> None:
        """Open or shut the lid now, its switch bouncing so often within some ms."""
        now_us = self._engine.now_us
        for number in range(bounces):
            self._engine.after(number * 2 * US_PER_MS, lambda: self._switch(is_open))
            self._engine.after((number * 2 + 1) * US_PER_MS, lambda: self._switch(not is_open))
        self._engine.at(now_us + bounces * 2 * US_PER_MS, lambda: self._switch(is_open))

    def use_lid(self, seconds: float, *, bounces: int = 3) -> None:
        """Open the lid now, throw something in, and let it slam shut."""
        self.flaps += 1
        self.set_lid(True, bounces=bounces)

        def shut() -> None:
            self.set_lid(False, bounces=bounces)
            self._shaken = (self._engine.now_us, self._engine.now_us + _SLAM_US, _SLAM_MG)
            self._stir()

        self._engine.after(round(seconds * US_PER_S), shut)

    def burn(self, per_min: float = 15.0, most_c: float = 300.0) -> None:
        """Let its content catch fire now."""
        self._fire = (self._engine.now_us, per_min, most_c)

    def everyday(self) -> None:
        """Let people come by from now on: by day so many an hour, by night none."""
        rate = self.FLAPS_PER_HOUR if 7 <= self._weather.local_hour(self._engine.now_us) < 21 else 0
        gap_us = round(self._random.expovariate(rate) * HOUR_US) if rate else HOUR_US
        if rate and gap_us < HOUR_US:
            self._engine.after(gap_us, self._come_by)
        else:
            self._engine.after(HOUR_US, self.everyday)

    def _come_by(self) -> None:
        seconds = self._random.uniform(*self.OPEN_S)
        if not self._is_open:
            self.use_lid(seconds)
        self._engine.after(round(seconds + 1) * US_PER_S, self.everyday)

    def _switch(self, is_open: bool) -> None:
        self._is_open = is_open
        for callback in self._lid:
            callback(is_open, self._engine.now_us)

    def _stir(self) -> None:
        for callback in self._motion:
            callback()

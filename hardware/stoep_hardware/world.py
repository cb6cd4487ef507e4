"""What the sensors look at: waste rising in containers, cars over bays, weather.

A chip model asks a container for a distance and a bay for a magnetic field; nothing here knows
radios, firmware or messages. Everything is a function of the engine's seed and of time; times are
microseconds since the simulation began.

Unless a comment says otherwise, figures are as measured on 77 container sensors of one city over
a year, and on eight in-ground parking sensors.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .engine import US_PER_S, Engine

if TYPE_CHECKING:
    from .troubles import BayTroubles

HOUR_US = 3_600 * US_PER_S
DAY_US = 24 * HOUR_US

Vector = tuple[float, float, float]


class DistanceSource(Protocol):
    """What an ultrasonic sensor points at."""

    def distance_mm(self, t_us: int) -> int | None:
        """Return what the echo says, noise and false echoes included; None without an echo."""
        ...


class FieldSource(Protocol):
    """What a magnetometer sits in."""

    def field_ut(self, t_us: int) -> Vector:
        """Return the field along the sensor's axes in microtesla, noise and drift included."""
        ...

    def temperature_c(self, t_us: int) -> float:
        """Return the temperature of the sensor."""
        ...

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called, by the engine, whenever the field has changed."""
        ...


@dataclass(frozen=True, slots=True)
class Weather:
    """A day's temperature: coldest at half past five, warmest ten hours later.

    `local_offset_s` is the local time of day at which the simulation begins.
    """

    local_offset_s: int
    mean_c: float = 21.0
    swing_c: float = 6.0

    def local_hour(self, t_us: int) -> float:
        """Return the local time of day in hours, 0 to 24."""
        return ((t_us / US_PER_S + self.local_offset_s) / 3600) % 24

    def temperature_c(self, t_us: int) -> float:
        """Return the air's temperature."""
        hour = self.local_hour(t_us)
        is_rising = 5.5 <= hour < 15.5
        phase = (hour - 5.5) / 10 if is_rising else 1 + ((hour - 15.5) % 24) / 14
        return self.mean_c - self.swing_c * math.cos(math.pi * phase)


class FillCurve:
    """A container's level over time, 1.0 being full, in straight pieces.

    `points` are `(t_us, level)` in order of time; two points at one time are a jump. Before the
    first point and after the last the level stays. A jump downward is an emptying.
    """

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        if not points:
            raise ValueError("a fill curve needs at least one point")
        self._times_us = [t_us for t_us, _ in points]
        self._levels = [level for _, level in points]
        if self._times_us != sorted(self._times_us):
            raise ValueError("the points of a fill curve are not in order of time")
        self.emptyings_us = [
            t_us
            for index, (t_us, level) in enumerate(points[1:], 1)
            if t_us == points[index - 1][0] and level < points[index - 1][1]
        ]

    def level(self, t_us: int) -> float:
        """Return the level; at the time of a jump, the one after it."""
        after = bisect_right(self._times_us, t_us)
        if after == 0:
            return self._levels[0]
        if after == len(self._times_us):
            return self._levels[-1]
        t0_us, t1_us = self._times_us[after - 1], self._times_us[after]
        level0, level1 = self._levels[after - 1], self._levels[after]
        return level0 + (level1 - level0) * (t_us - t0_us) / (t1_us - t0_us)

    def was_emptied(self, after_us: int, until_us: int) -> bool:
        """Tell whether an emptying falls after one time and not after another."""
        return bisect_right(self.emptyings_us, until_us) > bisect_right(self.emptyings_us, after_us)


def generated_fill(engine: Engine, name: str, days: int, weather: Weather) -> FillCurve:
    """Make up a curve: a steady rate with a daily course, emptied at some level now and then.

    Half of all emptyings happen below half full, as measured.
    """
    source = engine.random(f"world/fill/{name}")
    rate_per_day = source.lognormvariate(math.log(0.22), 0.4)
    level = source.uniform(0.1, 0.7)
    empty_at = source.choice((source.uniform(0.2, 0.5), source.uniform(0.5, 1.05)))
    empty_at = max(empty_at, level)
    points = [(0, level)]
    for hour in range(1, days * 24):
        t_us = hour * HOUR_US
        # Nothing is thrown away at night; noon is twice the mean.
        share = max(0.0, math.sin(math.pi * (weather.local_hour(t_us) - 6) / 14))
        level = min(level + rate_per_day / 24 * share * 2.7 * source.uniform(0.3, 1.7), 1.15)
        points.append((t_us, level))
        if level >= empty_at and 7 <= weather.local_hour(t_us) < 15:
            points.append((t_us, 0.0))
            level = 0.0
            empty_at = source.choice((source.uniform(0.2, 0.5), source.uniform(0.5, 1.05)))
    return FillCurve(points)


class Container:
    """A container under an ultrasonic sensor.

    `depth_mm` is from the sensor to the floor, `full_mm` to the waste of a full container. The
    level follows `curve`; after `collect` it is what the curve has gained since, until the curve
    has an emptying of its own.
    """

    # Of readings: spikes of more than 15 cm, and no echo at all (a guess: soft or slanting waste).
    SPIKE_SHARE = 0.029
    SILENT_SHARE = 0.005
    # Of units: those with a fixed false distance; of their readings: a quarter, in runs of 4.3.
    FALSE_UNIT_SHARE = 39 / 77
    FALSE_READING_SHARE = 0.25
    FALSE_RUN_HOURS = 4.3
    NOISE_MM = 4.0
    NEAREST_MM = 30  # the sensor's blind zone
    _SLOT_US = 60 * US_PER_S  # values taken within a wake are equal in the field

    def __init__(
        self, engine: Engine, name: str, curve: FillCurve, *, depth_mm: int, full_mm: int
    ) -> None:
        self.name = name
        self.curve = curve
        self.depth_mm = depth_mm
        self.full_mm = full_mm
        self.collected_us: list[int] = []
        self._random = engine.random(f"world/echo/{name}")
        self.false_mm: int | None = None
        if self._random.random() < self.FALSE_UNIT_SHARE:
            # Median 62 cm, 34 of 39 between 45 and 65 cm.
            self.false_mm = round(self._random.gauss(617, 30))
        self._false_random = engine.random(f"world/false/{name}")
        self._false_hours: list[bool] = []
        self._slot = -1
        self._error_mm: float | None = 0.0

    def level(self, t_us: int) -> float:
        """Return the true level: 0 empty, 1 full, more when it overflows."""
        level = self.curve.level(t_us)
        if self.collected_us and self.collected_us[-1] <= t_us:
            collected_us = self.collected_us[-1]
            if not self.curve.was_emptied(collected_us, t_us):
                level -= self.curve.level(collected_us)
        return max(level, 0.0)

    def collect(self, t_us: int) -> None:
        """Empty the container. Times may not go back."""
        if self.collected_us and t_us < self.collected_us[-1]:
            raise ValueError(f"{self.name} has already been emptied after {t_us} us")
        self.collected_us.append(t_us)

    def true_distance_mm(self, t_us: int) -> float:
        """Return the distance from the sensor to the waste."""
        return self.depth_mm - self.level(t_us) * (self.depth_mm - self.full_mm)

    def distance_mm(self, t_us: int) -> int | None:
        """Return what the sensor takes for the distance; None without an echo."""
        slot = t_us // self._SLOT_US
        if slot != self._slot:
            self._slot = slot
            self._error_mm = self._draw_error_mm()
        if self._error_mm is None:
            return None
        distance_mm = self.true_distance_mm(t_us)
        if (
            self.false_mm is not None
            and self.false_mm < distance_mm
            and self._is_false(t_us // HOUR_US)
        ):
            return self.false_mm
        return max(round(distance_mm + self._error_mm), self.NEAREST_MM)

    def _draw_error_mm(self) -> float | None:
        draw = self._random.random()
        if draw < self.SILENT_SHARE:
            return None
        if draw < self.SILENT_SHARE + self.SPIKE_SHARE:
            return self._random.choice((-1, 1)) * self._random.uniform(150, 600)
        return self._random.gauss(0, self.NOISE_MM)

    def _is_false(self, hour: int) -> bool:
        """Tell whether the false echo wins in this hour: a chain of two states."""
        leave = 1 / self.FALSE_RUN_HOURS
        enter = leave * self.FALSE_READING_SHARE / (1 - self.FALSE_READING_SHARE)
        while len(self._false_hours) <= hour:
            was_false = bool(self._false_hours) and self._false_hours[-1]
            draw = self._false_random.random()
            self._false_hours.append(draw >= leave if was_false else draw < enter)
        return self._false_hours[hour]


@dataclass(frozen=True, slots=True)
class ParkingHabits:
    """How a street's bays are used. Bays are occupied 5 to 30 % of the time.

    `arrivals_per_hour` is the rate at which a free bay is taken, by local hour of day.
    """

    arrivals_per_hour: tuple[float, ...] = (
        *(0.02, 0.01, 0.01, 0.01, 0.03, 0.15, 0.5, 0.9, 1.0, 0.8, 0.7, 0.8),
        *(0.9, 0.8, 0.7, 0.7, 0.8, 1.0, 0.8, 0.5, 0.3, 0.15, 0.08, 0.04),
    )
    median_dwell_s: float = 1_500.0
    dwell_sigma: float = 1.1
    longest_dwell_s: float = 12 * 3_600.0


class Bay:
    """A parking bay with a magnetometer in the ground.

    The field is the earth's, turned as the sensor happens to lie, plus the car over it, plus a
    little of the neighbours' cars, plus the sensor's own drift with temperature and its noise.
    """

    EARTH_UT: Vector = (20.5, -2.5, 25.5)  # Blantyre: about 33 uT, 51 degrees of dip
    CAR_UT = (25, 70)
    NEIGHBOUR_SHARE = 0.05
    HIGH_CHASSIS_SHARE = 0.05
    NOISE_UT = 0.3
    DRIFT_UT_PER_C = (0.015, 0.38)  # 1 to 26 counts of a LIS3MDL at 4 gauss, per axis
    _RAMP = ((0, 0.4), (2 * US_PER_S, 1.3), (4 * US_PER_S, 1.0))  # the engine block passes over
    _DRIFT_US = 600 * US_PER_S

    def __init__(
        self,
        engine: Engine,
        name: str,
        weather: Weather,
        habits: ParkingHabits | None = None,
        troubles: "BayTroubles | None" = None,
    ) -> None:
        """Put an empty bay into the world; without `habits` cars come only when told to."""
        self.name = name
        self.neighbours: list[Bay] = []
        self.changes: list[tuple[int, bool]] = [(0, False)]  # the truth: (t_us, occupied)
        self._engine = engine
        self._weather = weather
        self._habits = habits
        self._callbacks: list[Callable[[], None]] = []
        self._random = engine.random(f"world/bay/{name}")
        self._noise = engine.random(f"world/noise/{name}")
        self._car_ut: Vector = (0.0, 0.0, 0.0)
        self._car_share = 0.0
        yaw = self._random.uniform(0, 2 * math.pi)
        north, east, down = self.EARTH_UT
        self._earth_ut = (
            north * math.cos(yaw) + east * math.sin(yaw),
            east * math.cos(yaw) - north * math.sin(yaw),
            down,
        )
        low, high = (math.log(figure) for figure in self.DRIFT_UT_PER_C)
        drift = [
            math.exp(self._random.uniform(low, high)) * self._random.choice((-1, 1))
            for _ in range(3)
        ]
        if troubles is not None:
            scale = troubles.drift_ut_per_c
            drift = [math.copysign(self._random.uniform(*scale), part) for part in drift]
        self._drift_ut_per_c = (drift[0], drift[1], drift[2])
        self._troubles = troubles
        self._trouble = engine.random(f"world/trouble/{name}")
        self._magnet_ut_per_day: Vector = (0.0, 0.0, 0.0)
        self._side = 0.0  # where the neighbours are, as an angle on the sensor
        self._beside = self.NEIGHBOUR_SHARE
        self._passing: list[Vector] = []
        engine.after(self._DRIFT_US, self._drift)
        if troubles is not None:
            self._magnet_ut_per_day = self._vector(troubles.magnet_ut_per_day)
            self._side = self._trouble.uniform(0, 2 * math.pi)
            self._beside = self._trouble.uniform(*troubles.neighbour_share)
            if troubles.passing_per_hour:
                self._wait_for_passing()
        if habits is not None:
            self._wait_for_car()

    @property
    def is_occupied(self) -> bool:
        """Tell whether a car stands in the bay now."""
        return self.changes[-1][1]

    def arrive(self) -> None:
        """Let a car drive into the bay now. Raises ValueError when there is one."""
        if self.is_occupied:
            raise ValueError(f"{self.name} is taken")
        troubles = self._troubles
        strength_ut = self._random.uniform(*(self.CAR_UT if troubles is None else troubles.car_ut))
        high = self.HIGH_CHASSIS_SHARE if troubles is None else troubles.high_chassis_share
        if self._random.random() < high:
            strength_ut = self._random.uniform(8, 14)
        if troubles is not None:
            if self._trouble.random() < troubles.motorcycle_share:
                strength_ut = self._trouble.uniform(*troubles.motorcycle_ut)
            if self._trouble.random() < troubles.reversed_share:
                strength_ut = -strength_ut
        polar, azimuth = self._random.uniform(0.3, 1.2), self._random.uniform(0, 2 * math.pi)
        self._car_ut = (
            strength_ut * math.sin(polar) * math.cos(azimuth),
            strength_ut * math.sin(polar) * math.sin(azimuth),
            strength_ut * math.cos(polar),
        )
        self.changes.append((self._engine.now_us, True))
        ramp: tuple[tuple[int, float], ...] = self._RAMP
        if troubles is not None and self._trouble.random() < troubles.manoeuvre_share:
            moves = self._trouble.randrange(2, 6)
            ramp = tuple(
                (move * 4 * US_PER_S, 1.0 if move == moves else self._trouble.uniform(0.1, 1.3))
                for move in range(moves + 1)
            )
        for delay_us, share in ramp:
            self._engine.after(delay_us, lambda share=share: self._set_share(share))  # type: ignore[misc]

    def leave(self) -> None:
        """Let the car drive off now. Raises ValueError when there is none."""
        if not self.is_occupied:
            raise ValueError(f"{self.name} is free")
        self.changes.append((self._engine.now_us, False))
        for delay_us, share in ((0, 1.2), (2 * US_PER_S, 0.4), (4 * US_PER_S, 0.0)):
            self._engine.after(delay_us, lambda share=share: self._set_share(share))  # type: ignore[misc]

    def field_ut(self, t_us: int) -> Vector:
        """Return the field along the sensor's axes, noise and drift included."""
        warmer_c = self._weather.temperature_c(t_us) - self._weather.mean_c
        field = [0.0, 0.0, 0.0]
        for axis in range(3):
            field[axis] = (
                self._earth_ut[axis]
                + self._car_share * self._car_ut[axis]
                + self._drift_ut_per_c[axis] * warmer_c
                + self._magnet_ut_per_day[axis] * t_us / DAY_US
                + self._noise.gauss(0, self.NOISE_UT)
            )
            for passing in self._passing:
                field[axis] += passing[axis]
            if self._troubles is None:
                for bay in self.neighbours:
                    field[axis] += self.NEIGHBOUR_SHARE * bay._car_share * bay._car_ut[axis]
        if self._troubles is not None:
            for bay in self.neighbours:
                beside = self._field_beside(bay._car_ut)
                for axis in range(3):
                    field[axis] += bay._car_share * beside[axis]
        return field[0], field[1], field[2]

    def _field_beside(self, car_ut: Vector) -> Vector:
        """Return what is left beside a dipole of the field below it (BayTroubles)."""
        cosine, sine = math.cos(self._side), math.sin(self._side)
        towards = car_ut[0] * cosine + car_ut[1] * sine
        along = car_ut[1] * cosine - car_ut[0] * sine
        return (
            self._beside * (-2 * towards * cosine - along * sine),
            self._beside * (along * cosine - 2 * towards * sine),
            self._beside * -0.5 * car_ut[2],
        )

    def temperature_c(self, t_us: int) -> float:
        """Return the temperature of the sensor, that of the air."""
        return self._weather.temperature_c(t_us)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback()` called whenever the field has changed, by cars or by drift."""
        self._callbacks.append(callback)

    def _set_share(self, share: float) -> None:
        self._car_share = share
        self._notify()
        for bay in self.neighbours:
            bay._notify()

    def _vector(self, bounds: tuple[float, float]) -> Vector:
        """Draw a vector of any direction."""
        length = self._trouble.uniform(*bounds)
        parts = [self._trouble.gauss(0, 1) for _ in range(3)]
        scale = length / math.hypot(*parts)
        return parts[0] * scale, parts[1] * scale, parts[2] * scale

    def _wait_for_passing(self) -> None:
        assert self._troubles is not None
        gap_s = self._trouble.expovariate(self._troubles.passing_per_hour / 3600)
        self._engine.after(round(gap_s * US_PER_S), self._pass)

    def _pass(self) -> None:
        """Let something drive by in the lane, or stand there for a while."""
        troubles = self._troubles
        assert troubles is not None
        self._wait_for_passing()
        stands = self._trouble.random() < troubles.jam_share
        self.disturb(
            self._vector(troubles.jam_ut if stands else troubles.passing_ut),
            self._trouble.uniform(*(troubles.jam_s if stands else troubles.passing_s)),
        )

    def disturb(self, field_ut: Vector, duration_s: float) -> None:
        """Add a field for a while: something that is no car in the bay."""
        self._passing.append(field_ut)
        self._notify()

        def end() -> None:
            self._passing.remove(field_ut)
            self._notify()

        self._engine.after(round(duration_s * US_PER_S), end)

    def _notify(self) -> None:
        for callback in self._callbacks:
            callback()

    def _drift(self) -> None:
        self._engine.after(self._DRIFT_US, self._drift)
        self._notify()

    def _wait_for_car(self) -> None:
        """Draw the next arrival: hour by hour, as the rate changes."""
        assert self._habits is not None
        t_us = self._engine.now_us
        while True:
            rate = self._habits.arrivals_per_hour[int(self._weather.local_hour(t_us))]
            gap_us = round(self._random.expovariate(rate) * HOUR_US)
            hour_ends_us = t_us + round(
                (1 - self._weather.local_hour(t_us) % 1) * HOUR_US + US_PER_S
            )
            if t_us + gap_us <= hour_ends_us:
                self._engine.at(t_us + gap_us, self._come)
                return
            t_us = hour_ends_us

    def _come(self) -> None:
        assert self._habits is not None
        self.arrive()
        dwell_s = self._random.lognormvariate(
            math.log(self._habits.median_dwell_s), self._habits.dwell_sigma
        )
        dwell_s = min(max(dwell_s, 60.0), self._habits.longest_dwell_s)
        troubles = self._troubles
        if troubles is not None:
            if self._trouble.random() < troubles.long_stay_share:
                dwell_s = self._trouble.uniform(*troubles.long_stay_days) * 86_400
            if self._trouble.random() < troubles.repark_share:
                gap_s = min(self._trouble.uniform(*troubles.repark_s), dwell_s / 4)
                for after_s, share in ((dwell_s / 2, 0.0), (dwell_s / 2 + gap_s, 1.0)):
                    self._engine.after(
                        round(after_s * US_PER_S),
                        lambda share=share: self._set_share(share),  # type: ignore[misc]
                    )
        self._engine.after(round(dwell_s * US_PER_S), self._go)

    def _go(self) -> None:
        self.leave()
        self._engine.after(60 * US_PER_S, self._wait_for_car)

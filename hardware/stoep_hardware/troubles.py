"""What goes wrong at a parking bay, in stated ranges, and a year's weather for its sensor."""

import math
from dataclasses import dataclass

from .world import DAY_US, Weather


@dataclass(frozen=True, slots=True)
class Seasons(Weather):
    """A year's temperature at a sensor in the ground: -8 to 39 degrees with the figures below.

    `begin_day` is the day of the year. Days differ: warm and cold spells, clear and dull days (the
    shares of these are guesses).
    """

    mean_c: float = 15.5
    swing_c: float = 7.0
    begin_day: float = 0.0
    year_swing_c: float = 11.0
    spell_c: float = 5.5

    def temperature_c(self, t_us: int) -> float:
        """Return the temperature."""
        day = self.begin_day + t_us / DAY_US
        turn = 2 * math.pi * day
        year_c = -self.year_swing_c * math.cos(turn / 365)
        spell_c = self.spell_c * (0.7 * math.sin(turn / 9.7) + 0.3 * math.sin(turn / 3.1))
        clear = 0.65 + 0.35 * math.sin(turn / 5.3)
        day_c = Weather.temperature_c(self, t_us) - self.mean_c
        return self.mean_c + year_c + spell_c + clear * day_c


@dataclass(frozen=True, slots=True)
class BayTroubles:
    """What goes wrong at a bay. Pairs are (low, high): each bay or event draws its own figure.

    Drift with temperature is as measured on eight sensors; all the rest are guesses.
    """

    drift_ut_per_c: tuple[float, float] = (0.015, 0.38)  # 1 to 26 counts, per axis
    car_ut: tuple[float, float] = (12.0, 70.0)
    magnet_ut_per_day: tuple[float, float] = (0.0, 0.1)
    # Beside a car, of the field below it (as of a dipole: twice as much towards the car, half as
    # much and against it upwards).
    neighbour_share: tuple[float, float] = (0.02, 0.06)
    reversed_share: float = 0.1  # cars magnetised against the earth's field
    high_chassis_share: float = 0.05
    motorcycle_share: float = 0.04
    motorcycle_ut: tuple[float, float] = (7.0, 14.0)
    passing_per_hour: float = 5.0
    passing_ut: tuple[float, float] = (4.0, 20.0)
    passing_s: tuple[float, float] = (1.5, 4.0)
    jam_share: float = 0.05  # of what passes, stands for a while, and farther off
    jam_ut: tuple[float, float] = (1.0, 5.0)
    jam_s: tuple[float, float] = (15.0, 90.0)
    manoeuvre_share: float = 0.2  # of arrivals, in several moves
    repark_share: float = 0.03  # of stays, with a gap in which the car is moved
    repark_s: tuple[float, float] = (20.0, 90.0)
    long_stay_share: float = 0.01
    long_stay_days: tuple[float, float] = (0.5, 3.0)

"""Series of what a bay's sensor sees at its wakes, with the truth, to measure a detector by.

The field is that of `world.Bay` between two neighbours, with the troubles of `troubles.BayTroubles`
and a year's weather. A LIS3MDL at 4 gauss watches it as the firmware has it watch: it wakes the
processor when an axis has left the last field seen by `AXIS_COUNTS`, and hourly; each wake lets the
field settle for `SETTLE_S`, unless it is the hour's, and reads until six fields in a row are alike.
With `poll_s` it is a sensor that neither wakes nor has a thermometer: it is looked at by the clock.
The same seed gives the same series: 0 to 999 are for training, 1000 and up are held out.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from stoep_firmware.sensing.bay import axis_threshold, settled

from .engine import US_PER_MS, US_PER_S, Engine
from .troubles import BayTroubles, Seasons
from .world import DAY_US, HOUR_US, Bay, ParkingHabits

COUNTS_PER_UT = 68.42
THRESHOLD_COUNTS = 444  # the firmware's default, 6.5 uT
AXIS_COUNTS = axis_threshold(THRESHOLD_COUNTS)
SETTLE_S = 4
_READ_US = 100 * US_PER_MS
_FIELDS = 6
_PATIENCE_US = 10 * US_PER_S
_RECHECK_US = 60 * US_PER_S
_WATCH_US = 1_600 * US_PER_MS  # 0.625 Hz in low power
_REST_US = 1_700 * US_PER_MS  # from the look until it watches again


@dataclass(frozen=True, slots=True)
class Look:
    """What one wake saw: a still field in counts or None, and the sensor's temperature in eighths
    of a degree, as it says it.
    """

    at_ms: int
    field: tuple[int, int, int] | None
    temperature: int
    by_pin: bool


@dataclass
class BaySeries:
    """The looks, the truth as (ms, occupied) from the first look on, and when both end."""

    looks: list[Look] = field(default_factory=list)
    changes: list[tuple[int, bool]] = field(default_factory=list)
    end_ms: int = 0


def bay_series(
    seed: int,
    days: int,
    troubles: BayTroubles | None = None,
    *,
    neighbours: bool = True,
    under_car_share: float = 0.1,
    weather: bool = True,
    poll_s: int = 0,
) -> BaySeries:
    """Make up one bay's looks; in some series a car is there at installation."""
    troubles = troubles or BayTroubles()
    engine = Engine(seed)
    source = random.Random(f"bays/{seed}")  # noqa: S311 (a simulation)
    air = (
        Seasons(0, begin_day=source.uniform(0, 365))
        if weather
        else Seasons(0, swing_c=0, year_swing_c=0, spell_c=0)
    )
    # Bays are occupied 5 to 30 % of the time.
    habits = ParkingHabits(median_dwell_s=source.uniform(500, 1_500))
    bay = Bay(engine, "bay", air, habits, troubles)
    if neighbours:
        bay.neighbours = [Bay(engine, name, air, habits) for name in ("left", "right")]
        for neighbour in bay.neighbours:
            neighbour.neighbours = [bay]
    under_car = source.random() < under_car_share
    while bay.is_occupied is not under_car:
        engine.run_until(engine.now_us + 60 * US_PER_S)
    engine.run_until(engine.now_us + 60 * US_PER_S)
    series = BaySeries()
    begin_us = engine.now_us
    _Sensor(engine, bay, source, series, poll_s * US_PER_S)
    engine.run_until(begin_us + days * DAY_US)
    series.end_ms = engine.now_us // US_PER_MS
    before = [occupied for t_us, occupied in bay.changes if t_us <= begin_us][-1]
    series.changes = [(begin_us // US_PER_MS, before)] + [
        (t_us // US_PER_MS, occupied) for t_us, occupied in bay.changes if t_us > begin_us
    ]
    return series


class _Sensor:
    """The magnetometer and what the firmware does with it, but the decision."""

    def __init__(
        self, engine: Engine, bay: Bay, source: random.Random, series: BaySeries, poll_us: int
    ) -> None:
        self._engine = engine
        self._bay = bay
        self._source = source
        self._series = series
        self._warmer = source.uniform(-24, 24)  # offset of its thermometer: 3 degrees, a guess
        self._watched: tuple[int, int, int] | None = None
        self._looking = False
        self._fields: list[tuple[int, int, int]] = []
        self._recheck_number = 0
        self._poll_us = poll_us
        if poll_us:
            self._poll()
        else:
            bay.on_change(self._changed)
        self._slot()

    def _read(self) -> tuple[int, int, int]:
        x, y, z = (
            min(max(round(value * COUNTS_PER_UT), -32768), 32767)
            for value in self._bay.field_ut(self._engine.now_us)
        )
        return x, y, z

    def _slot(self) -> None:
        self._engine.after(HOUR_US, self._slot)
        self._wake(by_pin=False)

    def _changed(self) -> None:
        if self._watched is not None:
            self._engine.after(self._source.randrange(_WATCH_US), self._compare)

    def _poll(self) -> None:
        self._engine.after(self._poll_us, self._poll)
        watched = self._watched
        if watched is not None and settled([watched, self._read()], THRESHOLD_COUNTS) is None:
            self._wake(by_pin=True)

    def _compare(self) -> None:
        watched = self._watched
        if watched is not None and any(
            abs(one - other) > AXIS_COUNTS for one, other in zip(self._read(), watched, strict=True)
        ):
            self._wake(by_pin=True)

    def _wake(self, *, by_pin: bool) -> None:
        if self._looking:
            return
        self._looking = True
        self._watched = None
        self._recheck_number += 1
        steps = self._look(by_pin)

        def step() -> None:
            delay_us = next(steps, None)
            if delay_us is not None:
                self._engine.after(delay_us, step)

        step()

    def _look(self, by_pin: bool) -> Iterator[int]:
        """Look, step by step; yields for how long to wait."""
        if by_pin:
            yield SETTLE_S * US_PER_S
        until_us = self._engine.now_us + _PATIENCE_US
        fields: list[tuple[int, int, int]] = []
        still = None
        while still is None and self._engine.now_us < until_us:
            yield _READ_US
            fields = [*fields[1 - _FIELDS :], self._read()]
            if len(fields) == _FIELDS:
                still = settled(fields, THRESHOLD_COUNTS)
        now_us = self._engine.now_us
        celsius = self._bay.temperature_c(now_us)
        temperature = round((celsius - 25) * 8 + self._warmer + self._source.gauss(0, 2))
        look = Look(now_us // US_PER_MS, still, 0 if self._poll_us else temperature, by_pin)
        self._series.looks.append(look)
        yield _REST_US
        self._looking = False
        self._watched = fields[-1] if still is None else still
        if still is None:
            self._engine.after(_RECHECK_US, self._recheck(self._recheck_number))
        if not self._poll_us:
            self._compare()

    def _recheck(self, number: int) -> Callable[[], None]:
        def recheck() -> None:
            if number == self._recheck_number:
                self._wake(by_pin=True)

        return recheck

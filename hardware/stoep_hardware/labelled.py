"""Series of container readings with the truth beside them, to measure a filter by.

What goes wrong in the field goes wrong here, each in a stated range drawn once per unit: fixed
false echoes in runs, spikes, no echo, waste that slopes, bags that hang, containers emptied half,
uplinks missing in runs. Shares are those of `world`, measured on 77 units of one city over a year;
what has no source says so. The same seed gives the same series.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from .world import Container

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# Runs of uplinks that are missing in a badly covered set, by length; of runs, in percent.
MISSING_RUNS = ((1, 51), (2, 30), (3, 10), (5, 7), (9, 1.4), (18, 0.3), (38, 0.1))


@dataclass(frozen=True)
class BinRanges:
    """Between which bounds each unit draws its own figures; pairs are (low, high)."""

    depth_mm: tuple[int, int] = (1100, 2600)
    full_mm: tuple[int, int] = (200, 400)
    emptied_every_days: tuple[int, ...] = (7, 7, 14, 14, 21, 28)
    emptied_at_pct: tuple[float, float] = (10.0, 80.0)  # in the mean: half are below half full
    deposit_pct: tuple[float, float] = (0.4, 2.5)  # mean of one bag; a guess
    bulky_share: float = 0.004  # of deposits that are ten times the mean; a guess
    noise_mm: tuple[float, float] = (3.0, 8.0)
    slope_mm: tuple[float, float] = (0.0, 25.0)  # cone under the lid, moved by deposits; a guess
    hanging_per_day: tuple[float, float] = (0.0, 0.05)  # bags caught under the lid; a guess
    false_unit_share: float = Container.FALSE_UNIT_SHARE
    false_reading_share: tuple[float, float] = (0.10, 0.40)  # of its readings; mean a quarter
    false_run_readings: tuple[float, float] = (3.0, 5.6)  # mean 4.3
    false_jitter_mm: float = 4.0
    spike_share: float = Container.SPIKE_SHARE
    silent_share: float = Container.SILENT_SHARE
    missing_share: tuple[float, float] = (0.0, 0.41)  # of uplinks, mean about 0.18
    half_share: float = 0.1  # of emptyings that leave 20 to 60 percent; a guess
    skipped_share: float = 0.05  # of rounds that leave it out; a guess


@dataclass(frozen=True)
class Sample:
    """One reading that arrived. `label` is good, false, spike, silent or hanging.

    `true_pct` is the level of the surface under the sensor.
    """

    at_ms: int
    distance_mm: int | None
    true_pct: float
    label: str


@dataclass
class BinSeries:
    """A unit's readings with their truth; `emptyings` as (UTC ms, from %, to %)."""

    depth_mm: int
    full_mm: int
    false_mm: int | None
    samples: list[Sample] = field(default_factory=list)
    emptyings: list[tuple[int, float, float]] = field(default_factory=list)


def bin_series(
    seed: int, days: int, ranges: BinRanges | None = None, start_ms: int = 1_767_225_600_000
) -> BinSeries:
    """Make up one unit's hourly readings over some days, starting at midnight."""
    ranges = ranges or BinRanges()
    source = random.Random(f"bin/{seed}")  # noqa: S311 (a simulation)
    depth_mm = round(source.uniform(*ranges.depth_mm))
    full_mm = round(source.uniform(*ranges.full_mm))
    series = BinSeries(depth_mm, full_mm, _false_mm(source, ranges, depth_mm))
    world = _World(source, ranges, series, start_ms)
    is_missing = _missing(source, source.triangular(*ranges.missing_share, 0.12))
    for hour in range(days * 24):
        sample = world.hour(start_ms + hour * HOUR_MS)
        if not next(is_missing):
            series.samples.append(sample)
    return series


def _false_mm(source: random.Random, ranges: BinRanges, depth_mm: int) -> int | None:
    if source.random() >= ranges.false_unit_share:
        return None
    # Median 62 cm; 34 of 39 between 45 and 65 cm, the others anywhere.
    if source.random() < 34 / 39:
        return round(min(max(source.gauss(620, 40), 450), 650))
    return round(source.uniform(300, 0.9 * depth_mm))


def _missing(source: random.Random, share: float) -> Iterator[bool]:
    lengths = [length for length, _ in MISSING_RUNS]
    weights = [weight for _, weight in MISSING_RUNS]
    mean = sum(length * weight for length, weight in MISSING_RUNS) / sum(weights)
    start = share / mean / (1 - share)
    while True:
        if source.random() < start:
            yield from (True,) * source.choices(lengths, weights)[0]
        yield False


class _World:
    """The waste, and what the sensor makes of it."""

    def __init__(
        self, source: random.Random, ranges: BinRanges, series: BinSeries, start_ms: int
    ) -> None:
        self._source = source
        self._ranges = ranges
        self._series = series
        self._every_days = source.choice(ranges.emptied_every_days)
        self._rate_pct = source.uniform(*ranges.emptied_at_pct) / self._every_days
        self._round_h = source.randrange(7, 15)
        self._round_day = source.randrange(self._every_days)
        self._deposit_pct = source.uniform(*ranges.deposit_pct)
        self._noise_mm = source.uniform(*ranges.noise_mm)
        self._slope_mm = source.uniform(*ranges.slope_mm)
        self._hanging_per_h = source.uniform(*ranges.hanging_per_day) / 24
        self._weekday = [source.uniform(0.6, 1.4) for _ in range(7)]
        share = source.uniform(*ranges.false_reading_share)
        self._leave = 1 / source.uniform(*ranges.false_run_readings)
        self._enter = self._leave * share / (1 - share)
        self._is_false = False
        self._level_pct = source.uniform(5, 60)
        self._cone_mm = 0.0
        self._hanging_mm = 0.0
        self._hanging_until_ms = 0
        self._day0_ms = start_ms

    def hour(self, at_ms: int) -> Sample:
        """Let an hour pass and take a reading."""
        source, ranges = self._source, self._ranges
        local_h = (at_ms - self._day0_ms) // HOUR_MS % 24
        weekday = (at_ms - self._day0_ms) // DAY_MS % 7
        # Nothing is thrown away at night; noon is twice the mean.
        share = max(0.0, math.sin(math.pi * (local_h - 6) / 14)) * 2.7
        expected = self._rate_pct / 24 * share * self._weekday[weekday] / self._deposit_pct
        for _ in range(_poisson(source, expected)):
            size = source.expovariate(1 / self._deposit_pct)
            if source.random() < ranges.bulky_share:
                size *= 10
            self._level_pct = min(self._level_pct + size, 115.0)
            self._cone_mm = source.gauss(0, self._slope_mm)
            self._hanging_until_ms = min(self._hanging_until_ms, at_ms + 6 * HOUR_MS)
        day = (at_ms - self._day0_ms) // DAY_MS
        is_round = day % self._every_days == self._round_day and local_h == self._round_h
        if is_round and source.random() >= ranges.skipped_share:
            self._empty(at_ms)
        return self._reading(at_ms)

    def _empty(self, at_ms: int) -> None:
        source = self._source
        left_pct = source.uniform(0, 4)
        if source.random() < self._ranges.half_share:
            left_pct = source.uniform(20, 60)
        left_pct = min(left_pct, self._level_pct)
        self._series.emptyings.append((at_ms, self._level_pct, left_pct))
        self._level_pct = left_pct
        self._cone_mm = source.gauss(0, self._slope_mm) if left_pct > 10 else 0.0
        self._hanging_until_ms = 0

    def _reading(self, at_ms: int) -> Sample:
        source, ranges, series = self._source, self._ranges, self._series
        self._is_false = (
            source.random() >= self._leave if self._is_false else (source.random() < self._enter)
        )
        span_mm = series.depth_mm - series.full_mm
        surface_mm = series.depth_mm - self._level_pct / 100 * span_mm - abs(self._cone_mm)
        true_pct = 100 * (series.depth_mm - surface_mm) / span_mm
        distance_mm = surface_mm + source.gauss(0, self._noise_mm)
        label = "good"
        if at_ms < self._hanging_until_ms:
            distance_mm -= self._hanging_mm
            label = "hanging"
        elif source.random() < self._hanging_per_h and surface_mm > 600:
            self._hanging_until_ms = at_ms + round(source.uniform(1, 30) * HOUR_MS)
            self._hanging_mm = source.uniform(150, 0.6 * surface_mm)
        if series.false_mm is not None and self._is_false and series.false_mm < surface_mm - 20:
            distance_mm = series.false_mm + source.gauss(0, ranges.false_jitter_mm)
            label = "false"
        draw = source.random()
        if draw < ranges.silent_share:
            return Sample(at_ms, None, true_pct, "silent")
        if draw < ranges.silent_share + ranges.spike_share:
            distance_mm = surface_mm + source.choice((-1, 1)) * source.uniform(150, 600)
            label = "spike"
        nearest, farthest = 30, series.depth_mm + 600
        return Sample(at_ms, round(min(max(distance_mm, nearest), farthest)), true_pct, label)


def _poisson(source: random.Random, mean: float) -> int:
    limit, count, product = math.exp(-mean), 0, source.random()
    while product > limit:
        count += 1
        product *= source.random()
    return count

"""A made-up town: its configuration, and the waste that comes. Pure; the same seed, the same town.

Ranges without a source are guesses. The mean of 13 points a day is what makes weekly emptyings come
out as published prototypes have it: two in three containers full.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from stoep_gateway.backtest.waste import Waste

__all__ = ["START_MS", "TownRanges", "config_text", "waste"]

START_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z, a Monday
_LAT, _LON = 52.09, 5.12
_KM_PER_DEGREE = 111.195


@dataclass(frozen=True, slots=True)
class TownRanges:
    """What containers draw their figures from; pairs are (low, high)."""

    rate_pct_per_day: float = 13.0
    rate_spread: float = 0.5  # standard deviation of its logarithm
    deposit_pct: tuple[float, float] = (0.4, 2.5)  # mean of one bag
    weekday_spread: float = 0.2
    week_spread: float = 0.15  # of a container's weeks around its mean, each 0.7 of the one before
    town_day_spread: float = 0.08  # weather: all containers alike
    clusters: int = 8
    radius_km: float = 4.0
    capacity_l: tuple[int, ...] = (3000, 4000, 5000)


def config_text(seed: int, containers: int, ranges: TownRanges | None = None) -> str:
    """Return the ``stoep.toml`` of a town; a truck for every hundred containers, two at least."""
    ranges = ranges or TownRanges()
    source = random.Random(f"town/{seed}")  # noqa: S311 (a simulation)
    centres = [_point(source, ranges.radius_km) for _ in range(ranges.clusters)]
    text = [
        f'site = "town-{seed}"\ntimezone = "Europe/Amsterdam"\n[planning]\nservice_min = 6',
        "speed_kmh = 25",
        *_place("yard", "depot", (ranges.radius_km, -0.3 * ranges.radius_km)),
        *_place("station", "disposal", (1.5 * ranges.radius_km, 0.4 * ranges.radius_km)),
    ]
    for number in range(1, max(2, containers // 100) + 1):
        text.append(f'[[truck]]\nid = "truck-{number}"\ncapacity_l = 20000\ncompaction = 4')
        text.append('depot = "yard"\ndisposal = "station"')
    for number in range(1, containers + 1):
        east, north = source.choice(centres)
        at = (east + source.gauss(0, 0.8), north + source.gauss(0, 0.8))
        text.append(f'[[container]]\nid = "c{number}"\ncapacity_l = {_of(source, ranges)}')
        text.append(f"depth_mm = 1800\nfull_mm = 300\n{_where(at)}")
    return "\n".join(text) + "\n"


def waste(seed: int, names: list[str], days: int, ranges: TownRanges | None = None) -> Waste:
    """Return what comes into containers from `START_MS` on, in points, by the hour."""
    ranges = ranges or TownRanges()
    town = random.Random(f"days/{seed}")  # noqa: S311 (a simulation)
    of_days = [math.exp(town.gauss(0, ranges.town_day_spread)) for _ in range(days)]
    of_week = [math.exp(town.gauss(0, ranges.weekday_spread)) for _ in range(7)]
    came = {}
    for name in names:
        source = random.Random(f"waste/{seed}/{name}")  # noqa: S311 (a simulation)
        came[name] = _hours(source, of_days, of_week, ranges)
    return Waste(START_MS, came)


def _hours(
    source: random.Random, of_days: list[float], of_week: list[float], ranges: TownRanges
) -> list[float]:
    spread = ranges.rate_spread
    rate = ranges.rate_pct_per_day * math.exp(source.gauss(-(spread**2) / 2, spread))
    deposit = source.uniform(*ranges.deposit_pct)
    own_week = [it * math.exp(source.gauss(0, ranges.weekday_spread / 2)) for it in of_week]
    own_week = [7 * it / sum(own_week) for it in own_week]
    # Nothing is thrown away at night; noon is twice the mean.
    shares = [max(0.0, math.sin(math.pi * (hour - 6) / 16)) for hour in range(24)]
    shares = [it / sum(shares) for it in shares]
    week = source.gauss(0, ranges.week_spread)
    hours = []
    for day, of_day in enumerate(of_days):
        if day % 7 == 0:
            week = 0.7 * week + source.gauss(0, math.sqrt(1 - 0.49) * ranges.week_spread)
        expected = rate * of_day * own_week[day % 7] * math.exp(week) / deposit
        hours += [
            sum(source.expovariate(1 / deposit) for _ in range(_poisson(source, expected * share)))
            for share in shares
        ]
    return hours


def _poisson(source: random.Random, mean: float) -> int:
    limit, count, product = math.exp(-mean), 0, source.random()
    while product > limit:
        count += 1
        product *= source.random()
    return count


def _of(source: random.Random, ranges: TownRanges) -> int:
    return source.choice(ranges.capacity_l)


def _point(source: random.Random, radius_km: float) -> tuple[float, float]:
    angle, radius = source.uniform(0, 2 * math.pi), radius_km * math.sqrt(source.random())
    return radius * math.cos(angle), radius * math.sin(angle)


def _where(at: tuple[float, float]) -> str:
    lat = _LAT + at[1] / _KM_PER_DEGREE
    lon = _LON + at[0] / _KM_PER_DEGREE / math.cos(math.radians(_LAT))
    return f"lat = {lat:.5f}\nlon = {lon:.5f}"


def _place(name: str, kind: str, at: tuple[float, float]) -> list[str]:
    return [f'[[place]]\nid = "{name}"\nkind = "{kind}"\n{_where(at)}']

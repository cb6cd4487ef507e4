"""What stands where in the simulated street: containers, bays, boards, gateways, keys.

Decides everything that is the same every time for a seed, and does nothing: `scenario` builds the
street from it, `street_files` tells the gateway about it.
"""

import math
from dataclasses import dataclass
from datetime import datetime

from . import blantyre
from .blantyre import Site, Skip
from .engine import Engine

# A skip of 7 m³ under a sensor on an arm. At 114 % the waste is 190 mm below the sensor.
DEPTH_MM = 1900
FULL_MM = 400
STREET = "Limbe market street"
BAY_SPACING_M = 5.5
GATEWAY_REACH_M = 1_200.0
_METRES_PER_DEGREE = 111_195.0
# Locally administered: nobody's assigned range.
_DEVICE_PREFIX = bytes.fromhex("0253746f6570")
_GATEWAY_PREFIX = bytes.fromhex("0253746f65700f")
_JOIN_EUI = bytes.fromhex("0253746f65700000")


@dataclass(frozen=True, slots=True)
class Board:
    """A sensor board: its identity, its key, and whether it runs the real MicroPython."""

    dev_eui: bytes
    join_eui: bytes
    app_key: bytes
    is_micropython: bool


@dataclass(frozen=True, slots=True)
class PlannedContainer:
    """A container; `skip` is its log, None when its curve is generated."""

    id: str
    name: str
    fraction: str
    site: Site
    position_m: tuple[float, float]
    skip: Skip | None
    board: Board


@dataclass(frozen=True, slots=True)
class PlannedBay:
    """A parking bay."""

    id: str
    name: str
    lat: float
    lon: float
    position_m: tuple[float, float]
    board: Board


@dataclass(frozen=True, slots=True)
class PlannedGateway:
    """A packet forwarder on a pole."""

    id: str
    eui: bytes
    lat: float
    lon: float
    position_m: tuple[float, float]


@dataclass(frozen=True, slots=True)
class StreetPlan:
    """The whole street."""

    start: datetime
    containers: tuple[PlannedContainer, ...]
    bays: tuple[PlannedBay, ...]
    gateways: tuple[PlannedGateway, ...]

    @property
    def utc_start_ms(self) -> int:
        """The UTC of simulated time 0."""
        return int(self.start.timestamp() * 1000)

    @property
    def local_start_s(self) -> int:
        """The local time of day at simulated time 0."""
        return self.start.hour * 3600 + self.start.minute * 60 + self.start.second


class _Map:
    """Metres east and north of Blantyre's middle; good to a few metres over the city."""

    _LAT, _LON = -15.81, 35.04

    def __init__(self) -> None:
        self._east = _METRES_PER_DEGREE * math.cos(math.radians(self._LAT))

    def metres(self, lat: float, lon: float) -> tuple[float, float]:
        return (lon - self._LON) * self._east, (lat - self._LAT) * _METRES_PER_DEGREE

    def degrees(self, position_m: tuple[float, float]) -> tuple[float, float]:
        lat = self._LAT + position_m[1] / _METRES_PER_DEGREE
        return round(lat, 6), round(self._LON + position_m[0] / self._east, 6)


def plan(
    engine: Engine,
    *,
    containers: int = 16,
    bays: int = 8,
    micropython: int = 4,
    start: datetime = blantyre.DEMO_START,
) -> StreetPlan:
    """Plan a street: the logged skips first, then generated containers, then a row of bays.

    `micropython` boards, half of them under containers where possible, run the real MicroPython.
    Raises ValueError for numbers that cannot be had.
    """
    further = blantyre.further_sites()
    skips = blantyre.skips()
    most = len(skips) + len(further)
    if not 0 <= containers <= most or bays < 0 or not 0 <= micropython <= containers + bays:
        raise ValueError(
            f"there can be up to {most} containers, and no more MicroPython boards than boards:"
            f" not {containers} containers, {bays} bays, {micropython} on MicroPython"
        )
    on_bays = min(micropython // 2, bays)
    on_bins = min(micropython - on_bays, containers)
    on_bays = micropython - on_bins
    keys = engine.random("plan/keys")
    here = _Map()

    def board(number: int, is_micropython: bool) -> Board:
        dev_eui = _DEVICE_PREFIX + number.to_bytes(2)
        return Board(dev_eui, _JOIN_EUI, keys.randbytes(16), is_micropython)

    planned: list[PlannedContainer] = []
    for index in range(containers):
        skip = skips[index] if index < len(skips) else None
        site = skip.site if skip else further[index - len(skips)]
        # Skips on one site stand side by side.
        beside = sum(other.site.id == site.id for other in planned)
        east_m, north_m = here.metres(site.lat, site.lon)
        planned.append(
            PlannedContainer(
                id=skip.id if skip else f"generated-{index - len(skips) + 1}",
                name=skip.name if skip else f"{site.name} (generated)",
                fraction=skip.fraction if skip else "residual",
                site=site,
                position_m=(east_m + 4.0 * beside, north_m),
                skip=skip,
                board=board(index + 1, index < on_bins),
            )
        )
    east_m, north_m = here.metres(further[0].lat, further[0].lon)
    row = [(east_m + 60.0 + BAY_SPACING_M * index, north_m + 25.0) for index in range(bays)]
    planned_bays = tuple(
        PlannedBay(
            f"limbe-{index + 1}",
            f"{STREET} {index + 1}",
            *here.degrees(position_m),
            position_m,
            board(1000 + index + 1, index < on_bays),
        )
        for index, position_m in enumerate(row)
    )
    needed = [container.position_m for container in planned] + row
    poles = _poles(needed)
    gateways = tuple(
        PlannedGateway(
            f"kerb-{index + 1}",
            _GATEWAY_PREFIX + bytes((index + 1,)),
            *here.degrees(position_m),
            position_m,
        )
        for index, position_m in enumerate(poles)
    )
    return StreetPlan(start, tuple(planned), planned_bays, gateways)


def _poles(needed: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Place poles, each beside the point from which most of what is left is within reach."""
    left = list(needed)
    poles: list[tuple[float, float]] = []
    while left:
        middle = max(
            left,
            key=lambda point: sum(math.dist(point, other) <= GATEWAY_REACH_M for other in left),
        )
        poles.append((middle[0] + 30.0, middle[1] + 30.0))
        left = [point for point in left if math.dist(point, middle) > GATEWAY_REACH_M]
    return poles

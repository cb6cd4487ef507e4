"""Tables of the configuration files that the daily rounds are planned from."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stoep_gateway.config_days import WEEK, ScheduledConfig, Weekday
from stoep_gateway.config_model import (
    FilePath,
    Id,
    Latitude,
    Longitude,
    TableModel,
    Text,
    TimeOfDay,
    Window,
)
from stoep_gateway.config_service import Url

__all__ = [
    "OUTCOME",
    "SUMMARY",
    "FractionConfig",
    "KindConfig",
    "Language",
    "PlaceConfig",
    "PlanningConfig",
    "TruckConfig",
]

Language = Literal["en", "nl"]
SUMMARY = "summary"  # where a truck's id stands in other topics of rounds
OUTCOME = "outcome"  # likewise


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _some(value: list[str]) -> list[str]:
    if not value:
        raise ValueError("at least one")
    return value


def _some_days(value: list[Weekday]) -> list[Weekday]:
    if not value:
        raise ValueError("at least one; enabled = false plans nothing")
    return value


Ids = list[Id]
OneOrMoreIds = Annotated[Ids, BeforeValidator(_one_or_more), AfterValidator(_some)]
Minutes = Annotated[float, Field(ge=0, le=240)]
Euros = Annotated[float, Field(ge=0, le=100_000)]
MaxDays = Annotated[float, Field(gt=0, le=3650)]


class PlanningConfig(TableModel):
    """``[planning]``: the daily rounds, in money; absent means that none is planned.

    A container is worth a prize: ``eur_per_overflow_day`` times the probability that it overflows
    before the next round, and, from ``prize_from_pct`` on, ``prize_weight`` times what an emptying
    has cost of late times (fill / mean fill at emptyings) to the power ``prize_power``. It is
    emptied when its prize is more than the detour costs, and must be from a probability of
    ``must_go_pct`` on, or ``max_days`` after the last time. Distances are those of the table
    ``distances``, else by the ``roads`` of an OpenStreetMap extract, where a truck of ``truck_t``
    and ``truck_height_m`` may drive, or those of the server ``osrm``, else estimated.
    For people, plans are written to the folder ``files``, too, in the ``language`` of drivers.
    """

    enabled: bool = True
    at: TimeOfDay = datetime.time(6, 0)
    days: Annotated[list[Weekday], AfterValidator(_some_days)] = WEEK
    not_on: list[datetime.date] = Field(default_factory=list)
    threshold_pct: float = Field(default=80, gt=0, le=100)
    distances: FilePath | None = None
    roads: FilePath | None = None
    osrm: Url | None = None
    drives_on: Literal["right", "left"] = "right"
    truck_t: float = Field(default=18, gt=0, le=60)
    truck_height_m: float = Field(default=3.8, gt=0, le=6)
    detour_factor: float = Field(default=1.35, ge=1, le=5)
    speed_kmh: float = Field(default=30, gt=0, le=120)
    service_min: Minutes = 8
    eur_per_km: Euros = 1
    eur_per_h: Euros = 61
    eur_per_round: Euros = 0
    eur_per_overflow_day: Euros = 30
    must_go_pct: float = Field(default=50, gt=0, le=100)
    prize_weight: float = Field(default=1, ge=0, le=100)
    prize_power: float = Field(default=3, ge=0, le=10)
    prize_from_pct: float = Field(default=50, ge=0, le=100)
    max_days: MaxDays | None = None
    iterations: int = Field(default=1000, ge=1, le=1_000_000)
    solve_s: float | None = Field(default=None, gt=0, le=3600)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    files: FilePath | None = None
    files_days: int = Field(default=31, ge=1, le=3650)
    language: Language = "en"

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.roads is not None and self.osrm is not None:
            raise ValueError('"roads" and "osrm" are two answers to one question: leave one out')
        return self


class KindConfig(ScheduledConfig, TableModel):
    """``[[kind]]``: what containers of one kind have in common.

    One that is ``exchanged`` is taken along as a whole, and an empty one is left in its place: it
    takes all its litres in the truck, however full it is.
    """

    id: Id
    exchanged: bool = False
    service_min: Minutes | None = None
    max_days: MaxDays | None = None


class FractionConfig(TableModel):
    """``[[fraction]]``: what a cubic metre of loose waste of one fraction weighs."""

    id: Id
    kg_per_m3: float = Field(gt=0, le=2000)


class PlaceConfig(TableModel):
    """``[[place]]``: a yard where trucks stand, or a site where they unload and when it is open."""

    id: Id
    name: Text | None = None
    kind: Literal["depot", "disposal"]
    lat: Latitude
    lon: Longitude
    distance_index: int | None = None
    open: Window | None = None


class TruckConfig(TableModel):
    """``[[truck]]``: starts and ends at ``depot``, unloads at a ``disposal`` whenever it is full.

    ``compaction`` is how many litres of loose waste go into one litre of the truck. It takes only
    the ``kinds`` and ``fractions`` that are named, if any are. What is not said is as in
    ``[planning]``.
    """

    id: Id
    capacity_l: int = Field(gt=0, le=1_000_000)
    capacity_kg: int | None = Field(default=None, gt=0, le=100_000)
    depot: Id
    disposal: OneOrMoreIds
    starts: TimeOfDay | None = None
    shift_h: float = Field(default=8, gt=0, le=24)
    break_min: Minutes = 0
    unload_min: Minutes = 15
    compaction: float = Field(default=1, ge=1, le=20)
    range_km: float | None = Field(default=None, gt=0, le=10_000)
    kinds: Ids = Field(default_factory=list)
    fractions: Ids = Field(default_factory=list)
    eur_per_km: Euros | None = None
    eur_per_h: Euros | None = None
    eur_per_round: Euros | None = None

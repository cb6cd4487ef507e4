"""Tables that name files of assets, and events that make days unlike others."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stoep_gateway.config_days import Dates, Weekdays
from stoep_gateway.config_model import (
    ContainerConfig,
    FilePath,
    Id,
    Latitude,
    Longitude,
    Name,
    TableModel,
    Text,
    Window,
)
from stoep_gateway.planning.distances import straight_line_km

__all__ = ["AssetFileConfig", "EventConfig", "concerns"]


class AssetFileConfig(TableModel):
    """``[[asset_file]]``: a table (CSV) or a map (GeoJSON) whose rows are tables ``of`` one name.

    ``columns`` are our keys and the headers that they stand under; ``values`` says, by key, what a
    value of theirs is for us; ``defaults`` is what a row has that does not say it. With
    ``clean_ids`` what may not stand in an id becomes "-".
    """

    path: FilePath
    of: Literal["container", "bay", "kind", "fraction", "place", "truck", "event"] = "container"
    columns: dict[str, Text] = Field(default_factory=dict)
    values: dict[str, dict[str, Any]] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)
    encoding: Literal["utf-8", "cp1252"] = "utf-8"
    clean_ids: bool = False


def _country(value: str) -> str:
    if re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", value):
        return value
    raise ValueError('a country is two capital letters, "NL"; with a part of it, "DE-BY"')


class EventConfig(TableModel):
    """``[[event]]``: what makes days unlike others: a market, a festival, the ``holidays``.

    It is on its ``dates``, ``weekly`` and on the public ``holidays`` of a country, but ``not_on``
    some; within its ``hours``, if they are said. It is about the containers that fit all that is
    said of them: their ids, kinds and fractions, and being within ``radius_m`` of a point; of all
    where nothing is. ``factor`` is by what a day's waste is multiplied, learned if it is not given.
    """

    id: Id
    name: Name | None = None
    dates: Dates = Field(default_factory=list)
    weekly: Weekdays = Field(default_factory=list)
    holidays: Annotated[str, AfterValidator(_country)] | None = None
    not_on: Dates = Field(default_factory=list)
    hours: Window | None = None
    containers: list[Id] = Field(default_factory=list)
    kinds: list[Id] = Field(default_factory=list)
    fractions: list[Id] = Field(default_factory=list)
    lat: Latitude | None = None
    lon: Longitude | None = None
    radius_m: float | None = Field(default=None, gt=0, le=100_000)
    factor: float | None = Field(default=None, ge=0.01, le=100)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not (self.dates or self.weekly or self.holidays):
            raise ValueError('needs "dates", "weekly" or "holidays"')
        point = [it is None for it in (self.lat, self.lon, self.radius_m)]
        if any(point) != all(point):
            raise ValueError('"lat", "lon" and "radius_m" belong together')
        return self


def concerns(event: EventConfig, container: ContainerConfig) -> bool:
    """Tell whether an event is about a container: all that is said of those has to fit."""
    if event.lat is not None and event.lon is not None and event.radius_m is not None:
        km = straight_line_km(event.lat, event.lon, container.lat, container.lon)
        if 1000 * km > event.radius_m:
            return False
    return all(
        not said or its in said
        for said, its in (
            (event.containers, container.id),
            (event.kinds, container.kind),
            (event.fractions, container.fraction),
        )
    )

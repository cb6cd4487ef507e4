"""The commands ``collections.*`` of the control socket: add to the city's log, or forget of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stoep_gateway.assets.geometry import FILL_MAX_PCT
from stoep_gateway.clock import Clock
from stoep_gateway.config import Config
from stoep_gateway.control import CommandRefused, ControlServer
from stoep_gateway.errors import FatalError
from stoep_gateway.pipeline import Pipeline
from stoep_gateway.store.latest import count_collections
from stoep_gateway.store.records import CollectionRow, Record

__all__ = ["MOST_ROWS", "CollectionCommands", "Row", "names"]

MOST_ROWS = 2_000  # of one transaction: a tenth of a second in which no uplink is written
_LAST_MS = 1 << 48

Request = Mapping[str, Any]


class Row(BaseModel):
    """An emptying as `CollectionRow` has it, of the log."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    container: str = Field(min_length=1, max_length=64)
    at_utc_ms: int = Field(ge=0, lt=_LAST_MS)
    from_pct: float | None = Field(None, ge=0, le=FILL_MAX_PCT)
    to_pct: float | None = Field(None, ge=0, le=FILL_MAX_PCT)
    truck: str | None = Field(None, max_length=64)
    weight_kg: float | None = Field(None, ge=0, le=100_000)
    date_only: int = Field(0, ge=0, le=1)


class _Span(BaseModel):
    model_config = ConfigDict(strict=True)

    source: str = Field(pattern="^(log|driver)$")
    from_utc_ms: int = Field(ge=0, lt=_LAST_MS)
    to_utc_ms: int = Field(ge=0, lt=_LAST_MS)


def names(config: Config) -> dict[str, str]:
    """Return the containers' names by id."""
    return {it.id: it.name or it.id for it in config.containers}


class CollectionCommands:
    """Answers once it is durable; ``changed`` is told then."""

    def __init__(
        self, config: Config, pipeline: Pipeline, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self._config = config
        self._path: Path = config.store.path
        self._pipeline = pipeline
        self._clock = clock
        self._changed = changed

    def reconfigure(self, config: Config) -> None:
        """Go by another configuration's containers."""
        self._config = config

    def register(self, control: ControlServer) -> None:
        """Let the control socket know all commands."""
        control.register("collections.site", self._site)
        control.register("collections.add", self._add, changes=True)
        control.register("collections.forget", self._forget, changes=True)

    def _site(self, _: Request) -> dict[str, Any]:
        if not self._clock.utc_is_known():
            raise CommandRefused("the gateway does not know the time yet", "try again")
        return {
            "containers": names(self._config),
            "timezone": str(self._config.timezone),
            "now_utc_ms": self._clock.utc_ms(),
        }

    async def _add(self, request: Request) -> dict[str, Any]:
        said = request.get("rows")
        if not isinstance(said, list) or len(said) > MOST_ROWS:
            raise CommandRefused(f'"rows" is a list of at most {MOST_ROWS}')
        known = names(self._config)
        rows = []
        for number, it in enumerate(said):
            try:
                row = Row.model_validate(it)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise CommandRefused(f"rows[{number}].{where}: {first['msg']}") from None
            if row.container not in known:
                raise CommandRefused(f"no container {row.container!r} is configured")
            values = row.model_dump()
            rows.append(CollectionRow(source="log", **values))
        return await self._record(Record(collections=tuple(rows)))

    async def _forget(self, request: Request) -> dict[str, Any]:
        try:
            span = _Span.model_validate({it: request.get(it) for it in _Span.model_fields})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise CommandRefused(f"{first['loc'][0]}: {first['msg']}") from None
        forgotten = (span.source, span.from_utc_ms, span.to_utc_ms)
        return await self._record(Record(forgotten_collections=(forgotten,)))

    async def _record(self, record: Record) -> dict[str, Any]:
        try:
            before = await asyncio.to_thread(count_collections, self._path)
            durable = asyncio.Event()
            self._pipeline.record(record, durable.set)
            await durable.wait()
            after = await asyncio.to_thread(count_collections, self._path)
        except FatalError as error:
            raise CommandRefused(str(error)) from None
        self._changed()
        return {"before": before, "after": after}

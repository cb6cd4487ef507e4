"""Keeps what forecasts learn: of each container once a day, and all of it at the end.

After a crash a container's levels go on where they were kept; the gap is learned from as a whole.
"""

from __future__ import annotations

import asyncio
import logging

from stoep_gateway.assets.occasions import events_of
from stoep_gateway.clock import Clock
from stoep_gateway.config import Config
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.services import Parts
from stoep_gateway.store.records import ForecastRow, Record
from stoep_gateway.store.store import Store

__all__ = ["Forecasting", "build"]

_EVERY_MS = 60_000
_AT_ONCE = 100  # ten milliseconds; at midnight all are due

_log = logging.getLogger(__name__)


class Forecasting:
    """Writes patiently: nothing waits for it."""

    name = "forecasts"

    def __init__(self, forecasts: Forecasts, clock: Clock, store: Store) -> None:
        self._forecasts = forecasts
        self._clock = clock
        self._store = store
        self._due = asyncio.Event()

    def reconfigure(self, config: Config) -> None:
        """Take other events."""
        self._forecasts.attend(events_of(config))

    async def open(self) -> None:
        """Nothing is held."""

    async def run(self) -> None:
        """Keep what is due every minute, until cancelled."""
        self._clock.when_started(self._wait)
        while True:
            await self._due.wait()
            self._due.clear()
            self._write(self._forecasts.changes(_AT_ONCE))
            for key in self._forecasts.unreadable:
                _log.warning("what the forecast knew of %s is unreadable; it learns anew", key)
            self._forecasts.unreadable.clear()
            self._wait()

    async def close(self) -> None:
        """Keep the rest."""
        self._write(self._forecasts.everything())

    def _wait(self) -> None:
        self._clock.call_at(self._clock.now_ms() + _EVERY_MS, self._due.set)

    def _write(self, texts: dict[str, str]) -> None:
        if texts:
            rows = tuple(ForecastRow(*it) for it in texts.items())
            self._store.submit_patiently(Record(forecasts=rows))


def build(parts: Parts) -> Forecasting:
    """Return the service."""
    service = Forecasting(parts.pipeline.forecasts, parts.clock, parts.store)
    parts.on_reload.append(service.reconfigure)
    return service

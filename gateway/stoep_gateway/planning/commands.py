"""The command ``plan.show`` of the control socket: a round from what the gateway knows now."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from stoep_gateway.assets.states import AssetState
from stoep_gateway.clock import Clock
from stoep_gateway.config import Config
from stoep_gateway.control import CommandRefused, ControlServer
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.planning import apart, driving, knowing, planner
from stoep_gateway.planning.files.command import document_asked
from stoep_gateway.planning.in_force import InForce
from stoep_gateway.planning.selection import Running
from stoep_gateway.planning.text import for_people

__all__ = ["PlanCommands"]

_PLANNABLE_MS = range(946_684_800_000, 32_503_680_000_000)  # the years 2000 to 2999


class PlanCommands:
    """Plans on request, one plan at a time, off the event loop; simulated time waits for it."""

    def __init__(
        self,
        config: Config,
        states: Mapping[str, AssetState],
        forecasts: Forecasts,
        clock: Clock,
        in_force: InForce,
    ) -> None:
        self._config = config
        self._states = states
        self._forecasts = forecasts
        self._clock = clock
        self._in_force = in_force
        self._planning = asyncio.Lock()

    def reconfigure(self, config: Config) -> None:
        """Plan with another configuration from now on."""
        self._config = config

    def register(self, control: ControlServer) -> None:
        """Let the control socket know the command."""
        control.register("plan.show", self._show)

    async def _show(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if not self._config.trucks:
            raise CommandRefused("a round needs at least one [[truck]] in the configuration")
        at_ms = request.get("at_utc_ms")
        is_now = at_ms is None
        if at_ms is None:
            at_ms = self._clock.utc_ms()
        elif type(at_ms) is not int or at_ms not in _PLANNABLE_MS:
            raise CommandRefused("at_utc_ms is a time of the years 2000 to 2999 in milliseconds")
        before, day = self._in_force.at(self._config, at_ms, is_now=is_now)
        given_up = threading.Event()
        self._clock.begin()
        try:
            async with self._planning:
                plan = await asyncio.to_thread(
                    driving.replanned,
                    knowing.known(self._states, self._config, at_ms, self._forecasts),
                    self._config,
                    at_ms,
                    None if before is None else before.plan,
                    day,
                    Running() if before is None else before.running,
                    given_up.is_set,
                    apart.answer,
                )
                if request.get("format") is not None:
                    document = await asyncio.to_thread(
                        document_asked, plan, self._config, request, given_up.is_set
                    )
                    return {"document": document}
        finally:
            given_up.set()
            self._clock.end()
        return {
            "text": for_people(plan, self._config),
            "messages": [message.payload.decode() for message in planner.outputs(plan)],
        }

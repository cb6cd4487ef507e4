"""The commands ``container.*`` of the control socket: emptyings, and what was learned of lids."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoep_gateway.assets import states
from stoep_gateway.assets.geometry import FILL_MAX_PCT
from stoep_gateway.assets.registry import Container, Registry
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.clock import Clock
from stoep_gateway.control import CommandRefused, ControlServer
from stoep_gateway.insight import filling, flaps
from stoep_gateway.insight.flaps import FlapCount
from stoep_gateway.memory import Memory
from stoep_gateway.pipeline import Pipeline
from stoep_gateway.publish.containers import emptied_by_log
from stoep_gateway.publish.messages import OutboxMessage, utc
from stoep_gateway.store.records import CollectionRow, LatestRow, Record

__all__ = ["ContainerCommands"]

_AHEAD_MS = 60_000  # by which another clock may be fast

Request = Mapping[str, Any]


class ContainerCommands:
    """Answers for the containers of one gateway."""

    def __init__(
        self, registry: Registry, memory: Memory, pipeline: Pipeline, clock: Clock
    ) -> None:
        self._registry = registry
        self._memory = memory
        self._pipeline = pipeline
        self._clock = clock

    def register(self, control: ControlServer) -> None:
        """Let the control socket know all commands."""
        control.register("container.emptied", self._emptied, changes=True)
        control.register("container.learned", self._learned, changes=True)

    async def _emptied(self, request: Request) -> dict[str, Any]:
        container = self._container(request.get("container"))
        device = self._registry.device_of(container.key)
        if not container.by_flaps:
            raise CommandRefused(f"the level sensor of {container.id} tells when it was emptied")
        if device is None:
            raise CommandRefused(f"no device stands for {container.id}")
        if not self._clock.utc_is_known():
            raise CommandRefused("the gateway does not know the time yet", "try again")
        now_ms = self._clock.utc_ms()
        at_ms = request.get("at_utc_ms")
        at_ms = now_ms if at_ms is None else _whole("at_utc_ms", at_ms)
        if at_ms > now_ms + _AHEAD_MS:
            raise CommandRefused(f"{utc(at_ms)} has not come yet")
        at_ms = min(at_ms, now_ms)  # the next report is later
        from_pct, to_pct = (
            None if request.get(key) is None else _number(key, request[key], FILL_MAX_PCT)
            for key in ("from_pct", "to_pct")
        )
        if from_pct is not None and (to_pct or 0.0) > from_pct:
            raise CommandRefused(f"from {from_pct:g} to {to_pct:g} % is no emptying")
        previous = self._state(container)
        track = None if previous is None else previous.track
        if track is not None and track.emptied_ms is not None and at_ms <= track.emptied_ms:
            raise CommandRefused(f"{container.id} was emptied at {utc(track.emptied_ms)} already")
        message, collection, state = emptied_by_log(
            device,
            container,
            previous,
            at_ms,
            now_ms,
            from_pct,
            to_pct or 0.0,
            self._pipeline.flap_pools.litres_per_flap(container),
        )
        await self._record({container.key: state}, message, collections=(collection,))
        return {"container": container.id, "emptied_utc": utc(at_ms)}

    async def _learned(self, request: Request) -> dict[str, Any]:
        """Take what a recorded series of openings has taught, in place of what was known.

        Where the container was never heard of, its level goes on from the end of the series.
        """
        series = request.get("containers")
        if not isinstance(series, dict):
            raise CommandRefused('"containers" is an object')
        changed: dict[str, ContainerState] = {}
        for name, learned in series.items():
            container = self._container(name)
            if not isinstance(learned, dict):
                raise CommandRefused(f'"{container.id}" is an object')
            cycles, openings, points, squares = (
                _number(key, learned.get(key))
                for key in ("cycles", "openings", "points", "squares")
            )
            if cycles and not (openings and points):
                raise CommandRefused("what was learned in cycles has openings and points")
            state = self._state(container) or ContainerState(-1, 0)
            count = replace(
                state.flaps or FlapCount(base_pct=-1.0),
                cycles=cycles,
                openings=openings,
                points=points,
                squares=squares,
            )
            if state.sequence < 0 and container.by_flaps:
                count, state = self._begun(container, count, state, learned)
            changed[container.key] = replace(state, flaps=count)
        await self._record(changed)
        self._pipeline.flap_pools.gather()
        return {"containers": len(changed)}

    def _begun(
        self, container: Container, count: FlapCount, state: ContainerState, learned: Request
    ) -> tuple[FlapCount, ContainerState]:
        """Return a container's state at the end of a series."""
        total, base_pct = (_number(key, learned.get(key)) for key in ("total", "base_pct"))
        count = replace(count, total=total, base_pct=base_pct)
        emptied_ms = learned.get("emptied_utc_ms")
        if emptied_ms is None:
            return count, state
        emptied_ms = _whole("emptied_utc_ms", emptied_ms)
        last_ms = _whole("last_utc_ms", learned.get("last_utc_ms"))
        litres = self._pipeline.flap_pools.litres_per_flap(container)
        level_pct, quality = flaps.estimate(count, container.capacity_l, litres)
        track = replace(filling.start(emptied_ms, base_pct), emptied_ms=emptied_ms)
        track = filling.correct(track, last_ms, level_pct)
        return count, replace(state, track=track, quality=quality, reason="from_flaps")

    def _container(self, name: object) -> Container:
        asset = self._registry.assets.get(f"container/{name}")
        if not isinstance(asset, Container):
            raise CommandRefused(f"no container {str(name)[:64]!r} is configured")
        return asset

    def _state(self, container: Container) -> ContainerState | None:
        state = self._memory.states.get(container.key)
        return state if isinstance(state, ContainerState) else None

    async def _record(
        self,
        changed: Mapping[str, ContainerState],
        *messages: OutboxMessage,
        collections: tuple[CollectionRow, ...] = (),
    ) -> None:
        """Change states at once; return when that is durable."""
        self._memory.states.update(changed)
        durable = asyncio.Event()
        self._pipeline.record(
            Record(
                latest=tuple(LatestRow(key, states.dumps(it)) for key, it in changed.items()),
                outbox=self._pipeline.outbox_rows(messages),
                collections=collections,
            ),
            durable.set,
        )
        await durable.wait()


def _whole(key: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise CommandRefused(f"{key} is a time in whole UTC milliseconds")
    return value


def _number(key: str, value: object, highest: float = 1e12) -> float:
    if type(value) not in (int, float) or not 0 <= value <= highest or math.isnan(value):  # type: ignore[operator, arg-type]
        raise CommandRefused(f"{key} is a number from 0 to {highest:g}")
    return float(value)  # type: ignore[arg-type]

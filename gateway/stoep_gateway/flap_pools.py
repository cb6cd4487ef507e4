"""What one opening of a lid is taken to bring, where a container has not learned it itself."""

from __future__ import annotations

from stoep_gateway.assets.registry import Container, Registry
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.clock import Clock
from stoep_gateway.insight import flaps
from stoep_gateway.memory import Memory

__all__ = ["FlapPools"]

_FRESH_MS = 3_600_000


class FlapPools:
    """Gathers what all containers have learned, when it is asked for and an hour old."""

    def __init__(self, registry: Registry, memory: Memory, clock: Clock) -> None:
        self._registry = registry
        self._memory = memory
        self._clock = clock
        self._litres: dict[str, float] = {}
        self._gathered_ms: int | None = None

    def litres_per_flap(self, container: Container) -> float:
        """Return the litres of one opening: as configured, as of others like it, or guessed."""
        if container.litres_per_flap is not None:
            return container.litres_per_flap
        now_ms = self._clock.now_ms()
        if self._gathered_ms is None or now_ms - self._gathered_ms >= _FRESH_MS:
            self.gather()
            self._gathered_ms = now_ms
        return self._litres.get(container.pool, flaps.GUESSED_L)

    def gather(self) -> None:
        """Take what has been learned by now."""
        states = self._memory.states
        self._litres = flaps.pooled(
            (asset.pool, asset.capacity_l, state.flaps)
            for key, asset in self._registry.assets.items()
            if isinstance(asset, Container)
            and isinstance(state := states.get(key), ContainerState)
            and state.flaps is not None
        )

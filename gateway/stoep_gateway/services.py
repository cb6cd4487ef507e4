"""What runs beside the uplinks' way: each a part of its own, built from ``Parts``, see `app`.

A service does nothing that an uplink waits for. ``open`` comes before the gateway says that it is
ready, ``run`` goes on until it is cancelled, ``close`` comes last, in reverse order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stoep_gateway.assets.registry import Registry
from stoep_gateway.clock import Clock
from stoep_gateway.config import Config
from stoep_gateway.forwarders.links import Links
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.lns.scheduler import Scheduler
from stoep_gateway.memory import Memory
from stoep_gateway.metrics import Metrics
from stoep_gateway.pipeline import Pipeline
from stoep_gateway.publish.mqtt import Publisher
from stoep_gateway.publish.outbox import Outbox
from stoep_gateway.rounds import DailyRounds
from stoep_gateway.store.store import Store

__all__ = ["Parts", "Service"]


@dataclass(frozen=True, slots=True)
class Parts:
    """The running gateway, as a service may use it."""

    config: Config
    clock: Clock
    store: Store
    registry: Registry
    memory: Memory
    metrics: Metrics
    links: Links
    monitor: GatewayMonitor
    scheduler: Scheduler
    pipeline: Pipeline
    outbox: Outbox
    publisher: Publisher
    sources_connected: Callable[[], dict[str, bool]]
    listening: Callable[[], dict[str, bool]]  # each protocol of forwarders
    # Called with the configuration whenever it was taken anew.
    on_reload: list[Callable[[Config], None]]
    rounds: DailyRounds


class Service(Protocol):
    """One of them; ``name`` is its task's."""

    name: str

    async def open(self) -> None:
        """Bind ports and the like. Raises ``FatalError``."""

    async def run(self) -> None:
        """Work until cancelled; an exception ends the gateway."""

    async def close(self) -> None:
        """Let go of what ``open`` took."""

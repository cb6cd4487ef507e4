"""Tells of devices that are heard again and of those that have fallen silent; on the event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stoep_gateway.assets import configuration
from stoep_gateway.assets.registry import Device, Registry
from stoep_gateway.census import patience_ms
from stoep_gateway.clock import Clock
from stoep_gateway.memory import Memory
from stoep_gateway.publish.availability import DeviceWatch
from stoep_gateway.publish.messages import OutboxMessage

__all__ = ["Watching"]

_CHECK_MS = 600_000
_INTERVALS = 3


class Watching:
    """All devices of a network server; ``record`` publishes what is told between uplinks."""

    def __init__(
        self,
        registry: Registry,
        memory: Memory,
        clock: Clock,
        record: Callable[[Iterable[OutboxMessage]], None],
    ) -> None:
        self._registry = registry
        self._memory = memory
        self._clock = clock
        self._record = record
        self._watch = DeviceWatch(self._patience_ms)

    def start(self) -> None:
        """Count the silence of all devices from now on."""
        messages = self._watch.check(
            self._registry.devices, self._clock.now_ms(), self._clock.utc_ms()
        )
        if messages:
            self._record(messages)
        self._clock.call_at(self._clock.now_ms() + _CHECK_MS, self.start)

    def heard(self, device: Device) -> tuple[OutboxMessage, ...]:
        """Take note of an uplink; return what to publish with it."""
        return self._watch.heard(device, self._clock.now_ms(), self._clock.utc_ms())

    def _patience_ms(self, device: Device) -> int:
        asset = None if device.asset is None else self._memory.states.get(device.asset.key)
        wanted = self._memory.configurations.get(device.dev_eui)
        if wanted is None:
            return patience_ms(asset)
        interval_min = configuration.fields_of(wanted.payload).get("interval_min")
        told_ms = interval_min * 60_000 if isinstance(interval_min, int) else 0
        return max(patience_ms(asset), _INTERVALS * told_ms)

"""Tells of gateways and devices that are heard again and of those that have fallen silent.

The drivers of `GatewayMonitor` and `DeviceWatch`, on the event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from stoep_gateway import log, recording
from stoep_gateway.assets import configuration
from stoep_gateway.assets.registry import Device, Registry
from stoep_gateway.census import patience_ms
from stoep_gateway.clock import Clock, Timer
from stoep_gateway.forwarders.gwmp import GatewayStat
from stoep_gateway.gateways import GatewayMonitor, StateDue, StrangersDue
from stoep_gateway.lns.frames import Tick
from stoep_gateway.memory import Memory
from stoep_gateway.publish.availability import DeviceWatch
from stoep_gateway.publish.gateways import gateway_outputs, stranger_outputs
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.store.records import OutboxRow, Record

__all__ = ["DeviceWatching", "GatewayWatching"]

_CHECK_MS = 600_000

_log = logging.getLogger(__name__)


class GatewayWatching:
    """All gateways of a site; ``outbox`` makes the rows that ``record`` publishes."""

    def __init__(
        self,
        registry: Registry,
        monitor: GatewayMonitor,
        clock: Clock,
        *,
        record: Callable[[Record], None],
        outbox: Callable[[Iterable[OutboxMessage]], tuple[OutboxRow, ...]],
    ) -> None:
        self._registry = registry
        self._monitor = monitor
        self._clock = clock
        self._record = record
        self._outbox = outbox
        self._timer: Timer | None = None

    def start(self) -> None:
        """Count the silence of all gateways from now on."""
        self._monitor.start(self._clock.now_ms())
        self._arm()

    def stat(self, stat: GatewayStat) -> None:
        """Take what a gateway says of itself."""
        self._tell(self._monitor.handle(stat, self._clock.now_ms(), self._clock.utc_ms()))
        if self._timer is None:
            self._arm()

    def reconfigure(self) -> None:
        """Watch the gateways that the registry has now."""
        now, utc_ms = self._clock.now_ms(), self._clock.utc_ms()
        self._tell(self._monitor.replace(self._registry.gateways, now, utc_ms))

    def finish(self) -> None:
        """Tell of all gateways once more, and watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
        self._tell(self._monitor.all_due(self._clock.now_ms(), self._clock.utc_ms()))

    def _arm(self) -> None:
        self._timer = self._clock.call_at(self._monitor.next_deadline(), self._look)

    def _look(self) -> None:
        self._tell(self._monitor.handle(Tick(), self._clock.now_ms(), self._clock.utc_ms()))
        self._arm()

    def _tell(self, due: Iterable[StateDue | StrangersDue]) -> None:
        utc_ms = self._clock.utc_ms()
        for state in due:
            if isinstance(state, StrangersDue):
                messages = stranger_outputs(self._registry.site, utc_ms, state.strangers)
                self._record(Record(outbox=self._outbox(messages)))
                continue
            gateway, status = state.gateway, state.status
            if state.changed:
                online = "online" if status.online else "offline"
                _log.info(
                    "gateway %s is %s",
                    gateway.id,
                    online,
                    extra=log.fields(f"gateway_{online}", ("GATEWAY", gateway.id)),
                )
            messages = gateway_outputs(gateway, f"{gateway.eui.hex()}-{utc_ms}", utc_ms, status)
            rows = self._outbox(messages)
            self._record(recording.gateway_record(gateway.eui, state.stat, rows, utc_ms))


class DeviceWatching:
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

    def move_times(self, from_utc_ms: int, by_ms: int) -> None:
        """Correct what was heard at a provisional time."""
        self._watch.move_times(from_utc_ms, by_ms)

    def _patience_ms(self, device: Device) -> int:
        asset = None if device.asset is None else self._memory.states.get(device.asset.key)
        wanted = self._memory.configurations.get(device.dev_eui)
        return patience_ms(asset, configuration.interval_ms(wanted))

"""Devices are told their configuration until they say that it is in force.

A downlink is queued when one is wanted, and again at an uplink of a device that has not answered
it, has said that another is in force or has joined anew; ever more rarely while it does not answer.
At most one of a device waits. Runs on the event loop; what is answered is durable first.
"""

from __future__ import annotations

from collections.abc import Callable

from stoep_protocol.messages import ConfigurationAck
from stoep_protocol.schema import F_PORT_CONFIGURATION

from stoep_gateway.assets import configuration
from stoep_gateway.clock import Clock
from stoep_gateway.decode import Uplink
from stoep_gateway.downlinks import Downlinks, Recorder
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.queue import Queued
from stoep_gateway.memory import Memory
from stoep_gateway.metrics import Metrics
from stoep_gateway.store.records import ConfigurationRow, Record

__all__ = ["Configurations"]


class Configurations:
    """What all devices of a network server shall do."""

    def __init__(
        self,
        memory: Memory,
        downlinks: Downlinks,
        clock: Clock,
        metrics: Metrics,
        record: Recorder,
    ) -> None:
        self._memory = memory
        self._rows = memory.configurations
        self._downlinks = downlinks
        self._clock = clock
        self._metrics = metrics
        self._record = record

    def want(self, dev_eui: bytes, payload: bytes, then: Callable[[], None]) -> None:
        """Want a configuration from now on, or tell it again; ``then`` once that is durable."""
        utc_ms = self._clock.utc_ms()
        row = configuration.want(self._rows.get(dev_eui), dev_eui, payload, utc_ms)
        self._downlinks.withdraw(dev_eui, F_PORT_CONFIGURATION)
        self._send(row, then)

    def heard(self, dev_eui: bytes, message: Uplink | str | None) -> None:
        """Take an uplink; what it is answered with may carry the configuration."""
        row = self._rows.get(dev_eui)
        if row is None:
            return
        utc_ms = self._clock.utc_ms()
        if isinstance(message, ConfigurationAck):
            sent = row.tries > 0 and not any(it.attempts == 0 for it in self._queued(row))
            row = configuration.acknowledged(row, message, utc_ms, sent=sent)
            self._metrics.count(f"configuration_{configuration.standing(row)}")
            self._keep(row)
        if configuration.is_due(row, utc_ms) and not self._queued(row):
            self._send(row)

    def restarted(self, dev_eui: bytes) -> None:
        """Take note that a device begins anew, and has perhaps forgotten everything."""
        row = self._rows.get(dev_eui)
        if row is not None:
            self._keep(configuration.restarted(row, self._clock.utc_ms()))

    def move_times(self, from_utc_ms: int, by_ms: int) -> None:
        """Correct times from ``from_utc_ms`` on, which were provisional."""

        def moved(utc_ms: int) -> int:
            return utc_ms + by_ms if utc_ms >= from_utc_ms else utc_ms

        for dev_eui, row in self._rows.items():
            self._rows[dev_eui] = row._replace(
                wanted_utc_ms=moved(row.wanted_utc_ms),
                since_utc_ms=moved(row.since_utc_ms),
                told_utc_ms=None if row.told_utc_ms is None else moved(row.told_utc_ms),
                next_utc_ms=moved(row.next_utc_ms),
            )

    def forget(self, dev_eui: bytes) -> None:
        """Forget a removed device; its row goes with it."""
        self._rows.pop(dev_eui, None)

    def _queued(self, row: ConfigurationRow) -> list[Queued]:
        return [
            queued
            for queued in self._memory.queue.of_device(row.dev_eui)
            if queued.f_port == F_PORT_CONFIGURATION and queued.frm_payload == row.payload
        ]

    def _keep(self, row: ConfigurationRow) -> None:
        self._rows[row.dev_eui] = row
        self._record(Record(configurations=(row,)))

    def _send(self, row: ConfigurationRow, then: Callable[[], None] | None = None) -> None:
        self._keep(configuration.tried(row, self._clock.utc_ms()))
        queued = self._downlinks.send(row.dev_eui, F_PORT_CONFIGURATION, row.payload, then)
        # If the queue is full it is tried again like one that was lost.
        if isinstance(queued, Rejected) and then is not None:
            self._record(Record(), then)

"""Uplinks of devices that belong to another network server: claimed, decoded, recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable

from stoep_gateway import log, recording, uplink_log
from stoep_gateway.assets.registry import Registry
from stoep_gateway.clock import Clock
from stoep_gateway.integrations.events import SourceEvent, SourceUplink
from stoep_gateway.lns import uplink
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.log import Throttle
from stoep_gateway.memory import Memory
from stoep_gateway.metrics import Metrics
from stoep_gateway.pipeline import Pipeline
from stoep_gateway.publish.messages import UplinkMeta
from stoep_gateway.store.records import Record

__all__ = ["OtherNetworks"]

_log = logging.getLogger(__name__)


class OtherNetworks:
    """What all ``[[source]]`` deliver; from ``decode`` on it goes the way of our own uplinks."""

    def __init__(
        self,
        registry: Registry,
        memory: Memory,
        pipeline: Pipeline,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._memory = memory
        self._pipeline = pipeline
        self._metrics = metrics
        self._clock = clock
        self._throttle = Throttle()

    def receive(
        self, event: SourceUplink | SourceEvent | Rejected, done: Callable[[], None]
    ) -> None:
        """Take what another network server told; ``done`` is called once it is durable."""
        if isinstance(event, Rejected):
            rejected: Rejected | None = event
        elif isinstance(event, SourceUplink):
            rejected = self._uplink(event, done)
        else:
            rejected = self._event(event, done)
        if rejected is not None:
            self._pipeline.reject(rejected)
            # What it repeats may still be on its way to the disk: after that, and not before.
            self._pipeline.record(Record(), done)

    def _uplink(self, heard: SourceUplink, done: Callable[[], None]) -> Rejected | None:
        who = heard.dev_eui.hex()
        device = self._registry.devices.get(heard.dev_eui)
        if device is None or device.source != heard.source_id:
            return Rejected("device_not_registered", f"{who} of {heard.source_id}")
        if not device.enabled:
            return Rejected("device_disabled", who)
        claim = self._memory.ledger.claim(heard)
        if isinstance(claim, Rejected):
            return claim
        if claim.lost:
            self._metrics.count("source_uplinks_lost", claim.lost)
            if self._throttle.passes(heard.source_id, self._clock.now_ms()):
                _log.warning(
                    "source %s: %d uplinks of %s never came", heard.source_id, claim.lost, who
                )
        plain = uplink.Plain(heard.f_port, heard.frm_payload, b"")
        received_ms = min(heard.heard_utc_ms, heard.received_utc_ms)
        message, health = self._pipeline.interpreter.decode(
            device, plain, heard.f_cnt_up, received_ms
        )
        best = heard.receptions[0] if heard.receptions else None
        meta = UplinkMeta(
            f"{who}-{heard.source_id}-{claim.session_number}-{heard.f_cnt_up}",
            received_ms,
            heard.f_cnt_up,
            heard.dr,
            None if best is None else best.rssi_dbm,
            None if best is None else best.snr_db,
            len(heard.receptions),
        )
        outputs = self._pipeline.interpreter.outputs(device, plain, message, meta)
        if self._pipeline.requests is not None:
            self._pipeline.requests.heard(device, message, outputs.state)
        state = self._pipeline.interpreter.remember(device, message, outputs)
        self._pipeline.configurations.heard(device.dev_eui, message)
        rows = self._pipeline.outbox_rows(
            (*outputs.messages, *self._pipeline.device_watching.heard(device))
        )
        record = recording.source_record(heard, claim, message, state, rows)
        record = record._replace(held=outputs.held, collections=outputs.collections)
        self._pipeline.record(record, done)
        if health is not None:
            self._pipeline.record_health(device, plain, health, meta)
        self._metrics.count("source_uplinks_accepted")
        if log.uplinks.enabled:
            log.uplinks.write(
                *uplink_log.entry(
                    device,
                    meta,
                    heard.f_port,
                    (),
                    outputs.state,
                    message if isinstance(message, str) else None,
                )
            )
        return None

    def _event(self, event: SourceEvent, done: Callable[[], None]) -> Rejected | None:
        ledger = self._memory.ledger
        dev_eui = event.dev_eui or ledger.dev_eui(event.source_id, event.device_id)
        device = self._registry.devices.get(dev_eui)
        if device is None or device.source != event.source_id:
            return Rejected("device_not_registered", f"{event.device_id} of {event.source_id}")
        if event.kind != "join":
            self._pipeline.downlinks.source_event(dev_eui, event, done)
            return None
        claim = ledger.joined(event)
        if isinstance(claim, Rejected):
            return claim
        self._pipeline.configurations.restarted(dev_eui)
        self._pipeline.record(recording.source_state(claim), done)
        return None

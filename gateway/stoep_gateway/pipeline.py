"""An uplink's way, wired: from a forwarder's reception to its record and its answer.

::

    UplinkFrame → deduplicate → parse → match session → decrypt → MAC commands → decode → record
                                  └─ join-request → activate ────────────────────────────┘ │
    SourceUplink (``other_networks``) ──────────→ claim ─────→ decode ─────────────────────┤
                                                                          after the commit:
                                                     outbox rows → publisher
                                                     reply → scheduler → forwarder

Only ``_record`` writes, and what leaves the gateway leaves in ``_committed``. Memory (counters,
nonces, states) runs ahead of the disk from the one to the other, so an error between them must end
the process. Everything runs on the event loop, one frame set at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from stoep_protocol.lorawan.frames import DataFrame
from stoep_protocol.lorawan.network_frames import JoinRequest
from stoep_protocol.messages import Status

from stoep_gateway import log, recording, uplink_log
from stoep_gateway.assets import states
from stoep_gateway.assets.registry import Device, Registry
from stoep_gateway.clock import Clock, Timer
from stoep_gateway.configurations import Configurations
from stoep_gateway.downlinks import Downlinks
from stoep_gateway.flap_pools import FlapPools
from stoep_gateway.forecast.calendar import Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.forwarders.gwmp import Action, GatewayStat
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.integrations.events import SourceDownlink
from stoep_gateway.interpreting import Interpreter
from stoep_gateway.lns import join, mac_commands, mac_state, uplink
from stoep_gateway.lns.adr import AdrSettings
from stoep_gateway.lns.deduplicate import Deduplicator
from stoep_gateway.lns.frames import (
    Rejected,
    Tick,
    Transmit,
    Transmitted,
    UplinkFrame,
    UplinkFrameSet,
)
from stoep_gateway.lns.mac_commands import Heard, Turn
from stoep_gateway.lns.mac_state import Target
from stoep_gateway.lns.scheduler import Scheduler
from stoep_gateway.lns.sessions import Session
from stoep_gateway.lns.uplink import Plain
from stoep_gateway.log import Throttle
from stoep_gateway.memory import Memory
from stoep_gateway.metrics import Metrics
from stoep_gateway.publish import topics
from stoep_gateway.publish.topics import OutboxMessage, UplinkMeta
from stoep_gateway.requests import Requests
from stoep_gateway.store.records import (
    AirtimeRow,
    ContextRow,
    HeldRow,
    LatestRow,
    OutboxRow,
    Record,
)
from stoep_gateway.watching import DeviceWatching, GatewayWatching

__all__ = ["Network", "Pipeline"]

_log = logging.getLogger(__name__)
# The air's and the backhaul's daily work.
_HARMLESS = frozenset({"late_copy", "repeated_uplink", "repeated_join"})


@dataclass(frozen=True, slots=True)
class Network:
    """What the network server was told; ``adr`` None: no device is steered."""

    net_id: int
    dedup_window_ms: int
    target: Target
    adr: AdrSettings | None = None
    request_missing: bool = True


class Mirror(Protocol):
    """Who else is told of messages, from rows of his own in the same transaction."""

    def rows(self, outbox: tuple[OutboxRow, ...]) -> tuple[ContextRow, ...]:
        """Return what is to be kept until he was told."""

    def committed(self) -> None:
        """Take note that what the next ``rows`` was asked of is on the disk."""


class Pipeline:
    """One per gateway process; ``receive`` takes everything that forwarders bring.

    ``derive`` returns what else is published with a message, in other models. ``held`` are messages
    that wait until the time is known.
    """

    def __init__(
        self,
        network: Network,
        registry: Registry,
        memory: Memory,
        monitor: GatewayMonitor,
        scheduler: Scheduler,
        metrics: Metrics,
        clock: Clock,
        *,
        submit: Callable[[Record, Callable[[], None]], None],
        publish: Callable[[tuple[OutboxRow, ...]], None],
        transmit: Callable[[Transmit], None],
        send_to_source: Callable[[str, SourceDownlink, Callable[[bool], None]], None],
        derive: Callable[[OutboxMessage], Iterable[OutboxMessage]] | None = None,
        held: Iterable[HeldRow] = (),
        forecasts: Forecasts | None = None,
    ) -> None:
        self._network = network
        self._region = network.target.plan.region
        self._registry = registry
        self._memory = memory
        self._monitor = monitor
        self._metrics = metrics
        self._clock = clock
        self._submit = submit
        self._publish = publish
        self._deduplicator = Deduplicator(network.dedup_window_ms)
        self.downlinks = Downlinks(
            network.target,
            registry,
            memory,
            scheduler,
            clock,
            metrics,
            record=self.record,
            outbox=self.outbox_rows,
            transmit=transmit,
            reject=self.reject,
            send_to_source=send_to_source,
            is_station=monitor.is_station,
        )
        self.configurations = Configurations(memory, self.downlinks, clock, metrics, self.record)
        self.requests = self._new_requests()
        self.flap_pools = FlapPools(registry, memory, clock)
        self.forecasts = forecasts or Forecasts(Calendar())
        self.interpreter = Interpreter(
            memory, clock, self.reject, held, self.flap_pools, self.forecasts
        )
        self.derive = derive
        self.mirror: Mirror | None = None
        self.device_watching = DeviceWatching(registry, memory, clock, self.record_messages)
        self._gateway_watching = GatewayWatching(
            registry, monitor, clock, record=self.record, outbox=self.outbox_rows
        )
        self._throttle = Throttle()
        self._dedup_timer: Timer | None = None

    def start(self, sent: Iterable[AirtimeRow] = ()) -> None:
        """Begin to watch the gateways and to send what waits; call once time runs.

        ``sent`` is what gateways had on the air before a restart.
        """
        self._gateway_watching.start()
        self.downlinks.start(sent)
        self.device_watching.start()

    def receive(self, action: Action) -> None:
        """Take what a forwarder's machine brought."""
        if type(action) is UplinkFrame:
            self._metrics.counts["receptions"] += 1
            self._monitor.heard(action)
            for rejected in self._deduplicator.handle(action, self._clock.now_ms()):
                self._process(rejected)
            if self._dedup_timer is None:
                self._arm_deduplicator()
        elif isinstance(action, Rejected):
            self.reject(action)
        elif isinstance(action, GatewayStat):
            self._gateway_watching.stat(action)
        elif isinstance(action, Transmitted):
            if action.warning:
                self._metrics.count("downlink_warnings")
            self._monitor.transmitted(action)
            self.downlinks.transmitted(action)

    def reconfigure(self, adr: AdrSettings | None, *, request_missing: bool) -> None:
        """Go on with other settings, and watch the gateways that the registry has now."""
        self._network = replace(self._network, adr=adr, request_missing=request_missing)
        self.requests = self._new_requests()
        self._gateway_watching.reconfigure()

    def _new_requests(self) -> Requests | None:
        parts = self._memory, self.downlinks, self._clock, self._metrics
        return Requests(*parts) if self._network.request_missing else None

    def record_messages(
        self,
        messages: Iterable[OutboxMessage],
        record: Record = Record(),  # noqa: B008 (it never changes)
        then: Callable[[], None] | None = None,
    ) -> None:
        """Record messages that no uplink caused, such as a round, and publish them.

        What else is in ``record`` is written with them; ``then`` is called after the commit.
        """
        self.record(record._replace(outbox=self.outbox_rows(messages)), then)

    def finish(self) -> None:
        """Process what the deduplication window holds back; to be called last."""
        if self._dedup_timer is not None:
            self._dedup_timer.cancel()
        for frame_set in self._deduplicator.close_all(self._clock.now_ms()):
            self._process(frame_set)
        self._gateway_watching.finish()

    # From a frame set to a record.

    def _arm_deduplicator(self) -> None:
        deadline = self._deduplicator.next_deadline()
        self._dedup_timer = (
            None if deadline is None else self._clock.call_at(deadline, self._windows_close)
        )

    def _windows_close(self) -> None:
        for frame_set in self._deduplicator.handle(Tick(), self._clock.now_ms()):
            self._process(frame_set)
        self._arm_deduplicator()

    def _process(self, frame_set: UplinkFrameSet | Rejected) -> None:
        if isinstance(frame_set, Rejected):
            self.reject(frame_set)
            return
        dr = uplink.data_rate(frame_set, self._region)
        frame = uplink.parse(frame_set)
        if isinstance(dr, Rejected):
            rejected: Rejected | None = dr
        elif type(frame) is DataFrame:
            rejected = self._data_uplink(frame, frame_set, dr)
        elif type(frame) is JoinRequest:
            rejected = self._join_request(frame, frame_set)
        else:
            assert isinstance(frame, Rejected)
            rejected = frame
        if rejected is not None:
            self.reject(rejected, frame_set.receptions[0].gateway_eui)

    def _data_uplink(self, frame: DataFrame, frame_set: UplinkFrameSet, dr: int) -> Rejected | None:
        memory, downlinks = self._memory, self.downlinks
        match = memory.sessions.match(frame)
        if isinstance(match, Rejected):
            return match
        session = match.session
        device = self._registry.devices.get(session.dev_eui)
        if device is None:
            return Rejected("device_not_registered", session.dev_eui.hex())
        if not device.enabled:
            return Rejected("device_disabled", device.dev_eui_hex)
        utc_ms = self._clock.utc_ms()
        plain = uplink.decrypt(match, frame)
        heard = Heard(
            frame_set,
            match.f_cnt_up,
            dr,
            frame.adr,
            frame.confirmed,
            plain.commands,
            utc_ms,
            self._clock.utc_is_known(),
        )
        before = session.mac
        known = before or mac_state.fresh(self._network.target, abp=session.is_personalised, dr=dr)
        if match.repeated:
            unanswered = session.answers(frame_set, known.rx1_delay_s)
            if unanswered is not None:
                return Rejected(unanswered, device.dev_eui_hex)
            turn = mac_commands.hear_again(known, heard)
            reply = downlinks.reply(session, frame, frame_set, turn, utc_ms)
            if reply is None:
                return Rejected("repeated_uplink", device.dev_eui_hex)
            self._metrics.count("repeated_uplinks_answered")
            counters = memory.sessions.take_f_cnt_down(session)
            session.mac = reply.mac
            record = Record(
                counters=(counters,),
                mac_states=recording.mac_rows(session, before),
                tried_downlinks=downlinks.take(reply),
            )
            self.record(record, partial(downlinks.dispatch, session, frame, frame_set, reply))
            return None
        message, health = self.interpreter.decode(device, plain, match.f_cnt_up, utc_ms)
        best = frame_set.receptions[0]
        meta = UplinkMeta(
            session.event_id(match.f_cnt_up),
            utc_ms,
            match.f_cnt_up,
            dr,
            best.rssi_dbm,
            best.snr_db,
            len(frame_set.receptions),
        )
        outputs = self.interpreter.outputs(device, plain, message, meta)
        # From here to the record nothing may fail: memory runs ahead of the disk.
        turn = self._turn(session, device, known, heard)
        acknowledged = downlinks.heard(session.dev_eui, ack=frame.ack)
        if acknowledged is not None:
            self.record(acknowledged)
        self.configurations.heard(session.dev_eui, message)
        if self.requests is not None:
            self.requests.heard(device, message, outputs.state)
        reply = downlinks.reply(session, frame, frame_set, turn, utc_ms)
        claim = memory.sessions.claim(match, downlink=reply is not None)
        session.mac = turn.state if reply is None else reply.mac
        session.heard, session.heard_utc_ms = frame_set, utc_ms
        state = self.interpreter.remember(device, message, outputs)
        rows = self.outbox_rows((*outputs.messages, *self.device_watching.heard(device)))
        record = recording.uplink_record(
            match,
            claim,
            frame_set,
            dr,
            plain,
            message,
            state,
            rows,
            utc_ms,
            recording.mac_rows(session, before),
            () if reply is None else downlinks.take(reply),
        )
        self.record(
            record._replace(held=outputs.held, collections=outputs.collections),
            None
            if reply is None
            else partial(downlinks.dispatch, session, frame, frame_set, reply),
        )
        if health is not None:
            self.record_health(device, plain, health, meta)
        self._metrics.counts["uplinks_accepted"] += 1
        self._monitor.accepted(best.gateway_eui)
        if log.uplinks.enabled:
            log.uplinks.write(
                *uplink_log.entry(
                    device,
                    meta,
                    plain.f_port,
                    uplink_log.names(frame_set, self._registry.gateways),
                    outputs.state,
                    message if isinstance(message, str) else None,
                    answered=reply is not None,
                )
            )
        return None

    def record_health(self, device: Device, plain: Plain, health: Status, meta: UplinkMeta) -> None:
        """Record and publish what an uplink says besides its reading."""
        if self.interpreter.held or not self._clock.utc_is_known():  # the next one says it again
            return
        outputs = self.interpreter.outputs(device, plain, health, meta)
        state = self.interpreter.remember(device, health, outputs)
        latest = () if state is None else (LatestRow(state[0], states.dumps(state[1])),)
        self.record(Record(latest=latest, outbox=self.outbox_rows(outputs.messages)))

    def _turn(
        self, session: Session, device: Device, known: mac_state.MacState, heard: Heard
    ) -> Turn:
        turn = mac_commands.hear(
            known,
            session.history,
            self._network.target,
            self._network.adr if device.adr else None,
            heard,
        )
        for event in turn.events:
            self._metrics.count(f"mac_{event.what}")
            if event.what == "refused":
                _log.info(
                    "%s refused MAC command %s",
                    device.dev_eui_hex,
                    event.request,
                    extra=log.fields("mac_refused", ("DEV_EUI", device.dev_eui_hex)),
                )
        return turn

    def _join_request(self, request: JoinRequest, frame_set: UplinkFrameSet) -> Rejected | None:
        memory, network = self._memory, self._network
        device = self._registry.devices.get(request.dev_eui)
        activation = join.activate(
            request, frame_set.phy_payload, device, memory.nonces, network.net_id, network.target
        )
        if isinstance(activation, Rejected):
            return activation
        assert device is not None
        memory.nonces.remember(activation.dev_eui, activation.dev_nonce, activation.app_nonce)
        memory.last_session_id += 1
        utc_ms = self._clock.utc_ms()
        session = Session(
            memory.last_session_id,
            activation.dev_eui,
            activation.dev_addr,
            activation.nwk_s_key,
            activation.app_s_key,
            activation.app_nonce,
            created_utc_ms=utc_ms,
        )
        ended = memory.sessions.begin(session)
        rows = self.outbox_rows(
            topics.join_outputs(
                device,
                f"{device.dev_eui_hex}-{activation.app_nonce}-join",
                utc_ms,
                activation.dev_addr,
            )
        )
        self.record(
            recording.join_record(activation, session, ended, rows, utc_ms),
            self.downlinks.join_accept(activation.dev_eui, activation.join_accept, frame_set),
        )
        self.configurations.restarted(activation.dev_eui)
        self._metrics.count("joins")
        _log.info(
            "%s joined as %08x with DevNonce %d at SF%d",
            device.dev_eui_hex,
            activation.dev_addr,
            activation.dev_nonce,
            frame_set.receptions[0].sf,
            extra=log.fields("joined", ("DEV_EUI", device.dev_eui_hex)),
        )
        return None

    # Record, then let go.

    def outbox_rows(self, messages: Iterable[OutboxMessage]) -> tuple[OutboxRow, ...]:
        """Return the rows of new messages, and of what is derived from them."""
        if self.derive is not None:
            messages = [it for said in messages for it in (said, *self.derive(said))]
        rows = recording.outbox_rows(messages, self._memory.last_outbox_id, self._clock.utc_ms())
        self._memory.last_outbox_id += len(rows)
        return rows

    def record(self, record: Record, then: Callable[[], None] | None = None) -> None:
        """Write; publish what is in it and call ``then`` after the commit."""
        self._clock.begin()
        mirror = None
        if record.outbox and self._clock.utc_is_known():  # what he was told nobody corrects
            mirror = self.mirror
        if mirror is not None:
            record = record._replace(contexts=mirror.rows(record.outbox))
        self._submit(record, partial(self._committed, record.outbox, mirror, then))

    def _committed(
        self,
        rows: tuple[OutboxRow, ...],
        mirror: Mirror | None,
        then: Callable[[], None] | None,
    ) -> None:
        if rows:
            self._publish(rows)
        if mirror is not None:
            mirror.committed()
        if then is not None:
            then()
        self._clock.end()

    def reject(self, rejected: Rejected, gateway_eui: bytes = b"") -> None:
        """Count a rejection, and log it unless it is one of many."""
        reason = rejected.reason
        self._metrics.reject(reason)
        self._monitor.rejected(rejected.gateway_eui or gateway_eui, reason)
        if reason in _HARMLESS:
            return
        times = self._throttle.passes(reason, self._clock.now_ms())
        if times:
            _log.warning(
                "rejected %s ×%d: %s",
                reason,
                times,
                rejected.detail,
                extra=uplink_log.of_rejection(rejected),
            )

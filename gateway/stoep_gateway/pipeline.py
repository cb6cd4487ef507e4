"""An uplink's way, wired: from a forwarder's reception to its record and its answer.

::

    UplinkFrame → deduplicate → parse → match session → decrypt → decode → record
                                  └─ join-request → activate ───────────────┘ │ after the commit:
                                                        outbox rows → publisher
                                                        downlink → scheduler → forwarder

Only ``_record`` writes, and what leaves the gateway leaves in ``_committed``. Memory (counters,
nonces, states) runs ahead of the disk from the one to the other, so an error between them must end
the process. Everything runs on the event loop, one frame set at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from stoep_protocol.lorawan.frames import DataFrame, JoinRequest

from stoep_gateway import recording
from stoep_gateway.assets.registry import Device, Registry
from stoep_gateway.assets.states import AssetState
from stoep_gateway.clock import Clock, Timer
from stoep_gateway.decode import Uplink
from stoep_gateway.forwarders.gwmp import Action, GatewayStat
from stoep_gateway.gateways import GatewayMonitor, StateDue, StrangersDue
from stoep_gateway.lns import downlink, join, uplink
from stoep_gateway.lns.deduplicate import Deduplicator
from stoep_gateway.lns.downlink import ReceiveSettings
from stoep_gateway.lns.frames import (
    Downlink,
    Rejected,
    Tick,
    Transmit,
    Transmitted,
    UplinkFrame,
    UplinkFrameSet,
)
from stoep_gateway.lns.scheduler import DownlinkEnded, Scheduler
from stoep_gateway.lns.sessions import Match, Session, Sessions
from stoep_gateway.lns.uplink import Plain
from stoep_gateway.log import Throttle
from stoep_gateway.metrics import Metrics
from stoep_gateway.publish import topics
from stoep_gateway.publish.gateways import gateway_outputs, stranger_outputs
from stoep_gateway.publish.topics import OutboxMessage, Outputs, UplinkMeta
from stoep_gateway.store.records import OutboxRow, Record

__all__ = ["Memory", "Network", "Pipeline"]

_log = logging.getLogger(__name__)
_NOTHING = Outputs((), None)
_HARMLESS = frozenset({"late_copy", "repeated_uplink"})  # the air's and the backhaul's daily work


@dataclass(frozen=True, slots=True)
class Network:
    """What the network server was told."""

    net_id: int
    dedup_window_ms: int
    receive: ReceiveSettings


@dataclass(slots=True)
class Memory:
    """What the store held at the start; from then on ahead of it by what is being committed."""

    sessions: Sessions
    nonces: join.DevNonces
    states: dict[str, AssetState]
    last_outbox_id: int
    last_session_id: int


class Pipeline:
    """One per gateway process; ``receive`` takes everything that forwarders bring."""

    def __init__(
        self,
        network: Network,
        registry: Registry,
        memory: Memory,
        monitor: GatewayMonitor,
        metrics: Metrics,
        clock: Clock,
        *,
        submit: Callable[[Record, Callable[[], None]], None],
        publish: Callable[[tuple[OutboxRow, ...]], None],
        transmit: Callable[[Transmit], None],
    ) -> None:
        self._network = network
        self._registry = registry
        self._join_devices = {
            device.dev_eui: join.Device(device.dev_eui, device.join_eui, device.app_key)
            for device in registry.devices.values()
            if device.app_key is not None
        }
        self._memory = memory
        self._monitor = monitor
        self._metrics = metrics
        self._clock = clock
        self._submit = submit
        self._publish = publish
        self._transmit = transmit
        self._deduplicator = Deduplicator(network.dedup_window_ms)
        self._scheduler = Scheduler()
        self._throttle = Throttle()
        self._dedup_timer: Timer | None = None
        self._monitor_timer: Timer | None = None
        self._last_downlink_id = 0
        self._verbose = _log.isEnabledFor(logging.DEBUG)

    def start(self) -> None:
        """Begin to watch the gateways; call once time runs."""
        self._monitor.start(self._clock.now_ms())
        self._arm_monitor()

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
            self._reject(action)
        elif isinstance(action, GatewayStat):
            self._record_states(
                self._monitor.handle(action, self._clock.now_ms(), self._clock.utc_ms())
            )
            if self._monitor_timer is None:
                self._arm_monitor()
        elif isinstance(action, Transmitted):
            self._transmitted(action)

    def record_messages(self, messages: Iterable[OutboxMessage]) -> None:
        """Record messages that no uplink caused, such as a round, and publish them."""
        self._record(Record(outbox=self._outbox_rows(messages)))

    def finish(self) -> None:
        """Process what the deduplication window holds back; to be called last."""
        for timer in (self._dedup_timer, self._monitor_timer):
            if timer is not None:
                timer.cancel()
        now = self._clock.now_ms()
        for frame_set in self._deduplicator.close_all(now):
            self._process(frame_set)
        self._record_states(self._monitor.all_due(now, self._clock.utc_ms()))

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
            self._reject(frame_set)
            return
        dr = uplink.data_rate(frame_set, self._network.receive.region)
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
            self._reject(rejected, frame_set.receptions[0].gateway_eui)

    def _data_uplink(self, frame: DataFrame, frame_set: UplinkFrameSet, dr: int) -> Rejected | None:
        memory = self._memory
        match = memory.sessions.match(frame)
        if isinstance(match, Rejected):
            return match
        device = self._registry.devices.get(match.session.dev_eui)
        if device is None:
            return Rejected("device_not_registered", match.session.dev_eui.hex())
        utc_ms = self._clock.utc_ms()
        plain = uplink.decrypt(match, frame, frame_set, utc_ms)
        answer = uplink.wants_answer(frame, plain)
        f_cnt_down = match.session.f_cnt_down
        if match.repeated:
            if not answer:
                return Rejected("repeated_uplink", device.dev_eui_hex)
            self._metrics.count("repeated_uplinks_answered")
            record = Record(counters=(memory.sessions.take_f_cnt_down(match.session),))
            self._record(record, self._answer(match, f_cnt_down, frame, plain, frame_set))
            return None
        message = uplink.decode(plain)
        if isinstance(message, str):
            self._reject(Rejected("payload_" + message, device.dev_eui_hex))
        outputs = self._outputs(device, message, match, frame_set, dr, utc_ms)
        # From here to the record nothing may fail: the counters are claimed.
        claim = memory.sessions.claim(match, downlink=answer)
        state = self._remember(device, message, outputs)
        rows = self._outbox_rows(outputs.messages)
        record = recording.uplink_record(
            match, claim, frame_set, dr, plain, message, state, rows, utc_ms
        )
        self._record(
            record, self._answer(match, f_cnt_down, frame, plain, frame_set) if answer else None
        )
        self._metrics.counts["uplinks_accepted"] += 1
        self._monitor.accepted(frame_set.receptions[0].gateway_eui)
        if self._verbose:
            _log.debug(
                "%s f_cnt_up=%d f_port=%s bytes=%d dr=%d receptions=%s messages=%d%s",
                device.dev_eui_hex,
                match.f_cnt_up,
                plain.f_port,
                len(plain.frm_payload),
                dr,
                record.uplinks[0].receptions,
                len(rows),
                " answered" if answer else "",
            )
        return None

    def _outputs(
        self,
        device: Device,
        message: Uplink | str | None,
        match: Match,
        frame_set: UplinkFrameSet,
        dr: int,
        utc_ms: int,
    ) -> Outputs:
        if message is None or isinstance(message, str):
            return _NOTHING
        best = frame_set.receptions[0]
        meta = UplinkMeta(
            match.session.event_id(match.f_cnt_up),
            utc_ms,
            match.f_cnt_up,
            dr,
            best.rssi_dbm,
            best.snr_db,
            len(frame_set.receptions),
        )
        key = topics.state_key(device, message)
        previous = None if key is None else self._memory.states.get(key)
        try:
            outputs = topics.uplink_outputs(device, message, meta, previous)
        except Exception:  # noqa: BLE001 (one asset's mishap must not stop a network server)
            self._reject(Rejected("internal_error", device.dev_eui_hex))
            if self._throttle.passes("traceback", self._clock.now_ms()):
                _log.exception("%s: its message cannot be made", device.dev_eui_hex)
            return _NOTHING
        if outputs.problem is not None:
            self._reject(Rejected(outputs.problem, device.dev_eui_hex))
        return outputs

    def _remember(
        self, device: Device, message: Uplink | str | None, outputs: Outputs
    ) -> tuple[str, AssetState] | None:
        if outputs.state is None or message is None or isinstance(message, str):
            return None
        key = topics.state_key(device, message)
        if key is None:
            return None
        self._memory.states[key] = outputs.state
        return key, outputs.state

    def _answer(
        self,
        match: Match,
        f_cnt_down: int,
        frame: DataFrame,
        plain: Plain,
        frame_set: UplinkFrameSet,
    ) -> Downlink:
        session = match.session
        return Downlink(
            self._next_downlink_id(),
            "ack" if frame.confirmed else "answer",
            session.dev_eui,
            downlink.answer(session, f_cnt_down, ack=frame.confirmed, f_opts=plain.f_opts_down),
            downlink.windows(frame_set.receptions[0], self._network.receive),
            frame_set.receptions,
        )

    def _join_request(self, request: JoinRequest, frame_set: UplinkFrameSet) -> Rejected | None:
        memory, network = self._memory, self._network
        activation = join.activate(
            request,
            frame_set.phy_payload,
            self._join_devices,
            memory.nonces,
            network.net_id,
            network.receive,
        )
        if isinstance(activation, Rejected):
            return activation
        device = self._registry.devices[activation.dev_eui]
        memory.nonces.remember(activation.dev_eui, activation.dev_nonce, activation.app_nonce)
        memory.last_session_id += 1
        session = Session(
            memory.last_session_id,
            activation.dev_eui,
            activation.dev_addr,
            activation.nwk_s_key,
            activation.app_s_key,
            activation.app_nonce,
        )
        ended = memory.sessions.begin(session)
        utc_ms = self._clock.utc_ms()
        rows = self._outbox_rows(
            topics.join_outputs(
                device,
                f"{device.dev_eui_hex}-{activation.app_nonce}-join",
                utc_ms,
                activation.dev_addr,
            )
        )
        accept = Downlink(
            self._next_downlink_id(),
            "join_accept",
            activation.dev_eui,
            activation.join_accept,
            downlink.join_windows(frame_set.receptions[0], network.receive),
            frame_set.receptions,
        )
        self._record(recording.join_record(activation, session, ended, rows, utc_ms), accept)
        self._metrics.count("joins")
        _log.info(
            "%s joined as %08x with DevNonce %d at SF%d",
            device.dev_eui_hex,
            activation.dev_addr,
            activation.dev_nonce,
            frame_set.receptions[0].sf,
        )
        return None

    # Gateways.

    def _arm_monitor(self) -> None:
        deadline = self._monitor.next_deadline()
        self._monitor_timer = (
            None if deadline is None else self._clock.call_at(deadline, self._gateways_due)
        )

    def _gateways_due(self) -> None:
        self._record_states(
            self._monitor.handle(Tick(), self._clock.now_ms(), self._clock.utc_ms())
        )
        self._arm_monitor()

    def _record_states(self, due: Iterable[StateDue | StrangersDue]) -> None:
        utc_ms = self._clock.utc_ms()
        for state in due:
            if isinstance(state, StrangersDue):
                self.record_messages(stranger_outputs(self._registry.site, utc_ms, state.strangers))
                continue
            eui = state.gateway.eui
            if state.changed:
                _log.info(
                    "gateway %s is %s",
                    state.gateway.id,
                    "online" if state.status.online else "offline",
                )
            messages = gateway_outputs(state.gateway, f"{eui.hex()}-{utc_ms}", utc_ms, state.status)
            rows = self._outbox_rows(messages)
            self._record(recording.gateway_record(eui, state.stat, rows, utc_ms))

    # Record, then let go.

    def _outbox_rows(self, messages: Iterable[OutboxMessage]) -> tuple[OutboxRow, ...]:
        rows = recording.outbox_rows(messages, self._memory.last_outbox_id, self._clock.utc_ms())
        self._memory.last_outbox_id += len(rows)
        return rows

    def _record(self, record: Record, answer: Downlink | None = None) -> None:
        self._clock.begin()
        self._submit(record, partial(self._committed, record.outbox, answer))

    def _committed(self, rows: tuple[OutboxRow, ...], answer: Downlink | None) -> None:
        if rows:
            self._publish(rows)
        if answer is not None:
            self._schedule(answer)
        self._clock.end()

    def _next_downlink_id(self) -> int:
        self._last_downlink_id += 1
        return self._last_downlink_id

    def _schedule(self, event: Downlink | Transmitted) -> None:
        for action in self._scheduler.handle(event, self._clock.now_ms()):
            if type(action) is Transmit:
                self._transmit(action)
            elif type(action) is DownlinkEnded:
                self._downlink_ended(action)

    def _transmitted(self, answer: Transmitted) -> None:
        if answer.warning:
            self._metrics.count("downlink_warnings")
        self._monitor.transmitted(answer)
        self._schedule(answer)

    def _downlink_ended(self, ended: DownlinkEnded) -> None:
        if ended.outcome == "sent":
            self._metrics.count("downlinks_sent")
            return
        self._metrics.count("downlinks_lost")
        eui = ended.downlink.receptions[0].gateway_eui
        self._reject(
            Rejected(f"downlink_{ended.outcome.lower()}", ended.downlink.dev_eui.hex(), eui)
        )

    def _reject(self, rejected: Rejected, gateway_eui: bytes = b"") -> None:
        reason = rejected.reason
        self._metrics.reject(reason)
        self._monitor.rejected(rejected.gateway_eui or gateway_eui, reason)
        if reason in _HARMLESS:
            return
        times = self._throttle.passes(reason, self._clock.now_ms())
        if times:
            _log.warning("rejected %s ×%d: %s", reason, times, rejected.detail)

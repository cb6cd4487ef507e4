"""Downlinks, wired: what waits for a device, its frame, the gateway that sends it, its end.

::

    enqueue ──▶ queue ── an uplink, or Class C at once ──▶ compose ──▶ record: counter, attempt
                  ▲                                                        │ after the commit
                  └── again ◀── ended ◀── scheduler ◀──▶ forwarder ◀───────┘
                                  └──▶ record: the end, and its event

A device of another network server gets its downlinks by way of that server. Everything runs on the
event loop; only ``record`` writes, and what it is given to call is called after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from stoep_protocol.lorawan.frames import DataFrame

from stoep_gateway import recording
from stoep_gateway.assets.registry import Registry
from stoep_gateway.clock import Clock, Timer
from stoep_gateway.integrations.events import SourceDownlink, SourceEvent
from stoep_gateway.lns import downlink as lns_downlink
from stoep_gateway.lns.airtime import downlink_us
from stoep_gateway.lns.downlink import Reply
from stoep_gateway.lns.frames import (
    Downlink,
    Rejected,
    Tick,
    Transmit,
    Transmitted,
    UplinkFrame,
    UplinkFrameSet,
    Window,
)
from stoep_gateway.lns.mac_commands import Turn
from stoep_gateway.lns.mac_state import Target, fresh
from stoep_gateway.lns.queue import Ended, Queued
from stoep_gateway.lns.scheduler import URGENT, DownlinkEnded, Scheduler
from stoep_gateway.lns.sessions import Session
from stoep_gateway.memory import Memory
from stoep_gateway.metrics import Metrics
from stoep_gateway.publish import topics
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.store.records import AirtimeRow, OutboxRow, Record

__all__ = ["Downlinks"]

_ACK_PATIENCE_MS = 60_000  # for a device of Class C, which may answer at any time
_AGAIN_MS = 30_000
_LONGEST_WAIT_MS = 3_600_000  # till expiries are looked at again: UTC may be set
_NO_UPLINK = (0, 0)  # a station's context: no time, its first antenna
_UNKNOWN_SIGNAL = (-200.0, -20.0)  # RSSI and SNR of a device that was not heard since the start


class Recorder(Protocol):
    """What writes a record."""

    def __call__(self, record: Record, then: Callable[[], None] | None = None) -> None:
        """Write, then call."""


class Downlinks:
    """All downlinks of a network server."""

    def __init__(
        self,
        target: Target,
        registry: Registry,
        memory: Memory,
        scheduler: Scheduler,
        clock: Clock,
        metrics: Metrics,
        *,
        record: Recorder,
        outbox: Callable[[Iterable[OutboxMessage]], tuple[OutboxRow, ...]],
        transmit: Callable[[Transmit], None],
        reject: Callable[[Rejected], None],
        send_to_source: Callable[[str, SourceDownlink, Callable[[bool], None]], None],
        is_station: Callable[[bytes], bool],
    ) -> None:
        self._target = target
        self._region = target.plan.region
        self._registry = registry
        self._memory = memory
        self._queue = memory.queue
        self._scheduler = scheduler
        self._clock = clock
        self._metrics = metrics
        self._record = record
        self._outbox = outbox
        self._transmit = transmit
        self._reject = reject
        self._send_to_source = send_to_source
        self._is_station = is_station
        self._carried: dict[int, Queued] = {}
        self._last_order_id = 0
        self._scheduler_timer: Timer | None = None
        self._scheduler_due: int | None = None
        self._expiry_timer: Timer | None = None

    def start(self, sent: Iterable[AirtimeRow] = ()) -> None:
        """Go on with what was queued before the last stop; call once time runs.

        ``sent`` is what gateways had on the air before.
        """
        now = self._clock.now_ms()
        ahead_ms = self._clock.utc_ms() - now
        for row in sent:
            ends_ms = min(row.ends_utc_ms - ahead_ms, now)  # UTC may have been set back since
            self._scheduler.restore(row.gateway_eui, row.freq_hz, ends_ms, row.airtime_us)
        self.arm_expiry()
        for dev_eui in self._queue.dev_euis():
            self.send_waiting(dev_eui)

    # In answer to an uplink.

    def reply(
        self, session: Session, frame: DataFrame, frame_set: UplinkFrameSet, turn: Turn, utc_ms: int
    ) -> Reply | None:
        """Return what to send in the receive windows of an uplink; changes nothing."""
        dev_eui = session.dev_eui
        ready = self._queue.ready(dev_eui, utc_ms)
        must = frame.confirmed or frame.adr_ack_req or turn.due
        if not (ready or must):
            return None
        return lns_downlink.compose(
            session,
            self._region,
            lns_downlink.windows(frame_set.receptions[0], self._region, turn.state),
            turn,
            ready,
            utc_ms,
            ack=frame.confirmed,
            must=must,
        )

    def take(self, reply: Reply) -> tuple[tuple[int, int], ...]:
        """Take the queued downlink in a reply that will be sent; return what to write of it."""
        if reply.carried is None:
            return ()
        tried = self._queue.take(reply.carried)
        return ((tried.attempts, tried.downlink_id),)

    def dispatch(
        self, session: Session, frame: DataFrame, frame_set: UplinkFrameSet, reply: Reply
    ) -> None:
        """Send a reply, once it is durable that its counter is used."""
        self._order(
            "ack" if frame.confirmed else "answer",
            session.dev_eui,
            reply,
            frame_set.receptions,
            at_once=False,
            priority=URGENT if frame.confirmed else 0,
        )

    def join_accept(
        self, dev_eui: bytes, phy_payload: bytes, frame_set: UplinkFrameSet
    ) -> Callable[[], None]:
        """Return what sends a join-accept, once the activation is durable."""
        windows = lns_downlink.join_windows(frame_set.receptions[0], self._region)
        accept = Downlink(
            self._next_order_id(),
            "join_accept",
            dev_eui,
            phy_payload,
            windows,
            frame_set.receptions,
            priority=URGENT,
        )
        return partial(self._schedule, accept)

    def heard(self, dev_eui: bytes, *, ack: bool) -> Record | None:
        """Take a new uplink, which ends or repeats a confirmed downlink; return what to write."""
        ended = self._queue.heard(dev_eui, ack=ack)
        if ended is None:
            return None
        self._go_on(ended)
        return self._ended_record([ended])

    # Of applications.

    def send(
        self,
        dev_eui: bytes,
        f_port: int,
        frm_payload: bytes,
        then: Callable[[], None] | None = None,
        *,
        confirmed: bool = False,
        priority: int = 0,
        expires_utc_ms: int | None = None,
    ) -> int | Rejected:
        """Queue a new downlink; return its id. `enqueue` says the rest."""
        queued = Queued(
            self._memory.last_downlink_id + 1,
            dev_eui,
            f_port,
            frm_payload,
            confirmed,
            priority,
            self._clock.utc_ms(),
            expires_utc_ms,
        )
        rejected = self.enqueue(queued, then)
        if rejected is not None:
            return rejected
        self._memory.last_downlink_id = queued.downlink_id
        return queued.downlink_id

    def enqueue(self, queued: Queued, then: Callable[[], None] | None = None) -> Rejected | None:
        """Queue a downlink and call ``then`` once it is durable. Rejected: ``queue_full``."""
        rejected = self._queue.add(queued)
        if rejected is not None:
            return rejected

        def durable() -> None:
            if then is not None:
                then()
            self.send_waiting(queued.dev_eui)

        self._record(Record(downlinks=(recording.downlink_row(queued),)), durable)
        self.arm_expiry()
        return None

    def flush(self, dev_eui: bytes, then: Callable[[], None] | None = None) -> int:
        """Forget what waits for a device; return how many and call ``then`` once it is durable."""
        ended = self._queue.flush(dev_eui)
        self._record(self._ended_record(ended), then)
        return len(ended)

    def withdraw(self, dev_eui: bytes, f_port: int) -> None:
        """Forget what waits to be sent to a device's port."""
        ended = self._queue.withdraw(dev_eui, f_port)
        if ended:
            self._record(self._ended_record(ended))

    def source_event(self, dev_eui: bytes, event: SourceEvent, then: Callable[[], None]) -> None:
        """Take what another network server says of a downlink; call ``then`` once it is durable."""
        ended = None
        if event.downlink_id is not None:
            if event.kind == "acknowledged":
                ended = self._queue.acknowledged(dev_eui, event.downlink_id)
            elif event.kind == "sent":
                ended = self._queue.transmitted(dev_eui, event.downlink_id, "")
            elif event.kind == "unacknowledged":
                ended = self._queue.unacknowledged(dev_eui, event.downlink_id)
            elif event.kind in ("refused", "expired"):
                reason = event.detail or event.kind
                ended = self._queue.transmitted(dev_eui, event.downlink_id, reason)
        if ended is None:
            self._record(Record(), then)
        else:
            self._queue_says(ended, then)

    # Of forwarders.

    def transmitted(self, answer: Transmitted) -> None:
        """Take what a gateway said."""
        self._schedule(answer)

    # Class C and other network servers: at once.

    def send_waiting(self, dev_eui: bytes) -> None:
        """Send what waits for a device that need not be heard first."""
        device = self._registry.devices.get(dev_eui)
        ready = self._queue.ready(dev_eui, self._clock.utc_ms())
        if device is None or not ready or not device.enabled:
            return
        if device.source is not None:
            self._hand_over(device.source, ready[0])
        elif device.device_class == "C":
            session = self._memory.sessions.current(dev_eui)
            if session is not None and session.confirmed:
                self._send_at_once(session, ready)

    def _send_at_once(self, session: Session, ready: tuple[Queued, ...]) -> None:
        mac = session.mac or fresh(self._target, abp=session.is_personalised)
        window = lns_downlink.continuous_window(self._region, mac)
        reply = lns_downlink.compose(
            session,
            self._region,
            (window,),
            Turn(mac, (), (), (), due=False),
            ready,
            self._clock.utc_ms(),
            ack=False,
            must=False,
        )
        if reply is None:  # too long for RX2: it waits for an uplink, whose RX1 may be faster
            return
        receptions = self._receptions(session, window)
        record = Record(
            counters=(self._memory.sessions.take_f_cnt_down(session),),
            tried_downlinks=self.take(reply),
        )
        self._record(
            record,
            partial(self._order, "at_once", session.dev_eui, reply, receptions, at_once=True),
        )

    def _receptions(self, session: Session, window: Window) -> tuple[UplinkFrame, ...]:
        if session.heard is not None:
            return session.heard.receptions
        rssi_dbm, snr_db = _UNKNOWN_SIGNAL
        now = self._clock.now_ms()
        return tuple(
            UplinkFrame(
                b"",
                eui,
                0,
                window.freq_hz,
                window.sf,
                window.bw_hz,
                rssi_dbm,
                snr_db,
                now,
                _NO_UPLINK if self._is_station(eui) else None,
            )
            for eui in self._registry.gateways
        )

    def _hand_over(self, source: str, queued: Queued) -> None:
        tried = self._queue.take(queued)
        device_id = self._memory.ledger.device_id(source, tried.dev_eui)
        order = SourceDownlink(
            tried.downlink_id,
            tried.dev_eui,
            tried.f_port,
            tried.frm_payload,
            tried.confirmed,
            tried.expires_utc_ms,
            device_id,
        )

        def handed_over(taken: bool) -> None:
            if not taken:
                self._queue.put_back(tried)
                self.arm_expiry()
                self._later(tried.dev_eui)

        self._record(
            Record(tried_downlinks=((tried.attempts, tried.downlink_id),)),
            partial(self._send_to_source, source, order, handed_over),
        )

    def _later(self, dev_eui: bytes) -> None:
        self._clock.call_at(self._clock.now_ms() + _AGAIN_MS, partial(self.send_waiting, dev_eui))

    # The scheduler.

    def _order(
        self,
        kind: str,
        dev_eui: bytes,
        reply: Reply,
        receptions: tuple[UplinkFrame, ...],
        *,
        at_once: bool,
        priority: int = 0,
    ) -> None:
        order_id = self._next_order_id()
        if reply.carried is not None:
            self._carried[order_id] = reply.carried
        self._schedule(
            Downlink(
                order_id,
                kind,
                dev_eui,
                reply.phy_payload,
                reply.windows,
                receptions,
                at_once,
                priority,
            )
        )

    def _schedule(self, event: Downlink | Transmitted | Tick) -> None:
        for action in self._scheduler.handle(event, self._clock.now_ms()):
            if type(action) is Transmit:
                self._transmit(action)
            elif type(action) is DownlinkEnded:
                self._order_ended(action)
        self._arm_scheduler()

    def _arm_scheduler(self) -> None:
        due = self._scheduler.next_deadline()
        if due == self._scheduler_due:
            return
        if self._scheduler_timer is not None:
            self._scheduler_timer.cancel()
        self._scheduler_due = due
        self._scheduler_timer = None if due is None else self._clock.call_at(due, self._scheduled)

    def _scheduled(self) -> None:
        self._scheduler_timer = self._scheduler_due = None
        self._schedule(Tick())

    def _count_airtime(self, ended: DownlinkEnded) -> None:
        if not ended.gateway_eui:
            return
        order = ended.downlink
        window = order.windows[ended.window_index or 0]  # one that may have sent has not said
        band = self._region.sub_band(window.freq_hz)
        if band is None or band.duty_cycle == 1:
            return
        airtime_us = downlink_us(len(order.phy_payload), window.sf, window.bw_hz)
        ends_ms = self._clock.utc_ms() + (window.delay_us + airtime_us) // 1000
        row = AirtimeRow(ends_ms, ended.gateway_eui, window.freq_hz, airtime_us)
        self._record(Record(airtimes=(row,)))

    def _order_ended(self, ended: DownlinkEnded) -> None:
        order = ended.downlink
        sent = ended.outcome == "sent"
        if sent:
            self._metrics.count("downlinks_sent")
        else:
            self._metrics.count("downlinks_lost")
            heard_by = [reception.gateway_eui for reception in order.receptions]
            eui = ended.gateway_eui or (heard_by[0] if heard_by else b"")
            self._reject(Rejected(f"downlink_{ended.outcome.lower()}", order.dev_eui.hex(), eui))
        self._count_airtime(ended)
        queued = self._carried.pop(order.downlink_id, None)
        if queued is not None:
            error = "" if sent else ended.outcome
            self._queue_says(self._queue.transmitted(order.dev_eui, queued.downlink_id, error))
            tried = self._queue.on_its_way(order.dev_eui)
            device = self._registry.devices.get(order.dev_eui)
            if (
                sent
                and tried is not None
                and tried.downlink_id == queued.downlink_id
                and device is not None
                and device.device_class == "C"
            ):
                self._clock.call_at(
                    self._clock.now_ms() + _ACK_PATIENCE_MS,
                    partial(self._not_acknowledged, tried),
                )

    def _not_acknowledged(self, tried: Queued) -> None:
        if self._queue.on_its_way(tried.dev_eui) == tried:
            self._queue_says(self._queue.unacknowledged(tried.dev_eui, tried.downlink_id))

    def _queue_says(self, ended: Ended | None, then: Callable[[], None] | None = None) -> None:
        if ended is None:
            return
        self._record(self._ended_record([ended]), then)
        self._go_on(ended)
        if not ended.again:
            self.send_waiting(ended.queued.dev_eui)

    def _go_on(self, ended: Ended) -> None:
        """See to it that what is to be sent again is, or expires."""
        if ended.again:
            self.arm_expiry()
            self._later(ended.queued.dev_eui)

    def _next_order_id(self) -> int:
        self._last_order_id += 1
        return self._last_order_id

    # Ends.

    def _ended_record(self, ends: Iterable[Ended]) -> Record:
        messages: list[OutboxMessage] = []
        done = []
        utc_ms = self._clock.utc_ms()
        for ended in ends:
            self._metrics.count(f"queued_{ended.outcome}")
            if not ended.again:
                done.append(ended.queued.downlink_id)
            device = self._registry.devices.get(ended.queued.dev_eui)
            if device is not None:
                messages.append(topics.downlink_output(device, ended, utc_ms))
        return Record(outbox=self._outbox(messages), ended_downlinks=tuple(done))

    def arm_expiry(self) -> None:
        """Wait for what expires next; to be called, too, when UTC has jumped."""
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        expiry_utc_ms = self._queue.next_expiry()
        self._expiry_timer = None
        if expiry_utc_ms is not None:
            wait_ms = min(max(0, expiry_utc_ms - self._clock.utc_ms()), _LONGEST_WAIT_MS)
            self._expiry_timer = self._clock.call_at(
                self._clock.now_ms() + wait_ms + 1, self._expired
            )

    def _expired(self) -> None:
        ended = self._queue.expire(self._clock.utc_ms())
        if ended:
            self._record(self._ended_record(ended))
        self.arm_expiry()

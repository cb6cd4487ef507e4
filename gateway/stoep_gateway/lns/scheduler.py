"""Gets downlinks onto the air: which gateway, which window, and never late, never twice.

::

    Downlink ─▶ a gateway that can ──▶ Transmit ──▶ Transmitted ─ accepted ─▶ DownlinkEnded("sent")
                 │    ▲ refused: next gateway, next window ───────┤
                 │    └──────────────────────────────────────────┘
                 ├─ none can, Class A ─────────────────────────────▶ DownlinkEnded(why)
                 └─ none can, Class C: wait till one can, up to a minute

RX1 goes before RX2. Of the gateways that heard the device much alike, the one goes first that has
sent least in the window's sub-band; else the one that heard it best. What a gateway has on the air
or in its queue, its duty cycle and a station's blocking (``airtime``) rule windows out beforehand,
so that a refusal costs no round trip.

A window counts from the end of the uplink on the concentrator's counter, so sending the order early
is right: the forwarder holds it until its time. A window that is nearer than the lead is skipped,
for a forwarder refuses what comes too late, or worse, sends it late. The lead is ``LEAD_MS``, or
what the forwarder needs and the round trip of earlier orders: we heard of the uplink one way late,
and the order takes the other.

A Basics Station gets RX1 and RX2 in one order and answers only when it has sent; both windows are
its own till then. A gateway that says nothing may have sent: the frame is never sent again.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from stoep_protocol.lorawan.regions import Region

from stoep_gateway.lns.airtime import GatewayAir, Obstacle, SubBandUse, Transmission, downlink_us
from stoep_gateway.lns.frames import (
    MAY_HAVE_SENT,
    Downlink,
    Tick,
    Transmit,
    Transmitted,
    UplinkFrame,
    Window,
)
from stoep_gateway.metrics import Histogram

__all__ = ["LEAD_MS", "URGENT", "Account", "DownlinkEnded", "Scheduler"]

LEAD_MS = 60
URGENT = 1  # from this priority on a downlink may use up a sub-band's duty cycle
AT_ONCE_WAIT_MS = 60_000

_SPARE_S = (0.06, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0)
_FORWARDER_LEAD_MS = 45
_MAX_LEAD_MS = 700  # whatever was measured: RX2 is still tried, and its answer measured anew
_RETRY_MS = 1000
_ANSWER_MS = 15_000  # after the window; every forwarder's machine gives up before
_AT_ONCE_SLACK_US = 1_250_000  # the reference forwarder sends "immediately" after a second
_COUNTER_MASK = 0xFFFF_FFFF
_ENOUGH_DB = 10.0
_ALIKE_DB = 3.0

_NOT_CONNECTED = "NOT_CONNECTED"
_NO_TX_ACK = "NO_TX_ACK"
_PASSING = frozenset(
    {_NOT_CONNECTED, "TOO_LATE", "TOO_EARLY", "COLLISION_PACKET", "COLLISION_BEACON"}
)
# Of several reasons the one that tells most is the outcome; unlisted ones rank with the last.
_TELLING = {
    reason: rank
    for rank, reason in enumerate(
        ("late", _NOT_CONNECTED, "busy", "TOO_LATE", "TOO_EARLY", "COLLISION_PACKET", "duty_cycle")
    )
}


@dataclass(frozen=True, slots=True)
class DownlinkEnded:
    """``outcome`` is ``sent`` or why not.

    Why not: a forwarder's word, or our own ``late``, ``busy`` (an own transmission is in the way),
    ``duty_cycle``, ``no_gateway``. ``gateway_eui`` has sent it, or may have; it is empty when none
    did. ``window_index`` is that of ``downlink.windows`` when it was sent.
    """

    downlink: Downlink
    outcome: str
    gateway_eui: bytes = b""
    window_index: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What a gateway was used for: airtime of the last hour, downlinks, and refusals by reason.

    Refusals are the forwarder's and ours, once for each downlink and reason.
    """

    airtime: tuple[SubBandUse, ...]
    sent: int
    refusals: Mapping[str, int]
    round_trip_ms: int | None


@dataclass(slots=True)
class _Gateway:
    air: GatewayAir
    sent: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    round_trip_ms: int | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    gateway_eui: bytes
    ordered_ms: int
    is_station: bool
    planned: tuple[tuple[int, Transmission], ...]  # by window index; the second is the fallback


@dataclass(slots=True)
class _Way:
    """A downlink that has not ended: ``order`` is with a gateway, or it waits till ``due_ms``.

    ``refused``: window and gateway that it need not try again; ``resting`` not before ``due_ms``.
    """

    downlink: Downlink
    receptions: list[UplinkFrame]
    ends_ms: int
    order: _Order | None = None
    due_ms: int = 0
    refused: set[tuple[int, bytes]] = field(default_factory=set)
    resting: set[tuple[int, bytes]] = field(default_factory=set)
    reasons: set[tuple[bytes, str]] = field(default_factory=set)


class Scheduler:
    """One per network server. Without ``region`` no duty cycle is kept.

    Drive it with every downlink, every answer of a forwarder, and a ``Tick`` at ``next_deadline``.
    ``spare_s`` is how long before its time each order left that had one.
    """

    def __init__(self, region: Region | None = None, *, duty_cycle: bool = True) -> None:
        self._region = region
        self._duty_cycle = duty_cycle
        self.spare_s = Histogram(_SPARE_S)
        self._gateways: dict[bytes, _Gateway] = {}
        self._ways: dict[int, _Way] = {}
        self._due: list[tuple[int, int]] = []

    def handle(
        self, event: Downlink | Transmitted | Tick, now: int
    ) -> list[Transmit | DownlinkEnded]:
        """Take a new downlink, what a gateway said, or the deadline; ``now`` in milliseconds."""
        if isinstance(event, Downlink):
            best: dict[bytes, UplinkFrame] = {}
            for reception in event.receptions:
                best.setdefault(reception.gateway_eui, reception)
            way = _Way(event, list(best.values()), now + AT_ONCE_WAIT_MS)
            self._ways[event.downlink_id] = way
            return self._attempt(way, now)
        if isinstance(event, Transmitted):
            return self._transmitted(event, now)
        return self._attend(now)

    def restore(self, gateway_eui: bytes, freq_hz: int, ends_ms: int, airtime_us: int) -> None:
        """Count what a gateway sent before a restart, ending at ``ends_ms`` of our clock."""
        self._gateway(gateway_eui).air.restore(freq_hz, ends_ms, airtime_us)

    def next_deadline(self) -> int | None:
        """Return when a ``Tick`` is due, in milliseconds."""
        due = self._due
        while due:
            way = self._ways.get(due[0][1])
            if way is not None and way.due_ms == due[0][0]:
                return due[0][0]
            heapq.heappop(due)
        return None

    def accounts(self, now: int) -> dict[bytes, Account]:
        """Return the account of every gateway that was asked or considered so far, by EUI."""
        return {
            eui: Account(
                gateway.air.account(now),
                gateway.sent,
                dict(gateway.refusals),
                gateway.round_trip_ms,
            )
            for eui, gateway in self._gateways.items()
        }

    def _transmitted(self, event: Transmitted, now: int) -> list[Transmit | DownlinkEnded]:
        way = self._ways.get(event.downlink_id)
        if way is None or way.order is None or way.order.gateway_eui != event.gateway_eui:
            return []
        order, way.order = way.order, None
        eui, error = order.gateway_eui, event.error
        gateway = self._gateways[eui]
        if error in MAY_HAVE_SENT:
            return [self._give_up(way, order, error)]
        if not order.is_station and error != _NOT_CONNECTED:
            measured_ms = now - order.ordered_ms
            before_ms = gateway.round_trip_ms
            gateway.round_trip_ms = (
                measured_ms if before_ms is None else (3 * before_ms + measured_ms) // 4
            )
        if not error:
            used = order.planned[-1 if event.used_fallback else 0]
            for planned in order.planned:
                if planned is not used:
                    gateway.air.cancel(planned[1])
            gateway.sent += 1
            return [self._end(way, "sent", eui, used[0])]
        refused = way.resting if way.downlink.at_once and error in _PASSING else way.refused
        for index, transmission in order.planned:
            gateway.air.cancel(transmission)
            refused.add((index, eui))
        if error == _NOT_CONNECTED:
            refused.update((index, eui) for index in range(len(way.downlink.windows)))
        self._note(way, eui, error)
        return self._attempt(way, now)

    def _attend(self, now: int) -> list[Transmit | DownlinkEnded]:
        ways = []
        while self._due and self._due[0][0] <= now:
            due_ms, downlink_id = heapq.heappop(self._due)
            way = self._ways.get(downlink_id)
            if way is not None and way.due_ms == due_ms:
                way.due_ms = 0
                ways.append(way)
        ways.sort(key=lambda way: (-way.downlink.priority, way.downlink.downlink_id))
        actions: list[Transmit | DownlinkEnded] = []
        for way in ways:
            if way.order is not None:
                actions.append(self._give_up(way, way.order, _NO_TX_ACK))
            else:
                way.resting.clear()
                actions += self._attempt(way, now)
        return actions

    def _attempt(self, way: _Way, now: int) -> list[Transmit | DownlinkEnded]:
        """Ask the first gateway that can; wait or end when none can."""
        downlink = way.downlink
        possible_us: list[int] = []
        for index, window in enumerate(downlink.windows):
            airtime_us = downlink_us(len(downlink.phy_payload), window.sf, window.bw_hz)
            for reception in self._by_preference(way, window, now):
                pair = (index, reception.gateway_eui)
                if pair in way.refused or pair in way.resting:
                    continue
                wanted = _wanted(downlink, window, reception, airtime_us, now)
                obstacle = self._obstacle(downlink, wanted, reception, now)
                if obstacle is None:
                    return [self._order(way, index, wanted, reception, now)]
                self._note(way, reception.gateway_eui, obstacle.reason)
                if obstacle.until_us is not None:
                    possible_us.append(obstacle.until_us)
        if downlink.at_once:
            if way.resting:
                possible_us.append((now + _RETRY_MS) * 1000)
            if possible_us and min(possible_us) <= way.ends_ms * 1000:
                self._wait(way, -(-min(possible_us) // 1000))
                return []
        return [self._end(way, _most_telling(way))]

    def _obstacle(
        self, downlink: Downlink, wanted: Transmission, reception: UplinkFrame, now: int
    ) -> Obstacle | None:
        gateway = self._gateway(reception.gateway_eui)
        gateway.air.blocking = reception.context is not None
        lead_ms = _lead_ms(gateway)
        if not downlink.at_once and now + lead_ms > wanted.at_us // 1000:
            return Obstacle("late")
        return gateway.air.obstacle(wanted, urgent=downlink.priority >= URGENT)

    def _order(
        self, way: _Way, index: int, wanted: Transmission, reception: UplinkFrame, now: int
    ) -> Transmit:
        downlink, eui = way.downlink, reception.gateway_eui
        window = downlink.windows[index]
        planned = [(index, wanted)]
        fallback = None
        is_station = reception.context is not None
        if is_station and not downlink.at_once:
            for later, other in enumerate(downlink.windows[index + 1 :], index + 1):
                airtime_us = downlink_us(len(downlink.phy_payload), other.sf, other.bw_hz)
                spare = _wanted(downlink, other, reception, airtime_us, now)
                if self._obstacle(downlink, spare, reception, now) is None:
                    planned.append((later, spare))
                    fallback = other
                    break
        air = self._gateways[eui].air
        for _, transmission in planned:
            air.plan(transmission, now)
        way.order = _Order(eui, now, is_station, tuple(planned))
        if not downlink.at_once:
            self.spare_s.observe(wanted.at_us / 1e6 - now / 1000)
        self._wait(way, max(now, planned[-1][1].at_us // 1000) + _ANSWER_MS)
        return Transmit(
            downlink.downlink_id,
            eui,
            0 if downlink.at_once else reception.tmst_us + window.delay_us & _COUNTER_MASK,
            window.freq_hz,
            window.sf,
            window.bw_hz,
            window.power_dbm,
            downlink.phy_payload,
            downlink.dev_eui,
            downlink.at_once,
            downlink.priority,
            reception.context,
            window,
            fallback,
        )

    def _by_preference(self, way: _Way, window: Window, now: int) -> list[UplinkFrame]:
        receptions = way.receptions
        if len(receptions) < 2:
            return receptions
        best_db = max(map(_margin_db, receptions))

        def preference(reception: UplinkFrame) -> tuple[bool, float]:
            margin_db = _margin_db(reception)
            if best_db - margin_db > _ALIKE_DB:
                return True, -margin_db
            gateway = self._gateway(reception.gateway_eui)
            return False, gateway.air.used_us(window.freq_hz, now)

        return sorted(receptions, key=preference)

    def _gateway(self, eui: bytes) -> _Gateway:
        gateway = self._gateways.get(eui)
        if gateway is None:
            air = GatewayAir(self._region, duty_cycle=self._duty_cycle)
            gateway = self._gateways[eui] = _Gateway(air)
        return gateway

    def _note(self, way: _Way, eui: bytes, reason: str) -> None:
        if (eui, reason) not in way.reasons:
            way.reasons.add((eui, reason))
            self._gateways[eui].refusals[reason] += 1

    def _wait(self, way: _Way, due_ms: int) -> None:
        way.due_ms = due_ms
        heapq.heappush(self._due, (due_ms, way.downlink.downlink_id))

    def _give_up(self, way: _Way, order: _Order, why: str) -> DownlinkEnded:
        """End what may have been sent: it stays on the gateway's account."""
        self._note(way, order.gateway_eui, why)
        return self._end(way, why, order.gateway_eui)

    def _end(
        self, way: _Way, outcome: str, gateway_eui: bytes = b"", window_index: int | None = None
    ) -> DownlinkEnded:
        del self._ways[way.downlink.downlink_id]
        return DownlinkEnded(way.downlink, outcome, gateway_eui, window_index)


def _wanted(
    downlink: Downlink, window: Window, reception: UplinkFrame, airtime_us: int, now: int
) -> Transmission:
    if downlink.at_once:
        return Transmission(now * 1000, airtime_us, window.freq_hz, slack_us=_AT_ONCE_SLACK_US)
    counter_us: int | None = reception.tmst_us
    if reception.context is not None:
        counter_us = reception.context[0] or None  # xtime is unknown as 0; it counts µs
    return Transmission(
        reception.received_ms * 1000 + window.delay_us,
        airtime_us,
        window.freq_hz,
        None if counter_us is None else counter_us + window.delay_us & _COUNTER_MASK,
    )


def _lead_ms(gateway: _Gateway) -> int:
    if gateway.round_trip_ms is None:
        return LEAD_MS
    return max(LEAD_MS, min(_FORWARDER_LEAD_MS + gateway.round_trip_ms, _MAX_LEAD_MS))


def _margin_db(reception: UplinkFrame) -> float:
    """Return how far the SNR is above what its spreading factor needs; enough is enough."""
    return min(reception.snr_db - (10.0 - 2.5 * reception.sf), _ENOUGH_DB)


def _most_telling(way: _Way) -> str:
    if not way.reasons:
        return "no_gateway"
    return max(
        (reason for _, reason in way.reasons),
        key=lambda reason: (_TELLING.get(reason, len(_TELLING)), reason),
    )

"""Devices with the firmware's own MAC and a whole network server, over air and backhaul that fail.

All of it in one process and on one clock: ``World.run`` goes from event to event. Frames get lost,
arrive twice or out of order, gateways refuse what comes too late or collides, the server loses
power between any two commits, and its UTC is set.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from dual_device import new_key
from gwmp_client import Device
from network_in_hand import NetworkInHand
from stoep_firmware import joining
from stoep_firmware import mac as m
from stoep_firmware.session import Session
from stoep_gateway.lns.frames import Transmit, Transmitted, UplinkFrame
from stoep_gateway.lns.mac_state import Target
from stoep_gateway.lns.queue import Queued
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.network_frames import JoinAccept

__all__ = ["Air", "Node", "Sign", "World"]

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


@dataclass
class Air:
    """How bad it is; shares of frames, orders and answers."""

    loss: float = 0.0
    backhaul_loss: float = 0.0
    duplicates: float = 0.0
    slow: float = 0.0  # receptions that take longer than the deduplication window
    replays: float = 0.0  # uplinks that somebody sends once more, minutes to hours later
    cuts: float = 0.0  # commits on whose way to the disk the power fails
    clock_jumps_an_hour: float = 0.0


@dataclass
class _Sending:
    begin_ms: int
    end_ms: int
    freq_hz: int
    sf: int
    bw_hz: int
    phy_payload: bytes


@dataclass
class _Forwarder:
    eui: bytes
    counter_us: int  # of its concentrator, at 0
    on_air: list[tuple[int, int]] = field(default_factory=list)


class World:
    """Everything; ``emitted`` are all orders that left the server, with the time."""

    def __init__(self, path: Path, config_text: str, target: Target, seed: int) -> None:
        self.random = Random(seed)
        self.air = Air()
        self.region = target.plan.region
        self.plan = target.plan
        self.network = NetworkInHand(path, config_text, wanted=target)
        self.clock = self.network.clock
        self.network.deliver = self._order
        self.network.on_submit = self._submitted
        self._commit_due = False
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._life = 0
        self.forwarders = {
            eui: _Forwarder(eui, self.random.randrange(1 << 32))
            for eui in self.network.registry.gateways
        }
        self.emitted: list[tuple[int, Transmit]] = []
        self._sendings: list[_Sending] = []
        self.nodes: list[Node] = []
        self.signs: list[Sign] = []
        self.queued: dict[int, Queued] = {}
        self.cuts = 0
        self._submitted()
        self._misfortunes()

    # Time.

    def at(self, when_ms: int, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(when_ms, self.now), next(self._count), call))

    @property
    def now(self) -> int:
        return self.clock.now_ms()

    def run(self, ms: int) -> None:
        """Let time pass."""
        until_ms = self.now + ms
        while True:
            mine = self._events[0][0] if self._events else until_ms + 1
            theirs = self.clock.next_ms()
            when_ms = min(mine, until_ms + 1 if theirs is None else max(theirs, self.now))
            if when_ms > until_ms:
                break
            self.clock.pass_ms(when_ms - self.now)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
        self.clock.pass_ms(until_ms - self.now)

    # The server: commits, power cuts, its clock.

    def _submitted(self) -> None:
        if not self._commit_due:
            self._commit_due = True
            self.at(self.now + self.random.randrange(1, 30), self._commit)
        if self.random.random() < self.air.cuts:
            self.at(self.now + self.random.randrange(40), self.cut)

    def _commit(self) -> None:
        self._commit_due = False
        self.network.commit()

    def _misfortunes(self) -> None:
        air, random = self.air, self.random
        if random.random() < air.clock_jumps_an_hour / 60:
            self.clock.set_utc(random.choice((-1, 1)) * random.randrange(40 * MINUTE_MS))
        self.at(self.now + MINUTE_MS, self._misfortunes)

    def cut(self) -> None:
        """Let the server lose its power, and begin anew from its rows."""
        self.cuts += 1
        self._life += 1
        self.network.restart()

    def enqueue(self, dev_eui: bytes, payload: bytes, **fields: Any) -> None:
        """Queue a downlink as an application does; ``queued`` has it once that is durable."""
        memory = self.network.memory
        queued = Queued(
            memory.last_downlink_id + 1,
            dev_eui,
            20,
            payload,
            created_utc_ms=self.clock.utc_ms(),
            **fields,
        )

        def durable() -> None:
            assert queued.downlink_id not in self.queued
            self.queued[queued.downlink_id] = queued

        if self.network.pipeline.downlinks.enqueue(queued, durable) is None:
            memory.last_downlink_id = queued.downlink_id

    # Uplinks.

    def transmit(self, freq_hz: int, sf: int, bw_hz: int, phy_payload: bytes) -> None:
        """Bring an uplink that has just ended to both gateways."""
        if not self.plan.hears(freq_hz):
            return
        random, air = self.random, self.air
        if random.random() < air.replays:
            self.at(
                self.now + random.randrange(3 * HOUR_MS),
                lambda: self.transmit(freq_hz, sf, bw_hz, phy_payload),
            )
        for forwarder in self.forwarders.values():
            if random.random() < air.loss:
                continue
            frame = UplinkFrame(
                phy_payload,
                forwarder.eui,
                self._counter_us(forwarder),
                freq_hz,
                sf,
                bw_hz,
                -90.0,
                round(random.gauss(4.0, 2.5), 1),
                0,
            )
            for _ in range(1 + (random.random() < air.duplicates)):
                latency_ms = random.randrange(5, 120)
                if random.random() < air.slow:
                    latency_ms += random.randrange(200, 1500)
                self._receive_at(self.now + latency_ms, frame)

    def _receive_at(self, when_ms: int, frame: UplinkFrame) -> None:
        def receive() -> None:
            fields = {name: getattr(frame, name) for name in frame.__slots__}
            self.network.pipeline.receive(UplinkFrame(**fields | {"received_ms": self.now}))

        self.at(when_ms, receive)

    def _counter_us(self, forwarder: _Forwarder) -> int:
        return (forwarder.counter_us + self.now * 1000) & 0xFFFF_FFFF

    # Downlinks.

    def _order(self, order: Transmit) -> None:
        self.emitted.append((self.now, order))
        if self.random.random() >= self.air.backhaul_loss:
            life = self._life
            self.at(self.now + self.random.randrange(5, 50), lambda: self._ordered(order, life))

    def _ordered(self, order: Transmit, life: int) -> None:
        forwarder = self.forwarders[order.gateway_eui]
        wait_us = 0 if order.at_once else (order.tmst_us - self._counter_us(forwarder))
        wait_us = (wait_us + (1 << 31)) % (1 << 32) - (1 << 31)
        begin_ms = self.now + wait_us // 1000
        airtime_us = time_on_air_us(len(order.phy_payload), order.sf, order.bw_hz, crc=False)
        end_ms = begin_ms + airtime_us // 1000 + 1
        error = ""
        if not order.at_once and wait_us < 10_000:
            error = "TOO_LATE"
        elif any(begin_ms < end and begin < end_ms for begin, end in forwarder.on_air):
            error = "COLLISION_PACKET"
        else:
            forwarder.on_air = [one for one in forwarder.on_air if one[1] > self.now]
            forwarder.on_air.append((begin_ms, end_ms))
            sending = _Sending(
                begin_ms, end_ms, order.freq_hz, order.sf, order.bw_hz, order.phy_payload
            )
            self.at(begin_ms, lambda: self._sent(sending, order))
        if self.random.random() >= self.air.backhaul_loss:
            answer = Transmitted(order.downlink_id, order.gateway_eui, error)
            self.at(self.now + self.random.randrange(5, 50), lambda: self._answer(answer, life))

    def _answer(self, answer: Transmitted, life: int) -> None:
        if life == self._life:  # another process knows nothing of the datagram's token
            self.network.pipeline.receive(answer)

    def _sent(self, sending: _Sending, order: Transmit) -> None:
        self._sendings = [one for one in self._sendings if one.end_ms > self.now - 5000]
        self._sendings.append(sending)
        if order.at_once:
            for sign in self.signs:
                if self.random.random() >= self.air.loss:
                    self.at(sending.end_ms, lambda sign=sign: sign.receive(sending.phy_payload))

    def heard_between(
        self, begin_ms: int, end_ms: int, freq_hz: int, sf: int, bw_hz: int
    ) -> _Sending | None:
        """Return the downlink whose preamble began in a window, if the air let it through."""
        for sending in self._sendings:
            if (
                begin_ms <= sending.begin_ms <= end_ms
                and (sending.freq_hz, sending.sf, sending.bw_hz) == (freq_hz, sf, bw_hz)
                and self.random.random() >= self.air.loss
            ):
                return sending
        return None


class Node:
    """A device with the firmware's MAC; every payload that it sends is another."""

    def __init__(self, world: World, dev_eui: bytes, app_key: bytes, *, every_ms: int) -> None:
        self.world = world
        self.dev_eui = dev_eui
        self.every_ms = every_ms
        self.session = Session()
        self.mac = m.Mac(
            world.region,
            self.session,
            new_key,
            world.random.randrange,
            bytes(8),
            dev_eui,
            app_key,
            adr=True,
        )
        self.mac.battery = 200
        self.sent: list[bytes] = []
        self.acknowledged: list[bytes] = []
        self.delivered: list[bytes] = []
        self.joins = 0
        self._confirmed = False
        self._rejoins = 0.0
        world.nodes.append(self)
        world.at(world.random.randrange(1, 60_000), self.go_on)

    def personalise(self, dev_addr: int, nwk_s_key: bytes, app_s_key: bytes) -> None:
        """Begin a session without a join."""
        region = self.world.region
        accept = JoinAccept(0, 0, dev_addr, 0, region.rx2_dr, 1, b"")
        joining.reset_channels(self.session, region)
        self.session.begin(accept, (nwk_s_key, app_s_key), region.rx2_hz, region.min_dr(False))
        self.session.dwell = int(region.starts_dwelling)

    def go_on(self) -> None:
        """Send the next report, or join."""
        random = self.world.random
        if self.mac.state != m.IDLE:
            return
        if not self.session.joined or random.random() < self._rejoins:
            self._event((m.JOIN,))
            return
        payload = self.dev_eui[-1:] + len(self.sent).to_bytes(3, "big")
        self._confirmed = random.random() < 0.3
        self._payload = payload
        before = self.session.f_cnt_up
        self._event((m.SEND, 10, payload, self._confirmed))
        if self.session.f_cnt_up != before:
            self.sent.append(payload)

    def rejoins(self, share: float) -> None:
        """Let it join anew at this share of its turns."""
        self._rejoins = share

    def is_idle(self) -> bool:
        """Whether it neither sends nor waits for an answer."""
        return bool(self.mac.state == m.IDLE)

    def _event(self, event: tuple[Any, ...]) -> None:
        self._act(self.mac.handle(event, self.world.now))
        deadline = self.mac.next_deadline()
        if deadline is not None:
            self.world.at(max(deadline, self.world.now + 1), self._timer)

    def _timer(self) -> None:
        if self.mac.state == m.WAIT:
            self._event((m.TIMER,))

    def _act(self, actions: tuple[tuple[Any, ...], ...]) -> None:
        world = self.world
        for action in actions:
            if action[0] == m.TRANSMIT:
                _, freq_hz, sf, bw_hz, _, phy_payload, airtime_ms = action
                world.at(
                    world.now + airtime_ms,
                    lambda args=(freq_hz, sf, bw_hz, phy_payload): self._sent(*args),
                )
            elif action[0] == m.RECEIVE:
                _, freq_hz, sf, bw_hz, at_ms, symbols = action
                end_ms = at_ms + (symbols << sf) * 1000 // bw_hz + 1
                world.at(
                    end_ms,
                    lambda args=(at_ms, end_ms, freq_hz, sf, bw_hz): self._listened(*args),
                )
            elif action[0] == m.DELIVER:
                self.delivered.append(action[2])
            elif action[0] == m.DONE:
                self._done(action[1], action[2])

    def _sent(self, freq_hz: int, sf: int, bw_hz: int, phy_payload: bytes) -> None:
        self.world.transmit(freq_hz, sf, bw_hz, phy_payload)
        self._event((m.TX_DONE,))

    def _listened(self, begin_ms: int, end_ms: int, freq_hz: int, sf: int, bw_hz: int) -> None:
        sending = self.world.heard_between(begin_ms, end_ms, freq_hz, sf, bw_hz)
        if sending is None:
            self._event((m.RX_TIMEOUT,))
        else:
            event = (m.RECEIVED, sending.phy_payload, 5)
            self.world.at(sending.end_ms, lambda: self._event(event))

    def _done(self, result: int, value: int) -> None:
        world = self.world
        next_ms = world.now + world.random.randrange(self.every_ms // 2, self.every_ms * 3 // 2)
        if result == m.JOINED:
            self.joins += 1
            next_ms = world.now + 5000
        elif result == m.BUSY or (result == m.NO_ANSWER and not self.session.joined):
            next_ms = value + 1
        elif result == m.SENT:
            if self._confirmed:
                self.acknowledged.append(self._payload)
            if self.session.answer_due:
                next_ms = world.now + 5000
        else:
            assert result == m.NO_ANSWER, result
        world.at(next_ms, self.go_on)


class Sign:
    """A device of Class C, personalised: it acknowledges and delivers what comes at any time."""

    def __init__(
        self, world: World, dev_eui: bytes, dev_addr: int, nwk_s_key: bytes, app_s_key: bytes
    ) -> None:
        self.world = world
        self.dev_eui = dev_eui
        self.device = Device(dev_eui, bytes(8), bytes(16))
        self.device.personalise(dev_addr, nwk_s_key, app_s_key)
        self.next_f_cnt_down = 0
        self.ack_due = False
        self.delivered: list[bytes] = []
        self.sent: list[bytes] = []
        world.signs.append(self)
        world.at(1000, self._heartbeat)

    def _heartbeat(self) -> None:
        self._send()
        self.world.at(self.world.now + 20 * MINUTE_MS, self._heartbeat)

    def _send(self) -> None:
        payload = b"sign" + len(self.sent).to_bytes(3, "big")
        self.sent.append(payload)
        phy_payload = self.device.uplink(f_port=10, payload=payload, ack=self.ack_due)
        self.ack_due = False
        freq_hz = self.world.random.choice(self.world.region.default_channels_hz[:3])
        self.world.at(
            self.world.now + 100, lambda: self.world.transmit(freq_hz, 7, 125_000, phy_payload)
        )

    def receive(self, phy_payload: bytes) -> None:
        frame = frames.parse(phy_payload)
        device = self.device
        if not isinstance(frame, frames.DataFrame) or frame.dev_addr != device.dev_addr:
            return
        f_cnt = frames.full_f_cnt(self.next_f_cnt_down, frame.f_cnt)
        if f_cnt < self.next_f_cnt_down or not frames.verify(frame, device.nwk_s_key, f_cnt):
            return
        self.next_f_cnt_down = f_cnt + 1
        if frame.f_port:
            self.delivered.append(frames.decrypt_payload(frame, device.app_s_key, f_cnt))
        if frame.confirmed:
            self.ack_due = True
            self.world.at(self.world.now + 2000, self._answer)

    def _answer(self) -> None:
        if self.ack_due:
            self._send()

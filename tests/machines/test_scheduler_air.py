"""The scheduler against gateways that keep the air's laws themselves: it never makes them say no.

A world of its own time, in µs: two packet forwarders with the reference's queue (the simulator's
model of ``jitqueue.c``) and a station with Basics Station's blocking, each behind a backhaul, its
counter anywhere. What really went on the air is judged at the end by the law alone.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from lns_values import DEV_EUI, reception
from stoep_gateway.lns.airtime import downlink_us
from stoep_gateway.lns.frames import Downlink, Tick, Transmit, Transmitted, UplinkFrame, Window
from stoep_gateway.lns.scheduler import DownlinkEnded, Scheduler
from stoep_hardware import tx_queue
from stoep_protocol.lorawan.regions import EU868

MS, S = 1000, 1_000_000
WRAP = 1 << 32
CHANNELS_HZ = (868_100_000, 868_300_000, 867_100_000, 869_800_000)
STATION_CLASSES = ((869_400_000, 869_650_000, 10), (868_000_000, 868_600_000, 100))
STATION_CLASSES += ((869_700_000, 870_000_000, 100),)


@dataclass(frozen=True)
class Emission:
    downlink_id: int
    start_us: int
    end_us: int
    freq_hz: int


class Gateway:
    """What both kinds share: a counter that started some time, a backhaul, a mood."""

    def __init__(self, world: World, eui: bytes, counter_us: int, delay_ms: int) -> None:
        self.world = world
        self.eui = eui
        self.counter_us = counter_us
        self.delay_us = delay_ms * MS
        self.emissions: list[Emission] = []
        self.mood = ""

    def hear(self, late_us: int, **fields) -> UplinkFrame:
        now_us = self.world.now_us
        return reception(
            b"up",
            at=(now_us + self.delay_us + late_us) // MS,
            gateway=self.eui,
            tmst_us=(self.counter_us + now_us) % WRAP,
            **fields,
        )

    def take(self, order: Transmit) -> None:
        mood, self.mood = self.mood, ""
        if mood == "NOT_CONNECTED":
            self.world.answer(Transmitted(order.downlink_id, self.eui, mood))
        else:
            self.world.after(self.delay_us, lambda: self.ask(order, mood))

    def tell(self, answer: Transmitted) -> None:
        self.world.after(self.delay_us, lambda: self.world.answer(answer))

    def emit(self, order: Transmit, window: Window, start_us: int) -> None:
        end_us = start_us + downlink_us(len(order.phy_payload), window.sf, window.bw_hz)
        self.emissions.append(Emission(order.downlink_id, start_us, end_us, window.freq_hz))

    def ask(self, order: Transmit, mood: str) -> None:
        raise NotImplementedError


class Forwarder(Gateway):
    queue: tx_queue.TxQueue

    def restart(self) -> None:
        self.queue = tx_queue.TxQueue()
        self.counter_us -= self.world.now_us

    def ask(self, order: Transmit, mood: str) -> None:
        world, window = self.world, order.window
        now_count = (self.counter_us + world.now_us) % WRAP
        wanted = tx_queue.Downlink(
            order.tmst_us, window.freq_hz, window.sf, window.bw_hz, 5, 14, True, False, False, 8,
            order.phy_payload,
        )  # fmt: skip
        if mood == "COLLISION_PACKET":  # another network server's downlink is in the way
            error = mood
        else:
            error = self.queue.enqueue(wanted, now_count, immediate=order.at_once)
            assert error in ("", "TOO_LATE", "TOO_EARLY"), "in the way of its own"
        if not error:
            ahead_us = (wanted.count_us - now_count) % WRAP
            self.emit(order, window, world.now_us + ahead_us)
            world.after(ahead_us, lambda: self.queue.remove(wanted))
        if mood == "NO_TX_ACK":
            world.after(
                10 * S, lambda: world.answer(Transmitted(order.downlink_id, self.eui, mood))
            )
        else:
            self.tell(Transmitted(order.downlink_id, self.eui, error))


class Station(Gateway):
    """Decides when a frame is due; drops without a word what its duty cycle forbids."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.free_us: dict[int, int] = {}
        self.off_air_us = 0

    def hear(self, late_us: int, **fields) -> UplinkFrame:
        xtime = (7 << 48) + self.counter_us + self.world.now_us
        heard = super().hear(late_us, **fields)
        return UplinkFrame(
            heard.phy_payload, heard.gateway_eui, 0, heard.freq_hz, heard.sf, heard.bw_hz,
            heard.rssi_dbm, heard.snr_db, heard.received_ms, (xtime, 0),
        )  # fmt: skip

    def ask(self, order: Transmit, mood: str) -> None:
        heard_us = order.context[0] - (7 << 48) - self.counter_us
        self.place(order, order.window, heard_us, mood)

    def place(self, order: Transmit, window: Window, heard_us: int, mood: str) -> None:
        now_us = self.world.now_us
        start_us = now_us + 20 * MS if order.at_once else heard_us + window.delay_us
        if start_us < now_us + 20 * MS:
            self.next_window(order, window, heard_us, mood)
        else:
            self.world.after(
                start_us - 20 * MS - now_us, lambda: self.due(order, window, heard_us, mood)
            )

    def due(self, order: Transmit, window: Window, heard_us: int, mood: str) -> None:
        start_us = self.world.now_us + 20 * MS
        divisor = next(
            (div for low, high, div in STATION_CLASSES if low <= window.freq_hz <= high), 1000
        )
        if mood == "COLLISION_PACKET":
            self.next_window(order, window, heard_us, "")
            return
        assert start_us >= self.free_us.get(divisor, start_us), "asked for what it will drop"
        assert start_us >= self.off_air_us, "in the way of its own"
        self.emit(order, window, start_us)
        end_us = self.emissions[-1].end_us
        self.free_us[divisor] = start_us + (end_us - start_us) * divisor
        self.off_air_us = end_us
        if mood == "NO_TX_ACK":
            self.give_up(order)
        else:
            used_fallback = window is not order.window
            answer = Transmitted(order.downlink_id, self.eui, "", used_fallback=used_fallback)
            self.world.after(20 * MS, lambda: self.tell(answer))

    def next_window(self, order: Transmit, window: Window, heard_us: int, mood: str) -> None:
        if order.fallback is None or window is order.fallback:
            self.give_up(order)
        else:
            self.place(order, order.fallback, heard_us, mood)

    def give_up(self, order: Transmit) -> None:
        answer = Transmitted(order.downlink_id, self.eui, "NO_DNTXED")
        self.world.after(8 * S, lambda: self.world.answer(answer))


class World:
    def __init__(self, delays_ms: tuple[int, int, int], counters_us: tuple[int, int, int]) -> None:
        self.scheduler = Scheduler(EU868)
        self.now_us = 5 * S
        self.agenda: list[tuple[int, int, Callable[[], None]]] = []
        self.turn = 0
        kinds = (Forwarder, Forwarder, Station)
        self.gateways = [
            kind(self, bytes(7) + bytes([index + 1]), counter_us, delay_ms)
            for index, (kind, counter_us, delay_ms) in enumerate(
                zip(kinds, counters_us, delays_ms, strict=True)
            )
        ]
        for forwarder in self.gateways[:2]:
            forwarder.queue = tx_queue.TxQueue()
        self.asked: dict[int, tuple[Downlink, int]] = {}
        self.ended: dict[int, DownlinkEnded] = {}

    def after(self, wait_us: int, do: Callable[[], None]) -> None:
        self.turn += 1
        heapq.heappush(self.agenda, (self.now_us + wait_us, self.turn, do))

    def answer(self, event: Downlink | Transmitted | Tick) -> None:
        for action in self.scheduler.handle(event, self.now_us // MS):
            if isinstance(action, Transmit):
                self.gateways[action.gateway_eui[-1] - 1].take(action)
            else:
                downlink_id = action.downlink.downlink_id
                assert downlink_id not in self.ended
                self.ended[downlink_id] = action

    def run(self, until_us: int) -> None:
        while True:
            deadline = self.scheduler.next_deadline()
            tick_us = until_us + 1 if deadline is None else max(self.now_us, deadline * MS)
            if self.agenda and self.agenda[0][0] <= min(until_us, tick_us):
                self.now_us, _, do = heapq.heappop(self.agenda)
                do()
            elif tick_us <= until_us:
                self.now_us = tick_us
                self.answer(Tick())
            else:
                self.now_us = until_us
                return

    def downlink(self, windows, receptions, length: int, wait_us: int, **fields) -> None:
        downlink_id = len(self.asked) + 1
        wanted = Downlink(
            downlink_id, "data", DEV_EUI, bytes(length), windows, tuple(receptions), **fields
        )
        self.asked[downlink_id] = (wanted, self.now_us)
        self.after(wait_us, lambda: self.answer(wanted))

    def judge(self) -> None:
        """The law: one at a time, no hour beyond its share, in the window, never twice."""
        emitted = Counter()
        for gateway in self.gateways:
            emissions = sorted(gateway.emissions, key=lambda one: one.start_us)
            for one, following in pairwise(emissions):
                assert one.end_us <= following.start_us
            for band in EU868.sub_bands:
                spans = [
                    (one.start_us, one.end_us)
                    for one in emissions
                    if band.low_hz <= one.freq_hz <= band.high_hz
                ]
                for _, hour_end in spans:
                    hour_us = 3600 * S
                    used = sum(
                        max(0, min(end, hour_end) - max(start, hour_end - hour_us))
                        for start, end in spans
                    )
                    assert used <= hour_us // band.duty_cycle
            for one in emissions:
                emitted[one.downlink_id] += 1
                wanted, heard_us = self.asked[one.downlink_id]
                assert wanted.at_once or any(
                    (one.start_us, one.freq_hz) == (heard_us + window.delay_us, window.freq_hz)
                    for window in wanted.windows
                )
                end = self.ended[one.downlink_id]
                assert end.gateway_eui == gateway.eui
                assert end.outcome in ("sent", "NO_TX_ACK", "NO_DNTXED")
                if end.outcome == "sent":
                    assert wanted.windows[end.window_index].freq_hz == one.freq_hz
        assert all(times == 1 for times in emitted.values())
        assert self.ended.keys() == self.asked.keys()
        assert all(
            downlink_id in emitted
            for downlink_id, end in self.ended.items()
            if end.outcome == "sent"
        )
        assert self.scheduler.next_deadline() is None


GATEWAYS = st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)
DELAYS_MS = st.integers(1, 150)
COUNTERS_US = st.integers(0, WRAP - 1)


class OnTheAir(RuleBasedStateMachine):
    @initialize(
        delays_ms=st.tuples(DELAYS_MS, DELAYS_MS, DELAYS_MS),
        counters_us=st.tuples(COUNTERS_US, COUNTERS_US, COUNTERS_US),
    )
    def begin(self, delays_ms, counters_us):
        self.world = World(delays_ms, counters_us)

    def up(self, heard_by, sf, freq_hz, snr_db, length, delay_s, priority, late_us):
        world = self.world
        heard = [
            world.gateways[index].hear(late_us, sf=sf, freq_hz=freq_hz, snr_db=snr_db - 4 * nth)
            for nth, index in enumerate(heard_by)
        ]
        windows = (
            Window(delay_s * S, freq_hz, sf, 125_000, 16, 12 - sf),
            Window((delay_s + 1) * S, 869_525_000, 12, 125_000, 29, 0),
        )
        wait_us = max(one.received_ms for one in heard) * MS + 200 * MS - world.now_us
        world.downlink(windows, heard, length, wait_us, priority=priority)

    @rule(
        heard_by=GATEWAYS,
        sf=st.integers(7, 12),
        freq_hz=st.sampled_from(CHANNELS_HZ),
        snr_db=st.integers(-15, 10),
        length=st.integers(12, 64),
        delay_s=st.sampled_from((1, 5)),
        priority=st.integers(0, 1),
        late_us=st.integers(0, 60_000),
        then_ms=st.one_of(st.integers(0, 150), st.integers(0, 1500)),
    )
    def uplink(self, then_ms, **fields):
        self.up(**fields)
        self.world.run(self.world.now_us + then_ms * MS)

    @rule(
        heard_by=GATEWAYS,
        sf=st.sampled_from((7, 10, 12)),
        freq_hz=st.sampled_from(CHANNELS_HZ),
        length=st.sampled_from((12, 64)),
        every_ms=st.integers(400, 9000),
        times=st.integers(2, 60),
    )
    def crowd(self, every_ms, times, **fields):
        for _ in range(times):
            self.up(**fields, snr_db=0, delay_s=1, priority=1, late_us=0)
            self.world.run(self.world.now_us + every_ms * MS)

    @rule(
        heard_by=GATEWAYS,
        length=st.integers(12, 64),
        priority=st.integers(0, 1),
        then_ms=st.integers(0, 3000),
    )
    def sign(self, heard_by, length, priority, then_ms):
        heard = [self.world.gateways[index].hear(0) for index in heard_by]
        windows = (Window(0, 869_525_000, 12, 125_000, 29),)
        self.world.downlink(windows, heard, length, 0, at_once=True, priority=priority)
        self.world.run(self.world.now_us + then_ms * MS)

    @rule(
        index=st.integers(0, 2),
        mood=st.sampled_from(("NOT_CONNECTED", "NO_TX_ACK", "COLLISION_PACKET")),
    )
    def disturb(self, index, mood):
        self.world.gateways[index].mood = mood

    @rule(index=st.integers(0, 1))
    def restart(self, index):
        """A forwarder starts anew, with nothing on its way."""
        self.world.run(self.world.now_us + 100 * S)
        self.world.gateways[index].restart()

    @rule(seconds=st.sampled_from((1, 30, 1000, 3000)))
    def rest(self, seconds):
        self.world.run(self.world.now_us + seconds * S)

    def teardown(self):
        if hasattr(self, "world"):
            self.world.run(self.world.now_us + 200 * S)
            self.world.judge()


TestOnTheAir = OnTheAir.TestCase
TestOnTheAir.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

"""The whole firmware of a container under cuts of its power and resets, and a network that
distrusts it. Runs on both runtimes.

`World.wake` runs one wake and can end it at any of its points: before, in the middle of and after
every write to RTC memory and storage, before and after every transmission, at every look at the
clock and every sleep. Between two of these nothing changes outside the processor, so a cut anywhere
else is one of them. `World.survive` then holds the device to what no cut may break:

- no DevNonce and no FCntUp comes twice, unless with the same octets; FCntUp never goes back;
- an old downlink is not obeyed again;
- the next downlink is heard, with the windows that the network believes in, without another join;
- what was acknowledged is in force: data rate, channels, repetitions, configuration;
- readings' numbers do not stand for two readings.
"""

from distrustful_network import (
    GENUINE,
    MINUTE_MS,
    REPLAY,
    SILENT,
    Network,
    Order,
    ViolationError,
)
from dual_device import Board as DualBoard
from dual_device import Clock as DualClock
from dual_device import Radio as DualRadio
from stoep_firmware import app
from stoep_firmware.board import DEEP
from stoep_firmware.radio import sx126x
from stoep_protocol import messages
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.airtime import time_on_air_us

POWER = "power"  # RTC memory is lost
RESET = "watchdog"  # RTC memory is kept

_PREAMBLE_SYMBOLS = 4  # of the eight that are sent, so many have to be heard


class PowerCut(BaseException):
    """Not an Exception: no firmware survives it."""


class Cut:
    """Where a wake is cut: at its point number `at`, counted from 0; None for not at all."""

    def __init__(self, at):
        self.at = at
        self.count = 0
        self.dead = False

    def here(self):
        if self.dead:
            raise PowerCut
        self.count += 1
        self.dead = self.count - 1 == self.at
        return self.dead

    def point(self):
        if self.here():
            raise PowerCut

    def write(self, put, old, new, torn):
        """Put the new octets in place of the old, or be cut in the middle of that."""
        self.point()
        for eighths in (1, 4, 7):
            if self.here():
                put(torn(old, new, len(new) * eighths // 8))
                raise PowerCut
        put(new)
        self.point()


class Clock(DualClock):
    def __init__(self, ms, cut):
        super().__init__()
        self.ms = ms
        self._cut = cut

    def now_ms(self):
        self._cut.point()
        return super().now_ms()


class Files:
    """Storage that tears what is being written: worse than littlefs. It may be full at times."""

    def __init__(self, content, cut, full):
        self._content = content
        self._cut = cut
        self._full = full

    def read(self, name):
        return self._content.get(name)

    def write(self, name, data):
        def put(octets):
            self._content[name] = octets

        if self._full():
            raise OSError(28)
        self._cut.write(put, b"", data, lambda old, new, at: new[:at])


class Board(DualBoard):
    def __init__(self, world, cut):
        super().__init__(**world.config)
        self.clock = Clock(world.ms, cut)
        self.storage = Files(world.files, cut, world.is_full)
        self.reason = world.reason
        self.distances_mm = [world.distance_mm()] * 5
        self._world = world
        self._cut = cut

    def rtc_memory(self, data=None):
        world = self._world
        if data is not None:
            assert len(data) <= 2048

            def put(octets):
                world.rtc = octets

            # The length is written after the octets (ports/esp32/machine_rtc.c).
            self._cut.write(
                put, world.rtc, bytes(data), lambda old, new, at: (new[:at] + old[at:])[: len(old)]
            )
        return world.rtc

    def random(self, below):
        return self._world.random(below)


class Radio(DualRadio):
    """Hears a downlink if its window has the frequency, the spreading factor and the time."""

    def __init__(self, world, board, cut):
        super().__init__(board.clock, None)
        self._network = world.network
        self._cut = cut

    def transmit(self, freq_hz, sf, bw_hz, power_dbm, data, timeout_ms):
        self._cut.point()
        self._end_ms = self.clock.ms + time_on_air_us(len(data), sf, bw_hz) // 1000 + 1
        self.event_ms = self._end_ms + self.clock.offset_ms
        self._outcome = sx126x.TX_DONE
        self._down = self._network.take(freq_hz, sf, bw_hz, data, self._end_ms)
        self._cut.point()

    def receive(self, freq_hz, sf, bw_hz, symbols, timeout_ms):
        begin_ms = self.clock.ms
        symbol_ms = (1 << sf) * 1000 / bw_hz
        self._outcome = sx126x.TIMEOUT
        end_ms = begin_ms + symbols * symbol_ms
        if self._down is not None:
            at_ms, down_hz, down_sf, down_bw_hz, octets = self._down
            latest_ms = end_ms - _PREAMBLE_SYMBOLS * symbol_ms
            if (down_hz, down_sf, down_bw_hz) == (freq_hz, sf, bw_hz) and (
                begin_ms <= at_ms <= latest_ms
            ):
                self._outcome = sx126x.RX_DONE
                end_ms = at_ms + time_on_air_us(len(octets), sf, bw_hz) // 1000
        self.event_ms = int(end_ms) + 1 + self.clock.offset_ms

    def outcome(self):
        return super().outcome() if self.interrupted() else 0

    def frame(self):
        return self._down[4], -80, 5


class World:
    """A device and its network. Nothing in it is of one wake only, so it can be copied."""

    def __init__(self, seed=1, region="EU868", **config):
        self.config = {"region": region, "interval_s": 3600, "adr": True}
        self.config.update(config)
        self.network = Network(regions.by_name(region), bytes(range(16, 32)))
        self.ms = 1000
        self.rtc = b""
        self.files = {}
        self.reason = POWER
        self.until_ms = 0
        self.full_once_in = 0
        self.most_wakes = 12  # until something has to have come of it
        self._random = seed
        self._wakes = 0

    def random(self, below):
        self._random = (self._random * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._random >> 8) % below if below > 0 else 0

    def is_full(self):
        if self.full_once_in == 0 or self.random(self.full_once_in):
            return False
        self.network.lenient = True
        return True

    def distance_mm(self):
        return 400 + self._wakes % 200 * 20

    def wake(self, at=None):
        """Run one wake; return how many points it has. Cut at one of them it returns None."""
        self._wakes += 1
        cut = Cut(at)
        board = Board(self, cut)
        radio = Radio(self, board, cut)
        made = sx126x.Sx126x
        sx126x.Sx126x = lambda *_: radio
        program = app.run(board)
        clock = board.clock
        try:
            while True:
                mode, until_ms = next(program)
                cut.point()
                until_ms -= clock.offset_ms
                if mode == DEEP:
                    break
                event_ms = radio.event_ms
                if event_ms is not None and event_ms - clock.offset_ms > clock.ms:
                    until_ms = min(until_ms, event_ms - clock.offset_ms)
                clock.ms = max(clock.ms, until_ms)
                cut.point()
        except PowerCut:
            self.ms = clock.ms
            return None
        finally:
            sx126x.Sx126x = made
            cut.dead = True  # what a generator's end would still do is not done
            program.close()
        if board.problems:
            raise board.problems[0]
        network = self.network
        if until_ms - clock.ms > network.interval_ms:
            raise ViolationError(f"sleeps {until_ms - clock.ms} ms of {network.interval_ms}")
        self.ms = clock.ms
        self.until_ms = until_ms
        return cut.count

    def sleep(self):
        self.ms = max(self.until_ms, self.ms)
        self.reason = "timer"

    def cut(self, kind):
        """Start anew after a cut."""
        self.reason = kind
        self.network.forget()
        if kind == POWER:
            self.rtc = b""
            self.ms = 1000

    def until(self, mode, enough):
        """Wake in this mode of the network until it has had enough."""
        self.network.mode = mode
        for _ in range(self.most_wakes):
            if enough():
                return
            self.wake()
            self.sleep()
        if not enough():
            raise ViolationError(f"nothing comes of {mode}")

    def survive(self, kind, number):
        """Be cut, then show that nothing is broken; the power fails once more on the way."""
        network = self.network
        for again in (kind, POWER):
            self.cut(again)
            number += 1
            network.window = 1 + number % 2
            replays = network.replays
            self.until(REPLAY, lambda replays=replays: network.replays > replays + network.patience)
            if again == RESET and number // 4 % 2:
                continue  # so that nothing but what the cut left is in storage
            network.window = 1 + number // 2 % 2
            answered = network.answered
            self.until(GENUINE, lambda answered=answered: network.answered > answered)
        self.until(GENUINE, lambda: not network.orders)


def script(name):
    """Return what happens in each wake of a life: (orders, mode, window, downlinks confirmed)."""
    region = regions.by_name(name)
    wide = region.has_fixed_channels  # DR3 is the fastest uplink of US915, DR8 its slowest downlink
    dr, rx2_dr, rx2_hz = (2, 10, 923_900_000) if wide else (4, 3, 868_700_000)
    adr = Order("LinkADRReq", (mc.LINK_ADR, dr, 1, 0xFF, 0, 2), believe={"dr": dr, "nb_trans": 2})
    rx = Order(
        "RXParamSetupReq",
        (mc.RX_PARAM_SETUP, 2, rx2_dr, rx2_hz),
        believe={"offset": 2, "rx2_dr": rx2_dr, "rx2_hz": rx2_hz},
    )
    timing = Order("RXTimingSetupReq", (mc.RX_TIMING, 5), believe={"delay_s": 5})
    again = Order("RXTimingSetupReq", (mc.RX_TIMING, 2), believe={"delay_s": 2})
    channel = [] if wide else [Order("NewChannelReq", (mc.NEW_CHANNEL, 8, 868_800_000, 0, 5))]
    half = Order(
        "configuration",
        configuration=messages.Configuration(interval_min=30, confirmed_every=2),
        believe={"interval_ms": 30 * MINUTE_MS},
    )
    quarter = Order(
        "configuration",
        configuration=messages.Configuration(interval_min=15),
        believe={"interval_ms": 15 * MINUTE_MS},
    )
    quiet = ([], SILENT, 1, False)
    return (
        [([], SILENT, 1, False), ([], GENUINE, 1, False)]
        + [([], GENUINE, 2, True), ([adr], GENUINE, 1, False), quiet, ([], GENUINE, 1, False)]
        + [([rx], GENUINE, 2, False), quiet, ([], GENUINE, 2, False)]
        + [([timing], GENUINE, 1, False), quiet, ([], GENUINE, 1, True)]
        + [(channel, GENUINE, 1, False), ([], GENUINE, 2, False)]
        + [([half], GENUINE, 1, True), quiet, quiet, ([], GENUINE, 1, False)]
        + [quiet] * 8
        + [([quarter, again], GENUINE, 1, False), quiet, ([], GENUINE, 2, False)]
        + [quiet] * 3
    )


def play(world, step):
    """Set the network to what a step of the script says."""
    orders, world.network.mode, world.network.window, world.network.confirmed_down = step
    world.network.orders = world.network.orders + orders


def live(world, steps, most_cuts, chance):
    """Live through the script with cuts in one of `chance` wakes, also in what follows a cut.

    Return how many there were. A fourth failed start in a row would end in safe mode.
    """
    cuts = failed = 0
    for step in steps:
        play(world, step)
        while cuts < most_cuts and world.random(chance) == 0:
            if world.wake(world.random(300)) is not None:
                world.sleep()
                break
            cuts += 1
            failed += 1
            kind = POWER if failed > 2 or world.random(2) else RESET
            if kind == POWER or world.random(2):
                failed = 0
                world.survive(kind, world.random(4))
            else:
                world.cut(kind)
            play(world, ([], step[1], step[2], step[3]))
        else:
            world.wake()
            failed = 0
            world.sleep()
    return cuts

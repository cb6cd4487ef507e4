"""A chip on a bench: an engine, an air without chance, and a master that speaks in bytes."""

from stoep_firmware.board import LIGHT, Board
from stoep_hardware import board_data
from stoep_hardware.air import Air, Frame, Listen
from stoep_hardware.chips.sx1262 import Sx1262
from stoep_hardware.cpython_machine import make_esp32, make_machine, make_time
from stoep_hardware.engine import US_PER_MS, Engine
from stoep_hardware.handling import Handling
from stoep_hardware.sim_board import SimBoard

BOARD = "heltec_wifi_lora_32_v3"
UPLINK = Listen(868_100_000, 7, 125_000, 0x34, iq_inverted=False)


def quiet_air(engine):
    return Air(engine, shadowing_db=0.0, fading_db=0.0)


class Ear:
    """A second radio that writes down what it hears, and can speak."""

    def __init__(self, engine, air, *listens, position_m=(100.0, 0.0)):
        self.position_m = position_m
        self.engine = engine
        self.air = air
        self.heard = []
        air.add(self, demodulators=8)
        if listens:
            air.listen(self, listens)

    def on_preamble(self, frame, t_us):
        pass

    def on_frame(self, frame, intact, rssi_dbm, snr_db, t_us):
        self.heard.append((frame, intact))

    def say_at(self, t_us, payload, *, length_us=40_000, **changes):
        """Send a LoRaWAN downlink, or what `changes` make of it."""
        options = {
            "freq_hz": 868_100_000,
            "sf": 7,
            "bw_hz": 125_000,
            "coding_rate": 5,
            "sync_word": 0x34,
            "iq_inverted": True,
            "crc_on": False,
            "preamble": 8,
            "implicit": False,
            "power_dbm": 14.0,
        } | changes
        frame = Frame(payload=payload, start_us=t_us, end_us=t_us + length_us, **options)
        self.engine.at(t_us, lambda: self.air.transmit(self, frame))


class RawMaster:
    """Talks to a radio in whole transactions."""

    def __init__(self, kind, engine=None, **chip):
        self.engine = engine or Engine()
        self.air = quiet_air(self.engine)
        self.chip = kind(self.engine, self.air, **chip)
        self.t_us = 0

    def go(self, t_us):
        """Let the world go on to `t_us`."""
        self.engine.run_until(t_us)
        self.t_us = max(self.t_us, t_us)

    def raw(self, *octets):
        """One transaction, without a look at the chip's state."""
        self.t_us += 5
        self.chip.set_nss(False, self.t_us)
        answer = self.chip.transfer(bytes(octets), self.t_us)
        self.t_us += 1 + len(octets)
        self.chip.set_nss(True, self.t_us)
        return answer


class EmptyBus:
    """SPI with nobody at it; MISO has this level."""

    def __init__(self, level):
        self.level = level

    def write(self, out):
        pass

    def readinto(self, buffer, write=0):
        buffer[:] = bytes((self.level,)) * len(buffer)


class SpiMaster(RawMaster):
    """Talks to an SX1262, waiting for BUSY unless told not to."""

    def __init__(self, engine=None, **chip):
        super().__init__(Sx1262, engine, **chip)
        self.wait()

    def wait(self):
        until_us = self.t_us + 100_000
        while self.chip.busy(self.t_us):
            self.t_us += 10
            assert self.t_us < until_us, "BUSY stays high"

    def send(self, *octets):
        answer = self.raw(*octets)
        self.wait()
        return answer

    def read(self, *octets, count):
        return self.send(*octets, *bytes(count))[len(octets) :]

    def status(self):
        """(chip mode, command status) of GetStatus."""
        octet = self.send(0xC0, 0)[1]
        return octet >> 4 & 7, octet >> 1 & 7

    def errors(self):
        return int.from_bytes(self.read(0x17, 0, count=2), "big")

    def irq(self):
        return int.from_bytes(self.read(0x12, 0, count=2), "big")

    # the steps of a set-up, each on its own so that a test can leave one out

    STEPS = (
        ("tcxo", (0x97, 2, 0, 1, 0x40)),
        ("clear_errors", (0x07, 0, 0)),
        ("calibrate", (0x89, 0x7F)),
        ("image", (0x98, 0xD7, 0xDB)),
        ("dio2", (0x9D, 1)),
        ("dcdc", (0x96, 1)),
        ("packet_type", (0x8A, 1)),
        ("sync_word", (0x0D, 0x07, 0x40, 0x34, 0x44)),
        ("bases", (0x8F, 0, 0)),
        ("frequency", (0x86, 0x36, 0x41, 0x99, 0x9A)),
        ("modulation", (0x8B, 7, 4, 1, 0)),
        ("pa", (0x95, 2, 2, 0, 1)),
        ("tx_params", (0x8E, 22, 2)),
        ("packet", (0x8C, 0, 8, 0, 3, 1, 0)),
        ("errata_15_1", (0x0D, 0x08, 0x89, 0x05)),
        ("errata_15_2", (0x0D, 0x08, 0xD8, 0xDE)),
        ("buffer", (0x0E, 0, 0x61, 0x62, 0x63)),
        ("irq", (0x08, 0x03, 0xFF, 0x02, 0x03, 0, 0, 0, 0)),
    )

    RX = (("packet", (0x8C, 0, 8, 0, 255, 0, 1)), ("buffer", (0x0D, 0x07, 0x36, 0x09)))

    def set_up(self, *without, rx=False, **instead):
        """Prepare an uplink of b"abc", or with `rx` a downlink."""
        steps = dict(self.STEPS) | dict(self.RX if rx else ()) | instead
        assert len(steps) == len(self.STEPS)
        for name, octets in steps.items():
            if name not in without:
                self.send(*octets)


class Bench:
    """A board with chips, and the firmware's own board and drivers on it, without its program."""

    def __init__(
        self,
        *,
        kind="bin",
        board=BOARD,
        distance=None,
        field=None,
        seed=0,
        without=(),
        radio=None,
        sensor=None,
        parts=None,
        **options,
    ):
        self.engine = Engine(seed)
        self.air = quiet_air(self.engine)
        data = board_data.load(board)
        data.radio.update(radio or {})
        for pin in without:
            del data.pins[pin]
        self.config = device_config(kind=kind, board=data.wiring())
        if sensor is not None:
            self.config["sensor"] = sensor
        self.handling = None
        if parts is not None:
            self.config.update(parts)
            self.handling = options["handling"] = Handling(self.engine, "1")
        self.hardware = SimBoard(
            self.engine,
            self.air,
            data,
            self.config,
            distance=distance,
            field=field,
            rtc_ppm=0.0,
            keep_states=True,
            **options,
        )
        self.mcu = self.hardware.esp32
        self.chip = self.hardware.radio
        self.mcu.power_on()
        self.engine.run_until(data.boot_us)
        self.board = Board(
            make_machine(self.mcu),
            make_esp32(self.mcu),
            make_time(self.mcu, lambda: False),
            self.mcu.entropy,
            None,
            None,
            self.config,
        )

    def sleep_until_radio(self, longest_ms=20_000):
        """Light sleep as the firmware does it; returns whether the radio ended it."""
        self.board.arm(0)
        ended = []
        self.mcu.on_resume = lambda: ended.append(True)
        self.mcu.begin_light(longest_ms)
        while not ended:
            self.engine.run_until(self.engine.next_us())
        return any(self.chip.line(name) for name in self.chip.LINES)

    def pause(self, ms):
        """Light sleep without a wake pin."""
        ended = []
        self.mcu.wake_on_ext1((), True)
        self.mcu.on_resume = lambda: ended.append(True)
        self.mcu.begin_light(ms)
        while not ended:
            self.engine.run_until(self.engine.next_us())

    def drive(self, program):
        """Run a driver's generator, each of its waits by the clock and as deep as it asks."""
        while True:
            try:
                mode, until_ms = next(program)
            except StopIteration as end:
                return end.value
            ms = max(0, until_ms - self.board.clock.now_ms())
            if mode == LIGHT and ms:
                self.pause(ms)
            else:
                self.mcu.advance(ms * US_PER_MS)
                self.engine.run_until(self.mcu.t_us)


def device_config(kind="bin", number=1, **changes):
    """config.json of a device."""
    return {
        "kind": kind,
        "dev_eui": f"70b3d57ed00000{number:02x}",
        "join_eui": "70b3d57ed0000000",
        "app_key": "2b7e151628aed2a6abf7158809cf4f3c",
        "region": "EU868",
        "interval_s": 3600,
        "history": 3,
        "confirmed_every": 0,
        "board": board_data.load(BOARD).wiring(),
    } | changes

"""A device of real firmware on a board of chip models, its world, and the network that hears it."""

from chip_bench import BOARD, Ear, device_config, quiet_air
from dual_device import CHANNELS_HZ, Network, new_key
from stoep_hardware import board_data
from stoep_hardware.air import Listen
from stoep_hardware.engine import US_PER_S, Engine
from stoep_hardware.handling import Handling
from stoep_hardware.sim_board import SimBoard
from stoep_hardware.world import Bay, Weather
from stoep_protocol import messages
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan.airtime import time_on_air_us

HOUR_US = 3_600 * US_PER_S
RX2_HZ, RX2_SF = 869_525_000, 12


class Far(Ear):
    """A gateway and its network server in one: answers at the microsecond, or `late_us` after."""

    def __init__(self, engine, air, config):
        listens = [
            Listen(freq_hz, sf, 125_000, 0x34, iq_inverted=False)
            for freq_hz in CHANNELS_HZ
            for sf in range(7, 13)
        ]
        super().__init__(engine, air, *listens)
        self.network = Network()
        self.network.app_key = new_key(bytes.fromhex(config["app_key"]))
        self.network.dev_eui = bytes.fromhex(config["dev_eui"])
        self.network.join_eui = bytes.fromhex(config["join_eui"])
        self.uplinks = []  # (t_us, frame on the air, message or None, LoRaWAN frame or None)
        self.down = []
        self.deaf = False
        self.second = False
        self.late_us = 0

    def on_frame(self, frame, intact, rssi_dbm, snr_db, t_us):
        assert intact
        if self.deaf:
            return
        if frame.payload[0] == frames.JOIN_REQUEST:
            self.uplinks.append((t_us, frame, None, None))
            self.answer(frame, self.network.accept(frame.payload), 5)
            return
        data, payload = self.network.open(frame.payload)
        message = None if data.f_port is None else messages.decode(data.f_port, payload)
        self.uplinks.append((t_us, frame, message, data))
        if self.down:
            self.answer(frame, self.network.down(**self.down.pop(0)), 1)
        elif data.confirmed:
            self.answer(frame, self.network.down(ack=True), 1)

    def answer(self, frame, payload, delay_s):
        freq_hz, sf = frame.freq_hz, frame.sf
        if self.second:
            delay_s, freq_hz, sf = delay_s + 1, RX2_HZ, RX2_SF
        self.say_at(
            frame.end_us + delay_s * US_PER_S + self.late_us,
            payload,
            freq_hz=freq_hz,
            sf=sf,
            length_us=time_on_air_us(len(payload), sf, 125_000, crc=False),
        )

    @property
    def messages(self):
        return [message for _, _, message, _ in self.uplinks if message is not None]


class Place:
    """One device, its world and its network."""

    def __init__(
        self, runtime, *, kind="bin", seed=1, field=True, rtc_ppm=0.0, board=BOARD, **config
    ):
        self.engine = Engine(seed)
        self.air = quiet_air(self.engine)
        data = board_data.load(board)
        self.config = device_config(kind=kind, **config)
        self.config["board"] = data.wiring(config.get("sensor") if kind == "bay" else None)
        self.distance = 800
        self.bay = Bay(self.engine, "1", Weather(0)) if kind == "bay" else None
        self.handling = Handling(self.engine, "1") if kind == "bin" else None
        self.board = SimBoard(
            self.engine,
            self.air,
            data,
            self.config,
            distance=self if kind == "bin" or "second" in config else None,
            field=self.bay if field else None,
            handling=self.handling,
            rtc_ppm=rtc_ppm,
            keep_states=True,
        )
        self.far = Far(self.engine, self.air, self.config)
        self.device = runtime(self.engine, self.board, self.config)
        self.device.start(0)

    def distance_mm(self, t_us):
        return self.distance

    def run(self, hours=0.0, seconds=0.0):
        self.engine.run_until(self.engine.now_us + round(hours * HOUR_US + seconds * US_PER_S))

    def check(self):
        assert self.board.violations == []

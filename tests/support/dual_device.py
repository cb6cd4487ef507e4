"""A device's surroundings for tests on both runtimes: keys, a network end, a radio, a board."""

from stoep_firmware import clock
from stoep_firmware.board import DEEP
from stoep_firmware.radio import RX_DONE, TIMEOUT, TX_DONE, RadioError
from stoep_protocol.lorawan import crypto, frames, network_frames, regions
from stoep_protocol.lorawan.airtime import time_on_air_us

try:
    import cryptolib

    class Aes:
        """One `cryptolib.aes` works in one direction only; a server needs both."""

        def __init__(self, key):
            self.encrypt = cryptolib.aes(key, 1).encrypt
            self.decrypt = cryptolib.aes(key, 1).decrypt

except ImportError:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    class Aes:
        def __init__(self, key):
            cipher = Cipher(algorithms.AES(key), modes.ECB())
            self.encrypt = cipher.encryptor().update
            self.decrypt = cipher.decryptor().update


JOIN_EUI = bytes(range(8))
DEV_EUI = bytes(range(8, 16))
APP_KEY = bytes(range(16, 32))
CHANNELS_HZ = regions.EU868.default_channels_hz + regions.EU868.extra_channels_hz


def new_key(octets):
    return crypto.Key(Aes(octets))


class Network:
    """The other end: opens what a device sends, makes what it should hear."""

    def __init__(self):
        self.dev_eui = DEV_EUI
        self.join_eui = JOIN_EUI
        self.app_key = new_key(APP_KEY)
        self.app_nonce = 0
        self.dev_addr = 0x26012345
        self.f_cnt_up = -1
        self.f_cnt_down = 0
        self.dev_nonces = []
        self.heard = []  # (frame, plain payload) of genuine data frames, repetitions too

    def accept(self, phy_payload, rx1_dr_offset=0, rx2_dr=0, rx_delay_s=1, cf_list=None):
        """Check a join-request and return the join-accept."""
        request = frames.parse(phy_payload)
        assert isinstance(request, network_frames.JoinRequest)
        assert network_frames.verify_join_request(phy_payload, self.app_key)
        assert (request.dev_eui, request.join_eui) == (self.dev_eui, self.join_eui)
        assert request.dev_nonce not in self.dev_nonces
        self.dev_nonces.append(request.dev_nonce)
        self.app_nonce += 1
        nwk_s_key, app_s_key = crypto.derive_session_keys(
            self.app_key, self.app_nonce, 0x13, request.dev_nonce
        )
        self.nwk_s_key = new_key(nwk_s_key)
        self.app_s_key = new_key(app_s_key)
        self.f_cnt_up = -1
        self.f_cnt_down = 0
        if cf_list is None:
            cf_list = regions.EU868.encode_cf_list(regions.EU868.extra_channels_hz)
        return network_frames.encode_join_accept(
            self.app_key,
            self.app_nonce,
            0x13,
            self.dev_addr,
            rx1_dr_offset,
            rx2_dr,
            rx_delay_s,
            cf_list,
        )

    def open(self, phy_payload):
        """Check a data frame; return it and its plain payload."""
        frame = frames.parse(phy_payload)
        assert isinstance(frame, frames.DataFrame)
        assert frame.dev_addr == self.dev_addr
        f_cnt = frames.full_f_cnt(self.f_cnt_up + 1, frame.f_cnt)
        assert frames.verify(frame, self.nwk_s_key, f_cnt)
        self.f_cnt_up = max(self.f_cnt_up, f_cnt)
        payload = b""
        if frame.f_port is not None:
            key = self.app_s_key if frame.f_port else self.nwk_s_key
            payload = frames.decrypt_payload(frame, key, f_cnt)
        self.heard.append((frame, payload))
        return frame, payload

    def down(self, confirmed=False, ack=False, f_pending=False, f_opts=b"", f_port=None, data=b""):
        """Return the next downlink."""
        f_cnt = self.f_cnt_down
        self.f_cnt_down += 1
        return frames.encode_data(
            frames.CONFIRMED_DOWN if confirmed else frames.UNCONFIRMED_DOWN,
            self.dev_addr,
            f_cnt,
            self.nwk_s_key,
            self.app_s_key,
            ack=ack,
            f_pending=f_pending,
            f_opts=f_opts,
            f_port=f_port,
            payload=data,
        )


class Radio:
    """A radio that is heard by `answer(freq_hz, sf, phy_payload)`, which may return a downlink.

    The downlink comes in RX1, or in RX2 if `second`. Time moves only while the program sleeps.
    """

    def __init__(self, clock, answer):
        self.clock = clock
        self.answer = answer
        self.second = False
        self.broken = None  # an error code
        self.windows = []  # (begin ms after TxDone, freq_hz, sf, symbols)
        self.sent = []  # (ms, freq_hz, sf, power_dbm, octets)
        self.state = "off"
        self.event_ms = None
        self._down = None
        self._end_ms = 0
        self._outcome = 0

    def start(self, freq_hz):
        if self.broken is not None:
            raise RadioError(self.broken)
        self.state = "standby"

    def transmit(self, freq_hz, sf, bw_hz, power_dbm, data, timeout_ms):
        assert self.state != "off"
        now_ms = self.clock.now_ms()
        airtime_ms = time_on_air_us(len(data), sf, bw_hz) // 1000 + 1
        assert timeout_ms > airtime_ms
        self.sent.append((now_ms, freq_hz, sf, power_dbm, data))
        self.event_ms = self._end_ms = now_ms + airtime_ms
        self._outcome = TX_DONE
        self._down = self.answer(freq_hz, sf, data)
        self._window = 0

    def receive(self, freq_hz, sf, bw_hz, symbols, timeout_ms):
        now_ms = self.clock.now_ms()
        self.windows.append((now_ms - self._end_ms, freq_hz, sf, symbols))
        self._window += 1
        down = self._down if self._window == (2 if self.second else 1) else None
        self._outcome = TIMEOUT if down is None else RX_DONE
        self.event_ms = now_ms + (symbols << sf) * 1000 // bw_hz
        self.state = "receive"

    def interrupted(self):
        return self.event_ms is not None and self.clock.now_ms() >= self.event_ms

    def outcome(self):
        self.event_ms = None
        return self._outcome

    def frame(self):
        return self._down, -80, 5

    def sleep(self, warm):
        self.state = "warm" if warm else "cold"


class Clock(clock.Clock):
    """The firmware's clock on an RTC that shows `ms`; `anew` is what each start makes of it."""

    def __init__(self):
        self.ms = 1000
        self.anew()

    def anew(self):
        super().__init__(lambda: self.ms * 1_000_000)


class Files:
    """Storage that fails when told to; `writes` counts."""

    def __init__(self):
        self.content = {}
        self.writes = 0
        self.broken = False

    def read(self, name):
        return self.content.get(name)

    def write(self, name, data):
        if self.broken:
            raise OSError(28)
        self.writes += 1
        self.content[name] = data


class Uart:
    """A serial line on which the A02YYUW's frames of these distances come in, one a look."""

    def __init__(self, distances_mm):
        self._frames = []
        for distance_mm in distances_mm:
            frame = bytes([0xFF, distance_mm >> 8, distance_mm & 0xFF])
            self._frames.append(frame + bytes([sum(frame) & 0xFF]))

    def any(self):
        return len(self._frames[0]) if self._frames else 0

    def read(self, count):
        return self._frames.pop(0)


class Board:
    """A container's board without pins: what link.py and app.py use of one."""

    def __init__(self, **config):
        self.clock = Clock()
        self.wiring = {"id": 1, "radio": {"chip": "sx1262", "antenna_dbi": 2}}
        self.config = {
            "kind": "bin",
            "dev_eui": "08090a0b0c0d0e0f",
            "join_eui": "0001020304050607",
            "app_key": "101112131415161718191a1b1c1d1e1f",
            "region": "EU868",
            "interval_s": 3600,
        }
        self.config.update(config)
        self.storage = Files()
        self.new_aes = Aes
        self.reason = "power"
        self.distances_mm = [800] * 5
        self.powered = False
        self.problems = []
        self.on_problem = self.problems.append
        self._rtc = b""
        self.lid = b""

    def rtc_memory(self, data=None):
        if data is not None:
            assert len(data) <= 2048  # of ESP32's RTC memory
            self._rtc = data
        return self._rtc

    def wake_reason(self):
        return self.reason

    def random(self, below):
        return 0

    def sensor_power(self, on):
        self.powered = on

    def quiet(self):
        pass

    def up_ms(self):
        return 418

    def feed(self):
        pass

    def sensor_int(self):
        return False

    def battery_mv(self):
        return 3600

    def uart(self, baudrate):
        assert baudrate == 9600
        return Uart(self.distances_mm if self.powered else [])

    def spi(self):
        return None

    def radio_pins(self):
        return None

    delay_us = None


def run(clock, program, radio=None):
    """Drive a program to its end, sleeping for it; return what it returns and what it yielded."""
    yielded = []
    while True:
        try:
            mode, until_ms = next(program)
        except StopIteration as end:
            return end.value, yielded
        yielded.append((mode, until_ms))
        if mode == DEEP:
            assert next(program, None) is None, "DEEP is the last"
            return None, yielded
        assert until_ms > clock.now_ms(), "a sleep that does not end is a busy loop"
        if radio is not None and radio.event_ms is not None and radio.event_ms > clock.now_ms():
            until_ms = min(until_ms, radio.event_ms)
        clock.ms = until_ms - clock.offset_ms

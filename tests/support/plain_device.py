"""A LoRaWAN device without firmware or chip: joins, sends bin reports, counts the answers.

For tests of what lies behind the antenna, where hundreds of boards with firmware would only take
time. It shares the codec with the gateway; that the codec is right is shown elsewhere.
"""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from stoep_hardware.air import SYNC_WORD_PUBLIC, Air, Frame, Listen
from stoep_hardware.engine import US_PER_S, Engine
from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import frames, network_frames
from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.crypto import Key, derive_session_keys
from stoep_protocol.messages import BinReport, encode

JOIN_CHANNELS_HZ = (868_100_000, 868_300_000, 868_500_000)
RX2_HZ = 869_525_000


class Aes:
    """AES-128 in ECB mode."""

    def __init__(self, key):
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())

    def encrypt(self, data):
        context = self._cipher.encryptor()
        return context.update(bytes(data)) + context.finalize()

    def decrypt(self, data):
        context = self._cipher.decryptor()
        return context.update(bytes(data)) + context.finalize()


class PlainDevice:
    """Joins when started, again after a lost answer, then sends every `interval_s`."""

    runtime = "none"

    def __init__(
        self,
        engine: Engine,
        air: Air,
        position_m,
        dev_eui,
        join_eui,
        app_key,
        *,
        interval_s=600,
        confirmed_every=0,
        distance_mm=lambda t_us: 1000,
    ):
        self.engine = engine
        self.air = air
        self.position_m = position_m
        self.dev_eui = dev_eui
        self.join_eui = join_eui
        self.app_key = Key(Aes(app_key))
        self.interval_us = interval_s * US_PER_S
        self.confirmed_every = confirmed_every
        self.distance_mm = distance_mm
        self.random = engine.random(f"plain/{dev_eui.hex()}")
        self.dev_nonce = 0
        self.session = None  # (nwk_s_key, app_s_key, dev_addr)
        self.f_cnt_up = 0
        self.sent = []  # (t_us, f_cnt, phy_payload)
        self.downlinks = []
        self._awaits = None
        air.add(self)

    def start(self, at_us):
        self.engine.at(at_us, self._join)

    def close(self):
        pass

    def _join(self):
        self.session = None
        phy_payload = network_frames.encode_join_request(
            self.app_key, self.join_eui, self.dev_eui, self.dev_nonce
        )
        self._awaits = self.dev_nonce
        self.dev_nonce += 1
        freq_hz = self.random.choice(JOIN_CHANNELS_HZ)
        ends_us = self._transmit(freq_hz, phy_payload)
        self._open_windows(freq_hz, ends_us, 5)
        retry_us = round(self.random.uniform(15, 60) * US_PER_S)
        self.engine.at(ends_us + retry_us, self._join_again)

    def _join_again(self):
        if self.session is None:
            self._join()

    def _send(self):
        nwk_s_key, app_s_key, dev_addr = self.session
        report = BinReport(
            sequence=self.f_cnt_up % 1024,
            distance_mm=self.distance_mm(self.engine.now_us),
            quality=0,
            flags=0,
            temperature_c=20,
            flaps=None,
        )
        f_port, payload = encode(report)
        is_confirmed = bool(self.confirmed_every) and self.f_cnt_up % self.confirmed_every == 0
        phy_payload = frames.encode_data(
            frames.CONFIRMED_UP if is_confirmed else frames.UNCONFIRMED_UP,
            dev_addr,
            self.f_cnt_up,
            nwk_s_key,
            app_s_key,
            f_port=f_port,
            payload=payload,
        )
        freq_hz = self.random.choice(JOIN_CHANNELS_HZ)
        self.sent.append((self.engine.now_us, self.f_cnt_up, phy_payload))
        self.f_cnt_up += 1
        self._open_windows(freq_hz, self._transmit(freq_hz, phy_payload), 1)
        self.engine.after(self.interval_us, self._send)

    def _transmit(self, freq_hz, phy_payload):
        now_us = self.engine.now_us
        ends_us = now_us + time_on_air_us(len(phy_payload), 7, 125_000)
        self.air.transmit(
            self,
            Frame(
                freq_hz=freq_hz,
                sf=7,
                bw_hz=125_000,
                coding_rate=5,
                sync_word=SYNC_WORD_PUBLIC,
                iq_inverted=False,
                crc_on=True,
                preamble=8,
                implicit=False,
                power_dbm=14.0,
                payload=phy_payload,
                start_us=now_us,
                end_us=ends_us,
            ),
        )
        return ends_us

    def _open_windows(self, freq_hz, ends_us, delay_s):
        first = Listen(freq_hz, 7, 125_000, SYNC_WORD_PUBLIC, iq_inverted=True)
        second = Listen(RX2_HZ, 12, 125_000, SYNC_WORD_PUBLIC, iq_inverted=True)
        rx1_us, rx2_us = ends_us + delay_s * US_PER_S, ends_us + (delay_s + 1) * US_PER_S
        self.engine.at(rx1_us - 1_000, lambda: self.air.listen(self, (first,)))
        self.engine.at(rx2_us - 1_000, lambda: self.air.listen(self, (second,)))
        self.engine.at(rx2_us + 4 * US_PER_S, lambda: self.air.stop(self))

    def on_preamble(self, frame, t_us):
        pass

    def on_frame(self, frame, intact, rssi_dbm, snr_db, t_us):
        if not intact:
            return
        if self.session is not None:
            self.downlinks.append((t_us, frame.payload))
            return
        try:
            accept = network_frames.decode_join_accept(frame.payload, self.app_key)
        except DecodeError:
            return  # another device's
        nwk, app = derive_session_keys(self.app_key, accept.app_nonce, accept.net_id, self._awaits)
        self.session = (Key(Aes(nwk)), Key(Aes(app)), accept.dev_addr)
        self.f_cnt_up = 0
        self.engine.after(round(self.random.uniform(5, 30) * US_PER_S), self._send)


def plain_device(street, planned):
    """Make a device for a `Street`, in place of one with firmware."""
    container = street.containers.get(planned.id)
    device = PlainDevice(
        street.engine,
        street.air,
        planned.position_m,
        planned.board.dev_eui,
        planned.board.join_eui,
        planned.board.app_key,
        interval_s=street.bin_interval_s,
        distance_mm=container.distance_mm if container else lambda t_us: 1000,
    )
    return device, device

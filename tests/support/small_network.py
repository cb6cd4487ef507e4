"""A network end on the simulated air, straight from the codec: joins devices and takes uplinks.

No gateway, no forwarder, no server: for tests of devices, which must not depend on those.
"""

from plain_device import Aes
from stoep_hardware.air import Frame, Listen
from stoep_hardware.engine import US_PER_S
from stoep_protocol.lorawan import frames, network_frames
from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.crypto import Key, derive_session_keys
from stoep_protocol.messages import decode

CHANNELS_HZ = (868_100_000, 868_300_000, 868_500_000)
RX2 = (869_525_000, 12)


class SmallNetwork:
    """Answers joins, and confirmed uplinks with an acknowledgement, in RX1 or RX2."""

    def __init__(self, engine, air, configs, *, window=1, position_m=(300.0, 0.0)):
        self.engine = engine
        self.air = air
        self.position_m = position_m
        self.window = window
        self.is_deaf = False
        self.keys = {
            bytes.fromhex(config["dev_eui"]): Key(Aes(bytes.fromhex(config["app_key"])))
            for config in configs
        }
        self.sessions = {}  # dev_addr: [dev_eui, nwk_s_key, app_s_key, next f_cnt_up, f_cnt_down]
        self.heard = []  # (start_us, freq_hz, sf, phy_payload)
        self.joins = []  # (t_us, dev_eui, dev_nonce)
        self.uplinks = []  # (t_us, dev_eui, f_cnt, message)
        self.last = {}  # dev_eui: phy_payload
        self.pending = {}  # dev_eui: (f_port, payload) to send with the next answer
        air.add(self, demodulators=16)
        air.listen(
            self,
            tuple(
                Listen(freq_hz, sf, 125_000, 0x34, iq_inverted=False)
                for freq_hz in CHANNELS_HZ
                for sf in range(7, 13)
            ),
        )

    def on_preamble(self, frame, t_us):
        pass

    def on_frame(self, frame, intact, rssi_dbm, snr_db, t_us):
        if not intact or self.is_deaf:
            return
        assert frame.crc_on
        self.heard.append((frame.start_us, frame.freq_hz, frame.sf, frame.payload))
        message = frames.parse(frame.payload)
        if isinstance(message, network_frames.JoinRequest):
            self._join(frame, message)
        else:
            self._uplink(frame, message)

    def _join(self, frame, request):
        key = self.keys[request.dev_eui]
        assert network_frames.verify_join_request(frame.payload, key)
        assert (request.dev_eui, request.dev_nonce) not in {join[1:] for join in self.joins}
        self.joins.append((frame.end_us, request.dev_eui, request.dev_nonce))
        dev_addr = 0x26010000 + len(self.joins)
        app_nonce = len(self.joins)
        nwk_s_key, app_s_key = derive_session_keys(key, app_nonce, 0x13, request.dev_nonce)
        self.sessions[dev_addr] = [
            request.dev_eui,
            Key(Aes(nwk_s_key)),
            Key(Aes(app_s_key)),
            0,
            0,
        ]
        accept = network_frames.encode_join_accept(key, app_nonce, 0x13, dev_addr, 0, 0, 1)
        self._answer(frame, accept, 5)

    def _uplink(self, frame, uplink):
        session = self.sessions[uplink.dev_addr]
        dev_eui, nwk_s_key, app_s_key, next_f_cnt, f_cnt_down = session
        f_cnt = frames.full_f_cnt(next_f_cnt, uplink.f_cnt)
        assert frames.verify(uplink, nwk_s_key, f_cnt)
        if f_cnt < next_f_cnt:
            assert frame.payload == self.last[dev_eui], "one counter for two frames"
        self.last[dev_eui] = frame.payload
        session[3] = f_cnt + 1
        if uplink.f_port:
            payload = frames.decrypt_payload(uplink, app_s_key, f_cnt)
            self.uplinks.append((frame.end_us, dev_eui, f_cnt, decode(uplink.f_port, payload)))
        pending = self.pending.pop(dev_eui, None)
        if uplink.confirmed or pending:
            f_port, payload = pending or (None, b"")
            answer = frames.encode_data(
                frames.UNCONFIRMED_DOWN,
                uplink.dev_addr,
                f_cnt_down,
                nwk_s_key,
                app_s_key,
                ack=uplink.confirmed,
                f_port=f_port,
                payload=payload,
            )
            session[4] += 1
            self._answer(frame, answer, 1)

    def _answer(self, uplink, phy_payload, delay_s):
        freq_hz, sf = (uplink.freq_hz, uplink.sf) if self.window == 1 else RX2
        start_us = uplink.end_us + (delay_s + self.window - 1) * US_PER_S
        frame = Frame(
            freq_hz=freq_hz,
            sf=sf,
            bw_hz=125_000,
            coding_rate=5,
            sync_word=0x34,
            iq_inverted=True,
            crc_on=False,
            preamble=8,
            implicit=False,
            power_dbm=14.0,
            payload=phy_payload,
            start_us=start_us,
            end_us=start_us + time_on_air_us(len(phy_payload), sf, 125_000, crc=False),
        )
        self.engine.at(start_us, lambda: self.air.transmit(self, frame))

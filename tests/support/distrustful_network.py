"""A network that distrusts a device: it believes what it is told, and compares. Both runtimes."""

from dual_device import Aes
from stoep_protocol import messages
from stoep_protocol.lorawan import crypto, frames, network_frames
from stoep_protocol.lorawan import mac_commands as mc

MINUTE_MS = 60_000
REPLAY = "replay"
GENUINE = "genuine"
SILENT = "silent"

_keys = {}


def key_of(octets):
    if octets not in _keys:
        _keys[octets] = crypto.Key(Aes(octets))
    return _keys[octets]


class ViolationError(Exception):
    """The device did what it must never do."""


class Order:
    """What the network wants of the device, until it has been answered."""

    def __init__(self, name, f_opts=(), configuration=None, believe=None):
        self.name = name
        self.f_opts = f_opts
        self.configuration = configuration
        self.believe = believe or {}


class NetworkSession:
    def __init__(self, number, nwk_s_key, app_s_key, region):
        self.dev_addr = 0x26000000 + number
        self.nwk_s_key = nwk_s_key
        self.app_s_key = app_s_key
        self.used = False
        self.seen = {}
        self.downs = []
        self.proven = -1  # the newest FCntDown that the device has answered
        self.delay_s = 1
        self.offset = 0
        self.rx2_dr = region.rx2_dr
        self.rx2_hz = region.rx2_hz
        self.dr = None  # what LinkADRAns has said to be in force
        self.nb_trans = 1
        self.interval_ms = None
        self.readings = {}


class Network:
    """The other end. It believes what it is told, and compares."""

    def __init__(self, region, app_key):
        self.region = region
        self.app_key = app_key
        self.dev_nonces = []
        self.sessions = []
        self.mode = GENUINE
        self.window = 1
        self.orders = []
        self.confirmed_down = False
        self.gave_up = False  # the device may join again, for it has not been answered for long
        self.readings = {}
        self.interval_ms = 60 * MINUTE_MS
        # DR0 of US915 has no room for a report or part of a status and an answer.
        self.patience = 6 if region.has_fixed_channels else 0
        self.forget()
        self.replays = self.answered = self.uplinks = 0

    def forget(self):
        """The device was cut: what it owed it may have forgotten."""
        self._sent = None  # FCntDown of a downlink that has to be answered by the next uplink
        self._late = 0  # uplinks since then
        self.lenient = False  # storage failed: the uplink with the answer may never have been sent
        self._replayed = 0  # uplinks that were answered with an old downlink

    def session(self):
        return self.sessions[-1] if self.sessions else None

    def take(self, freq_hz, sf, bw_hz, octets, end_ms):
        """Hear a frame; return (ms, Hz, SF, bandwidth, octets) of what is sent down, or None."""
        dr = self.region.dr_of(sf, bw_hz)
        if octets[0] == 0:
            return self._join(freq_hz, dr, octets, end_ms)
        frame = frames.parse(octets)
        known = [s for s in self.sessions if s.dev_addr == frame.dev_addr]
        if not known:
            raise ViolationError("a frame of no session")
        session = known[0]
        if not frames.verify(frame, key_of(session.nwk_s_key), frame.f_cnt):
            raise ViolationError(f"a frame with a wrong MIC, FCntUp {frame.f_cnt}")
        if session is not self.sessions[-1] and self.sessions[-1].used:
            raise ViolationError("went back to an earlier session")
        before = session.seen.get(frame.f_cnt)
        if before is not None:
            if before != octets:
                raise ViolationError(f"FCntUp {frame.f_cnt} came twice with different octets")
            if self._sent is not None and not self.lenient:
                raise ViolationError(f"sent again though FCntDown {self._sent} was for it")
            return None
        if session.seen and frame.f_cnt < max(session.seen):
            raise ViolationError(f"FCntUp went back from {max(session.seen)} to {frame.f_cnt}")
        session.seen[frame.f_cnt] = octets
        session.used = True
        self.uplinks += 1
        self._understand(session, frame)
        if session.dr is not None and dr != session.dr:
            raise ViolationError(f"DR{dr} though LinkADRAns said DR{session.dr}")
        return self._answer(session, frame, freq_hz, dr, end_ms)

    def _join(self, freq_hz, dr, octets, end_ms):
        request = frames.parse(octets)
        if not network_frames.verify_join_request(octets, key_of(self.app_key)):
            raise ViolationError("a join-request with a wrong MIC")
        if request.dev_nonce in self.dev_nonces:
            raise ViolationError(f"DevNonce {request.dev_nonce} came twice")
        if self.sessions and self.sessions[-1].used and not self.gave_up:
            raise ViolationError("joined again")
        self.dev_nonces.append(request.dev_nonce)
        if self.mode == SILENT:
            return None
        number = len(self.sessions) + 1
        nwk_s_key, app_s_key = crypto.derive_session_keys(
            key_of(self.app_key), number, 0x13, request.dev_nonce
        )
        session = NetworkSession(number, nwk_s_key, app_s_key, self.region)
        self.sessions.append(session)
        self.forget()
        cf_list = b""
        if not self.region.has_fixed_channels:
            cf_list = self.region.encode_cf_list(self.region.extra_channels_hz)
        accept = network_frames.encode_join_accept(
            key_of(self.app_key), number, 0x13, session.dev_addr, 0, session.rx2_dr, 1, cf_list
        )
        return self._place(freq_hz, dr, session, end_ms + 4000, accept)

    def _understand(self, session, frame):
        answers = frame.f_opts
        message = None
        if frame.f_port is not None:
            payload = frames.decrypt_payload(
                frame, key_of(session.app_s_key if frame.f_port else session.nwk_s_key), frame.f_cnt
            )
            if frame.f_port:
                message = messages.decode(frame.f_port, payload)
            else:
                answers = payload
        answers = mc.decode(crypto.UP, answers)[0]
        status = [answer for answer in answers if answer[0] == mc.DEV_STATUS]
        if self._replayed > self.patience and (status or frame.ack):
            raise ViolationError("obeyed a downlink that was sent again")
        if self._sent is not None:
            if status:
                session.proven = self._sent
                self.answered += 1
                self.forget()
            elif self.lenient:
                self.forget()
            elif self._late == self.patience:
                raise ViolationError(f"did not hear FCntDown {self._sent} in RX{self.window}")
            self._late += 1
        for answer in answers:
            for order in list(self.orders):
                if order.f_opts and order.f_opts[0] == answer[0]:
                    if 0 in answer[1:]:
                        raise ViolationError(f"{order.name} refused: {answer}")
                    self._done(session, order)
        if isinstance(message, messages.ConfigurationAck):
            for order in list(self.orders):
                if order.configuration is not None and message.refused == 0:
                    if message.config_hash != messages.config_hash(order.configuration):
                        raise ViolationError("acknowledged another configuration")
                    self._done(session, order)
        if isinstance(message, messages.BinReport):
            # A report after a cut may repeat a number; never for another distance.
            said = self.readings.get(message.sequence, message.distance_mm)
            if said != message.distance_mm:
                raise ViolationError(f"reading {message.sequence} came twice with other values")
            self.readings[message.sequence] = message.distance_mm

    def _done(self, session, order):
        self.orders.remove(order)
        for name in order.believe:
            setattr(self if hasattr(self, name) else session, name, order.believe[name])

    def _answer(self, session, frame, freq_hz, dr, end_ms):
        if self.mode == REPLAY:
            if session.proven < 0:
                self.replays += 1
                return None  # there is nothing yet
            at = session.proven - self.replays % 2 * (session.proven // 2)
            self.replays += 1
            self._replayed += 1
            return self._place(freq_hz, dr, session, end_ms, session.downs[at])
        if self.mode == SILENT or self._sent is not None:
            return None
        self._replayed = self._late = 0
        f_opts = mc.encode(crypto.DOWN, ((mc.DEV_STATUS,),))
        f_port, payload = None, b""
        for order in self.orders:
            if order.f_opts:
                f_opts += mc.encode(crypto.DOWN, (order.f_opts,))
            else:
                f_port, payload = messages.encode(order.configuration)
        self._sent = len(session.downs)
        octets = frames.encode_data(
            frames.CONFIRMED_DOWN if self.confirmed_down else frames.UNCONFIRMED_DOWN,
            session.dev_addr,
            self._sent,
            key_of(session.nwk_s_key),
            key_of(session.app_s_key),
            ack=frame.confirmed,
            f_opts=f_opts,
            f_port=f_port,
            payload=payload,
        )
        session.downs.append(octets)
        return self._place(freq_hz, dr, session, end_ms, octets)

    def _place(self, freq_hz, dr, session, end_ms, octets):
        """Return a downlink in RX1 or RX2, as the network believes them to be."""
        at_ms = end_ms + session.delay_s * 1000
        if self.window == 1:
            down_hz, down_dr = self.region.rx1(freq_hz, dr, session.offset)
        else:
            at_ms += 1000
            down_hz, down_dr = session.rx2_hz, session.rx2_dr
        sf, bw_hz = self.region.data_rate(down_dr)
        return at_ms, down_hz, sf, bw_hz, octets

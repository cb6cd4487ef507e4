"""LoRaWAN 1.0.x Class A as a machine without radio, clock or memory of its own.

`handle(event, now_ms)` returns actions to perform in order; `next_deadline()` says when a TIMER
event is due. Events and actions are tuples that begin with one of the constants below; times are
milliseconds on the board's clock.

    IDLE --JOIN, SEND--> TX --TX_DONE--> RX1 --RX_TIMEOUT--> RX2 --RX_TIMEOUT--> IDLE
                          ^                \\-RECEIVED-> IDLE   \\-RECEIVED-> IDLE
                          |                                     \\-no answer, tries left-> WAIT
                          \\--------TIMER-------------------------------------------------/

A RECEIVED frame that is not for us counts as RX_TIMEOUT, for Class A still owes the second window.
FAULT (the radio or a SAVE failed) ends TX, RX1 and RX2 as if nothing had been heard. An event that
a state does not know raises ValueError and changes nothing.

The state survives deep sleep in the session: WAIT is a session with a kept frame, anything else
IDLE. A SAVE action comes before whatever relies on it: before a TRANSMIT the counter or DevNonce
in it, before a DELIVER the counter of the downlink.
"""

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.crypto import derive_session_keys
from stoep_protocol.lorawan.frames import (
    CONFIRMED_DOWN,
    CONFIRMED_UP,
    MAX_F_OPTS,
    UNCONFIRMED_DOWN,
    UNCONFIRMED_UP,
    DataFrame,
    decode_join_accept,
    decrypt_payload,
    encode_data,
    encode_join_request,
    full_f_cnt,
    parse,
    verify,
)

from stoep_firmware import commands
from stoep_firmware.session import RESERVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_protocol.lorawan.crypto import Key
    from stoep_protocol.lorawan.regions import Region

    from stoep_firmware._types import Any
    from stoep_firmware.session import Session

    Event = tuple[Any, ...]
    Actions = tuple[tuple[Any, ...], ...]

try:
    from micropython import const
except ImportError:
    const = int  # type: ignore[assignment]

# States.
IDLE = const(0)
WAIT = const(1)
TX = const(2)
RX1 = const(3)
RX2 = const(4)

# Events.
JOIN = const(0)  # (JOIN,)
SEND = const(1)  # (SEND, f_port or None, payload, confirmed)
TX_DONE = const(2)  # (TX_DONE,) at the time of the radio's interrupt
RECEIVED = const(3)  # (RECEIVED, phy_payload, snr_db)
RX_TIMEOUT = const(4)  # (RX_TIMEOUT,)
TIMER = const(5)  # (TIMER,)
FAULT = const(6)  # (FAULT,)

# Actions.
SAVE = const(0)  # (SAVE, durable): the session, to storage too if durable
TRANSMIT = const(1)  # (TRANSMIT, freq_hz, sf, bw_hz, eirp_dbm, phy_payload, airtime_ms)
RECEIVE = const(2)  # (RECEIVE, freq_hz, sf, bw_hz, at_ms, symbols): prepare the receiver at at_ms
DELIVER = const(3)  # (DELIVER, f_port, payload)
DONE = const(4)  # (DONE, result, value)

# Results of JOIN and SEND.
JOINED = const(0)
SENT = const(1)  # and acknowledged, where that was asked for
NO_ANSWER = const(2)  # no join-accept, no acknowledgement after the last try, or never sent
BUSY = const(3)  # not allowed on the air before `value`, in ms; nothing was used up
TOO_LONG = const(4)  # the payload is over `value`, the room at this data rate
EXHAUSTED = const(5)  # every DevNonce has been used: the device needs new keys

_TABLE = (
    {JOIN: "_join", SEND: "_send"},
    {JOIN: "_join", SEND: "_send", TIMER: "_again"},
    {TX_DONE: "_sent", FAULT: "_nothing"},
    {RECEIVED: "_received", RX_TIMEOUT: "_second", FAULT: "_nothing"},
    {RECEIVED: "_received", RX_TIMEOUT: "_nothing", FAULT: "_nothing"},
)

_CONFIRMED_TRIES = const(4)
_HOUR_MS = const(3_600_000)
_MHDR_TO_MIC = const(13)  # octets of a data frame beside FOpts and FRMPayload
_SHORTEST_ROOM = const(11)  # every report has a form of this length (US915 DR0)
# What the receiver has to be early: a slow clock that is right to 3 in 1000, a late interrupt,
# and the time from at_ms until it listens.
_DRIFT_PERMILLE = const(3)
_LATENCY_MS = const(5)
_SETUP_MS = const(12)
_MIN_SYMBOLS = const(8)


class Mac:
    """One device's Class A machine.

    `new_key(octets)` makes a `crypto.Key`, `random(n)` gives 0..n-1. `battery` is what
    DevStatusAns tells: 1..254, 0 mains, 255 unknown.
    """

    def __init__(
        self,
        region: "Region",
        session: "Session",
        new_key: "Callable[[bytes], Key]",
        random: "Callable[[int], int]",
        join_eui: bytes,
        dev_eui: bytes,
        app_key: bytes,
        adr: bool = False,
    ) -> None:
        self._region = region
        self.session = session
        if not session.band_until_ms:
            session.band_until_ms = [0] * len(region.sub_bands)
        self._new_key = new_key
        self._random = random
        self._join_eui = join_eui
        self._dev_eui = dev_eui
        self._app_key = app_key
        self._adr = adr
        self.battery = 255
        self.state = WAIT if session.kept and session.tries else IDLE
        self._joining = False
        self._keys: tuple[Key, Key] | None = None
        self._sent_ms = 0
        self._rx1 = (0, 0)
        self._dr = 0

    def handle(self, event: "Event", now_ms: int) -> "Actions":
        """Take one event; return the actions it calls for."""
        method = _TABLE[self.state].get(event[0])
        if method is None:
            raise ValueError("MAC event %d in state %d" % (event[0], self.state))
        actions: Actions = getattr(self, method)(event, now_ms)
        return actions

    def next_deadline(self) -> "int | None":
        """When a TIMER event is due, None if none is."""
        return self.session.retry_at_ms if self.state == WAIT else None

    def room(self) -> int:
        """Return how many octets of payload leave room for the MAC commands that are due, too."""
        session = self.session
        taken = len(session.sticky) + len(session.answers)
        return max(_SHORTEST_ROOM, self._most(session.dr) - min(taken, MAX_F_OPTS))

    def _most(self, dr: int) -> int:
        return self._region.max_payload(dr, self.session.dwell & 1 != 0)

    # Joining.

    def _join(self, event: "Event", now_ms: int) -> "Actions":
        session = self.session
        if now_ms < session.join_until_ms:
            return ((DONE, BUSY, session.join_until_ms),)
        dev_nonce = session.dev_nonce
        if dev_nonce > 0xFFFF:
            return ((DONE, EXHAUSTED, 0),)
        session.dev_nonce = dev_nonce + 1
        if not session.join_attempts:
            session.join_since_ms = now_ms
        region = self._region
        freq_hz, dr = region.join_place(session.join_attempts, self._random)
        session.join_attempts = min(session.join_attempts + 1, 0xFFFF)
        session.joined = 0
        session.kept = b""
        commands.reset_channels(session, region)
        phy_payload = encode_join_request(
            self._new_key(self._app_key), self._join_eui, self._dev_eui, dev_nonce
        )
        self._joining = True
        transmit = self._transmit(freq_hz, dr, 0, phy_payload, now_ms)
        # 1.0.3, 7: 36 s on the air in the first hour, 36 s in the next ten, then 8.7 s a day.
        hours = (now_ms - session.join_since_ms) // _HOUR_MS
        rest_ms = transmit[6] * (100 if hours < 1 else 1000 if hours < 11 else 10000)
        session.join_until_ms = now_ms + rest_ms + self._random(rest_ms // 2)
        self._rx1 = region.rx1(freq_hz, dr, 0)
        return (SAVE, True), transmit

    def _accept(self, phy_payload: bytes) -> bool:
        session = self.session
        region = self._region
        app_key = self._new_key(self._app_key)
        try:
            accept = decode_join_accept(phy_payload, app_key)
            region.data_rate(accept.rx2_dr)
            region.decode_cf_list(accept.cf_list)
        except DecodeError:
            return False
        if accept.app_nonce == session.app_nonce:
            return False  # the one of the last session, replayed
        if accept.rx1_dr_offset > region.max_rx1_dr_offset:
            return False
        keys = derive_session_keys(app_key, accept.app_nonce, accept.net_id, session.dev_nonce - 1)
        self._keys = None
        session.begin(accept, keys, region.rx2_hz, self._dr)
        session.dwell = int(region.starts_dwelling)
        commands.apply_cf_list(session, region, accept.cf_list)
        return True

    # Sending.

    def _send(self, event: "Event", now_ms: int) -> "Actions":
        session = self.session
        _, f_port, payload, confirmed = event
        if not session.joined:
            raise ValueError("SEND before JOIN")
        commands.stay_heard(session, self._region)
        room = self._most(session.dr)
        if len(payload) > room:
            return ((DONE, TOO_LONG, room),)
        channel, until_ms = self._channel(session.dr, now_ms)
        if channel is None:
            return ((DONE, BUSY, until_ms),)
        adr_ack_req = False
        if self._adr:
            adr_ack_req = self._adr_back_off()
        f_opts = commands.whole(
            session.answers + session.sticky, min(MAX_F_OPTS, room - len(payload))
        )
        f_cnt = session.f_cnt_up
        session.f_cnt_up = f_cnt + 1
        nwk_s_key, app_s_key = self._session_keys()
        session.kept = encode_data(
            CONFIRMED_UP if confirmed else UNCONFIRMED_UP,
            session.dev_addr,
            f_cnt,
            nwk_s_key,
            app_s_key,
            adr=self._adr,
            adr_ack_req=adr_ack_req,
            ack=bool(session.ack_due),
            f_opts=f_opts,
            f_port=f_port,
            payload=payload,
        )
        session.answers = session.answers[len(f_opts) :]
        session.ack_due = 0
        session.answer_due = int(len(session.answers) > 0)
        session.retry_confirmed = int(confirmed)
        session.tries = _CONFIRMED_TRIES if confirmed else session.nb_trans
        return self._uplink(channel, session.dr, now_ms)

    def _again(self, event: "Event", now_ms: int) -> "Actions":
        """Send the kept frame once more, the same to the last octet."""
        session = self.session
        region = self._region
        if now_ms < session.retry_at_ms:
            return ()
        commands.stay_heard(session, region)
        dr = session.dr
        size = len(session.kept) - _MHDR_TO_MIC
        if size > self._most(dr):
            session.tries = 0  # a LinkADRReq has come in between
            return self._nothing(event, now_ms)
        if session.retry_confirmed:
            # One data rate down after every second try (1.0.3, 18.4), as far as the frame fits.
            wanted = max(
                commands.min_dr(session, region), dr - (_CONFIRMED_TRIES - session.tries) // 2
            )
            while (
                dr > wanted
                and size <= self._most(dr - 1)
                and commands.usable_channels(session, region, dr - 1)
            ):
                dr -= 1
        channel, until_ms = self._channel(dr, now_ms)
        if channel is None:
            session.retry_at_ms = until_ms
            return ((SAVE, False),)
        return self._uplink(channel, dr, now_ms)

    def _uplink(self, channel: "tuple[int, int]", dr: int, now_ms: int) -> "Actions":
        """Send the kept frame; a try counts from here, so that resets cannot repeat it for ever."""
        session = self.session
        session.tries -= 1
        durable = session.f_cnt_up >= session.f_cnt_limit
        if durable:
            session.f_cnt_limit = session.f_cnt_up + RESERVE
        self._joining = False
        freq_hz, down_hz = channel
        self._rx1 = self._region.rx1(freq_hz, dr, session.rx1_dr_offset, session.dwell & 2 != 0)
        if down_hz != freq_hz:
            self._rx1 = down_hz, self._rx1[1]
        transmit = self._transmit(freq_hz, dr, session.tx_power, session.kept, now_ms)
        return (SAVE, durable), transmit

    def _transmit(
        self, freq_hz: int, dr: int, tx_power: int, phy_payload: bytes, now_ms: int
    ) -> "tuple[Any, ...]":
        session = self.session
        region = self._region
        sf, bw_hz = region.data_rate(dr)
        airtime_ms = time_on_air_us(len(phy_payload), sf, bw_hz) // 1000 + 1
        eirp_dbm = region.tx_power_dbm(tx_power)
        if session.max_eirp_dbm:
            eirp_dbm += session.max_eirp_dbm - region.max_eirp_dbm
        eirp_dbm = min(eirp_dbm, region.limit_dbm(dr, session.ch_mask))
        band = region.sub_band(freq_hz)
        if band is not None:
            at = region.sub_bands.index(band)
            session.band_until_ms[at] = now_ms + airtime_ms * band.duty_cycle
            eirp_dbm = min(eirp_dbm, band.max_eirp_dbm)
        if session.max_duty_cycle:
            session.duty_until_ms = now_ms + (airtime_ms << session.max_duty_cycle)
        self._dr = dr
        self.state = TX
        return TRANSMIT, freq_hz, sf, bw_hz, eirp_dbm, phy_payload, airtime_ms

    def _channel(self, dr: int, now_ms: int) -> "tuple[tuple[int, int] | None, int]":
        """Return a random channel that is free to use, or None and when the first will be."""
        session = self.session
        region = self._region
        if now_ms < session.duty_until_ms:
            return None, session.duty_until_ms
        free = []
        until_ms = None
        for channel in commands.usable_channels(session, region, dr):
            free_ms = 0
            band = region.sub_band(channel[0])
            if band is not None:
                free_ms = session.band_until_ms[region.sub_bands.index(band)]
            if free_ms <= now_ms:
                free.append(channel)
            elif until_ms is None or free_ms < until_ms:
                until_ms = free_ms
        if free:
            return free[self._random(len(free))], 0
        return None, now_ms + _HOUR_MS if until_ms is None else until_ms

    def _adr_back_off(self) -> bool:
        """Count an uplink towards ADRACKReq; go back to what is heard best (1.0.4, 4.3.1.1)."""
        session = self.session
        count = session.adr_ack_cnt
        session.adr_ack_cnt = min(count + 1, 0xFFFF)
        over = count - regions.ADR_ACK_LIMIT
        if over >= regions.ADR_ACK_DELAY and over % regions.ADR_ACK_DELAY == 0:
            if session.tx_power:
                session.tx_power = 0
            elif session.dr > commands.min_dr(session, self._region):
                session.dr -= 1
            else:
                session.ch_mask |= (1 << len(self._region.default_channels_hz)) - 1
                session.nb_trans = 1
        return over >= 0

    # Receiving.

    def _sent(self, event: "Event", now_ms: int) -> "Actions":
        self._sent_ms = now_ms
        self.state = RX1
        return (self._window(self._delay_ms(), self._rx1[0], self._rx1[1]),)

    def _second(self, event: "Event", now_ms: int) -> "Actions":
        session = self.session
        delay_ms = self._delay_ms() + 1000
        if now_ms > self._sent_ms + delay_ms:
            return self._nothing(event, now_ms)  # RX1 was busy with a frame for somebody else
        self.state = RX2
        if self._joining:
            return (self._window(delay_ms, self._region.rx2_hz, self._region.rx2_dr),)
        return (self._window(delay_ms, session.rx2_hz, session.rx2_dr),)

    def _delay_ms(self) -> int:
        if self._joining:
            return regions.JOIN_ACCEPT_DELAY1_S * 1000
        return self.session.rx_delay_s * 1000

    def _window(self, delay_ms: int, freq_hz: int, dr: int) -> "tuple[Any, ...]":
        """Return the RECEIVE that hears a preamble begin at `delay_ms` by an inexact clock."""
        sf, bw_hz = self._region.data_rate(dr)
        symbol_us = (1000000 << sf) // bw_hz
        error_ms = _LATENCY_MS + delay_ms * _DRIFT_PERMILLE // 1000
        span_us = (2 * error_ms + _SETUP_MS) * 1000
        symbols = _MIN_SYMBOLS + (span_us + symbol_us - 1) // symbol_us
        at_ms = self._sent_ms + delay_ms - error_ms - _SETUP_MS
        return RECEIVE, freq_hz, sf, bw_hz, at_ms, symbols

    def _received(self, event: "Event", now_ms: int) -> "Actions":
        _, phy_payload, snr_db = event
        if self._joining:
            if not self._accept(phy_payload):
                return self._unheard(now_ms)
            self._heard(snr_db)
            self.state = IDLE
            return (SAVE, True), (DONE, JOINED, 0)
        frame = self._genuine(phy_payload)
        if frame is None:
            return self._unheard(now_ms)
        session = self.session
        margin_db = self._heard(snr_db)
        session.adr_ack_cnt = 0
        session.answers = session.sticky = b""
        actions: Actions = ()
        mac_data = frame.f_opts
        if frame.f_port is not None:
            key = self._session_keys()[1 if frame.f_port else 0]
            payload = decrypt_payload(frame, key, session.f_cnt_down - 1)
            if frame.f_port:
                actions = ((DELIVER, frame.f_port, payload),)
            else:
                mac_data = payload
        if mac_data:
            session.answers, session.sticky = commands.obey(
                session, self._region, mac_data, self.battery, margin_db
            )
        if frame.confirmed:
            session.ack_due = session.answer_due = 1
        if frame.f_pending:
            session.answer_due = 1
        if session.retry_confirmed and not frame.ack:
            return ((SAVE, True),) + actions + self._nothing(event, now_ms)
        session.kept = b""
        self.state = IDLE
        return ((SAVE, True),) + actions + ((DONE, SENT, 0),)

    def _genuine(self, phy_payload: bytes) -> "DataFrame | None":
        """Return the downlink if it is for us, new and sound; claim its counter."""
        session = self.session
        try:
            frame = parse(phy_payload)
        except DecodeError:
            return None
        if not isinstance(frame, DataFrame) or frame.m_type not in (
            UNCONFIRMED_DOWN,
            CONFIRMED_DOWN,
        ):
            return None
        f_cnt = full_f_cnt(session.f_cnt_down, frame.f_cnt)
        if (
            frame.dev_addr != session.dev_addr
            or f_cnt < session.f_cnt_down
            or not verify(frame, self._session_keys()[0], f_cnt)
        ):
            return None
        session.f_cnt_down = f_cnt + 1
        return frame

    def _heard(self, snr_db: int) -> int:
        """Note how far a downlink was above what its data rate needs (SX126x: -7.5 dB at SF7)."""
        region = self._region
        if self.state == RX1:
            dr = self._rx1[1]
        else:
            dr = region.rx2_dr if self._joining else self.session.rx2_dr
        sf, _ = region.data_rate(dr)
        margin_db = snr_db + 7 + 5 * (sf - 7) // 2
        self.session.margin_db = min(127, max(-127, margin_db))
        return margin_db

    def _unheard(self, now_ms: int) -> "Actions":
        timeout = (RX_TIMEOUT,)
        if self.state == RX1:
            return self._second(timeout, now_ms)
        return self._nothing(timeout, now_ms)

    def _nothing(self, event: "Event", now_ms: int) -> "Actions":
        """No answer in either window, or the radio or storage failed: again, or done."""
        session = self.session
        unsent = self.state == TX
        if unsent:
            session.f_cnt_limit = min(session.f_cnt_limit, session.f_cnt_up)  # claim anew
        self.state = IDLE
        if self._joining:
            return (SAVE, False), (DONE, NO_ANSWER, session.join_until_ms)
        if session.tries > 0:
            self.state = WAIT
            session.retry_at_ms = now_ms
            if session.retry_confirmed:
                low_ms = regions.ACK_TIMEOUT_MIN_MS
                session.retry_at_ms += low_ms + self._random(regions.ACK_TIMEOUT_MAX_MS - low_ms)
            return ((SAVE, False),)
        session.kept = b""
        result = NO_ANSWER if session.retry_confirmed or unsent else SENT
        return (SAVE, False), (DONE, result, 0)

    def _session_keys(self) -> "tuple[Key, Key]":
        if self._keys is None:
            session = self.session
            self._keys = self._new_key(session.nwk_s_key), self._new_key(session.app_s_key)
        return self._keys

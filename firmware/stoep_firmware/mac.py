"""LoRaWAN 1.0.x Class A as a machine without radio, clock or memory of its own.

`handle(event, now_ms)` returns actions to perform in order; `next_deadline()` says when a TIMER
event is due. Events and actions are tuples that begin with one of the constants below; times are
milliseconds on the board's clock.

    IDLE --JOIN, SEND--> TX --TX_DONE--> RX1 --RX_TIMEOUT--> RX2 --RX_TIMEOUT--> IDLE
                          ^               \\-RECEIVED-> IDLE   \\-RECEIVED-> IDLE
                          |                                    \\-no answer, tries left-> WAIT
                          \\--------TIMER-------------------------------------------------/

A RECEIVED frame that is not for us counts as RX_TIMEOUT, for Class A still owes the second window.
FAULT (the radio or a SAVE failed) ends TX, RX1 and RX2 as if nothing had been heard. An event that
a state does not know raises ValueError and changes nothing.

The state survives deep sleep in the session: WAIT is a session with a kept frame, anything else
IDLE. A SAVE action comes before whatever relies on it: before a TRANSMIT the counter or DevNonce
in it, before a DELIVER the counter of the downlink.

What not every wake needs is loaded when it is needed: joining.py, downlink.py when something was
received, commands.py when that carries MAC commands. docs/mac.md has the whole picture.
"""

from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.frames import CONFIRMED_UP, MAX_F_OPTS, UNCONFIRMED_UP, encode_data

from stoep_firmware.channels import usable_channels
from stoep_firmware.session import RESERVE

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_protocol.lorawan.crypto import Key
    from stoep_protocol.lorawan.regions import Region

    from stoep_firmware._types import Any
    from stoep_firmware.session import Session

    Event = tuple[Any, ...]
    Actions = tuple[tuple[Any, ...], ...]

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
TIME = const(5)  # (TIME, board_ms, gps_ms): the network said that at board_ms it was gps_ms

# Results of JOIN and SEND.
JOINED = const(0)
SENT = const(1)  # and acknowledged, where that was asked for
NO_ANSWER = const(2)  # no join-accept, no acknowledgement after the last try, or never sent
BUSY = const(3)  # not allowed on the air before `value`, in ms; nothing was used up
TOO_LONG = const(4)  # the payload is over `value`, the room at this data rate
EXHAUSTED = const(5)  # every DevNonce has been used: the device needs new keys

# What `Mac.ask` asks the network for.
LINK_CHECK = const(1)
DEVICE_TIME = const(2)

_TABLE = (
    {JOIN: "_join", SEND: "_send"},
    {JOIN: "_join", SEND: "_send", TIMER: "_again"},
    {TX_DONE: "_sent", FAULT: "_nothing"},
    {RECEIVED: "_received", RX_TIMEOUT: "_second", FAULT: "_nothing"},
    {RECEIVED: "_received", RX_TIMEOUT: "_nothing", FAULT: "_nothing"},
)

_HOUR_MS = const(3_600_000)
_SHORTEST_ROOM = const(11)  # every report has a form of this length (US915 DR0)
# Unanswered uplinks at the slowest data rate, in ADR_ACK_DELAYs, after which a session counts as
# lost: ADR_ACK_LIMIT of them, for where only one channel in eight is heard (TR007 1.1, 4.3).
_LOST = const(2)
REJOINING = const(2)  # Mac.joining where a SEND asks to join first, for its session is lost
# What the receiver has to be early: a late interrupt, the time from at_ms until it listens.
_LATENCY_MS = const(5)
_SETUP_MS = const(12)
_MIN_SYMBOLS = const(8)
_ERROR_PPM = const(3000)  # of a clock of which nothing is known


class Mac:
    """One device's Class A machine.

    `new_key(octets)` makes a `crypto.Key`, `random(n)` gives 0..n-1. `lorawan` is "1.0.4", or
    "1.0.3" for a network whose JoinNonces do not count up. `battery` is what DevStatusAns tells:
    1..254, 0 mains, 255 unknown; `error_ppm` how far the clock may be off, by which windows widen;
    `certification` is a `certification.Certification` where that is wanted.

    The attributes without an underscore are for joining.py, downlink.py and commands.py, too.
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
        lorawan: str = "1.0.4",
    ) -> None:
        self.region = region
        self.session = session
        if not session.band_until_ms:
            session.band_until_ms = [0] * len(region.sub_bands)
        self.new_key = new_key
        self.random = random
        self.join_eui = join_eui
        self.dev_eui = dev_eui
        self.app_key = app_key
        self.adr = adr
        self.lorawan = lorawan
        self.battery = 255
        self.error_ppm = _ERROR_PPM
        self.certification: Any = None
        self.state = WAIT if session.kept and session.tries else IDLE
        self.joining = 0
        self.keys: tuple[Key, Key] | None = None
        self.sent_ms = 0
        self.rx1 = (0, 0)
        self.dr = 0

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
        taken = len(session.answers or session.sticky) + len(self._requests())
        return max(_SHORTEST_ROOM, self._most() - min(taken, MAX_F_OPTS))

    def ask(self, what: int) -> None:
        """Ask the network for LINK_CHECK or DEVICE_TIME with the next uplinks, until it answers."""
        self.session.asked |= what

    def session_keys(self) -> "tuple[Key, Key]":
        """Return NwkSKey and AppSKey."""
        if self.keys is None:
            session = self.session
            self.keys = self.new_key(session.nwk_s_key), self.new_key(session.app_s_key)
        return self.keys

    def _most(self) -> int:
        return self.region.max_payload(self.session.dr, self.session.dwell & 1 != 0)

    def _requests(self) -> bytes:
        asked = self.session.asked
        return (b"\x02" if asked & LINK_CHECK else b"") + (b"\x0d" if asked & DEVICE_TIME else b"")

    # Sending.

    def _join(self, event: "Event", now_ms: int) -> "Actions":
        from stoep_firmware import joining  # noqa: PLC0415

        return joining.request(self, now_ms, 1)

    def _send(self, event: "Event", now_ms: int) -> "Actions":
        session = self.session
        _, f_port, payload, confirmed = event
        if not session.joined:
            raise ValueError("SEND before JOIN")
        if session.lost >= _LOST and now_ms >= session.join_until_ms:
            from stoep_firmware import joining  # noqa: PLC0415

            if joining.possible(session):
                return joining.request(self, now_ms, REJOINING)
        room = self._most()
        if len(payload) > room:
            return ((DONE, TOO_LONG, room),)
        channel, until_ms = self._channel(now_ms)
        if channel is None:
            return ((DONE, BUSY, until_ms),)
        unheard = session.adr_ack_cnt >= regions.ADR_ACK_LIMIT
        if unheard and not self.adr:
            session.asked |= LINK_CHECK
        session.adr_ack_cnt = min(session.adr_ack_cnt + 1, 0xFFFF)
        f_opts = session.answers or session.sticky
        limit = min(MAX_F_OPTS, room - len(payload))
        # At once in an uplink without payload, for what the payload leaves no room.
        session.answer_due = int(len(f_opts) > limit and len(payload) > 0)
        if len(f_opts) > limit:
            from stoep_firmware.commands import whole  # noqa: PLC0415

            f_opts = whole(f_opts, limit)
        session.answers = session.answers[len(f_opts) :]
        f_opts += self._requests()[: limit - len(f_opts)]
        f_cnt = session.f_cnt_up
        session.f_cnt_up = f_cnt + 1
        nwk_s_key, app_s_key = self.session_keys()
        session.kept = encode_data(
            CONFIRMED_UP if confirmed else UNCONFIRMED_UP,
            session.dev_addr,
            f_cnt,
            nwk_s_key,
            app_s_key,
            adr=self.adr,
            adr_ack_req=self.adr and unheard,
            ack=bool(session.ack_due),
            f_opts=f_opts,
            f_port=f_port,
            payload=payload,
        )
        session.ack_due = 0
        session.answer_due |= int(len(session.answers) > 0)
        session.retry_confirmed = int(confirmed)
        session.tries = session.nb_trans
        return self._uplink(channel, now_ms)

    def _again(self, event: "Event", now_ms: int) -> "Actions":
        """Send the kept frame once more, the same to the last octet (1.0.4, 4.3.1.3)."""
        session = self.session
        if now_ms < session.retry_at_ms:
            return ()
        channel, until_ms = self._channel(now_ms)
        if channel is None:
            session.retry_at_ms = until_ms
            return ((SAVE, False),)
        return self._uplink(channel, now_ms)

    def _uplink(self, channel: "tuple[int, int]", now_ms: int) -> "Actions":
        """Send the kept frame; a try counts from here, so that resets cannot repeat it for ever."""
        session = self.session
        session.tries -= 1
        durable = session.f_cnt_up >= session.f_cnt_limit
        if durable:
            session.f_cnt_limit = session.f_cnt_up + RESERVE
        self.joining = 0
        freq_hz, down_hz = channel
        dr = session.dr
        self.rx1 = self.region.rx1(freq_hz, dr, session.rx1_dr_offset, session.dwell & 2 != 0)
        if down_hz != freq_hz:
            self.rx1 = down_hz, self.rx1[1]
        eirp_dbm = self.region.tx_power_dbm(session.tx_power)
        if session.max_eirp_dbm:
            eirp_dbm += session.max_eirp_dbm - self.region.max_eirp_dbm
        transmit = self.transmit(freq_hz, dr, eirp_dbm, session.ch_mask, session.kept, now_ms)
        return (SAVE, durable), transmit

    def transmit(
        self, freq_hz: int, dr: int, eirp_dbm: int, ch_mask: int, phy_payload: bytes, now_ms: int
    ) -> "tuple[Any, ...]":
        """Return the TRANSMIT of a frame, at no more than the power that is allowed there."""
        session = self.session
        region = self.region
        sf, bw_hz = region.data_rate(dr)
        airtime_ms = time_on_air_us(len(phy_payload), sf, bw_hz) // 1000 + 1
        eirp_dbm = min(eirp_dbm, region.limit_dbm(dr, ch_mask))
        band = region.sub_band(freq_hz)
        if band is not None:
            at = region.sub_bands.index(band)
            session.band_until_ms[at] = now_ms + airtime_ms * band.duty_cycle
            eirp_dbm = min(eirp_dbm, band.max_eirp_dbm)
        if session.max_duty_cycle:
            session.duty_until_ms = now_ms + (airtime_ms << session.max_duty_cycle)
        self.dr = dr
        self.state = TX
        return TRANSMIT, freq_hz, sf, bw_hz, eirp_dbm, phy_payload, airtime_ms

    def free_ms(self, freq_hz: int) -> int:
        """Return from when on this frequency may be used."""
        session = self.session
        band = self.region.sub_band(freq_hz)
        if band is None:
            return session.duty_until_ms
        return max(session.duty_until_ms, session.band_until_ms[self.region.sub_bands.index(band)])

    def _channel(self, now_ms: int) -> "tuple[tuple[int, int] | None, int]":
        """Return a random channel that is free to use, or None and when the first will be."""
        free = []
        until_ms = None
        for channel in usable_channels(self.session, self.region, self.session.dr):
            free_ms = self.free_ms(channel[0])
            if free_ms <= now_ms:
                free.append(channel)
            elif until_ms is None or free_ms < until_ms:
                until_ms = free_ms
        if free:
            return free[self.random(len(free))], 0
        return None, now_ms + _HOUR_MS if until_ms is None else until_ms

    # Receiving.

    def _sent(self, event: "Event", now_ms: int) -> "Actions":
        self.sent_ms = now_ms
        self.state = RX1
        return (self._window(self._delay_ms(), self.rx1[0], self.rx1[1]),)

    def _second(self, event: "Event", now_ms: int) -> "Actions":
        delay_ms = self._delay_ms() + 1000
        if now_ms > self.sent_ms + delay_ms:
            return self._nothing(event, now_ms)  # RX1 was busy with a frame for somebody else
        self.state = RX2
        rules = self.region if self.joining else self.session
        return (self._window(delay_ms, rules.rx2_hz, rules.rx2_dr),)

    def _delay_ms(self) -> int:
        if self.joining:
            return regions.JOIN_ACCEPT_DELAY1_S * 1000
        return self.session.rx_delay_s * 1000

    def _window(self, delay_ms: int, freq_hz: int, dr: int) -> "tuple[Any, ...]":
        """Return the RECEIVE that hears a preamble begin at `delay_ms` by an inexact clock."""
        sf, bw_hz = self.region.data_rate(dr)
        symbol_us = (1000000 << sf) // bw_hz
        error_ms = _LATENCY_MS + (delay_ms * self.error_ppm + 999999) // 1000000
        span_us = (2 * error_ms + _SETUP_MS) * 1000
        symbols = _MIN_SYMBOLS + (span_us + symbol_us - 1) // symbol_us
        at_ms = self.sent_ms + delay_ms - error_ms - _SETUP_MS
        return RECEIVE, freq_hz, sf, bw_hz, at_ms, symbols

    def _received(self, event: "Event", now_ms: int) -> "Actions":
        if self.joining:
            from stoep_firmware.joining import accept as take  # noqa: PLC0415
        else:
            from stoep_firmware.downlink import take  # noqa: PLC0415
        actions = take(self, event[1], event[2], now_ms)
        if actions:
            self.state = IDLE
            return actions
        if self.state == RX1:
            return self._second(event, now_ms)
        return self._nothing(event, now_ms)

    def _nothing(self, event: "Event", now_ms: int) -> "Actions":
        """No answer in either window, or the radio or storage failed: again, or done."""
        session = self.session
        unsent = self.state == TX
        if unsent:
            session.f_cnt_limit = min(session.f_cnt_limit, session.f_cnt_up)  # claim anew
        self.state = IDLE
        if self.joining:
            if self.joining == REJOINING:
                return (SAVE, False), (DONE, BUSY, now_ms)  # then in the old session
            return (SAVE, False), (DONE, NO_ANSWER, session.join_until_ms)
        confirmed = session.retry_confirmed
        if session.tries > 0:
            self.state = WAIT
            session.retry_at_ms = self.rest_until_ms(now_ms) if confirmed else now_ms
            return ((SAVE, False),)
        session.kept = b""
        if confirmed and not unsent:
            session.duty_until_ms = max(session.duty_until_ms, self.rest_until_ms(now_ms))
        over = session.adr_ack_cnt - regions.ADR_ACK_LIMIT
        if over >= regions.ADR_ACK_DELAY and over % regions.ADR_ACK_DELAY == 0:
            from stoep_firmware.commands import back_off  # noqa: PLC0415

            if not self.adr or not back_off(session, self.region):
                session.lost = min(session.lost + 1, _LOST)
        result = NO_ANSWER if confirmed or unsent else SENT
        return (SAVE, False), (DONE, result, 0)

    def rest_until_ms(self, now_ms: int) -> int:
        """Return when to send again after an acknowledgement that did not come (4.3.1.3)."""
        low_ms = regions.ACK_TIMEOUT_MIN_MS
        return now_ms + low_ms + self.random(regions.ACK_TIMEOUT_MAX_MS - low_ms)

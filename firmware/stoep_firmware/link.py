"""Drives the MAC machine with a radio and a clock; every wait is a yield of `(mode, until_ms)`."""

from stoep_protocol.lorawan.airtime import time_on_air_us

from stoep_firmware import mac as m
from stoep_firmware.board import LIGHT
from stoep_firmware.radio import RX_DONE, SILENT, STOPPED, TX_DONE, RadioError, open_radio

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_firmware._types import Any, Radio, Wait
    from stoep_firmware.board import Board
    from stoep_firmware.mac import Event, Mac
    from stoep_firmware.meter import Meter

PENDING = 10  # a result beside those of mac.py: the MAC goes on by itself at `value`, in ms

LONGEST_LIGHT_MS = 20_000  # what light sleep costs in this time, a wake from deep sleep costs too
_SLACK_MS = const(100)  # how long after its due time an interrupt is still awaited
_HEADER_SYMBOLS = const(25)  # preamble and header: a frame that comes is known by then
_TCXO_MS = const(5)  # before the radio begins, see sx126x.py
_MOST_SYMBOLS = const(248)  # of a window: an SX126x counts no more
_LOOK_MS = const(2)  # where the radio's line cannot end a sleep: between two looks


class Link:
    """The radio link of one wake; the radio is opened, and its driver loaded, when it is needed.

    `save(durable)` keeps the session and says whether it is kept, `fault(code)` is told what the
    radio failed in. Downlinks gather in `inbox` as (f_port, payload). `radio_awake`: it has to be
    put to sleep, as it has to after a reset even if it has not been used.
    """

    def __init__(
        self,
        board: "Board",
        mac: "Mac",
        save: "Callable[[bool], bool]",
        fault: "Callable[[int], None]",
        meter: "Meter",
    ) -> None:
        self._board = board
        self._mac = mac
        self._radio: Radio | None = None
        self._save = save
        self._fault = fault
        self._meter = meter
        self._started = False
        self.radio_awake = False
        self.inbox: list[tuple[int, bytes]] = []

    def perform(self, event: "Event") -> "Wait[tuple[int, int]]":
        """Feed a JOIN, SEND or TIMER to the MAC and do what follows; return (result, value)."""
        mac = self._mac
        now_ms = self._board.clock.now_ms
        at_ms = now_ms()
        while True:
            following: Event | None = None
            for action in mac.handle(event, at_ms):
                kind = action[0]
                if kind == m.SAVE:
                    if not self._save(action[1]) and mac.state == m.TX:
                        # A counter or DevNonce that is not durable must not be on the air.
                        following, at_ms = (m.FAULT,), now_ms()
                        break
                elif kind == m.DELIVER:
                    self.inbox.append((action[1], action[2]))
                elif kind == m.TIME:
                    self._board.clock.synced(action[1], action[2])
                elif kind == m.DONE:
                    return action[1], action[2]
                else:
                    following, at_ms = yield from self._on_air(action)
            if following is not None:
                event = following
                continue
            until_ms = mac.next_deadline()
            if until_ms is None or until_ms - now_ms() > LONGEST_LIGHT_MS:
                return PENDING, until_ms or now_ms()
            yield from self.pause(until_ms)
            event = (m.TIMER,)
            at_ms = now_ms()

    def pause(self, until_ms: int) -> "Wait[None]":
        """Sleep lightly until then."""
        while self._board.clock.now_ms() < until_ms:
            yield LIGHT, until_ms

    def close(self) -> None:
        """Put the radio into its deepest sleep: every wake starts it anew."""
        if self.radio_awake:
            self.radio_awake = False
            try:
                self._open().sleep(False)
            except RadioError as problem:
                self._fault(problem.code)

    def _open(self) -> "Radio":
        if self._radio is None:
            self._radio = open_radio(self._board)
        return self._radio

    def _on_air(self, action: "tuple[Any, ...]") -> "Wait[tuple[Event, int]]":
        """Perform TRANSMIT or RECEIVE; return the event it ends in, and when."""
        try:
            radio = self._open()
            if not self._started:
                self.radio_awake = True
                radio.start(action[1])
                self._started = True
            if action[0] == m.TRANSMIT:
                return (yield from self._transmit(radio, action))
            return (yield from self._receive(radio, action))
        except RadioError as problem:
            self._started = False
            self._fault(problem.code)
            return (m.FAULT,), self._board.clock.now_ms()

    def _transmit(self, radio: "Radio", action: "tuple[Any, ...]") -> "Wait[tuple[Event, int]]":
        _, freq_hz, sf, bw_hz, eirp_dbm, phy_payload, airtime_ms = action
        # What the antenna adds is taken off the EIRP that the MAC asks for.
        power_dbm = eirp_dbm - self._board.wiring["radio"].get("antenna_dbi", 2)
        radio.transmit(freq_hz, sf, bw_hz, power_dbm, phy_payload, airtime_ms + _SLACK_MS)
        begun_ms = self._board.clock.now_ms()
        at_ms = yield from self._interrupt(radio, airtime_ms, airtime_ms + 2 * _SLACK_MS)
        self._meter.sent(power_dbm, self._board.clock.now_ms() - begun_ms)
        if at_ms is None or radio.outcome() != TX_DONE:
            raise RadioError(SILENT)
        radio.sleep(True)
        return (m.TX_DONE,), at_ms

    def _receive(self, radio: "Radio", action: "tuple[Any, ...]") -> "Wait[tuple[Event, int]]":
        _, freq_hz, sf, bw_hz, at_ms, symbols = action
        if symbols > _MOST_SYMBOLS:  # its middle, for a clock is mostly better than it might be
            at_ms += ((symbols - _MOST_SYMBOLS) << sf) * 500 // bw_hz
            symbols = _MOST_SYMBOLS
        yield from self.pause(at_ms)
        window_ms = (symbols << sf) * 1000 // bw_hz
        header_ms = (_HEADER_SYMBOLS << sf) * 1000 // bw_hz + 1
        timeout_ms = window_ms + header_ms
        radio.receive(freq_hz, sf, bw_hz, symbols, timeout_ms)
        begun_ms = self._board.clock.now_ms()
        ended_ms = yield from self._interrupt(radio, window_ms, timeout_ms + _SLACK_MS)
        outcome = radio.outcome()
        if ended_ms is None and outcome == 0:  # a frame is coming in
            longest_ms = time_on_air_us(255, sf, bw_hz) // 1000
            ended_ms = yield from self._interrupt(radio, 0, longest_ms)
            outcome = radio.outcome()
        now_ms = self._board.clock.now_ms()
        self._meter.add("rx", now_ms - begun_ms)
        if ended_ms is None and outcome != STOPPED:
            raise RadioError(SILENT)
        event: Event = (m.RX_TIMEOUT,)
        if outcome == RX_DONE:
            data, _, snr_db = radio.frame()
            event = (m.RECEIVED, data, snr_db)
        radio.sleep(True)
        return event, ended_ms or now_ms

    def _interrupt(self, radio: "Radio", due_ms: int, within_ms: int) -> "Wait[int | None]":
        """Sleep until the radio's line rises, in `due_ms` or later; return when, None if never."""
        now_ms = self._board.clock.now_ms
        begun_ms = now_ms()
        until_ms = begun_ms + within_ms
        wiring = self._board.wiring["radio"]
        wakes = wiring.get("dio_wakes", True)
        if wiring.get("tcxo_mv"):
            due_ms += _TCXO_MS
        while not radio.interrupted():
            if now_ms() >= until_ms:
                return None
            # A line on a pin that cannot wake the processor is looked at from when it may rise.
            yield LIGHT, until_ms if wakes else max(begun_ms + due_ms, now_ms() + _LOOK_MS)
        return now_ms()

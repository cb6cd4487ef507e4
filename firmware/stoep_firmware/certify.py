"""The device at the certification test bench (TS009), in place of its ordinary wakes.

With `"certification": true` in config.json the device never sleeps deeply: it joins, sends a frame
of its own every `_PERIOD_MS`, or as often and as confirmed as the test harness asks, and answers
on fPort 224. No sensor is read, and nothing but the session is kept.
"""

from stoep_firmware import identity
from stoep_firmware import mac as m
from stoep_firmware.certification import Certification
from stoep_firmware.link import PENDING, Link
from stoep_firmware.talk import FIRMWARE

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any, Wait
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter
    from stoep_firmware.store import Store

_PERIOD_MS = const(10_000)
_F_PORT = const(1)
_RESTART_MS = const(1_000)


class Certify:
    """One stay at the test bench, in the shape of wake.Wake."""

    strikes = 0

    def __init__(self, board: "Board", store: "Store", meter: "Meter") -> None:
        self._board = board
        self._store = store
        self._identity = identity.mark(board.config)
        self._session, _ = identity.recall(store, self._identity, board.clock)
        self._stored = identity.stored(store, self._identity)
        mac = self._mac = identity.new_mac(board, self._session)
        mac.certification = Certification(mac, FIRMWARE)
        self._link = Link(board, mac, self._save, self._radio_fault, meter)
        self._count = 0

    def run(self) -> "Wait[None]":
        """Join, send, answer, until the harness asks for a reset."""
        board = self._board
        mac = self._mac
        certification: Certification = mac.certification
        board.quiet()
        yield from self._perform((m.JOIN,))
        while not certification.reset:
            self._link.inbox.clear()
            if certification.rejoin:
                certification.rejoin = False
                yield from self._perform((m.JOIN,))
            begun_ms = board.clock.now_ms()
            uplink = certification.next_uplink()
            if uplink is None:
                self._count = self._count + 1 & 0xFF
                uplink = _F_PORT, bytes((self._count,)), bool(certification.frames)
            yield from self._perform((m.SEND,) + uplink)
            if not self._session.answer_due:
                rest_ms = certification.interval_ms or _PERIOD_MS
                yield from self._link.pause(begun_ms + rest_ms)

    def sleep_until_ms(self) -> int:
        """Return when the restart that was asked for is due."""
        return self._board.clock.now_ms() + _RESTART_MS

    def mishap(self, problem: Exception) -> None:
        """Take notice of a mistake of this program: whoever runs the board has been told."""

    def close(self) -> None:
        """Put the radio to sleep and keep the session."""
        self._link.close()
        self._save(False)

    def _perform(self, event: "tuple[Any, ...]") -> "Wait[None]":
        """Feed the MAC until the event has been carried out."""
        while True:
            result, value = yield from self._link.perform(event)
            if result not in (PENDING, m.BUSY) and (result == m.JOINED or event[0] == m.SEND):
                return
            if result == PENDING:
                event = (m.TIMER,)
            yield from self._link.pause(value)

    def _radio_fault(self, code: int) -> None:
        self._board.on_problem(RuntimeError("radio error %d" % code))

    def _save(self, durable: bool) -> bool:
        self._session.stamp(self._board.clock)
        session = self._session.pack()
        self._store.save_rtc([session, self._identity] + self._session.pack_volatile())
        if durable:
            self._store.save_storage([session, self._identity] + self._stored)
        return True

"""What the device says in a wake, and what it is told: joining, reports, status, answers."""

from stoep_protocol.messages import Status, encode, split
from stoep_protocol.schema import (
    ERROR_MEMORY,
    ERROR_PROGRAM,
    ERROR_RADIO,
    ERRORS_MAX,
    F_PORT_CALIBRATE,
    F_PORT_CALIBRATED,
    F_PORT_CONFIGURATION,
    F_PORT_READINGS_REQUEST,
    REFUSED_STORAGE,
    RESET_NONE,
)

from stoep_firmware import mac as m
from stoep_firmware import unload
from stoep_firmware.link import LONGEST_LIGHT_MS, PENDING, Link
from stoep_firmware.session import NO_MARGIN, pack_fields, unpack_fields

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_firmware._types import Any, Wait
    from stoep_firmware.board import Board
    from stoep_firmware.mac import Mac
    from stoep_firmware.meter import Meter
    from stoep_firmware.settings import Settings

FIRMWARE = (0, 1, 0)

_DAY_MS = const(86_400_000)
_HOUR_MS = const(3_600_000)
_AGAIN_MS = const(450_000)  # doubled with each uplink
_MOST_UPLINKS = const(8)  # from a slot, or news, to the next
_GO_AWAY_MS = const(60_000)  # for whoever stands at the sensor that is to be calibrated

# What RTC memory keeps of this module, beside two byte strings of error codes and `step`.
_FIELDS = (
    "retry_at_ms",
    "status_at_ms",
    "step_ms",
    "status_part",
    "reset_reason",
    "status_due",
    "ack_due",
    "refused",
    "unconfirmed",
    "uplinks",
    "unanswered",
)
_FORMAT = "<qqqBBBBBBBB"

_EMPTY = const(1)
_REPORT = const(2)
_STATUS = const(3)
_ACK = const(4)
_CALIBRATED = const(5)


class Talk:
    """One wake's conversation; in safe mode without settings.

    `save(durable)` keeps everything and says whether it is kept.

    Nothing is said before `retry_at_ms`. `next_slot_ms`, which the caller sets, is when a message
    that nobody has answered is said again. `anew` is called at a slot and when there is news: after
    so many uplinks the rest waits for it, or a network that always answers empties the battery.

    `step` orders a step of a calibration at `step_ms`; or, if that is 0, it is the answer, which is
    told for a day at most.
    """

    def __init__(
        self,
        board: "Board",
        mac: "Mac",
        settings: "Settings | None",
        task: "Any",
        save: "Callable[[bool], bool]",
        meter: "Meter",
    ) -> None:
        self._board = board
        self._mac = mac
        self._session = mac.session
        self._settings = settings
        self._task = task
        self._save = save
        self._meter = meter
        self.link = Link(board, mac, save, self._radio_fault, meter)
        self._errors = b""
        self._told = b""
        self.step = b""
        self.step_ms = 0
        self.next_slot_ms = 0
        self.retry_at_ms = 0
        self.status_at_ms = 0
        self.status_part = 0
        self.reset_reason = RESET_NONE
        self.status_due = 0
        self.ack_due = 0
        self.refused = 0
        self.unconfirmed = 0  # reports since a confirmed one
        self.uplinks = 0
        self.unanswered = 0  # whether the last one was

    def anew(self, news: bool) -> None:
        """Allow uplinks again; with news, at once."""
        self.uplinks = 0
        if news:
            self.retry_at_ms = 0

    def mishap(self, problem: Exception) -> None:
        """Note a mistake of this program."""
        self.fault(ERROR_MEMORY if isinstance(problem, MemoryError) else ERROR_PROGRAM)

    def fault(self, code: int) -> None:
        """Note an error for a status report, which is sent soon if the code is new today."""
        if code not in self._errors and len(self._errors) < ERRORS_MAX:
            self._errors += bytes((code,))
        if code not in self._told and len(self._told) < ERRORS_MAX:
            self._told += bytes((code,))
            self.status_due = 1

    def run(self) -> "Wait[None]":
        """Join if need be, then say what is due, as far as the duty cycle lets us."""
        now_ms = self._board.clock.now_ms
        if self._session.joined and now_ms() >= self.status_at_ms:
            self.status_due = 1
            self._told = b""
            if not self.step_ms:
                self.step = b""
            self._mac.ask(m.DEVICE_TIME)
        if now_ms() < self.retry_at_ms:
            return
        self.retry_at_ms = 0
        if self._mac.state == m.WAIT:
            result, _ = yield from self.link.perform((m.TIMER,))
            self._take_downlinks()
            if result == PENDING:
                return
        if not self._session.joined:
            if not (self._task.due or self.status_due):
                return
            if not (yield from self._join()):
                return
        while self.uplinks < _MOST_UPLINKS:
            kind, message = self._next_message()
            if not kind:
                return
            f_port, payload = (None, b"") if message is None else encode(message)
            if kind == _CALIBRATED:
                f_port, payload = F_PORT_CALIBRATED, self.step
            every = self._settings.confirmed_every() if self._settings and kind == _REPORT else 0
            confirmed = kind == _CALIBRATED or 0 < every <= self.unconfirmed + 1
            result, value = yield from self.link.perform((m.SEND, f_port, payload, confirmed))
            if result == m.BUSY:
                if value - now_ms() > LONGEST_LIGHT_MS:
                    self.retry_at_ms = value
                    return
                yield from self.link.pause(value)
                continue
            self.uplinks += 1
            if result in (m.SENT, PENDING):
                self._said(kind, message, confirmed)
            self._take_downlinks()
            self.unanswered = int(result == m.NO_ANSWER)
            if self.unanswered:
                self.retry_at_ms = self.next_slot_ms
                # Of a bay that tells changes alone the next slot may be a day away.
                again_ms = now_ms() + (_AGAIN_MS << self.uplinks)
                if confirmed and self.next_slot_ms - now_ms() > _HOUR_MS:
                    self.retry_at_ms = min(self.retry_at_ms, again_ms)
                return
            if result == PENDING:
                return

    def next_deadline(self) -> "int | None":
        """When the MAC or a retry wants a wake before the next slot."""
        wanted_ms = self._mac.next_deadline()
        if self.retry_at_ms and (wanted_ms is None or self.retry_at_ms < wanted_ms):
            return self.retry_at_ms
        return wanted_ms

    def pack(self) -> "list[bytes]":
        """Return what RTC memory keeps, as sections."""
        return [pack_fields(self, _FORMAT, _FIELDS), self._errors, self._told, self.step]

    def unpack(self, sections: "list[bytes]") -> None:
        """Take back what `pack` gave."""
        fields, self._errors, self._told, self.step = sections
        unpack_fields(self, _FORMAT, _FIELDS, fields)

    def _join(self) -> "Wait[bool]":
        now_ms = self._board.clock.now_ms
        while True:
            result, value = yield from self.link.perform((m.JOIN,))
            if result == m.JOINED:
                unload("stoep_firmware.joining", "stoep_protocol.lorawan.join_frames")
                self.status_due = 1
                self.status_at_ms = self._board.clock.now_ms() + _DAY_MS
                self._mac.ask(m.DEVICE_TIME)
                return True
            if result == m.EXHAUSTED:
                value = now_ms() + _DAY_MS
            if value - now_ms() > LONGEST_LIGHT_MS:
                self.retry_at_ms = value
                return False
            yield from self.link.pause(value)

    def _next_message(self) -> "tuple[int, Any]":
        """Return (kind, message) of what is to be said next; kind 0 for nothing."""
        room = self._mac.room()
        message = None
        # A report that is told again until it is answered lets a status go first.
        if not (self.unanswered and self.status_due):
            message = self._task.next_message(self._board.clock.now_ms(), room)
        if message is not None:
            return _REPORT, message
        if self.status_due:
            parts = split(self._status(), room)
            return _STATUS, parts[min(self.status_part, len(parts) - 1)]
        if self.step and not self.step_ms and len(self.step) <= room:
            return _CALIBRATED, None
        # After those, lest a network that goes on configuring silences them.
        if self.ack_due and self._settings is not None:
            return _ACK, self._settings.acknowledgement(self.refused)
        if self._session.answer_due:
            return _EMPTY, None
        return 0, None

    def _said(self, kind: int, message: "Any", confirmed: bool) -> None:
        """Note that the MAC has taken a message; a confirmed one may still be under way."""
        if kind == _REPORT:
            self.unconfirmed = 0 if confirmed else min(self.unconfirmed + 1, 255)
            self._task.said(message)
        elif kind == _CALIBRATED:
            self.step = b""
        elif kind == _ACK:
            self.ack_due = 0
        elif kind == _STATUS:
            self.status_part += 1
            if self.status_part >= len(split(self._status(), self._mac.room())):
                self.status_part = 0
                self.status_due = 0
                self.status_at_ms = self._board.clock.now_ms() + _DAY_MS
                self.reset_reason = RESET_NONE
                self._errors = b""

    def _status(self) -> Status:
        margin_db = self._session.margin_db
        battery_mv = self._board.battery_mv()
        return Status(
            FIRMWARE,
            self._board.wiring.get("id"),
            min(0xFFFF, self._meter.used_mah()),
            None if battery_mv is None else min(0xFFFF, battery_mv),
            self.reset_reason,
            tuple(self._errors),
            None if margin_db == NO_MARGIN else margin_db,
            self._task.calibration(),
        )

    def _take_downlinks(self) -> None:
        for f_port, payload in self.link.inbox:
            if self._settings is None:
                continue
            if f_port == F_PORT_CONFIGURATION:
                before = self._settings.pack()
                self.refused = self._settings.receive(payload)
                self.ack_due = 1
                if not self.refused and not self._save(True):
                    self._settings.unpack(before)
                    self.refused = REFUSED_STORAGE
            elif f_port == F_PORT_READINGS_REQUEST:
                self._task.asked(payload)
            elif f_port == F_PORT_CALIBRATE:
                self.step_ms = self._board.clock.now_ms() + _GO_AWAY_MS
                self.step = payload[:8]
        self.link.inbox.clear()

    def _radio_fault(self, code: int) -> None:
        self.fault(ERROR_RADIO)
        self.fault(code)

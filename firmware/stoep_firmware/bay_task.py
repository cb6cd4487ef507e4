"""The state of a bay between its looks, and what it has to tell."""

import struct

from stoep_protocol.messages import BayReport
from stoep_protocol.schema import (
    CALIBRATION_DONE,
    MODE_REGULAR,
    NOT_CALIBRATED,
    UNCERTAIN,
)

from stoep_firmware import unload
from stoep_firmware.drivers import loaded
from stoep_firmware.sensing.bay import Bay

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_protocol.messages import Message

    from stoep_firmware._types import Wait
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter
    from stoep_firmware.settings import Settings

_FORMAT = "<BBqq3i8s"
_BLIND = const(0x80)  # in `_flags`, which are else those of the report: the last look has failed
_LONG_AGO_MS = const(-(1 << 29))


class BayTask:
    """The state of one bay. `store_due` asks for a write to storage."""

    def __init__(
        self,
        board: "Board",
        settings: "Settings",
        fault: "Callable[[int], None]",
        meter: "Meter",
    ) -> None:
        self._board = board
        self._settings = settings
        self._fault = fault
        self._meter = meter
        self._bay = Bay()
        self._flags = 0
        self._recheck_ms = -1
        self._paid_ms = _LONG_AGO_MS  # until when looks between slots have been used up
        self._watched = (0, 0, 0)  # the field that a sensor without an interrupt is compared with
        self.second = bytes(8)  # what second.py remembers
        self.store_due = False
        self.due = False

    @property
    def asleep(self) -> str:
        """The meter's name for a deep sleep."""
        return "deep" if self._regular() else "watch"

    def sense(self, by_pin: bool) -> "Wait[bool]":
        """Look at the field; True if there is news or, without `by_pin`, in any case.

        In mode regular the sensor rests between the slots, and nothing else is news.
        """
        from stoep_firmware.bay_look import look  # noqa: PLC0415 - let go of afterwards

        news = yield from look(self, by_pin)
        unload(
            "stoep_firmware.bay_look",
            "stoep_firmware.second",
            "stoep_firmware.sensing.detection",
            *loaded(),
        )
        if news:
            self.due = True
        return news

    def recheck_ms(self) -> "int | None":
        """When the sensor wants to be looked at before its slot."""
        return self._recheck_ms if self._recheck_ms >= 0 and not self._regular() else None

    def _regular(self) -> bool:
        return self._settings.mode() == MODE_REGULAR

    def next_message(self, now_ms: int, room: int) -> "Message | None":
        """Return what to tell next; changes nothing."""
        if not self.due:
            return None
        bay = self._bay
        if self._flags & _BLIND:
            return BayReport(UNCERTAIN, bay.change_count)
        flags = self._flags | bay.flags
        if bay.calibration() < CALIBRATION_DONE:
            flags |= NOT_CALIBRATED
        return BayReport(
            bay.told(),
            bay.change_count,
            self._board.clock.elapsed_ms(bay.since_ms, now_ms) // 1000,
            bay.previous_ms // 1000 if bay.previous_ms >= 0 else None,
            flags,
        )

    def said(self, message: "Message") -> None:
        """Note that a message has gone out."""
        self.due = False

    def asked(self, payload: bytes) -> None:
        """Take a request for readings: a bay has none."""

    def calibration(self) -> int:
        """Return the schema's calibration code."""
        return self._bay.calibration()

    def pack(self) -> bytes:
        """Return the state for RTC memory."""
        head = (self._flags, self.due, self._recheck_ms, self._paid_ms)
        return struct.pack(_FORMAT, *head, *self._watched, self.second) + self._bay.pack()

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        head = struct.unpack_from(_FORMAT, data, 0)
        self._flags, due, self._recheck_ms, self._paid_ms = head[:4]
        self._watched = head[4:7]
        self.second = head[7]
        self.due = due != 0
        self._bay.unpack(data[struct.calcsize(_FORMAT) :])

    def pack_durable(self) -> bytes:
        """Return what a power loss leaves, as of the last write: above all the baseline."""
        return self.pack()

    def restart(self, data: bytes) -> None:
        """Go on after a power loss."""
        self.unpack(data)
        self._recheck_ms = -1
        self._paid_ms = _LONG_AGO_MS
        self._bay.forget_times(self._board.clock.now_ms())

"""The task of a container's board that looks after more than the level: see guard.py."""

import struct

from stoep_protocol.messages import fit
from stoep_protocol.schema import FLAPS_MAX, LID_OPEN, TILTED

from stoep_firmware import unload
from stoep_firmware.bin_task import BinTask

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_protocol.messages import BinReport, Message

    from stoep_firmware._types import Any, Wait

_BEGINNING = "<BbHq"  # of what sensing/alarms.py keeps: flags, temperature, openings, next look
_UNKNOWN_C = const(127)
_ANEW = const(255)
_ROOM = const(255)  # more than any frame has
# In what lid.py keeps: whether it is open, and since when and for how long it may be.
_IS_OPEN = const(4)
_SINCE = const(17)


class GuardedTask(BinTask):
    """The readings of one container, and its alarms."""

    def __init__(self, *given: "Any") -> None:
        BinTask.__init__(self, *given)
        self._guard = b""  # nothing until the first look

    def sense(
        self, by_pin: bool, temperature_c: "int | None" = None, alarm: bool = False
    ) -> "Wait[bool]":
        """Look after the container, then take a reading, unless that was all."""
        from stoep_firmware.guard import look  # noqa: PLC0415 - let go of after the look

        board = self._board
        reading_ms = BinTask.recheck_ms(self)
        alarm, self._guard = yield from look(
            board, self._settings, self._guard, self._fault, self._meter, by_pin
        )
        unload("stoep_firmware.guard", "stoep_firmware.sensing.alarms", "stoep_firmware.lid")
        if by_pin and not alarm and (reading_ms is None or reading_ms > board.clock.now_ms()):
            return False
        temperature_c = self._kept()[1]
        told: bool = yield from BinTask.sense(
            self, by_pin, None if temperature_c == _UNKNOWN_C else temperature_c, alarm
        )
        return told

    def recheck_ms(self) -> "int | None":
        """When the sensors want to be looked at before their slot."""
        alarms, _, _, guard_ms = self._kept()
        lid_ms = 0
        lid = self._board.lid
        if lid and lid[_IS_OPEN] and not alarms & LID_OPEN:
            since_ms, limit_ms = struct.unpack_from("<qq", lid, _SINCE)
            if limit_ms:
                lid_ms = since_ms + limit_ms + self._board.clock.offset_ms
        wanted = [at_ms for at_ms in (BinTask.recheck_ms(self), guard_ms, lid_ms) if at_ms]
        return min(wanted) if wanted else None

    def next_message(self, now_ms: int, room: int) -> "Message | None":
        """Return what to tell next in at most `room` octets; changes nothing."""
        message: Any = BinTask.next_message(self, now_ms, _ROOM)
        if message is None:
            return None
        if message.sequence == self._outbox.sequence:
            alarms, temperature_c, flaps, _ = self._kept()
            message.flags |= alarms
            if not message.age_min:
                if temperature_c != _UNKNOWN_C:
                    message.temperature_c = temperature_c
                if self._board.lid:
                    message.flaps = min(FLAPS_MAX, flaps)
        return fit(message, room)

    def said(self, message: "BinReport") -> None:
        """Note that a message has gone out."""
        flaps = message.flaps
        if flaps:
            # 255 are that many or more.
            left = 0 if flaps == FLAPS_MAX else self._kept()[2] - flaps
            self._guard = self._guard[:2] + left.to_bytes(2, "little") + self._guard[4:]
        BinTask.said(self, message)

    def stands(self) -> None:
        """Take how it stands at the next look for how it shall stand."""
        if self._guard:
            self._guard = self._guard[:-1] + bytes((_ANEW,))

    def pack(self) -> bytes:
        """Return the state for RTC memory."""
        return bytes((len(self._guard),)) + self._guard + BinTask.pack(self)

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        end = 1 + data[0]
        self._guard = data[1:end]
        BinTask.unpack(self, data[end:])

    def _worth(self, quality: int) -> int:
        # Told again among earlier readings it has no flags.
        return min(quality, 1) if self._kept()[0] & (LID_OPEN | TILTED) else quality

    def _kept(self) -> "tuple[int, int, int, int]":
        if not self._guard:
            return 0, _UNKNOWN_C, 0, 0
        kept: tuple[int, int, int, int] = struct.unpack_from(_BEGINNING, self._guard, 0)
        return kept

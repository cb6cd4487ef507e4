"""What a container's sensor does in a wake: ping, keep what is to be told, report it."""

from stoep_protocol.messages import fit
from stoep_protocol.schema import (
    CALIBRATION_NONE,
    ERROR_OUTBOX_FULL,
    ERROR_SENSOR_BUS,
    ERROR_SENSOR_SILENT,
    MODE_REGULAR,
)

from stoep_firmware import unload
from stoep_firmware.drivers import load, loaded
from stoep_firmware.outbox import Outbox
from stoep_firmware.sensing.bin import reading

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_protocol.messages import BinReport, Message

    from stoep_firmware._types import Wait
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter
    from stoep_firmware.settings import Settings

_PINGS = const(5)
_SILENT_BURSTS = const(6)  # without a sign of life; one is an absent echo, so many a dead sensor

_HEAD_OCTETS = const(3)
_ANSWERED_OCTETS = const(9)  # of answers.answer
_NEWS_OCTETS = const(20)  # of sensing.news, which begins with the time of the next look


class BinTask:
    """The readings of one container. `store_due` asks for a write to storage."""

    asleep = "deep"  # the meter's name for a deep sleep

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
        self._outbox = Outbox(board.clock)
        self._flags = 0
        self._silent = 0
        self._answered = bytes(_ANSWERED_OCTETS)
        self._news = bytes(_NEWS_OCTETS)
        self.store_due = False
        self.due = False

    def sense(
        self, by_pin: bool, temperature_c: "int | None" = None, alarm: bool = False
    ) -> "Wait[bool]":
        """Take one reading; True if it is to be reported, as it is in an alarm."""
        self._news = bytes(8) + self._news[8:]
        board = self._board
        clock = board.clock
        driver = load(board.config.get("sensor", "a02yyuw"))
        distances_mm: list[int] = []
        signs = 1
        begun_ms = clock.now_ms()
        try:
            distances_mm, signs = yield from driver.sample(board, _PINGS, temperature_c)
        except OSError:
            self._fault(ERROR_SENSOR_BUS)
        self._meter.draw(driver.SUPPLY_UA, clock.now_ms() - begun_ms)
        self._silent = 0 if signs else min(self._silent + 1, 255)
        if self._silent == _SILENT_BURSTS:
            self._fault(ERROR_SENSOR_SILENT)
        distance_mm, quality, flags = reading(
            distances_mm, _PINGS, driver.NEAREST_MM, driver.FARTHEST_MM
        )
        unload(*loaded())
        if self._settings.level > 1 or self._settings.mode() != MODE_REGULAR:
            from stoep_firmware.sensing.news import weigh  # noqa: PLC0415 - few devices need it

            told, self._news = weigh(
                self._news, clock.now_ms(), distance_mm, quality, self._settings
            )
            if not told and not alarm:
                return False
        self._flags = flags
        if self._outbox.full():
            self._fault(ERROR_OUTBOX_FULL)
        if self._outbox.add(clock.now_ms(), distance_mm, self._worth(quality)):
            self.store_due = True
        self.due = True
        return True

    def _worth(self, quality: int) -> int:
        return quality

    def recheck_ms(self) -> "int | None":
        """When the sensor wants to be looked at before its slot."""
        return int.from_bytes(self._news[:8], "little") or None

    def next_message(self, now_ms: int, room: int) -> "Message | None":
        """Return what to tell next in at most `room` octets; changes nothing."""
        if not self.due:
            return None
        message = self._outbox.message(now_ms, self._settings.history(), self._flags)
        return message and fit(message, room)

    def said(self, message: "BinReport") -> None:
        """Note that a message has gone out; what did not fit into it stays due."""
        self._outbox.told(message.sequence, 1 + len(message.history))
        now_ms = self._board.clock.now_ms()
        # A low battery is not spent on what is past.
        left = self._settings.level == 0 and self._outbox.message(now_ms, 0, 0)
        self.due = bool(left)

    def asked(self, payload: bytes) -> None:
        """Take a request for readings. They go with the next report, or right after it."""
        if self._settings.level == 0:
            from stoep_firmware.answers import answer  # noqa: PLC0415 - few wakes see one

            now_ms = self._board.clock.now_ms()
            self._answered = answer(self._outbox, self._answered, now_ms, payload)

    def calibration(self) -> int:
        """Return the schema's calibration code: there is nothing to calibrate."""
        return CALIBRATION_NONE

    def pack(self) -> bytes:
        """Return the state for RTC memory."""
        head = bytes((self._flags, self._silent, self.due))
        return head + self._answered + self._news + self._outbox.pack()

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        self._flags, self._silent, due = data[:_HEAD_OCTETS]
        self.due = due != 0
        at = _HEAD_OCTETS + _ANSWERED_OCTETS
        self._answered = data[_HEAD_OCTETS:at]
        self._news = data[at : at + _NEWS_OCTETS]
        self._outbox.unpack(data[at + _NEWS_OCTETS :])

    def pack_durable(self) -> bytes:
        """Return what a power loss must not undo."""
        return self._outbox.limit.to_bytes(2, "little")

    def restart(self, data: bytes) -> None:
        """Go on after a power loss."""
        self._outbox.restart(int.from_bytes(data, "little"))

"""What a container's sensor does in a wake: ping, keep the reading, report it."""

from stoep_protocol.schema import CALIBRATION_NONE, ERROR_SENSOR_SILENT

from stoep_firmware.board import LIGHT
from stoep_firmware.drivers.a02yyuw import BAUDRATE, sample
from stoep_firmware.outbox import Outbox
from stoep_firmware.sensing.bin import reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_protocol.messages import Message

    from stoep_firmware._types import Wait
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter
    from stoep_firmware.settings import Settings

_PINGS = 5
_START_MS = 300  # from power to the first frame
_BURST_MS = 1500
_SILENT_BURSTS = 6  # without a single octet; one is an absent echo, so many are a dead sensor


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
        self._outbox = Outbox()
        self._flags = 0
        self._silent = 0
        self.store_due = False

    def sense(self, by_pin: bool) -> "Wait[bool]":
        """Take one reading; True because every reading is reported."""
        board = self._board
        clock = board.clock
        begun_ms = clock.now_ms()
        board.sensor_power(True)
        try:
            uart = board.uart(BAUDRATE)
            yield LIGHT, begun_ms + _START_MS
            burst = yield from sample(uart, clock, _PINGS, _BURST_MS)
        finally:
            board.sensor_power(False)
        self._meter.add("sensor", clock.now_ms() - begun_ms)
        self._silent = 0 if burst.octets else min(self._silent + 1, 255)
        if self._silent == _SILENT_BURSTS:
            self._fault(ERROR_SENSOR_SILENT)
        distance_mm, quality, self._flags = reading(burst.distances_mm, _PINGS)
        if self._outbox.add(clock.now_ms(), distance_mm, quality):
            self.store_due = True
        return True

    def recheck_ms(self) -> "int | None":
        """When the sensor wants to be looked at before its slot: never."""
        return None

    def report(self, now_ms: int) -> "Message":
        """Return what there is to say."""
        return self._outbox.report(now_ms, self._settings.history(), self._flags)

    def sent(self) -> None:
        """Note that the report has gone out."""
        self._outbox.sent()

    def calibration(self) -> int:
        """Return the schema's calibration code: there is nothing to calibrate."""
        return CALIBRATION_NONE

    def pack(self) -> bytes:
        """Return the state for RTC memory."""
        return bytes((self._flags, self._silent)) + self._outbox.pack()

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        self._flags = data[0]
        self._silent = data[1]
        self._outbox.unpack(data[2:])

    def pack_durable(self) -> bytes:
        """Return what a power loss must not undo."""
        return self._outbox.limit.to_bytes(2, "little")

    def restart(self, data: bytes) -> None:
        """Go on after a power loss."""
        self._outbox.restart(int.from_bytes(data, "little"))

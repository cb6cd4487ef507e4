"""What a bay's sensor does in a wake: let the field settle, decide, watch for the next change."""

import struct

from stoep_protocol.messages import BayReport
from stoep_protocol.schema import (
    CALIBRATION_DONE,
    ERROR_SENSOR_BUS,
    ERROR_SENSOR_SILENT,
    FIELD_SATURATED,
    MODE_REGULAR,
    NOT_CALIBRATED,
    UNCERTAIN,
)

from stoep_firmware import unload
from stoep_firmware.board import LIGHT
from stoep_firmware.drivers import load, loaded
from stoep_firmware.sensing.bay import Bay, axis_threshold, settled

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_protocol.messages import Message

    from stoep_firmware._types import Wait, Watch
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter
    from stoep_firmware.settings import Settings

_FORMAT = "<BBqq3i8s"
_FIELDS = const(6)
_PATIENCE_MS = const(10_000)  # for a car that manoeuvres
_RECHECK_MS = const(60_000)
# Between two slots a look every five minutes, and a rush of 32: a field that never rests, or an
# interrupt that is stuck, costs 8 mAh a day, not 150.
_PACE_MS = const(300_000)
_RUSH_MS = const(32 * 300_000)
_BLIND_MS = const(600_000)  # until a sensor that failed is looked for again
_BLIND = const(0x80)  # in `_flags`, which are else those of the report: the last look has failed
_MARGIN_MS = const(20)  # the sensor's rate is its own, to some percent
_COUNTS_PER_MT = const(68420)  # of every driver


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
        self._paid_ms = -_RUSH_MS  # until when looks between slots have been used up
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
        now_ms = self._board.clock.now_ms()
        spent = by_pin and self._paid_ms > now_ms
        if by_pin:
            self._paid_ms = max(self._paid_ms, now_ms - _RUSH_MS) + _PACE_MS
        news = yield from self._look(by_pin)
        unload("stoep_firmware.sensing.detection", "stoep_firmware.second", *loaded())
        if spent:
            self._board.sensor_wakes = False
            self._recheck_ms = max(self._recheck_ms, self._paid_ms)
        if news:
            self.due = True
        return news

    def _look(self, by_pin: bool) -> "Wait[bool]":
        clock = self._board.clock
        changed = False
        before = self._flags
        self._flags = _BLIND
        self._recheck_ms = clock.now_ms() + _BLIND_MS
        # The pin of a sensor that is not under control would end every sleep at once.
        self._board.sensor_wakes = False
        threshold = self._settings.bay_threshold_nt() * _COUNTS_PER_MT // 1_000_000
        try:
            config = self._board.config
            driver = load(config.get("sensor", "lis3mdl"))
            sensor: Watch = driver.open_sensor(self._board.i2c())
            poll_ms = sensor.POLL_S and config.get("poll_s", sensor.POLL_S) * 1000
            sensor.measure()
            if by_pin and poll_ms and not before & _BLIND:
                yield LIGHT, clock.now_ms() + sensor.CONVERSION_MS + _MARGIN_MS
                if sensor.fresh() and settled([self._watched, sensor.field()], threshold):
                    # An interrupt would not have come, so nothing is judged, nor counted.
                    sensor.rest()
                    self._flags = before
                    self._paid_ms -= _PACE_MS
                    self._recheck_ms = clock.now_ms() + poll_ms
                    return False
            if by_pin:
                # The first change is a bonnet; what stays is a car, or the lane's traffic is gone.
                yield LIGHT, clock.now_ms() + self._settings.settle_s() * 1000
            fields: list[tuple[int, int, int]] = []
            until_ms = clock.now_ms() + _PATIENCE_MS
            still = None
            while still is None and clock.now_ms() < until_ms:
                yield LIGHT, clock.now_ms() + sensor.CONVERSION_MS
                if sensor.fresh():
                    fields = fields[1 - _FIELDS :] + [sensor.field()]
                    if len(fields) == _FIELDS:
                        still = settled(fields, threshold)
            if not fields:
                self._fault(ERROR_SENSOR_SILENT)
                return not by_pin or not before & _BLIND
            self._flags = FIELD_SATURATED if sensor.saturated() else 0
            recheck_ms = -1
            if still is None:
                recheck_ms = clock.now_ms() + _RECHECK_MS
                still = fields[-1]
            else:
                warm = sensor.temperature()
                state = self._bay.pack()
                changed = self._bay.update(still, clock.now_ms(), threshold, warm)
                if "second" in config:
                    from stoep_firmware.second import ask  # noqa: PLC0415 - few bays have it

                    changed = yield from ask(self, state, still, threshold, warm, changed)
            if self._regular():
                sensor.rest()
                return not by_pin
            if poll_ms:
                sensor.rest()
                self._watched = (0, 0, 0)
                if recheck_ms < 0:
                    self._watched = still
                    recheck_ms = clock.now_ms() + poll_ms
            else:
                sensor.watch(still, axis_threshold(threshold))
                yield LIGHT, clock.now_ms() + sensor.CONVERSION_MS + _MARGIN_MS
                sensor.settle()
                if self._board.sensor_int():
                    # It would wake us at once, again and again: wait with open eyes instead.
                    sensor.measure()
                    recheck_ms = clock.now_ms() + _RECHECK_MS
                else:
                    self._board.sensor_wakes = True
            self._recheck_ms = recheck_ms
        except OSError:
            self._fault(ERROR_SENSOR_BUS)
        return changed or not by_pin or (self._flags ^ before) & _BLIND != 0

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
        self._paid_ms = -_RUSH_MS
        self._bay.forget_times(self._board.clock.now_ms())

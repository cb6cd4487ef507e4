"""A wake that goes as it should: restore, sense what is due, say what is due, keep everything."""

from stoep_protocol.schema import (
    ERROR_BATTERY_LOW,
    ERROR_CLOCK,
    ERROR_MEMORY,
    ERROR_RADIO,
    ERROR_SENSOR_BUS,
    ERROR_STORAGE,
    ERROR_WATCHDOG,
    RESET_BROWN_OUT,
    RESET_EXTERNAL,
    RESET_POWER_ON,
    RESET_WATCHDOG,
)

from stoep_firmware import energy, identity
from stoep_firmware.session import pack_fields, unpack_fields
from stoep_firmware.settings import Settings
from stoep_firmware.store import BROWN_OUT
from stoep_firmware.talk import Talk

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Any, Wait
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter
    from stoep_firmware.store import Store

_DAY_MS = const(86_400_000)
_SHORTEST_SLEEP_MS = const(1000)
_FIRST_SPREAD_MS = const(8_000)  # a street that gets its power back must not join in one moment
_RESET_REASONS = {"power": RESET_POWER_ON, "watchdog": RESET_WATCHDOG}

# What the watchdog may find hanging, as Store.mark keeps it, and the code that says so.
_SENSOR = const(1)
_RADIO = const(2)
_HANGING = (0, ERROR_SENSOR_BUS, ERROR_RADIO)
_MOST_HANGS = const(6)  # after which a part is tried once in 64 slots, or a day

# What RTC memory keeps of this module.
_FIELDS = (
    "next_slot_ms",
    "skip_until_ms",
    "used_uc",
    "level",
    "level_doubted",
    "hangs",
    "hanging",
)
_FORMAT = "<qqqBBBB"
_USED_OCTETS = const(8)  # of used_uc in storage
_RTC_SECTIONS = const(8)  # beside those of the session


class Wake:
    """The state of a device, and what it does in one wake."""

    strikes = 0  # what an end without a mistake leaves of failed starts

    def __init__(self, board: "Board", store: "Store", meter: "Meter") -> None:
        config = board.config
        self._board = board
        self._store = store
        self._meter = meter
        self._identity = identity.mark(config)
        self._settings = Settings(config)
        self.next_slot_ms = 0
        self.skip_until_ms = 0
        self.used_uc = 0
        self.level = 0
        self.level_doubted = 0
        self.hangs = 0
        self.hanging = 0
        # Only what this kind of device needs is loaded: heap.
        if config["kind"] == "bay":
            from stoep_firmware.bay_task import BayTask as Task  # noqa: PLC0415
        elif {"motion", "thermometer", "lid"} & set(config):
            from stoep_firmware.guarded_task import GuardedTask as Task  # type: ignore[assignment]  # noqa: PLC0415
        else:
            from stoep_firmware.bin_task import BinTask as Task  # type: ignore[assignment]  # noqa: PLC0415
        self._task: Any = Task(board, self._settings, self._fault, meter)
        said = self._restore()
        self._mac = identity.new_mac(board, self._session)
        self._talk = Talk(board, self._mac, self._settings, self._task, self._save, meter)
        if said is not None:
            self._talk.unpack(said)
        elif self._session.joined:
            self._talk.status_due = 1
            self._talk.status_at_ms = board.clock.now_ms() + _DAY_MS
        if board.clock.offset_ms != self._session.clock_offset_ms:
            self._fault(ERROR_CLOCK)

    def run(self) -> "Wait[None]":
        """Sense what is due, then say what is due."""
        board = self._board
        store = self._store
        now_ms = board.clock.now_ms()
        reason = board.wake_reason()
        first = self.next_slot_ms == 0
        self._begin(reason, now_ms)
        recheck_ms = self._task.recheck_ms()
        slot = now_ms >= self.next_slot_ms
        if slot:
            self._weigh_battery()
        if self.level == energy.ASLEEP:
            return
        if slot:
            self._next_slot(now_ms, first)
            self._talk.anew(news=False)
        step = 0 < self._talk.step_ms <= now_ms
        due = slot or step or reason == "pin" or (recheck_ms is not None and now_ms >= recheck_ms)
        if due and not self._skips(_SENSOR, now_ms):
            store.mark(_SENSOR)
            try:
                if step:
                    from stoep_firmware.calibrating import carry_out  # noqa: PLC0415 - seldom

                    yield from carry_out(
                        board, self._task, self._settings, self._talk, self._mac.room()
                    )
                if (yield from self._task.sense(not (slot or step))):
                    self._talk.anew(news=True)
            except Exception as problem:  # noqa: BLE001 - else nobody would ever be told
                board.on_problem(problem)
                self.mishap(problem)
            self._worked(_SENSOR)
        if self._skips(_RADIO, now_ms):
            return
        if first:
            yield from self._talk.link.pause(board.clock.now_ms() + board.random(_FIRST_SPREAD_MS))
        self._talk.next_slot_ms = self.next_slot_ms
        store.mark(_RADIO)
        yield from self._talk.run()
        self._worked(_RADIO)

    def sleep_until_ms(self) -> int:
        """Return when the next wake is due."""
        now_ms = self._board.clock.now_ms()
        if self.level == energy.ASLEEP:
            self.next_slot_ms = now_ms + _DAY_MS
            self._board.sensor_wakes = False
            self._board.lid = b""
            return self.next_slot_ms
        # A configuration may have come down, in a wake that did not get as far as this.
        self.next_slot_ms = min(self.next_slot_ms, now_ms + self._settings.interval_ms())
        until_ms = self.next_slot_ms
        wanted: list[int | None] = []
        if not self._skips(_SENSOR, now_ms):
            wanted += [self._task.recheck_ms(), self._talk.step_ms]
        if not self._skips(_RADIO, now_ms):
            wanted.append(self._talk.next_deadline())
        for wanted_ms in wanted:
            if wanted_ms and wanted_ms < until_ms:
                until_ms = wanted_ms
        return max(until_ms, now_ms + _SHORTEST_SLEEP_MS)

    def close(self) -> None:
        """Put the radio to sleep and keep everything."""
        self._talk.link.close()
        self._save(False)

    def mishap(self, problem: Exception) -> None:
        """Note a mistake of this program."""
        self._talk.mishap(problem)

    def _fault(self, code: int) -> None:
        self._talk.fault(code)

    def _begin(self, reason: str, now_ms: int) -> None:
        """Take notice of how the last wake ended."""
        if reason in ("timer", "pin"):
            self._meter.ended(self._task.asleep, now_ms - self._session.saved_ms)
            if self._store.marked == BROWN_OUT:
                self._talk.reset_reason = RESET_BROWN_OUT
                self.level_doubted = 1
            return
        self._board.quiet()
        # After any reset the radio has to be put to sleep, unless a call to it would not return.
        self._talk.link.radio_awake = reason != "watchdog" or self._store.marked != _RADIO
        self._talk.reset_reason = _RESET_REASONS.get(reason, RESET_EXTERNAL)
        if reason != "watchdog":
            return
        self._meter.ended("awake", now_ms - self._session.saved_ms)
        part = self._store.marked
        self.hangs = min(self.hangs + 1, _MOST_HANGS) if part == self.hanging else 1
        self.hanging = part
        # A part that hangs each time empties the battery: it is left alone for longer and longer.
        rest_ms = self._settings.interval_ms() * ((1 << self.hangs) - 1) // 2
        self.skip_until_ms = now_ms + min(rest_ms, _DAY_MS)
        self._fault(ERROR_WATCHDOG)
        if part:
            self._fault(_HANGING[part])

    def _skips(self, part: int, now_ms: int) -> bool:
        return self.hanging == part and now_ms < self.skip_until_ms

    def _worked(self, part: int) -> None:
        self._store.mark(0)
        if self.hanging == part:
            self.hanging = self.hangs = 0

    def _weigh_battery(self) -> None:
        levels_mv = self._board.wiring.get("battery_levels_mv", energy.LEVELS_MV)
        battery_mv = self._board.battery_mv()
        self.level, doubted = energy.level(
            self.level, bool(self.level_doubted), battery_mv, levels_mv
        )
        self.level_doubted = int(doubted)
        self._settings.level = self.level
        self._mac.battery = energy.gauge(battery_mv, levels_mv)
        if self.level:
            self._fault(ERROR_BATTERY_LOW)

    def _next_slot(self, now_ms: int, first: bool) -> None:
        interval_ms = self._settings.interval_ms()
        if first:
            # Devices that got their power together shall not report together for ever.
            self.next_slot_ms = now_ms + interval_ms - self._board.random(interval_ms // 4)
            return
        self.next_slot_ms += interval_ms
        if not now_ms < self.next_slot_ms <= now_ms + interval_ms:
            self.next_slot_ms = now_ms + interval_ms

    # Memory.

    def _restore(self) -> "list[bytes] | None":
        """Take back what memory has; return what it has for the conversation."""
        clock = self._board.clock
        self._session, kept = identity.recall(self._store, self._identity, clock)
        if kept is not None and len(kept) == _RTC_SECTIONS:
            self._settings.unpack(kept[0])
            self._task.unpack(kept[1])
            unpack_fields(self, _FORMAT, _FIELDS, kept[2])
            self._settings.level = self.level
            self._meter.used_uc = self.used_uc
            clock.unpack(kept[3])
            if clock.offset_ms != self._session.clock_offset_ms:
                self.next_slot_ms = self._session.saved_ms
                clock.broke()
            return kept[4:]
        stored = identity.stored(self._store, self._identity)
        if stored:
            self._settings.unpack(stored[0])
            self._task.restart(stored[1])
            self._meter.used_uc = int.from_bytes(stored[2], "little")
        return None

    def _save(self, durable: bool) -> bool:
        """Keep everything, in storage too if `durable`, the task wants it or it is still owed;
        False if storage failed.
        """
        clock = self._board.clock
        self._session.stamp(clock)
        self._meter.until(self._session.saved_ms)
        self.used_uc = self._meter.used_uc
        session = self._session.pack()
        settings = self._settings.pack()
        rtc = [session, self._identity] + self._session.pack_volatile()
        fields = pack_fields(self, _FORMAT, _FIELDS)
        rtc += [settings, self._task.pack(), fields, clock.pack()] + self._talk.pack()
        if durable or self._task.store_due:
            self._store.owing = True
        if not self._store.save_rtc(rtc):
            self._fault(ERROR_MEMORY)
        if not self._store.owing:
            return True
        used = self.used_uc.to_bytes(_USED_OCTETS, "little")
        try:
            self._store.save_storage(
                [session, self._identity, settings, self._task.pack_durable(), used]
            )
        except OSError:
            self._fault(ERROR_STORAGE)
            return False
        self._task.store_due = False
        self._store.save_rtc(rtc)
        return True

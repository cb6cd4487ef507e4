"""One wake of the device: restore, sense, send, sleep.

`run` is a generator. It yields `(mode, until_ms)` with the modes of board.py and lets whoever
drives it do the sleeping: LIGHT ends at `until_ms` (board clock) or when the radio raises DIO1,
IDLE at `until_ms`, with the processor on. DEEP is always the last; the next wake is a new `run`.

Whatever goes wrong ends as an error code in the next status report and in a DEEP yield.
"""

import struct
from binascii import crc32, unhexlify

from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.crypto import Key
from stoep_protocol.messages import Status, encode, fit, split
from stoep_protocol.schema import (
    ERROR_CLOCK,
    ERROR_MEMORY,
    ERROR_RADIO,
    ERROR_SAFE_MODE,
    ERROR_STORAGE,
    ERRORS_MAX,
    F_PORT_CONFIGURATION,
    REFUSED_STORAGE,
    RESET_EXTERNAL,
    RESET_NONE,
    RESET_POWER_ON,
    RESET_WATCHDOG,
)

from stoep_firmware import mac as m
from stoep_firmware.board import DEEP, LIGHT
from stoep_firmware.link import LONGEST_LIGHT_MS, PENDING, Link
from stoep_firmware.mac import Mac
from stoep_firmware.meter import Meter
from stoep_firmware.session import NO_MARGIN, Session
from stoep_firmware.settings import REFUSED_NOT, Settings
from stoep_firmware.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stoep_firmware._types import Any, Wait
    from stoep_firmware.board import Board

FIRMWARE = (0, 1, 0)

_DAY_MS = 86_400_000
_AFTER_FAULT_MS = 900_000
_SHORTEST_SLEEP_MS = 1000
_FIRST_SPREAD_MS = 8_000  # a street that gets its power back must not join in one moment
_MOST_UPLINKS = 8  # in one wake

_RESET_REASONS = {"power": RESET_POWER_ON, "watchdog": RESET_WATCHDOG}

# What RTC memory keeps of this module, beside two byte strings of error codes.
_FIELDS = (
    "next_slot_ms",
    "retry_at_ms",
    "status_at_ms",
    "saved_ms",
    "clock_offset_ms",
    "used_uc",
    "reports",
    "status_part",
    "reset_reason",
    "report_due",
    "status_due",
    "ack_due",
    "refused",
)
_FORMAT = "<qqqqqqIBBBBBB"
_DURABLE_FORMAT = "<q"
_RTC_SECTIONS = 12
# Of config.json: a record that was made under others is another device's.
_IDENTITY = ("kind", "region", "dev_eui", "join_eui", "app_key")


def run(board: "Board") -> "Iterator[tuple[int, int]]":
    """Run one wake on this board."""
    now_ms = board.clock.now_ms
    app: App | None = None
    until_ms = 0
    try:
        app = App(board)
        # Between two yields the processor is awake; what follows a yield is the sleep it asked for.
        before_ms = now_ms()
        for mode, light_until_ms in app.wake():
            app.meter.add("awake", now_ms() - before_ms)
            before_ms = now_ms()
            yield mode, light_until_ms
            after_ms = now_ms()
            app.meter.add("light" if mode == LIGHT else "awake", after_ms - before_ms)
            before_ms = after_ms
        app.meter.add("awake", now_ms() - before_ms)
        until_ms = app.sleep_until_ms()
    except Exception as problem:  # noqa: BLE001 - the root: a device in the field has nobody to tell
        until_ms = now_ms() + _AFTER_FAULT_MS
        if app is None:
            board.on_problem(problem)
        else:
            app.mishap(problem)
    if app is not None:
        try:
            app.close()
        except Exception as problem:  # noqa: BLE001 - likewise
            board.on_problem(problem)
    yield DEEP, until_ms


class App:
    """The state of a device and what it does in a wake."""

    def __init__(self, board: "Board") -> None:
        config = board.config
        self._board = board
        self.settings = Settings(config)
        self.session = Session()
        self.meter = Meter(board.wiring)
        self._store = Store(board.rtc_memory, board.storage)
        self._task: Any = None
        # Only what this kind of device needs is loaded: heap.
        if config["kind"] == "bay":
            from stoep_firmware.bay_task import BayTask  # noqa: PLC0415

            self._task = BayTask(board, self.settings, self.fault, self.meter)
        else:
            from stoep_firmware.bin_task import BinTask  # noqa: PLC0415

            self._task = BinTask(board, self.settings, self.fault, self.meter)
        identity = " ".join([config[name] for name in _IDENTITY])
        self._identity = crc32(identity.encode()).to_bytes(4, "little")
        self._errors = b""
        self._told = b""
        self.next_slot_ms = 0
        self.retry_at_ms = 0
        self.status_at_ms = 0
        self.saved_ms = 0
        self.clock_offset_ms = 0
        self.used_uc = 0
        self.reports = 0
        self.status_part = 0
        self.reset_reason = RESET_NONE
        self.report_due = 0
        self.status_due = 0
        self.ack_due = 0
        self.refused = 0
        self._restore()
        self._link = self._make_link()

    # One wake.

    def wake(self) -> "Wait[None]":
        """Sense what is due, then say what is due."""
        board = self._board
        now_ms = board.clock.now_ms
        reason = board.wake_reason()
        if reason in ("timer", "pin"):
            self.meter.woken(self._task.asleep, now_ms() - self.saved_ms)
        else:
            self._link.radio_awake = True
            self.reset_reason = _RESET_REASONS.get(reason, RESET_EXTERNAL)
        first = self.next_slot_ms == 0
        recheck_ms = self._task.recheck_ms()
        slot = now_ms() >= self.next_slot_ms
        if slot or reason == "pin" or (recheck_ms is not None and now_ms() >= recheck_ms):
            if slot:
                self._next_slot(now_ms(), first)
            try:
                news = yield from self._task.sense(not slot)
            except Exception as problem:  # noqa: BLE001 - else nobody would ever be told
                self.mishap(problem)
                news = False
            if news:
                self.report_due = 1
                self.retry_at_ms = 0
        if self.session.joined and now_ms() >= self.status_at_ms:
            self.status_due = 1
            self._told = b""
        if now_ms() >= self.retry_at_ms:
            self.retry_at_ms = 0
            if first:
                yield from self._link.pause(now_ms() + board.random(_FIRST_SPREAD_MS))
            yield from self._talk()

    def sleep_until_ms(self) -> int:
        """Return when the next wake is due."""
        until_ms = self.next_slot_ms
        for wanted_ms in (self.retry_at_ms, self._task.recheck_ms(), self._mac.next_deadline()):
            if wanted_ms and wanted_ms < until_ms:
                until_ms = wanted_ms
        return max(until_ms, self._board.clock.now_ms() + _SHORTEST_SLEEP_MS)

    def close(self) -> None:
        """Put the radio to sleep and keep everything."""
        self._link.close()
        self._save(False)

    def mishap(self, problem: Exception) -> None:
        """Note a mistake of this program."""
        self._board.on_problem(problem)
        self.fault(ERROR_MEMORY if isinstance(problem, MemoryError) else ERROR_SAFE_MODE)

    def fault(self, code: int) -> None:
        """Note an error for a status report, which is sent soon if the code is new today."""
        if code not in self._errors and len(self._errors) < ERRORS_MAX:
            self._errors += bytes((code,))
        if code not in self._told and len(self._told) < ERRORS_MAX:
            self._told += bytes((code,))
            self.status_due = 1

    def _next_slot(self, now_ms: int, first: bool) -> None:
        interval_ms = self.settings.interval_ms()
        if first:
            # Devices that got their power together shall not report together for ever.
            self.next_slot_ms = now_ms + interval_ms - self._board.random(interval_ms // 4)
            return
        self.next_slot_ms += interval_ms
        if not now_ms < self.next_slot_ms <= now_ms + interval_ms:
            self.next_slot_ms = now_ms + interval_ms

    # Talking.

    def _make_link(self) -> Link:
        board = self._board
        config = board.config
        self._mac = Mac(
            regions.by_name(config["region"]),
            self.session,
            lambda octets: Key(board.new_aes(octets)),
            board.random,
            unhexlify(config["join_eui"]),
            unhexlify(config["dev_eui"]),
            unhexlify(config["app_key"]),
            bool(config.get("adr", False)),
        )
        return Link(board, self._mac, self._save, self._radio_fault, self.meter)

    def _talk(self) -> "Wait[None]":
        """Join if need be, then send what is due, as far as the duty cycle lets us."""
        if self._mac.state == m.WAIT:
            result, value = yield from self._link.perform((m.TIMER,))
            self._take_downlinks()
            if result == PENDING:
                return
        if not self.session.joined:
            if not (self.report_due or self.status_due):
                return
            if not (yield from self._join()):
                return
        for _ in range(_MOST_UPLINKS):
            kind, message = self._next_message()
            if not kind:
                return
            f_port, payload = None, b""
            confirmed = False
            if message is not None:
                f_port, payload = encode(message)
                every = self.settings.confirmed_every()
                confirmed = kind == _REPORT and every > 0 and (self.reports + 1) % every == 0
            result, value = yield from self._link.perform((m.SEND, f_port, payload, confirmed))
            if result == m.BUSY:
                if value - self._board.clock.now_ms() > LONGEST_LIGHT_MS:
                    self.retry_at_ms = value
                    return
                yield from self._link.pause(value)
                continue
            self._take_downlinks()
            if result == m.NO_ANSWER:
                self.retry_at_ms = self.next_slot_ms
                return
            self._said(kind, result)
            if result == PENDING:
                return

    def _join(self) -> "Wait[bool]":
        now_ms = self._board.clock.now_ms
        while True:
            result, value = yield from self._link.perform((m.JOIN,))
            if result == m.JOINED:
                self.status_due = 1
                self.status_at_ms = now_ms() + _DAY_MS
                return True
            if result == m.EXHAUSTED:
                value = now_ms() + _DAY_MS
            if value - now_ms() > LONGEST_LIGHT_MS:
                self.retry_at_ms = value
                return False
            yield from self._link.pause(value)

    def _next_message(self) -> "tuple[int, Any]":
        """Return (kind, message) of what is to be said next; kind 0 for nothing."""
        room = self._mac.room()
        if self.ack_due:
            return _ACK, self.settings.acknowledgement(self.refused)
        if self.report_due:
            return _REPORT, fit(self._task.report(self._board.clock.now_ms()), room)
        if self.status_due:
            parts = split(self._status(), room)
            return _STATUS, parts[min(self.status_part, len(parts) - 1)]
        if self.session.answer_due:
            return _EMPTY, None
        return 0, None

    def _said(self, kind: int, result: int) -> None:
        """Note that the MAC has taken a message; a confirmed one may still be under way."""
        if kind == _REPORT:
            self.report_due = 0
            self.reports += 1
            if result == m.SENT:
                self._task.sent()
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
        margin_db = self.session.margin_db
        battery_mv = self._board.battery_mv()
        return Status(
            FIRMWARE,
            self._board.wiring.get("id"),
            min(0xFFFF, self.meter.used_mah()),
            None if battery_mv is None else min(0xFFFF, battery_mv),
            self.reset_reason,
            tuple(self._errors),
            None if margin_db == NO_MARGIN else margin_db,
            self._task.calibration(),
        )

    def _take_downlinks(self) -> None:
        for f_port, payload in self._link.inbox:
            if f_port != F_PORT_CONFIGURATION:
                continue
            interval_ms = self.settings.interval_ms()
            self.refused = self.settings.receive(payload)
            self.ack_due = 1
            if self.refused == REFUSED_NOT and not self._save(True):
                self.refused = REFUSED_STORAGE
            if self.settings.interval_ms() != interval_ms:
                self.next_slot_ms = self._board.clock.now_ms() + self.settings.interval_ms()
        self._link.inbox.clear()

    def _radio_fault(self, code: int) -> None:
        self.fault(ERROR_RADIO)
        self.fault(code)

    # Memory.

    def _restore(self) -> None:
        clock = self._board.clock
        sections = self._store.load_rtc()
        if (
            sections is not None
            and len(sections) == _RTC_SECTIONS
            and sections[6] == self._identity
        ):
            self.session.unpack(sections[0])
            self.settings.unpack(sections[1])
            self._task.unpack(sections[2])
            values = struct.unpack(_FORMAT, sections[3])
            for at in range(len(_FIELDS)):
                setattr(self, _FIELDS[at], values[at])
            self._errors = sections[4]
            self._told = sections[5]
            self.session.unpack_volatile(sections[7:])
            self.meter.used_uc = self.used_uc
            clock.offset_ms = self.clock_offset_ms
            back_ms = self.saved_ms - clock.now_ms()
            if back_ms > 0:
                # The clock has begun anew though the memory has not: as if no time had passed.
                clock.offset_ms += back_ms
                self.next_slot_ms = self.saved_ms
                self.fault(ERROR_CLOCK)
            return
        sections = self._store.load_storage()
        if sections is None or sections[-1] != self._identity:
            # All that is still of use: the DevNonce, for only the keys may have changed.
            self.session.dev_nonce = self._store.dev_nonce()
            return
        session = self.session
        session.unpack(sections[0])
        session.skip_ahead()
        self.settings.unpack(sections[1])
        self._task.restart(sections[2])
        self.meter.used_uc = struct.unpack(_DURABLE_FORMAT, sections[3])[0]
        self.status_due = 1
        self.status_at_ms = clock.now_ms() + _DAY_MS

    def _save(self, durable: bool) -> bool:
        """Keep everything, in storage too if `durable`, the task wants it or it is still owed;
        False if storage failed.
        """
        clock = self._board.clock
        self.saved_ms = clock.now_ms()
        self.clock_offset_ms = clock.offset_ms
        self.used_uc = self.meter.used_uc
        session = self.session.pack()
        settings = self.settings.pack()
        rtc = [
            session,
            settings,
            self._task.pack(),
            struct.pack(_FORMAT, *[getattr(self, name) for name in _FIELDS]),
            self._errors,
            self._told,
            self._identity,
        ] + self.session.pack_volatile()
        if durable or self._task.store_due:
            self._store.owing = True
        if not self._store.save_rtc(rtc):
            self.fault(ERROR_MEMORY)
        if not self._store.owing:
            return True
        used = struct.pack(_DURABLE_FORMAT, self.used_uc)
        try:
            self._store.save_storage(
                [session, settings, self._task.pack_durable(), used, self._identity]
            )
        except OSError:
            self.fault(ERROR_STORAGE)
            return False
        self._task.store_due = False
        self._store.save_rtc(rtc)
        return True


_EMPTY = 1
_REPORT = 2
_STATUS = 3
_ACK = 4

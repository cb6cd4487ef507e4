"""Counts the openings of a lid while the board sleeps deeply: a short wake for each.

The ESP32's pulse counter stops in deep sleep, so the switch ends the sleep by ext0. `run` counts,
waits in light sleep for the lid to shut, and sleeps on until the time for which the last whole
wake had set its alarm: radio, keys and files are never touched, and nothing but this is loaded.
A switch that chatters or is stuck is not listened to for long: see `_RUSH_MS`.

While the board sleeps deeply, its RTC memory begins with what is kept of the lid:

    mark "L", pin, level when open, motion's pin or 255, whether open : u8; flaps, starts : u16;
    up_ms, light_ms : u32; since_ms, limit_ms, paid_ms, until_ms : i64; sum of all before it : u8

Its times are those of the RTC. The look of a whole wake takes the counts over (`counted`).
"""

import struct

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stoep_firmware._types import Any, Config, Pin
    from stoep_firmware.board import Board
    from stoep_firmware.meter import Meter

LIGHT = 0  # as in board.py, which is not loaded
DEEP = 1

_MARK = const(0x4C)
FORMAT = "<BBBBBHHIIqqqq"
OCTETS = 50
_FIELDS = (
    "pin",
    "level",
    "motion",
    "is_open",
    "flaps",
    "starts",
    "up_ms",
    "light_ms",
    "since_ms",
    "limit_ms",
    "paid_ms",
    "until_ms",
)
_NO_PIN = const(255)
_LID_OPEN_MIN = const(15)
_RTC_SIZE = const(2048)
_WATCHDOG_MS = const(30_000)

_HAND_MS = const(20_000)  # so long a lid is waited for in light sleep: what a start costs, too
_BOUNCE_MS = const(30)
_LOOKS = const(4)
# A start for each opening, and 64 in a rush, come back every five minutes: a switch that never
# rests costs 4 mAh a day, and what it counts is no more than that.
_PACE_MS = const(300_000)
_RUSH_MS = const(64 * 300_000)


class Lid:
    """What is known of the lid."""

    def __init__(self, kept: bytes = b"") -> None:
        self.pin = 0
        self.level = 1
        self.motion = _NO_PIN
        self.is_open = 0
        self.flaps = 0
        self.starts = 0
        self.up_ms = 0
        self.light_ms = 0
        self.since_ms = 0
        self.limit_ms = 0
        self.paid_ms = -_RUSH_MS
        self.until_ms = 0
        if kept:
            values = struct.unpack_from(FORMAT, kept, 0)[1:]
            for name, value in zip(_FIELDS, values):  # noqa: B905 - MicroPython has no `strict`
                setattr(self, name, value)

    def pack(self) -> bytes:
        """Return it as octets."""
        data = struct.pack(FORMAT, _MARK, *[getattr(self, name) for name in _FIELDS])
        return data + bytes((sum(data) & 0xFF,))


def found(config: "Config", memory: "Callable[..., bytes]") -> bytes:
    """Take out of RTC memory what it begins with; nothing for a board without a switch."""
    wiring = config["board"]
    lid = Lid(_taken_out(memory))
    if "lid" not in wiring:
        return b""
    lid.pin = wiring["lid"]
    lid.level = wiring.get("lid_open", 1)
    if "motion" in config:
        lid.motion = wiring.get("motion_int", _NO_PIN)
    lid.limit_ms = config.get("lid_open_min", _LID_OPEN_MIN) * 60_000
    return lid.pack()


def counted(board: "Board", meter: "Meter") -> "tuple[int, int]":
    """Return the openings since this was last asked, and for how long it has been open, -1."""
    from stoep_firmware.meter import BOOT_MS  # noqa: PLC0415 - not for a short wake

    lid = Lid(board.lid)
    flaps = lid.flaps
    boot_ms = lid.starts * board.wiring.get("boot_ms", BOOT_MS)
    meter.add("boot", boot_ms)
    meter.add("awake", lid.up_ms - boot_ms - lid.light_ms)
    meter.add("light", lid.light_ms)
    lid.flaps = lid.starts = lid.up_ms = lid.light_ms = 0
    lid.is_open &= board.level(lid.pin) == lid.level
    board.lid = lid.pack()
    if not lid.is_open:
        return flaps, -1
    return flaps, max(0, board.clock.now_ms() - board.clock.offset_ms - lid.since_ms)


def arm(
    kept: bytes, machine: "Any", esp32: "Any", time: "Any", ms: int, motion: bool = True
) -> int:
    """Before a deep sleep of so long, listen to the switch; return how long it may last.

    Without `motion` the accelerometer's line is not listened to after a short wake either.
    """
    lid = Lid(kept)
    if not motion:
        lid.motion = _NO_PIN
    memory = machine.RTC().memory
    pin = machine.Pin(lid.pin, machine.Pin.IN)
    now_ms = time.time_ns() // 1_000_000
    lid.until_ms = now_ms + ms
    lid.is_open &= pin() == lid.level
    record = memory()
    fits = OCTETS + len(record) <= _RTC_SIZE
    if fits:
        memory(lid.pack() + record)
    _listen(lid, esp32, pin if fits and lid.paid_ms <= now_ms else None)
    left_ms = lid.since_ms + lid.limit_ms - now_ms
    return left_ms if lid.is_open and 0 < left_ms < ms else ms


def _listen(lid: Lid, esp32: "Any", pin: "Pin | None") -> None:
    """Let a change of the switch end the next sleep; without a pin, not."""
    esp32.wake_on_ext0(pin, lid.level ^ lid.is_open)


def _taken_out(memory: "Callable[..., bytes]") -> bytes:
    """Return what RTC memory begins with, b"" if that is not of a lid, or damaged."""
    kept = memory()
    if kept[:1] != b"L":
        return b""
    memory(kept[OCTETS:])
    is_sound = len(kept) >= OCTETS and sum(kept[: OCTETS - 1]) & 0xFF == kept[OCTETS - 1]
    return kept[:OCTETS] if is_sound else b""


def run(machine: "Any", esp32: "Any", time: "Any") -> "Iterator[tuple[int, int]]":
    """Run a short wake: yield (LIGHT or DEEP, ms). Without a DEEP a whole wake is due."""
    memory = machine.RTC().memory
    kept = _taken_out(memory)
    if not kept:
        return
    machine.WDT(timeout=_WATCHDOG_MS)
    lid = Lid(kept)
    pin = machine.Pin(lid.pin, machine.Pin.IN)
    now_ms = begun_ms = time.time_ns() // 1_000_000
    lid.starts += 1
    lid.paid_ms = max(lid.paid_ms, now_ms - _RUSH_MS) + _PACE_MS
    was_open = lid.is_open
    # Shut again: what was open for less than a start takes was no hand.
    lid.is_open = int(pin() == lid.level)
    if lid.is_open and not was_open:
        lid.flaps += 1
        lid.since_ms = now_ms
        looks = _LOOKS
        while looks and lid.is_open and now_ms - begun_ms < _HAND_MS:
            looks -= 1
            _listen(lid, esp32, pin)
            yield LIGHT, begun_ms + _HAND_MS - now_ms
            _listen(lid, esp32, None)
            yield LIGHT, _BOUNCE_MS
            lid.light_ms -= now_ms
            now_ms = time.time_ns() // 1_000_000
            lid.light_ms += now_ms
            lid.is_open = int(pin() == lid.level)
    lid.up_ms += time.ticks_ms()
    if now_ms >= lid.until_ms:
        memory(lid.pack() + memory())
        return
    if lid.motion != _NO_PIN:
        motion = machine.Pin(lid.motion, machine.Pin.IN)
        esp32.wake_on_ext1((motion,), esp32.WAKEUP_ANY_HIGH)
    yield DEEP, arm(lid.pack(), machine, esp32, time, lid.until_ms - now_ms)

"""Counts the openings of a lid while the board sleeps deeply: a short wake for each.

The ESP32's pulse counter stops in deep sleep, so the switch ends the sleep by ext0. `run` counts,
waits in light sleep for the lid to shut, and sleeps on until the time for which the last whole
wake had set its alarm: radio, keys and files are never touched, and nothing but this is loaded.
A switch that chatters or is stuck is not listened to for long: see `_RUSH_MS`.

While the board sleeps deeply, its RTC memory begins with what is kept of the lid:

    mark "L", pin, level when open, motion's pin or 255, whether open : u8; flaps, starts : u16;
    up_ms, light_ms : u32; since_ms, limit_ms, paid_ms, until_ms : i64; sum of all before it : u8

Its times are those of the RTC. The look of a whole wake takes the counts over (`Lid.taken`).
"""

import struct

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stoep_firmware._types import Any, Config
    from stoep_firmware.meter import Meter

LIGHT = 0  # as in board.py, which is not loaded
DEEP = 1

_MARK = const(0x4C)
_FORMAT = "<BBBBBHHIIqqqq"
OCTETS = 50
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
    """What is known of the lid, and the switch itself."""

    def __init__(self, machine: "Any", esp32: "Any", time: "Any") -> None:
        self._machine = machine
        self._esp32 = esp32
        self._time = time
        self._memory = machine.RTC().memory
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

    def now_ms(self) -> int:
        """Return the RTC's time."""
        now_ms: int = self._time.time_ns() // 1_000_000
        return now_ms

    def switch(self) -> int:
        """Return 1 if the switch says that the lid is open, else 0."""
        pin = self._machine.Pin(self.pin, self._machine.Pin.IN)
        return int(pin() == self.level)

    def listen(self, to: bool) -> None:
        """Let the switch end the next sleep when it changes, or not."""
        pin = self._machine.Pin(self.pin, self._machine.Pin.IN) if to else None
        self._esp32.wake_on_ext0(pin, self.level ^ self.is_open)

    def restore(self) -> bool:
        """Take out what RTC memory begins with; False if that is not of a lid, or damaged."""
        kept = self._memory()
        if kept[:1] != b"L":
            return False
        self._memory(kept[OCTETS:])
        if len(kept) < OCTETS or sum(kept[: OCTETS - 1]) & 0xFF != kept[OCTETS - 1]:
            return False
        (
            _,
            self.pin,
            self.level,
            self.motion,
            self.is_open,
            self.flaps,
            self.starts,
            self.up_ms,
            self.light_ms,
            self.since_ms,
            self.limit_ms,
            self.paid_ms,
            self.until_ms,
        ) = struct.unpack_from(_FORMAT, kept, 0)
        return True

    def keep(self) -> bool:
        """Let RTC memory begin with this; False if there is no room."""
        data = struct.pack(
            _FORMAT,
            _MARK,
            self.pin,
            self.level,
            self.motion,
            self.is_open,
            self.flaps,
            self.starts,
            self.up_ms,
            self.light_ms,
            self.since_ms,
            self.limit_ms,
            self.paid_ms,
            self.until_ms,
        )
        record = self._memory()
        fits = OCTETS + len(record) <= _RTC_SIZE
        if fits:
            self._memory(data + bytes((sum(data) & 0xFF,)) + record)
        return fits

    def arm(self, ms: int) -> int:
        """Before a deep sleep of so long, listen to the switch; return how long it may last."""
        now_ms = self.now_ms()
        self.until_ms = now_ms + ms
        if not self.switch():
            self.is_open = 0
        self.listen(self.keep() and self.paid_ms <= now_ms)
        left_ms = self.since_ms + self.limit_ms - now_ms
        return left_ms if self.is_open and 0 < left_ms < ms else ms

    def taken(self, boot_ms: int, meter: "Meter") -> "tuple[int, int]":
        """Return the openings since this was last asked, and for how long it has been open, -1.

        A start lasts `boot_ms` until its program begins.
        """
        flaps = self.flaps
        boot_ms *= self.starts
        meter.add("boot", boot_ms)
        meter.add("awake", self.up_ms - boot_ms - self.light_ms)
        meter.add("light", self.light_ms)
        self.flaps = self.starts = self.up_ms = self.light_ms = 0
        if not self.switch():
            self.is_open = 0
        return flaps, max(0, self.now_ms() - self.since_ms) if self.is_open else -1


def found(config: "Config", machine: "Any", esp32: "Any", time: "Any") -> "Lid | None":
    """Return what was kept of the lid in deep sleep; None for a board without a switch."""
    lid = Lid(machine, esp32, time)
    lid.restore()
    wiring = config["board"]
    if "lid" not in wiring:
        return None
    lid.pin = wiring["lid"]
    lid.level = wiring.get("lid_open", 1)
    if "motion" in config:
        lid.motion = wiring["motion_int"]
    lid.limit_ms = config.get("lid_open_min", _LID_OPEN_MIN) * 60_000
    return lid


def run(machine: "Any", esp32: "Any", time: "Any") -> "Iterator[tuple[int, int]]":
    """Run a short wake: yield (LIGHT or DEEP, ms). Without a DEEP a whole wake is due."""
    lid = Lid(machine, esp32, time)
    if not lid.restore():
        return
    machine.WDT(timeout=_WATCHDOG_MS)
    now_ms = begun_ms = lid.now_ms()
    lid.starts += 1
    lid.paid_ms = max(lid.paid_ms, now_ms - _RUSH_MS) + _PACE_MS
    was_open = lid.is_open
    lid.is_open = lid.switch()
    # Shut again: what was open for less than a start takes was no hand.
    if lid.is_open and not was_open:
        lid.flaps += 1
        lid.since_ms = now_ms
        looks = _LOOKS
        while looks and lid.is_open and now_ms - begun_ms < _HAND_MS:
            looks -= 1
            lid.listen(True)
            yield LIGHT, begun_ms + _HAND_MS - now_ms
            lid.light_ms += lid.now_ms() - now_ms
            time.sleep_ms(_BOUNCE_MS)
            now_ms = lid.now_ms()
            lid.is_open = lid.switch()
    lid.up_ms += time.ticks_ms()
    left_ms = lid.until_ms - now_ms
    if left_ms <= 0:
        lid.keep()
        lid.listen(False)
        return
    if lid.motion != _NO_PIN:
        pin = machine.Pin(lid.motion, machine.Pin.IN)
        esp32.wake_on_ext1((pin,), esp32.WAKEUP_ANY_HIGH)
    yield DEEP, lid.arm(left_ms)

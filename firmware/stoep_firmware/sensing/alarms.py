"""What becomes of a container's body and lid: which alarms are in force. Pure.

- TILTED: the pull of the earth has come from more than 45 degrees away for two minutes: a lorry
  empties within one. How it stands is learned from the first three looks in a row that agree, or
  from one when it is told to.
- MOVED: it has been moved in every minute for three: neither a lid's slam nor a lorry lasts so.
- FIRE: as warm as the limit; or 10 degrees warmer than at the reading before, and a minute later
  two more. The second is a guess: in the sun a closed car gains one a minute, and only at first.
- LID_OPEN: open for longer than the limit.

An alarm is news when it begins. It ends without being news, and so does what was only moved; but
what was tipped and stands again is looked into at once: it may have been emptied.
"""

from stoep_protocol.schema import (
    FIRE,
    LID_OPEN,
    MOVED,
    TEMPERATURE_MAX_C,
    TEMPERATURE_MIN_C,
    TILTED,
)

from stoep_firmware.session import pack_fields, unpack_fields

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    Pull = tuple[int, int, int]

UNKNOWN_C = const(127)
ANEW = const(255)  # for `agreed`: how it stands at the next look is how it shall stand

_TIPPED_MS = const(120_000)
_RIDE_MS = const(180_000)
_LOOK_MS = const(60_000)
_SLACK_MS = const(2_000)  # a wake may be early: the clock is measured against itself
_AGREE = const(3)
_RISE_C = const(10)
_STILL_RISING_C = const(2)
_COOLER_C = const(5)
_MG = const(16)
_CALM_MG = const(200)
_LEAST = const(44 * 44)  # the earth's pull, 1000 mg, to 30 %
_MOST = const(81 * 81)

# bin_task.py reads the first four where they lie: u8, i8, u16, i64.
FORMAT = "<BbHqqqqqbbbbbB"
_FIELDS = (
    "flags",
    "temperature_c",
    "flaps",
    "again_ms",
    "tipped_ms",
    "moving_ms",
    "looked_ms",
    "paid_ms",
    "before_c",
    "doubted_c",
    "x",
    "y",
    "z",
    "agreed",
)


class Alarms:
    """The state of one container's guard; `flags` are schema bits.

    `again_ms` is when to look before the next slot, 0 for never; clear it before a look.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.flags = 0
        self.temperature_c = UNKNOWN_C
        self.flaps = 0
        self.again_ms = 0
        self.tipped_ms = 0
        self.moving_ms = 0
        self.looked_ms = 0
        self.paid_ms = 0
        self.before_c = UNKNOWN_C
        self.doubted_c = UNKNOWN_C
        self.x = 0  # how it stands: in 16 mg
        self.y = 0
        self.z = 0
        self.agreed = 0
        if data:
            unpack_fields(self, FORMAT, _FIELDS, data)

    def pack(self) -> bytes:
        """Return the state for RTC memory."""
        return pack_fields(self, FORMAT, _FIELDS)

    def pulled(self, pull_mg: "Pull", now_ms: int) -> bool:
        """Take in how it stands; True if that is news."""
        pull = tuple([max(-127, min(127, part // _MG)) for part in pull_mg])
        if not _LEAST <= sum([part * part for part in pull]) <= _MOST:
            return False  # it is being shaken, or the sensor says nothing
        away = _differ((self.x, self.y, self.z), pull)
        if self.agreed < _AGREE or self.agreed == ANEW:
            if self.agreed == ANEW:
                self.x, self.y, self.z = pull
                self.agreed = _AGREE
                self.tipped_ms = 0
                self.flags &= ~TILTED
            elif self.agreed and not away:
                self.agreed += 1
            else:
                self.x, self.y, self.z = pull
                self.agreed = 1
            return False
        if not away:
            stands_again = self.tipped_ms != 0
            self.tipped_ms = 0
            self.flags &= ~TILTED
            return stands_again
        if self.flags & TILTED:
            return False
        if not self.tipped_ms:
            self.tipped_ms = now_ms
        elif now_ms - self.tipped_ms >= _TIPPED_MS - _SLACK_MS:
            self.flags |= TILTED
            return True
        self._again(self.tipped_ms + _TIPPED_MS)
        return False

    def moved(self, moved: bool, now_ms: int) -> bool:
        """Take in whether it has been moved since the last look; True if that is news."""
        if not moved:
            self.moving_ms = 0
            self.flags &= ~MOVED
        elif not self.flags & MOVED:
            if not self.moving_ms:
                self.moving_ms = now_ms
            elif now_ms - self.moving_ms >= _RIDE_MS - _SLACK_MS:
                self.flags |= MOVED
                return True
            self._again(now_ms + _LOOK_MS)
        return False

    def warmed(self, now_c: "int | None", limit_c: int, now_ms: int) -> bool:
        """Take in a temperature, None for none; True if that is news."""
        if now_c is None:
            self.temperature_c = UNKNOWN_C
            return False
        self.temperature_c = min(TEMPERATURE_MAX_C, max(TEMPERATURE_MIN_C, now_c))
        before_c = self.before_c
        doubted_c = self.doubted_c
        self.before_c = now_c = min(UNKNOWN_C - 1, now_c)
        self.doubted_c = UNKNOWN_C
        if self.flags & FIRE:
            if now_c <= limit_c - _COOLER_C and now_c <= before_c:
                self.flags &= ~FIRE
            return False
        fire = now_c >= limit_c
        if doubted_c != UNKNOWN_C:
            fire = fire or now_c >= doubted_c + _STILL_RISING_C
        elif before_c != UNKNOWN_C and now_c >= before_c + _RISE_C and not fire:
            self.doubted_c = now_c
            self._again(now_ms + _LOOK_MS)
        if fire:
            self.flags |= FIRE
        return fire

    def opened(self, open_ms: int, limit_ms: int) -> bool:
        """Take in for how long the lid has been open, -1 for shut; True if that is news.

        `limit_ms` 0: never.
        """
        if open_ms < 0 or not limit_ms:
            self.flags &= ~LID_OPEN
        elif not self.flags & LID_OPEN and open_ms >= limit_ms - _SLACK_MS:
            self.flags |= LID_OPEN
            return True
        return False

    def _again(self, at_ms: int) -> None:
        if not self.again_ms or at_ms < self.again_ms:
            self.again_ms = at_ms


def calm(one: "Pull", other: "Pull") -> "Pull":
    """Return a sample if the next one is alike, else one that says nothing."""
    if max([abs(one[axis] - other[axis]) for axis in range(3)]) > _CALM_MG:
        return 0, 0, 0
    return other


def _differ(one: "tuple[int, ...]", other: "tuple[int, ...]") -> bool:
    """Whether two directions are more than 45 degrees apart."""
    dot = one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
    both = 1
    for vector in (one, other):
        both *= sum([part * part for part in vector])
    return dot <= 0 or 2 * dot * dot < both

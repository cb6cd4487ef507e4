"""Earlier readings of a container, packed into bits.

    history = gap code : 6 bits, then for each reading, newest first, one of
              0 nnnnn                     same quality; nnnnn - 8 cm more than the reference
              1 v:13,  v < 5010           v = 5 * (0: no echo, else 1 + cm) + quality
              1 v:13,  v >= 5120          v - 5120 minutes to the next reading, and from there on
    filled up to a whole byte with ones (fewer than 8: too few to be a reading)

The gap code names the minutes between readings (`gap_min`; 0: the first token gives them). The
reference is the nearest newer reading that had an echo, "same quality" is that reading's. There
is one spelling: the short token and the gap code where they can be used, no gap that changes
nothing. Three readings at a regular interval take 3 to 6 bytes. `reports.unpack` is the way back.
"""

from .errors import EncodeError
from .schema import AGE_MAX_MIN, DISTANCE_MAX_MM, QUALITY_MAX

STEP_MIN_CM = -8
STEP_MAX_CM = 23
LONG_END = 5010
GAP = 5120
GAP_MAX_MIN = 3071


def gap_min(code: int) -> int:
    """Give the minutes of a gap code: each to 30, by 5 to 2 h, by 1 h to 12 h, by 4 h to 32 h."""
    if code < 49:
        return code if code < 31 else 5 * code - 120
    return 60 * code - 2760 if code < 59 else 240 * code - 13_200


def gap_code(minutes: int) -> int:
    """Give the code (1 to 63) of a gap in minutes, 0 if it has none."""
    code = 63
    while code and gap_min(code) != minutes:
        code -= 1
    return code


def pack(
    age_min: int,
    distance_mm: "int | None",
    quality: int,
    history: "tuple[tuple[int, int | None, int], ...]",
    room: int,
) -> "tuple[bytes, int]":
    """Pack what fits into `room` bytes of (age_min, distance_mm or None, quality), newest first.

    The first three arguments are the reading that the history follows. Returns the bytes and how
    many readings they hold: fewer than given when the room is used up, or when ages fall or lie
    more than 3071 minutes apart. EncodeError for a distance or quality out of range.
    """
    reference = -1 if distance_mm is None else (distance_mm + 5) // 10
    gap = -1
    out = bytearray()
    pending = bits = taken = 0
    for age, distance, its_quality in history:
        minutes = age - age_min
        if not 0 <= minutes <= GAP_MAX_MIN or age > AGE_MAX_MIN:
            break
        cm = -1
        if distance is not None:
            if not 0 <= distance <= DISTANCE_MAX_MM:
                raise EncodeError(f"history: {distance} mm")
            cm = (distance + 5) // 10
        if not 0 <= its_quality <= QUALITY_MAX:
            raise EncodeError(f"history: quality {its_quality}")
        # At most 34 bits: the gap code, a gap, the reading.
        value = width = 0
        if gap < 0:
            value = gap_code(minutes)
            width = 6
            if value:
                gap = minutes
        if gap != minutes:
            gap = minutes
            value = value << 14 | 0x2000 | GAP + minutes
            width += 14
        step = cm - reference
        if (
            cm >= 0
            and reference >= 0
            and its_quality == quality
            and STEP_MIN_CM <= step <= STEP_MAX_CM
        ):
            value = value << 6 | step - STEP_MIN_CM
            width += 6
        else:
            value = value << 14 | 0x2000 | 5 * (1 + cm) + its_quality
            width += 14
        if 8 * len(out) + bits + width > 8 * room:
            break
        pending = pending << width | value
        bits += width
        while bits > 7:
            bits -= 8
            out.append(pending >> bits)
            pending &= (1 << bits) - 1
        if cm >= 0:
            reference = cm
            quality = its_quality
        age_min = age
        taken += 1
    if bits:
        out.append((pending + 1 << 8 - bits) - 1)
    return bytes(out), taken

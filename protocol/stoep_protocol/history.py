"""Earlier readings of a container, packed into bits, and the numbers that tell them apart.

    history = gap code : 6 bits, then for each reading, newest first, one of
              0 nnnnn                     same quality; nnnnn - 8 cm more than the reference
              1 v:13,  v < 5010           v = 5 * (0: no echo, else 1 + cm) + quality
              1 v:13,  v >= 5120          v - 5120 minutes to the next reading, and from there on
    filled up to a whole byte with ones (fewer than 8: too few to be a reading)

The gap code says how many minutes lie between readings: 5 * code below 48, 240 + 120 * (code - 48)
from there on, 0: the first token says it. The reference is the nearest newer reading that had an
echo. Each reading has one spelling: the short token where it can be used, no gap that changes
nothing.
"""

from .errors import NOT_CANONICAL, RANGE, TRUNCATED, DecodeError, EncodeError
from .schema import (
    AGE_MAX_MIN,
    DISTANCE_MAX_MM,
    HISTORY_MAX,
    QUALITY_MAX,
    SEQUENCE_MODULUS,
)

_SHORT_MIN = -8
_SHORT_MAX = 23
_LONG = 0x2000
_LONG_END = 5010
_GAP = 5120
_GAP_MAX_MIN = 3071


def _gap_code(minutes: int) -> int:
    if minutes < 240:
        return 0 if minutes % 5 else minutes // 5
    code = 46 + minutes // 120
    return code if minutes % 120 == 0 and code < 64 else 0


def pack(
    age_min: int,
    distance_mm: "int | None",
    quality: int,
    history: "tuple[tuple[int, int | None, int], ...]",
    room: int,
) -> "tuple[bytes, int]":
    """Pack what fits into `room` bytes of (age_min, distance_mm or None, quality), newest first.

    The first three arguments are the reading that the history follows. Returns the bytes and how
    many readings they hold; EncodeError for what cannot be carried at all.
    """
    reference = -1 if distance_mm is None else (distance_mm + 5) // 10
    gap = -1
    out = bytearray()
    bits = pending = taken = 0
    for age, distance, reading_quality in history:
        minutes = age - age_min
        if not 0 <= minutes <= _GAP_MAX_MIN or age > AGE_MAX_MIN:
            break
        if not 0 <= reading_quality <= QUALITY_MAX:
            raise EncodeError("quality")
        tokens = []
        if gap < 0:
            code = _gap_code(minutes)
            tokens.append((6, code))
            gap = minutes if code else -1
        if gap != minutes:
            gap = minutes
            tokens.append((14, _LONG | _GAP + minutes))
        if distance is None:
            tokens.append((14, _LONG | reading_quality))
        else:
            if not 0 <= distance <= DISTANCE_MAX_MM:
                raise EncodeError("distance_mm")
            cm = (distance + 5) // 10
            step = cm - reference
            if reference >= 0 and reading_quality == quality and _SHORT_MIN <= step <= _SHORT_MAX:
                tokens.append((6, step - _SHORT_MIN))
            else:
                tokens.append((14, _LONG | 5 * (1 + cm) + reading_quality))
            reference = cm
            quality = reading_quality
        if len(out) * 8 + bits + sum([token[0] for token in tokens]) > room * 8:
            break
        for width, value in tokens:
            pending = pending << width | value
            bits += width
            while bits >= 8:
                bits -= 8
                out.append(pending >> bits)
                pending &= (1 << bits) - 1
        age_min = age
        taken += 1
    if bits:
        out.append((pending + 1 << 8 - bits) - 1)
    return bytes(out), taken


def unpack(
    age_min: int, distance_mm: "int | None", quality: int, data: bytes
) -> "tuple[tuple[int, int | None, int], ...]":
    """Unpack a history; DecodeError for every spelling that `pack` does not produce."""
    reference = -1 if distance_mm is None else (distance_mm + 5) // 10
    value = int.from_bytes(data, "big")
    left = 8 * len(data) - 6
    if left < 0:
        raise DecodeError(TRUNCATED)
    code = value >> left & 63
    gap = -1 if not code else 5 * code if code < 48 else 240 + 120 * (code - 48)
    gap_alone = False
    readings: list[tuple[int, int | None, int]] = []
    while left:
        if value >> left - 1 & 1:
            if left < 8:
                if value & (1 << left) - 1 != (1 << left) - 1:
                    raise DecodeError(NOT_CANONICAL)
                break
            if left < 14:
                raise DecodeError(TRUNCATED)
            left -= 14
            token = value >> left & 0x1FFF
            if token >= _GAP:
                token -= _GAP
                if gap_alone or token == gap or (gap < 0 and _gap_code(token)):
                    raise DecodeError(NOT_CANONICAL)
                gap = token
                gap_alone = True
                continue
            if token >= _LONG_END:
                raise DecodeError(RANGE)
            reading_quality = token % 5
            cm = token // 5 - 1
            if (
                cm >= 0
                and reference >= 0
                and reading_quality == quality
                and _SHORT_MIN <= cm - reference <= _SHORT_MAX
            ):
                raise DecodeError(NOT_CANONICAL)
        else:
            if left < 6:
                raise DecodeError(TRUNCATED)
            if reference < 0:
                raise DecodeError(NOT_CANONICAL)
            left -= 6
            cm = reference + (value >> left & 31) + _SHORT_MIN
            reading_quality = quality
            if not 0 <= 10 * cm <= DISTANCE_MAX_MM:
                raise DecodeError(RANGE)
        if gap < 0:
            raise DecodeError(NOT_CANONICAL)
        gap_alone = False
        age_min += gap
        if age_min > AGE_MAX_MIN or len(readings) == HISTORY_MAX:
            raise DecodeError(RANGE)
        if cm < 0:
            readings.append((age_min, None, reading_quality))
        else:
            readings.append((age_min, 10 * cm, reading_quality))
            reference = cm
            quality = reading_quality
    if gap_alone or not readings:
        raise DecodeError(TRUNCATED)
    return tuple(readings)


def full_sequence(newest: int, sequence: int, advance: int = 0) -> int:
    """Give the full sequence number of a report that carries it modulo 1024.

    `newest` is the highest full number known from the device (0 for a new one), `advance` how many
    readings further this one is expected to be: time passed since `newest` was taken divided by
    the interval, less the report's own age. The number nearest to the expectation is returned, so
    the expectation may be wrong by 511 readings either way.
    """
    expected = newest + advance
    half = SEQUENCE_MODULUS // 2
    full = expected + (sequence - expected + half) % SEQUENCE_MODULUS - half
    return full if full >= 0 else full + SEQUENCE_MODULUS

"""What a gateway reads out of reports; a device never loads this.

`messages.decode` calls `decode_report`. `readings` lists what a bin report holds, `full_sequence`
makes the number of each reading unique.
"""

from .calibration import decode_calibration
from .errors import LENGTH, NOT_CANONICAL, RANGE, TRUNCATED, TYPE, DecodeError
from .history import GAP, LONG_END, STEP_MAX_CM, STEP_MIN_CM, gap_code, gap_min
from .messages import BayReport, BinReport, ConfigurationAck, Message, Status, decode_fields
from .schema import (
    AGE_MAX_MIN,
    DISTANCE_MAX_MM,
    ERRORS_MAX,
    F_PORT_BAY,
    F_PORT_BIN,
    F_PORT_BIN_PAST,
    F_PORT_CALIBRATE,
    F_PORT_STATUS,
    FLAPS_MAX,
    HISTORY_MAX,
    QUALITY_MAX,
    SEQUENCE_MODULUS,
    STATUS,
    TEMPERATURE_MAX_C,
    TEMPERATURE_MIN_C,
    TEMPERATURE_OFFSET_C,
    UNCERTAIN,
)

const = int

_NO_DURATION = const(255)


def duration_s(code: int) -> int:
    """Give the seconds that a duration code stands for; see `messages.duration_code`."""
    return 4 * code if code < 32 else 4 * (16 + code % 16) << code // 16 - 1


def full_sequence(newest: int, sequence: int, advance: int = 0) -> int:
    """Give the full sequence number of a report that carries it modulo 1024.

    `newest` is the highest full number known from the device (0 for a new device), `advance` how
    many readings after it this one is expected: the time between them divided by the interval, so
    negative for a report of earlier readings. The number nearest to the expectation is returned:
    it may be wrong by up to 511 readings either way.
    """
    expected = newest + advance
    half = SEQUENCE_MODULUS // 2
    full = expected - half + (sequence - expected + half) % SEQUENCE_MODULUS
    return full if full >= 0 else full + SEQUENCE_MODULUS


def readings(report: BinReport, sequence: int) -> "list[tuple[int, int, int | None, int]]":
    """List all readings of a report, newest first: (sequence, age_min, distance_mm, quality).

    `sequence` is the full number of the report's newest reading.
    """
    listed = [(sequence, report.age_min, report.distance_mm, report.quality)]
    for age_min, distance_mm, quality in report.history:
        sequence -= 1
        listed.append((sequence, age_min, distance_mm, quality))
    return listed


def unpack(
    age_min: int, distance_mm: "int | None", quality: int, data: bytes
) -> "tuple[tuple[int, int | None, int], ...]":
    """Unpack a history; DecodeError for every spelling that `history.pack` does not produce."""
    reference = -1 if distance_mm is None else (distance_mm + 5) // 10
    value = int.from_bytes(data, "big")
    left = 8 * len(data) - 6
    if left < 0:
        raise DecodeError(TRUNCATED)
    gap = gap_min(value >> left) or -1
    gap_alone = False
    past: list[tuple[int, int | None, int]] = []
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
            if token >= GAP:
                token -= GAP
                # Before the first reading only where the gap code could not say it.
                if gap_alone or token == gap or (gap_code(token) if gap < 0 else not past):
                    raise DecodeError(NOT_CANONICAL)
                gap = token
                gap_alone = True
                continue
            if token >= LONG_END:
                raise DecodeError(RANGE)
            cm = token // 5 - 1
            token %= 5
            if (
                cm >= 0
                and reference >= 0
                and token == quality
                and STEP_MIN_CM <= cm - reference <= STEP_MAX_CM
            ):
                raise DecodeError(NOT_CANONICAL)
        else:
            if left < 6:
                raise DecodeError(TRUNCATED)
            left -= 6
            if reference < 0:
                raise DecodeError(NOT_CANONICAL)
            cm = reference + (value >> left & 31) + STEP_MIN_CM
            token = quality
            if not 0 <= 10 * cm <= DISTANCE_MAX_MM:
                raise DecodeError(RANGE)
        if gap < 0:
            raise DecodeError(NOT_CANONICAL)
        gap_alone = False
        age_min += gap
        if age_min > AGE_MAX_MIN or len(past) == HISTORY_MAX:
            raise DecodeError(RANGE)
        if cm < 0:
            past.append((age_min, None, token))
        else:
            past.append((age_min, 10 * cm, token))
            reference = cm
            quality = token
    if gap_alone or not past:
        raise DecodeError(TRUNCATED)
    return tuple(past)


def _integer(value: "int | bytes | None", lowest: int, highest: int) -> int:
    if not isinstance(value, int):
        raise DecodeError(TYPE)
    if not lowest <= value <= highest:
        raise DecodeError(RANGE)
    return value


def _last(items: "list[int | bytes | None]", highest: int) -> int:
    """Give the second of two items, which is there only when it is not zero."""
    if len(items) < 2:
        return 0
    if len(items) > 2:
        raise DecodeError(LENGTH)
    value = _integer(items[1], 0, highest)
    if not value:
        raise DecodeError(NOT_CANONICAL)
    return value


def decode_report(f_port: int, items: "list[int | bytes | None]") -> Message:
    """Make a report from the items of its array; the last item is not null."""
    if f_port == F_PORT_STATUS:
        return _status(items)
    if not items:
        raise DecodeError(LENGTH)
    if f_port == F_PORT_BIN:
        return _bin(items)
    if f_port == F_PORT_BAY:
        return _bay(items)
    if f_port == F_PORT_BIN_PAST:
        return _bin_past(items)
    if f_port >= F_PORT_CALIBRATE:
        return decode_calibration(f_port, items)
    return ConfigurationAck(_integer(items[0], 0, 0xFFFF), _last(items, 255))


def _reading(items: "list[int | bytes | None]") -> "tuple[int, int, int | None]":
    """Give head, quality and distance, which every bin report starts with."""
    head = _integer(items[0], 0, 0x1F_FFFF)
    quality = head >> 10 & 7
    if quality > QUALITY_MAX:
        raise DecodeError(RANGE)
    if len(items) < 2 or items[1] is None:
        return head, quality, None
    distance = _integer(items[1], -1 - DISTANCE_MAX_MM // 10, DISTANCE_MAX_MM)
    if distance < 0:
        return head, quality, 10 * (-1 - distance)
    if distance % 10 == 0:
        raise DecodeError(NOT_CANONICAL)
    return head, quality, distance


def _past(
    items: "list[int | bytes | None]",
    position: int,
    age_min: int,
    distance_mm: "int | None",
    quality: int,
) -> "tuple[tuple[int, int | None, int], ...]":
    count = len(items)
    if count <= position:
        return ()
    if count > position + 1:
        raise DecodeError(LENGTH)
    packed = items[position]
    if not isinstance(packed, bytes):
        raise DecodeError(TYPE)
    return unpack(age_min, distance_mm, quality, packed)


def _bin(items: "list[int | bytes | None]") -> BinReport:
    head, quality, distance = _reading(items)
    count = len(items)
    temperature = flaps = None
    if count > 2 and items[2] is not None:
        temperature = TEMPERATURE_OFFSET_C + _integer(
            items[2],
            TEMPERATURE_MIN_C - TEMPERATURE_OFFSET_C,
            TEMPERATURE_MAX_C - TEMPERATURE_OFFSET_C,
        )
    if count > 3 and items[3] is not None:
        flaps = _integer(items[3], 0, FLAPS_MAX)
    return BinReport(
        head & SEQUENCE_MODULUS - 1,
        distance,
        quality,
        head >> 13,
        temperature,
        flaps,
        _past(items, 4, 0, distance, quality),
    )


def _bin_past(items: "list[int | bytes | None]") -> BinReport:
    head, quality, distance = _reading(items)
    age = _integer(items[2] if len(items) > 2 else None, 1, AGE_MAX_MIN)
    return BinReport(
        head & SEQUENCE_MODULUS - 1,
        distance,
        quality,
        head >> 13,
        None,
        None,
        _past(items, 3, age, distance, quality),
        age,
    )


def _bay(items: "list[int | bytes | None]") -> BayReport:
    head = _integer(items[0], 0, 0xFFFF_FFFF)
    state = head >> 16 & 3
    previous = head >> 8 & 255
    age = head & 255
    if state > UNCERTAIN or age == _NO_DURATION:
        raise DecodeError(RANGE)
    return BayReport(
        state,
        head >> 18,
        duration_s(age),
        None if previous == _NO_DURATION else duration_s(previous),
        _last(items, 15),
    )


def _status(items: "list[int | bytes | None]") -> Status:
    status = Status()
    if len(items) > len(STATUS):
        codes = items.pop()
        if len(items) > len(STATUS):
            raise DecodeError(LENGTH)
        if not isinstance(codes, bytes):
            raise DecodeError(TYPE)
        if not 0 < len(codes) <= ERRORS_MAX:
            raise DecodeError(RANGE if codes else NOT_CANONICAL)
        status.errors = tuple(codes)
    decode_fields(status, STATUS, items)
    packed = items[5] if len(items) > 5 else None
    if isinstance(packed, int):
        status.firmware = (packed >> 12, packed >> 6 & 63, packed & 63)
    return status

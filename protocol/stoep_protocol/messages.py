"""The messages of schema v1 and their bytes: BinReport, BayReport, Status, Configuration and its
acknowledgement.

A message is one CBOR array of integers and byte strings, the fPort its schema and version.
Trailing fields that say nothing are left out, always: a message has exactly one encoding.
docs/protocol.md and stoep.cddl describe the arrays, codec.js decodes them elsewhere.
"""

from binascii import crc32

from . import cbor, history
from .errors import (
    F_PORT,
    LENGTH,
    NOT_CANONICAL,
    RANGE,
    TYPE,
    DecodeError,
    EncodeError,
)
from .schema import (
    AGE_MAX_MIN,
    ALARM_DISTANCE_MAX_CM,
    ALARM_TEMPERATURE_MAX_C,
    BATTERY_MAX_MV,
    BAY_FLAGS_MAX,
    BAY_THRESHOLD_MAX_NT,
    BAY_THRESHOLD_STEP_NT,
    CALIBRATION_MAX,
    CHANGE_COUNT_MODULUS,
    CHANGE_MAX_CM,
    CHARGE_MAX_MAH,
    CONFIRMED_EVERY_MAX,
    DISTANCE_MAX_MM,
    ERRORS_MAX,
    F_PORT_BAY,
    F_PORT_BIN,
    F_PORT_BIN_PAST,
    F_PORT_CONFIGURATION,
    F_PORT_CONFIGURATION_ACK,
    F_PORT_STATUS,
    FIRMWARE_MAX,
    FLAGS_MAX,
    FLAPS_MAX,
    HARDWARE_MAX,
    HISTORY_MAX,
    INTERVAL_MAX_MIN,
    LINK_MARGIN_MAX_DB,
    LINK_MARGIN_MIN_DB,
    MODE_BOTH,
    QUALITY_MAX,
    REFUSED_MAX,
    RESET_REASON_MAX,
    SEQUENCE_MODULUS,
    SETTLE_MAX_S,
    TEMPERATURE_MAX_C,
    TEMPERATURE_MIN_C,
    TEMPERATURE_OFFSET_C,
    UNCERTAIN,
)

_ROOM = 255
_TEMPERATURE_LO = TEMPERATURE_MIN_C - TEMPERATURE_OFFSET_C
_TEMPERATURE_HI = TEMPERATURE_MAX_C - TEMPERATURE_OFFSET_C
_NO_DURATION = 255


class Message:  # noqa: PLW1641 - its fields may be set, so it has no hash
    """What all messages share: fields in order, equality, a readable form."""

    __slots__: "tuple[str, ...]" = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and not [
            1 for name in self.__slots__ if getattr(self, name) != getattr(other, name)
        ]

    def __repr__(self) -> str:
        fields = ", ".join([f"{name}={getattr(self, name)!r}" for name in self.__slots__])
        return f"{type(self).__name__}({fields})"


class BinReport(Message):
    """The newest reading of a container and earlier ones.

    `sequence` numbers the newest reading, 0 to 65535 and round again; it is sent modulo 1024, and
    that is what a decoded report holds (see `history.full_sequence`). `distance_mm` None: no echo.
    `quality` 0 to 4, `flags` a set of schema.ECHO_... bits. `temperature_c` and `flaps` (openings
    since the last report, 255: or more) None: not measured.

    `history` holds (age_min, distance_mm or None, quality), newest first: sequence - 1, - 2, ... .
    Distances in it travel in whole centimetres. `age_min` is the age of the newest reading: 0
    except in a report that only repeats earlier ones, which has no temperature and no flaps.
    """

    __slots__ = (
        "age_min",
        "distance_mm",
        "flags",
        "flaps",
        "history",
        "quality",
        "sequence",
        "temperature_c",
    )

    def __init__(
        self,
        sequence: int,
        distance_mm: "int | None",
        quality: int = 0,
        flags: int = 0,
        temperature_c: "int | None" = None,
        flaps: "int | None" = None,
        history: "tuple[tuple[int, int | None, int], ...]" = (),
        age_min: int = 0,
    ) -> None:
        self.sequence = sequence
        self.distance_mm = distance_mm
        self.quality = quality
        self.flags = flags
        self.temperature_c = temperature_c
        self.flaps = flaps
        self.history = history
        self.age_min = age_min


class BayReport(Message):
    """State of a bay: FREE, OCCUPIED or UNCERTAIN.

    `change_count` counts changes of state, modulo 16384. `age_s` is how long the state has held,
    `previous_duration_s` how long the one before it did (None: not known); both travel to about
    3 %, at most 22.7 days. `flags` is a set of schema bits, FIELD_SATURATED and its neighbours.
    """

    __slots__ = ("age_s", "change_count", "flags", "previous_duration_s", "state")

    def __init__(
        self,
        state: int,
        change_count: int,
        age_s: int = 0,
        previous_duration_s: "int | None" = None,
        flags: int = 0,
    ) -> None:
        self.state = state
        self.change_count = change_count
        self.age_s = age_s
        self.previous_duration_s = previous_duration_s
        self.flags = flags


class Status(Message):
    """Health of a device; None: not said in this message, which happens when one is split.

    `firmware` (major, minor, patch), `hardware` the board's number, `reset_reason` and
    `calibration` schema codes (given both or neither), `errors` a tuple of codes 0 to 255.
    """

    __slots__ = (
        "battery_mv",
        "calibration",
        "charge_used_mah",
        "errors",
        "firmware",
        "hardware",
        "link_margin_db",
        "reset_reason",
    )

    def __init__(
        self,
        firmware: "tuple[int, int, int] | None" = None,
        hardware: "int | None" = None,
        charge_used_mah: "int | None" = None,
        battery_mv: "int | None" = None,
        reset_reason: "int | None" = None,
        errors: "tuple[int, ...]" = (),
        link_margin_db: "int | None" = None,
        calibration: "int | None" = None,
    ) -> None:
        self.firmware = firmware
        self.hardware = hardware
        self.charge_used_mah = charge_used_mah
        self.battery_mv = battery_mv
        self.reset_reason = reset_reason
        self.errors = errors
        self.link_margin_db = link_margin_db
        self.calibration = calibration


class Configuration(Message):
    """How a device shall behave; None: as it is.

    `interval_min` between reports (a bay: between heartbeats), `mode` MODE_REGULAR, MODE_ON_CHANGE
    or MODE_BOTH, `confirmed_every` n-th uplink (0: none), `history` earlier readings per report.
    Container: `change_cm` that counts as a change, `alarm_distance_cm` and `alarm_temperature_c`
    at which to report at once. Bay: `bay_threshold_nt` (steps of 100) and `settle_s`.
    """

    __slots__ = (
        "alarm_distance_cm",
        "alarm_temperature_c",
        "bay_threshold_nt",
        "change_cm",
        "confirmed_every",
        "history",
        "interval_min",
        "mode",
        "settle_s",
    )

    def __init__(
        self,
        interval_min: "int | None" = None,
        mode: "int | None" = None,
        confirmed_every: "int | None" = None,
        history: "int | None" = None,
        change_cm: "int | None" = None,
        alarm_distance_cm: "int | None" = None,
        alarm_temperature_c: "int | None" = None,
        bay_threshold_nt: "int | None" = None,
        settle_s: "int | None" = None,
    ) -> None:
        self.interval_min = interval_min
        self.mode = mode
        self.confirmed_every = confirmed_every
        self.history = history
        self.change_cm = change_cm
        self.alarm_distance_cm = alarm_distance_cm
        self.alarm_temperature_c = alarm_temperature_c
        self.bay_threshold_nt = bay_threshold_nt
        self.settle_s = settle_s


class ConfigurationAck(Message):
    """What is in force, as `config_hash` gives it; `refused`: why the last was not taken, or 0."""

    __slots__ = ("config_hash", "refused")

    def __init__(self, config_hash: int, refused: int = 0) -> None:
        self.config_hash = config_hash
        self.refused = refused


# Every other message is its fields in order: (name, lowest, highest, step).
_STATUS = (
    ("charge_used_mah", 0, CHARGE_MAX_MAH, 1),
    ("battery_mv", 0, BATTERY_MAX_MV, 1),
    ("_state", 0, RESET_REASON_MAX << 2 | CALIBRATION_MAX, 1),
    ("link_margin_db", LINK_MARGIN_MIN_DB, LINK_MARGIN_MAX_DB, 1),
    ("_firmware", 0, 0xFFFF, 1),
    ("hardware", 0, HARDWARE_MAX, 1),
)
_CONFIGURATION = (
    ("interval_min", 1, INTERVAL_MAX_MIN, 1),
    ("mode", 0, MODE_BOTH, 1),
    ("confirmed_every", 0, CONFIRMED_EVERY_MAX, 1),
    ("history", 0, HISTORY_MAX, 1),
    ("change_cm", 0, CHANGE_MAX_CM, 1),
    ("alarm_distance_cm", 0, ALARM_DISTANCE_MAX_CM, 1),
    ("alarm_temperature_c", TEMPERATURE_MIN_C, ALARM_TEMPERATURE_MAX_C, 1),
    ("bay_threshold_nt", 0, BAY_THRESHOLD_MAX_NT, BAY_THRESHOLD_STEP_NT),
    ("settle_s", 0, SETTLE_MAX_S, 1),
)


def duration_code(seconds: int) -> int:
    """Code a duration in 8 bits (0 to 254): steps of 4 s to 124 s, then of 3 to 6 %, saturating."""
    units = (seconds + 2) // 4
    exponent = 0
    while units >> exponent > 31:
        exponent += 1
    if exponent:
        units = (seconds + (2 << exponent)) // (4 << exponent)
        if units == 32:
            units = 16
            exponent += 1
        units += 16 * exponent
    return units if units < _NO_DURATION else _NO_DURATION - 1


def duration_s(code: int) -> int:
    """Give the seconds that a duration code stands for."""
    return 4 * code if code < 32 else 4 * (16 + code % 16) << code // 16 - 1


def _within(name: str, value: int, lowest: int, highest: int) -> int:
    if not lowest <= value <= highest:
        raise EncodeError(f"{name} {value} is not in {lowest}..{highest}")
    return value


def _pack_bin(report: BinReport, max_bytes: int) -> "tuple[int, bytes, int]":
    """Encode with as much history as fits: fPort, bytes, number of earlier readings in them."""
    _within("sequence", report.sequence, 0, 0xFFFF)
    _within("quality", report.quality, 0, QUALITY_MAX)
    _within("flags", report.flags, 0, FLAGS_MAX)
    _within("age_min", report.age_min, 0, AGE_MAX_MIN)
    _within("history", len(report.history), 0, HISTORY_MAX)
    distance = report.distance_mm
    if distance is not None:
        _within("distance_mm", distance, 0, DISTANCE_MAX_MM)
        if distance % 10 == 0:
            distance = -1 - distance // 10
    items: list[int | bytes | None] = [
        report.flags << 13 | report.quality << 10 | report.sequence % SEQUENCE_MODULUS,
        distance,
    ]
    temperature = report.temperature_c
    flaps = report.flaps
    if report.age_min:
        if temperature is not None or flaps is not None:
            raise EncodeError("a report of earlier readings has no temperature and no flaps")
        items.append(report.age_min)
    else:
        if temperature is not None:
            _within("temperature_c", temperature, TEMPERATURE_MIN_C, TEMPERATURE_MAX_C)
            temperature -= TEMPERATURE_OFFSET_C
        if flaps is not None:
            _within("flaps", flaps, 0, FLAPS_MAX)
        items.append(temperature)
        items.append(flaps)
    taken = 0
    if report.history:
        # A byte string's head takes a second byte from 24 bytes on.
        room = max_bytes - len(cbor.encode_array(items)) - 1
        packed, taken = history.pack(
            report.age_min,
            report.distance_mm,
            report.quality,
            report.history,
            room if room < 24 else max(23, room - 1),
        )
        if taken:
            items.append(packed)
    return F_PORT_BIN_PAST if report.age_min else F_PORT_BIN, _trimmed(items), taken


def _trimmed(items: "list[int | bytes | None]") -> bytes:
    while items and items[-1] is None:
        items.pop()
    return cbor.encode_array(items)


def encode(message: Message) -> "tuple[int, bytes]":
    """Encode a message: its fPort and its bytes. EncodeError for a value out of its range."""
    if isinstance(message, BinReport):
        f_port, data, taken = _pack_bin(message, _ROOM)
        if taken < len(message.history):
            raise EncodeError("history: ages that fall, or lie more than 3071 minutes apart")
        return f_port, data
    if isinstance(message, BayReport):
        _within("state", message.state, 0, UNCERTAIN)
        _within("change_count", message.change_count, 0, CHANGE_COUNT_MODULUS - 1)
        _within("flags", message.flags, 0, BAY_FLAGS_MAX)
        previous = message.previous_duration_s
        code = _NO_DURATION if previous is None else duration_code(_positive(previous))
        return F_PORT_BAY, _trimmed(
            [
                message.change_count << 18
                | message.state << 16
                | code << 8
                | duration_code(_positive(message.age_s)),
                message.flags or None,
            ]
        )
    if isinstance(message, Status):
        return F_PORT_STATUS, _encode_status(message)
    if isinstance(message, Configuration):
        return F_PORT_CONFIGURATION, _trimmed(_fields(message, _CONFIGURATION))
    if isinstance(message, ConfigurationAck):
        _within("config_hash", message.config_hash, 0, 0xFFFF)
        _within("refused", message.refused, 0, REFUSED_MAX)
        return F_PORT_CONFIGURATION_ACK, _trimmed([message.config_hash, message.refused or None])
    raise EncodeError(f"no message: {message!r}")


def _positive(seconds: int) -> int:
    return _within("duration", seconds, 0, 0x7FFFFFFF)


def _fields(
    message: object, table: "tuple[tuple[str, int, int, int], ...]"
) -> "list[int | bytes | None]":
    items: list[int | bytes | None] = []
    for name, lowest, highest, step in table:
        value = getattr(message, name, None)
        if value is not None:
            _within(name, value, lowest, highest)
            if value % step:
                raise EncodeError(f"{name} {value} is no multiple of {step}")
            value //= step
        items.append(value)
    return items


def _encode_status(status: Status) -> bytes:
    items = _fields(status, _STATUS)
    if (status.reset_reason is None) != (status.calibration is None):
        raise EncodeError("reset_reason and calibration: both or neither")
    if status.reset_reason is not None and status.calibration is not None:
        _within("reset_reason", status.reset_reason, 0, RESET_REASON_MAX)
        _within("calibration", status.calibration, 0, CALIBRATION_MAX)
        items[2] = status.reset_reason << 2 | status.calibration
    if status.firmware is not None:
        major, minor, patch = status.firmware
        _within("major", major, 0, FIRMWARE_MAX[0])
        _within("minor", minor, 0, FIRMWARE_MAX[1])
        _within("patch", patch, 0, FIRMWARE_MAX[2])
        items[4] = major << 12 | minor << 6 | patch
    if status.errors:
        _within("errors", len(status.errors), 0, ERRORS_MAX)
        for code in status.errors:
            _within("error", code, 0, 255)
        items.append(bytes(status.errors))
    return _trimmed(items)


def _integer(value: "int | bytes | None", lowest: int, highest: int) -> int:
    if not isinstance(value, int):
        raise DecodeError(TYPE)
    if not lowest <= value <= highest:
        raise DecodeError(RANGE)
    return value


def decode(f_port: int, data: "bytes | bytearray") -> Message:
    """Decode the payload of an fPort; DecodeError for anything but a message's one encoding."""
    if not F_PORT_BIN <= f_port <= F_PORT_BIN_PAST:
        raise DecodeError(F_PORT)
    items = cbor.decode_array(data)
    count = len(items)
    if count and items[-1] is None:
        raise DecodeError(NOT_CANONICAL)
    if f_port in (F_PORT_STATUS, F_PORT_CONFIGURATION):
        return _decode_fields(f_port, items)
    if not count:
        raise DecodeError(LENGTH)
    if f_port == F_PORT_BAY:
        return _decode_bay(items)
    if f_port == F_PORT_CONFIGURATION_ACK:
        config_hash = _integer(items[0], 0, 0xFFFF)
        if count > 2:
            raise DecodeError(LENGTH)
        refused = _integer(items[1], 0, REFUSED_MAX) if count > 1 else 0
        if count > 1 and not refused:
            raise DecodeError(NOT_CANONICAL)
        return ConfigurationAck(config_hash, refused)
    return _decode_bin(f_port, items)


def _decode_bin(f_port: int, items: "list[int | bytes | None]") -> BinReport:
    count = len(items)
    head = _integer(items[0], 0, 0xFFFF)
    quality = head >> 10 & 7
    if quality > QUALITY_MAX:
        raise DecodeError(RANGE)
    distance = items[1] if count > 1 else None
    if distance is not None:
        distance = _integer(distance, -1 - DISTANCE_MAX_MM // 10, DISTANCE_MAX_MM)
        if distance < 0:
            distance = 10 * (-1 - distance)
        elif distance % 10 == 0:
            raise DecodeError(NOT_CANONICAL)
    temperature: int | None = None
    flaps: int | None = None
    age = 0
    position = 3
    if f_port == F_PORT_BIN_PAST:
        age = _integer(items[2] if count > 2 else None, 1, AGE_MAX_MIN)
    else:
        position = 4
        if count > 2 and items[2] is not None:
            temperature = _integer(items[2], _TEMPERATURE_LO, _TEMPERATURE_HI)
            temperature += TEMPERATURE_OFFSET_C
        if count > 3 and items[3] is not None:
            flaps = _integer(items[3], 0, FLAPS_MAX)
    past: tuple[tuple[int, int | None, int], ...] = ()
    if count > position:
        if count > position + 1:
            raise DecodeError(LENGTH)
        packed = items[position]
        if not isinstance(packed, bytes):
            raise DecodeError(TYPE)
        past = history.unpack(age, distance, quality, packed)
    return BinReport(
        head & SEQUENCE_MODULUS - 1, distance, quality, head >> 13, temperature, flaps, past, age
    )


def _decode_bay(items: "list[int | bytes | None]") -> BayReport:
    head = _integer(items[0], 0, 0xFFFFFFFF)
    if len(items) > 2:
        raise DecodeError(LENGTH)
    flags = 0
    if len(items) > 1:
        flags = _integer(items[1], 0, BAY_FLAGS_MAX)
        if not flags:
            raise DecodeError(NOT_CANONICAL)
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
        flags,
    )


def _decode_fields(f_port: int, items: "list[int | bytes | None]") -> Message:
    table = _STATUS if f_port == F_PORT_STATUS else _CONFIGURATION
    message: Message = Status() if f_port == F_PORT_STATUS else Configuration()
    if len(items) > len(table):
        packed = items.pop()
        if len(items) > len(table) or not isinstance(message, Status):
            raise DecodeError(LENGTH)
        if not isinstance(packed, bytes):
            raise DecodeError(TYPE)
        if not 0 < len(packed) <= ERRORS_MAX:
            raise DecodeError(RANGE if packed else NOT_CANONICAL)
        message.errors = tuple(packed)
    for (name, lowest, highest, step), item in zip(table, items):  # noqa: B905 - MicroPython has no strict=
        if item is None:
            continue
        # Both borders are steps or the step is 1, so the product decides.
        value = _integer(item, -0x10000, 0x10000) * step
        if not lowest <= value <= highest:
            raise DecodeError(RANGE)
        if isinstance(message, Status) and name == "_state":
            message.reset_reason = value >> 2
            message.calibration = value & 3
        elif isinstance(message, Status) and name == "_firmware":
            message.firmware = (value >> 12, value >> 6 & 63, value & 63)
        else:
            setattr(message, name, value)
    return message


def fit(message: Message, max_bytes: int) -> Message:
    """Give the message, or a bin report with as much of its history as fits; else EncodeError."""
    if isinstance(message, BinReport) and message.history:
        data, taken = _pack_bin(message, max_bytes)[1:]
        if taken < len(message.history):
            message = BinReport(
                message.sequence,
                message.distance_mm,
                message.quality,
                message.flags,
                message.temperature_c,
                message.flaps,
                message.history[:taken],
                message.age_min,
            )
    else:
        data = encode(message)[1]
    if len(data) > max_bytes:
        raise EncodeError(f"{len(data)} bytes do not fit into {max_bytes}")
    return message


def split(message: Message, max_bytes: int) -> "list[Message]":
    """Give messages of at most `max_bytes` each (11 is enough for every report) that say it all."""
    if isinstance(message, Status):
        return _split_status(message, max_bytes)
    first = fit(message, max_bytes)
    parts = [first]
    while isinstance(message, BinReport) and isinstance(first, BinReport):
        taken = len(first.history)
        if taken == len(message.history):
            break
        age, distance, quality = message.history[taken]
        if distance is not None:
            distance = (distance + 5) // 10 * 10
        message = BinReport(
            message.sequence - taken - 1 & 0xFFFF,
            distance,
            quality,
            0,
            None,
            None,
            message.history[taken + 1 :],
            age,
        )
        first = fit(message, max_bytes)
        parts.append(first)
    return parts


def _split_status(status: Status, max_bytes: int) -> "list[Message]":
    if len(encode(status)[1]) <= max_bytes:
        return [status]
    health = Status(
        None,
        None,
        status.charge_used_mah,
        status.battery_mv,
        status.reset_reason,
        (),
        status.link_margin_db,
        status.calibration,
    )
    identity = Status(status.firmware, status.hardware)
    parts = [fit(part, max_bytes) for part in (health, identity) if part != Status()]
    codes = status.errors
    room = max_bytes - len(_STATUS) - 2
    if codes and room < 1:
        raise EncodeError(f"no error code fits into {max_bytes} bytes")
    while codes:
        parts.append(Status(errors=codes[:room]))
        codes = codes[room:]
    return parts


def config_hash(configuration: Configuration) -> int:
    """Give the 16-bit hash of a configuration in force: CRC-32 of its encoding, the low half."""
    crc: int = crc32(encode(configuration)[1])
    return crc & 0xFFFF

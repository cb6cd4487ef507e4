"""The messages of schema v1 and their bytes: BinReport, BayReport, Status, Configuration and its
acknowledgement.

A message is one CBOR array of integers and byte strings, the fPort its schema and version.
Trailing fields that say nothing are left out, always: a message has exactly one encoding.
docs/protocol.md and stoep.cddl describe the arrays, codec.js decodes them elsewhere.
"""

from binascii import crc32

from .cbor import decode_array, encode_array
from .errors import F_PORT, LENGTH, NOT_CANONICAL, RANGE, TYPE, DecodeError, EncodeError
from .history import gap_code, pack
from .schema import (
    BAY,
    BIN,
    CONFIGURATION,
    CONFIGURATION_ACK,
    ERRORS_MAX,
    F_PORT_BAY,
    F_PORT_BIN,
    F_PORT_BIN_PAST,
    F_PORT_CALIBRATED,
    F_PORT_CONFIGURATION,
    F_PORT_CONFIGURATION_ACK,
    F_PORT_READINGS_REQUEST,
    F_PORT_STATUS,
    HISTORY_MAX,
    LID_OPEN,
    SEQUENCE_MODULUS,
    STATUS,
    TEMPERATURE_OFFSET_C,
)

const = int

_ROOM = const(255)
_NO_DURATION = const(255)


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
    that is what a decoded report holds (see `reports.full_sequence`). `distance_mm` None: no echo.
    `quality` 0 to 4, `flags` a set of schema bits, ECHO_WEAK and those
    after it. `temperature_c` and `flaps` (openings
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
    `calibration` schema codes, `errors` a tuple of at most 16 codes 0 to 255.
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
    """How a device shall behave; None: as it was flashed.

    `interval_min` between reports (a bay: heartbeats; a value of `history.gap_min`), `mode`
    MODE_REGULAR, MODE_ON_CHANGE or MODE_BOTH, `confirmed_every` n-th uplink (0: none), `history`
    earlier readings per report. Container: `change_cm` that counts as a change,
    `alarm_distance_cm` (that or nearer) and `alarm_temperature_c` (that or warmer)
    at which to report at once. Bay: `bay_threshold_nt` and `settle_s`.
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


def duration_code(seconds: int) -> int:
    """Code a duration as 0 to 254: steps of 4 s to 2 min, then of 3 to 6 %, to 22.7 days and more.

    The code is a number of 4 s units with five significant bits: below 32 itself, from there on
    16 * exponent + mantissa for (16 + mantissa) << exponent - 1. The nearest one is taken.
    """
    units = (seconds + 2) // 4
    if units < 32:
        return units
    exponent = 1
    while (seconds + (2 << exponent)) >> exponent + 2 > 31:
        exponent += 1
    return min(16 * exponent + ((seconds + (2 << exponent)) >> exponent + 2), _NO_DURATION - 1)


def _refuse(name: str, value: object) -> None:
    raise EncodeError(f"{name}: {value!r} is out of range")


def _check(message: Message, table: "tuple[tuple[str, int, int], ...]") -> None:
    for name, lowest, highest in table:
        value = getattr(message, name)
        if value is not None and not lowest <= value <= highest:
            _refuse(name, value)


def _array(items: "list[int | bytes | None]") -> bytes:
    while items and items[-1] is None:
        items.pop()
    return encode_array(items)


def _encode_bin(report: BinReport, max_bytes: int) -> "tuple[int, bytes, int]":
    """Encode with as much history as fits: fPort, bytes, number of earlier readings in them."""
    _check(report, BIN)
    if len(report.history) > HISTORY_MAX:
        _refuse("history", len(report.history))
    distance = report.distance_mm
    if distance is not None and distance % 10 == 0:
        distance = -1 - distance // 10
    items: list[int | bytes | None] = [
        report.flags << 13 | report.quality << 10 | report.sequence % SEQUENCE_MODULUS,
        distance,
    ]
    temperature = report.temperature_c
    if report.age_min:
        if temperature is not None or report.flaps is not None:
            raise EncodeError("earlier readings have no temperature_c and no flaps")
        items.append(report.age_min)
    else:
        items.append(None if temperature is None else temperature - TEMPERATURE_OFFSET_C)
        items.append(report.flaps)
    taken = 0
    if report.history:
        # From 24 bytes on the head of a byte string takes a second byte.
        room = max_bytes - len(encode_array(items)) - 1
        packed, taken = pack(
            report.age_min,
            report.distance_mm,
            report.quality,
            report.history,
            room if room < 24 else room - 1,
        )
        if taken:
            items.append(packed)
    return F_PORT_BIN_PAST if report.age_min else F_PORT_BIN, _array(items), taken


def _encode_bay(report: BayReport) -> bytes:
    _check(report, BAY)
    previous = report.previous_duration_s
    code = _NO_DURATION if previous is None else duration_code(previous)
    head = report.change_count << 18 | report.state << 16 | code << 8 | duration_code(report.age_s)
    return _array([head, report.flags or None])


def _encode_status(status: Status) -> bytes:
    firmware = status.firmware
    packed = None
    if firmware is not None:
        major, minor, patch = firmware
        if not (0 <= major <= 15 and 0 <= minor <= 63 and 0 <= patch <= 63):
            _refuse("firmware", firmware)
        packed = major << 12 | minor << 6 | patch
    items: list[int | bytes | None] = []
    for name, lowest, highest in STATUS:
        value = packed if name == "firmware" else getattr(status, name)
        if value is not None and not lowest <= value <= highest:
            _refuse(name, value)
        items.append(value)
    if status.errors:
        if len(status.errors) > ERRORS_MAX or min(status.errors) < 0 or max(status.errors) > 255:
            _refuse("errors", status.errors)
        items.append(bytes(status.errors))
    return _array(items)


def _encode_configuration(configuration: Configuration) -> bytes:
    _check(configuration, CONFIGURATION)
    interval = configuration.interval_min
    if interval is not None and not gap_code(interval):
        _refuse("interval_min", interval)
    return _array([getattr(configuration, name) for name, _, _ in CONFIGURATION])


def encode(message: Message) -> "tuple[int, bytes]":
    """Encode a message: its fPort and its bytes. EncodeError for a value out of its range."""
    if isinstance(message, BinReport):
        f_port, data, taken = _encode_bin(message, _ROOM)
        if taken < len(message.history):
            raise EncodeError("history: ages fall, or lie more than 3071 minutes apart")
        return f_port, data
    if isinstance(message, BayReport):
        return F_PORT_BAY, _encode_bay(message)
    if isinstance(message, Status):
        return F_PORT_STATUS, _encode_status(message)
    if isinstance(message, Configuration):
        return F_PORT_CONFIGURATION, _encode_configuration(message)
    if isinstance(message, ConfigurationAck):
        _check(message, CONFIGURATION_ACK)
        return F_PORT_CONFIGURATION_ACK, _array([message.config_hash, message.refused or None])
    from .requests import encode_request  # noqa: PLC0415 - a device hardly ever encodes what is left

    return encode_request(message)


def decode_fields(
    message: Message,
    table: "tuple[tuple[str, int, int], ...]",
    items: "list[int | bytes | None]",
) -> None:
    """Set the fields of a table from the items of an array; null leaves one as it is."""
    if len(items) > len(table):
        raise DecodeError(LENGTH)
    for index, item in enumerate(items):
        if item is None:
            continue
        name, lowest, highest = table[index]
        if not isinstance(item, int):
            raise DecodeError(TYPE)
        if not lowest <= item <= highest:
            raise DecodeError(RANGE)
        setattr(message, name, item)


def decode(f_port: int, data: "bytes | bytearray") -> Message:
    """Decode the payload of an fPort; DecodeError for anything but a message's one encoding."""
    if not F_PORT_BIN <= f_port <= F_PORT_CALIBRATED:
        raise DecodeError(F_PORT)
    items = decode_array(data)
    if items and items[-1] is None:
        raise DecodeError(NOT_CANONICAL)
    if f_port == F_PORT_CONFIGURATION:
        configuration = Configuration()
        decode_fields(configuration, CONFIGURATION, items)
        interval = configuration.interval_min
        if interval is not None and not gap_code(interval):
            raise DecodeError(RANGE)
        return configuration
    if f_port == F_PORT_READINGS_REQUEST:
        from .requests import decode_request  # noqa: PLC0415 - few wakes see one

        return decode_request(items)
    # A device decodes nothing else; its heap need not hold the rest.
    from .reports import decode_report  # noqa: PLC0415

    return decode_report(f_port, items)


def fit(message: Message, max_bytes: int) -> Message:
    """Give the message, or of a bin report what fits; else EncodeError.

    Its history goes first, the oldest before the rest; then, for an alarm takes two bytes more,
    `flaps`, or of an earlier reading the alarm.
    """
    if isinstance(message, BinReport):
        _, data, taken = _encode_bin(message, max_bytes)
        flags = message.flags
        flaps = message.flaps
        long = len(data) > max_bytes
        if long:
            flaps = None
            if message.age_min:
                flags %= LID_OPEN
        if long or taken < len(message.history):
            message = BinReport(
                message.sequence,
                message.distance_mm,
                message.quality,
                flags,
                message.temperature_c,
                flaps,
                message.history[:taken],
                message.age_min,
            )
            data = _encode_bin(message, max_bytes)[1]
    else:
        data = encode(message)[1]
    if len(data) > max_bytes:
        raise EncodeError(f"{len(data)} bytes do not fit into {max_bytes}")
    return message


def split(message: Message, max_bytes: int) -> "list[Message]":
    """Give messages of at most `max_bytes` each that say it all; 11 is enough for every report."""
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
    if len(_encode_status(status)) <= max_bytes:
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
    room = max_bytes - len(STATUS) - 2
    if status.errors and room < 1:
        raise EncodeError(f"no error code fits into {max_bytes} bytes")
    codes = status.errors
    while codes:
        parts.append(Status(errors=codes[:room]))
        codes = codes[room:]
    return parts


def config_hash(configuration: Configuration) -> int:
    """Give the 16-bit hash of a configuration in force: CRC-32 of its encoding, the low half."""
    crc: int = crc32(_encode_configuration(configuration))
    return crc & 0xFFFF

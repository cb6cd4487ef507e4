"""Calibrating a bay's sensor and testing a container's echoes: the order and its answer.

Few wakes of a device see either: loaded only then. docs/protocol.md explains the values.
"""

from .cbor import encode_array
from .errors import LENGTH, RANGE, TYPE, DecodeError, EncodeError
from .messages import Message, decode_fields
from .schema import F_PORT_CALIBRATE, F_PORT_CALIBRATED

# Calibrate.step
STEP_EMPTY = 0  # the bay is empty: its field is the baseline
STEP_CAR = 1  # a car stands on it: is its change strong enough?
STEP_ECHOES = 2  # of a container: from where do echoes come?

# Calibrated.result
CALIBRATED = 0
CALIBRATED_MOVING = 1  # the field did not come to rest
CALIBRATED_WEAK = 2  # the car changes the field by less than the threshold
CALIBRATED_NO_BASELINE = 3  # a car before the empty bay
CALIBRATED_NO_SENSOR = 4
CALIBRATED_SATURATED = 5
CALIBRATED_UNSUPPORTED = 6  # a step for another kind of device

PINGS = 30  # of an echo test

CALIBRATE = (("step", STEP_EMPTY, STEP_ECHOES), ("distance_cm", 1, 1000))
RESULT_MAX = 7
VALUES_MAX = 4
VALUE_MAX = 0xFFFF


class Calibrate(Message):
    """A step that a device shall take; `distance_cm`: where the waste or the floor is known to be.

    None: not said.
    """

    __slots__ = ("distance_cm", "step")

    def __init__(self, step: int, distance_cm: "int | None" = None) -> None:
        self.step = step
        self.distance_cm = distance_cm


class Calibrated(Message):
    """What came of a step: a CALIBRATED_... code and at most four values from 0 to 65535.

    Of a bay: what was measured and what that was held against, in nT. The field's movement and how
    much of it is rest, or, if it was at rest, the car's change of it and the threshold.
    STEP_ECHOES: the `distance_cm` that was asked with (None: none), then `echo` of each place that
    echoes came from, most of them first.
    """

    __slots__ = ("result", "step", "values")

    def __init__(self, step: int, result: int, values: "tuple[int | None, ...]" = ()) -> None:
        self.step = step
        self.result = result
        self.values = values


def echo(distance_cm: int, count: int) -> int:
    """Give the value for so many echoes, 63 or more, from one place."""
    return distance_cm << 6 | min(count, 63)


def encode_calibration(message: Message) -> "tuple[int, bytes]":
    """Encode either: its fPort and its bytes; EncodeError for anything else."""
    items: list[int | bytes | None]
    if isinstance(message, Calibrate):
        items = [message.step, message.distance_cm]
        f_port = F_PORT_CALIBRATE
        ranges = CALIBRATE
    elif isinstance(message, Calibrated):
        values = message.values
        if len(values) > VALUES_MAX or (values and values[-1] is None):
            raise EncodeError(f"values: {values!r}")
        items = [message.result << 2 | message.step]
        items.extend(values)
        f_port = F_PORT_CALIBRATED
        ranges = (("step", STEP_EMPTY, STEP_ECHOES), ("result", 0, RESULT_MAX))
        for value in values:
            if value is not None and not 0 <= value <= VALUE_MAX:
                raise EncodeError(f"values: {value} is out of range")
    else:
        raise EncodeError(f"no message: {message!r}")
    for name, lowest, highest in ranges:
        value = getattr(message, name)
        if value is not None and not lowest <= value <= highest:
            raise EncodeError(f"{name}: {value} is out of range")
    if items[-1] is None:
        items.pop()
    return f_port, encode_array(items)


def decode_calibration(f_port: int, items: "list[int | bytes | None]") -> Message:
    """Give the message that the items of an array are."""
    is_order = f_port == F_PORT_CALIBRATE
    if not items or (is_order and len(items) > len(CALIBRATE)):
        raise DecodeError(LENGTH)
    head = items[0]
    if is_order:
        if head is None:
            raise DecodeError(TYPE)
        order = Calibrate(0)
        decode_fields(order, CALIBRATE, items)
        return order
    if not isinstance(head, int):
        raise DecodeError(TYPE)
    if not 0 <= head <= RESULT_MAX << 2 | STEP_ECHOES or head & 3 > STEP_ECHOES:
        raise DecodeError(RANGE)
    if len(items) > 1 + VALUES_MAX:
        raise DecodeError(LENGTH)
    values: list[int | None] = []
    for value in items[1:]:
        if isinstance(value, bytes):
            raise DecodeError(TYPE)
        if value is not None and not 0 <= value <= VALUE_MAX:
            raise DecodeError(RANGE)
        values.append(value)
    return Calibrated(head & 3, head >> 2, tuple(values))

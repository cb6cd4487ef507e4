"""The request for earlier readings, which few wakes of a device see: loaded only then."""

from .cbor import encode_array
from .errors import LENGTH, TYPE, DecodeError, EncodeError
from .messages import Message, decode_fields
from .schema import F_PORT_READINGS_REQUEST, READINGS_REQUEST


class ReadingsRequest(Message):
    """`count` readings are asked for: that with number `sequence` and those before it.

    `sequence` is sent modulo 1024, and that is what a decoded request holds.
    """

    __slots__ = ("count", "sequence")

    def __init__(self, sequence: int, count: int) -> None:
        self.sequence = sequence
        self.count = count


def encode_request(message: Message) -> "tuple[int, bytes]":
    """Encode a request: its fPort and its bytes; anything else is left to calibration.py."""
    if not isinstance(message, ReadingsRequest):
        from .calibration import encode_calibration  # noqa: PLC0415 - seldom, too

        return encode_calibration(message)
    for name, lowest, highest in READINGS_REQUEST:
        if not lowest <= getattr(message, name) <= highest:
            raise EncodeError(f"{name}: {getattr(message, name)} is out of range")
    return F_PORT_READINGS_REQUEST, encode_array([message.sequence, message.count])


def decode_request(items: "list[int | bytes | None]") -> ReadingsRequest:
    """Give the request that the items of an array are."""
    if len(items) != len(READINGS_REQUEST):
        raise DecodeError(LENGTH)
    if items[0] is None:
        raise DecodeError(TYPE)
    request = ReadingsRequest(0, 0)
    decode_fields(request, READINGS_REQUEST, items)
    return request

"""Deterministic CBOR (RFC 8949, section 4.2) as far as the payloads need it.

One array of at most 23 items; an item is an integer of up to 32 bits (its argument, so -2**32 to
2**32 - 1), a byte string of up to 255 bytes, or null. Heads are the shortest possible. Anything
else is refused: there is one spelling of every value.
"""

from .errors import LENGTH, NOT_CANONICAL, RANGE, TRAILING, TRUNCATED, TYPE, DecodeError

const = int

_BYTES = const(0x40)
_ARRAY = const(0x80)
_NULL = const(0xF6)
_ITEMS_MAX = const(23)


def _head(out: bytearray, major: int, argument: int) -> None:
    if argument < 24:
        out.append(major | argument)
        return
    size = 1 if argument < 0x100 else 2 if argument < 0x10000 else 4
    out.append(major | (23 + size if size < 4 else 26))
    out.extend(argument.to_bytes(size, "big"))


def encode_array(items: "list[int | bytes | None]") -> bytes:
    """Encode items (at most 23) as one array; the caller has checked their ranges."""
    out = bytearray((_ARRAY | len(items),))
    for item in items:
        if item is None:
            out.append(_NULL)
        elif isinstance(item, int):
            if item < 0:
                _head(out, 0x20, -1 - item)
            else:
                _head(out, 0, item)
        else:
            _head(out, _BYTES, len(item))
            out.extend(item)
    return bytes(out)


def decode_array(data: "bytes | bytearray") -> "list[int | bytes | None]":
    """Decode one array that is all of `data`; DecodeError for whatever else it is."""
    end = len(data)
    if not end:
        raise DecodeError(TRUNCATED)
    count = data[0] ^ _ARRAY
    if count > _ITEMS_MAX:
        raise DecodeError(TYPE if count > 0x1F else LENGTH)
    items: list[int | bytes | None] = []
    position = 1
    for _ in range(count):
        if position >= end:
            raise DecodeError(TRUNCATED)
        first = data[position]
        position += 1
        if first == _NULL:
            items.append(None)
            continue
        if first >= 0x60:
            raise DecodeError(TYPE)
        argument = first & 0x1F
        if argument > 23:
            if argument > 26:
                raise DecodeError(RANGE if argument == 27 else TYPE)
            size = 1 << (argument - 24)
            if position + size > end:
                raise DecodeError(TRUNCATED)
            argument = int.from_bytes(data[position : position + size], "big")
            position += size
            if argument < 24 or (size > 1 and not argument >> (4 * size)):
                raise DecodeError(NOT_CANONICAL)
        if first < 0x20:
            items.append(argument)
        elif first < _BYTES:
            items.append(-1 - argument)
        else:
            if position + argument > end:
                raise DecodeError(TRUNCATED)
            items.append(bytes(data[position : position + argument]))
            position += argument
    if position != end:
        raise DecodeError(TRAILING)
    return items

"""Finds the PUBLISH packets in the octets that a client sent (MQTT 3.1.1 and 5.0, 2.1 and 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Published", "encode_publish", "published"]

_CONNECT, _PUBLISH = 1, 3
_MQTT_5 = 5


class Published(NamedTuple):
    """A PUBLISH; ``at`` is the place of the chunk in which its first octet was sent."""

    at: int
    topic: str
    payload: bytes
    repeated: bool  # its DUP flag


def published(chunks: Iterable[tuple[int, bytes]]) -> Iterator[Published]:
    """Yield the PUBLISH packets of one connection, sent in chunks of ``(place, octets)``."""
    stream = bytearray()
    places: list[tuple[int, int]] = []  # offset in the stream at which a chunk begins, its place
    for at, data in chunks:
        places.append((len(stream), at))
        stream += data
    level = 0
    offset = 0
    while offset < len(stream):
        kind = stream[offset]
        body, length = _remaining_length(stream, offset + 1)
        if body + length > len(stream):
            return  # cut off by the end of the connection
        packet = bytes(stream[body : body + length])
        if kind >> 4 == _CONNECT:
            level = packet[6]  # after the protocol's name, "MQTT"
        elif kind >> 4 == _PUBLISH:
            place = max(place for place in places if place[0] <= offset)[1]
            yield _publish(place, kind, packet, level)
        offset = body + length


def _publish(at: int, kind: int, packet: bytes, level: int) -> Published:
    end = 2 + int.from_bytes(packet[:2], "big")
    topic = packet[2:end].decode()
    if kind >> 1 & 3:
        end += 2  # packet identifier
    if level == _MQTT_5:
        start, length = _remaining_length(packet, end)
        end = start + length
    return Published(at, topic, packet[end:], bool(kind & 8))


def _remaining_length(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return ``(where the body begins, its length)``; beyond the data when cut off."""
    length = shift = 0
    while at < len(data):
        octet = data[at]
        at += 1
        length |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return at, length
    return len(data) + 1, 0


def encode_publish(topic: str, payload: bytes, packet_id: int) -> bytes:
    """Return a PUBLISH at QoS 1 in MQTT 3.1.1."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + packet_id.to_bytes(2, "big") + payload
    length = len(body)
    header = bytearray((_PUBLISH << 4 | 2,))
    while length > 0x7F:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    return bytes(header) + body

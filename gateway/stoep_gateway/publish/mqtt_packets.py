"""The two packets of which an outbox sends and receives thousands: PUBLISH and PUBACK. Pure.

QoS 1 of MQTT 3.1.1 and 5.0 (sections 3.3, 3.4 and 2.2.3 of either). Every other packet is left to
the client library.
"""

from __future__ import annotations

from stoep_gateway.errors import RemoteProtocolError

__all__ = ["PubackReader", "encode_publish"]

_PUBLISH_QOS_1 = 0x32
_RETAIN = 0x01
_PUBACK = 0x40
_MAX_LENGTH_OCTETS = 4


def encode_publish(
    topic: str, payload: bytes, packet_id: int, *, retain: bool, version_5: bool
) -> bytes:
    """Return a PUBLISH at QoS 1 without properties; ``packet_id`` is 1 to 65535."""
    name = topic.encode()
    length = 4 + len(name) + len(payload) + version_5
    head = bytearray((_PUBLISH_QOS_1 | retain,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    head += len(name).to_bytes(2, "big") + name + packet_id.to_bytes(2, "big")
    if version_5:
        head.append(0)  # no properties
    return bytes(head + payload)


class PubackReader:
    """Takes the PUBACKs out of what a broker sends, in whatever pieces it comes."""

    __slots__ = ("_unread",)

    def __init__(self) -> None:
        self._unread = b""

    def feed(self, data: bytes) -> tuple[list[tuple[int, int]], bytes]:
        """Return ``(packet id, reason code)`` of each whole PUBACK, and all other whole packets.

        Raises ``RemoteProtocolError`` for a length that no packet has.
        """
        data = self._unread + data if self._unread else data
        acknowledged: list[tuple[int, int]] = []
        others = b""
        at, end = 0, len(data)
        while end - at >= 2:
            length = data[at + 1]
            body = at + 2
            if length > 0x7F:
                parsed = _length(data, at + 1)
                if parsed is None:
                    break
                length, body = parsed
            after = body + length
            if after > end:
                break
            if data[at] == _PUBACK and length >= 2:
                reason = data[body + 2] if length > 2 else 0
                acknowledged.append((data[body] << 8 | data[body + 1], reason))
            else:
                others += data[at:after]
            at = after
        self._unread = data[at:]
        return acknowledged, others


def _length(data: bytes, at: int) -> tuple[int, int] | None:
    """Return a remaining length and where the packet's body begins; None if not all is there."""
    length = 0
    for index, octet in enumerate(data[at : at + _MAX_LENGTH_OCTETS]):
        length |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            return length, at + index + 1
    if len(data) - at >= _MAX_LENGTH_OCTETS:
        raise RemoteProtocolError("mqtt_length")
    return None

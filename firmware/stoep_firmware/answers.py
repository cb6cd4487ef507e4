"""What a container's device does with a request for readings; few wakes see one and load this."""

import struct

from stoep_protocol.cbor import decode_array
from stoep_protocol.errors import DecodeError
from stoep_protocol.requests import decode_request

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware.outbox import Outbox

_A_DAY = const(8)
_DAY_MS = const(86_400_000)
_FORMAT = "<qB"  # since when requests are counted, how many have been answered


def answer(outbox: "Outbox", answered: bytes, now_ms: int, payload: bytes) -> bytes:
    """Mark what is asked for as to be told; return `answered`, what is kept of requests."""
    since_ms, count = struct.unpack(_FORMAT, answered)
    if now_ms - since_ms >= _DAY_MS:
        since_ms = now_ms
        count = 0
    if count < _A_DAY:
        try:
            request = decode_request(decode_array(payload))
        except DecodeError:
            return answered
        if outbox.told(request.sequence, request.count, told=False):
            count += 1
    return struct.pack(_FORMAT, since_ms, count)

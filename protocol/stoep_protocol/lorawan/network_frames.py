"""Join-request and join-accept as a network server opens and makes them; no device loads this."""

import struct

from stoep_protocol.errors import LENGTH, DecodeError, EncodeError
from stoep_protocol.lorawan.crypto import Key
from stoep_protocol.lorawan.join_frames import (
    JoinAccept,
    decode_join_accept,
    encode_join_request,
    reverse,
)

const = int

__all__ = (
    "JoinAccept",
    "JoinRequest",
    "decode_join_accept",
    "encode_join_accept",
    "encode_join_request",
    "verify_join_request",
)

_MIC_BYTES = const(4)
_JOIN_REQUEST_BYTES = const(23)


class JoinRequest:
    """A join-request as received. `mic` is not verified yet: see `verify_join_request`."""

    __slots__ = ("dev_eui", "dev_nonce", "join_eui", "mic")

    def __init__(self, join_eui: bytes, dev_eui: bytes, dev_nonce: int, mic: bytes) -> None:
        self.join_eui = join_eui
        self.dev_eui = dev_eui
        self.dev_nonce = dev_nonce
        self.mic = mic


def parse_join_request(phy_payload: bytes) -> JoinRequest:
    """Take a join-request apart; `frames.parse` has seen that it is one. Raises `DecodeError`."""
    if len(phy_payload) != _JOIN_REQUEST_BYTES:
        raise DecodeError(LENGTH, "join-request of %d octets" % len(phy_payload))
    return JoinRequest(
        reverse(phy_payload[1:9]),
        reverse(phy_payload[9:17]),
        phy_payload[17] | phy_payload[18] << 8,
        phy_payload[19:],
    )


def verify_join_request(phy_payload: bytes, app_key: Key) -> bool:
    """Whether the MIC of a join-request fits under this key."""
    return app_key.cmac(phy_payload[:-_MIC_BYTES])[:_MIC_BYTES] == phy_payload[-_MIC_BYTES:]


def encode_join_accept(
    app_key: Key,
    app_nonce: int,
    net_id: int,
    dev_addr: int,
    rx1_dr_offset: int,
    rx2_dr: int,
    rx_delay_s: int,
    cf_list: bytes = b"",
) -> bytes:
    """Return a join-accept, "encrypted" with AES decrypt so that devices need only AES encrypt.

    `app_key` must have been made from an AES that can decrypt. Raises `EncodeError`.
    """
    if not 0 <= app_nonce <= 0xFFFFFF or not 0 <= net_id <= 0xFFFFFF:
        raise EncodeError("AppNonce and NetID are unsigned 24-bit numbers")
    if not 0 <= dev_addr <= 0xFFFFFFFF:
        raise EncodeError("DevAddr is an unsigned 32-bit number")
    if not 0 <= rx1_dr_offset <= 7 or not 0 <= rx2_dr <= 15 or not 0 <= rx_delay_s <= 15:
        raise EncodeError("RX1DROffset is 0..7, the RX2 data rate 0..15, RxDelay 0..15 s")
    if len(cf_list) not in (0, 16):
        raise EncodeError("CFList is absent or 16 octets, not %d" % len(cf_list))
    if app_key.decrypt is None:
        raise EncodeError("this key cannot decrypt, which a join-accept needs")
    message = (
        b"\x20"
        + struct.pack("<I", app_nonce)[:3]
        + struct.pack("<I", net_id)[:3]
        + struct.pack("<IBB", dev_addr, rx1_dr_offset << 4 | rx2_dr, rx_delay_s)
        + cf_list
    )
    mic = app_key.cmac(message)[:_MIC_BYTES]
    return b"\x20" + bytes(app_key.decrypt(message[1:] + mic))

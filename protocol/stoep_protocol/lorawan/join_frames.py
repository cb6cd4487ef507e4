"""Join-request and join-accept as a device makes and opens them (LoRaWAN 1.0.3, 6.2)."""

import struct

from stoep_protocol.errors import MIC, RESERVED, DecodeError, EncodeError
from stoep_protocol.lorawan.crypto import Key
from stoep_protocol.lorawan.frames import EncryptedJoinAccept, parse


class JoinAccept:
    """What the network server tells a device that joins (LoRaWAN 1.0.3, 6.2.5).

    `rx_delay_s` is the delay in seconds, 1..15 (a wire value of 0 means 1). `cf_list` is empty or
    16 octets: see `regions.Region.decode_cf_list`.
    """

    __slots__ = (
        "app_nonce",
        "cf_list",
        "dev_addr",
        "net_id",
        "rx1_dr_offset",
        "rx2_dr",
        "rx_delay_s",
    )

    def __init__(
        self,
        app_nonce: int,
        net_id: int,
        dev_addr: int,
        rx1_dr_offset: int,
        rx2_dr: int,
        rx_delay_s: int,
        cf_list: bytes,
    ) -> None:
        self.app_nonce = app_nonce
        self.net_id = net_id
        self.dev_addr = dev_addr
        self.rx1_dr_offset = rx1_dr_offset
        self.rx2_dr = rx2_dr
        self.rx_delay_s = rx_delay_s
        self.cf_list = cf_list


def encode_join_request(app_key: Key, join_eui: bytes, dev_eui: bytes, dev_nonce: int) -> bytes:
    """Return a join-request; EUIs are 8 octets big-endian, `dev_nonce` 0..65535."""
    if len(join_eui) != 8 or len(dev_eui) != 8 or not 0 <= dev_nonce <= 0xFFFF:
        raise EncodeError("a join-request takes two EUIs of 8 octets and a 16-bit DevNonce")
    message = b"\x00" + reverse(join_eui) + reverse(dev_eui) + struct.pack("<H", dev_nonce)
    return message + app_key.cmac(message)[:4]


def decode_join_accept(phy_payload: bytes, app_key: Key) -> JoinAccept:
    """Decrypt and verify a join-accept, on the device.

    Raises `DecodeError`: `length`, `reserved` (another message type), `version`, `mic`.
    """
    if not isinstance(parse(phy_payload), EncryptedJoinAccept):
        raise DecodeError(RESERVED, "not a join-accept")
    plain = app_key.encrypt(phy_payload[1:])
    message = plain[:-4]
    if app_key.cmac(phy_payload[:1] + message)[:4] != plain[-4:]:
        raise DecodeError(MIC, "join-accept for another device or damaged")
    dev_addr, dl_settings, rx_delay = struct.unpack_from("<IBB", message, 6)
    return JoinAccept(
        message[0] | message[1] << 8 | message[2] << 16,
        message[3] | message[4] << 8 | message[5] << 16,
        dev_addr,
        dl_settings >> 4 & 7,
        dl_settings & 15,
        (rx_delay & 15) or 1,
        message[12:],
    )


def reverse(data: bytes) -> bytes:
    """Return the octets the other way round."""
    # MicroPython has no extended slices of bytes.
    return bytes(reversed(data))

"""AES-CMAC, the cipher of FRMPayload and the session keys of LoRaWAN 1.0.x over an injected AES.

Nothing here knows an AES implementation: the device hands in `cryptolib.aes(key, 1)`, the gateway
a thin wrapper of a cached `cryptography` ECB context. All multi-octet fields of the blocks are
little-endian (LoRaWAN 1.0.3, 4.3.3 and 4.4); keys and EUIs never appear in text here.
"""

import struct

const = int

UP = 0
DOWN = 1

_BLOCK = const(16)
_MASK_128 = (1 << 128) - 1

# CMAC works on 128-bit integers in network order: an XOR of integers is one operation on either
# runtime where an XOR of octets is a loop.
_from_bytes = int.from_bytes
_pack = struct.pack
# First octet, four zero octets, direction, DevAddr, full FCnt, zero, last octet (4.3.3.1, 4.4).
_BLOCK_FORMAT = "<BIBIIBB"


class Key:
    """One AES-128 key with its CMAC subkeys, which are derived once.

    `aes` is anything with `encrypt(data) -> bytes` in ECB mode for lengths divisible by 16. Only
    the server, which makes join-accepts, needs `aes.decrypt` as well.
    """

    __slots__ = ("_k1", "_k2", "decrypt", "encrypt")

    # A Protocol class would say what `aes` is, but MicroPython has no `typing`.
    def __init__(self, aes) -> None:  # type: ignore[no-untyped-def]
        self.encrypt = aes.encrypt
        self.decrypt = getattr(aes, "decrypt", None)
        k1 = _double(_from_bytes(self.encrypt(bytes(_BLOCK)), "big"))
        self._k1 = k1
        self._k2 = _double(k1)

    def subkeys(self) -> "tuple[bytes, bytes]":
        """Return K1 and K2 of RFC 4493, 2.3."""
        return self._k1.to_bytes(_BLOCK, "big"), self._k2.to_bytes(_BLOCK, "big")

    def cmac(self, message: bytes) -> bytes:
        """Return the 16 octets of AES-CMAC over `message` (RFC 4493, 2.4)."""
        encrypt = self.encrypt
        length = len(message)
        last = (length - 1) // _BLOCK * _BLOCK if length else 0
        state = 0
        for at in range(0, last, _BLOCK):
            block = _from_bytes(message[at : at + _BLOCK], "big") ^ state
            state = _from_bytes(encrypt(block.to_bytes(_BLOCK, "big")), "big")
        rest = length - last
        block = _from_bytes(message[last:], "big")
        if rest == _BLOCK:
            block ^= self._k1
        else:
            block = ((block << 8) | 0x80) << (8 * (_BLOCK - 1 - rest)) ^ self._k2
        mac: bytes = encrypt((block ^ state).to_bytes(_BLOCK, "big"))
        return mac


def _double(value: int) -> int:
    """Double `value` in GF(2^128) (RFC 4493, 2.3)."""
    doubled = (value << 1) & _MASK_128
    return doubled ^ 0x87 if value >> 127 else doubled


def data_mic(nwk_s_key: Key, direction: int, dev_addr: int, f_cnt: int, message: bytes) -> bytes:
    """Return the 4-octet MIC of a data frame (LoRaWAN 1.0.3, 4.4).

    `message` is everything before the MIC, at most 255 octets; `f_cnt` the full 32-bit counter.
    """
    b0 = _pack(_BLOCK_FORMAT, 0x49, 0, direction, dev_addr, f_cnt, 0, len(message))
    return nwk_s_key.cmac(b0 + message)[:4]


def crypt(key: Key, direction: int, dev_addr: int, f_cnt: int, data: bytes) -> bytes:
    """Encrypt or decrypt an FRMPayload: the two are the same (LoRaWAN 1.0.3, 4.3.3).

    `data` holds at most 255 octets; `f_cnt` is the full 32-bit counter.
    """
    length = len(data)
    if not length:
        return b""
    blocks = _pack(_BLOCK_FORMAT, 0x01, 0, direction, dev_addr, f_cnt, 0, 1)
    if length > _BLOCK:
        head = blocks[:15]
        for i in range(2, (length + 31) // _BLOCK):
            blocks += head + bytes((i,))
    stream = key.encrypt(blocks)[:length]
    return (_from_bytes(data, "big") ^ _from_bytes(stream, "big")).to_bytes(length, "big")


def derive_session_keys(
    app_key: Key, app_nonce: int, net_id: int, dev_nonce: int
) -> "tuple[bytes, bytes]":
    """Return `(nwk_s_key, app_s_key)` of an activation (LoRaWAN 1.0.3, 6.2.5)."""
    nonces = _pack("<I", app_nonce)[:3] + _pack("<I", net_id)[:3] + _pack("<H", dev_nonce)
    tail = nonces + bytes(7)
    keys: bytes = app_key.encrypt(b"\x01" + tail + b"\x02" + tail)
    return keys[:16], keys[16:]

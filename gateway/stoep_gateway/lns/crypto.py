"""AES of the ``cryptography`` package behind the protocol's ``Key``, with contexts made once."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from stoep_protocol.lorawan.crypto import Key

__all__ = ["new_key"]


class _EcbAes:
    """ECB contexts keep no state between blocks, so one serves for ever."""

    __slots__ = ("_key", "encrypt")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.encrypt = _cipher(key).encryptor().update

    def decrypt(self, blocks: bytes) -> bytes:
        """Decrypt whole blocks: only join-accepts need it, so its context is not kept."""
        return _cipher(self._key).decryptor().update(blocks)


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 (the building block of LoRaWAN)


def new_key(key: bytes) -> Key:
    """Return the key, 16 octets, ready for use on the server's side."""
    return Key(_EcbAes(key))

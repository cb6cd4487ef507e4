"""AES of the ``cryptography`` package behind the protocol's ``Key``, with contexts made once."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from stoep_protocol.lorawan.crypto import Key

__all__ = ["new_key", "new_session_key"]


class _Encrypting:
    """ECB contexts keep no state between blocks, so one serves for ever."""

    __slots__ = ("encrypt",)

    def __init__(self, key: bytes) -> None:
        self.encrypt = _cipher(key).encryptor().update


class _EcbAes(_Encrypting):
    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._key = key

    def decrypt(self, blocks: bytes) -> bytes:
        """Decrypt whole blocks: only join-accepts need it, so its context is not kept."""
        return _cipher(self._key).decryptor().update(blocks)


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 (the building block of LoRaWAN)


def new_key(key: bytes) -> Key:
    """Return the key, 16 octets, ready for use on the server's side."""
    return Key(_EcbAes(key))


def new_session_key(key: bytes) -> Key:
    """Return a key that makes no join-accepts: there are two for each device."""
    return Key(_Encrypting(key))

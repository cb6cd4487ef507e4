"""AES for tests on the host: `lorawan.crypto.Key` over cached contexts of `cryptography`."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from stoep_protocol.lorawan.crypto import Key


class _Aes:
    def __init__(self, key: bytes) -> None:
        cipher = Cipher(algorithms.AES(key), modes.ECB())
        self.encrypt = cipher.encryptor().update
        self.decrypt = cipher.decryptor().update


def new_key(key: bytes) -> Key:
    """Return a key that can do both what the device and what the server does."""
    return Key(_Aes(key))

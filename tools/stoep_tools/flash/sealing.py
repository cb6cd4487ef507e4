"""Keys at rest in the ledger: AES-256-GCM under a key that lies beside it.

A sealed value is ``nonce (12) ‖ ciphertext ‖ tag (16)``. The DevEUI is authenticated with it, so
that nobody who can write to the ledger can give one board another's key. The key file holds 64
hexadecimal digits and is its owner's alone.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stoep_tools.flash.errors import USAGE, FlashError

__all__ = ["Sealer", "load_key", "new_file", "sync_folder"]

_KEY_OCTETS = 32
_NONCE_OCTETS = 12


class Sealer:
    """Seals and opens keys with one key of 32 octets, which shows in no ``repr``."""

    __slots__ = ("_gcm", "check_value")

    def __init__(self, key: bytes) -> None:
        self._gcm = AESGCM(key)
        # Kept in the ledger: tells a wrong key, and tells nothing of the right one.
        self.check_value = hmac.digest(key, b"stoep flash ledger", hashlib.sha256)[:16]

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return ``plain`` sealed for ``context``."""
        nonce = secrets.token_bytes(_NONCE_OCTETS)
        return nonce + self._gcm.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return what was sealed for ``context``. Raises `FlashError` if it was altered."""
        try:
            return self._gcm.decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], context)
        except (InvalidTag, ValueError):
            raise FlashError(
                f"the ledger's key of {context.hex()} was altered", "put back a copy of the ledger"
            ) from None


def load_key(path: Path, *, must_exist: bool) -> bytes:
    """Return the key of 32 octets. A missing one is made, durably, unless it ``must_exist``.

    Raises `FlashError` for one that is missing, readable by others or malformed.
    """
    try:
        # Windows has no such bits; there a user's folder is that user's.
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise FlashError(f"others may read the key {path}", f"chmod 600 {path}", USAGE)
        text = path.read_bytes()
    except FileNotFoundError:
        if not must_exist:
            return _make(path)
        raise FlashError(
            f"the ledger's key {path} is missing: without it no key in the ledger can be read",
            "put the key file back beside the ledger",
            USAGE,
        ) from None
    except OSError as error:
        raise FlashError(f"{path} cannot be read: {error.strerror}", exit_code=USAGE) from None
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:  # also of the decoder
        key = b""
    if len(key) != _KEY_OCTETS:
        raise FlashError(
            f"{path} is not a key: 64 hexadecimal digits", "put the right file back", USAGE
        )
    return key


def _make(path: Path) -> bytes:
    key = secrets.token_bytes(_KEY_OCTETS)
    new_file(path, key.hex().encode() + b"\n")
    return key


def new_file(path: Path, data: bytes) -> None:
    """Put a file in place, whole or not at all, readable by its owner alone; then it is durable.

    Raises `FlashError`.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        descriptor = os.open(partial, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise FlashError(f"{path} cannot be written: {error.strerror}") from None


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable; Windows has no call for it."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

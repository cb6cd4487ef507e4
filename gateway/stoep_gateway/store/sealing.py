"""Keys at rest: sealed with the gateway's own key, which lies apart from the database.

A sealed value is ``nonce (12) ‖ ciphertext ‖ tag (16)`` of AES-256-GCM. Its context (a DevEUI and a
column, say) is authenticated with it, so that nobody who can write to the database can hand one
device another's key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stoep_gateway.config_model import StoreConfig
from stoep_gateway.errors import FatalError, StoreCorrupt

__all__ = ["CREDENTIAL", "Sealer", "key_path", "load_key", "open_sealer", "read_key"]

CREDENTIAL = "stoep-key"
_KEY_OCTETS = 32
_NONCE_OCTETS = 12


class Sealer:
    """Seals and opens values with one key of 32 octets; the key shows in no ``repr``."""

    __slots__ = ("_gcm", "check_value")

    def __init__(self, key: bytes) -> None:
        self._gcm = AESGCM(key)
        # To be kept in the database: tells a wrong key, and tells nothing of the right one.
        self.check_value = hmac.digest(key, b"stoep sealing key", hashlib.sha256)[:16]

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return ``plain`` sealed for ``context``."""
        nonce = secrets.token_bytes(_NONCE_OCTETS)
        return nonce + self._gcm.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return what was sealed. Raises `StoreCorrupt` if it was altered or moved."""
        try:
            return self._gcm.decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], context)
        except (InvalidTag, ValueError):
            where = context.decode("ascii", "backslashreplace")
            raise StoreCorrupt(
                f"the sealed {where} does not open: it was altered or moved; restore a copy"
            ) from None


def open_sealer(
    store: StoreConfig, environ: Mapping[str, str], check_value: bytes | None
) -> Sealer:
    """Return the sealer of a database that holds ``check_value`` (None: nothing is sealed yet).

    In that case the caller keeps the new sealer's ``check_value`` before, or with, what it seals.
    Raises `FatalError` for a key that is missing, readable by others, malformed or the wrong one.
    """
    sealer = Sealer(load_key(store, environ, must_exist=check_value is not None))
    if check_value is not None and not hmac.compare_digest(sealer.check_value, check_value):
        raise FatalError(
            f"{key_path(store, environ)}: is not the key that sealed {store.path};"
            " put back the key that belongs to this database"
        )
    return sealer


def key_path(store: StoreConfig, environ: Mapping[str, str]) -> Path:
    """Return where the key is: ``key_file``, systemd's credential, or beside the database."""
    if store.key_file is not None:
        return store.key_file
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and (credential := Path(folder) / CREDENTIAL).exists():
        return credential
    return store.path.with_name(store.path.name + ".key")


def load_key(store: StoreConfig, environ: Mapping[str, str], *, must_exist: bool) -> bytes:
    """Return the sealing key, 32 octets: 64 hexadecimal digits in its file.

    A missing one beside the database is made, durably, unless it ``must_exist``; one that the
    configuration names is never made. Raises `FatalError`.
    """
    path = key_path(store, environ)
    try:
        # systemd guards a credential by its folder, and may show an access list as group bits.
        is_credential = path.parent == Path(environ.get("CREDENTIALS_DIRECTORY") or os.devnull)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077 and not is_credential:
            raise FatalError(f"{path}: others may read the key; chmod 600 {path}")
        return read_key(path)
    except FileNotFoundError:
        if store.key_file is None and not must_exist:
            return _make(path)
        remedy = (
            f"{store.path} cannot be read without it: put it back"
            if must_exist
            else f"make one: (umask 077; openssl rand -hex 32 > {path})"
        )
        raise FatalError(f"{path}: the key is missing; {remedy}") from None
    except OSError as error:
        raise _unreadable(path, error) from error


def read_key(path: Path) -> bytes:
    """Return the key in a file. Raises `FatalError`, and `FileNotFoundError` if there is none."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:  # also of the decoder
        key = b""
    if len(key) != _KEY_OCTETS:
        raise FatalError(f"{path}: a key is {2 * _KEY_OCTETS} hexadecimal digits")
    return key


def _unreadable(path: Path, error: OSError) -> FatalError:
    return FatalError(f"{path}: the key cannot be read: {error.strerror}")


def _make(path: Path) -> bytes:
    """Write a new key that outlives a power cut before anything is sealed with it."""
    key = secrets.token_bytes(_KEY_OCTETS)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, key.hex().encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise FatalError(f"{path}: the key cannot be written: {error.strerror}") from error
    return key

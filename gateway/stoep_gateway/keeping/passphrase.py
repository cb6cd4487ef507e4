"""A key under a passphrase: AES-256-GCM with what scrypt (RFC 7914) makes of the passphrase."""

from __future__ import annotations

import json
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from stoep_gateway.errors import FatalError

__all__ = ["SHORTEST", "lock", "unlock"]

SHORTEST = 12  # characters
_N, _R, _P = 1 << 16, 8, 1  # 64 MB, about a second on a Raspberry Pi
_N_MOST = 1 << 20
_CONTEXT = b"stoep gateway backup: sealing key"


def lock(key: bytes, passphrase: str) -> bytes:
    """Return ``key`` encrypted, as JSON. Raises `FatalError` for a passphrase that is too short."""
    if len(passphrase) < SHORTEST:
        raise FatalError(f"a passphrase has at least {SHORTEST} characters")
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    sealed = AESGCM(_derived(passphrase, salt, _N, _R, _P)).encrypt(nonce, key, _CONTEXT)
    values = {
        "kdf": "scrypt",
        "n": _N,
        "r": _R,
        "p": _P,
        "salt": salt.hex(),
        "cipher": "AES-256-GCM",
        "nonce": nonce.hex(),
        "sealed": sealed.hex(),
    }
    return json.dumps(values, indent=1).encode() + b"\n"


def unlock(data: bytes, passphrase: str) -> bytes:
    """Return the key. Raises `FatalError` for another passphrase, or what `lock` did not write."""
    try:
        values: dict[str, Any] = json.loads(data)
        salt, nonce, sealed = (bytes.fromhex(values[it]) for it in ("salt", "nonce", "sealed"))
        n, r, p = int(values["n"]), int(values["r"]), int(values["p"])
        if not (1 < n <= _N_MOST and 0 < r <= 32 and 0 < p <= 16):
            raise ValueError
        return AESGCM(_derived(passphrase, salt, n, r, p)).decrypt(nonce, sealed, _CONTEXT)
    except InvalidTag:
        raise FatalError("the key does not open: it was locked with another passphrase") from None
    except (KeyError, TypeError, ValueError):
        raise FatalError("the key in the copy was altered") from None


def _derived(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase.encode())

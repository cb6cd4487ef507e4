"""A key under a passphrase; Python's own hashlib.scrypt as the second opinion."""

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from stoep_gateway.errors import FatalError
from stoep_gateway.keeping.passphrase import lock, unlock

KEY = bytes(range(32))
PHRASE = "four words are enough ✓"


def test_what_was_locked_opens_and_shows_nothing():
    locked = lock(KEY, PHRASE)
    assert unlock(locked, PHRASE) == KEY
    assert KEY not in locked
    assert KEY.hex().encode() not in locked
    assert lock(KEY, PHRASE) != locked


def test_hashlib_opens_it_too():
    values = json.loads(lock(KEY, PHRASE))
    salt, nonce, sealed = (bytes.fromhex(values[it]) for it in ("salt", "nonce", "sealed"))
    n, r, p = values["n"], values["r"], values["p"]
    derived = hashlib.scrypt(
        PHRASE.encode(), salt=salt, n=n, r=r, p=p, dklen=32, maxmem=256 * n * r
    )
    assert AESGCM(derived).decrypt(nonce, sealed, b"stoep gateway backup: sealing key") == KEY


def test_another_passphrase():
    with pytest.raises(FatalError, match="another passphrase"):
        unlock(lock(KEY, PHRASE), PHRASE + " ")


@pytest.mark.parametrize("phrase", ["", "elf letters"])
def test_a_passphrase_that_is_too_short(phrase):
    with pytest.raises(FatalError, match="at least 12"):
        lock(KEY, phrase)


@pytest.mark.parametrize(
    "change", [{"n": 2**40}, {"n": 3}, {"salt": "x"}, {"nonce": None}, {"p": 10**9}]
)
def test_what_lock_did_not_write(change):
    values = json.loads(lock(KEY, PHRASE)) | change
    with pytest.raises(FatalError, match="altered"):
        unlock(json.dumps(values).encode(), PHRASE)

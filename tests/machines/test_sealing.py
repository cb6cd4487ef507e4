"""Keys at rest: what opens, what does not, and where the sealing key comes from."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.config_model import StoreConfig
from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.store.sealing import Sealer, key_path, load_key, open_sealer

KEY = bytes(range(32))


def store(folder: Path, **members: Path) -> StoreConfig:
    return StoreConfig.model_construct(path=folder / "stoep.db", key_file=members.get("key_file"))


def write_key(path: Path, text: str = KEY.hex() + "\n", mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_what_was_sealed_opens_in_its_context_only(plain: bytes, context: bytes) -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal(plain, context)
    assert sealer.open(sealed, context) == plain
    assert AESGCM(KEY).decrypt(sealed[:12], sealed[12:], context) == plain
    assert sealer.seal(plain, context) != sealed
    for other, where in (
        (sealed, context + b"x"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), context),
        (sealed[:20], context),
        (b"", context),
    ):
        with pytest.raises(StoreCorrupt):
            sealer.open(other, where)
    with pytest.raises(StoreCorrupt):
        Sealer(KEY[::-1]).open(sealed, context)


def test_nothing_shows_the_key() -> None:
    sealer = Sealer(KEY)
    assert sealer.check_value == Sealer(KEY).check_value
    assert sealer.check_value != Sealer(KEY[::-1]).check_value
    assert KEY not in sealer.check_value
    assert KEY.hex() not in repr(sealer)


def test_the_first_start_makes_a_key_that_nobody_else_reads(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        key = load_key(store(tmp_path), {}, must_exist=False)
    finally:
        os.umask(umask)
    path = tmp_path / "stoep.db.key"
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert bytes.fromhex(path.read_text()) == key
    assert [it.name for it in tmp_path.iterdir()] == ["stoep.db.key"]
    assert load_key(store(tmp_path), {}, must_exist=True) == key


def test_a_key_is_not_made_anew_when_something_is_sealed(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"stoep\.db\.key: the key is missing; .*put it back"):
        open_sealer(store(tmp_path), {}, Sealer(KEY).check_value)
    assert not list(tmp_path.iterdir())


def test_a_configured_key_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="openssl rand -hex 32"):
        load_key(store(tmp_path, key_file=tmp_path / "key"), {}, must_exist=False)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read(tmp_path: Path, mode: int) -> None:
    path = write_key(tmp_path / "key", mode=mode)
    with pytest.raises(FatalError, match=f"chmod 600 {path}"):
        load_key(store(tmp_path, key_file=path), {}, must_exist=False)


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "g" * 64, "é"])
def test_a_key_that_is_none(tmp_path: Path, text: str) -> None:
    path = write_key(tmp_path / "key", text)
    with pytest.raises(FatalError, match="64 hexadecimal digits") as raised:
        load_key(store(tmp_path, key_file=path), {}, must_exist=False)
    assert not text or text not in str(raised.value)


def test_the_credential_of_systemd(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert key_path(store(tmp_path), environ) == tmp_path / "stoep.db.key"
    path = write_key(credentials / "stoep-key", mode=0o440)  # as systemd makes it
    assert key_path(store(tmp_path), environ) == path
    assert load_key(store(tmp_path), environ, must_exist=True) == KEY
    own = write_key(tmp_path / "own", "11" * 32)
    assert load_key(store(tmp_path, key_file=own), environ, must_exist=True) == b"\x11" * 32


def test_the_wrong_key_is_known(tmp_path: Path) -> None:
    path = write_key(tmp_path / "key")
    settings = store(tmp_path, key_file=path)
    check_value = open_sealer(settings, {}, None).check_value
    assert open_sealer(settings, {}, check_value).check_value == check_value
    write_key(path, "11" * 32)
    with pytest.raises(FatalError, match=r"is not the key that sealed .*stoep\.db"):
        open_sealer(settings, {}, check_value)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="cannot be written: No such file or directory"):
        load_key(store(tmp_path / "nowhere"), {}, must_exist=False)

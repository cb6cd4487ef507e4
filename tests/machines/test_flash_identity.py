"""Identities of boards, and what the firmware makes of the files that tell it of them."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_firmware import identity as device_identity
from stoep_firmware.session import Session
from stoep_firmware.settings import Settings
from stoep_firmware.store import Store, make_record
from stoep_hardware import board_data
from stoep_tools.flash.errors import USAGE, FlashError
from stoep_tools.flash.identity import (
    DEFAULT_JOIN_EUI,
    MAX_DEV_NONCE,
    EuiRange,
    Identity,
    config,
    config_json,
    dev_eui_of,
    dev_nonce_of,
    eui_of,
    grouped,
    new_identity,
    session_record,
)

MAC = bytes.fromhex("34b7da0c1d2e")
SOMEBODY = Identity(
    bytes.fromhex("70b3d57ed0000001"), DEFAULT_JOIN_EUI, bytes.fromhex("2b7e151628aed2a6" * 2)
)


def nobody(_: bytes) -> bool:
    return False


def test_a_mac_becomes_an_eui_64() -> None:
    # IEEE's own example: 00-00-5E-00-53-01 (RFC 7042, 2.2) within FF-FE; no bit is flipped.
    assert dev_eui_of(bytes.fromhex("00005e005301")).hex() == "00005efffe005301"
    with pytest.raises(FlashError):
        dev_eui_of(MAC + b"\0")


def test_an_identity_is_new_and_its_key_random() -> None:
    first, second = new_identity(MAC, nobody), new_identity(MAC, nobody)
    assert first.dev_eui == second.dev_eui == dev_eui_of(MAC)
    assert first.join_eui == bytes(8)
    assert len(first.app_key) == 16
    assert first.app_key != second.app_key
    join_eui = eui_of("70B3-D57E-D000-0000")
    assert new_identity(MAC, nobody, join_eui).join_eui == join_eui


def test_a_range_gives_its_next_free_one_until_it_is_used_up() -> None:
    euis = EuiRange.parse("70b3d57ed00000fe-70b3d57ed0000101")
    taken: set[bytes] = {eui_of("70b3d57ed00000ff")}
    found = []
    for _ in range(3):
        identity = new_identity(MAC, taken.__contains__, euis=euis)
        found.append(identity.dev_eui.hex()[-3:])
        taken.add(identity.dev_eui)
    assert found == ["0fe", "100", "101"]
    with pytest.raises(FlashError, match="used up"):
        new_identity(MAC, taken.__contains__, euis=euis)
    with pytest.raises(FlashError, match="another board"):
        new_identity(MAC, lambda _: True)


@pytest.mark.parametrize(
    "text", ["", "70b3d57ed0000001", "2-1", "70b3d57ed0000002-70b3d57ed0000001", "x-y", "1-2-3"]
)
def test_what_is_no_range_is_told(text: str) -> None:
    with pytest.raises(FlashError) as caught:
        EuiRange.parse(text)
    assert caught.value.exit_code == USAGE


def test_no_key_shows() -> None:
    assert SOMEBODY.app_key.hex() not in repr(SOMEBODY) + str(SOMEBODY)
    assert "app_key" not in repr(SOMEBODY)
    assert grouped(SOMEBODY.dev_eui) == "70B3 D57E D000 0001"


@pytest.mark.parametrize("name", board_data.names())
def test_the_firmware_takes_the_config_of_every_board(name: str) -> None:
    region = "EU868"
    data = board_data.load(name)
    made = json.loads(config_json(SOMEBODY, name, "bin", region, interval_s=1800, change_cm=5))
    assert made["board"] == json.loads(json.dumps(data.wiring()))
    settings = Settings(made)
    assert (settings.report_ms(), settings.change_mm()) == (1_800_000, 50)
    assert len(device_identity.mark(made)) == 4
    made = json.loads(config_json(SOMEBODY, name, "bay", region, adr=False, lorawan="1.0.3"))
    assert (made["adr"], made["lorawan"], made["interval_s"]) == (False, "1.0.3", 3600)


def test_a_radio_of_another_band_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = board_data.load("lilygo_ttgo_lora32_v21")
    low = replace(data, radio={**data.radio, "chip": "sx1278"})
    monkeypatch.setattr(board_data, "load", lambda _: low)
    with pytest.raises(FlashError, match="ends at 525 MHz"):
        config(SOMEBODY, data.name, "bin", "EU868")


@pytest.mark.parametrize(
    ("board", "kind", "region", "said"),
    [
        ("heltec", "bin", "EU868", {}),
        ("heltec_wifi_lora_32_v3", "box", "EU868", {}),
        ("heltec_wifi_lora_32_v3", "bin", "EU433", {}),
        ("heltec_wifi_lora_32_v3", "bin", "EU868", {"interval_s": 59}),
        ("heltec_wifi_lora_32_v3", "bin", "EU868", {"mode": 3}),
        ("heltec_wifi_lora_32_v3", "bin", "EU868", {"settle_s": 4}),
        ("heltec_wifi_lora_32_v3", "bay", "EU868", {"history": 4}),
        ("heltec_wifi_lora_32_v3", "bay", "EU868", {"bay_threshold_nt": 2999}),
        ("heltec_wifi_lora_32_v3", "bay", "EU868", {"colour": 1}),
        ("heltec_wifi_lora_32_v3", "bay", "EU868", {"lorawan": "1.1"}),
    ],
)
def test_what_a_board_would_refuse_is_told_before(
    board: str, kind: str, region: str, said: dict[str, int]
) -> None:
    with pytest.raises(FlashError) as caught:
        config_json(SOMEBODY, board, kind, region, **said)
    assert caught.value.exit_code == USAGE
    assert SOMEBODY.app_key.hex() not in str(caught.value)


class Storage(dict[str, bytes]):
    """A board's file system with these records."""

    def read(self, name: str) -> bytes | None:
        return self.get(name)

    def write(self, name: str, data: bytes) -> None:
        self[name] = data


@given(st.integers(0, MAX_DEV_NONCE))
def test_a_board_that_was_flashed_goes_on_with_its_dev_nonce(dev_nonce: int) -> None:
    storage = Storage({"session.0": session_record(dev_nonce)})
    store = Store(lambda *_: b"", storage)
    sections = store.load_storage()
    assert sections is not None
    assert sections[1] == b"", "the mark of no device: it is another's record"
    assert store.dev_nonce() == dev_nonce
    assert dev_nonce_of(storage) == dev_nonce
    # And its own next record counts on, over the one that it was given.
    session = Session()
    session.dev_nonce = dev_nonce + 1
    store.save_storage([session.pack(), b"ours"])
    store.save_storage([session.pack(), b"ours"])
    assert dev_nonce_of(storage) == dev_nonce + 1


def test_what_was_read_back_says_what_is_next() -> None:
    assert dev_nonce_of({}) is None
    assert dev_nonce_of({"session.0": b"", "session.1": b"SW3 and rubbish"}) is None
    session = Session()
    session.dev_nonce = 7
    older = make_record(4, [session.pack(), b"ours"])
    session.dev_nonce = 9
    newer = make_record(5, [session.pack(), b"ours"])
    assert dev_nonce_of({"session.0": older, "session.1": newer}) == 9
    assert dev_nonce_of({"session.0": older, "session.1": newer[:-1]}) == 7
    with pytest.raises(FlashError, match="used up"):
        session_record(MAX_DEV_NONCE + 1)

"""Over-the-air activation: who may join, and what a join-accept says."""

import pytest
from lns_values import target
from lorawan_keys import new_key
from stoep_gateway.assets.registry import Device, Registry
from stoep_gateway.config_model import DeviceConfig
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.join import Activation, DevNonces, activate, dev_addr_of
from stoep_protocol.lorawan.crypto import derive_session_keys
from stoep_protocol.lorawan.frames import parse
from stoep_protocol.lorawan.network_frames import decode_join_accept, encode_join_request

DEV_EUI = bytes.fromhex("70b3d57ed0000001")
JOIN_EUI = bytes.fromhex("70b3d57ed00000ff")
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
NET_ID = 0x000013
SETTINGS = target(rx1_delay_s=2, rx1_dr_offset=1)


def device_with(**changes: object) -> Device:
    spec = {"dev_eui": DEV_EUI, "join_eui": JOIN_EUI, "app_key": APP_KEY} | changes
    return Registry("street", {}, {}).view(DeviceConfig(**spec), "store")


DEVICE = device_with()


def attempt(
    dev_nonce: int = 1,
    nonces: DevNonces | None = None,
    *,
    dev_eui: bytes = DEV_EUI,
    join_eui: bytes = JOIN_EUI,
    app_key: bytes = APP_KEY,
    device: Device = DEVICE,
) -> Activation | Rejected:
    phy_payload = encode_join_request(new_key(app_key), join_eui, dev_eui, dev_nonce)
    nonces = nonces or DevNonces(())
    return activate(
        parse(phy_payload),
        phy_payload,
        {device.dev_eui: device}.get(dev_eui),
        nonces,
        NET_ID,
        SETTINGS,
    )


def test_a_device_learns_all_it_needs_and_both_ends_have_the_same_keys():
    activation = attempt(dev_nonce=0x1234)
    accept = decode_join_accept(activation.join_accept, new_key(APP_KEY))
    assert accept.net_id == NET_ID
    assert accept.app_nonce == activation.app_nonce == 1
    assert accept.dev_addr == activation.dev_addr
    assert (accept.rx_delay_s, accept.rx1_dr_offset, accept.rx2_dr) == (2, 1, 0)
    assert accept.cf_list.hex() == "184f84e85684b85e84886684586e8400"
    keys = derive_session_keys(new_key(APP_KEY), accept.app_nonce, accept.net_id, 0x1234)
    assert keys == (activation.nwk_s_key, activation.app_s_key)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dev_eui": bytes(8)}, "unknown_dev_eui"),
        ({"app_key": bytes(16)}, "join_mic"),
        ({"join_eui": bytes(8)}, "join_eui"),
    ],
)
def test_who_may_not_join(changes, reason):
    assert attempt(**changes).reason == reason


def test_a_used_nonce_is_refused_and_any_other_one_taken():
    nonces = DevNonces([(DEV_EUI, 7, 1, False), (DEV_EUI, 900, 2, False)])
    assert attempt(7, nonces) == Rejected("dev_nonce_replayed", "70b3d57ed0000001 7")
    assert attempt(900, nonces).reason == "dev_nonce_replayed"
    assert attempt(8, nonces).app_nonce == 3


@pytest.mark.parametrize(
    ("lorawan", "dev_nonce", "accepted"),
    [
        ("1.0.2", 901, True),
        ("1.0.3", 8, True),
        ("1.0.3", 900, False),
        ("1.0.4", 901, True),
        ("1.0.4", 900, False),
        ("1.0.4", 8, False),
        ("1.0.4", 65535, True),
    ],
)
def test_from_1_0_4_on_nonces_count_up(lorawan, dev_nonce, accepted):
    nonces = DevNonces([(DEV_EUI, 7, 1, False), (DEV_EUI, 900, 2, False)])
    found = attempt(dev_nonce, nonces, device=device_with(lorawan=lorawan))
    assert isinstance(found, Activation) is accepted
    assert accepted or found.reason == "dev_nonce_replayed"


def test_a_forgiven_device_uses_its_nonces_again_but_gets_no_app_nonce_twice():
    nonces = DevNonces([(DEV_EUI, 7, 1, True), (DEV_EUI, 8, 2, False)])
    assert attempt(7, nonces).app_nonce == 3
    assert nonces.count(DEV_EUI) == 1
    nonces.forgive(DEV_EUI)
    assert attempt(8, nonces).app_nonce == 3
    assert nonces.count(DEV_EUI) == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"enabled": False}, "device_disabled"),
        ({"app_key": None, "source": "city"}, "device_does_not_join"),
    ],
)
def test_a_device_that_may_not_join(changes, reason):
    assert attempt(device=device_with(**changes)).reason == reason


def test_nonces_are_each_devices_own():
    nonces = DevNonces([(bytes(8), 7, 5, False)])
    assert attempt(7, nonces).app_nonce == 1


def test_deciding_changes_nothing():
    nonces = DevNonces(())
    first, second = attempt(7, nonces), attempt(7, nonces)
    assert first == second
    nonces.remember(DEV_EUI, 7, first.app_nonce)
    assert attempt(7, nonces).reason == "dev_nonce_replayed"


def test_a_stranger_who_knows_a_used_nonce_learns_nothing():
    nonces = DevNonces([(DEV_EUI, 7, 1, False)])
    assert attempt(7, nonces, app_key=bytes(16)).reason == "join_mic"


def test_app_nonces_never_repeat():
    nonces = DevNonces([(DEV_EUI, 1, 0xFFFFFF, False)])
    assert attempt(2, nonces).reason == "app_nonce_exhausted"


@pytest.mark.parametrize(
    ("net_id", "prefix", "bits"),
    # LoRaWAN Backend Interfaces 1.0, 14: NetID type and NwkID lead the DevAddr.
    [
        (0x000013, 0b0_010011, 7),
        (0x00003F, 0b0_111111, 7),
        (0x200001, 0b10_000001, 8),
        (0x400003, 0b110_000000011, 12),
        (0x600007, 0b1110_00000000111, 15),
        (0x800001, 0b11110_000000000001, 17),
        (0xA00001, 0b111110_0000000000001, 19),
        (0xC00001, 0b1111110_000000000000001, 22),
        (0xE00001, 0b11111110_00000000000000001, 25),
    ],
)
def test_addresses_lie_under_the_net_id(net_id, prefix, bits):
    for app_nonce in range(1, 50):
        assert dev_addr_of(net_id, DEV_EUI, app_nonce) >> (32 - bits) == prefix


def test_addresses_are_spread_and_repeatable():
    euis = [number.to_bytes(8, "big") for number in range(2000)]
    addresses = [dev_addr_of(NET_ID, eui, 1) for eui in euis]
    assert addresses == [dev_addr_of(NET_ID, eui, 1) for eui in euis]
    assert len(set(addresses)) > 1990


def test_a_key_is_not_shown():
    assert APP_KEY.hex() not in repr(DEVICE)
    assert repr(APP_KEY) not in repr(DEVICE)

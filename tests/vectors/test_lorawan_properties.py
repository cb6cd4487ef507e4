"""What holds for every LoRaWAN frame, MAC command and time on air, not only for the vectors."""

import contextlib
import math
from fractions import Fraction
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st
from lorawan_keys import new_key
from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import crypto, frames, mac_commands, network_frames
from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.regions import EU868, Region, by_name

keys = st.binary(min_size=16, max_size=16)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
directions = st.sampled_from([crypto.UP, crypto.DOWN])
US915 = by_name("US915")
regions = st.sampled_from([EU868, US915])


# Octets that get past the first checks more often than plain noise does.
def _framed(m_types: st.SearchStrategy[int], body: st.SearchStrategy[bytes]) -> Any:
    return st.builds(lambda m_type, rest: bytes((m_type << 5,)) + rest, m_types, body)


phy_payloads = st.one_of(
    st.binary(max_size=300),
    _framed(st.integers(0, 7), st.binary(max_size=64)),
    _framed(st.just(frames.JOIN_REQUEST), st.binary(min_size=22, max_size=22)),
    _framed(st.just(frames.JOIN_ACCEPT), st.binary(min_size=16, max_size=16)),
    _framed(st.just(frames.JOIN_ACCEPT), st.binary(min_size=32, max_size=32)),
    _framed(st.integers(2, 5), st.binary(min_size=11, max_size=40)),
)


@given(key=keys, message=st.binary(max_size=300))
def test_cmac_is_that_of_cryptography(key: bytes, message: bytes) -> None:
    theirs = CMAC(algorithms.AES(key))
    theirs.update(message)
    assert new_key(key).cmac(message) == theirs.finalize()


@given(key=keys, direction=directions, dev_addr=u32, f_cnt=u32, data=st.binary(max_size=255))
def test_cipher_is_aes_in_counter_mode(
    key: bytes, direction: int, dev_addr: int, f_cnt: int, data: bytes
) -> None:
    first = (
        b"\x01\0\0\0\0"
        + bytes((direction,))
        + dev_addr.to_bytes(4, "little")
        + f_cnt.to_bytes(4, "little")
        + b"\0\1"
    )
    theirs = Cipher(algorithms.AES(key), modes.CTR(first)).encryptor()
    assert crypto.crypt(new_key(key), direction, dev_addr, f_cnt, data) == theirs.update(data)


@given(phy_payload=phy_payloads, key=keys)
def test_arbitrary_octets_raise_only_decode_error(phy_payload: bytes, key: bytes) -> None:
    with contextlib.suppress(DecodeError):
        frame = frames.parse(phy_payload)
        if isinstance(frame, frames.DataFrame):
            frames.verify(frame, new_key(key), frame.f_cnt)
            frames.decrypt_payload(frame, new_key(key), frame.f_cnt)
            parts = frame.f_opts, frame.frm_payload, frame.mic
            port = 0 if frame.f_port is None else 1
            assert 8 + port + sum(map(len, parts)) == len(phy_payload)
    network_frames.verify_join_request(phy_payload, new_key(key))
    with contextlib.suppress(DecodeError):
        network_frames.decode_join_accept(phy_payload, new_key(key))
    for direction in (crypto.UP, crypto.DOWN):
        mac_commands.decode(direction, phy_payload)


@given(phy_payload=phy_payloads, key=keys, f_cnt_high=u16)
def test_a_frame_has_one_encoding(phy_payload: bytes, key: bytes, f_cnt_high: int) -> None:
    """What parses encodes to the same octets again, but for reserved bits and the MIC."""
    try:
        frame = frames.parse(phy_payload)
    except DecodeError:
        return
    if not isinstance(frame, frames.DataFrame) or (frame.f_port or 0) > frames.F_PORT_TEST:
        return
    k = new_key(key)
    f_cnt = f_cnt_high << 16 | frame.f_cnt
    encoded = frames.encode_data(
        frame.m_type,
        frame.dev_addr,
        f_cnt,
        k,
        k,
        adr=frame.adr,
        adr_ack_req=frame.adr_ack_req,
        ack=frame.ack,
        f_pending=frame.f_pending,
        f_opts=frame.f_opts,
        f_port=frame.f_port,
        payload=frames.decrypt_payload(frame, k, f_cnt),
    )
    reserved = 0x40 if frame.direction else 0x10
    expected = bytearray(frame.mic_message)
    expected[0] &= 0xE0
    expected[5] &= ~reserved
    assert encoded[:-4] == expected
    again = frames.parse(encoded)
    assert isinstance(again, frames.DataFrame)
    assert frames.verify(again, k, f_cnt)


@given(next_expected=u32, ahead=st.integers(0, 0xFFFE))
def test_counter_is_found_up_to_a_gap_of_16_bits(next_expected: int, ahead: int) -> None:
    full = next_expected + ahead & 0xFFFFFFFF
    assert frames.full_f_cnt(next_expected, full & 0xFFFF) == full
    if next_expected:
        last = next_expected - 1
        assert frames.full_f_cnt(next_expected, last & 0xFFFF) == last


def _commands(direction: int) -> st.SearchStrategy[tuple[int, ...]]:
    flag, octet, nibble = st.booleans(), st.integers(0, 255), st.integers(0, 15)
    hertz = st.integers(0, 0xFFFFFF).map(lambda step: 100 * step)
    eirp = st.sampled_from([8, 10, 12, 13, 14, 16, 18, 20, 21, 24, 26, 27, 29, 30, 33, 36])
    fields: dict[int, tuple[st.SearchStrategy[int], ...]] = {
        mac_commands.LINK_CHECK: (octet, octet),
        mac_commands.LINK_ADR: (nibble, nibble, u16, st.integers(0, 7), nibble),
        mac_commands.DUTY_CYCLE: (nibble,),
        mac_commands.RX_PARAM_SETUP: (st.integers(0, 7), nibble, hertz),
        mac_commands.DEV_STATUS: (),
        mac_commands.NEW_CHANNEL: (octet, hertz, nibble, nibble),
        mac_commands.RX_TIMING: (nibble,),
        mac_commands.TX_PARAM: (flag, flag, eirp),
        mac_commands.DL_CHANNEL: (octet, hertz),
        mac_commands.DEVICE_TIME: (u32, octet),
    }
    if direction == crypto.UP:
        fields = {
            **dict.fromkeys(fields, ()),
            mac_commands.LINK_ADR: (flag, flag, flag),
            mac_commands.RX_PARAM_SETUP: (flag, flag, flag),
            mac_commands.DEV_STATUS: (octet, st.integers(-32, 31)),
            mac_commands.NEW_CHANNEL: (flag, flag),
            mac_commands.DL_CHANNEL: (flag, flag),
        }
    return st.one_of([st.tuples(st.just(cid), *parts) for cid, parts in fields.items()])


@given(direction=directions, data=st.data())
def test_mac_commands_come_back(direction: int, data: st.DataObject) -> None:
    commands = tuple(data.draw(st.lists(_commands(direction), max_size=5)))
    encoded = mac_commands.encode(direction, commands)
    assert mac_commands.decode(direction, encoded) == (commands, b"")


@given(direction=directions, data=st.binary(max_size=40))
def test_mac_commands_read_from_noise_have_one_encoding(direction: int, data: bytes) -> None:
    commands, unread = mac_commands.decode(direction, data)
    encoded = mac_commands.encode(direction, commands)
    assert len(encoded) + len(unread) == len(data)
    assert data.endswith(unread)
    assert mac_commands.decode(direction, encoded) == (commands, b"")


@given(region=regions, data=st.data())
def test_cf_lists_come_back(region: Region, data: st.DataObject) -> None:
    value = u16 if region is US915 else st.integers(0, 0xFFFFFF).map(lambda step: 100 * step)
    values = tuple(data.draw(st.lists(value, max_size=5)))
    encoded = region.encode_cf_list(values)
    assert len(encoded) == 16
    decoded = region.decode_cf_list(encoded)
    assert decoded == (*values, 0, 0, 0, 0, 0)[:5]
    assert region.encode_cf_list(decoded) == encoded


@given(region=regions, data=st.binary(max_size=20))
def test_a_cf_list_of_noise_raises_only_decode_error(region: Region, data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        region.decode_cf_list(data)


@given(
    length=st.integers(0, 255),
    sf=st.integers(7, 12),
    bw_hz=st.sampled_from([125000, 250000, 500000]),
    coding_rate=st.integers(5, 8),
    preamble=st.integers(6, 65535),
    crc=st.booleans(),
    implicit=st.booleans(),
)
def test_time_on_air_follows_the_data_sheet(
    length: int, sf: int, bw_hz: int, coding_rate: int, preamble: int, crc: bool, implicit: bool
) -> None:
    """The formula of the SX1276 data sheet, written as it stands there, in exact fractions."""
    symbol_s = Fraction(2**sf, bw_hz)
    de = 1 if symbol_s > Fraction(16, 1000) else 0
    bits = Fraction(8 * length - 4 * sf + 28 + 16 * crc - 20 * implicit, 4 * (sf - 2 * de))
    payload = 8 + max(math.ceil(bits) * coding_rate, 0)
    expected_us = (preamble + Fraction(17, 4) + payload) * symbol_s * 1_000_000
    assert expected_us.denominator == 1
    assert expected_us == time_on_air_us(
        length,
        sf,
        bw_hz,
        coding_rate=coding_rate,
        preamble=preamble,
        crc=crc,
        implicit=implicit,
    )

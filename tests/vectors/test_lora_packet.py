"""npm lora-packet, an independent implementation, against ours, in both directions.

Node runs once for the whole file.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_packet import LoraPacket, opened
from lorawan_keys import new_key
from stoep_protocol.lorawan import crypto, frames, network_frames
from stoep_protocol.lorawan.regions import EU868


@pytest.fixture(scope="module")
def lora_packet() -> Iterator[LoraPacket]:
    with opened() as oracle:
        yield oracle


keys = st.binary(min_size=16, max_size=16)
euis = st.binary(min_size=8, max_size=8)
numbers = {bits: st.integers(0, (1 << bits) - 1) for bits in (16, 24, 32)}


@st.composite
def data_frames(draw: st.DrawFn) -> dict[str, Any]:
    """Everything that `encode_data` takes, within its rules."""
    m_type = draw(st.integers(frames.UNCONFIRMED_UP, frames.CONFIRMED_DOWN))
    f_port = draw(st.none() | st.integers(0, frames.F_PORT_TEST))
    f_opts = b"" if f_port == 0 else draw(st.binary(max_size=15))
    return {
        "m_type": m_type,
        "dev_addr": draw(numbers[32]),
        "f_cnt": draw(numbers[16] | numbers[32]),
        "adr": draw(st.booleans()),
        "adr_ack_req": not m_type & 1 and draw(st.booleans()),
        "ack": draw(st.booleans()),
        "f_pending": bool(m_type & 1) and draw(st.booleans()),
        "f_opts": f_opts,
        "f_port": f_port,
        "payload": b"" if f_port is None else draw(st.binary(max_size=242 - len(f_opts))),
    }


def in_hex(fields: dict[str, Any], **widths: int) -> dict[str, Any]:
    """Octets as hex, and numbers as many digits as `widths` says."""
    out = {}
    for name, value in fields.items():
        if name in widths:
            out[name] = f"{value:0{widths[name]}x}"
        else:
            out[name] = value.hex() if isinstance(value, bytes) else value
    return out


@settings(deadline=None, max_examples=200)
@given(fields=data_frames(), nwk_s_key=keys, app_s_key=keys)
def test_data_frames_agree(
    lora_packet: LoraPacket, fields: dict[str, Any], nwk_s_key: bytes, app_s_key: bytes
) -> None:
    theirs = in_hex(fields, dev_addr=8)
    key_fields = {"nwk_s_key": nwk_s_key.hex(), "app_s_key": app_s_key.hex()}
    encoded = frames.encode_data(
        nwk_s_key=new_key(nwk_s_key), app_s_key=new_key(app_s_key), **fields
    )
    decoded = lora_packet(
        "decode_data", phy_payload=encoded.hex(), f_cnt=fields["f_cnt"], **key_fields
    )
    assert decoded == {
        **theirs,
        "f_cnt": fields["f_cnt"] & 0xFFFF,
        "confirmed": fields["m_type"] >= frames.CONFIRMED_UP,
        "direction": "down" if fields["m_type"] & 1 else "up",
        "mic_valid": True,
    }

    again = bytes.fromhex(lora_packet("encode_data", **theirs, **key_fields)["phy_payload"])
    assert again == encoded
    frame = frames.parse(again)
    assert isinstance(frame, frames.DataFrame)
    assert frames.verify(frame, new_key(nwk_s_key), fields["f_cnt"])
    payload_key = app_s_key if frame.f_port else nwk_s_key
    payload = frames.decrypt_payload(frame, new_key(payload_key), fields["f_cnt"])
    assert payload == fields["payload"]


@settings(deadline=None, max_examples=200)
@given(fields=data_frames(), key=keys, wrong=st.integers(0, 255 * 8))
def test_a_flipped_bit_is_found_by_both(
    lora_packet: LoraPacket, fields: dict[str, Any], key: bytes, wrong: int
) -> None:
    nwk_s_key = new_key(key)
    encoded = bytearray(frames.encode_data(nwk_s_key=nwk_s_key, app_s_key=nwk_s_key, **fields))
    # Behind the header, so that both still see a data frame of the same shape.
    at = 8 + wrong // 8 % (len(encoded) - 8)
    if at == 8 + len(fields["f_opts"]) and fields["f_port"] is not None:
        at += 1  # and the same port
    encoded[at] ^= 1 << wrong % 8
    frame = frames.parse(bytes(encoded))
    assert isinstance(frame, frames.DataFrame)
    assert not frames.verify(frame, nwk_s_key, fields["f_cnt"])
    decoded = lora_packet(
        "decode_data",
        phy_payload=encoded.hex(),
        f_cnt=fields["f_cnt"],
        nwk_s_key=key.hex(),
        app_s_key=key.hex(),
    )
    assert not decoded["mic_valid"]


@settings(deadline=None, max_examples=200)
@given(app_key=keys, join_eui=euis, dev_eui=euis, dev_nonce=numbers[16])
def test_join_requests_agree(
    lora_packet: LoraPacket, app_key: bytes, join_eui: bytes, dev_eui: bytes, dev_nonce: int
) -> None:
    key = new_key(app_key)
    encoded = network_frames.encode_join_request(key, join_eui, dev_eui, dev_nonce)
    fields = in_hex({"join_eui": join_eui, "dev_eui": dev_eui, "dev_nonce": dev_nonce}, dev_nonce=4)
    decoded = lora_packet("decode_join_request", phy_payload=encoded.hex(), app_key=app_key.hex())
    assert decoded == {**fields, "mic_valid": True}
    again = lora_packet("encode_join_request", app_key=app_key.hex(), **fields)
    assert bytes.fromhex(again["phy_payload"]) == encoded
    assert network_frames.verify_join_request(encoded, key)


@settings(deadline=None, max_examples=200)
@given(
    app_key=keys,
    app_nonce=numbers[24],
    net_id=numbers[24],
    dev_addr=numbers[32],
    rx1_dr_offset=st.integers(0, 7),
    rx2_dr=st.integers(0, 15),
    rx_delay_s=st.integers(0, 15),
    frequencies=st.none() | st.lists(numbers[24], max_size=5),
)
def test_join_accepts_agree(
    lora_packet: LoraPacket, app_key: bytes, frequencies: list[int] | None, **numeric: int
) -> None:
    key = new_key(app_key)
    cf_list, channels = b"", ()
    if frequencies is not None:
        cf_list = EU868.encode_cf_list(tuple(100 * step for step in frequencies))
        channels = tuple((*frequencies, 0, 0, 0, 0, 0)[:5])
    encoded = network_frames.encode_join_accept(key, cf_list=cf_list, **numeric)
    fields = in_hex({**numeric, "cf_list": cf_list}, app_nonce=6, net_id=6, dev_addr=8)
    decoded = lora_packet("decode_join_accept", phy_payload=encoded.hex(), app_key=app_key.hex())
    assert decoded == {
        **fields,
        "frequencies": [f"{step:06x}" for step in channels],
        "mic_valid": True,
    }
    again = lora_packet("encode_join_accept", app_key=app_key.hex(), **fields)
    assert bytes.fromhex(again["phy_payload"]) == encoded
    accept = network_frames.decode_join_accept(encoded, key)
    assert accept.rx_delay_s == (numeric.pop("rx_delay_s") or 1)
    assert {name: getattr(accept, name) for name in numeric} == numeric
    assert EU868.decode_cf_list(accept.cf_list) == tuple(100 * step for step in channels)


@settings(deadline=None, max_examples=200)
@given(app_key=keys, net_id=numbers[24], app_nonce=numbers[24], dev_nonce=numbers[16])
def test_session_keys_agree(
    lora_packet: LoraPacket, app_key: bytes, net_id: int, app_nonce: int, dev_nonce: int
) -> None:
    found = crypto.derive_session_keys(new_key(app_key), app_nonce, net_id, dev_nonce)
    assert {"nwk_s_key": found[0].hex(), "app_s_key": found[1].hex()} == lora_packet(
        "session_keys",
        app_key=app_key.hex(),
        net_id=f"{net_id:06x}",
        app_nonce=f"{app_nonce:06x}",
        dev_nonce=f"{dev_nonce:04x}",
    )

"""Every foreign LoRaWAN vector: run against our codec, or listed here with the reason why not."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from lorawan_keys import new_key
from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import crypto, frames, mac_commands, network_frames
from stoep_protocol.lorawan.airtime import time_on_air_us
from stoep_protocol.lorawan.regions import EU868

VECTORS: list[dict[str, Any]] = json.loads(
    (pathlib.Path(__file__).parent / "lorawan.json").read_text()
)["vectors"]

_FORWARDER = "a datagram of the Semtech protocol, not a LoRaWAN frame: for the gateway's forwarder"
_REBUILD = (
    "the gateway has to rebuild exactly these octets from the station's JSON; they are no frame to "
    "parse, their FCtrl announces no FOpts although two octets of it follow"
)
NOT_OURS = {
    "lp-keys11-js": "join-server keys exist from LoRaWAN 1.1 on",
    "tts-pingoffset": "Class B ping slots; our devices are Class A",
    "gwb-txack-empty": _FORWARDER,
    "gwb-txack-ibts": _FORWARDER,
    "gwb-txack-collision": _FORWARDER,
    "gwb-updf-noport": _REBUILD,
    "gwb-updf-port": _REBUILD,
    "gwb-updf-full": _REBUILD,
}

# What the vectors' names for MAC commands are in ours: direction, tuple.
MAC_COMMANDS: dict[str, tuple[int, tuple[int, ...]]] = {
    "LinkCheckAns{margin:10,gw_cnt:15}": (crypto.DOWN, (mac_commands.LINK_CHECK, 10, 15)),
    "LinkADRReq{dr:1,tx_power:2,ch_mask:[ch2],ch_mask_cntl:4,nb_trans:5}": (
        crypto.DOWN,
        (mac_commands.LINK_ADR, 1, 2, 0b100, 4, 5),
    ),
    "LinkADRAns{ch_mask_ack}": (crypto.UP, (mac_commands.LINK_ADR, True, False, False)),
    "DutyCycleReq{13}": (crypto.DOWN, (mac_commands.DUTY_CYCLE, 13)),
    "RxParamSetupReq{freq:26265700,rx2_dr:11,rx1_dr_offset:3}": (
        crypto.DOWN,
        (mac_commands.RX_PARAM_SETUP, 3, 11, 26265700),
    ),
    "RxParamSetupAns{channel_ack,rx1_dr_offset_ack}": (
        crypto.UP,
        (mac_commands.RX_PARAM_SETUP, True, False, True),
    ),
    "DevStatusAns{battery:0,margin:-30}": (crypto.UP, (mac_commands.DEV_STATUS, 0, -30)),
    "DevStatusAns{battery:127,margin:-1}": (crypto.UP, (mac_commands.DEV_STATUS, 127, -1)),
    "NewChannelReq{ch:3,freq:26265700,max_dr:5,min_dr:10}": (
        crypto.DOWN,
        (mac_commands.NEW_CHANNEL, 3, 26265700, 10, 5),
    ),
    "RxTimingSetupReq{15}": (crypto.DOWN, (mac_commands.RX_TIMING, 15)),
    "DlChannelReq{ch:0,freq:868100000}": (
        crypto.DOWN,
        (mac_commands.DL_CHANNEL, 0, 868100000),
    ),
}

# The same inside data frames, by the vector's id.
MAC_COMMANDS_IN_FRAMES: dict[str, tuple[tuple[int, ...], ...]] = {
    "br10-fopts": ((mac_commands.LINK_CHECK,), (mac_commands.LINK_ADR, True, False, True)),
    "br10-port0-mac": ((mac_commands.LINK_CHECK,), (mac_commands.LINK_ADR, True, False, True)),
    "br10-confirmed-devstatus": ((mac_commands.DEV_STATUS, 115, 7),),
}

Vector = dict[str, Any]


def aes_cmac(vector: Vector) -> None:
    key = new_key(bytes.fromhex(vector["input"]["key"]))
    message = bytes.fromhex(vector["input"]["msg"])
    assert key.cmac(message).hex() == vector["expect"]["cmac"]


def aes_cmac_subkeys(vector: Vector) -> None:
    key = new_key(bytes.fromhex(vector["input"]["key"]))
    k1, k2 = key.subkeys()
    found = {"L": key.encrypt(bytes(16)).hex(), "K1": k1.hex(), "K2": k2.hex()}
    assert found == vector["expect"]


def data_frame(vector: Vector) -> None:
    given, expect = vector["input"], vector["expect"]
    phy_payload = bytes.fromhex(given["phypayload"])
    frame = frames.parse(phy_payload)
    assert isinstance(frame, frames.DataFrame)
    assert frame.m_type == expect["mtype"]
    assert frame.direction == {"up": crypto.UP, "down": crypto.DOWN}[expect["direction"]]
    assert frame.dev_addr == int(expect["dev_addr"], 16)
    assert frame.f_ctrl == int(expect["fctrl"], 16)
    assert frame.adr == expect["adr"]
    assert frame.ack == expect["ack"]
    assert frame.f_cnt == expect["fcnt16"]
    assert frame.f_opts.hex() == expect["fopts"]
    assert frame.f_port == expect["fport"]
    assert frame.mic.hex() == expect["mic"]
    if vector["lorawan"] == "1.1":  # a MIC that 1.0 must not accept, under any key of the source
        for key in (bytes([2] * 16), bytes([2] * 15 + [3])):
            assert not frames.verify(frame, new_key(key), expect["fcnt32"])
        return
    if "nwk_s_key" not in given:
        assert vector["id"] == "lp-fopts-issue18"  # its keys are not known
        return
    nwk_s_key = new_key(bytes.fromhex(given["nwk_s_key"]))
    f_cnt = expect["fcnt32"]
    assert frames.verify(frame, nwk_s_key, f_cnt) == expect["mic_valid"]
    app_s_key = new_key(bytes.fromhex(given.get("app_s_key", "00" * 16)))
    payload = frames.decrypt_payload(frame, app_s_key if frame.f_port else nwk_s_key, f_cnt)
    if "frmpayload_plain" in expect:
        assert payload.hex() == expect["frmpayload_plain"]
    if "mac_commands" in expect:
        octets = frame.f_opts or payload
        decoded = (MAC_COMMANDS_IN_FRAMES[vector["id"]], b"")
        assert mac_commands.decode(frame.direction, octets) == decoded
    encoded = frames.encode_data(
        frame.m_type,
        frame.dev_addr,
        f_cnt,
        nwk_s_key,
        app_s_key,
        adr=frame.adr,
        adr_ack_req=frame.adr_ack_req,
        ack=frame.ack,
        f_pending=frame.f_pending,
        f_opts=frame.f_opts,
        f_port=frame.f_port,
        payload=payload,
    )
    assert (encoded == phy_payload) == expect["mic_valid"]
    assert encoded[:-4] == phy_payload[:-4]


def frmpayload_crypt(vector: Vector) -> None:
    given = vector["input"]
    key = new_key(bytes.fromhex(given["key"]))
    plain = bytes.fromhex(given["plain"])
    cipher = bytes.fromhex(vector["expect"]["cipher"])
    where = (given["dir"], int(given["dev_addr"], 16), given["fcnt"])
    assert crypto.crypt(key, *where, plain) == cipher
    assert crypto.crypt(key, *where, cipher) == plain


def data_mic(vector: Vector) -> None:
    given = vector["input"]
    mic = crypto.data_mic(
        new_key(bytes.fromhex(given["key"])),
        given["dir"],
        int(given["dev_addr"], 16),
        given["fcnt"],
        bytes.fromhex(given["msg"]),
    )
    assert mic.hex() == vector["expect"]["mic"]


def session_keys(vector: Vector) -> None:
    given, expect = vector["input"], vector["expect"]
    nonces = [int(given[name], 16) for name in ("app_nonce_be", "net_id_be", "dev_nonce_be")]
    nwk_s_key, app_s_key = crypto.derive_session_keys(
        new_key(bytes.fromhex(given["app_key"])), *nonces
    )
    assert nwk_s_key.hex() == expect["nwk_s_key"]
    assert app_s_key.hex() == expect["app_s_key"]


def join_request(vector: Vector) -> None:
    given, expect = vector["input"], vector["expect"]
    phy_payload = bytes.fromhex(given["phypayload"])
    app_key = new_key(bytes.fromhex(given["app_key"]))
    request = frames.parse(phy_payload)
    assert isinstance(request, network_frames.JoinRequest)
    assert request.join_eui.hex() == expect["join_eui"]
    assert request.dev_eui.hex() == expect["dev_eui"]
    assert request.dev_nonce == expect["dev_nonce"]
    assert request.mic.hex() == expect["mic"]
    assert network_frames.verify_join_request(phy_payload, app_key) == expect["mic_valid"]
    encoded = network_frames.encode_join_request(
        app_key, request.join_eui, request.dev_eui, request.dev_nonce
    )
    assert (encoded == phy_payload) == expect["mic_valid"]


def join_accept(vector: Vector) -> None:
    given, expect = vector["input"], vector["expect"]
    phy_payload = bytes.fromhex(given["phypayload"])
    app_key = new_key(bytes.fromhex(given["app_key"]))
    assert isinstance(frames.parse(phy_payload), frames.EncryptedJoinAccept)
    plain = bytes.fromhex(expect["plain_phypayload"])
    assert phy_payload[:1] + app_key.encrypt(phy_payload[1:]) == plain
    assert plain[-4:].hex() == expect["mic"]
    accept = network_frames.decode_join_accept(phy_payload, app_key)
    assert accept.app_nonce == expect["app_nonce"]
    assert accept.net_id == int(expect["net_id"], 16)
    assert accept.dev_addr == int(expect["dev_addr"], 16)
    assert accept.rx1_dr_offset << 4 | accept.rx2_dr == int(expect["dl_settings"], 16)
    assert accept.rx_delay_s == (expect["rx_delay"] or 1)
    assert accept.cf_list.hex() == expect["cflist"]
    encoded = network_frames.encode_join_accept(
        app_key,
        accept.app_nonce,
        accept.net_id,
        accept.dev_addr,
        accept.rx1_dr_offset,
        accept.rx2_dr,
        expect["rx_delay"],
        accept.cf_list,
    )
    assert encoded == phy_payload
    with pytest.raises(DecodeError, match="mic"):
        network_frames.decode_join_accept(phy_payload, new_key(b"another key here"))


def join_accept_mic(vector: Vector) -> None:
    given = vector["input"]
    key = new_key(bytes.fromhex(given["app_key"]))
    assert key.cmac(bytes.fromhex(given["plain"]))[:4].hex() == vector["expect"]["mic"]


def f_cnt_reconstruct(vector: Vector) -> None:
    given = vector["input"]
    full = frames.full_f_cnt(given["next_expected"], given["fcnt16"])
    assert full == vector["expect"]["full"]


def cf_list(vector: Vector) -> None:
    frequencies = tuple(vector["input"]["freqs"])
    octets = bytes.fromhex(vector["expect"]["bytes"])
    assert EU868.encode_cf_list(frequencies) == octets
    assert EU868.decode_cf_list(octets) == frequencies
    assert EU868.extra_channels_hz == frequencies


def mac_command(vector: Vector) -> None:
    direction, command = MAC_COMMANDS[vector["input"]["command"]]
    octets = bytes.fromhex(vector["expect"]["bytes"])
    assert mac_commands.encode(direction, (command,)) == octets
    assert mac_commands.decode(direction, octets) == ((command,), b"")


def airtime(vector: Vector) -> None:
    given = vector["input"]
    us = time_on_air_us(
        given["phy_len"],
        given["sf"],
        given["bw_hz"],
        coding_rate={"4/5": 5}[given["cr"]],
        preamble=given["preamble"],
        crc=given["crc"],
    )
    assert us == vector["expect"]["us"]


def basics_station_join(vector: Vector) -> None:
    given = vector["input"]
    request = frames.parse(bytes.fromhex(vector["expect"]["phypayload"]))
    assert isinstance(request, network_frames.JoinRequest)
    assert request.join_eui.hex("-") == given["JoinEui"]
    assert request.dev_eui.hex("-") == given["DevEui"]
    assert request.dev_nonce == given["DevNonce"]
    assert request.mic == given["MIC"].to_bytes(4, "little", signed=True)


CHECKS: dict[str, Callable[[Vector], None]] = {
    "aes-cmac": aes_cmac,
    "aes-cmac-subkeys": aes_cmac_subkeys,
    "data-frame": data_frame,
    "frmpayload-crypt": frmpayload_crypt,
    "mic": data_mic,
    "session-keys-1.0": session_keys,
    "join-request": join_request,
    "join-accept": join_accept,
    "join-accept-mic": join_accept_mic,
    "fcnt32-reconstruct": f_cnt_reconstruct,
    "cflist": cf_list,
    "mac-command": mac_command,
    "airtime_us": airtime,
    "basicstation-jreq": basics_station_join,
}


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS if vector["id"] not in NOT_OURS],
    ids=lambda vector: vector["id"],
)
def test_vector(vector: Vector) -> None:
    CHECKS[vector["kind"]](vector)


def test_every_vector_is_run_or_listed() -> None:
    ids = {vector["id"] for vector in VECTORS}
    assert len(ids) == len(VECTORS) == 73
    assert set(NOT_OURS) <= ids
    assert {v["id"] for v in VECTORS if v["kind"] not in CHECKS} == set(NOT_OURS)

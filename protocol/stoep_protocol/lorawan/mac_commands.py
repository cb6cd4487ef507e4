"""MAC commands of LoRaWAN 1.0.x Class A, both directions (LoRaWAN 1.0.3, section 5).

A command is a tuple `(cid, field, ...)` of integers and booleans; which fields, in which order:

    cid                 UP, from the device                     DOWN, from the network server
    LINK_CHECK     02   -                                       margin_db, gateway_count
    LINK_ADR       03   ch_mask_ack, dr_ack, power_ack          dr, tx_power, ch_mask,
                                                                ch_mask_cntl, nb_trans
    DUTY_CYCLE     04   -                                       max_duty_cycle (1 / 2^n of the time)
    RX_PARAM_SETUP 05   rx2_freq_ack, rx2_dr_ack, offset_ack    rx1_dr_offset, rx2_dr, rx2_hz
    DEV_STATUS     06   battery (0 mains, 1..254, 255 unknown), -
                        margin_db (-32..31)
    NEW_CHANNEL    07   freq_ack, dr_range_ack                  index, freq_hz (0: remove),
                                                                min_dr, max_dr
    RX_TIMING      08   -                                       delay_s (0 means 1, too)
    TX_PARAM       09   -                                       downlink_dwell, uplink_dwell (True:
                                                                400 ms), max_eirp_dbm
    DL_CHANNEL     0A   freq_ack, uplink_freq_exists            index, freq_hz
    DEVICE_TIME    0D   -                                       gps_s (since 1980-01-06, without
                                                                leap seconds), fraction_256

Requests and answers share one number, so a tuple means something only with its direction.
"""

import struct

from stoep_protocol.errors import EncodeError
from stoep_protocol.lorawan.regions import decode_frequency, encode_frequency

LINK_CHECK = 0x02
LINK_ADR = 0x03
DUTY_CYCLE = 0x04
RX_PARAM_SETUP = 0x05
DEV_STATUS = 0x06
NEW_CHANNEL = 0x07
RX_TIMING = 0x08
TX_PARAM = 0x09
DL_CHANNEL = 0x0A
DEVICE_TIME = 0x0D

_MAX_HZ = 0xFFFFFF * 100
_FLAG = (0, 1)

# Per CID: octets after the CID, and the (lowest, highest) value of each field.
_UP_SHAPES = {
    LINK_CHECK: (0, ()),
    LINK_ADR: (1, (_FLAG, _FLAG, _FLAG)),
    DUTY_CYCLE: (0, ()),
    RX_PARAM_SETUP: (1, (_FLAG, _FLAG, _FLAG)),
    DEV_STATUS: (2, ((0, 255), (-32, 31))),
    NEW_CHANNEL: (1, (_FLAG, _FLAG)),
    RX_TIMING: (0, ()),
    TX_PARAM: (0, ()),
    DL_CHANNEL: (1, (_FLAG, _FLAG)),
    DEVICE_TIME: (0, ()),
}  # type: dict[int, tuple[int, tuple[tuple[int, int], ...]]]
_DOWN_SHAPES = {
    LINK_CHECK: (2, ((0, 255), (0, 255))),
    LINK_ADR: (4, ((0, 15), (0, 15), (0, 0xFFFF), (0, 7), (0, 15))),
    DUTY_CYCLE: (1, ((0, 15),)),
    RX_PARAM_SETUP: (4, ((0, 7), (0, 15), (0, _MAX_HZ))),
    DEV_STATUS: (0, ()),
    NEW_CHANNEL: (5, ((0, 255), (0, _MAX_HZ), (0, 15), (0, 15))),
    RX_TIMING: (1, ((0, 15),)),
    TX_PARAM: (1, (_FLAG, _FLAG, (8, 36))),
    DL_CHANNEL: (4, ((0, 255), (0, _MAX_HZ))),
    DEVICE_TIME: (5, ((0, 0xFFFFFFFF), (0, 255))),
}  # type: dict[int, tuple[int, tuple[tuple[int, int], ...]]]

# TxParamSetupReq codes the EIRP in dBm by its place in this table (1.0.3, 5.8).
_EIRP_DBM = (8, 10, 12, 13, 14, 16, 18, 20, 21, 24, 26, 27, 29, 30, 33, 36)


def decode(direction: int, data: bytes) -> "tuple[tuple[tuple[int, ...], ...], bytes]":
    """Return `(commands, unread)` of FOpts or of a plain FRMPayload on port 0.

    A receiver has to obey what comes before a command that it does not know, and cannot find the
    one after it, because lengths are not on the wire: `unread` is everything from the first
    unknown or incomplete command on, empty if there is none. So nothing is raised, and reserved
    bits are ignored.
    """
    shapes = _DOWN_SHAPES if direction else _UP_SHAPES
    decode_body = _decode_down if direction else _decode_up
    commands = []
    at = 0
    while at < len(data):
        cid = data[at]
        shape = shapes.get(cid)
        if shape is None:
            break
        end = at + 1 + shape[0]
        if end > len(data):
            break
        commands.append((cid,) + decode_body(cid, data[at + 1 : end]))
        at = end
    return tuple(commands), data[at:]


def encode(direction: int, commands: "tuple[tuple[int, ...], ...]") -> bytes:
    """Return the octets of these commands, in this order, for FOpts or port 0.

    Raises `EncodeError` for a command that does not exist in this direction, a wrong number of
    fields, a field outside its range.
    """
    shapes = _DOWN_SHAPES if direction else _UP_SHAPES
    encode_body = _encode_down if direction else _encode_up
    out = b""
    for command in commands:
        shape = shapes.get(command[0]) if command else None
        if shape is None:
            raise EncodeError("no such MAC command: %r" % (command,))
        if len(command) - 1 != len(shape[1]):
            raise EncodeError("MAC command %r takes %d fields" % (command, len(shape[1])))
        for i, (lowest, highest) in enumerate(shape[1]):
            if not lowest <= command[i + 1] <= highest:
                raise EncodeError("field %d of MAC command %r is out of range" % (i + 1, command))
        out += bytes((command[0],)) + encode_body(command)
    return out


def _flags(body: bytes, count: int) -> "tuple[int, ...]":
    return tuple([body[0] >> i & 1 != 0 for i in range(count)])


def _encode_up(command: "tuple[int, ...]") -> bytes:
    if len(command) == 1:
        return b""
    if command[0] == DEV_STATUS:
        return bytes((command[1], command[2] & 0x3F))
    bits = 0
    for i, flag in enumerate(command[1:]):
        bits |= (1 if flag else 0) << i
    return bytes((bits,))


def _decode_up(cid: int, body: bytes) -> "tuple[int, ...]":
    if cid == DEV_STATUS:
        margin = body[1] & 0x3F
        return body[0], margin - 64 if margin & 0x20 else margin
    return _flags(body, len(_UP_SHAPES[cid][1])) if body else ()


def _encode_down(command: "tuple[int, ...]") -> bytes:
    cid = command[0]
    if cid == LINK_ADR:
        _, dr, tx_power, ch_mask, ch_mask_cntl, nb_trans = command
        return struct.pack("<BHB", dr << 4 | tx_power, ch_mask, ch_mask_cntl << 4 | nb_trans)
    if cid == RX_PARAM_SETUP:
        return bytes((command[1] << 4 | command[2],)) + encode_frequency(command[3])
    if cid == NEW_CHANNEL:
        _, index, freq_hz, min_dr, max_dr = command
        return bytes((index,)) + encode_frequency(freq_hz) + bytes((max_dr << 4 | min_dr,))
    if cid == TX_PARAM:
        if command[3] not in _EIRP_DBM:
            raise EncodeError("TxParamSetupReq has no code for %d dBm" % command[3])
        eirp = _EIRP_DBM.index(command[3])
        return bytes(((0x20 if command[1] else 0) | (0x10 if command[2] else 0) | eirp,))
    if cid == DL_CHANNEL:
        return bytes((command[1],)) + encode_frequency(command[2])
    if cid == DEVICE_TIME:
        return struct.pack("<IB", command[1], command[2])
    return bytes(command[1:])  # LinkCheckAns, DutyCycleReq, RXTimingSetupReq: octets as they are


def _decode_down(cid: int, body: bytes) -> "tuple[int, ...]":
    if cid == LINK_ADR:
        dr_power, ch_mask, redundancy = struct.unpack("<BHB", body)
        return dr_power >> 4, dr_power & 15, ch_mask, redundancy >> 4 & 7, redundancy & 15
    if cid == RX_PARAM_SETUP:
        return body[0] >> 4 & 7, body[0] & 15, decode_frequency(body[1:])
    if cid == NEW_CHANNEL:
        return body[0], decode_frequency(body[1:4]), body[4] & 15, body[4] >> 4
    if cid == TX_PARAM:
        return body[0] & 0x20 != 0, body[0] & 0x10 != 0, _EIRP_DBM[body[0] & 15]
    if cid == DL_CHANNEL:
        return body[0], decode_frequency(body[1:])
    if cid == DEVICE_TIME:
        return struct.unpack("<IB", body)
    if cid in (DUTY_CYCLE, RX_TIMING):
        return (body[0] & 15,)
    return tuple(body)

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
from stoep_protocol.lorawan.regions import decode_frequency

const = int

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

_CIDS = const(14)
_NONE = const(255)
# Per CID: the octets after it, and how many fields an answer has.
_UP_BYTES = b"\xff\xff\0\1\0\1\2\1\0\0\1\xff\xff\0"
_UP_FIELDS = b"\0\0\0\3\0\3\2\2\0\0\2\0\0\0"
_DOWN_BYTES = b"\xff\xff\2\4\1\4\0\5\1\1\4\xff\xff\5"

# TxParamSetupReq codes the EIRP in dBm by its place in this table (1.0.3, 5.8).
EIRP_DBM = bytes((8, 10, 12, 13, 14, 16, 18, 20, 21, 24, 26, 27, 29, 30, 33, 36))


def decode(direction: int, data: bytes) -> "tuple[tuple[tuple[int, ...], ...], bytes]":
    """Return `(commands, unread)` of FOpts or of a plain FRMPayload on port 0.

    A receiver has to obey what comes before a command that it does not know, and cannot find the
    one after it, because lengths are not on the wire: `unread` is everything from the first
    unknown or incomplete command on, empty if there is none. So nothing is raised, and reserved
    bits are ignored.
    """
    lengths = _DOWN_BYTES if direction else _UP_BYTES
    decode_body = _decode_down if direction else _decode_up
    commands = []
    at = 0
    while at < len(data):
        cid = data[at]
        length = lengths[cid] if cid < _CIDS else _NONE
        end = at + 1 + length
        if length == _NONE or end > len(data):
            break
        commands.append((cid,) + decode_body(cid, data[at + 1 : end]))
        at = end
    return tuple(commands), data[at:]


def encode(direction: int, commands: "tuple[tuple[int, ...], ...]") -> bytes:
    """Return the octets of these commands, in this order, for FOpts or port 0.

    Raises `EncodeError` for a command that does not exist in this direction, a wrong number of
    fields, a field outside its range.
    """
    if direction:
        from stoep_protocol.lorawan.network_encoding import encode_requests  # noqa: PLC0415

        return encode_requests(commands)
    out = b""
    for command in commands:
        if not _fits(command):
            raise EncodeError("no MAC command of a device: %r" % (command,))
        out += bytes(command[:1]) + _encode_up(command)
    return out


def _fits(command: "tuple[int, ...]") -> bool:
    cid = command[0] if command else 0
    if not 0 <= cid < _CIDS or _UP_BYTES[cid] == _NONE or len(command) - 1 != _UP_FIELDS[cid]:
        return False
    if cid == DEV_STATUS:
        return 0 <= command[1] <= 255 and -32 <= command[2] <= 31
    return not [1 for flag in command[1:] if flag not in (0, 1)]


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
    return _flags(body, _UP_FIELDS[cid]) if body else ()


def _decode_down(cid: int, body: bytes) -> "tuple[int, ...]":
    if cid == LINK_ADR:
        dr_power, ch_mask, redundancy = struct.unpack("<BHB", body)
        return dr_power >> 4, dr_power & 15, ch_mask, redundancy >> 4 & 7, redundancy & 15
    if cid == RX_PARAM_SETUP:
        return body[0] >> 4 & 7, body[0] & 15, decode_frequency(body[1:])
    if cid == NEW_CHANNEL:
        return body[0], decode_frequency(body[1:4]), body[4] & 15, body[4] >> 4
    if cid == TX_PARAM:
        return body[0] & 0x20 != 0, body[0] & 0x10 != 0, EIRP_DBM[body[0] & 15]
    if cid == DL_CHANNEL:
        return body[0], decode_frequency(body[1:])
    if cid == DEVICE_TIME:
        return struct.unpack("<IB", body)
    if cid in (DUTY_CYCLE, RX_TIMING):
        return (body[0] & 15,)
    return tuple(body)

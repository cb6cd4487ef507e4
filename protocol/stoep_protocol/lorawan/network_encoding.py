"""What only a network server encodes: MAC requests, CFLists; a device loads no part of it."""

import struct

from stoep_protocol.errors import EncodeError
from stoep_protocol.lorawan.mac_commands import (
    DEV_STATUS,
    DEVICE_TIME,
    DL_CHANNEL,
    DUTY_CYCLE,
    EIRP_DBM,
    LINK_ADR,
    LINK_CHECK,
    NEW_CHANNEL,
    RX_PARAM_SETUP,
    RX_TIMING,
    TX_PARAM,
)
from stoep_protocol.lorawan.regions import CF_LIST_FREQUENCIES

const = int

MAX_CF_LIST_CHANNELS = 5

_CF_LIST_BYTES = const(16)
_FREQUENCY_STEP_HZ = const(100)
_MAX_HZ = 0xFFFFFF * _FREQUENCY_STEP_HZ
_FLAG = (0, 1)

# Per CID: the (lowest, highest) value of each field.
_SHAPES = {
    LINK_CHECK: ((0, 255), (0, 255)),
    LINK_ADR: ((0, 15), (0, 15), (0, 0xFFFF), (0, 7), (0, 15)),
    DUTY_CYCLE: ((0, 15),),
    RX_PARAM_SETUP: ((0, 7), (0, 15), (0, _MAX_HZ)),
    DEV_STATUS: (),
    NEW_CHANNEL: ((0, 255), (0, _MAX_HZ), (0, 15), (0, 15)),
    RX_TIMING: ((0, 15),),
    TX_PARAM: (_FLAG, _FLAG, (8, 36)),
    DL_CHANNEL: ((0, 255), (0, _MAX_HZ)),
    DEVICE_TIME: ((0, 0xFFFFFFFF), (0, 255)),
}  # type: dict[int, tuple[tuple[int, int], ...]]


def encode_requests(commands: "tuple[tuple[int, ...], ...]") -> bytes:
    """Return the octets of commands from the network; see `mac_commands.encode`."""
    out = b""
    for command in commands:
        ranges = _SHAPES.get(command[0]) if command else None
        if ranges is None:
            raise EncodeError("no such MAC command: %r" % (command,))
        if len(command) - 1 != len(ranges):
            raise EncodeError("MAC command %r takes %d fields" % (command, len(ranges)))
        for i, (lowest, highest) in enumerate(ranges):
            if not lowest <= command[i + 1] <= highest:
                raise EncodeError("field %d of MAC command %r is out of range" % (i + 1, command))
        out += bytes((command[0],)) + _encode_body(command)
    return out


def _encode_body(command: "tuple[int, ...]") -> bytes:
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
        if command[3] not in EIRP_DBM:
            raise EncodeError("TxParamSetupReq has no code for %d dBm" % command[3])
        eirp = list(EIRP_DBM).index(command[3])
        return bytes(((0x20 if command[1] else 0) | (0x10 if command[2] else 0) | eirp,))
    if cid == DL_CHANNEL:
        return bytes((command[1],)) + encode_frequency(command[2])
    if cid == DEVICE_TIME:
        return struct.pack("<IB", command[1], command[2])
    return bytes(command[1:])  # LinkCheckAns, DutyCycleReq, RXTimingSetupReq: octets as they are


def encode_cf_list(cf_list_type: int, values: "tuple[int, ...]") -> bytes:
    """Return a CFList; see `regions.Region.encode_cf_list`."""
    if len(values) > MAX_CF_LIST_CHANNELS:
        raise EncodeError("a CFList holds at most five entries, not %d" % len(values))
    out = b""
    for value in values:
        if cf_list_type == CF_LIST_FREQUENCIES:
            out += encode_frequency(value)
        elif 0 <= value <= 0xFFFF:
            out += struct.pack("<H", value)
        else:
            raise EncodeError("a channel mask has 16 bits")
    return out + bytes(_CF_LIST_BYTES - 1 - len(out)) + bytes((cf_list_type,))


def encode_frequency(freq_hz: int) -> bytes:
    """Return the three octets of a frequency in units of 100 Hz; 0 means none.

    Raises `EncodeError` for one that has no such form.
    """
    steps, rest = divmod(freq_hz, _FREQUENCY_STEP_HZ)
    if rest or not 0 <= steps <= 0xFFFFFF:
        raise EncodeError("%d Hz is no multiple of 100 Hz up to 1677.7215 MHz" % freq_hz)
    return struct.pack("<I", steps)[:3]

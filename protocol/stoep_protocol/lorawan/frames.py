"""PHYPayload of LoRaWAN 1.0.x: parse, encode, verify; one codec for device and network server.

    PHYPayload = MHDR(1) | join-request(18) or join-accept(12|28) or MACPayload(7..) | MIC(4)
    MACPayload = DevAddr(4) | FCtrl(1) | FCnt(2) | FOpts(0..15) | [FPort(1) | FRMPayload(0..)]

Everything on the wire is little-endian (LoRaWAN 1.0.3, 4). Here EUIs are 8 octets big-endian, as
people write them; DevAddr, NetID, AppNonce and DevNonce are integers. Parsing checks structure
only and needs no key; what the MIC covers is kept as received, so reserved bits, which a receiver
has to ignore, do not break its verification.
"""

import struct

from stoep_protocol.errors import (
    F_PORT,
    LENGTH,
    RESERVED,
    TRUNCATED,
    VERSION,
    DecodeError,
    EncodeError,
)
from stoep_protocol.lorawan.crypto import Key, crypt, data_mic

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_protocol.lorawan.network_frames import JoinRequest

JOIN_REQUEST = 0
JOIN_ACCEPT = 1
UNCONFIRMED_UP = 2
UNCONFIRMED_DOWN = 3
CONFIRMED_UP = 4
CONFIRMED_DOWN = 5

MAX_PHY_PAYLOAD = 255  # one octet of length, in the radio's header and in the block B0
MAX_F_OPTS = 15
F_PORT_MAC = 0
F_PORT_TEST = 224  # the last port that is not reserved

_ADR = const(0x80)
_ADR_ACK_REQ = const(0x40)
_ACK = const(0x20)
_F_PENDING = const(0x10)

_HEADER = "<BIBH"
_HEADER_BYTES = const(8)
_MIC_BYTES = const(4)
_SHORTEST_DATA = const(12)
_JOIN_ACCEPT_BYTES = (17, 33)

_unpack_header = struct.unpack_from


class EncryptedJoinAccept:
    """A join-accept before decryption; only the key of its device can open it."""

    __slots__ = ("phy_payload",)

    def __init__(self, phy_payload: bytes) -> None:
        self.phy_payload = phy_payload


class DataFrame:
    """A data frame as received: nothing verified, `frm_payload` still encrypted.

    `f_cnt` is the 16-bit counter of the wire, `f_port` None when absent, `mic_message` the octets
    that the MIC covers.
    """

    __slots__ = (
        "dev_addr",
        "f_cnt",
        "f_ctrl",
        "f_opts",
        "f_port",
        "frm_payload",
        "m_type",
        "mic",
        "mic_message",
    )

    def __init__(
        self,
        m_type: int,
        dev_addr: int,
        f_ctrl: int,
        f_cnt: int,
        f_opts: bytes,
        f_port: "int | None",
        frm_payload: bytes,
        mic: bytes,
        mic_message: bytes,
    ) -> None:
        self.m_type = m_type
        self.dev_addr = dev_addr
        self.f_ctrl = f_ctrl
        self.f_cnt = f_cnt
        self.f_opts = f_opts
        self.f_port = f_port
        self.frm_payload = frm_payload
        self.mic = mic
        self.mic_message = mic_message

    @property
    def direction(self) -> int:
        """`crypto.UP` or `crypto.DOWN`."""
        return self.m_type & 1

    @property
    def confirmed(self) -> bool:
        """Whether the sender wants an acknowledgement."""
        return self.m_type >= CONFIRMED_UP

    @property
    def adr(self) -> bool:
        """ADR bit."""
        return self.f_ctrl & _ADR != 0

    @property
    def adr_ack_req(self) -> bool:
        """ADRACKReq bit; uplinks only, reserved in downlinks."""
        return self.f_ctrl & _ADR_ACK_REQ != 0 and not self.m_type & 1

    @property
    def ack(self) -> bool:
        """ACK bit: the sender has received our last confirmed frame."""
        return self.f_ctrl & _ACK != 0

    @property
    def f_pending(self) -> bool:
        """FPending bit; downlinks only (in an uplink the bit belongs to Class B)."""
        return self.f_ctrl & _F_PENDING != 0 and self.m_type & 1 != 0


def parse(phy_payload: bytes) -> "JoinRequest | EncryptedJoinAccept | DataFrame":
    """Take a PHYPayload apart without any key.

    Raises `DecodeError`: `truncated`, `length` (no length of its type, or over 255), `version`
    (major version other than R1), `reserved` (message type without a meaning in 1.0.x), `f-port`
    (MAC commands both in FOpts and on port 0: 1.0.3, 4.3.1.6 has such a frame ignored).
    """
    length = len(phy_payload)
    if not length:
        raise DecodeError(TRUNCATED, "empty PHYPayload")
    m_hdr = phy_payload[0]
    if m_hdr & 3:
        raise DecodeError(VERSION, "major version %d" % (m_hdr & 3))
    m_type = m_hdr >> 5
    if UNCONFIRMED_UP <= m_type <= CONFIRMED_DOWN:
        if length < _SHORTEST_DATA:
            raise DecodeError(TRUNCATED, "data frame of %d octets" % length)
        if length > MAX_PHY_PAYLOAD:
            raise DecodeError(LENGTH, "PHYPayload of %d octets" % length)
        _, dev_addr, f_ctrl, f_cnt = _unpack_header(_HEADER, phy_payload)
        end = length - _MIC_BYTES
        f_port_at = _HEADER_BYTES + (f_ctrl & 0x0F)
        if f_port_at > end:
            raise DecodeError(TRUNCATED, "FOpts of %d octets" % (f_ctrl & 0x0F))
        f_port = None
        if f_port_at < end:
            f_port = phy_payload[f_port_at]
            if not f_port and f_ctrl & 0x0F:
                raise DecodeError(F_PORT, "port 0 together with FOpts")
        return DataFrame(
            m_type,
            dev_addr,
            f_ctrl,
            f_cnt,
            phy_payload[_HEADER_BYTES:f_port_at],
            f_port,
            phy_payload[f_port_at + 1 : end],
            phy_payload[end:],
            phy_payload[:end],
        )
    if m_type == JOIN_REQUEST:
        from stoep_protocol.lorawan.network_frames import parse_join_request  # noqa: PLC0415

        return parse_join_request(phy_payload)
    if m_type == JOIN_ACCEPT:
        if length not in _JOIN_ACCEPT_BYTES:
            raise DecodeError(LENGTH, "join-accept of %d octets" % length)
        return EncryptedJoinAccept(phy_payload)
    raise DecodeError(RESERVED, "message type %d" % m_type)


def encode_data(
    m_type: int,
    dev_addr: int,
    f_cnt: int,
    nwk_s_key: Key,
    app_s_key: Key,
    *,
    adr: bool = False,
    adr_ack_req: bool = False,
    ack: bool = False,
    f_pending: bool = False,
    f_opts: bytes = b"",
    f_port: "int | None" = None,
    payload: bytes = b"",
) -> bytes:
    """Return the PHYPayload of a data frame, encrypted and with its MIC.

    `f_cnt` is the full 32-bit counter. `payload` is plain; on port 0 it is encrypted with
    `nwk_s_key`, else with `app_s_key`. Raises `EncodeError` for what the frame cannot carry; the
    limit of the data rate in use is the caller's (`regions.Region.max_payload`).
    """
    if not UNCONFIRMED_UP <= m_type <= CONFIRMED_DOWN:
        raise EncodeError("no data frame has message type %r" % m_type)
    if not 0 <= dev_addr <= 0xFFFFFFFF or not 0 <= f_cnt <= 0xFFFFFFFF:
        raise EncodeError("DevAddr and FCnt are unsigned 32-bit numbers")
    if len(f_opts) > MAX_F_OPTS:
        raise EncodeError("FOpts holds at most 15 octets, not %d" % len(f_opts))
    direction = m_type & 1
    f_ctrl = len(f_opts)
    if adr:
        f_ctrl |= _ADR
    if ack:
        f_ctrl |= _ACK
    if adr_ack_req:
        if direction:
            raise EncodeError("ADRACKReq exists in uplinks only")
        f_ctrl |= _ADR_ACK_REQ
    if f_pending:
        if not direction:
            raise EncodeError("FPending exists in downlinks only")
        f_ctrl |= _F_PENDING
    message = struct.pack(_HEADER, m_type << 5, dev_addr, f_ctrl, f_cnt & 0xFFFF) + f_opts
    if f_port is None:
        if payload:
            raise EncodeError("FRMPayload needs an FPort")
    else:
        if not 0 <= f_port <= F_PORT_TEST:
            raise EncodeError("FPort is 0..224, not %r" % f_port)
        if not f_port and f_opts:
            raise EncodeError("MAC commands go either in FOpts or on port 0")
        if len(message) + 1 + len(payload) + _MIC_BYTES > MAX_PHY_PAYLOAD:
            raise EncodeError("PHYPayload over 255 octets")
        key = app_s_key if f_port else nwk_s_key
        message += bytes((f_port,)) + crypt(key, direction, dev_addr, f_cnt, payload)
    return message + data_mic(nwk_s_key, direction, dev_addr, f_cnt, message)


def verify(frame: DataFrame, nwk_s_key: Key, f_cnt: int) -> bool:
    """Whether the MIC fits under this key and full 32-bit counter."""
    message = frame.mic_message
    return data_mic(nwk_s_key, frame.m_type & 1, frame.dev_addr, f_cnt, message) == frame.mic


def decrypt_payload(frame: DataFrame, key: Key, f_cnt: int) -> bytes:
    """Return the plain FRMPayload: `key` is the NwkSKey on port 0, else the AppSKey."""
    return crypt(key, frame.m_type & 1, frame.dev_addr, f_cnt, frame.frm_payload)


def full_f_cnt(next_expected: int, f_cnt_16: int) -> int:
    """Return the 32-bit counter that a 16-bit one stands for, `next_expected` being awaited.

    The last frame once more (a retransmission) is one less than expected; everything else lies
    ahead, by less than 2^16. Only the MIC proves the guess (LoRaWAN 1.0.3, 4.3.1.5).
    """
    if next_expected and f_cnt_16 == (next_expected - 1) & 0xFFFF:
        return next_expected - 1
    return (next_expected + ((f_cnt_16 - next_expected) & 0xFFFF)) & 0xFFFFFFFF

"""The LoRaWAN session: what has to survive sleep, reset and power loss (store.py keeps it).

Counters in storage are upper bounds: a record says where FCntUp may go on after a power loss, and
is renewed before the counter reaches that value, so storage is written once in RESERVE uplinks and
still no value is used twice.
"""

import struct

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_protocol.lorawan.join_frames import JoinAccept

    from stoep_firmware.clock import Clock


LAYOUT = b"SW5"  # of pack and pack_volatile; store.py marks its records with it

RESERVE = 32  # uplinks between two writes to storage

NO_MARGIN = -128

# The session as octets: these attributes in this format, then the channels' mask, the answers to
# repeat, the channels, then volatile parts.
_FIELDS = (
    "dev_nonce",
    "joined",
    "join_nonce",
    "dev_addr",
    "nwk_s_key",
    "app_s_key",
    "f_cnt_up",
    "f_cnt_limit",
    "f_cnt_down",
    "rx1_dr_offset",
    "rx2_dr",
    "rx2_hz",
    "rx_delay_s",
    "dr",
    "tx_power",
    "nb_trans",
    "max_duty_cycle",
    "dwell",
    "max_eirp_dbm",
)
_FORMAT = "<IBII16s16sIIIBBIBBBBBBB"
_MASK_BYTES = const(9)  # 72 channels in US915
_CHANNEL = "<IIB"
# Only in RTC memory: times on the board's clock, what waits for the next uplink, a kept frame.
_VOLATILE_FIELDS = (
    "join_since_ms",
    "join_until_ms",
    "join_attempts",
    "duty_until_ms",
    "adr_ack_cnt",
    "ack_due",
    "answer_due",
    "tries",
    "retry_at_ms",
    "retry_confirmed",
    "margin_db",
    "asked",
    "lost",
    "link_margin_db",
    "link_gateways",
    "saved_ms",
    "clock_offset_ms",
)
_VOLATILE_FORMAT = "<qqHqHBBBqBbBBBBqq"


def pack_fields(owner: object, form: str, names: "tuple[str, ...]") -> bytes:
    """Return these attributes as octets."""
    return struct.pack(form, *[getattr(owner, name) for name in names])


def unpack_fields(owner: object, form: str, names: "tuple[str, ...]", data: bytes) -> None:
    """Set the attributes that `pack_fields` made octets of."""
    values = struct.unpack_from(form, data, 0)
    for at in range(len(names)):
        setattr(owner, names[at], values[at])


class Session:
    """The state of the LoRaWAN MAC. Times are on the board's clock, in milliseconds.

    `channels` holds (uplink Hz, downlink Hz, DR range as max << 4 | min), 0 Hz for an unused place;
    `ch_mask` is the bitmap of channels in use. `answers` are MAC commands for the next uplink,
    `sticky` those repeated until a downlink comes. `answer_due`: the network awaits an uplink.
    `dwell`, in whose bit 0 (uplinks) and 1 (downlinks) a frame may last 400 ms only, and
    `max_eirp_dbm`, 0 for the region's own, are what TxParamSetupReq sets.
    `join_nonce` is the lowest that the next join-accept may bring. `margin_db` (of the last
    downlink) begins as a value that no network sends. `asked` is what `Mac.ask` asks for; what
    LinkCheckAns says of the last uplink is in `link_margin_db` (0..254) and `link_gateways`, 0
    until there is one. `lost` counts how often the network has not answered though nothing could
    be done to be heard better. `joined` is 2 for a session of the bench's, without a join.
    `saved_ms` is when this was kept, by a clock with the offset `clock_offset_ms`.
    """

    dev_nonce: int
    joined: int
    join_nonce: int
    dev_addr: int
    nwk_s_key: bytes
    app_s_key: bytes
    f_cnt_up: int
    f_cnt_limit: int
    f_cnt_down: int
    rx1_dr_offset: int
    rx2_dr: int
    rx2_hz: int
    rx_delay_s: int
    dr: int
    tx_power: int
    nb_trans: int
    max_duty_cycle: int
    dwell: int
    max_eirp_dbm: int
    join_since_ms: int
    join_until_ms: int
    join_attempts: int
    duty_until_ms: int
    adr_ack_cnt: int
    ack_due: int
    answer_due: int
    tries: int
    retry_at_ms: int
    retry_confirmed: int
    margin_db: int
    asked: int
    lost: int
    link_margin_db: int
    link_gateways: int
    saved_ms: int
    clock_offset_ms: int

    def __init__(self) -> None:
        for name in _FIELDS + _VOLATILE_FIELDS:
            setattr(self, name, 0)
        self.nwk_s_key = self.app_s_key = bytes(16)
        self.rx_delay_s = self.nb_trans = 1
        self.margin_db = NO_MARGIN
        self.ch_mask = 0
        self.channels: list[tuple[int, int, int]] = []
        self.band_until_ms: list[int] = []
        self.answers = self.sticky = b""
        self.kept = b""  # the frame that may have to be sent again

    def begin(
        self, accept: "JoinAccept", keys: "tuple[bytes, bytes]", rx2_hz: int, dr: int
    ) -> None:
        """Start anew with what a join-accept says and the keys made from it."""
        self.start(keys, accept.dev_addr, rx2_hz, dr)
        self.join_nonce = accept.app_nonce + 1
        self.rx1_dr_offset = accept.rx1_dr_offset
        self.rx2_dr = accept.rx2_dr
        self.rx_delay_s = accept.rx_delay_s

    def start(self, keys: "tuple[bytes, bytes]", dev_addr: int, rx2_hz: int, dr: int) -> None:
        """Start anew with these keys and everything else as it is before any command."""
        self.nwk_s_key, self.app_s_key = keys
        self.dev_addr = dev_addr
        self.f_cnt_up = self.f_cnt_down = 0
        self.f_cnt_limit = RESERVE
        self.rx1_dr_offset = self.rx2_dr = 0
        self.rx2_hz = rx2_hz
        self.dr = dr
        self.tx_power = self.max_duty_cycle = self.adr_ack_cnt = self.duty_until_ms = 0
        self.dwell = self.max_eirp_dbm = self.lost = 0
        self.rx_delay_s = self.nb_trans = self.joined = 1
        self.join_attempts = self.ack_due = self.answer_due = self.tries = 0
        self.answers = self.sticky = self.kept = b""

    def pack(self) -> bytes:
        """Return what storage keeps; after a power loss FCntUp goes on at its upper bound."""
        out = pack_fields(self, _FORMAT, _FIELDS)
        out += self.ch_mask.to_bytes(_MASK_BYTES, "little")
        # Until the network has heard these it goes by what was in force before.
        out += bytes((len(self.sticky),)) + self.sticky
        for channel in self.channels:
            out += struct.pack(_CHANNEL, *channel)
        return out

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        unpack_fields(self, _FORMAT, _FIELDS, data)
        mask_at = struct.calcsize(_FORMAT)
        sticky_at = mask_at + _MASK_BYTES
        self.ch_mask = int.from_bytes(data[mask_at:sticky_at], "little")
        first = sticky_at + 1 + data[sticky_at]
        self.sticky = data[sticky_at + 1 : first]
        self.channels = []
        for at in range(first, len(data), struct.calcsize(_CHANNEL)):
            freq_hz, down_hz, dr_range = struct.unpack_from(_CHANNEL, data, at)
            self.channels.append((freq_hz, down_hz, dr_range))

    def pack_volatile(self) -> "list[bytes]":
        """Return what only RTC memory keeps, as sections."""
        return [
            pack_fields(self, _VOLATILE_FORMAT, _VOLATILE_FIELDS),
            struct.pack("<%dq" % len(self.band_until_ms), *self.band_until_ms),
            self.answers,
            self.kept,
        ]

    def unpack_volatile(self, sections: "list[bytes]") -> None:
        """Take back what `pack_volatile` gave."""
        fields, bands, self.answers, self.kept = sections
        unpack_fields(self, _VOLATILE_FORMAT, _VOLATILE_FIELDS, fields)
        self.band_until_ms = list(struct.unpack("<%dq" % (len(bands) // 8), bands))

    def stamp(self, clock: "Clock") -> None:
        """Note the time before the session is kept: without it, its times say nothing."""
        self.saved_ms = clock.now_ms()
        self.clock_offset_ms = clock.offset_ms

    def skip_ahead(self) -> None:
        """After a power loss: no counter below the stored bound is surely unused."""
        self.f_cnt_up = self.f_cnt_limit

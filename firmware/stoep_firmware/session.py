"""The LoRaWAN session: what has to survive sleep, reset and power loss (store.py keeps it).

Counters in storage are upper bounds: a record says where FCntUp may go on after a power loss, and
is renewed before the counter reaches that value, so storage is written once in RESERVE uplinks and
still no value is used twice.
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stoep_protocol.lorawan.frames import JoinAccept


RESERVE = 32  # uplinks between two writes to storage

NO_MARGIN = -128

# The session as octets: these attributes in this format, then the channels, then volatile parts.
_FIELDS = (
    "dev_nonce",
    "joined",
    "app_nonce",
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
_MASK_BYTES = 9  # 72 channels in US915
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
)
_VOLATILE_FORMAT = "<qqHqHBBBqBb"


class Session:
    """The state of the LoRaWAN MAC. Times are on the board's clock, in milliseconds.

    `channels` holds (uplink Hz, downlink Hz, DR range as max << 4 | min), 0 Hz for an unused place;
    `ch_mask` is the bitmap of channels in use. `answers` are MAC commands for the next uplink,
    `sticky` those repeated until a downlink comes. `answer_due`: the network awaits an uplink.
    `dwell`, in whose bit 0 (uplinks) and 1 (downlinks) a frame may last 400 ms only, and
    `max_eirp_dbm`, 0 for the region's own, are what TxParamSetupReq sets.
    `app_nonce` and `margin_db` (of the last downlink) begin as values that no network sends.
    """

    def __init__(self) -> None:
        self.dev_nonce = 0
        self.joined = 0
        self.app_nonce = 0xFFFFFFFF
        self.dev_addr = 0
        self.nwk_s_key = bytes(16)
        self.app_s_key = bytes(16)
        self.f_cnt_up = 0
        self.f_cnt_limit = 0
        self.f_cnt_down = 0
        self.rx1_dr_offset = 0
        self.rx2_dr = 0
        self.rx2_hz = 0
        self.rx_delay_s = 1
        self.dr = 0
        self.tx_power = 0
        self.nb_trans = 1
        self.max_duty_cycle = 0
        self.dwell = 0
        self.max_eirp_dbm = 0
        self.ch_mask = 0
        self.channels: list[tuple[int, int, int]] = []
        self.join_since_ms = 0
        self.join_until_ms = 0
        self.join_attempts = 0
        self.duty_until_ms = 0
        self.adr_ack_cnt = 0
        self.ack_due = 0
        self.answer_due = 0
        self.tries = 0
        self.retry_at_ms = 0
        self.retry_confirmed = 0
        self.margin_db = NO_MARGIN
        self.band_until_ms: list[int] = []
        self.answers = b""
        self.sticky = b""
        self.kept = b""  # the frame that may have to be sent again

    def begin(
        self, accept: "JoinAccept", keys: "tuple[bytes, bytes]", rx2_hz: int, dr: int
    ) -> None:
        """Start anew with what a join-accept says and the keys made from it."""
        self.nwk_s_key, self.app_s_key = keys
        self.app_nonce = accept.app_nonce
        self.dev_addr = accept.dev_addr
        self.rx1_dr_offset = accept.rx1_dr_offset
        self.rx2_dr = accept.rx2_dr
        self.rx2_hz = rx2_hz
        self.rx_delay_s = accept.rx_delay_s
        self.f_cnt_up = self.f_cnt_down = 0
        self.f_cnt_limit = RESERVE
        self.dr = dr
        self.tx_power = self.max_duty_cycle = self.adr_ack_cnt = self.duty_until_ms = 0
        self.dwell = self.max_eirp_dbm = 0
        self.nb_trans = self.joined = 1
        self.join_attempts = self.ack_due = self.answer_due = 0
        self.answers = self.sticky = b""

    def pack(self) -> bytes:
        """Return what storage keeps; after a power loss FCntUp goes on at its upper bound."""
        out = struct.pack(_FORMAT, *[getattr(self, name) for name in _FIELDS])
        out += self.ch_mask.to_bytes(_MASK_BYTES, "little")
        for channel in self.channels:
            out += struct.pack(_CHANNEL, *channel)
        return out

    def unpack(self, data: bytes) -> None:
        """Take back what `pack` gave."""
        self._take(_FIELDS, _FORMAT, data)
        mask_at = struct.calcsize(_FORMAT)
        first = mask_at + _MASK_BYTES
        self.ch_mask = int.from_bytes(data[mask_at:first], "little")
        self.channels = []
        for at in range(first, len(data), struct.calcsize(_CHANNEL)):
            freq_hz, down_hz, dr_range = struct.unpack_from(_CHANNEL, data, at)
            self.channels.append((freq_hz, down_hz, dr_range))

    def pack_volatile(self) -> "list[bytes]":
        """Return what only RTC memory keeps, as sections."""
        return [
            struct.pack(_VOLATILE_FORMAT, *[getattr(self, name) for name in _VOLATILE_FIELDS]),
            struct.pack("<%dq" % len(self.band_until_ms), *self.band_until_ms),
            self.answers,
            self.sticky,
            self.kept,
        ]

    def unpack_volatile(self, sections: "list[bytes]") -> None:
        """Take back what `pack_volatile` gave."""
        fields, bands, self.answers, self.sticky, self.kept = sections
        self._take(_VOLATILE_FIELDS, _VOLATILE_FORMAT, fields)
        self.band_until_ms = list(struct.unpack("<%dq" % (len(bands) // 8), bands))

    def skip_ahead(self) -> None:
        """After a power loss: no counter below the stored bound is surely unused."""
        self.f_cnt_up = self.f_cnt_limit

    def _take(self, names: "tuple[str, ...]", form: str, data: bytes) -> None:
        values = struct.unpack_from(form, data, 0)
        for at in range(len(names)):
            setattr(self, names[at], values[at])

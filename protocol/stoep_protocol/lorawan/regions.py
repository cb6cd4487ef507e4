"""Regional parameters: EU868 in full, US915 as data.

Source: LoRaWAN 1.0.3 Regional Parameters rev A, sections 2.2 (EU863-870) and 2.3 (US902-928).
`N` (`max_payload`) is the largest FRMPayload with empty FOpts; FOpts count against it, and no
repeater is assumed. Power is EIRP. Duty cycle and power per sub-band of EU868: ERC Recommendation
70-03, annex 1 (ERP + 2.15 dB = EIRP, rounded down to whole dBm).
"""

import struct

from stoep_protocol.errors import LENGTH, RANGE, RESERVED, DecodeError, EncodeError

# Defaults common to these regions (2.2.9, 2.3.8).
JOIN_ACCEPT_DELAY1_S = 5
JOIN_ACCEPT_DELAY2_S = 6
ADR_ACK_LIMIT = 64
ADR_ACK_DELAY = 32
ACK_TIMEOUT_MIN_MS = 1000
ACK_TIMEOUT_MAX_MS = 3000
MAX_CF_LIST_CHANNELS = 5

_CF_LIST_BYTES = 16
_CF_LIST_FREQUENCIES = 0
_CF_LIST_MASKS = 1
_FREQUENCY_STEP_HZ = 100  # of every 24-bit frequency in CFList and MAC commands


class SubBand:
    """A stretch of spectrum whose transmitters share one duty cycle budget.

    One part in `duty_cycle` may be on the air: 1000 is 0.1 %, 100 is 1 %, 10 is 10 %. After a
    frame of t the sub-band rests for t * (duty_cycle - 1). Bounds are inclusive.
    """

    __slots__ = ("duty_cycle", "high_hz", "low_hz", "max_eirp_dbm")

    def __init__(self, low_hz: int, high_hz: int, duty_cycle: int, max_eirp_dbm: int) -> None:
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.duty_cycle = duty_cycle
        self.max_eirp_dbm = max_eirp_dbm


class Region:
    """The rules of one region; `EU868` and `US915` are its instances.

    `channels` is how many uplink channels a device can hold; `has_fixed_channels`: they are laid
    down, and networks choose among them by masks alone. Methods that take a data rate or a
    frequency from outside raise `DecodeError("range")` for one that the region does not have.
    """

    __slots__ = (
        "_data_rates",
        "_max_payload",
        "cf_list_type",
        "channels",
        "default_channels_hz",
        "extra_channels_hz",
        "has_fixed_channels",
        "high_hz",
        "low_hz",
        "max_eirp_dbm",
        "max_rx1_dr_offset",
        "max_tx_power",
        "name",
        "rx2_dr",
        "rx2_hz",
        "sub_bands",
    )

    def __init__(
        self,
        name: str,
        data_rates: "tuple[tuple[int, int], ...]",
        max_payload: "tuple[int, ...]",
        default_channels_hz: "tuple[int, ...]",
        extra_channels_hz: "tuple[int, ...]",
        channels: int,
        band_hz: "tuple[int, int]",
        rx2: "tuple[int, int]",
        max_rx1_dr_offset: int,
        max_eirp_dbm: int,
        max_tx_power: int,
        cf_list_type: int,
        sub_bands: "tuple[SubBand, ...]",
    ) -> None:
        self.name = name
        self._data_rates = data_rates
        self._max_payload = max_payload
        self.default_channels_hz = default_channels_hz
        self.extra_channels_hz = extra_channels_hz
        self.channels = channels
        self.low_hz, self.high_hz = band_hz
        self.rx2_hz, self.rx2_dr = rx2
        self.max_rx1_dr_offset = max_rx1_dr_offset
        self.max_eirp_dbm = max_eirp_dbm
        self.max_tx_power = max_tx_power
        self.cf_list_type = cf_list_type
        self.has_fixed_channels = cf_list_type == _CF_LIST_MASKS
        self.sub_bands = sub_bands

    def data_rate(self, dr: int) -> "tuple[int, int]":
        """Return `(sf, bw_hz)` of a LoRa data rate."""
        if 0 <= dr < len(self._data_rates):
            sf_bw = self._data_rates[dr]
            if sf_bw[0]:
                return sf_bw
        raise DecodeError(RANGE, "%s has no LoRa data rate %d" % (self.name, dr))

    def has_data_rate(self, dr: int) -> bool:
        """Whether `dr` is a LoRa data rate of this region."""
        return 0 <= dr < len(self._data_rates) and self._data_rates[dr][0] != 0

    def dr_of(self, sf: int, bw_hz: int) -> int:
        """Return the lowest data rate with this spreading factor and bandwidth: the uplink one."""
        for dr, known in enumerate(self._data_rates):
            if known == (sf, bw_hz):
                return dr
        raise DecodeError(RANGE, "%s has no SF%d on %d Hz" % (self.name, sf, bw_hz))

    def max_payload(self, dr: int) -> int:
        """Return N, the octets of FOpts and FRMPayload together, at a data rate."""
        if 0 <= dr < len(self._max_payload) and self._max_payload[dr]:
            return self._max_payload[dr]
        raise DecodeError(RANGE, "%s has no data rate %d" % (self.name, dr))

    def dr_range(self, index: int) -> "tuple[int, int]":
        """Return the lowest and highest data rate of an uplink channel as a region defines it."""
        raise NotImplementedError

    def in_band(self, freq_hz: int) -> bool:
        """Whether a channel may lie here; between sub-bands none may."""
        if self.sub_bands:
            return self.sub_band(freq_hz) is not None
        return self.low_hz <= freq_hz <= self.high_hz

    def tx_power_dbm(self, tx_power: int) -> int:
        """Return the EIRP in dBm of a TXPower index."""
        if not 0 <= tx_power <= self.max_tx_power:
            raise DecodeError(RANGE, "%s has no TXPower %d" % (self.name, tx_power))
        return self.max_eirp_dbm - 2 * tx_power

    def sub_band(self, freq_hz: int) -> "SubBand | None":
        """Return the sub-band that a frequency lies in, None where no duty cycle is laid down."""
        for band in self.sub_bands:
            if band.low_hz <= freq_hz <= band.high_hz:
                return band
        return None

    def rx1(self, freq_hz: int, dr: int, rx1_dr_offset: int) -> "tuple[int, int]":
        """Return `(freq_hz, dr)` of RX1 after an uplink on this frequency and data rate."""
        raise NotImplementedError

    def encode_cf_list(self, values: "tuple[int, ...]") -> bytes:
        """Return the CFList of a join-accept: frequencies in Hz (type 0) or channel masks (type 1).

        Up to five frequencies, 0 for one left free; or up to five 16-bit masks. Raises
        `EncodeError`.
        """
        if len(values) > MAX_CF_LIST_CHANNELS:
            raise EncodeError("a CFList holds at most five entries, not %d" % len(values))
        out = b""
        for value in values:
            if self.cf_list_type == _CF_LIST_FREQUENCIES:
                out += encode_frequency(value)
            elif 0 <= value <= 0xFFFF:
                out += struct.pack("<H", value)
            else:
                raise EncodeError("a channel mask has 16 bits")
        return out + bytes(_CF_LIST_BYTES - 1 - len(out)) + bytes((self.cf_list_type,))

    def decode_cf_list(self, data: bytes) -> "tuple[int, ...]":
        """Return the five entries of a CFList, or none if it is absent.

        Entries are Hz (0: left free) or channel masks, as `encode_cf_list` takes them. Raises
        `DecodeError`: `length`, `reserved` (a type that this region does not use).
        """
        if not data:
            return ()
        if len(data) != _CF_LIST_BYTES:
            raise DecodeError(LENGTH, "CFList of %d octets" % len(data))
        if data[15] != self.cf_list_type:
            raise DecodeError(RESERVED, "CFList type %d in %s" % (data[15], self.name))
        if self.cf_list_type == _CF_LIST_MASKS:
            masks: "tuple[int, ...]" = struct.unpack("<5H", data[:10])
            return masks
        return tuple([decode_frequency(data[at : at + 3]) for at in range(0, 15, 3)])

    def apply_ch_mask(self, enabled: int, defined: int, ch_mask_cntl: int, ch_mask: int) -> int:
        """Return the channels in use after one LinkADRReq, as a bitmap (bit 0 is channel 0).

        `enabled` is the bitmap before it, `defined` that of the channels that exist. A block of
        LinkADRReq may pass through 0 (US915 first switches all off); one that ends at 0 is to be
        refused as a whole. Raises `DecodeError`: `reserved` (ChMaskCntl), `range` (a channel that
        does not exist); the device answers either by refusing the mask.
        """
        raise NotImplementedError

    def _check(self, channels: int, defined: int) -> int:
        if channels & ~defined:
            raise DecodeError(RANGE, "channel mask %x of %x" % (channels, defined))
        return channels


class _Eu868(Region):
    __slots__ = ()

    def dr_range(self, index: int) -> "tuple[int, int]":
        return 0, 5

    def rx1(self, freq_hz: int, dr: int, rx1_dr_offset: int) -> "tuple[int, int]":
        if not 0 <= rx1_dr_offset <= self.max_rx1_dr_offset:
            raise DecodeError(RANGE, "RX1DROffset %d" % rx1_dr_offset)
        self.max_payload(dr)
        return freq_hz, max(0, dr - rx1_dr_offset)

    def apply_ch_mask(self, enabled: int, defined: int, ch_mask_cntl: int, ch_mask: int) -> int:
        if ch_mask_cntl == 0:
            return self._check(ch_mask, defined)
        if ch_mask_cntl == 6:  # all defined channels, whatever the mask says
            return defined
        raise DecodeError(RESERVED, "ChMaskCntl %d" % ch_mask_cntl)


class _Us915(Region):
    __slots__ = ()

    def dr_range(self, index: int) -> "tuple[int, int]":
        return (0, 3) if index < 64 else (4, 4)

    def rx1(self, freq_hz: int, dr: int, rx1_dr_offset: int) -> "tuple[int, int]":
        if not 0 <= rx1_dr_offset <= self.max_rx1_dr_offset or not 0 <= dr <= 4:
            raise DecodeError(RANGE, "RX1DROffset %d at data rate %d" % (rx1_dr_offset, dr))
        channel = self.channel_of(freq_hz)
        down = 923300000 + 600000 * (channel % 8)
        # Table of 2.3.7: the downlink has 500 kHz, from DR8 (SF12) to DR13 (SF7).
        return down, min(13, max(8, dr + 10 - rx1_dr_offset))

    def channel_of(self, freq_hz: int) -> int:
        """Return the number 0..71 of an uplink channel."""
        for first_hz, step_hz, count, number in (
            (902300000, 200000, 64, 0),
            (903000000, 1600000, 8, 64),
        ):
            at, rest = divmod(freq_hz - first_hz, step_hz)
            if not rest and 0 <= at < count:
                return number + at
        raise DecodeError(RANGE, "no channel at %d Hz" % freq_hz)

    def apply_ch_mask(self, enabled: int, defined: int, ch_mask_cntl: int, ch_mask: int) -> int:
        narrow = (1 << 64) - 1
        if ch_mask_cntl <= 4:
            shift = 16 * ch_mask_cntl
            return self._check(enabled & ~(0xFFFF << shift) | ch_mask << shift, defined)
        if ch_mask_cntl == 6:
            return self._check(narrow | (ch_mask & 0xFF) << 64, defined)
        if ch_mask_cntl == 7:
            return self._check((ch_mask & 0xFF) << 64, defined)
        raise DecodeError(RESERVED, "ChMaskCntl %d" % ch_mask_cntl)


def encode_frequency(freq_hz: int) -> bytes:
    """Return the three octets of a frequency in units of 100 Hz; 0 means none.

    Raises `EncodeError` for one that has no such form.
    """
    steps, rest = divmod(freq_hz, _FREQUENCY_STEP_HZ)
    if rest or not 0 <= steps <= 0xFFFFFF:
        raise EncodeError("%d Hz is no multiple of 100 Hz up to 1677.7215 MHz" % freq_hz)
    return struct.pack("<I", steps)[:3]


def decode_frequency(data: bytes) -> int:
    """Return the Hz that three octets stand for."""
    return (data[0] | data[1] << 8 | data[2] << 16) * _FREQUENCY_STEP_HZ


def by_name(name: str) -> Region:
    """Return the region of this name. Raises `KeyError`."""
    return {"EU868": EU868, "US915": US915}[name]


EU868 = _Eu868(
    name="EU868",
    # 2.2.3: DR0..DR5, DR6 on 250 kHz, DR7 is FSK at 50 kbit/s.
    data_rates=(
        (12, 125000),
        (11, 125000),
        (10, 125000),
        (9, 125000),
        (8, 125000),
        (7, 125000),
        (7, 250000),
        (0, 0),
    ),
    max_payload=(51, 51, 51, 115, 242, 242, 242, 242),  # 2.2.6
    default_channels_hz=(868100000, 868300000, 868500000),  # 2.2.2
    # Five more in the 1 % band next below, as most networks assign them by CFList.
    extra_channels_hz=(867100000, 867300000, 867500000, 867700000, 867900000),
    channels=16,
    band_hz=(863000000, 870000000),
    rx2=(869525000, 0),  # 2.2.7
    max_rx1_dr_offset=5,  # 2.2.7
    max_eirp_dbm=16,
    max_tx_power=7,  # 2.2.3
    cf_list_type=_CF_LIST_FREQUENCIES,
    sub_bands=(
        SubBand(863000000, 864999999, 1000, 16),
        SubBand(865000000, 867999999, 100, 16),
        SubBand(868000000, 868600000, 100, 16),
        SubBand(868700000, 869200000, 1000, 16),
        SubBand(869400000, 869650000, 10, 29),
        SubBand(869700000, 870000000, 100, 16),
    ),
)

US915 = _Us915(
    name="US915",
    # 2.3.3: DR0..DR4 up, DR8..DR13 down, the rest reserved.
    data_rates=(
        (10, 125000),
        (9, 125000),
        (8, 125000),
        (7, 125000),
        (8, 500000),
        (0, 0),
        (0, 0),
        (0, 0),
        (12, 500000),
        (11, 500000),
        (10, 500000),
        (9, 500000),
        (8, 500000),
        (7, 500000),
    ),
    max_payload=(11, 53, 125, 242, 242, 0, 0, 0, 53, 129, 242, 242, 242, 242),  # 2.3.6
    # 2.3.2: 64 on 125 kHz, then 8 on 500 kHz.
    default_channels_hz=tuple(
        [902300000 + 200000 * i for i in range(64)] + [903000000 + 1600000 * i for i in range(8)]
    ),
    extra_channels_hz=(),
    channels=72,
    band_hz=(902000000, 928000000),
    rx2=(923300000, 8),  # 2.3.7
    max_rx1_dr_offset=3,
    max_eirp_dbm=30,
    max_tx_power=10,  # 2.3.3
    cf_list_type=_CF_LIST_MASKS,  # 2.3.4
    sub_bands=(),
)

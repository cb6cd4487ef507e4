"""What the regions have in common, and EU868.

The others are in modules of their own, for a board has heap for one region: `by_name` finds them
all. Source: LoRaWAN 1.0.3 Regional Parameters rev A, here section 2.2 (EU863-870). `N`
(`max_payload`) is the largest FRMPayload with empty FOpts; FOpts count against it, and no repeater
is assumed. Power is EIRP. Duty cycle and power per sub-band of EU868: ERC Recommendation 70-03,
annex 1 (ERP + 2.15 dB = EIRP, rounded down to whole dBm).
"""

import struct

from stoep_protocol.errors import LENGTH, RANGE, RESERVED, DecodeError

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

# Defaults common to these regions (2.2.9, 2.3.8).
JOIN_ACCEPT_DELAY1_S = 5
JOIN_ACCEPT_DELAY2_S = 6
ADR_ACK_LIMIT = 64
ADR_ACK_DELAY = 32
ACK_TIMEOUT_MIN_MS = 1000
ACK_TIMEOUT_MAX_MS = 3000

CF_LIST_FREQUENCIES = 0
CF_LIST_MASKS = 1

_CF_LIST_BYTES = const(16)
_FREQUENCY_STEP_HZ = const(100)  # of every 24-bit frequency in CFList and MAC commands


class SubBand:
    """A stretch of spectrum whose transmitters share one duty cycle budget.

    One part in `duty_cycle` may be on the air: 1000 is 0.1 %, 100 is 1 %, 10 is 10 %, 1 is always.
    After a frame of t the sub-band rests for t * (duty_cycle - 1). Bounds are inclusive.
    """

    __slots__ = ("duty_cycle", "high_hz", "low_hz", "max_eirp_dbm")

    def __init__(self, low_hz: int, high_hz: int, duty_cycle: int, max_eirp_dbm: int) -> None:
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.duty_cycle = duty_cycle
        self.max_eirp_dbm = max_eirp_dbm


class Region:
    """The rules of one region where networks define channels by frequency; the base of the others.

    `channels` is how many uplink channels a device can hold; `has_fixed_channels`: they are laid
    down, and networks choose among them by masks alone. `starts_dwelling`: until a TxParamSetupReq
    says otherwise, devices keep uplinks below 400 ms; only regions with this flag know the command.
    Methods that take a data rate or a frequency from outside raise `DecodeError("range")` for one
    that the region does not have. `dwell` is whether the 400 ms hold in the direction in question.
    """

    __slots__ = (
        "_data_rates",
        "_max_payload",
        "_max_payload_dwell",
        "_top_rx1_dr",
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
        "starts_dwelling",
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
        rx2: "tuple[int, int]",
        max_rx1_dr_offset: int,
        max_eirp_dbm: int,
        max_tx_power: int,
        cf_list_type: int,
        sub_bands: "tuple[SubBand, ...]",
        top_rx1_dr: int = 7,
        max_payload_dwell: "tuple[int, ...]" = (),
    ) -> None:
        self.name = name
        self._data_rates = data_rates
        self._max_payload = max_payload
        self._max_payload_dwell = max_payload_dwell or max_payload
        self._top_rx1_dr = top_rx1_dr
        self.default_channels_hz = default_channels_hz
        self.extra_channels_hz = extra_channels_hz
        self.channels = channels
        self.low_hz = sub_bands[0].low_hz
        self.high_hz = sub_bands[-1].high_hz
        self.rx2_hz, self.rx2_dr = rx2
        self.max_rx1_dr_offset = max_rx1_dr_offset
        self.max_eirp_dbm = max_eirp_dbm
        self.max_tx_power = max_tx_power
        self.cf_list_type = cf_list_type
        self.has_fixed_channels = cf_list_type == CF_LIST_MASKS
        self.starts_dwelling = len(max_payload_dwell) > 0
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

    def max_payload(self, dr: int, dwell: bool = False) -> int:
        """Return N, the octets of FOpts and FRMPayload together, at a data rate.

        Too slow a one for `dwell` raises like one that the region does not have.
        """
        table = self._max_payload_dwell if dwell else self._max_payload
        if 0 <= dr < len(table) and table[dr]:
            return table[dr]
        raise DecodeError(RANGE, "%s has no data rate %d" % (self.name, dr))

    def min_dr(self, dwell: bool = False) -> int:
        """Return the slowest data rate for uplinks."""
        dr = 0
        while dwell and not self._max_payload_dwell[dr]:
            dr += 1
        return dr

    def dr_range(self, index: int) -> "tuple[int, int]":
        """Return the lowest and highest data rate of an uplink channel as the region defines it."""
        return 0, 5

    def in_band(self, freq_hz: int) -> bool:
        """Whether a channel may lie here; between sub-bands none may."""
        return self.sub_band(freq_hz) is not None

    def tx_power_dbm(self, tx_power: int) -> int:
        """Return the EIRP in dBm of a TXPower index."""
        if not 0 <= tx_power <= self.max_tx_power:
            raise DecodeError(RANGE, "%s has no TXPower %d" % (self.name, tx_power))
        return self.max_eirp_dbm - 2 * tx_power

    def sub_band(self, freq_hz: int) -> "SubBand | None":
        """Return the sub-band that a frequency lies in, None outside the region."""
        for band in self.sub_bands:
            if band.low_hz <= freq_hz <= band.high_hz:
                return band
        return None

    def rx1(
        self, freq_hz: int, dr: int, rx1_dr_offset: int, dwell: bool = False
    ) -> "tuple[int, int]":
        """Return `(freq_hz, dr)` of RX1 after an uplink on this frequency and data rate."""
        self._check_offset(rx1_dr_offset)
        self.max_payload(dr)
        # Offsets beyond 5, where there are any, go up: 6 is -1, 7 is -2 (2.8.7, 2.10.7).
        down = rx1_dr_offset if rx1_dr_offset <= 5 else 5 - rx1_dr_offset
        return freq_hz, min(self._top_rx1_dr, max(self.min_dr(dwell), dr - down))

    def join_place(self, attempt: int, random: "Callable[[int], int]") -> "tuple[int, int]":
        """Return `(freq_hz, dr)` of a join-request, `attempt` counting them from 0.

        One step slower with every attempt, and round again: near gateways are found cheaply.
        """
        slowest = self.min_dr(self.starts_dwelling)
        dr = 5 - attempt % (6 - slowest)
        return self.default_channels_hz[random(len(self.default_channels_hz))], dr

    def limit_dbm(self, dr: int, ch_mask: int) -> int:
        """Return the highest EIRP at a data rate with these channels in use."""
        return self.max_eirp_dbm

    def encode_cf_list(self, values: "tuple[int, ...]") -> bytes:
        """Return the CFList of a join-accept: frequencies in Hz (type 0) or channel masks (type 1).

        Up to five frequencies, 0 for one left free; or up to five 16-bit masks. Raises
        `EncodeError`.
        """
        from stoep_protocol.lorawan.network_encoding import encode_cf_list  # noqa: PLC0415

        return encode_cf_list(self.cf_list_type, values)

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
        if self.cf_list_type == CF_LIST_MASKS:
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
        if ch_mask_cntl == 0:
            return self._check(ch_mask, defined)
        if ch_mask_cntl == 6:  # all defined channels, whatever the mask says
            return defined
        raise DecodeError(RESERVED, "ChMaskCntl %d" % ch_mask_cntl)

    def _check(self, channels: int, defined: int) -> int:
        if channels & ~defined:
            raise DecodeError(RANGE, "channel mask %x of %x" % (channels, defined))
        return channels

    def _check_offset(self, rx1_dr_offset: int) -> None:
        if not 0 <= rx1_dr_offset <= self.max_rx1_dr_offset:
            raise DecodeError(RANGE, "RX1DROffset %d" % rx1_dr_offset)


def decode_frequency(data: bytes) -> int:
    """Return the Hz that three octets stand for."""
    return (data[0] | data[1] << 8 | data[2] << 16) * _FREQUENCY_STEP_HZ


def by_name(name: str) -> Region:
    """Return the region of this name. Raises `KeyError`."""
    if name == "EU868":
        return EU868
    if name == "US915":
        from stoep_protocol.lorawan.regions_us915 import US915  # noqa: PLC0415

        return US915
    if name == "AU915":
        from stoep_protocol.lorawan.regions_au915 import AU915  # noqa: PLC0415

        return AU915
    if name == "IN865":
        from stoep_protocol.lorawan.regions_in865 import IN865  # noqa: PLC0415

        return IN865
    from stoep_protocol.lorawan import regions_as923  # noqa: PLC0415

    return regions_as923.by_name(name)


# DR0..DR5 of the regions whose channels networks define (2.2.3, 2.8.3, 2.10.3).
SF12_TO_SF7 = tuple([(sf, 125000) for sf in range(12, 6, -1)])

EU868 = Region(
    name="EU868",
    data_rates=SF12_TO_SF7 + ((7, 250000), (0, 0)),  # 2.2.3: DR7 is FSK at 50 kbit/s
    max_payload=(51, 51, 51, 115, 242, 242, 242, 242),  # 2.2.6
    default_channels_hz=(868100000, 868300000, 868500000),  # 2.2.2
    # Five more in the 1 % band next below, as most networks assign them by CFList.
    extra_channels_hz=(867100000, 867300000, 867500000, 867700000, 867900000),
    channels=16,
    rx2=(869525000, 0),  # 2.2.7
    max_rx1_dr_offset=5,  # 2.2.7
    max_eirp_dbm=16,
    max_tx_power=7,  # 2.2.3
    cf_list_type=CF_LIST_FREQUENCIES,
    sub_bands=(
        SubBand(863000000, 864999999, 1000, 16),
        SubBand(865000000, 867999999, 100, 16),
        SubBand(868000000, 868600000, 100, 16),
        SubBand(868700000, 869200000, 1000, 16),
        SubBand(869400000, 869650000, 10, 29),
        SubBand(869700000, 870000000, 100, 16),
    ),
)

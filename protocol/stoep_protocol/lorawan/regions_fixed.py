"""Regions with 72 channels laid down: 64 on 125 kHz, then 8 on 500 kHz (sections 2.3, 2.6).

They come in eight groups of eight neighbours and one wide channel between them. Gateways hear one
or a few of the groups; a device finds out which by asking to join in all of them.
"""

from stoep_protocol.errors import RANGE, RESERVED, DecodeError
from stoep_protocol.lorawan.regions import CF_LIST_MASKS, Region, SubBand

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

_NARROW = const(64)
_STEP_HZ = const(200000)
_WIDE_STEP_HZ = const(1600000)
_DOWN_HZ = const(923300000)
_DOWN_STEP_HZ = const(600000)
_ALL_NARROW = (1 << _NARROW) - 1


class FixedRegion(Region):
    """A region whose channels begin at `first_hz` and `wide_hz`.

    `narrow` are the data rates on 125 kHz from DR0 on; next comes the one on 500 kHz (SF8), and
    from DR8 to DR13 those of downlinks, SF12 to SF7 on 500 kHz. `rx1_from` is the data rate of RX1
    after DR0.
    """

    __slots__ = ("_first_hz", "_rx1_from", "_wide_dr", "_wide_hz")

    def __init__(
        self,
        name: str,
        first_hz: int,
        wide_hz: int,
        narrow: "tuple[tuple[int, int], ...]",
        max_payload: "tuple[int, ...]",
        rx1_from: int,
        max_rx1_dr_offset: int,
        max_tx_power: int,
        sub_bands: "tuple[SubBand, ...]",
        max_payload_dwell: "tuple[int, ...]" = (),
    ) -> None:
        self._first_hz = first_hz
        self._wide_hz = wide_hz
        self._wide_dr = len(narrow)
        self._rx1_from = rx1_from
        missing = ((0, 0),) * (7 - len(narrow))
        super().__init__(
            name=name,
            data_rates=narrow
            + ((8, 500000),)
            + missing
            + tuple([(sf, 500000) for sf in range(12, 6, -1)]),
            max_payload=max_payload,
            default_channels_hz=tuple(
                [first_hz + _STEP_HZ * i for i in range(_NARROW)]
                + [wide_hz + _WIDE_STEP_HZ * i for i in range(8)]
            ),
            extra_channels_hz=(),
            channels=_NARROW + 8,
            rx2=(_DOWN_HZ, 8),
            max_rx1_dr_offset=max_rx1_dr_offset,
            max_eirp_dbm=30,
            max_tx_power=max_tx_power,
            cf_list_type=CF_LIST_MASKS,
            sub_bands=sub_bands,
            top_rx1_dr=13,
            max_payload_dwell=max_payload_dwell,
        )

    def dr_range(self, index: int) -> "tuple[int, int]":
        """Return the lowest and highest data rate of an uplink channel as the region defines it."""
        return (0, self._wide_dr - 1) if index < _NARROW else (self._wide_dr, self._wide_dr)

    def rx1(
        self, freq_hz: int, dr: int, rx1_dr_offset: int, dwell: bool = False
    ) -> "tuple[int, int]":
        """Return `(freq_hz, dr)` of RX1 after an uplink on this frequency and data rate."""
        self._check_offset(rx1_dr_offset)
        if not 0 <= dr <= self._wide_dr:
            raise DecodeError(RANGE, "%s has no uplinks at data rate %d" % (self.name, dr))
        down_hz = _DOWN_HZ + _DOWN_STEP_HZ * (self.channel_of(freq_hz) % 8)
        return down_hz, min(self._top_rx1_dr, max(8, dr + self._rx1_from - rx1_dr_offset))

    def channel_of(self, freq_hz: int) -> int:
        """Return the number 0..71 of an uplink channel."""
        for first_hz, step_hz, count, number in (
            (self._first_hz, _STEP_HZ, _NARROW, 0),
            (self._wide_hz, _WIDE_STEP_HZ, 8, _NARROW),
        ):
            at, rest = divmod(freq_hz - first_hz, step_hz)
            if not rest and 0 <= at < count:
                return number + at
        raise DecodeError(RANGE, "no channel at %d Hz" % freq_hz)

    def join_place(self, attempt: int, random: "Callable[[int], int]") -> "tuple[int, int]":
        """Return `(freq_hz, dr)` of a join-request, `attempt` counting them from 0.

        On 125 kHz at the slowest data rate and on 500 kHz by turns (2.3.2), through all groups: the
        wide ones are four groups ahead, so that after eight attempts each group had a request.
        """
        group = attempt // 2
        if attempt % 2:
            return self.default_channels_hz[_NARROW + (group + 4) % 8], self._wide_dr
        index = 8 * (group % 8) + random(8)
        return self.default_channels_hz[index], self.min_dr(self.starts_dwelling)

    def apply_ch_mask(self, enabled: int, defined: int, ch_mask_cntl: int, ch_mask: int) -> int:
        """Return the channels in use after one LinkADRReq; see `Region`."""
        if ch_mask_cntl <= 4:
            shift = 16 * ch_mask_cntl
            return self._check(enabled & ~(0xFFFF << shift) | ch_mask << shift, defined)
        wide = (ch_mask & 0xFF) << _NARROW
        if ch_mask_cntl == 5:  # a bit for a whole group
            narrow = 0
            for group in range(8):
                if ch_mask >> group & 1:
                    narrow |= 0xFF << 8 * group
            return self._check(narrow | wide, defined)
        if ch_mask_cntl == 6:
            return self._check(_ALL_NARROW | wide, defined)
        if ch_mask_cntl == 7:
            return self._check(wide, defined)
        raise DecodeError(RESERVED, "ChMaskCntl %d" % ch_mask_cntl)

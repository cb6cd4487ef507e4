"""Which channels the network uses, and how its devices are brought onto them.

A region says which channels may exist; a plan says which of them the gateways listen to: all that
EU868, AS923 and IN865 define plus a few more, or one of the eight groups ("sub-bands") of US915 and
AU915, whose 72 channels no gateway hears all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stoep_protocol.lorawan.network_encoding import MAX_CF_LIST_CHANNELS
from stoep_protocol.lorawan.regions import Region

__all__ = ["Channel", "Plan", "for_region", "link_adr_masks"]

_GROUP = 8  # channels of 125 kHz that go with one of 500 kHz
_NARROW = 64  # the channels of 125 kHz come first, 0..63
_BLOCK = 16  # channels in one LinkADRReq
_ALL_ON, _ALL_OFF = 6, 7  # ChMaskCntl that switch every channel of 125 kHz


@dataclass(frozen=True, slots=True)
class Channel:
    """An uplink channel, its number at the devices and the data rates that it carries."""

    index: int
    freq_hz: int
    min_dr: int
    max_dr: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The channels of a network.

    ``channels`` are those in use, by number. ``mask`` has their bits: what devices are to have
    switched on. ``channels_hz`` are all that a device with our join-accept knows, its number the
    place, 0 for none. ``cf_list`` goes into join-accepts, 16 octets or none.
    """

    region: Region
    channels: tuple[Channel, ...]
    channels_hz: tuple[int, ...]
    cf_list: bytes

    @property
    def mask(self) -> int:
        """The bitmap of the channels in use."""
        return sum(1 << channel.index for channel in self.channels)

    def hears(self, freq_hz: int) -> bool:
        """Whether the gateways listen on a frequency."""
        return any(channel.freq_hz == freq_hz for channel in self.channels)


def for_region(region: Region, sub_band: int = 2, extra_hz: Iterable[int] | None = None) -> Plan:
    """Return the plan of a region.

    ``sub_band`` 1..8 is the group of US915 and AU915; elsewhere it says nothing. ``extra_hz`` are
    channels to add where a region lets networks do so, by default the usual ones. Raises
    ``ValueError`` for a sub-band that there is not, for channels that cannot be added.
    """
    extra = region.extra_channels_hz if extra_hz is None else tuple(extra_hz)
    if region.has_fixed_channels:
        if extra:
            raise ValueError(f"{region.name} has no room for other channels")
        return _fixed(region, sub_band)
    channels_hz = (*region.default_channels_hz, *extra)
    if len(channels_hz) > region.channels:
        raise ValueError(f"a device has at most {region.channels} channels in {region.name}")
    for freq_hz in extra:
        if not region.in_band(freq_hz):
            raise ValueError(f"{freq_hz} Hz lies outside {region.name}")
    in_accept = extra[:MAX_CF_LIST_CHANNELS]
    return Plan(
        region,
        tuple(_channel(region, index, freq_hz) for index, freq_hz in enumerate(channels_hz)),
        (*region.default_channels_hz, *in_accept),
        region.encode_cf_list(in_accept) if in_accept else b"",
    )


def link_adr_masks(
    plan: Plan, current: int, channels: int | None = None
) -> tuple[tuple[int, int], ...]:
    """Return the shortest block of LinkADRReq that leads to a plan, as ``(ch_mask, ch_mask_cntl)``.

    ``current`` is the bitmap that the device uses now, ``channels`` the one it is to use, by
    default the plan's: for a device that lacks some of them, the part that it has. There is one
    request at least, since each carries a mask: with nothing to change it says again what is.
    Raises ``ValueError`` for no channel at all.
    """
    target = plan.mask if channels is None else channels
    if not target:
        raise ValueError("a device needs a channel")
    if not plan.region.has_fixed_channels:
        return ((target, 0),)
    wide = target >> _NARROW
    if current == target:
        return (_again(target),)
    ways = (
        _differing(current, target),
        ((wide, _ALL_OFF), *_differing(wide << _NARROW, target)),
        ((wide, _ALL_ON), *_differing((1 << _NARROW) - 1 | wide << _NARROW, target)),
    )
    return min(ways, key=len)


def _fixed(region: Region, sub_band: int) -> Plan:
    if not 1 <= sub_band <= _NARROW // _GROUP:
        raise ValueError(f"{region.name} has the sub-bands 1 to 8, not {sub_band}")
    first = _GROUP * (sub_band - 1)
    numbers = (*range(first, first + _GROUP), _NARROW + sub_band - 1)
    channels_hz = region.default_channels_hz
    channels = tuple(_channel(region, index, channels_hz[index]) for index in numbers)
    mask = sum(1 << index for index in numbers)
    blocks = tuple(mask >> shift & 0xFFFF for shift in range(0, region.channels, _BLOCK))
    return Plan(region, channels, channels_hz, region.encode_cf_list(blocks))


def _channel(region: Region, index: int, freq_hz: int) -> Channel:
    return Channel(index, freq_hz, *region.dr_range(index))


def _differing(current: int, target: int) -> tuple[tuple[int, int], ...]:
    """Return a request for each block of sixteen that is not yet as it is to be."""
    return tuple(
        (target >> shift & 0xFFFF, shift // _BLOCK)
        for shift in range(0, _NARROW + _GROUP, _BLOCK)
        if (current ^ target) >> shift & 0xFFFF
    )


def _again(target: int) -> tuple[int, int]:
    """Return a request that changes nothing."""
    shift = next(at for at in range(0, _NARROW + _GROUP, _BLOCK) if target >> at & 0xFFFF)
    return target >> shift & 0xFFFF, shift // _BLOCK

"""How a Basics Station is to set up its radios: the ``router_config`` of a channel plan. Pure.

What the fields do is read in the reference station (lorabasics/basicstation 2.0.3 to 2.0.6:
``s2e.c``, ``sx130xconf.c``), where it differs from what their names promise:

- ``region`` has to be a name that it knows: from 2.0.6 on it drops every downlink otherwise. AS923
  and IN865 are not among them (its AS923-1 is Japan's, with listen-before-talk). AU915 is, and
  changes nothing but the default power, so its name stands in for theirs.
- ``max_eirp`` limits the power everywhere, also that of EU868's 10 % band; in some versions it is
  ignored where the region has a power of its own.
- ``antenna_gain`` is taken off whatever power that is.
- ``nocca``, ``nodc`` and ``nodwell`` are left out: they would only matter in test builds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from stoep_protocol.lorawan.regions import Region

from stoep_gateway.lns.channel_plan import Channel, Plan

__all__ = ["encode_router_config"]

_NAMES = {"EU868": "EU863", "US915": "US902"}  # the older names, which all versions know
_STANDS_IN = "AU915"
_KNOWN = frozenset({"EU863", "US902", "AU915"})
_STRICT_STATION = "2.0.6"
_NARROW_HZ = 125_000
_REACH_HZ = 400_000  # of a channel of 125 kHz from its radio's centre
_RADIOS = 2
_MULTI_SF = 8
_DATA_RATES = 16
_FIRST_DOWNLINK_DR = 8  # in US915 and AU915


def encode_router_config(plan: Plan, antenna_gain_dbi: float, station: str, utc_ms: int) -> str:
    """Return the message for a gateway whose station is of version ``station``.

    Raises ``ValueError`` for a plan that one concentrator, two radios with eight channels of
    125 kHz and one wider, cannot hear.
    """
    region = plan.region
    name = _NAMES.get(region.name, region.name)
    if name not in _KNOWN and station.startswith(_STRICT_STATION):
        name = _STANDS_IN
    eirp_dbm = max([region.max_eirp_dbm, *(band.max_eirp_dbm for band in region.sub_bands)])
    config = {
        "msgtype": "router_config",
        "NetID": None,  # no filter: devices with another network's DevAddr may be registered too
        "JoinEui": None,
        "region": name,
        "hwspec": "sx1301/1",
        "freq_range": [region.low_hz, region.high_hz],
        "DRs": [_data_rate(region, dr) for dr in range(_DATA_RATES)],
        "sx1301_conf": [_concentrator(plan, antenna_gain_dbi)],
        "max_eirp": eirp_dbm,
        "bcning": None,
        "MuxTime": utc_ms / 1000,
    }
    return json.dumps(config, separators=(",", ":"))


def _data_rate(region: Region, dr: int) -> list[int]:
    if not region.has_data_rate(dr):
        return [-1, 0, 0]
    sf, bw_hz = region.data_rate(dr)
    down_only = region.has_fixed_channels and dr >= _FIRST_DOWNLINK_DR
    return [sf, bw_hz // 1000, int(down_only)]


def _concentrator(plan: Plan, antenna_gain_dbi: float) -> dict[str, object]:
    rates = [(channel, *plan.region.data_rate(channel.max_dr)) for channel in plan.channels]
    narrow = sorted(channel.freq_hz for channel, _, bw_hz in rates if bw_hz == _NARROW_HZ)
    wide = [(channel, sf, bw_hz) for channel, sf, bw_hz in rates if bw_hz != _NARROW_HZ]
    centres = _centres(narrow)
    if len(narrow) > _MULTI_SF or len(wide) > 1 or not 0 < len(centres) <= _RADIOS:
        raise ValueError(f"no gateway hears all {len(plan.channels)} channels of the plan")
    setup: dict[str, object] = {}
    for radio in range(_RADIOS):
        setup[f"radio_{radio}"] = _radio(centres[radio : radio + 1], antenna_gain_dbi)
    for number in range(_MULTI_SF):
        setup[f"chan_multiSF_{number}"] = _channel(narrow[number : number + 1], centres)
    setup["chan_Lora_std"] = {"enable": False}
    if wide:
        channel, sf, bw_hz = wide[0]
        setup["chan_Lora_std"] = _wide(channel, sf, bw_hz, centres)
    setup["chan_FSK"] = {"enable": False}
    return setup


def _centres(freqs_hz: Sequence[int]) -> list[int]:
    """Return as few centres as reach all channels, each as far above its lowest as it can be."""
    centres: list[int] = []
    for freq_hz in freqs_hz:
        if not centres or freq_hz > centres[-1] + _REACH_HZ:
            centres.append(freq_hz + _REACH_HZ)
    return centres


def _radio(centre_hz: Sequence[int], antenna_gain_dbi: float) -> dict[str, object]:
    radio: dict[str, object] = {"enable": bool(centre_hz), "freq": next(iter(centre_hz), 0)}
    if antenna_gain_dbi:
        radio["antenna_gain"] = antenna_gain_dbi
    return radio


def _channel(freq_hz: Sequence[int], centres: Sequence[int]) -> dict[str, object]:
    if not freq_hz:
        return {"enable": False}
    radio = min(range(len(centres)), key=lambda number: abs(freq_hz[0] - centres[number]))
    return {"enable": True, "radio": radio, "if": freq_hz[0] - centres[radio]}


def _wide(channel: Channel, sf: int, bw_hz: int, centres: Sequence[int]) -> dict[str, object]:
    return {**_channel((channel.freq_hz,), centres), "bandwidth": bw_hz, "spread_factor": sf}

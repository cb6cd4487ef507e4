"""Where and when devices listen, and how much they can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoep_protocol.lorawan.frames import CONFIRMED_DOWN, UNCONFIRMED_DOWN, encode_data
from stoep_protocol.lorawan.regions import (
    JOIN_ACCEPT_DELAY1_S,
    JOIN_ACCEPT_DELAY2_S,
    Region,
)

from stoep_gateway.lns import mac_commands
from stoep_gateway.lns.frames import UplinkFrame, Window
from stoep_gateway.lns.mac_commands import Turn
from stoep_gateway.lns.mac_state import MacState
from stoep_gateway.lns.queue import Queued
from stoep_gateway.lns.sessions import Session

__all__ = ["Reply", "compose", "continuous_window", "join_windows", "windows"]

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """A downlink's octets, the windows that have room for it, and the state once it is sent.

    ``carried`` is the queued downlink in it, if any.
    """

    phy_payload: bytes
    windows: tuple[Window, ...]
    mac: MacState
    carried: Queued | None


def windows(uplink: UplinkFrame, region: Region, mac: MacState) -> tuple[Window, Window]:
    """Return RX1 and RX2 after a data uplink of a device with these settings."""
    up_dr = region.dr_of(uplink.sf, uplink.bw_hz)
    dwell, _ = mac.dwell(region)
    freq_hz, dr = region.rx1(uplink.freq_hz, up_dr, mac.rx1_dr_offset, dwell)
    freq_hz = mac.rx1_hz(uplink.freq_hz, freq_hz)
    return (
        _window(region, mac.rx1_delay_s, freq_hz, dr),
        _window(region, mac.rx1_delay_s + 1, mac.rx2_hz, mac.rx2_dr),
    )


def join_windows(uplink: UplinkFrame, region: Region) -> tuple[Window, Window]:
    """Return RX1 and RX2 after a join-request; its sender knows the region's defaults alone."""
    up_dr = region.dr_of(uplink.sf, uplink.bw_hz)
    freq_hz, dr = region.rx1(uplink.freq_hz, up_dr, 0)
    return (
        _window(region, JOIN_ACCEPT_DELAY1_S, freq_hz, dr),
        _window(region, JOIN_ACCEPT_DELAY2_S, region.rx2_hz, region.rx2_dr),
    )


def continuous_window(region: Region, mac: MacState) -> Window:
    """Return the window that a device of Class C has open all the time."""
    return _window(region, 0, mac.rx2_hz, mac.rx2_dr)


def compose(
    session: Session,
    region: Region,
    offered: tuple[Window, ...],
    turn: Turn,
    ready: Sequence[Queued],
    utc_ms: int,
    *,
    ack: bool,
    must: bool,
) -> Reply | None:
    """Return what to send with the session's next ``f_cnt_down``; None: nothing that is due fits.

    ``must``: a frame is due even without content. Of the downlinks that are ``ready`` the first
    that fits a window goes; one that fits none holds up nobody, and the device is not told that it
    is pending, or it would come for it again and again. MAC commands take the room that is left.
    """
    dwell = turn.state.dwell(region)[0]
    rooms = {window: region.max_payload(window.dr, dwell) for window in offered}
    most = max(rooms.values())
    possible = [queued for queued in ready if len(queued.frm_payload) <= most]
    queued = possible[0] if possible else None
    payload = b"" if queued is None else queued.frm_payload
    fitting = [window for window in offered if rooms[window] >= len(payload)]
    room = min(rooms[window] for window in fitting) - len(payload)
    f_opts, mac = mac_commands.pack(turn, room, utc_ms)
    if not (f_opts or must or queued):
        return None
    phy_payload = encode_data(
        CONFIRMED_DOWN if queued is not None and queued.confirmed else UNCONFIRMED_DOWN,
        session.dev_addr,
        session.f_cnt_down,
        session.nwk_s_key,
        session.app_s_key,
        ack=ack,
        f_pending=len(possible) > 1,
        f_opts=f_opts,
        f_port=None if queued is None else queued.f_port,
        payload=payload,
    )
    return Reply(phy_payload, tuple(fitting), mac, queued)


def _window(region: Region, delay_s: int, freq_hz: int, dr: int) -> Window:
    sf, bw_hz = region.data_rate(dr)
    band = region.sub_band(freq_hz)
    power_dbm = region.max_eirp_dbm if band is None else band.max_eirp_dbm
    return Window(delay_s * _SECOND_US, freq_hz, sf, bw_hz, power_dbm, dr)

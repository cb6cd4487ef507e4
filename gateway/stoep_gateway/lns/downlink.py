"""Downlinks that answer an uplink: where and when a Class A device listens, and what it is sent."""

from __future__ import annotations

from dataclasses import dataclass

from stoep_protocol.lorawan.frames import UNCONFIRMED_DOWN, encode_data
from stoep_protocol.lorawan.regions import (
    JOIN_ACCEPT_DELAY1_S,
    JOIN_ACCEPT_DELAY2_S,
    Region,
)

from stoep_gateway.lns.frames import UplinkFrame, Window
from stoep_gateway.lns.sessions import Session

__all__ = ["ReceiveSettings", "answer", "join_windows", "windows"]

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class ReceiveSettings:
    """What a join-accept tells devices of their receive windows and channels.

    ``sub_band`` is that of ``channel_plan``.
    """

    region: Region
    rx1_delay_s: int = 1
    rx1_dr_offset: int = 0
    sub_band: int = 2


def windows(uplink: UplinkFrame, settings: ReceiveSettings) -> tuple[Window, Window]:
    """Return RX1 and RX2 after a data uplink."""
    return _windows(uplink, settings, settings.rx1_delay_s, settings.rx1_delay_s + 1)


def join_windows(uplink: UplinkFrame, settings: ReceiveSettings) -> tuple[Window, Window]:
    """Return RX1 and RX2 after a join-request; its sender knows no offset yet."""
    unjoined = ReceiveSettings(settings.region)
    return _windows(uplink, unjoined, JOIN_ACCEPT_DELAY1_S, JOIN_ACCEPT_DELAY2_S)


def answer(session: Session, f_cnt_down: int, *, ack: bool, f_opts: bytes = b"") -> bytes:
    """Return the PHYPayload of an unconfirmed downlink without FRMPayload.

    The caller has taken ``f_cnt_down`` durably. Raises ``EncodeError`` for more than 15 octets of
    ``f_opts``.
    """
    return encode_data(
        UNCONFIRMED_DOWN,
        session.dev_addr,
        f_cnt_down,
        session.nwk_s_key,
        session.app_s_key,
        ack=ack,
        f_opts=f_opts,
    )


def _windows(
    uplink: UplinkFrame, settings: ReceiveSettings, rx1_delay_s: int, rx2_delay_s: int
) -> tuple[Window, Window]:
    region = settings.region
    up_dr = region.dr_of(uplink.sf, uplink.bw_hz)
    freq_hz, dr = region.rx1(uplink.freq_hz, up_dr, settings.rx1_dr_offset)
    return (
        _window(region, rx1_delay_s, freq_hz, dr),
        _window(region, rx2_delay_s, region.rx2_hz, region.rx2_dr),
    )


def _window(region: Region, delay_s: int, freq_hz: int, dr: int) -> Window:
    sf, bw_hz = region.data_rate(dr)
    band = region.sub_band(freq_hz)
    power_dbm = region.max_eirp_dbm if band is None else band.max_eirp_dbm
    return Window(delay_s * _SECOND_US, freq_hz, sf, bw_hz, power_dbm, dr)

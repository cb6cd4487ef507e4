"""Values of the network server's tests: receptions, devices with keys, sessions of both ends."""

from __future__ import annotations

from lorawan_keys import new_key
from stoep_gateway.lns.channel_plan import for_region
from stoep_gateway.lns.frames import UplinkFrame, UplinkFrameSet
from stoep_gateway.lns.mac_state import Target
from stoep_gateway.lns.sessions import Session
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan.regions import EU868, Region

__all__ = [
    "APP_S_KEY",
    "DEV_ADDR",
    "DEV_EUI",
    "GATEWAY",
    "NWK_S_KEY",
    "OTHER_GATEWAY",
    "frame_set",
    "reception",
    "session",
    "target",
    "uplink",
]

GATEWAY = bytes.fromhex("0016c001ff10a235")
OTHER_GATEWAY = bytes.fromhex("0016c001ff10a236")
DEV_EUI = bytes.fromhex("70b3d57ed0000001")
DEV_ADDR = 0x26011BDA
NWK_S_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
APP_S_KEY = bytes.fromhex("3b7e151628aed2a6abf7158809cf4f3d")


def reception(phy_payload: bytes, *, at: int = 0, gateway: bytes = GATEWAY, **changes: object):
    """Return one reception at ``at`` ms; ``changes`` are fields of ``UplinkFrame``."""
    fields = {
        "phy_payload": phy_payload,
        "gateway_eui": gateway,
        "tmst_us": 1_000_000,
        "freq_hz": 868_100_000,
        "sf": 7,
        "bw_hz": 125_000,
        "rssi_dbm": -90.0,
        "snr_db": 5.0,
        "received_ms": at,
    }
    return UplinkFrame(**fields | changes)


def frame_set(phy_payload: bytes, *, at: int = 0, **changes: object) -> UplinkFrameSet:
    """Return a set of one reception."""
    return UplinkFrameSet(phy_payload, (reception(phy_payload, at=at, **changes),), at)


def target(region: Region = EU868, **changes: int) -> Target:
    """Return what a network wants that follows its region's defaults but for ``changes``."""
    values = {
        "rx1_delay_s": 1,
        "rx1_dr_offset": 0,
        "rx2_dr": region.rx2_dr,
        "rx2_hz": region.rx2_hz,
        "status_every_ms": 0,
    } | changes
    return Target(for_region(region), **values)


def session(session_id: int = 1, **fields: object) -> Session:
    """Return the network server's side of a session."""
    values = {
        "dev_eui": DEV_EUI,
        "dev_addr": DEV_ADDR,
        "nwk_s_key": NWK_S_KEY,
        "app_s_key": APP_S_KEY,
        "app_nonce": session_id,
        "confirmed": True,
    } | fields
    return Session(session_id, **values)


def uplink(
    f_cnt: int,
    *,
    confirmed: bool = False,
    dev_addr: int = DEV_ADDR,
    nwk_s_key: bytes = NWK_S_KEY,
    app_s_key: bytes = APP_S_KEY,
    **fields: object,
) -> bytes:
    """Return a device's uplink; ``fields`` are those of ``encode_data``."""
    return frames.encode_data(
        frames.CONFIRMED_UP if confirmed else frames.UNCONFIRMED_UP,
        dev_addr,
        f_cnt,
        new_key(nwk_s_key),
        new_key(app_s_key),
        **fields,
    )

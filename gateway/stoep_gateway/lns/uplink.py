"""A data uplink from its deduplicated frame to the values that are recorded, one function per step.

``parse → (sessions.match) → decrypt → decode``: each returns a new, full value, or ``Rejected``;
none changes anything.
"""

from __future__ import annotations

import functools

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan.crypto import UP
from stoep_protocol.lorawan.frames import DataFrame
from stoep_protocol.lorawan.network_frames import JoinRequest
from stoep_protocol.lorawan.regions import Region

from stoep_gateway import decode as payloads
from stoep_gateway.lns.frames import Rejected, UplinkFrameSet
from stoep_gateway.lns.sessions import Match
from stoep_gateway.values import value

__all__ = ["Plain", "data_rate", "decode", "decrypt", "parse"]


@value
class Plain:
    """What a data frame said: its application payload and its MAC commands, as octets."""

    f_port: int | None
    frm_payload: bytes
    commands: bytes


def parse(frame_set: UplinkFrameSet) -> DataFrame | JoinRequest | Rejected:
    """Take the PHYPayload apart.

    Rejected: ``frame_…`` with the codec's code, ``not_an_uplink`` for a downlink (another network's
    gateway is in reach).
    """
    try:
        frame = frames.parse(frame_set.phy_payload)
    except DecodeError as error:
        return Rejected("frame_" + error.code.replace("-", "_"))
    if type(frame) is DataFrame:
        return frame if frame.direction == UP else Rejected("not_an_uplink")
    return frame if type(frame) is JoinRequest else Rejected("not_an_uplink")


def data_rate(frame_set: UplinkFrameSet, region: Region) -> int | Rejected:
    """Return the data rate.

    Rejected: ``data_rate`` for one that the region does not have, ``channel`` where it is not used
    on this frequency, so that no receive window follows.
    """
    best = frame_set.receptions[0]
    return _data_rate(region, best.freq_hz, best.sf, best.bw_hz)


@functools.lru_cache(maxsize=256)
def _data_rate(region: Region, freq_hz: int, sf: int, bw_hz: int) -> int | Rejected:
    try:
        dr = region.dr_of(sf, bw_hz)
    except DecodeError as error:
        return Rejected("data_rate", error.detail)
    try:
        region.rx1(freq_hz, dr, 0)
    except DecodeError as error:
        return Rejected("channel", error.detail)
    return dr


def decrypt(match: Match, frame: DataFrame) -> Plain:
    """Decrypt the payload with the session's keys."""
    session = match.session
    if frame.f_port == frames.F_PORT_MAC:
        return Plain(0, b"", frames.decrypt_payload(frame, session.nwk_s_key, match.f_cnt_up))
    payload = b""
    if frame.f_port is not None:
        payload = frames.decrypt_payload(frame, session.app_s_key, match.f_cnt_up)
    return Plain(frame.f_port, payload, frame.f_opts)


def decode(plain: Plain) -> payloads.Uplink | str | None:
    """Return the message, None where the frame carries none, or what is wrong with it.

    That is the codec's code, spelled as a label.
    """
    if not plain.f_port:
        return None
    try:
        return payloads.decode(plain.f_port, plain.frm_payload)
    except DecodeError as error:
        return error.code.replace("-", "_")

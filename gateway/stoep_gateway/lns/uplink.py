"""A data uplink from its deduplicated frame to the values that are recorded, one function per step.

``parse → (sessions.match) → decrypt → answer MAC commands → decode``: each returns a new, full
value, or ``Rejected``; none changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan.crypto import UP
from stoep_protocol.lorawan.frames import DataFrame, JoinRequest
from stoep_protocol.lorawan.regions import Region

from stoep_gateway import decode as payloads
from stoep_gateway.lns import mac_commands
from stoep_gateway.lns.frames import Rejected, UplinkFrameSet
from stoep_gateway.lns.sessions import Match

__all__ = ["Plain", "data_rate", "decode", "decrypt", "parse", "wants_answer"]


@dataclass(frozen=True, slots=True)
class Plain:
    """What a data frame said: its application payload, and the answer to its MAC commands."""

    f_port: int | None
    frm_payload: bytes
    f_opts_down: bytes


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
    """Return the data rate. Rejected: ``data_rate`` for one that the region does not have."""
    best = frame_set.receptions[0]
    try:
        return region.dr_of(best.sf, best.bw_hz)
    except DecodeError as error:
        return Rejected("data_rate", error.detail)


def decrypt(
    match: Match, frame: DataFrame, frame_set: UplinkFrameSet, received_utc_ms: int
) -> Plain:
    """Decrypt the payload with the session's keys and answer the MAC commands in it."""
    commands = frame.f_opts
    payload = b""
    if frame.f_port == frames.F_PORT_MAC:
        commands = frames.decrypt_payload(frame, match.session.nwk_s_key, match.f_cnt_up)
    elif frame.f_port is not None:
        payload = frames.decrypt_payload(frame, match.session.app_s_key, match.f_cnt_up)
    answers = mac_commands.answer(commands, frame_set, received_utc_ms) if commands else b""
    return Plain(frame.f_port, payload, answers)


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


def wants_answer(frame: DataFrame, plain: Plain) -> bool:
    """Whether a downlink is due: an acknowledgement, an answer, or a sign of life for ADR."""
    return frame.confirmed or frame.adr_ack_req or bool(plain.f_opts_down)

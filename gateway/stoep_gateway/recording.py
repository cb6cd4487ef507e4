"""What is written of an uplink, a join, a gateway: from values to one ``Record``. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from stoep_gateway.assets import states
from stoep_gateway.assets.states import AssetState
from stoep_gateway.decode import Uplink
from stoep_gateway.lns.frames import UplinkFrameSet
from stoep_gateway.lns.join import Activation
from stoep_gateway.lns.sessions import Claim, Match, Session
from stoep_gateway.lns.uplink import Plain
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.store.records import (
    GatewayRow,
    LatestRow,
    NonceRow,
    OutboxRow,
    Record,
    SessionRow,
    UplinkRow,
)

__all__ = ["gateway_record", "join_record", "outbox_rows", "uplink_record"]


def outbox_rows(
    messages: Iterable[OutboxMessage], last_id: int, utc_ms: int
) -> tuple[OutboxRow, ...]:
    """Return the rows of these messages, numbered on from ``last_id``."""
    return tuple(
        OutboxRow(outbox_id, message.kind, message.topic, message.payload, message.retain, utc_ms)
        for outbox_id, message in enumerate(messages, last_id + 1)
    )


def uplink_record(
    match: Match,
    claim: Claim,
    frame_set: UplinkFrameSet,
    dr: int,
    plain: Plain,
    message: Uplink | str | None,
    state: tuple[str, AssetState] | None,
    outbox: tuple[OutboxRow, ...],
    utc_ms: int,
) -> Record:
    """Return an accepted uplink with all that it changes; ``message`` a str: undecodable, why."""
    return Record(
        counters=(claim.counters,),
        uplinks=(
            UplinkRow(
                utc_ms,
                match.session.dev_eui,
                match.session.session_id,
                match.f_cnt_up,
                plain.f_port,
                plain.frm_payload,
                message if isinstance(message, str) else None,
                frame_set.receptions[0].freq_hz,
                dr,
                receptions_json(frame_set),
            ),
        ),
        latest=() if state is None else (LatestRow(state[0], states.dumps(state[1])),),
        outbox=outbox,
        confirmed_sessions=(() if claim.confirmed_session is None else (claim.confirmed_session,)),
        ended_sessions=claim.ended_sessions,
    )


def join_record(
    activation: Activation,
    session: Session,
    ended: Iterable[Session],
    outbox: tuple[OutboxRow, ...],
    utc_ms: int,
) -> Record:
    """Return an activation: its nonce, its session, and the sessions that it replaces."""
    return Record(
        sessions=(
            SessionRow(
                session.session_id,
                activation.dev_eui,
                activation.dev_addr,
                activation.nwk_s_key,
                activation.app_s_key,
                activation.app_nonce,
                0,
                utc_ms,
            ),
        ),
        nonces=(NonceRow(activation.dev_eui, activation.dev_nonce, activation.app_nonce, utc_ms),),
        ended_sessions=tuple(old.session_id for old in ended),
        outbox=outbox,
    )


def gateway_record(
    gateway_eui: bytes, stat: Mapping[str, object], outbox: tuple[OutboxRow, ...], utc_ms: int
) -> Record:
    """Return a gateway's state with its own words."""
    return Record(gateways=(GatewayRow(gateway_eui, utc_ms, json.dumps(stat)),), outbox=outbox)


def receptions_json(frame_set: UplinkFrameSet) -> str:
    """Return ``[[gateway EUI, RSSI in dBm, SNR in dB], …]``, best first."""
    receptions = [
        f'["{frame.gateway_eui.hex()}",{frame.rssi_dbm:g},{frame.snr_db:g}]'
        for frame in frame_set.receptions
    ]
    return f"[{','.join(receptions)}]"

"""What is written of an uplink, a join, a gateway: from values to one ``Record``. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

from stoep_gateway.assets import states
from stoep_gateway.assets.states import AssetState
from stoep_gateway.decode import Uplink
from stoep_gateway.integrations.events import SourceUplink
from stoep_gateway.integrations.ledger import Claim as SourceClaim
from stoep_gateway.lns.frames import UplinkFrameSet
from stoep_gateway.lns.join import Activation
from stoep_gateway.lns.mac_state import MacState
from stoep_gateway.lns.queue import Queued
from stoep_gateway.lns.sessions import Claim, Match, Session
from stoep_gateway.lns.uplink import Plain
from stoep_gateway.publish.messages import OutboxMessage, UplinkMeta
from stoep_gateway.store.records import (
    DownlinkRow,
    GatewayRow,
    HeldRow,
    LatestRow,
    MacStateRow,
    NonceRow,
    OutboxRow,
    Record,
    SessionRow,
    SourceRow,
    UplinkRow,
)

__all__ = [
    "downlink_row",
    "gateway_record",
    "held",
    "held_row",
    "join_record",
    "mac_rows",
    "outbox_rows",
    "session_row",
    "source_record",
    "source_state",
    "uplink_record",
]

_NO_SESSION = 0


def outbox_rows(
    messages: Iterable[OutboxMessage], last_id: int, utc_ms: int
) -> tuple[OutboxRow, ...]:
    """Return the rows of these messages, numbered on from ``last_id``."""
    return tuple(
        OutboxRow(outbox_id, message.kind, message.topic, message.payload, message.retain, utc_ms)
        for outbox_id, message in enumerate(messages, last_id + 1)
    )


def downlink_row(queued: Queued) -> DownlinkRow:
    """Return the row of a queued downlink."""
    return DownlinkRow(
        queued.downlink_id,
        queued.dev_eui,
        queued.f_port,
        queued.frm_payload,
        int(queued.confirmed),
        queued.priority,
        queued.created_utc_ms,
        queued.expires_utc_ms,
        queued.attempts,
    )


def mac_rows(session: Session, before: MacState | None) -> tuple[MacStateRow, ...]:
    """Return what to write of a session's MAC state if it is another than before."""
    if session.mac is None or session.mac is before:
        return ()
    return (MacStateRow(session.session_id, session.mac.dumps()),)


def session_row(session: Session, nwk_s_key: bytes, app_s_key: bytes) -> SessionRow:
    """Return the row of a new session."""
    return SessionRow(
        session.session_id,
        session.dev_eui,
        session.dev_addr,
        nwk_s_key,
        app_s_key,
        session.app_nonce,
        int(session.confirmed),
        session.created_utc_ms,
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
    mac_states: tuple[MacStateRow, ...],
    tried: tuple[tuple[int, int], ...],
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
        mac_states=mac_states,
        tried_downlinks=tried,
    )


def held_row(dev_eui: bytes, plain: Plain, meta: UplinkMeta) -> HeldRow:
    """Return an uplink with a message that is told when the time is known."""
    assert plain.f_port is not None
    return HeldRow(dev_eui, plain.f_port, plain.frm_payload, json.dumps(asdict(meta)))


def held(row: HeldRow, from_utc_ms: int, by_ms: int) -> tuple[Plain, UplinkMeta]:
    """Return it again; if it was received from ``from_utc_ms`` on, ``by_ms`` later."""
    meta = UplinkMeta(**json.loads(row.meta))
    if meta.received_utc_ms >= from_utc_ms:
        meta = replace(meta, received_utc_ms=meta.received_utc_ms + by_ms)
    return Plain(row.f_port, row.frm_payload, b""), meta


def source_state(claim: SourceClaim) -> Record:
    """Return where a device of another network server stands now."""
    return Record(sources=(SourceRow(claim.source_id, claim.dev_eui, claim.state),))


def source_record(
    uplink: SourceUplink,
    claim: SourceClaim,
    message: Uplink | str | None,
    state: tuple[str, AssetState] | None,
    outbox: tuple[OutboxRow, ...],
) -> Record:
    """Return an uplink of another network server, which has no session of ours."""
    return Record(
        uplinks=(
            UplinkRow(
                uplink.received_utc_ms,
                uplink.dev_eui,
                _NO_SESSION,
                uplink.f_cnt_up,
                uplink.f_port,
                uplink.frm_payload,
                message if isinstance(message, str) else None,
                uplink.freq_hz,
                -1 if uplink.dr is None else uplink.dr,
                json.dumps(
                    [[one.gateway_id, one.rssi_dbm, one.snr_db] for one in uplink.receptions]
                ),
            ),
        ),
        latest=() if state is None else (LatestRow(state[0], states.dumps(state[1])),),
        outbox=outbox,
        sources=(SourceRow(claim.source_id, claim.dev_eui, claim.state),),
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
        sessions=(session_row(session, activation.nwk_s_key, activation.app_s_key),),
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

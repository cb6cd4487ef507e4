"""What the gateway keeps in memory: read from the store at the start, ahead of it from then on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan.regions import Region

from stoep_gateway.assets import configuration, states
from stoep_gateway.assets.states import AssetState
from stoep_gateway.integrations import ledger
from stoep_gateway.integrations.ledger import Ledger
from stoep_gateway.lns.join import DevNonces
from stoep_gateway.lns.mac_state import MacState
from stoep_gateway.lns.queue import DownlinkQueue, Queued
from stoep_gateway.lns.sessions import Session, Sessions
from stoep_gateway.store.records import ConfigurationRow, ContextRow, State

__all__ = ["Memory", "of"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """What is known of devices and assets, and the last numbers that were given."""

    sessions: Sessions
    nonces: DevNonces
    states: dict[str, AssetState]
    queue: DownlinkQueue
    ledger: Ledger
    last_outbox_id: int = 0
    last_session_id: int = 0
    last_downlink_id: int = 0
    configurations: dict[bytes, ConfigurationRow] = field(default_factory=dict)
    contexts: tuple[ContextRow, ...] = ()  # what the context broker has still to be told


def of(state: State, region: Region) -> Memory:
    """Return what a store held; what cannot be read or used of it starts afresh, and is told."""
    mac_states: dict[int, MacState] = {}
    for mac in state.mac_states:
        try:
            mac_state = MacState.loads(mac.state)
        except ValueError as error:
            _log.warning("what session %d had accepted is unreadable: %s", mac.session_id, error)
            continue
        if mac_state.fits(region):
            mac_states[mac.session_id] = mac_state
        else:
            _log.warning("session %d is of another region than %s", mac.session_id, region.name)
    kept: dict[str, AssetState] = {}
    for row in state.latest:
        try:
            kept[row.asset] = states.loads(row.asset, row.state)
        except ValueError as error:
            _log.warning("what was known of %s is unreadable: %s", row.asset, error)
    standings = []
    for source in state.sources:
        try:
            standing = ledger.loads(source.state)
        except ValueError as error:
            _log.warning("where %s stands is unreadable: %s", source.dev_eui.hex(), error)
        else:
            standings.append((source.source, source.dev_eui, standing))
    configurations: dict[bytes, ConfigurationRow] = {}
    for wanted in state.configurations:
        try:
            configuration.hash_of(wanted.payload)
        except DecodeError as error:
            _log.warning("what %s shall do is unreadable: %s", wanted.dev_eui.hex(), error)
        else:
            configurations[wanted.dev_eui] = wanted
    sessions = [
        Session(
            row.session_id,
            row.dev_eui,
            row.dev_addr,
            row.nwk_s_key,
            row.app_s_key,
            row.app_nonce,
            confirmed=bool(row.confirmed),
            f_cnt_up=f_cnt_up,
            f_cnt_down=f_cnt_down,
            created_utc_ms=row.created_utc_ms,
            mac=mac_states.get(row.session_id),
        )
        for row, f_cnt_up, f_cnt_down in state.sessions
    ]
    return Memory(
        Sessions(sessions),
        DevNonces(
            (
                (row.dev_eui, row.dev_nonce, row.app_nonce, bool(row.forgiven))
                for row in state.nonces
            ),
            state.app_nonce_floor,
        ),
        kept,
        DownlinkQueue(
            Queued(
                row.downlink_id,
                row.dev_eui,
                row.f_port,
                row.frm_payload,
                bool(row.confirmed),
                row.priority,
                row.created_utc_ms,
                row.expires_utc_ms,
                row.attempts,
            )
            for row in state.downlinks
        ),
        Ledger(standings),
        state.last_outbox_id,
        state.last_session_id,
        state.last_downlink_id,
        configurations,
        state.contexts,
    )

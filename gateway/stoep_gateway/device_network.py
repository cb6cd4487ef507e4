"""What the commands of ``stoep device`` need of the network server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stoep_gateway.assets.registry import Registry
from stoep_gateway.assets.states import DeviceState
from stoep_gateway.config_model import DeviceConfig
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.mac_state import MacState
from stoep_gateway.store.records import ConfigurationRow, DeviceRow
from stoep_gateway.store.sealing import Sealer

__all__ = ["Activity", "Changes", "DeviceNetwork"]


@dataclass(frozen=True, slots=True)
class Activity:
    """What is known of a device beside its registration; None: nothing yet.

    ``dev_addr`` and the counters are those of the newest session on which it was heard, or else of
    the newest: ``f_cnt_up`` the last accepted, ``f_cnt_down`` the next. ``dev_nonces`` are those
    used and not forgiven, ``queued`` the downlinks that wait, ``mac`` what it has accepted by MAC
    command, ``configuration`` the one that is wanted of it, ``health`` what it says of itself.
    """

    dev_addr: int | None = None
    joined_utc_ms: int | None = None
    f_cnt_up: int | None = None
    f_cnt_down: int | None = None
    last_heard_utc_ms: int | None = None
    dev_nonces: int = 0
    queued: int = 0
    mac: MacState | None = None
    configuration: ConfigurationRow | None = None
    health: DeviceState | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """One transaction's worth of changes to devices, each known by its DevEUI.

    ``rows`` are added or replaced; ``removed`` ones leave the registry, too; of ``forgiven`` ones
    the DevNonces so far count no more; of ``ended`` ones all sessions end and what waits for them
    is flushed; after that the ``personalised`` ones (ABP) begin a session at counters 0.
    """

    rows: tuple[DeviceRow, ...] = ()
    removed: tuple[bytes, ...] = ()
    forgiven: tuple[bytes, ...] = ()
    ended: tuple[bytes, ...] = ()
    personalised: tuple[DeviceConfig, ...] = ()


class DeviceNetwork(Protocol):
    """The network server as the commands see it."""

    @property
    def registry(self) -> Registry:
        """The devices; the commands change them, and call ``record`` before anything else runs."""

    @property
    def sealer(self) -> Sealer:
        """What seals keys for the store."""

    def utc_ms(self) -> int:
        """Return the gateway's time."""

    def activity(self, dev_eui: bytes) -> Activity:
        """Look a device up in sessions, nonces, queue and memory."""

    async def record(self, changes: Changes) -> None:
        """Apply changes to sessions, nonces and queue at once; return when all are durable.

        Up to where it first waits it has handed them to the store.
        """

    async def enqueue(
        self,
        dev_eui: bytes,
        f_port: int,
        frm_payload: bytes,
        *,
        confirmed: bool,
        priority: int,
        expires_utc_ms: int | None,
    ) -> int | Rejected:
        """Queue a downlink durably; return its id. Rejected: such as ``queue_full``."""

    async def configure(self, dev_eui: bytes, payload: bytes) -> None:
        """Want the configuration with this payload of a device, durably, and send it."""

    async def flush(self, dev_eui: bytes) -> int:
        """Forget what waits for a device, durably; return how many."""

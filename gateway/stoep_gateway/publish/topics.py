"""From a decoded uplink to what is published of it. Pure: no clock, no broker, no store.

The caller gives the state it keeps under `state_key`, and stores the one it gets back together
with the messages, in one transaction. Messages and their fields are described in docs/mqtt.md and
in the JSON Schemas beside this module, one per ``kind``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoep_protocol.messages import BayReport, BinReport, ConfigurationAck, Status

from stoep_gateway.assets.registry import Bay, Container, Device, Gateway
from stoep_gateway.assets.states import AssetState, BayState, ContainerState, DeviceState
from stoep_gateway.decode import Uplink
from stoep_gateway.publish import bays, containers, devices
from stoep_gateway.publish.messages import OutboxMessage, Outputs, UplinkMeta, encode, utc

__all__ = [
    "GatewayStatus",
    "OutboxMessage",
    "Outputs",
    "UplinkMeta",
    "gateway_outputs",
    "join_outputs",
    "state_key",
    "uplink_outputs",
]


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What is known of a forwarder: its own counters (None: not said) and ours.

    ``rejected`` counts what was not accepted from it since the start, by reason.
    """

    online: bool
    last_seen_utc_ms: int | None
    rx_received: int | None = None
    rx_ok: int | None = None
    rx_forwarded: int | None = None
    tx_received: int | None = None
    tx_emitted: int | None = None
    push_acknowledged_pct: float | None = None
    uplinks_accepted: int = 0
    downlinks_sent: int = 0
    rejected: Mapping[str, int] | None = None


def state_key(device: Device, message: Uplink) -> str | None:
    """Return the key of the state that a message changes; None if it changes none."""
    if isinstance(message, Status):
        return device.key
    asset = device.asset
    if (isinstance(message, BinReport) and isinstance(asset, Container)) or (
        isinstance(message, BayReport) and isinstance(asset, Bay)
    ):
        return asset.key
    return None


def uplink_outputs(
    device: Device, message: Uplink, meta: UplinkMeta, previous: AssetState | None
) -> Outputs:
    """Return what an uplink causes: messages in the order to publish, and the state to keep.

    ``previous`` is the state under `state_key`, None when there is none yet.
    """
    asset = device.asset
    if isinstance(message, BinReport) and isinstance(asset, Container):
        before = previous if isinstance(previous, ContainerState) else None
        return containers.outputs(device, asset, message, meta, before)
    if isinstance(message, BayReport) and isinstance(asset, Bay):
        earlier = previous if isinstance(previous, BayState) else None
        return bays.outputs(device, asset, message, meta, earlier)
    if isinstance(message, Status):
        known = previous if isinstance(previous, DeviceState) else None
        return devices.status_outputs(device, message, meta, known)
    if isinstance(message, ConfigurationAck):
        return devices.configuration_outputs(device, message, meta)
    return Outputs((), None, "no_asset" if asset is None else "wrong_asset")


def join_outputs(
    device: Device, event_id: str, joined_utc_ms: int, dev_addr: int
) -> tuple[OutboxMessage, ...]:
    """Return what is published when a device has joined under the address ``dev_addr``."""
    return (devices.joined(device, event_id, joined_utc_ms, dev_addr),)


def gateway_outputs(
    gateway: Gateway, event_id: str, now_utc_ms: int, status: GatewayStatus
) -> tuple[OutboxMessage, ...]:
    """Return the retained state of a forwarder."""
    seen = status.last_seen_utc_ms
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(now_utc_ms),
            "online": status.online,
            "last_seen_utc": None if seen is None else utc(seen),
            "rx_received": status.rx_received,
            "rx_ok": status.rx_ok,
            "rx_forwarded": status.rx_forwarded,
            "tx_received": status.tx_received,
            "tx_emitted": status.tx_emitted,
            "push_acknowledged_pct": status.push_acknowledged_pct,
            "uplinks_accepted": status.uplinks_accepted,
            "downlinks_sent": status.downlinks_sent,
            "rejected": dict(status.rejected or {}),
        },
        gateway.fixed_json,
    )
    return (OutboxMessage(gateway.state_topic, payload, True, "gateway_state", event_id),)

"""From a decoded uplink to what is published of it. Pure: no clock, no broker, no store.

The caller gives the state it keeps under `state_key`, and stores the one it gets back together
with the messages, in one transaction. Messages and their fields are described in docs/mqtt.md and
in the JSON Schemas beside this module, one per ``kind``.
"""

from __future__ import annotations

from collections.abc import Mapping

from stoep_protocol.calibration import Calibrated
from stoep_protocol.messages import BayReport, BinReport, ConfigurationAck, Status

from stoep_gateway.assets.registry import Bay, Container, Device
from stoep_gateway.assets.states import AssetState, BayState, ContainerState, DeviceState
from stoep_gateway.collections.coming import Coming
from stoep_gateway.decode import Uplink
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight.flaps import GUESSED_L
from stoep_gateway.lns.queue import Ended
from stoep_gateway.publish import bays, containers, devices
from stoep_gateway.publish.messages import OutboxMessage, Outputs, UplinkMeta

__all__ = [
    "OutboxMessage",
    "Outputs",
    "UplinkMeta",
    "downlink_output",
    "join_outputs",
    "state_key",
    "uplink_outputs",
]


def state_key(device: Device, message: Uplink) -> str | None:
    """Return the key of the state that a message changes; None if it changes none."""
    if isinstance(message, Status | Calibrated):
        return device.key
    asset = device.asset
    if (isinstance(message, BinReport) and isinstance(asset, Container)) or (
        isinstance(message, BayReport) and isinstance(asset, Bay)
    ):
        return asset.key
    return None


def uplink_outputs(
    device: Device,
    message: Uplink,
    meta: UplinkMeta,
    previous: AssetState | None,
    litres_per_flap: float = GUESSED_L,
    forecasts: Forecasts | None = None,
    coming: Mapping[str, tuple[Coming, ...]] | None = None,
) -> Outputs:
    """Return what an uplink causes: messages in the order to publish, and the state to keep.

    ``previous`` is the state under `state_key`, None when there is none yet; ``litres_per_flap``
    what one opening of a container's lid brings until that is learned. ``forecasts`` learn from it;
    ``coming`` are the planned stops by container id.
    """
    asset = device.asset
    if isinstance(message, BinReport) and isinstance(asset, Container):
        before = previous if isinstance(previous, ContainerState) else None
        of = litres_per_flap, forecasts, coming
        return containers.outputs(device, asset, message, meta, before, *of)
    if isinstance(message, BayReport) and isinstance(asset, Bay):
        earlier = previous if isinstance(previous, BayState) else None
        return bays.outputs(device, asset, message, meta, earlier)
    if isinstance(message, Status):
        known = previous if isinstance(previous, DeviceState) else None
        return devices.status_outputs(device, message, meta, known)
    if isinstance(message, Calibrated):
        before_it = previous if isinstance(previous, DeviceState) else None
        return devices.calibrated_outputs(device, message, meta, before_it)
    if isinstance(message, ConfigurationAck):
        return devices.configuration_outputs(device, message, meta)
    return Outputs((), None, "no_asset" if asset is None else "wrong_asset")


def downlink_output(device: Device, ended: Ended, utc_ms: int) -> OutboxMessage:
    """Return the event of a queued downlink that has ended, or of an attempt that has failed."""
    return devices.downlink(device, ended, utc_ms)


def join_outputs(
    device: Device, event_id: str, joined_utc_ms: int, dev_addr: int
) -> tuple[OutboxMessage, ...]:
    """Return what is published when a device has joined under the address ``dev_addr``."""
    return (devices.joined(device, event_id, joined_utc_ms, dev_addr),)

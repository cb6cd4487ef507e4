"""What the log says of an uplink: its one line, or why it was rejected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from stoep_protocol import schema

from stoep_gateway.assets.registry import Device, Gateway
from stoep_gateway.assets.states import AssetState, BayState, ContainerState, DeviceState
from stoep_gateway.lns.frames import Rejected, UplinkFrameSet
from stoep_gateway.log import fields
from stoep_gateway.publish.messages import UplinkMeta

__all__ = ["entry", "names", "of_rejection"]

_DEV_EUI = re.compile(r"[0-9a-f]{16}(?= |$)")
_NO_DEVICE = ("gateway_", "gwmp_", "rxpk_", "station_")  # reasons whose detail names a gateway
_BAYS = {schema.FREE: "free", schema.OCCUPIED: "occupied", schema.UNCERTAIN: "uncertain"}


def entry(
    device: Device,
    meta: UplinkMeta,
    f_port: int | None,
    gateways: Iterable[str],
    state: AssetState | None,
    undecodable: str | None = None,
    *,
    answered: bool = False,
) -> tuple[str, str]:
    """Return a message and its fields for ``log.uplinks``; ``gateways`` the best one first.

    All of it comes from our own configuration and decoders: nothing has to be escaped.
    """
    heard = tuple(gateways)
    way = f"gateways={','.join(heard)}" if device.source is None else f"source={device.source}"
    asset = "" if device.asset is None else f" asset={device.asset.key}"
    message = (
        f"uplink dev_eui={device.dev_eui_hex}{asset} f_cnt_up={meta.f_cnt_up} f_port={f_port}"
        f" dr={meta.dr} rssi={meta.rssi_dbm} snr={meta.snr_db} {way}"
        f"{_said(state) if undecodable is None else f' undecodable={undecodable}'}"
        f"{' answered' if answered else ''}"
    )
    named = (
        f"EVENT=uplink\nDEV_EUI={device.dev_eui_hex}\nF_CNT_UP={meta.f_cnt_up}\nDR={meta.dr}\n"
        + (f"ASSET={device.asset.key}\n" if device.asset is not None else "")
        + "".join([f"GATEWAY={name}\n" for name in heard])
    )
    return message, named


def names(frame_set: UplinkFrameSet, gateways: Mapping[bytes, Gateway]) -> list[str]:
    """Return the ids of who heard it; the EUI of one that has left the configuration meanwhile."""
    euis = [it.gateway_eui for it in frame_set.receptions]
    return [gateways[eui].id if eui in gateways else eui.hex() for eui in euis]


def of_rejection(rejected: Rejected) -> dict[str, object]:
    """Return the journal's fields of a rejection."""
    device = None
    if not rejected.reason.startswith(_NO_DEVICE):
        device = _DEV_EUI.match(rejected.detail)
    return fields(
        "rejected",
        ("REASON", rejected.reason),
        ("DEV_EUI", None if device is None else device[0]),
        ("GATEWAY_EUI", rejected.gateway_eui.hex() or None),
    )


def _said(state: AssetState | None) -> str:
    if isinstance(state, ContainerState):
        fill = "none" if state.track is None else f"{state.track.fill_pct:g}"
        return f" fill={fill} quality={state.quality}"
    if isinstance(state, BayState):
        return f" state={_BAYS[state.state]}"
    if isinstance(state, DeviceState):
        return f" battery_mv={state.battery_mv}"
    return ""

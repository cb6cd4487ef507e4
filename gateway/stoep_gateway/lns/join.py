"""Over-the-air activation, LoRaWAN 1.0.x: from a join-request to a session and a join-accept.

``activate`` decides and computes; it changes nothing. Its ``Activation`` becomes durable (nonce and
session in one transaction) before the accept leaves, so that no nonce is ever answered twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from stoep_protocol.lorawan.crypto import derive_session_keys
from stoep_protocol.lorawan.network_frames import (
    JoinRequest,
    encode_join_accept,
    verify_join_request,
)

from stoep_gateway.assets.registry import Device
from stoep_gateway.lns.crypto import new_key
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.mac_state import Target

__all__ = ["Activation", "DevNonces", "activate", "dev_addr_of"]

_MAX_APP_NONCE = 0xFF_FFFF
_COUNTS_UP = "1.0.4"
# By NetID type: bits of the DevAddr prefix that says it, and of the NwkID (LoRaWAN Backend
# Interfaces 1.0, 14).
_ADDRESS_SHAPES = ((1, 6), (2, 6), (3, 9), (4, 11), (5, 12), (6, 13), (7, 15), (8, 17))


class DevNonces:
    """Every DevNonce that a device used, and the last AppNonce it was given.

    ``used`` are (DevEUI, DevNonce, AppNonce, whether it was forgiven). Any device may have been
    given AppNonces up to ``floor``, though nothing is known of it: the store was restored.
    """

    def __init__(self, used: Iterable[tuple[bytes, int, int, bool]] = (), floor: int = 0) -> None:
        self._floor = floor
        self._used: dict[bytes, set[int]] = {}
        self._last_app_nonce: dict[bytes, int] = {}
        for dev_eui, dev_nonce, app_nonce, forgiven in used:
            self._give(dev_eui, app_nonce)
            if not forgiven:
                self._used.setdefault(dev_eui, set()).add(dev_nonce)

    def remember(self, dev_eui: bytes, dev_nonce: int, app_nonce: int) -> None:
        """Take note of an activation; the caller makes it durable."""
        self._used.setdefault(dev_eui, set()).add(dev_nonce)
        self._give(dev_eui, app_nonce)

    def forgive(self, dev_eui: bytes) -> None:
        """Let a device that was flashed anew use its nonces again; the caller makes it durable."""
        self._used.pop(dev_eui, None)

    def count(self, dev_eui: bytes) -> int:
        """Return how many nonces a device used that were not forgiven."""
        return len(self._used.get(dev_eui, ()))

    def is_replayed(self, dev_eui: bytes, dev_nonce: int, *, counts_up: bool) -> bool:
        """Whether this nonce may not come.

        LoRaWAN 1.0.4 counts them up (6.2.4.1); earlier versions draw lots, and none comes twice.
        """
        used = self._used.get(dev_eui)
        if not used:
            return False
        return dev_nonce <= max(used) if counts_up else dev_nonce in used

    def next_app_nonce(self, dev_eui: bytes) -> int:
        """Return an AppNonce that this device was never given: they count from 1."""
        return max(self._last_app_nonce.get(dev_eui, 0), self._floor) + 1

    def _give(self, dev_eui: bytes, app_nonce: int) -> None:
        self._last_app_nonce[dev_eui] = max(app_nonce, self._last_app_nonce.get(dev_eui, 0))


@dataclass(frozen=True, slots=True)
class Activation:
    """An accepted join: what to write, then the join-accept to send."""

    dev_eui: bytes
    dev_nonce: int
    app_nonce: int
    dev_addr: int
    nwk_s_key: bytes
    app_s_key: bytes
    join_accept: bytes


def activate(
    request: JoinRequest,
    phy_payload: bytes,
    device: Device | None,
    nonces: DevNonces,
    net_id: int,
    target: Target,
) -> Activation | Rejected:
    """Answer a join-request of ``device``, the one with its DevEUI.

    Rejected: ``unknown_dev_eui``, ``device_disabled``, ``device_does_not_join``, ``join_mic``,
    ``join_eui``, ``dev_nonce_replayed``, ``app_nonce_exhausted``. The MIC comes before all that
    needs a secret, so that a stranger learns nothing of the nonces.
    """
    who = request.dev_eui.hex()
    if device is None:
        return Rejected("unknown_dev_eui", who)
    if not device.enabled:
        return Rejected("device_disabled", who)
    if device.app_key is None:
        return Rejected("device_does_not_join", who)
    app_key = new_key(device.app_key)
    if not verify_join_request(phy_payload, app_key):
        return Rejected("join_mic", who)
    if request.join_eui != device.join_eui:
        return Rejected("join_eui", f"{who} asks for {request.join_eui.hex()}")
    if nonces.is_replayed(
        request.dev_eui, request.dev_nonce, counts_up=device.lorawan == _COUNTS_UP
    ):
        return Rejected("dev_nonce_replayed", f"{who} {request.dev_nonce}")
    app_nonce = nonces.next_app_nonce(request.dev_eui)
    if app_nonce > _MAX_APP_NONCE:
        return Rejected("app_nonce_exhausted", who)
    dev_addr = dev_addr_of(net_id, request.dev_eui, app_nonce)
    nwk_s_key, app_s_key = derive_session_keys(app_key, app_nonce, net_id, request.dev_nonce)
    join_accept = encode_join_accept(
        app_key,
        app_nonce,
        net_id,
        dev_addr,
        target.rx1_dr_offset,
        target.rx2_dr,
        target.rx1_delay_s,
        target.plan.cf_list,
    )
    return Activation(
        request.dev_eui,
        request.dev_nonce,
        app_nonce,
        dev_addr,
        nwk_s_key,
        app_s_key,
        join_accept,
    )


def dev_addr_of(net_id: int, dev_eui: bytes, app_nonce: int) -> int:
    """Return the DevAddr of an activation: under the NetID, spread by a hash.

    The same activation always gets the same address. Two devices may share one; the MIC tells them
    apart.
    """
    net_type = net_id >> 21
    prefix_bits, nwk_id_bits = _ADDRESS_SHAPES[net_type]
    prefix = (1 << prefix_bits) - 2  # type n: n ones, then a zero
    nwk_id = net_id & ((1 << nwk_id_bits) - 1)
    host_bits = 32 - prefix_bits - nwk_id_bits
    digest = hashlib.sha256(dev_eui + app_nonce.to_bytes(3, "big")).digest()
    host = int.from_bytes(digest[:4], "big") & ((1 << host_bits) - 1)
    return (prefix << nwk_id_bits | nwk_id) << host_bits | host

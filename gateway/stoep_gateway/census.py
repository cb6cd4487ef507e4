"""How many containers, bays and devices are in which state, and which devices are silent. Pure.

Every board says something at least once a day, whatever it was told (docs/operator.md): one that is
silent for longer than ``SILENT_MS``, or than three of its intervals, has a trouble of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stoep_protocol import schema

from stoep_gateway.assets.registry import Device, Registry
from stoep_gateway.assets.states import AssetState, BayState, ContainerState
from stoep_gateway.lns.sessions import Session

__all__ = ["SILENT_MS", "Census", "Silent", "patience_ms", "take"]

SILENT_MS = 26 * 3_600_000  # a day, and what a late daily report may be late
_INTERVALS = 3
_BAYS = {schema.FREE: "free", schema.OCCUPIED: "occupied", schema.UNCERTAIN: "uncertain"}
_QUALITIES = ("unchecked", "rejected", "likely_wrong", "suspicious", "good")


@dataclass(frozen=True, slots=True)
class Silent:
    """A device that was heard once and is no more."""

    device: Device
    heard_utc_ms: int


@dataclass(frozen=True, slots=True)
class Census:
    """Counts by state; every state is there, with 0 where nothing is in it.

    Containers and devices: ``heard``, ``silent``, ``never_heard``; devices ``disabled``, too. Bays:
    ``free``, ``occupied``, ``uncertain``, ``silent``, ``never_heard``. ``readings`` are the newest
    ones of containers by quality.
    """

    containers: Mapping[str, int]
    bays: Mapping[str, int]
    devices: Mapping[str, int]
    readings: Mapping[str, int]
    silent: tuple[Silent, ...]


def take(
    registry: Registry,
    states: Mapping[str, AssetState],
    sessions: Iterable[Session],
    utc_ms: int,
) -> Census:
    """Count what the registry has, by what is known of it at ``utc_ms``."""
    containers = Counter(dict.fromkeys(("heard", "silent", "never_heard"), 0))
    readings = Counter(dict.fromkeys(_QUALITIES, 0))
    bays = Counter(dict.fromkeys((*_BAYS.values(), "silent", "never_heard"), 0))
    for key in registry.assets:
        state = states.get(key)
        if key.startswith("bay/"):
            bays[_bay(state, utc_ms)] += 1
        elif isinstance(state, ContainerState) and state.sequence >= 0:
            containers["silent" if _is_silent(state, utc_ms) else "heard"] += 1
            readings[_QUALITIES[state.quality]] += 1
        else:
            containers["never_heard"] += 1
    on_the_air = {
        session.dev_eui: session.heard_utc_ms
        for session in sessions
        if session.heard_utc_ms is not None
    }
    devices = Counter(dict.fromkeys(("heard", "silent", "never_heard", "disabled"), 0))
    silent = []
    for device in registry.devices.values():
        if not device.enabled:
            devices["disabled"] += 1
            continue
        asset = None if device.asset is None else states.get(device.asset.key)
        told = (on_the_air.get(device.dev_eui), _told(asset), _told(states.get(device.key)))
        heard_ms = max((it for it in told if it is not None), default=None)
        if heard_ms is None:
            devices["never_heard"] += 1
        elif utc_ms - heard_ms > patience_ms(asset):
            devices["silent"] += 1
            silent.append(Silent(device, heard_ms))
        else:
            devices["heard"] += 1
    return Census(containers, bays, devices, readings, tuple(silent))


def _bay(state: AssetState | None, utc_ms: int) -> str:
    if not isinstance(state, BayState):
        return "never_heard"
    return "silent" if _is_silent(state, utc_ms) else _BAYS[state.state]


def _is_silent(state: AssetState, utc_ms: int) -> bool:
    return utc_ms - (_told(state) or 0) > patience_ms(state)


def _told(state: AssetState | None) -> int | None:
    if state is None:
        return None
    if isinstance(state, ContainerState):
        return state.measured_ms if state.sequence >= 0 else None
    return state.reported_ms


def patience_ms(state: AssetState | None, wanted_ms: int | None = None) -> int:
    """Return for how long the board of an asset in this state may be silent.

    ``wanted_ms`` is the interval that it was told to report at.
    """
    interval_ms = state.interval_ms if isinstance(state, ContainerState) else None
    return max(SILENT_MS, _INTERVALS * (interval_ms or 0), _INTERVALS * (wanted_ms or 0))

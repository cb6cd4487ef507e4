"""The values that travel between forwarders and network server; no behaviour, no input or output.

EUIs are 8 octets big-endian. ``now`` and every ``_ms`` are the gateway clock's milliseconds;
``tmst_us`` is a concentrator's own counter, microseconds mod 2^32.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Downlink",
    "Rejected",
    "Tick",
    "Transmit",
    "Transmitted",
    "UplinkFrame",
    "UplinkFrameSet",
    "Window",
]


@dataclass(frozen=True, slots=True)
class UplinkFrame:
    """One reception of a PHYPayload by one gateway."""

    phy_payload: bytes
    gateway_eui: bytes
    tmst_us: int
    freq_hz: int
    sf: int
    bw_hz: int
    rssi_dbm: float
    snr_db: float
    received_ms: int


@dataclass(frozen=True, slots=True)
class UplinkFrameSet:
    """One transmission with all its receptions, best signal first."""

    phy_payload: bytes
    receptions: tuple[UplinkFrame, ...]
    received_ms: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """An expected end of a frame or datagram; ``reason`` is the label under which it is counted.

    ``gateway_eui`` is empty where no registered gateway can be named.
    """

    reason: str
    detail: str = ""
    gateway_eui: bytes = b""


@dataclass(frozen=True, slots=True)
class Tick:
    """A machine's ``next_deadline`` has come."""


@dataclass(frozen=True, slots=True)
class Window:
    """When and how a device listens: ``delay_us`` after the end of its uplink."""

    delay_us: int
    freq_hz: int
    sf: int
    bw_hz: int
    power_dbm: int


@dataclass(frozen=True, slots=True)
class Downlink:
    """A frame for a device that has just been heard.

    ``windows`` in the order in which they open, ``receptions`` the best first: the first gateway
    that accepts a window sends it.
    """

    downlink_id: int
    kind: str
    dev_eui: bytes
    phy_payload: bytes
    windows: tuple[Window, ...]
    receptions: tuple[UplinkFrame, ...]


@dataclass(frozen=True, slots=True)
class Transmit:
    """Ask one gateway to send at ``tmst_us`` of its counter, power as EIRP."""

    downlink_id: int
    gateway_eui: bytes
    tmst_us: int
    freq_hz: int
    sf: int
    bw_hz: int
    power_dbm: int
    phy_payload: bytes


@dataclass(frozen=True, slots=True)
class Transmitted:
    """What a gateway said about a ``Transmit``: accepted when ``error`` is empty."""

    downlink_id: int
    gateway_eui: bytes
    error: str
    warning: str = ""

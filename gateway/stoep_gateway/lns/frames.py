"""The values that travel between forwarders and network server; no behaviour, no input or output.

EUIs are 8 octets big-endian. ``now`` and every ``_ms`` are the gateway clock's milliseconds;
``tmst_us`` is a concentrator's own counter, microseconds mod 2^32.
"""

from __future__ import annotations

from stoep_gateway.values import value

__all__ = [
    "MAY_HAVE_SENT",
    "Downlink",
    "Rejected",
    "Tick",
    "Transmit",
    "Transmitted",
    "UplinkFrame",
    "UplinkFrameSet",
    "Window",
]

MAY_HAVE_SENT = frozenset({"NO_TX_ACK", "NO_DNTXED"})  # errors of a gateway that said nothing


@value
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
    context: tuple[int, int] | None = None  # Basics Station's (xtime, rctx), echoed untouched


@value
class UplinkFrameSet:
    """One transmission with all its receptions, best signal first."""

    phy_payload: bytes
    receptions: tuple[UplinkFrame, ...]
    received_ms: int


@value
class Rejected:
    """An expected end of a frame or datagram; ``reason`` is the label under which it is counted.

    ``gateway_eui`` is empty where no registered gateway can be named.
    """

    reason: str
    detail: str = ""
    gateway_eui: bytes = b""


@value
class Tick:
    """A machine's ``next_deadline`` has come."""


@value
class Window:
    """When and how a device listens: ``delay_us`` after the end of its uplink.

    ``dr`` says the same as ``sf`` and ``bw_hz``, as the region's downlink data rate. A device of
    Class C that listens all the time has one window with ``delay_us`` 0.
    """

    delay_us: int
    freq_hz: int
    sf: int
    bw_hz: int
    power_dbm: int
    dr: int = 0


@value
class Downlink:
    """A frame for a device.

    ``windows`` in the order in which they open: the first gateway that accepts a window sends it.
    ``receptions`` of the uplink that it answers, best first; with ``at_once`` (Class C) those of
    the device's last uplink, which only say who is likely to reach it. ``priority``: the larger
    goes first where not all can go.
    """

    downlink_id: int
    kind: str
    dev_eui: bytes
    phy_payload: bytes
    windows: tuple[Window, ...]
    receptions: tuple[UplinkFrame, ...]
    at_once: bool = False
    priority: int = 0


@value
class Transmit:
    """Ask one gateway to send, power as EIRP.

    At ``tmst_us`` of its concentrator's counter, or ``at_once``. A Basics Station gets in its place
    ``context`` of the reception and the window as delay and data rate; it may use ``fallback`` when
    it misses ``window`` and tells so only by the frequency.
    """

    downlink_id: int
    gateway_eui: bytes
    tmst_us: int
    freq_hz: int
    sf: int
    bw_hz: int
    power_dbm: int
    phy_payload: bytes
    dev_eui: bytes = b""
    at_once: bool = False
    priority: int = 0
    context: tuple[int, int] | None = None
    window: Window | None = None
    fallback: Window | None = None


@value
class Transmitted:
    """What a gateway said about a ``Transmit``: accepted when ``error`` is empty.

    ``used_fallback``: it went out in that window and not in the one asked for.
    """

    downlink_id: int
    gateway_eui: bytes
    error: str
    warning: str = ""
    used_fallback: bool = False

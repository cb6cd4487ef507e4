"""The values that travel between another network server's integration and the gateway. Pure.

EUIs are 8 octets big-endian, times UTC in milliseconds. ``heard_utc_ms`` is the other server's own
clock and orders its events; ``received_utc_ms`` is the same but never later than the arrival here,
and is what a reading is dated by: after an outage events come hours late.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, Protocol

from stoep_gateway.lns.frames import Rejected

__all__ = [
    "EventKind",
    "Integration",
    "Reception",
    "SourceDownlink",
    "SourceEvent",
    "SourceUplink",
    "Tags",
]

EventKind = Literal[
    "join", "sent", "acknowledged", "unacknowledged", "refused", "expired", "status", "log"
]

_LARGEST_ID = (1 << 60) - 1
_TAG = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reception:
    """How one gateway of the other network heard an uplink."""

    gateway_id: str
    rssi_dbm: float
    snr_db: float


@dataclass(frozen=True, slots=True)
class SourceUplink:
    """An uplink, decrypted by the other server.

    ``event_key`` names the event for ever, ``session`` the device's activation as far as the server
    tells it apart (its session key's id, else the DevAddr). ``f_port`` None: absent or 0, MAC
    commands alone. ``dr`` None where the server does not tell it; ``sf`` and ``bw_hz`` are 0 when
    it was not LoRa. ``receptions`` best SNR first. ``device_id`` is the server's own name of the
    device.
    """

    source_id: str
    dev_eui: bytes
    event_key: str
    session: str
    f_cnt_up: int
    f_port: int | None
    frm_payload: bytes
    confirmed: bool
    dr: int | None
    sf: int
    bw_hz: int
    freq_hz: int
    receptions: tuple[Reception, ...]
    heard_utc_ms: int
    received_utc_ms: int
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """What else happened to a device.

    ``sent`` (a gateway of theirs took it), ``acknowledged``, ``unacknowledged``, ``refused`` and
    ``expired`` are of the downlink ``downlink_id``, None for one that was not ours. ``dev_eui`` is
    empty where the server names the device by ``device_id`` only: ``Ledger.dev_eui`` knows it.
    ``status`` has a battery level (None: not known; 0 % and 100 % as the server says) and the
    margin of the last downlink.
    """

    source_id: str
    kind: EventKind
    dev_eui: bytes
    event_key: str
    session: str
    heard_utc_ms: int
    received_utc_ms: int
    device_id: str = ""
    downlink_id: int | None = None
    detail: str = ""
    battery_pct: float | None = None
    margin_db: int | None = None


@dataclass(frozen=True, slots=True)
class SourceDownlink:
    """A downlink to hand over; ``device_id`` as the ledger knows it, empty when it does not.

    ``downlink_id`` comes back in the events of the other server; 0 to 2^60 - 1.
    """

    downlink_id: int
    dev_eui: bytes
    f_port: int
    frm_payload: bytes
    confirmed: bool = False
    expires_utc_ms: int | None = None
    device_id: str = ""


class Integration(Protocol):
    """One application of another network server: what its messages mean."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters of everything that ``read`` understands."""

    @property
    def qos(self) -> Literal[0, 1]:
        """The best quality of service that the server's broker gives."""

    def read(
        self, topic: str, payload: bytes, received_utc_ms: int
    ) -> SourceUplink | SourceEvent | Rejected:
        """Return what a message says. Rejected: ``source_topic``, ``source_malformed`` and more."""

    def command(self, downlink: SourceDownlink) -> tuple[str, bytes]:
        """Return topic and payload that hand a downlink over."""


class Tags:
    """Names downlinks so that they are known again when the other server speaks of them.

    A tag is a UUID (RFC 9562, version 8): 60 bits say whose it is, 60 bits are our ``downlink_id``.
    """

    def __init__(self, site: str, source_id: str) -> None:
        digits = hashlib.sha256(f"{site}/{source_id}".encode()).hexdigest()
        self._prefix = f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-8"

    def tag(self, downlink_id: int) -> str:
        """Return the tag of a downlink."""
        digits = f"{downlink_id & _LARGEST_ID:015x}"
        return f"{self._prefix}{digits[:3]}-{digits[3:]}"

    def downlink_id(self, tag: str) -> int | None:
        """Return whose tag it is, None if it is not one of ours."""
        if _TAG.fullmatch(tag) is None or not tag.lower().startswith(self._prefix):
            return None
        return int(tag[len(self._prefix) :].replace("-", ""), 16)

"""What is written to the store: one record is one thing that happens wholly or not at all.

Rows are plain tuples in the order of their table's columns, so that a group of records becomes a
few SQL statements without a loop over fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "OUTBOX_ROW_OCTETS",
    "SOURCES",
    "AirtimeRow",
    "CollectionRow",
    "ConfigurationRow",
    "ContextRow",
    "DecisionRow",
    "DeviceRow",
    "DownlinkRow",
    "ForecastRow",
    "GatewayRow",
    "HeldRow",
    "LatestRow",
    "MacStateRow",
    "NonceRow",
    "OutboxRow",
    "OutcomeRow",
    "PlanRow",
    "ProvisionalRow",
    "Record",
    "RetentionRow",
    "SessionRow",
    "SourceRow",
    "State",
    "UplinkRow",
]


OUTBOX_ROW_OCTETS = 40  # besides topic and payload
SOURCES = ("sensor", "driver", "log")  # of a collection


class SessionRow(NamedTuple):
    """One activation of a device: table ``device_session``."""

    session_id: int
    dev_eui: bytes
    dev_addr: int
    nwk_s_key: bytes
    app_s_key: bytes
    app_nonce: int
    confirmed: int
    created_utc_ms: int


class NonceRow(NamedTuple):
    """A DevNonce that has been used: table ``dev_nonce``; a ``forgiven`` one may come again."""

    dev_eui: bytes
    dev_nonce: int
    app_nonce: int
    joined_utc_ms: int
    forgiven: int = 0


class UplinkRow(NamedTuple):
    """An accepted uplink: table ``uplink`` without its key."""

    received_utc_ms: int
    dev_eui: bytes
    session_id: int
    f_cnt_up: int
    f_port: int | None
    frm_payload: bytes
    undecodable: str | None
    freq_hz: int
    dr: int
    receptions: str


class OutboxRow(NamedTuple):
    """A message to be published: table ``outbox``."""

    outbox_id: int
    kind: str
    topic: str
    payload: bytes
    retain: int
    created_utc_ms: int

    @property
    def octets(self) -> int:
        """About how much room it takes on the disk."""
        return len(self.topic) + len(self.payload) + OUTBOX_ROW_OCTETS


class LatestRow(NamedTuple):
    """The state of an asset as JSON: table ``latest``."""

    asset: str
    state: str


class DeviceRow(NamedTuple):
    """A device that ``stoep device`` manages: table ``device``. Keys are sealed."""

    dev_eui: bytes
    join_eui: bytes
    app_key: bytes | None
    dev_addr: int | None
    nwk_s_key: bytes | None
    app_s_key: bytes | None
    source: str | None
    lorawan: str
    device_class: str
    adr: int
    enabled: int
    name: str | None
    asset: str | None
    created_utc_ms: int
    changed_utc_ms: int
    lat: float | None = None
    lon: float | None = None
    make: str | None = None


class MacStateRow(NamedTuple):
    """What a session's device has accepted by MAC command, as JSON: table ``mac_state``."""

    session_id: int
    state: str


class DownlinkRow(NamedTuple):
    """A downlink that has not ended: table ``downlink``."""

    downlink_id: int
    dev_eui: bytes
    f_port: int
    frm_payload: bytes
    confirmed: int
    priority: int
    created_utc_ms: int
    expires_utc_ms: int | None
    attempts: int


class SourceRow(NamedTuple):
    """Where a device of another network server stands, as JSON: table ``source_device``."""

    source: str
    dev_eui: bytes
    state: str


class AirtimeRow(NamedTuple):
    """A transmission of a gateway that its duty cycle counts: table ``airtime``."""

    ends_utc_ms: int
    gateway_eui: bytes
    freq_hz: int
    airtime_us: int


class ConfigurationRow(NamedTuple):
    """The configuration that a device shall have: table ``device_configuration``.

    ``payload`` is what is wanted since ``wanted_utc_ms``, as it is sent; ``told_hash`` of what the
    device last said is in force; ``refused`` why it did not take the wanted one, or 0; ``tries``
    the downlinks since that was last another; ``since_utc_ms`` when that came to be so.
    """

    dev_eui: bytes
    payload: bytes
    wanted_utc_ms: int
    since_utc_ms: int
    told_hash: int | None
    told_utc_ms: int | None
    refused: int
    tries: int
    next_utc_ms: int


class ContextRow(NamedTuple):
    """A message that a context broker has not been told of: table ``context_backlog``.

    The newest of its topic; ``version`` tells it from those before.
    """

    topic: str
    kind: str
    payload: bytes
    version: int


class GatewayRow(NamedTuple):
    """When a gateway was last heard of, and what it said: table ``gateway``."""

    gateway_eui: bytes
    last_seen_utc_ms: int
    stat: str


class RetentionRow(NamedTuple):
    """The last uplink that a rule of retention is through with: table ``retention``."""

    rule: str
    uplink_id: int


class ForecastRow(NamedTuple):
    """What the forecast learned of a container or a kind, as JSON: table ``forecast``."""

    about: str
    learned: str


class CollectionRow(NamedTuple):
    """An emptying as one ``source`` told it: table ``collection``.

    ``source`` is sensor, log or driver. ``date_only``: of its time only the local date is known,
    whose noon it is. A sensor's time is of its first low level, ``after_utc_ms`` of the one before.
    """

    container: str
    at_utc_ms: int
    source: str
    from_pct: float | None = None
    to_pct: float | None = None
    truck: str | None = None
    weight_kg: float | None = None
    date_only: int = 0
    after_utc_ms: int | None = None


class OutcomeRow(NamedTuple):
    """What became of the stops planned for a local date, as JSON: table ``outcome``."""

    date: str
    stops: str


class PlanRow(NamedTuple):
    """The plan of a local date, as JSON: table ``round_plan``.

    ``emptying_eur`` and ``emptying_pct`` are the running costs when the day began; ``decided`` is
    the number of the last decision that it regards.
    """

    date: str
    provisional: int
    planned_utc_ms: int
    emptying_eur: float
    emptying_pct: float
    decided: int
    plan: str


class DecisionRow(NamedTuple):
    """What somebody decided of the rounds of a local date, as JSON: table ``decision``."""

    number: int
    date: str
    sender: str
    id: str
    said: str


class HeldRow(NamedTuple):
    """An uplink that is told when the time is known: table ``held`` without its key."""

    dev_eui: bytes
    f_port: int
    frm_payload: bytes
    meta: str


class ProvisionalRow(NamedTuple):
    """Since when UTC has been provisional: table ``provisional``."""

    boot_id: str
    boot_ms: int
    from_utc_ms: int


class Record(NamedTuple):
    """One transaction's worth. ``counters`` are claims: (session_id, f_cnt_up, f_cnt_down).

    A claim must move a session's counters forward: either a new ``f_cnt_up``, or the same one with
    a larger ``f_cnt_down`` (a retransmission that is acknowledged again).
    """

    counters: tuple[tuple[int, int, int], ...] = ()
    uplinks: tuple[UplinkRow, ...] = ()
    latest: tuple[LatestRow, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    sessions: tuple[SessionRow, ...] = ()
    nonces: tuple[NonceRow, ...] = ()
    confirmed_sessions: tuple[int, ...] = ()
    ended_sessions: tuple[int, ...] = ()
    gateways: tuple[GatewayRow, ...] = ()
    devices: tuple[DeviceRow, ...] = ()
    removed_devices: tuple[bytes, ...] = ()
    forgiven_devices: tuple[bytes, ...] = ()  # whose DevNonces so far count no more
    mac_states: tuple[MacStateRow, ...] = ()
    downlinks: tuple[DownlinkRow, ...] = ()
    tried_downlinks: tuple[tuple[int, int], ...] = ()  # attempts, downlink_id
    ended_downlinks: tuple[int, ...] = ()
    sources: tuple[SourceRow, ...] = ()
    airtimes: tuple[AirtimeRow, ...] = ()
    configurations: tuple[ConfigurationRow, ...] = ()
    forgotten_uplinks: tuple[int, ...] = ()
    retention: tuple[RetentionRow, ...] = ()
    held: tuple[HeldRow, ...] = ()
    told_held: int = 0  # so many of the oldest
    provisional: tuple[ProvisionalRow, ...] = ()
    planned_date: str = ""
    published: tuple[tuple[int, int], ...] = ()  # ranges of outbox_id, both ends included
    contexts: tuple[ContextRow, ...] = ()
    told_contexts: tuple[tuple[str, int], ...] = ()  # topic, version
    forecasts: tuple[ForecastRow, ...] = ()
    plans: tuple[PlanRow, ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    rounds_from: tuple[tuple[str, str], ...] = ()  # forget plans, decisions of dates before
    collections: tuple[CollectionRow, ...] = ()
    forgotten_collections: tuple[tuple[str, int, int], ...] = ()  # source, from, to (not included)
    outcomes: tuple[OutcomeRow, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What the store held when it was opened."""

    sessions: tuple[tuple[SessionRow, int, int], ...]  # row, f_cnt_up, f_cnt_down
    nonces: tuple[NonceRow, ...]
    latest: tuple[LatestRow, ...]
    devices: tuple[DeviceRow, ...]
    mac_states: tuple[MacStateRow, ...]
    downlinks: tuple[DownlinkRow, ...]
    sources: tuple[SourceRow, ...]
    airtimes: tuple[AirtimeRow, ...]
    configurations: tuple[ConfigurationRow, ...]
    contexts: tuple[ContextRow, ...]
    outbox: tuple[OutboxRow, ...]  # the oldest, at most ``OUTBOX_PAGE``
    last_outbox_id: int
    last_session_id: int
    last_downlink_id: int
    app_nonce_floor: int  # of a database that was restored: all up to it may have been given
    outbox_depth: int = 0
    outbox_octets: int = 0
    newest_utc_ms: int = 0
    held: tuple[HeldRow, ...] = ()
    provisional: ProvisionalRow | None = None
    planned_date: str = ""
    forecasts: tuple[ForecastRow, ...] = ()
    plans: tuple[PlanRow, ...] = ()  # from the last date on that was planned
    decisions: tuple[DecisionRow, ...] = ()
    last_decision: int = 0

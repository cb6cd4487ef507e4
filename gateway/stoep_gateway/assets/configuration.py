"""Which configuration a device shall have, and what it has said of it. Pure.

::

    want ──▶ pending ── an answer with its hash ──▶ in force ── another's, or a join ──▶ pending
                └────── an answer that refuses ───▶ refused ─── a join, or ``want`` ──▶ pending

A configuration replaces the one before it whole, so one hash tells all. A device that could not
store it is asked again, for that may pass; after any other refusal it is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from stoep_protocol import messages, schema
from stoep_protocol.errors import EncodeError
from stoep_protocol.history import gap_code
from stoep_protocol.messages import Configuration, ConfigurationAck

from stoep_gateway.assets.registry import Bay, Container
from stoep_gateway.store.records import ConfigurationRow

__all__ = [
    "FIELDS",
    "MODES",
    "REFUSALS",
    "Standing",
    "acknowledged",
    "compose",
    "fields_of",
    "hash_of",
    "interval_ms",
    "is_due",
    "refusal",
    "restarted",
    "standing",
    "tried",
    "want",
]

Standing = Literal["in_force", "pending", "refused"]

FIELDS = {name: (lowest, highest) for name, lowest, highest in schema.CONFIGURATION}
MODES = {
    "regular": schema.MODE_REGULAR,
    "on_change": schema.MODE_ON_CHANGE,
    "both": schema.MODE_BOTH,
}
REFUSALS = {
    schema.REFUSED_MALFORMED: "malformed",
    schema.REFUSED_RANGE: "range",
    schema.REFUSED_UNSUPPORTED: "unsupported",
    schema.REFUSED_STORAGE: "storage",
}

_AGAIN_MS = 600_000  # after a downlink or its answer was lost; doubled each time
_AGAIN_MOST_MS = 86_400_000
_OF_BAYS = ("bay_threshold_nt", "settle_s")
_OF_CONTAINERS = ("history", "change_cm", "alarm_distance_cm", "alarm_temperature_c")


def compose(fields: Mapping[str, object], asset: Container | Bay | None) -> bytes:
    """Return the payload with these fields, ``mode`` by name.

    Raises `ValueError` for what no configuration can say, or none of a device with that
    asset.
    """
    configuration = Configuration()
    for name, value in fields.items():
        if name not in FIELDS:
            raise ValueError(f"a configuration has no {name!r}: {', '.join(FIELDS)}")
        if name == "mode":
            value = MODES.get(str(value))  # noqa: PLW2901
            if value is None:
                raise ValueError(f"mode is one of {', '.join(MODES)}")
        lowest, highest = FIELDS[name]
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError(f"{name} is a whole number from {lowest} to {highest}")
        setattr(configuration, name, value)
    interval = configuration.interval_min
    if interval is not None and not gap_code(interval):
        below = max(it for it in range(1, interval) if gap_code(it))
        above = min(it for it in range(interval, 1921) if gap_code(it))
        raise ValueError(f"interval_min cannot be {interval}; the nearest are {below} and {above}")
    if asset is not None:
        for name in _OF_BAYS if isinstance(asset, Container) else _OF_CONTAINERS:
            if name in fields:
                raise ValueError(f"{name} says nothing to a device of {asset.key}")
    try:
        return messages.encode(configuration)[1]
    except EncodeError as error:
        raise ValueError(str(error)) from None


def fields_of(payload: bytes) -> dict[str, int | str]:
    """Return what a payload says, ``mode`` by name. Raises `DecodeError`."""
    configuration = messages.decode(schema.F_PORT_CONFIGURATION, payload)
    names = {code: name for name, code in MODES.items()}
    said = {name: getattr(configuration, name) for name in FIELDS}
    return {
        name: names[value] if name == "mode" else value
        for name, value in said.items()
        if value is not None
    }


def interval_ms(row: ConfigurationRow | None) -> int | None:
    """Return how often a device is wanted to report, None where that is left to it."""
    minutes = None if row is None else fields_of(row.payload).get("interval_min")
    return minutes * 60_000 if isinstance(minutes, int) else None


def hash_of(payload: bytes) -> int:
    """Return the hash by which a device says that this payload is in force."""
    configuration = messages.decode(schema.F_PORT_CONFIGURATION, payload)
    assert isinstance(configuration, Configuration)
    return messages.config_hash(configuration)


def want(
    before: ConfigurationRow | None, dev_eui: bytes, payload: bytes, utc_ms: int
) -> ConfigurationRow:
    """Return the row of a configuration that is wanted from now on, or once more."""
    told_hash = None if before is None else before.told_hash
    told_utc_ms = None if before is None else before.told_utc_ms
    if told_hash == hash_of(payload):  # it has to say so again: another may be on its way to it
        told_hash = None
    return ConfigurationRow(dev_eui, payload, utc_ms, utc_ms, told_hash, told_utc_ms, 0, 0, 0)


def standing(row: ConfigurationRow) -> Standing:
    """Return how a device stands to what is wanted of it."""
    if row.told_hash == hash_of(row.payload):
        return "in_force"
    return "refused" if row.refused not in (0, schema.REFUSED_STORAGE) else "pending"


def refusal(row: ConfigurationRow) -> str | None:
    """Return why a device did not take what is wanted, None unless it said so."""
    return REFUSALS.get(row.refused, f"code_{row.refused}") if row.refused else None


def acknowledged(
    row: ConfigurationRow, ack: ConfigurationAck, utc_ms: int, *, sent: bool
) -> ConfigurationRow:
    """Take a device's answer; without ``sent`` what it refuses cannot be what is wanted."""
    before = standing(row)
    row = row._replace(told_hash=ack.config_hash, told_utc_ms=utc_ms)
    if sent:
        row = row._replace(refused=ack.refused)
    after = standing(row)
    if after != before:
        row = row._replace(since_utc_ms=utc_ms)
    if before == "in_force" and after == "pending":  # somebody else has given it another
        row = row._replace(tries=0, next_utc_ms=utc_ms + _AGAIN_MS)
    return row


def restarted(row: ConfigurationRow, utc_ms: int) -> ConfigurationRow:
    """Take a join: the device may have been flashed anew, and has to say what it has."""
    return row._replace(
        since_utc_ms=row.since_utc_ms if standing(row) == "pending" else utc_ms,
        told_hash=None,
        refused=0,
        tries=0,
        next_utc_ms=0,
    )


def is_due(row: ConfigurationRow, utc_ms: int) -> bool:
    """Tell whether to send it. UTC that was set back does not hold it up for longer than a day."""
    wait_ms = row.next_utc_ms - utc_ms
    return standing(row) == "pending" and not 0 < wait_ms <= _AGAIN_MOST_MS


def tried(row: ConfigurationRow, utc_ms: int) -> ConfigurationRow:
    """Note a downlink."""
    wait_ms = min(_AGAIN_MS << min(row.tries, 16), _AGAIN_MOST_MS)
    return row._replace(tries=row.tries + 1, next_utc_ms=utc_ms + wait_ms)

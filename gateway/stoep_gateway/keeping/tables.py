"""From stored uplinks to the rows of an export: readings, bays, status, emptyings. Pure.

Readings are taken as the gateway took them: each once, at its own time, also where it came later
or several times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from stoep_protocol.errors import DecodeError
from stoep_protocol.messages import BayReport, BinReport, Status
from stoep_protocol.schema import F_PORT_BAY, PRESSED, SEQUENCE_MODULUS

from stoep_gateway.assets.geometry import Inside
from stoep_gateway.assets.registry import Container
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.decode import decode
from stoep_gateway.insight import occupancy, readings
from stoep_gateway.insight.levels import Level
from stoep_gateway.publish.devices import status_values

__all__ = ["COLUMNS", "KINDS", "Column", "Kind", "Named", "Span", "Uplink", "rows"]

Type = Literal["text", "integer", "number", "time"]
Kind = Literal["readings", "bays", "status", "uplinks", "emptyings"]
Row = tuple[Any, ...]

_COARSE_MS = 300_000
_COARSE_S = _COARSE_MS // 1000
_UNKNOWN = Inside(1_000_000, 0)  # no distance is beyond the floor
_STATES = ("free", "occupied", "uncertain")


class Uplink(NamedTuple):
    """A stored uplink, in the order of the columns of its table."""

    uplink_id: int
    received_utc_ms: int
    dev_eui: bytes
    f_cnt_up: int
    f_port: int | None
    frm_payload: bytes
    undecodable: str | None
    freq_hz: int
    dr: int
    receptions: str


class Column(NamedTuple):
    """A column's name and what is in it; "time" is UTC milliseconds."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Named:
    """What the devices stand for today: asset by DevEUI, containers by asset.

    ``others`` are devices of other makes, whose uplinks are not decoded here.
    """

    assets: Mapping[bytes, str]
    containers: Mapping[str, Container]
    others: frozenset[bytes] = frozenset()

    def is_bays(self, uplink: Uplink) -> bool:
        """Tell whether an uplink says when a car came or went."""
        if uplink.dev_eui in self.others:
            return self.assets.get(uplink.dev_eui, "").startswith("bay/")
        return uplink.f_port == F_PORT_BAY


class Span(NamedTuple):
    """From when to when, UTC milliseconds, the end not included."""

    from_ms: int
    to_ms: int

    def __contains__(self, at_ms: object) -> bool:
        return isinstance(at_ms, int) and self.from_ms <= at_ms < self.to_ms


def _columns(text: str) -> tuple[Column, ...]:
    types: dict[str, Type] = {"": "text", "#": "integer", "%": "number", "@": "time"}
    return tuple(
        Column(name.rstrip("#%@"), types[name[len(name.rstrip("#%@")) :]]) for name in text.split()
    )


_RADIO = " f_cnt_up# dr# freq_hz# rssi_dbm% snr_db% gateways#"
COLUMNS: Mapping[Kind, tuple[Column, ...]] = {
    "readings": _columns(
        "time_utc@ received_utc@ dev_eui asset sequence# distance_mm# fill_pct% quality# reason"
        " temperature_c# flaps#" + _RADIO
    ),
    "bays": _columns(
        "time_utc@ dev_eui asset state since_utc@ previous_duration_s# change_count# quality#"
        " reason" + _RADIO
    ),
    "status": _columns(
        "time_utc@ dev_eui asset firmware hardware# charge_used_mah# battery_mv# reset_reason"
        " errors link_margin_db# calibration" + _RADIO
    ),
    "uplinks": _columns("time_utc@ dev_eui asset f_port# payload undecodable receptions" + _RADIO),
    "emptyings": _columns(
        "time_utc@ received_utc@ dev_eui asset from_pct% to_pct% hours_since_emptied%"
    ),
}
KINDS: tuple[Kind, ...] = tuple(COLUMNS)


def rows(
    kind: Kind, uplinks: Iterable[Uplink], named: Named, span: Span, *, raw: bool = False
) -> Iterator[Row]:
    """Yield the rows of ``kind`` in ``span``, in the order in which they came.

    What tells when a car came or went has its times cut to five minutes, or is left out of the
    uplinks, unless ``raw``.
    """
    if kind == "uplinks":
        return _uplinks(uplinks, named, span, raw)
    uplinks = (it for it in uplinks if it.dev_eui not in named.others)
    if kind == "bays":
        return _bays(uplinks, named, span, raw)
    if kind == "status":
        return _status(uplinks, named, span)
    return _containers(kind, uplinks, named, span)


def _radio(uplink: Uplink) -> Row:
    receptions = json.loads(uplink.receptions)
    rssi_dbm, snr_db = receptions[0][1:] if receptions else (None, None)
    dr = None if uplink.dr < 0 else uplink.dr
    return (uplink.f_cnt_up, dr, uplink.freq_hz, rssi_dbm, snr_db, len(receptions))


def _decoded(uplink: Uplink) -> object:
    if uplink.f_port is None or uplink.undecodable is not None:
        return None
    try:
        return decode(uplink.f_port, uplink.frm_payload)
    except DecodeError:  # taken by another version
        return None


def _uplinks(uplinks: Iterable[Uplink], named: Named, span: Span, raw: bool) -> Iterator[Row]:
    for uplink in uplinks:
        if uplink.received_utc_ms in span and (raw or not named.is_bays(uplink)):
            yield (
                uplink.received_utc_ms,
                uplink.dev_eui.hex(),
                named.assets.get(uplink.dev_eui),
                uplink.f_port,
                uplink.frm_payload.hex(),
                uplink.undecodable,
                uplink.receptions,
                *_radio(uplink),
            )


def _bays(uplinks: Iterable[Uplink], named: Named, span: Span, raw: bool) -> Iterator[Row]:
    for uplink in uplinks:
        if uplink.f_port != F_PORT_BAY or uplink.received_utc_ms not in span:
            continue
        report = _decoded(uplink)
        if not isinstance(report, BayReport):
            continue
        at_ms = uplink.received_utc_ms
        since_ms, lasted_s = at_ms - report.age_s * 1000, report.previous_duration_s
        if not raw:
            at_ms -= at_ms % _COARSE_MS
            since_ms -= since_ms % _COARSE_MS
            lasted_s = None if lasted_s is None else lasted_s - lasted_s % _COARSE_S
        quality, reason = occupancy.judge(report)
        yield (
            at_ms,
            uplink.dev_eui.hex(),
            named.assets.get(uplink.dev_eui),
            _STATES[report.state],
            since_ms,
            lasted_s,
            report.change_count,
            quality,
            reason,
            *_radio(uplink),
        )


def _status(uplinks: Iterable[Uplink], named: Named, span: Span) -> Iterator[Row]:
    for uplink in uplinks:
        if uplink.received_utc_ms not in span:
            continue
        status = _decoded(uplink)
        if isinstance(status, Status):
            values = status_values(status)
            yield (
                uplink.received_utc_ms,
                uplink.dev_eui.hex(),
                named.assets.get(uplink.dev_eui),
                values["firmware"],
                values["hardware"],
                values["charge_used_mah"],
                values["battery_mv"],
                values["reset_reason"],
                " ".join(values["errors"]),
                values["link_margin_db"],
                values["calibration"],
                *_radio(uplink),
            )


def _containers(kind: Kind, uplinks: Iterable[Uplink], named: Named, span: Span) -> Iterator[Row]:
    known: dict[bytes, ContainerState] = {}
    for uplink in uplinks:
        report = _decoded(uplink)
        if not isinstance(report, BinReport):
            continue
        asset = named.assets.get(uplink.dev_eui)
        container = None if asset is None else named.containers.get(asset)
        received_ms = uplink.received_utc_ms
        inside = _UNKNOWN if container is None else container.inside
        previous = known.get(uplink.dev_eui)
        news = readings.news(report, received_ms, inside.depth_mm, previous, inside.dead_zone_mm)
        if news is None:
            continue
        level = None
        if container is not None:
            level = Level(inside, container.compaction, previous, received_ms)
        pressed = bool(report.flags & PRESSED)
        newest = report.sequence % SEQUENCE_MODULUS
        for read in news.readings:
            reading, emptied = (read, None) if level is None else level.take(read, pressed=pressed)
            if container is not None and container.by_flaps:
                reading = replace(reading, quality=readings.DOUBTED, reason="from_flaps")
            fill = None
            if container is not None and reading.distance_mm is not None:
                fill = inside.fill_pct(reading.distance_mm)
            if kind == "readings":
                if reading.at_ms in span:
                    is_newest = reading.number % SEQUENCE_MODULUS == newest
                    yield (
                        reading.at_ms,
                        received_ms,
                        uplink.dev_eui.hex(),
                        asset,
                        reading.number % SEQUENCE_MODULUS,
                        reading.distance_mm,
                        fill,
                        reading.quality,
                        reading.reason,
                        report.temperature_c if is_newest else None,
                        report.flaps if is_newest else None,
                        *_radio(uplink),
                    )
            elif emptied is not None and emptied.at_ms in span:
                cycle_ms = emptied.cycle_ms
                yield (
                    emptied.at_ms,
                    received_ms,
                    uplink.dev_eui.hex(),
                    asset,
                    emptied.from_pct,
                    emptied.to_pct,
                    None if cycle_ms is None else round(cycle_ms / 3_600_000, 1),
                )
        state = ContainerState(news.sequence, news.measured_ms, news.interval_ms, news.missing)
        if level is not None:
            state = replace(
                state,
                track=level.track,
                echo=level.echo,
                likely_mm=level.likely_mm,
                press=level.press,
                sensor=level.sensor,
            )
        known[uplink.dev_eui] = state

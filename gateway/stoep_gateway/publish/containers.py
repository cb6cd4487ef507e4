"""What a container's report causes: its state, what was emptied, readings that came late. Pure."""

from __future__ import annotations

from dataclasses import replace

from stoep_protocol.messages import BinReport
from stoep_protocol.schema import PRESSED

from stoep_gateway.assets.registry import Container, Device
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.insight import alarms, filling, readings, soundness
from stoep_gateway.insight.alarms import ALARMS
from stoep_gateway.insight.filling import Emptying
from stoep_gateway.insight.levels import Level, likely_pct, loose_l
from stoep_gateway.insight.readings import Reading
from stoep_gateway.publish.messages import OutboxMessage, Outputs, UplinkMeta, encode, radio, utc

__all__ = ["outputs"]

_HOUR_MS = 3_600_000


def outputs(
    device: Device,
    container: Container,
    report: BinReport,
    meta: UplinkMeta,
    previous: ContainerState | None,
) -> Outputs:
    """Return the messages of a bin report, late readings and emptyings before the state.

    The state is None, and nothing published, when every reading of the report is known already.
    """
    inside = container.inside
    news = readings.news(
        report, meta.received_utc_ms, inside.depth_mm, previous, inside.dead_zone_mm
    )
    if news is None:
        return Outputs((), None, "repeated_reading")
    level = Level(inside, container.compaction, previous, meta.received_utc_ms)
    pressed = bool(report.flags & PRESSED)
    flaps = report.flaps or 0
    messages: list[OutboxMessage] = []
    last = news.readings[-1]
    newest = last
    for read in news.readings:
        reading, emptying = level.take(read, pressed=pressed, flaps=flaps if read is last else 0)
        if report.age_min or not (reading.newer and read is last):
            messages.append(_late_reading(device, container, reading, meta))
        if emptying is not None:
            messages.append(_emptied(device, container, reading, emptying, meta))
        newest = reading
    if previous is not None and not newest.newer:
        # Only earlier readings, now no longer missing: the state is still that of the newest.
        return Outputs(tuple(messages), replace(previous, missing=news.missing))
    before = 0 if previous is None else previous.alarms
    flags = before if report.age_min else report.flags & ALARMS
    for name, active in alarms.changes(before, flags):
        messages.append(_alarm(device, container, newest, name, active, meta))
    state = ContainerState(
        news.sequence,
        news.measured_ms,
        news.interval_ms,
        news.missing,
        newest.distance_mm,
        newest.quality,
        newest.reason,
        level.track,
        level.echo,
        level.likely_mm,
        flags,
        level.press,
        level.sensor,
    )
    messages.append(_state(device, container, report, meta, state))
    return Outputs(tuple(messages), state)


def _state(
    device: Device,
    container: Container,
    report: BinReport,
    meta: UplinkMeta,
    state: ContainerState,
) -> OutboxMessage:
    now_ms = meta.received_utc_ms
    now_utc = utc(now_ms)
    event_id = f"{meta.event_id}:state"
    values: dict[str, object] = {
        "event_id": event_id,
        "time_utc": now_utc,
        "fill_pct": None,
        "fill_utc": None,
        "measured_utc": now_utc if state.measured_ms == now_ms else utc(state.measured_ms),
        "distance_mm": state.distance_mm,
        "quality": state.quality,
        "reason": state.reason,
        "temperature_c": report.temperature_c,
        "flaps": report.flaps,
        "rate_pct_per_day": None,
        "threshold_pct": container.threshold_pct,
        "hours_to_threshold": None,
        "emptied_utc": None,
        "hours_since_emptied": None,
        "volume_l": None,
        "compaction": container.compaction,
        "pressed_utc": None if state.press is None else utc(state.press[0]),
        "alarms": alarms.names(state.alarms),
        "faults": soundness.faults(state.sensor, state.measured_ms),
        "drift_mm_per_month": None if state.sensor is None else state.sensor.drift_mm,
        "sequence": state.sequence,
        "missing_readings": len(state.missing),
        "dev_eui": device.dev_eui_hex,
        "radio": radio(meta),
    }
    track = state.track
    if track is not None:
        fill = likely_pct(container.inside, track, state.likely_mm)
        values["fill_pct"] = fill
        if fill is not None:
            capacity_l, compaction = container.capacity_l, container.compaction
            values["volume_l"] = loose_l(capacity_l, compaction, fill, state.press)
        values["fill_utc"] = now_utc if track.at_ms == now_ms else utc(track.at_ms)
        rate = filling.rate_pct_per_h(track)
        if rate is not None:
            values["rate_pct_per_day"] = round(24 * rate, 2)
        hours = filling.hours_to(track, container.threshold_pct)
        if hours is not None:
            since_ms = now_ms - track.at_ms
            values["hours_to_threshold"] = round(max(0.0, hours - since_ms / _HOUR_MS), 1)
        if track.emptied_ms is not None:
            values["emptied_utc"] = utc(track.emptied_ms)
            values["hours_since_emptied"] = round((now_ms - track.emptied_ms) / _HOUR_MS, 1)
    payload = encode(values, container.fixed_json)
    return OutboxMessage(container.state_topic, payload, True, "container_state", event_id)


def _late_reading(
    device: Device, container: Container, reading: Reading, meta: UplinkMeta
) -> OutboxMessage:
    event_id = f"{meta.event_id}:reading:{reading.number}"
    distance = reading.distance_mm
    level = None if distance is None else container.inside.fill_pct(distance)
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(reading.at_ms),
            "received_utc": utc(meta.received_utc_ms),
            "event": "reading",
            "container": container.id,
            "sequence": reading.number,
            "fill_pct": level,
            "distance_mm": distance,
            "quality": reading.quality,
            "reason": reading.reason,
            "dev_eui": device.dev_eui_hex,
        }
    )
    return OutboxMessage(container.event_topic, payload, False, "container_reading", event_id)


def _emptied(
    device: Device,
    container: Container,
    confirming: Reading,
    emptying: Emptying,
    meta: UplinkMeta,
) -> OutboxMessage:
    event_id = f"{meta.event_id}:emptied:{confirming.number}"
    cycle_ms = emptying.cycle_ms
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(emptying.at_ms),
            "received_utc": utc(meta.received_utc_ms),
            "event": "emptied",
            "container": container.id,
            "from_pct": emptying.from_pct,
            "to_pct": emptying.to_pct,
            "hours_since_emptied": None if cycle_ms is None else round(cycle_ms / _HOUR_MS, 1),
            "dev_eui": device.dev_eui_hex,
        }
    )
    return OutboxMessage(container.event_topic, payload, False, "container_emptied", event_id)


def _alarm(
    device: Device,
    container: Container,
    reading: Reading,
    name: str,
    active: bool,
    meta: UplinkMeta,
) -> OutboxMessage:
    event_id = f"{meta.event_id}:alarm:{name}"
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(reading.at_ms),
            "received_utc": utc(meta.received_utc_ms),
            "event": "alarm",
            "container": container.id,
            "alarm": name,
            "active": active,
            "dev_eui": device.dev_eui_hex,
        }
    )
    return OutboxMessage(container.event_topic, payload, False, "container_alarm", event_id)

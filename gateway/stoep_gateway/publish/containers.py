"""What a container's report causes: its state, what was emptied, readings that came late. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stoep_protocol.messages import BinReport
from stoep_protocol.schema import PRESSED

from stoep_gateway.assets.registry import Container, Device
from stoep_gateway.assets.states import ContainerState
from stoep_gateway.collections.coming import Coming, next_of
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.forecast.outlook import Outlook
from stoep_gateway.insight import alarms, filling, flaps, readings, soundness
from stoep_gateway.insight.alarms import ALARMS
from stoep_gateway.insight.filling import Emptying
from stoep_gateway.insight.flaps import GUESSED_L, FlapCount
from stoep_gateway.insight.levels import Level, likely_pct, loose_l
from stoep_gateway.insight.readings import News, Reading
from stoep_gateway.publish.messages import OutboxMessage, Outputs, UplinkMeta, encode, radio, utc
from stoep_gateway.store.records import CollectionRow

__all__ = ["emptied_by_log", "outputs"]

_HOUR_MS = 3_600_000
_HOURS = ("hours_to_threshold", "hours_to_threshold_low", "hours_to_threshold_high")


def outputs(
    device: Device,
    container: Container,
    report: BinReport,
    meta: UplinkMeta,
    previous: ContainerState | None,
    litres_per_flap: float = GUESSED_L,
    forecasts: Forecasts | None = None,
    coming: Mapping[str, tuple[Coming, ...]] | None = None,
) -> Outputs:
    """Return the messages of a bin report, late readings and emptyings before the state.

    The state is None, and nothing published, when every reading of the report is known already.
    ``litres_per_flap`` is what one opening of its lid brings until that is learned. ``forecasts``
    learn from the state, and tell what is to come; ``coming`` are the planned stops.
    """
    inside = container.inside
    heard = previous if previous is not None and previous.sequence >= 0 else None
    received_ms = meta.received_utc_ms
    news = readings.news(report, received_ms, inside.depth_mm, heard, inside.dead_zone_mm)
    if news is None:
        return Outputs((), None, "repeated_reading")
    messages: list[OutboxMessage] = []
    emptied: list[CollectionRow] = []
    if container.by_flaps:
        state = _by_flaps(container, report, meta, news, previous, litres_per_flap)
        newest = news.readings[-1]
    else:
        state, newest = _by_distance(
            device, container, report, meta, news, previous, messages, emptied
        )
    if heard is not None and not newest.newer:
        # Only earlier readings, now no longer missing: the state is still that of the newest.
        return Outputs(tuple(messages), replace(heard, missing=news.missing))
    before = 0 if previous is None else previous.alarms
    for name, active in alarms.changes(before, state.alarms):
        messages.append(_alarm(device, container, newest, name, active, meta))
    outlook = None
    if forecasts is not None:
        fill = likely_pct(container.inside, state.track, state.likely_mm)
        pressed_ms = None if state.press is None else state.press[0]
        of = container.key, container.pool, received_ms
        outlook = forecasts.take(*of, state.track, fill, state.quality, pressed_ms)
    emptied_ms = None if state.track is None else state.track.emptied_ms
    planned = None if coming is None else next_of(coming, container.id, emptied_ms, received_ms)
    messages.append(_state(device, container, report, meta, state, outlook, planned))
    return Outputs(tuple(messages), state, collections=tuple(emptied))


def _by_distance(
    device: Device,
    container: Container,
    report: BinReport,
    meta: UplinkMeta,
    news: News,
    previous: ContainerState | None,
    messages: list[OutboxMessage],
    emptied: list[CollectionRow],
) -> tuple[ContainerState, Reading]:
    """Return the state after distances, and the newest as judged; others become ``messages``.

    What was emptied is added to ``emptied``.
    """
    level = Level(container.inside, container.compaction, previous, meta.received_utc_ms)
    count = None if previous is None else previous.flaps
    if count is None and report.flaps is not None:
        count = FlapCount(base_pct=-1.0 if level.track is not None else 0.0)
    pressed = bool(report.flags & PRESSED)
    opened = report.flaps or 0
    last = news.readings[-1]
    newest = last
    for read in news.readings:
        cycle = level.track
        reading, emptying = level.take(read, pressed=pressed, flaps=opened if read is last else 0)
        if report.age_min or not (reading.newer and read is last):
            messages.append(_late_reading(device, container, reading, meta))
        if emptying is not None:
            event_id = f"{meta.event_id}:emptied:{reading.number}"
            messages.append(_emptied(device, container, event_id, emptying, meta.received_utc_ms))
            told = container.id, emptying.at_ms, "sensor", emptying.from_pct, emptying.to_pct
            emptied.append(CollectionRow(*told, after_utc_ms=emptying.after_ms))
            if count is not None and cycle is not None:
                from_pct = None if level.press is not None else emptying.from_pct
                count = flaps.emptied(count, emptying.to_pct, from_pct, cycle.since_pct)
        newest = reading
    return ContainerState(
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
        _alarms(report, previous),
        level.press,
        level.sensor,
        _counted(count, report, meta, news, previous),
    ), newest


def _by_flaps(
    container: Container,
    report: BinReport,
    meta: UplinkMeta,
    news: News,
    previous: ContainerState | None,
    litres_per_flap: float,
) -> ContainerState:
    """Return the state of a container without a level sensor, whose lid is counted."""
    count = FlapCount() if previous is None or previous.flaps is None else previous.flaps
    count = _counted(count, report, meta, news, previous) or count
    level_pct, quality = flaps.estimate(count, container.capacity_l, litres_per_flap)
    at_ms = news.measured_ms
    track = None if previous is None else previous.track
    if track is None or track.since_ms > at_ms:
        track = filling.start(at_ms, level_pct)
    else:
        track = filling.correct(track, at_ms, level_pct)
    return ContainerState(
        *(news.sequence, at_ms, news.interval_ms, news.missing),
        quality=quality,
        reason="from_flaps",
        track=track,
        alarms=_alarms(report, previous),
        flaps=count,
    )


def _counted(
    count: FlapCount | None,
    report: BinReport,
    meta: UplinkMeta,
    news: News,
    previous: ContainerState | None,
) -> FlapCount | None:
    if count is None or report.flaps is None or not news.readings[-1].newer:
        return count
    before = -1 if previous is None else previous.sequence
    steps = news.sequence - before if before >= 0 else 1
    return flaps.counted(count, report.flaps, meta.f_cnt_up, steps)


def _alarms(report: BinReport, previous: ContainerState | None) -> int:
    if report.age_min:  # an earlier reading's may have been left out of it
        return 0 if previous is None else previous.alarms
    return report.flags & ALARMS


def emptied_by_log(
    device: Device,
    container: Container,
    previous: ContainerState | None,
    at_ms: int,
    now_ms: int,
    from_pct: float | None,
    to_pct: float,
    litres_per_flap: float,
) -> tuple[OutboxMessage, CollectionRow, ContainerState]:
    """Return what is published when somebody says that a container was emptied, and its state.

    Between them the emptying, with the level that openings tell if nobody said another. Of one
    whose lid is counted: openings from then on begin anew, and those before are learned from if it
    is said how full it was.
    """
    state = previous or ContainerState(-1, 0)
    count = state.flaps or FlapCount()
    estimated_pct, _ = flaps.estimate(count, container.capacity_l, litres_per_flap)
    track = state.track
    rate = cycle_ms = None
    if track is not None and track.since_ms <= at_ms:
        rate = filling.rate_pct_per_h(track)
        cycle_ms = None if track.emptied_ms is None else at_ms - track.emptied_ms
    before_pct = estimated_pct if from_pct is None else from_pct
    emptying = Emptying(at_ms, before_pct, to_pct, cycle_ms)
    fresh = filling.start(at_ms, to_pct)
    event_id = f"{container.id}-{at_ms}-emptied"
    return (
        _emptied(device, container, event_id, emptying, now_ms),
        CollectionRow(container.id, at_ms, "log", before_pct, to_pct),
        replace(
            state,
            track=replace(fresh, emptied_ms=at_ms, rate_before=rate),
            flaps=flaps.emptied(count, to_pct, from_pct),
        ),
    )


def _state(
    device: Device,
    container: Container,
    report: BinReport,
    meta: UplinkMeta,
    state: ContainerState,
    outlook: Outlook | None,
    planned: dict[str, object] | None,
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
        "hours_to_threshold_low": None,
        "hours_to_threshold_high": None,
        "forecast_doubt": None,
        "emptied_utc": None,
        "hours_since_emptied": None,
        "next_collection": planned,
        "volume_l": None,
        "compaction": container.compaction,
        "pressed_utc": None if state.press is None else utc(state.press[0]),
        "alarms": alarms.names(state.alarms),
        "faults": soundness.faults(state.sensor),
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
        hours = None
        if outlook is not None and outlook.is_learned:
            values["forecast_doubt"] = outlook.doubt
            for name, it in zip(_HOURS, outlook.hours_to(container.threshold_pct), strict=True):
                values[name] = None if it is None else round(it, 1)
        else:
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
    event_id: str,
    emptying: Emptying,
    received_ms: int,
) -> OutboxMessage:
    cycle_ms = emptying.cycle_ms
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(emptying.at_ms),
            "received_utc": utc(received_ms),
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

"""What a bay's report causes: its state, and an event when it changed. Pure."""

from __future__ import annotations

from stoep_protocol.messages import BayReport

from stoep_gateway.assets.registry import Bay, Device
from stoep_gateway.assets.states import BayState
from stoep_gateway.insight import occupancy
from stoep_gateway.publish.messages import OutboxMessage, Outputs, UplinkMeta, encode, radio, utc

__all__ = ["outputs"]

_STATES = ("free", "occupied", "uncertain")
_EVENTS = ("freed", "occupied", "uncertain")


def outputs(
    device: Device, bay: Bay, report: BayReport, meta: UplinkMeta, previous: BayState | None
) -> Outputs:
    """Return the messages of a bay report: the change, if there was one, before the state."""
    now_ms = meta.received_utc_ms
    state, change = occupancy.take(report, now_ms, previous)
    quality, reason = occupancy.judge(report)
    messages = []
    if change is not None:
        event_id = f"{meta.event_id}:changed"
        payload = encode(
            {
                "event_id": event_id,
                "time_utc": utc(change.at_ms),
                "received_utc": utc(now_ms),
                "event": _EVENTS[report.state],
                "bay": bay.id,
                "state": _STATES[report.state],
                "previous_state": None if change.previous is None else _STATES[change.previous],
                "previous_duration_s": report.previous_duration_s,
                "change_count": report.change_count,
                "missed_changes": change.missed,
                "quality": quality,
                "reason": reason,
                "dev_eui": device.dev_eui_hex,
            }
        )
        messages.append(OutboxMessage(bay.event_topic, payload, False, "bay_changed", event_id))
    event_id = f"{meta.event_id}:state"
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(now_ms),
            "state": _STATES[report.state],
            "since_utc": utc(state.since_ms),
            "previous_duration_s": report.previous_duration_s,
            "change_count": report.change_count,
            "quality": quality,
            "reason": reason,
            "dev_eui": device.dev_eui_hex,
            "radio": radio(meta),
        },
        bay.fixed_json,
    )
    messages.append(OutboxMessage(bay.state_topic, payload, True, "bay_state", event_id))
    return Outputs(tuple(messages), state)

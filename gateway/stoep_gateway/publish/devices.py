"""What is published of the boards themselves: health, joining, configuration. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from stoep_protocol import schema
from stoep_protocol.calibration import STEP_EMPTY, Calibrated
from stoep_protocol.messages import ConfigurationAck, Status

from stoep_gateway.assets import calibration
from stoep_gateway.assets.configuration import REFUSALS
from stoep_gateway.assets.registry import Device
from stoep_gateway.assets.states import DeviceState
from stoep_gateway.lns.queue import Ended
from stoep_gateway.publish.messages import OutboxMessage, Outputs, UplinkMeta, encode, radio, utc

__all__ = [
    "CALIBRATIONS",
    "calibrated_outputs",
    "configuration_outputs",
    "downlink",
    "joined",
    "status_outputs",
    "status_values",
]

_RESET_REASONS = {
    schema.RESET_NONE: "none",
    schema.RESET_POWER_ON: "power_on",
    schema.RESET_BROWN_OUT: "brown_out",
    schema.RESET_WATCHDOG: "watchdog",
    schema.RESET_CRASH: "crash",
    schema.RESET_SOFT: "soft",
    schema.RESET_EXTERNAL: "external",
}
CALIBRATIONS = {
    schema.CALIBRATION_NONE: "none",
    schema.CALIBRATION_RUNNING: "running",
    schema.CALIBRATION_DONE: "done",
    schema.CALIBRATION_DUE: "due",
}
_ERRORS = {
    schema.ERROR_SENSOR_SILENT: "sensor_silent",
    schema.ERROR_SENSOR_BUS: "sensor_bus",
    schema.ERROR_RADIO: "radio",
    schema.ERROR_STORAGE: "storage",
    schema.ERROR_CLOCK: "clock",
    schema.ERROR_WATCHDOG: "watchdog",
    schema.ERROR_BATTERY_LOW: "battery_low",
    schema.ERROR_MEMORY: "memory",
    schema.ERROR_SAFE_MODE: "safe_mode",
    schema.ERROR_OUTBOX_FULL: "outbox_full",
    schema.ERROR_PROGRAM: "program",
}

_Value = TypeVar("_Value")


def status_outputs(
    device: Device, status: Status, meta: UplinkMeta, previous: DeviceState | None
) -> Outputs:
    """Return a device's health, what this part of a split report leaves unsaid taken from before.

    Errors are those of this report alone.
    """
    firmware = None if status.firmware is None else "{}.{}.{}".format(*status.firmware)
    before = previous or DeviceState(meta.received_utc_ms)
    state = DeviceState(
        meta.received_utc_ms,
        _either(firmware, before.firmware),
        _either(status.hardware, before.hardware),
        _either(status.charge_used_mah, before.charge_used_mah),
        _either(status.battery_mv, before.battery_mv),
        _either(status.reset_reason, before.reset_reason),
        _either(status.link_margin_db, before.link_margin_db),
        _either(status.calibration, before.calibration),
        before.answers,
    )
    event_id = f"{meta.event_id}:status"
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(meta.received_utc_ms),
            "firmware": state.firmware,
            "hardware": state.hardware,
            "charge_used_mah": state.charge_used_mah,
            "battery_mv": state.battery_mv,
            "reset_reason": _named(_RESET_REASONS, state.reset_reason),
            "errors": [_named(_ERRORS, code) for code in status.errors],
            "link_margin_db": state.link_margin_db,
            "calibration": _named(CALIBRATIONS, state.calibration),
            "radio": radio(meta),
            "lat": device.lat,
            "lon": device.lon,
        },
        device.fixed_json,
    )
    message = OutboxMessage(device.status_topic, payload, True, "device_status", event_id)
    return Outputs((message,), state)


def status_values(status: Status) -> dict[str, Any]:
    """Return what a report says by itself, codes as names; None is what it leaves out."""
    return {
        "firmware": None if status.firmware is None else "{}.{}.{}".format(*status.firmware),
        "hardware": status.hardware,
        "charge_used_mah": status.charge_used_mah,
        "battery_mv": status.battery_mv,
        "reset_reason": _named(_RESET_REASONS, status.reset_reason),
        "errors": [_named(_ERRORS, code) for code in status.errors],
        "link_margin_db": status.link_margin_db,
        "calibration": _named(CALIBRATIONS, status.calibration),
    }


def configuration_outputs(device: Device, ack: ConfigurationAck, meta: UplinkMeta) -> Outputs:
    """Return the event of a device that says which configuration is in force."""
    event_id = f"{meta.event_id}:configuration"
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(meta.received_utc_ms),
            "event": "configuration_refused" if ack.refused else "configuration_accepted",
            "config_hash": f"{ack.config_hash:04x}",
            "refused": _named(REFUSALS, ack.refused or None),
        },
        device.fixed_json,
    )
    message = OutboxMessage(device.event_topic, payload, False, "device_configuration", event_id)
    return Outputs((message,), None)


def calibrated_outputs(
    device: Device, answer: Calibrated, meta: UplinkMeta, previous: DeviceState | None
) -> Outputs:
    """Return the event of a device that has answered a step of a calibration, and its state.

    A bay whose empty field is known is calibrated from then on; that is its status.
    """
    at_ms = meta.received_utc_ms
    asset = None if device.asset is None else device.asset.key
    given = calibration.Answer(at_ms, answer.step, answer.result, answer.values, asset)
    outputs = Outputs((), previous or DeviceState(at_ms))
    if answer.step == STEP_EMPTY and not answer.result:
        status = Status(calibration=schema.CALIBRATION_DONE)
        outputs = status_outputs(device, status, meta, previous)
    assert isinstance(outputs.state, DeviceState)
    event_id = f"{meta.event_id}:calibrated"
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(at_ms),
            "event": "calibration_failed" if answer.result else "calibrated",
            **calibration.described(given, calibration.level_mm(device)),
        },
        device.fixed_json,
    )
    message = OutboxMessage(device.event_topic, payload, False, "device_calibrated", event_id)
    answers = calibration.after(outputs.state.answers, given)
    return Outputs((message, *outputs.messages), replace(outputs.state, answers=answers))


def joined(device: Device, event_id: str, joined_utc_ms: int, dev_addr: int) -> OutboxMessage:
    """Return the event of a device that has joined the network."""
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(joined_utc_ms),
            "event": "joined",
            "dev_addr": f"{dev_addr:08x}",
        },
        device.fixed_json,
    )
    return OutboxMessage(device.event_topic, payload, False, "device_joined", event_id)


def downlink(device: Device, ended: Ended, utc_ms: int) -> OutboxMessage:
    """Return the event of a downlink's end, or of an attempt that failed and will be repeated."""
    queued = ended.queued
    event_id = (
        f"{device.dev_eui_hex}-downlink-{queued.downlink_id}-{queued.attempts}-{ended.outcome}"
    )
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(utc_ms),
            "event": f"downlink_{ended.outcome}",
            "downlink_id": queued.downlink_id,
            "f_port": queued.f_port,
            "confirmed": queued.confirmed,
            "attempts": queued.attempts,
            "reason": ended.reason or None,
            "will_retry": ended.again,
        },
        device.fixed_json,
    )
    return OutboxMessage(device.event_topic, payload, False, "device_downlink", event_id)


def _either(said: _Value | None, before: _Value | None) -> _Value | None:
    return before if said is None else said


def _named(names: dict[int, str], code: int | None) -> str | None:
    """Return the name of a code, or ``code_N`` for one that this version does not know."""
    return None if code is None else names.get(code, f"code_{code}")

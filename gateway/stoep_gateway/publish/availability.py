"""Whether this gateway and its devices are there: retained messages for whoever shows a site. Pure.

The gateway's own says ``online`` once it is connected, and the broker turns that into ``offline``
by itself when the connection breaks (the will, MQTT 5.0, 3.1.2.5). A device's says ``offline`` when
it was silent for too long while this gateway listened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from stoep_gateway.assets.registry import TOPIC_ROOT, Device
from stoep_gateway.census import SILENT_MS
from stoep_gateway.publish.messages import OutboxMessage, encode, utc

__all__ = ["DeviceWatch", "device_availability", "gateway_availability"]


def gateway_availability(
    site: str, state: Literal["online", "offline"], reason: str | None, now_utc_ms: int
) -> OutboxMessage:
    """Return what the gateway says of itself, or has the broker say."""
    event_id = f"availability-{now_utc_ms}-{state}"
    payload = encode(
        {"event_id": event_id, "time_utc": utc(now_utc_ms), "state": state, "reason": reason}
    )
    topic = f"{TOPIC_ROOT}/{site}/availability"
    return OutboxMessage(topic, payload, True, "availability", event_id)


def device_availability(
    device: Device, now_utc_ms: int, heard_utc_ms: int | None, *, online: bool
) -> OutboxMessage:
    """Return whether a device is heard as often as it should be."""
    state = "online" if online else "offline"
    event_id = f"{device.dev_eui_hex}-availability-{now_utc_ms}:{state}"
    payload = encode(
        {
            "event_id": event_id,
            "time_utc": utc(now_utc_ms),
            "state": state,
            "last_heard_utc": None if heard_utc_ms is None else utc(heard_utc_ms),
        },
        device.fixed_json,
    )
    topic = device.event_topic.removesuffix("/event") + "/availability"
    return OutboxMessage(topic, payload, True, "device_availability", event_id)


@dataclass(slots=True)
class _Heard:
    """When a device was last heard, or when we began to listen; ``online`` None: nothing told."""

    at_ms: int
    utc_ms: int | None = None
    online: bool | None = None


class DeviceWatch:
    """Which devices are heard as often as they should be; ``now`` is monotonic milliseconds.

    Nothing is told of a device before it was heard or has been silent for too long: until then what
    was retained of it before a restart holds. ``patience_ms`` says how long a device may be silent,
    and is asked of those that were silent for ``SILENT_MS``, which is the least.
    """

    def __init__(self, patience_ms: Callable[[Device], int]) -> None:
        self._patience_ms = patience_ms
        self._heard: dict[bytes, _Heard] = {}

    def heard(self, device: Device, now: int, utc_ms: int) -> tuple[OutboxMessage, ...]:
        """Take note of an uplink; return what to publish."""
        heard = self._heard.get(device.dev_eui)
        if heard is None:
            heard = self._heard[device.dev_eui] = _Heard(now)
        heard.at_ms = now
        heard.utc_ms = utc_ms
        if heard.online:
            return ()
        heard.online = True
        return (device_availability(device, utc_ms, utc_ms, online=True),)

    def move_times(self, from_utc_ms: int, by_ms: int) -> None:
        """Correct what was heard at a provisional time."""
        for heard in self._heard.values():
            if heard.utc_ms is not None and heard.utc_ms >= from_utc_ms:
                heard.utc_ms += by_ms

    def check(
        self, devices: Mapping[bytes, Device], now: int, utc_ms: int
    ) -> tuple[OutboxMessage, ...]:
        """Return what to publish of devices that have fallen silent; to be called now and then."""
        for removed in self._heard.keys() - devices.keys():
            del self._heard[removed]
        messages = []
        for device in devices.values():
            heard = self._heard.get(device.dev_eui)
            if heard is None:
                self._heard[device.dev_eui] = _Heard(now)
                continue
            silent_ms = now - heard.at_ms
            if (
                silent_ms > SILENT_MS
                and heard.online is not False
                and device.enabled
                and silent_ms > self._patience_ms(device)
            ):
                heard.online = False
                messages.append(device_availability(device, utc_ms, heard.utc_ms, online=False))
        return tuple(messages)

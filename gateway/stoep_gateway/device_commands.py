"""The commands ``device.*`` of the control socket: what ``stoep device`` asks of the gateway.

A change is checked whole, made at once, and answered when it is durable, all of it in one
transaction; one follows the other. What the network server does by it is written behind it. An
answer shows keys only if the request says ``"show_keys": true``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from stoep_protocol.advice import STEPS
from stoep_protocol.calibration import STEP_ECHOES

from stoep_gateway.assets import (
    calibration,
    configuration,
    device_places,
    device_rows,
    device_specs,
)
from stoep_gateway.assets.device_specs import Checked, Fault
from stoep_gateway.assets.registry import Device
from stoep_gateway.assets.states import DeviceState
from stoep_gateway.control import CommandRefused, ControlServer
from stoep_gateway.device_network import Changes, DeviceNetwork
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.mac_state import MacState
from stoep_gateway.publish.devices import CALIBRATIONS
from stoep_gateway.publish.messages import utc
from stoep_gateway.store.records import ConfigurationRow

__all__ = ["DeviceCommands"]

PAGE = 500
_BATCH = 200  # devices between two turns of the event loop
_MAX_F_PORT = 223
_MAX_PAYLOAD = 242
_PRIORITIES = range(-128, 128)
_MAX_EXPIRY_S = 366 * 24 * 3600
# A bay that is empty now will not be for long; a container reports hourly.
_BAY_EXPIRY_S, _ECHO_EXPIRY_S = 15 * 60, 2 * 3600
_IN_THE_FILE = "change its [[device]] in the gateway's configuration and restart the gateway"

Request = Mapping[str, Any]


class DeviceCommands:
    """Answers for one network server."""

    def __init__(self, network: DeviceNetwork) -> None:
        self._network = network
        self._changing = asyncio.Lock()

    def register(self, control: ControlServer) -> None:
        """Let the control socket know all commands."""
        control.register("device.list", self._list)
        control.register("device.show", self._show)
        for name, handler in (
            ("add", self._add),
            ("import", self._import),
            ("place", self._place),
            ("enable", lambda request: self._enable(request, enabled=True)),
            ("disable", lambda request: self._enable(request, enabled=False)),
            ("remove", self._remove),
            ("rotate-key", self._rotate_key),
            ("forgive-nonce", self._forgive_nonce),
            ("send", self._send),
            ("configure", self._configure),
            ("calibrate", self._calibrate),
            ("flush", self._flush),
        ):
            control.register(f"device.{name}", handler, changes=True)

    # Looking.

    def _list(self, request: Request) -> dict[str, Any]:
        after = request.get("after", "")
        devices = self._network.registry.devices
        euis = sorted(eui for eui in devices if eui.hex() > str(after))
        show_keys = request.get("show_keys") is True
        return {
            "devices": [self._described(devices[eui], show_keys=show_keys) for eui in euis[:PAGE]],
            "more": len(euis) > PAGE,
        }

    def _show(self, request: Request) -> dict[str, Any]:
        show_keys = request.get("show_keys") is True
        return {"device": self._described(self._device(request), show_keys=show_keys)}

    def _described(self, device: Device, *, show_keys: bool) -> dict[str, Any]:
        activity = self._network.activity(device.dev_eui)
        return {
            **device_specs.as_raw(device, show_keys=show_keys),
            "activation": device_specs.activation(device),
            "managed": device.managed,
            "created_utc": _utc(device.created_utc_ms or None),
            "changed_utc": _utc(device.changed_utc_ms or None),
            "session": None
            if activity.dev_addr is None
            else {
                "dev_addr": f"{activity.dev_addr:08x}",
                "joined_utc": _utc(activity.joined_utc_ms),
                "f_cnt_up": None if activity.f_cnt_up == -1 else activity.f_cnt_up,
                "f_cnt_down": activity.f_cnt_down,
                **_accepted(activity.mac),
            },
            "last_heard_utc": _utc(activity.last_heard_utc_ms),
            "dev_nonces": activity.dev_nonces,
            "queued": activity.queued,
            "configuration": _configured(activity.configuration),
            "calibration": _calibrated(device, activity.health),
        }

    # Changing.

    async def _add(self, request: Request) -> dict[str, Any]:
        raw = request.get("device")
        if not isinstance(raw, dict):
            raise CommandRefused('a request needs "device"')
        async with self._changing:
            checked, faults = await self._checked([raw], only_new=True)
            if faults:
                raise CommandRefused("; ".join(fault.message for fault in faults))
            await self._put(checked)
        return {"dev_eui": checked[0].spec.dev_eui.hex()}

    async def _import(self, request: Request) -> dict[str, Any]:
        raws = request.get("devices")
        if not isinstance(raws, list) or not all(isinstance(raw, dict) for raw in raws):
            raise CommandRefused('a request needs "devices", a list')
        async with self._changing:
            checked, faults = await self._checked(raws, only_new=False)
            if faults:
                raise CommandRefused(
                    "nothing was imported",
                    mistakes=[[fault.index, fault.key, fault.message] for fault in faults],
                )
            changed = [one for one in checked if one.is_changed]
            if request.get("dry_run") is not True:
                await self._put(changed)
        added = sum(one.existing is None for one in changed)
        return {
            "added": added,
            "changed": len(changed) - added,
            "unchanged": len(checked) - len(changed),
        }

    async def _place(self, request: Request) -> dict[str, Any]:
        places = request.get("places")
        if not isinstance(places, list) or not all(isinstance(place, dict) for place in places):
            raise CommandRefused('a request needs "places", a list')
        raws = [_emptied(place) for place in places]
        async with self._changing:
            registry = self._network.registry
            faults = device_places.faults_of(registry, places)
            named = {fault.index for fault in faults}
            checked, others = await self._checked(raws, only_new=False)
            faults += [fault for fault in others if fault.index not in named]
            if faults:
                raise CommandRefused(
                    "nothing was placed",
                    mistakes=[[fault.index, fault.key, fault.message] for fault in faults],
                )
            changed = [one for one in checked if one.is_changed]
            if request.get("dry_run") is not True:
                await self._put(changed)
        warnings = (device_places.warning(registry, one) for one in checked)
        return {
            "changed": len(changed),
            "unchanged": len(checked) - len(changed),
            "warnings": [text for text in warnings if text],
        }

    async def _enable(self, request: Request, *, enabled: bool) -> dict[str, Any]:
        async with self._changing:
            device = self._changeable(request)
            spec = device_specs.spec_of(device).model_copy(update={"enabled": enabled})
            if device.enabled != enabled:
                await self._put([Checked(0, spec, device)])
        return {"changed": device.enabled != enabled}

    async def _rotate_key(self, request: Request) -> dict[str, Any]:
        async with self._changing:
            device = self._changeable(request)
            if device.app_key is None:
                raise CommandRefused(
                    f"device {device.dev_eui_hex} has no AppKey: it does not join here",
                    "import it again with its new keys",
                )
            raw = {"dev_eui": device.dev_eui_hex, "app_key": request.get("app_key")}
            if raw["app_key"] is None:
                raw["app_key"] = secrets.token_hex(16)
            checked, faults = await self._checked([raw], only_new=False)
            if faults:
                raise CommandRefused("; ".join(fault.message for fault in faults))
            if not checked[0].is_changed:
                raise CommandRefused("that is the key it has")
            await self._put(checked)
        return {"app_key": raw["app_key"]} if request.get("show_keys") is True else {}

    async def _remove(self, request: Request) -> dict[str, Any]:
        async with self._changing:
            device = self._changeable(request)
            gone = (device.dev_eui,)
            await self._network.record(Changes(removed=gone, ended=gone))
        return {}

    async def _forgive_nonce(self, request: Request) -> dict[str, Any]:
        async with self._changing:
            device = self._device(request)
            forgiven = self._network.activity(device.dev_eui).dev_nonces
            gone = (device.dev_eui,)
            if device.dev_addr is not None:  # ABP: what it has lost is its counters
                spec = device_specs.spec_of(device)
                await self._network.record(Changes(forgiven=gone, ended=gone, personalised=(spec,)))
                return {"forgiven": forgiven, "restarted": True}
            if forgiven:
                await self._network.record(Changes(forgiven=gone))
        return {"forgiven": forgiven}

    async def _checked(
        self, raws: Sequence[Mapping[str, object]], *, only_new: bool
    ) -> tuple[list[Checked], list[Fault]]:
        checked: list[Checked] = []
        faults: list[Fault] = []
        registry = self._network.registry
        for one in device_specs.check_all(registry, raws, only_new=only_new):
            if isinstance(one, Checked):
                checked.append(one)
            else:
                faults.append(one)
            if (len(checked) + len(faults)) % _BATCH == 0:
                await asyncio.sleep(0)
        return checked, faults

    async def _put(self, changes: Sequence[Checked]) -> None:
        network = self._network
        utc_ms = network.utc_ms()
        rows, views, ended, forgiven, personalised = [], [], [], [], []
        for number, change in enumerate(changes, 1):
            old, spec = change.existing, change.spec
            created_utc_ms = utc_ms if old is None else old.created_utc_ms
            rows.append(device_rows.seal_row(spec, network.sealer, created_utc_ms, utc_ms))
            views.append(network.registry.view(spec, "store", created_utc_ms, utc_ms))
            if change.is_other_way_in:
                ended.append(spec.dev_eui)
            if old is not None and old.app_key != spec.app_key:
                forgiven.append(spec.dev_eui)  # no join-request under the old key fits the new one
            if spec.dev_addr is not None and (old is None or change.is_other_way_in):
                personalised.append(spec)
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        if not rows:
            return
        for view in views:
            network.registry.put(view)
        await network.record(
            Changes(
                rows=tuple(rows),
                forgiven=tuple(forgiven),
                ended=tuple(ended),
                personalised=tuple(personalised),
            )
        )

    # Downlinks.

    async def _send(self, request: Request) -> dict[str, Any]:
        device = self._device(request)
        if not device.enabled:
            raise CommandRefused(f"device {device.dev_eui_hex} is disabled")
        f_port = _whole(request, "f_port", range(1, _MAX_F_PORT + 1))
        priority = _whole(request, "priority", _PRIORITIES, 0)
        expires_s = _whole(request, "expires_s", range(_MAX_EXPIRY_S + 1), 0)
        try:
            frm_payload = bytes.fromhex(request.get("payload", ""))
        except (TypeError, ValueError):
            raise CommandRefused("a payload is written in hexadecimal") from None
        if len(frm_payload) > _MAX_PAYLOAD:
            raise CommandRefused(f"a payload is at most {_MAX_PAYLOAD} octets")
        queued = await self._network.enqueue(
            device.dev_eui,
            f_port,
            frm_payload,
            confirmed=request.get("confirmed") is True,
            priority=priority,
            expires_utc_ms=self._network.utc_ms() + 1000 * expires_s if expires_s else None,
        )
        if isinstance(queued, Rejected):
            raise CommandRefused(f"refused: {queued.reason}")
        return {"downlink_id": queued}

    async def _configure(self, request: Request) -> dict[str, Any]:
        device = self._device(request)
        if device.make is not None:
            raise CommandRefused(f"it is a {device.make}, which is not configured from here")
        fields = request.get("fields", {})
        if not isinstance(fields, dict):
            raise CommandRefused('"fields" is an object')
        before = self._network.activity(device.dev_eui).configuration
        merged: dict[str, Any] = {}
        if before is not None and request.get("anew") is not True:
            merged |= configuration.fields_of(before.payload)
        merged |= fields
        wanted = {name: value for name, value in merged.items() if value is not None}
        try:
            payload = configuration.compose(wanted, device.asset)
        except ValueError as error:
            raise CommandRefused(str(error)) from None
        await self._network.configure(device.dev_eui, payload)
        return {
            "dev_eui": device.dev_eui_hex,
            "configuration": _configured(self._network.activity(device.dev_eui).configuration),
        }

    async def _calibrate(self, request: Request) -> dict[str, Any]:
        device = self._device(request)
        if device.make is not None:
            raise CommandRefused(f"it is a {device.make}, which is not calibrated from here")
        if not device.enabled:
            raise CommandRefused(f"device {device.dev_eui_hex} is disabled")
        distance_cm = request.get("distance_cm")
        if distance_cm is not None and type(distance_cm) is not int:
            raise CommandRefused("distance_cm is a whole number")
        try:
            step, f_port, payload = calibration.compose(
                device, car=request.get("car") is True, distance_cm=distance_cm
            )
        except ValueError as error:
            raise CommandRefused(str(error)) from None
        usual_s = _ECHO_EXPIRY_S if step == STEP_ECHOES else _BAY_EXPIRY_S
        expires_s = _whole(request, "expires_s", range(1, _MAX_EXPIRY_S + 1), usual_s)
        queued = await self._network.enqueue(
            device.dev_eui,
            f_port,
            payload,
            confirmed=False,
            priority=0,
            expires_utc_ms=self._network.utc_ms() + 1000 * expires_s,
        )
        if isinstance(queued, Rejected):
            raise CommandRefused(f"refused: {queued.reason}")
        return {
            "dev_eui": device.dev_eui_hex,
            "step": STEPS[step],
            "downlink_id": queued,
            "expires_s": expires_s,
        }

    async def _flush(self, request: Request) -> dict[str, Any]:
        return {"flushed": await self._network.flush(self._device(request).dev_eui)}

    def _device(self, request: Request) -> Device:
        dev_eui = device_specs.dev_eui_of(request.get("dev_eui"))
        if dev_eui is None:
            raise CommandRefused('"dev_eui" is a string of 16 hexadecimal digits')
        device = self._network.registry.devices.get(dev_eui)
        if device is None:
            raise CommandRefused(
                f"no device {dev_eui.hex()} is registered", "stoep device list shows those that are"
            )
        return device

    def _changeable(self, request: Request) -> Device:
        device = self._device(request)
        if device.managed == "file":
            raise CommandRefused(
                f"device {device.dev_eui_hex} is in the gateway's configuration", _IN_THE_FILE
            )
        return device


def _emptied(place: Mapping[str, object]) -> dict[str, object]:
    """Return a place as a raw device: "none" takes an asset away."""
    raw = dict(place)
    if raw.get("asset") == device_places.NOWHERE:
        raw["asset"] = None
    return raw


def _whole(request: Request, key: str, allowed: range, default: int | None = None) -> int:
    value = request.get(key, default)
    if type(value) is not int or value not in allowed:
        raise CommandRefused(f"{key} is a whole number from {allowed[0]} to {allowed[-1]}")
    return value


def _accepted(mac: MacState | None) -> dict[str, object]:
    if mac is None:
        return {}
    said: dict[str, object] = {
        "data_rate": mac.dr,
        "tx_power": mac.tx_power,
        "repetitions": mac.nb_trans,
    }
    if mac.status_ms:
        said |= {
            "battery": mac.battery,
            "margin_db": mac.margin_db,
            "status_utc": _utc(mac.status_ms),
        }
    return said


def _configured(row: ConfigurationRow | None) -> dict[str, object] | None:
    if row is None:
        return None
    return {
        "state": configuration.standing(row),
        "since_utc": utc(row.since_utc_ms),
        "refused": configuration.refusal(row),
        "wanted": configuration.fields_of(row.payload),
        "wanted_utc": utc(row.wanted_utc_ms),
        "wanted_hash": f"{configuration.hash_of(row.payload):04x}",
        "told_hash": None if row.told_hash is None else f"{row.told_hash:04x}",
        "told_utc": _utc(row.told_utc_ms),
        "downlinks": row.tries,
    }


def _calibrated(device: Device, health: DeviceState | None) -> dict[str, object] | None:
    if health is None:
        return None
    floor_mm = calibration.level_mm(device)
    return {
        "state": None if health.calibration is None else CALIBRATIONS[health.calibration],
        "answers": [
            {"utc": utc(it.at_ms), **calibration.described(it, floor_mm)} for it in health.answers
        ],
    }


def _utc(utc_ms: int | None) -> str | None:
    return None if utc_ms is None else utc(utc_ms)

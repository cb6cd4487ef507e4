"""What a decrypted uplink says, and what follows from it for its asset: messages and a state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from stoep_protocol.messages import Status

from stoep_gateway import recording
from stoep_gateway.assets import calibration
from stoep_gateway.assets.registry import Container, Device
from stoep_gateway.assets.states import AssetState, ContainerState, DeviceState
from stoep_gateway.clock import Clock
from stoep_gateway.collections.coming import Coming
from stoep_gateway.decode import Uplink
from stoep_gateway.flap_pools import FlapPools
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight import echoes
from stoep_gateway.insight.flaps import GUESSED_L
from stoep_gateway.integrations.codecs.errors import CodecError
from stoep_gateway.lns import uplink
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.uplink import Plain
from stoep_gateway.log import Throttle
from stoep_gateway.memory import Memory
from stoep_gateway.publish import topics
from stoep_gateway.publish.topics import Outputs, UplinkMeta
from stoep_gateway.store.records import HeldRow

__all__ = ["Interpreter", "OtherMakes"]

_log = logging.getLogger(__name__)
_NOTHING = Outputs((), None)


class OtherMakes(Protocol):
    """Who reads what devices of other makes send."""

    def decode(
        self,
        device: Device,
        f_port: int,
        data: bytes,
        f_cnt_up: int,
        before: AssetState | None,
        received_utc_ms: int,
        now_ms: int,
    ) -> tuple[Uplink | None, Status | None]:
        """Return a reading and the device's health. Raises `CodecError`."""


class Interpreter:
    """One per gateway process, for uplinks of our own network and of others.

    ``held`` are messages that wait until the time is known, ``coming`` the planned stops by
    container id.
    """

    def __init__(
        self,
        memory: Memory,
        clock: Clock,
        reject: Callable[[Rejected], None],
        held: Iterable[HeldRow],
        flap_pools: FlapPools,
        forecasts: Forecasts,
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._reject = reject
        self._flap_pools = flap_pools
        self._forecasts = forecasts
        self.held = list(held)
        self.makes: OtherMakes | None = None
        self.coming: Mapping[str, tuple[Coming, ...]] = {}
        self._throttle = Throttle()

    def decode(
        self, device: Device, plain: Plain, f_cnt_up: int, utc_ms: int
    ) -> tuple[Uplink | str | None, Status | None]:
        """Return what an uplink says, and the health that another make's says besides.

        A str is what is wrong with it, which is counted.
        """
        if device.make is None:
            message = uplink.decode(plain)
            if isinstance(message, str):
                self._reject(Rejected("payload_" + message, device.dev_eui_hex))
            return message, None
        if not plain.f_port:
            return None, None
        assert self.makes is not None
        before = None if device.asset is None else self._memory.states.get(device.asset.key)
        try:
            reading, health = self.makes.decode(
                device,
                plain.f_port,
                plain.frm_payload,
                f_cnt_up,
                before,
                utc_ms,
                self._clock.now_ms(),
            )
        except CodecError as error:
            why = f"{device.dev_eui_hex} {device.make}: {error}"
            self._reject(Rejected(error.code, why))
            return error.code, None
        return (health, None) if reading is None else (reading, health)

    def outputs(
        self, device: Device, plain: Plain, message: Uplink | str | None, meta: UplinkMeta
    ) -> Outputs:
        """Return what a message causes; what is wrong is counted. Without the time it is held."""
        if message is None or isinstance(message, str):
            return _NOTHING
        if self.held or not self._clock.utc_is_known():  # after those before it
            row = recording.held_row(device.dev_eui, plain, meta)
            self.held.append(row)
            return Outputs((), None, held=(row,))
        return self.outputs_now(device, plain, message, meta)

    def outputs_now(
        self, device: Device, plain: Plain, message: Uplink | str | None, meta: UplinkMeta
    ) -> Outputs:
        """Return the same, and hold nothing."""
        if message is None or isinstance(message, str):
            return _NOTHING
        key = topics.state_key(device, message)
        previous = None if key is None else self._memory.states.get(key)
        try:
            litres = GUESSED_L
            if isinstance(device.asset, Container) and device.asset.by_flaps:
                litres = self._flap_pools.litres_per_flap(device.asset)
            if isinstance(previous, ContainerState):
                previous = self._tested(device, previous)
            outputs = topics.uplink_outputs(
                device, message, meta, previous, litres, self._forecasts, self.coming
            )
        except Exception:  # noqa: BLE001 (one asset's mishap must not stop a network server)
            self._reject(Rejected("internal_error", device.dev_eui_hex))
            if self._throttle.passes("traceback", self._clock.now_ms()):
                _log.exception("%s: its message cannot be made", device.dev_eui_hex)
            return _NOTHING
        if outputs.problem is not None:
            self._reject(Rejected(outputs.problem, device.dev_eui_hex))
        return outputs

    def _tested(self, device: Device, state: ContainerState) -> ContainerState:
        """Let the filter know what an echo test of the device has found since it last was told."""
        health = self._memory.states.get(device.key)
        if state.echo is None or not isinstance(health, DeviceState) or not health.answers:
            return state
        floor_mm = calibration.level_mm(device)
        here = None if device.asset is None else device.asset.key
        answers = [it for it in health.answers if it.asset in (None, here)]
        test = calibration.echoes_of(answers, floor_mm)
        if test is None or floor_mm is None or test[0] <= state.echo.tested_ms:
            return state
        fixed_mm = [mm for mm, _ in test[1].fixed]
        return replace(state, echo=echoes.tested(state.echo, test[0], fixed_mm, floor_mm))

    def remember(
        self, device: Device, message: Uplink | str | None, outputs: Outputs
    ) -> tuple[str, AssetState] | None:
        """Keep the state that an uplink leaves behind; return it with its key."""
        if outputs.state is None or message is None or isinstance(message, str):
            return None
        key = topics.state_key(device, message)
        if key is None:
            return None
        self._memory.states[key] = outputs.state
        return key, outputs.state

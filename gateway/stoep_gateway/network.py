"""The network server as the commands about devices see it: look-ups, durable changes, downlinks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from stoep_gateway import recording
from stoep_gateway.assets.registry import Registry
from stoep_gateway.assets.states import DeviceState
from stoep_gateway.clock import Clock
from stoep_gateway.config_model import DeviceConfig
from stoep_gateway.device_network import Activity, Changes
from stoep_gateway.lns.crypto import new_session_key
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.lns.sessions import Session
from stoep_gateway.memory import Memory
from stoep_gateway.pipeline import Pipeline
from stoep_gateway.store.records import Record, SessionRow
from stoep_gateway.store.sealing import Sealer

__all__ = ["NetworkServer"]


class NetworkServer:
    """A ``DeviceNetwork``: every change is made in memory at once and answered when durable."""

    def __init__(
        self, registry: Registry, sealer: Sealer, memory: Memory, pipeline: Pipeline, clock: Clock
    ) -> None:
        self.registry = registry
        self.sealer = sealer
        self._memory = memory
        self._pipeline = pipeline
        self._clock = clock

    def utc_ms(self) -> int:
        """Return the gateway's time."""
        return self._clock.utc_ms()

    def activity(self, dev_eui: bytes) -> Activity:
        """Look a device up."""
        memory = self._memory
        used = memory.nonces.count(dev_eui)
        queued = len(memory.queue.of_device(dev_eui))
        wanted = memory.configurations.get(dev_eui)
        session = memory.sessions.current(dev_eui)
        state = memory.states.get(f"device/{dev_eui.hex()}")
        health = state if isinstance(state, DeviceState) else None
        if session is None:
            return Activity(dev_nonces=used, queued=queued, configuration=wanted, health=health)
        return Activity(
            session.dev_addr,
            None if session.is_personalised else session.created_utc_ms,
            session.f_cnt_up,
            session.f_cnt_down,
            session.heard_utc_ms,
            used,
            queued,
            session.mac,
            wanted,
            health,
        )

    async def record(self, changes: Changes) -> None:
        """Apply changes to sessions, nonces and queue; return once all of them are durable."""
        memory = self._memory
        ended = []
        for dev_eui in changes.ended:
            for session in memory.sessions.of_device(dev_eui):
                memory.sessions.remove(session)
                ended.append(session.session_id)
            self._pipeline.downlinks.flush(dev_eui)
            self._pipeline.configurations.restarted(dev_eui)
        for dev_eui in changes.removed:  # last: the ends of what waited name the device
            self.registry.remove(dev_eui)
            self._pipeline.configurations.forget(dev_eui)
        for dev_eui in changes.forgiven:
            memory.nonces.forgive(dev_eui)
        await self._durable(
            partial(
                self._pipeline.record,
                Record(
                    devices=changes.rows,
                    removed_devices=changes.removed,
                    forgiven_devices=changes.forgiven,
                    ended_sessions=tuple(ended),
                    sessions=tuple(self._personalise(spec) for spec in changes.personalised),
                ),
            )
        )
        for row in changes.rows:  # such as one that was enabled
            self._pipeline.downlinks.send_waiting(row.dev_eui)

    async def enqueue(
        self,
        dev_eui: bytes,
        f_port: int,
        frm_payload: bytes,
        *,
        confirmed: bool,
        priority: int,
        expires_utc_ms: int | None,
    ) -> int | Rejected:
        """Queue a downlink durably; return its id. Rejected: ``queue_full``."""
        durable = asyncio.get_running_loop().create_future()
        queued = self._pipeline.downlinks.send(
            dev_eui,
            f_port,
            frm_payload,
            partial(_settle, durable),
            confirmed=confirmed,
            priority=priority,
            expires_utc_ms=expires_utc_ms,
        )
        if not isinstance(queued, Rejected):
            await durable
        return queued

    async def flush(self, dev_eui: bytes) -> int:
        """Forget what waits for a device, durably; return how many."""
        durable = asyncio.get_running_loop().create_future()
        flushed = self._pipeline.downlinks.flush(dev_eui, partial(_settle, durable))
        await durable
        return flushed

    async def configure(self, dev_eui: bytes, payload: bytes) -> None:
        """Want a configuration of a device, durably."""
        await self._durable(partial(self._pipeline.configurations.want, dev_eui, payload))

    def fitting(self, spec: DeviceConfig) -> bool:
        """Whether the sessions of a device that comes again are those of its way in."""
        sessions = self._memory.sessions.of_device(spec.dev_eui)
        if spec.dev_addr is None:
            return not any(session.is_personalised for session in sessions)
        assert spec.nwk_s_key is not None
        assert spec.app_s_key is not None
        keys = [new_session_key(key).subkeys() for key in (spec.nwk_s_key, spec.app_s_key)]
        return [
            (it.dev_addr, [it.nwk_s_key.subkeys(), it.app_s_key.subkeys()]) for it in sessions
        ] == [(int.from_bytes(spec.dev_addr, "big"), keys)]

    def personalise_all(self, known: Iterable[SessionRow]) -> None:
        """Begin a session for every ABP device that has none with its address and keys.

        ``known`` are the stored ones; those of other addresses or keys end, and those of devices
        that are not personalised any more, or not ours.
        """
        rows = {row.session_id: row for row in known}
        begun, ended = [], []
        for device in self.registry.devices.values():
            wanted = (device.dev_addr, device.nwk_s_key, device.app_s_key)
            is_begun = False
            for session in self._memory.sessions.of_device(device.dev_eui):
                row = rows.get(session.session_id)
                if row is None:  # just begun, by a command
                    fits = True
                elif device.dev_addr is not None:
                    fits = (row.dev_addr, row.nwk_s_key, row.app_s_key) == wanted
                else:
                    fits = device.app_key is not None and not session.is_personalised
                is_begun |= fits
                if not fits:
                    self._memory.sessions.remove(session)
                    ended.append(session.session_id)
            if device.dev_addr is not None and not is_begun:
                assert device.nwk_s_key is not None
                assert device.app_s_key is not None
                begun.append(
                    self._begin(device.dev_eui, device.dev_addr, device.nwk_s_key, device.app_s_key)
                )
        if begun or ended:
            self._pipeline.record(Record(sessions=tuple(begun), ended_sessions=tuple(ended)))

    def _personalise(self, spec: DeviceConfig) -> SessionRow:
        assert spec.dev_addr is not None
        assert spec.nwk_s_key is not None
        assert spec.app_s_key is not None
        dev_addr = int.from_bytes(spec.dev_addr, "big")
        return self._begin(spec.dev_eui, dev_addr, spec.nwk_s_key, spec.app_s_key)

    def _begin(
        self, dev_eui: bytes, dev_addr: int, nwk_s_key: bytes, app_s_key: bytes
    ) -> SessionRow:
        self._memory.last_session_id += 1
        session = Session.personalised(
            self._memory.last_session_id,
            dev_eui,
            dev_addr,
            nwk_s_key,
            app_s_key,
            self._clock.utc_ms(),
        )
        self._memory.sessions.add(session)
        return recording.session_row(session, nwk_s_key, app_s_key)

    async def _durable(self, start: Callable[[Callable[[], None]], None]) -> None:
        durable = asyncio.get_running_loop().create_future()
        start(partial(_settle, durable))
        await durable


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():  # the command's client may have gone
        future.set_result(None)

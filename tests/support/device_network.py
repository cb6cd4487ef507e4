"""A network server for the commands about devices: what it records survives ``restarted``."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoep_gateway import config
from stoep_gateway.assets import configuration, device_rows, registry
from stoep_gateway.control import ControlServer
from stoep_gateway.device_commands import DeviceCommands
from stoep_gateway.device_network import Activity, Changes
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.store.records import DeviceRow
from stoep_gateway.store.sealing import Sealer

__all__ = ["CONFIG", "MemoryNetwork", "commands"]

CONFIG = """\
site = "town"

[[container]]
id = "a"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1200

[[container]]
id = "b"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1200

[[bay]]
id = "c"
street = "High Street"
lat = -15.8
lon = 35.0

[[source]]
id = "other"
kind = "the_things_stack"
application = "bins@town"

[[device]]
dev_eui = "00000000000000f1"
app_key = "00112233445566778899aabbccddeeff"
asset = "bay/c"
"""
_QUEUE = 2


class MemoryNetwork:
    """Holds the parts of a network server that the commands reach, in memory."""

    def __init__(self, folder: Path, rows: dict[bytes, DeviceRow] | None = None) -> None:
        self.folder = folder
        (folder / "stoep.toml").write_text(CONFIG, encoding="utf-8")
        self.registry = registry.build(config.load(folder / "stoep.toml"))
        self.sealer = Sealer(bytes(range(32)))
        self.rows = {} if rows is None else rows
        self.warnings = device_rows.load(self.registry, self.rows.values(), self.sealer)
        self.now_utc_ms = 1_700_000_000_000
        self.activities: dict[bytes, Activity] = {}
        self.queued: list[tuple[Any, ...]] = []
        self.recorded: list[Changes] = []
        self.durable = asyncio.Event()
        self.durable.set()

    def restarted(self) -> MemoryNetwork:
        """Return a new one that knows what this one has recorded."""
        return MemoryNetwork(self.folder, self.rows)

    def utc_ms(self) -> int:
        return self.now_utc_ms

    def activity(self, dev_eui: bytes) -> Activity:
        return self.activities.get(dev_eui, Activity())

    async def record(self, changes: Changes) -> None:
        self.recorded.append(changes)
        for dev_eui in changes.removed:
            self.registry.remove(dev_eui)
        for dev_eui in changes.forgiven:
            self._change(dev_eui, dev_nonces=0)
        for dev_eui in changes.ended:
            self._change(dev_eui, dev_addr=None, f_cnt_up=None, f_cnt_down=None, queued=0)
        for spec in changes.personalised:
            assert spec.dev_addr is not None
            dev_addr = int.from_bytes(spec.dev_addr, "big")
            self._change(spec.dev_eui, dev_addr=dev_addr, f_cnt_up=-1, f_cnt_down=0)
        await self.durable.wait()
        for row in changes.rows:
            self.rows[row.dev_eui] = row
        for dev_eui in changes.removed:
            del self.rows[dev_eui]

    def _change(self, dev_eui: bytes, **changes: Any) -> None:
        self.activities[dev_eui] = replace(self.activity(dev_eui), **changes)

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
        if len(self.queued) >= _QUEUE:
            return Rejected("queue_full", dev_eui.hex())
        self.queued.append((dev_eui, f_port, frm_payload, confirmed, priority, expires_utc_ms))
        return len(self.queued)

    async def configure(self, dev_eui: bytes, payload: bytes) -> None:
        before = self.activity(dev_eui).configuration
        row = configuration.want(before, dev_eui, payload, self.now_utc_ms)
        self._change(dev_eui, configuration=row)
        await self.durable.wait()

    async def flush(self, dev_eui: bytes) -> int:
        kept = [it for it in self.queued if it[0] != dev_eui]
        flushed = len(self.queued) - len(kept)
        self.queued = kept
        return flushed


def commands(network: MemoryNetwork, socket: Path) -> ControlServer:
    """Return a control server, not yet open, that answers for a network."""
    control = ControlServer(socket, database=socket.with_name("stoep.db"))
    DeviceCommands(network).register(control)
    return control

"""A gateway whose process may die and start again, configured for the devices of ``load``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import altered_gateway
from gateway_process import START_S, Gateway
from load import CONTAINER, Device
from stoep_gateway.control_client import socket_beside
from syscall_trace import TracedProcess
from waiting import PATIENCE_S, wait_until

__all__ = ["DATABASE", "GATEWAY_EUI", "MortalGateway", "configuration"]

GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
DATABASE = "data/stoep.db"  # in a folder that the gateway makes, whose name has to last, too

_HEAD = """\
site = "test"
[store]
path = "state/{database}"
[mqtt]
port = {broker_port}
[gwmp]
port = 0
[lorawan]
region = "{region}"
duty_cycle = false  # the load is of days in seconds
dedup_window_ms = {dedup_window_ms}
[[gateway]]
id = "kerb-1"
eui = "{eui}"
"""
_DEVICE = """
[[device]]
dev_eui = "{dev_eui}"
app_key = "{app_key}"
asset = "{asset}"
"""
_CONTAINER = """\
[[container]]
id = "{id}"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
"""
_BAY = """\
[[bay]]
id = "{id}"
street = "High Street"
lat = -15.8
lon = 35.0
"""


def configuration(
    devices: Sequence[Device],
    broker_port: int,
    *,
    region: str = "EU868",
    dedup_window_ms: int = 20,
) -> str:
    """Return a configuration with one asset for each device."""
    parts = [
        _HEAD.format(
            database=DATABASE,
            region=region,
            broker_port=broker_port,
            dedup_window_ms=dedup_window_ms,
            eui=GATEWAY_EUI.hex(),
        )
    ]
    for device in devices:
        name = f"{device.kind}-{device.number}"
        parts.append(
            _DEVICE.format(
                dev_eui=device.dev_eui.hex(),
                app_key=device.app_key.hex(),
                asset=f"{device.kind}/{name}",
            )
        )
        parts.append((_CONTAINER if device.kind == CONTAINER else _BAY).format(id=name))
    return "".join(parts)


class MortalGateway(Gateway):
    """``Gateway`` with its database in a folder of its own, which may run under strace."""

    def __init__(self, folder: Path, config: str) -> None:
        super().__init__(folder, config)
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        self.control = socket_beside(self.state / DATABASE)
        self._traced: TracedProcess | None = None
        self._pid = 0

    def start(self, trace: Path | None = None, pragma: str = "") -> None:
        """Start it and wait until it is ready.

        With ``trace``, under strace; ``pragma`` then alters its database.
        """
        if trace is None:
            super().start()
            return
        ready_file = self.folder / "ready.json"
        ready_file.unlink(missing_ok=True)
        command = list(self._command)
        if pragma:
            command[1:3] = [altered_gateway.__file__, pragma]
        self._traced = TracedProcess(
            command, trace, cwd=self.folder, stderr=self.folder / "gateway.log"
        )
        process = self._traced.process
        wait_until(
            lambda: ready_file.exists() or process.poll() is not None, "gateway is ready", START_S
        )
        assert ready_file.exists(), self.log()
        ready = json.loads(ready_file.read_text())
        self.port, self._pid = ready["gwmp_udp"], ready["pid"]

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        if self._traced is None:
            return super().stop()
        os.kill(self._pid, signal.SIGTERM)
        code = self._traced.wait(PATIENCE_S)
        self.kill()
        return code

    @contextmanager
    def dies_in(self, seconds: float) -> Iterator[None]:
        """Kill it after that time, whatever it is at then; it is dead at the end."""
        assert self.process is not None
        timer = Timer(seconds, self.process.kill)
        timer.start()
        try:
            yield
            timer.join()
            self.process.wait(PATIENCE_S)
        finally:
            timer.cancel()
        assert self.process.returncode == -signal.SIGKILL, self.log()

    def close(self) -> None:
        """End it, if it still lives."""
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        super().kill()
        if self._traced is not None:
            self._traced.close()
            self._traced = None

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Open a copy of the database while the gateway is down; the original stays as it is."""
        assert self.process is None or self.process.poll() is not None
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.state, copy, ignore=shutil.ignore_patterns("*.sock"))
        (copy / DATABASE).parent.mkdir(exist_ok=True)
        connection = sqlite3.connect(copy / DATABASE)
        try:
            yield connection
        finally:
            connection.close()

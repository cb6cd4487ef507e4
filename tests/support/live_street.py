"""One board with the real firmware, simulated at the pace of the wall clock, and its forwarder.

For a gateway that is somewhere else and has a clock of its own: it is spoken to over real UDP.
"""

from __future__ import annotations

import select
import socket
import time

from chip_bench import quiet_air
from stoep_hardware import board_data
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.engine import Engine
from stoep_hardware.forwarder import Forwarder
from stoep_hardware.sim_board import SimBoard

__all__ = ["LiveStreet"]

_BOARD = "heltec_wifi_lora_32_v3"
_STEP_S = 0.05


class _Wall:
    def distance_mm(self, _t_us: int) -> int:
        return 800


class LiveStreet:
    """A container's board, whose battery is put in now; ``port`` is the gateway's for GWMP."""

    def __init__(self, gateway_eui: str, dev_eui: str, app_key: str, port: int) -> None:
        self._engine = Engine(1)
        air = quiet_air(self._engine)
        data = board_data.load(_BOARD)
        config = {
            "kind": "bin",
            "dev_eui": dev_eui,
            "join_eui": "0000000000000000",
            "app_key": app_key,
            "region": "EU868",
            "interval_s": 900,
            "board": data.wiring(),
        }
        board = SimBoard(self._engine, air, data, config, distance=_Wall())
        self.device = CPythonDevice(self._engine, board, config)
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for it in self._sockets:
            it.connect(("127.0.0.1", port))
        self._forwarder = Forwarder(
            self._engine, air, bytes.fromhex(gateway_eui), (60.0, 0.0), self._send
        )
        self._begun_s = time.monotonic()
        self._forwarder.start()
        self.device.start(0)

    def _send(self, upstream: bool, datagram: bytes) -> None:
        self._sockets[not upstream].send(datagram)

    def step(self) -> None:
        """Let a moment pass."""
        readable, _, _ = select.select(self._sockets, (), (), _STEP_S)
        self._engine.run_until(int((time.monotonic() - self._begun_s) * 1e6))
        for it in readable:
            take = (self._forwarder.on_upstream, self._forwarder.on_downstream)
            take[self._sockets.index(it)](it.recv(65535))

    def close(self) -> None:
        """Take the battery out."""
        self.device.close()
        for it in self._sockets:
            it.close()

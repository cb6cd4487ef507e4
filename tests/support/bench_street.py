"""A street with nothing on it yet but a gateway, and the board that a technician is about to mount.

The gateway is the real process, on simulated time, and knows no device.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from chip_bench import quiet_air
from stoep_gateway.control_client import socket_beside
from stoep_hardware import board_data
from stoep_hardware.clock_channel import Lockstep
from stoep_hardware.engine import Engine
from stoep_hardware.forwarder import Forwarder
from stoep_hardware.gateway_process import GatewayProcess
from stoep_hardware.sim_board import SimBoard

ROOF = "0016c001ff10a235"
CONFIG = """\
site = "test"
[store]
path = "stoep.db"
[mqtt]
host = "{host}"
port = {port}
[gwmp]
bind = "127.0.0.1"
port = 0
[lorawan]
region = "EU868"
[[gateway]]
id = "roof"
eui = "{eui}"
lat = -15.8
lon = 35.0
[[container]]
id = "market-1"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1250
"""
START_MS = int(datetime(2026, 10, 20, 6, tzinfo=UTC).timestamp() * 1000)


class Wall:
    """What a container's sensor looks at on the bench."""

    mm = 800

    def distance_mm(self, _t_us):
        return self.mm


class World:
    """A board of chip models and its air, without a network."""

    def __init__(self, mac, *, board="heltec_wifi_lora_32_v3"):
        self.engine = Engine(1)
        self.air = quiet_air(self.engine)
        self.wall = Wall()
        named = {"dev_eui": (mac[:3] + b"\xff\xfe" + mac[3:]).hex()}
        data = board_data.load(board)
        self.board = SimBoard(self.engine, self.air, data, named, distance=self.wall)

    def step(self, until_us):
        self.engine.run_until(until_us)


class BenchStreet(World):
    """With a gateway within reach; a context manager."""

    def __init__(self, folder, broker, mac):
        super().__init__(mac)
        folder.mkdir()
        self.lockstep = Lockstep(self.engine, START_MS)
        self.forwarder = Forwarder(
            self.engine,
            self.air,
            bytes.fromhex(ROOF),
            (60.0, 0.0),
            self.lockstep.sender(),
            utc_start_ms=START_MS,
        )
        config = folder / "stoep.toml"
        config.write_text(CONFIG.format(host=broker[0], port=broker[1], eui=ROOF))
        self.options = ["--socket", str(socket_beside(folder / "stoep.db"))]
        self._process = GatewayProcess(config, folder)

    def __enter__(self):
        process = self._process
        process.wait_until_ready()
        self.lockstep.attach(
            [self.forwarder], process.clock_port, process.gwmp_port, process.last_words
        )
        self.forwarder.start()
        return self

    def __exit__(self, *_):
        self._process.stop()
        self.lockstep.detach()

    def step(self, until_us):
        self.lockstep.step(until_us)

    def program(self, folder):
        """Write a program `stoep` that reaches this gateway; return its path."""
        path = Path(folder) / "stoep"
        words = [sys.executable, "-m", "stoep_tools.cli"]
        run = " ".join(map(json.dumps, words))
        path.write_text(f'#!/bin/sh\nexec {run} "$@" {" ".join(self.options)}\n')
        path.chmod(0o755)
        return path

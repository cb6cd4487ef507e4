"""A program that takes a ChirpStack application's events into a file, to be killed at any moment.

    python source_taker.py PORT FILE [hold | careless]

Each uplink becomes a line, flushed to the disk; only then it is acknowledged. With ``hold`` nothing
is ever acknowledged; with ``careless`` it is acknowledged first, as a client does by itself, and
the kill is taken to come before the write.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from chirpstack_events import APPLICATION
from stoep_gateway.config_model import SourceConfig
from stoep_gateway.integrations.events import SourceUplink
from stoep_gateway.integrations.mqtt_source import MqttSource
from stoep_gateway.metrics import Metrics


def main(port: int, path: str, manner: str = "") -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def deliver(taken, done):
        assert isinstance(taken, SourceUplink), taken
        if manner == "careless":
            done()
            return  # and never gets to write it
        os.write(descriptor, taken.event_key.encode() + b"\n")
        os.fsync(descriptor)
        if manner != "hold":
            done()

    async def run():
        config = SourceConfig(id="ns", kind="chirpstack", application=APPLICATION, port=port)
        source = MqttSource(config, "test", deliver, Metrics(), lambda: time.time_ns() // 1_000_000)
        await source.run()

    asyncio.run(run())


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])

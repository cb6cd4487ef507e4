"""A forwarder, a device and a subscriber in a machine's network, told what to do line by line.

Run by ``Street`` in a process of its own, since a network namespace is a process's.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
import sys
from typing import Any

from broker import Mosquitto, Subscriber
from gwmp_client import Device, Forwarder, rxpk
from stoep_protocol.messages import BinReport

__all__ = ["CONFIG", "DEV_EUI", "OPEN_PORT", "Street"]

OPEN_PORT = 1884
GATEWAY_EUI = "0016c001ff10a235"
DEV_EUI = "70b3d57ed0000001"
APP_KEY = "2b7e151628aed2a6abf7158809cf4f3c"
CONFIG = f"""
[[gateway]]
id = "roof"
eui = "{GATEWAY_EUI}"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
full_mm = 300
[planning]
threshold_pct = 10
[[place]]
id = "yard"
kind = "depot"
lat = -15.7866
lon = 35.0146
[[place]]
id = "dump"
kind = "disposal"
lat = -15.7626
lon = 35.1148
[[truck]]
id = "truck-1"
capacity_l = 14000
depot = "yard"
disposal = "dump"
"""


class Street:
    """The tests' side of it."""

    def __init__(self, enter_network: list[str]) -> None:
        self._process = subprocess.Popen(
            [*enter_network, sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, what: str, count: int = 0) -> Any:
        """Have it ``join``, send ``uplinks`` and see them published, or send ``unheard`` ones."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, count]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{what}: the street has ended"
        return json.loads(line)

    def end(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):  # it may have ended by itself
            self._process.communicate(timeout=60)


class _Broker(Mosquitto):
    def __init__(self) -> None:  # it runs already
        self.port = OPEN_PORT


def _ids(subscriber: Subscriber) -> set[str]:
    states = subscriber.of("container/corner/state")
    return {json.loads(payload)["event_id"] for _, payload, _ in states}


def main() -> None:
    """Do what each line says, and answer it with all events so far."""
    device = Device(bytes.fromhex(DEV_EUI), bytes(8), bytes.fromhex(APP_KEY))
    sequence = itertools.count()
    with Subscriber(_Broker(), "stoep/#") as subscriber:
        for line in sys.stdin:
            what, count = json.loads(line)
            aim = len(_ids(subscriber)) + count
            # New sockets: nothing waits in them that belongs to an earlier line.
            forwarder = Forwarder(bytes.fromhex(GATEWAY_EUI), 1700)
            if what == "join":
                forwarder.pull()
                forwarder.push(rxpk(device.join_request(), tmst=1_000_000))
                device.accept(base64.b64decode(forwarder.take_downlink()["data"]))
            for _ in range(count):
                uplink = rxpk(device.uplink(BinReport(next(sequence) % 65536, 900, 4)))
                if what == "uplinks":
                    forwarder.push(uplink)
                else:
                    with contextlib.suppress(ConnectionRefusedError):
                        forwarder.send(0, json.dumps({"rxpk": [uplink]}).encode())
            if what == "uplinks":
                subscriber.wait_for(lambda aim=aim: len(_ids(subscriber)) >= aim)
            forwarder.close()
            print(json.dumps(sorted(_ids(subscriber))), flush=True)


if __name__ == "__main__":
    main()

"""A forwarder, devices and a subscriber in a machine's network, told what to do line by line.

Run by ``Street`` in a process of its own, since a network namespace is a process's.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
import sys
import time
from typing import Any

from broker import Mosquitto, Subscriber
from gwmp_client import Device, Forwarder, rxpk
from live_street import LiveStreet
from stoep_protocol.messages import BinReport

__all__ = [
    "APP_KEY",
    "BOARD_EUI",
    "CODEC",
    "CONFIG",
    "DEV_EUI",
    "MAKE",
    "OPEN_PORT",
    "OTHER_EUI",
    "Street",
]

OPEN_PORT = 1884
GATEWAY_EUI = "0016c001ff10a235"
DEV_EUI = "70b3d57ed0000001"
OTHER_EUI = "24e124000000000a"
BOARD_EUI = "70b3d57ed0000003"
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
[[container]]
id = "kerb"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
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
# Of another make, with a codec that a loop of the engine's own keeps from ever ending.
MAKE = """
[[container]]
id = "market"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
[[make]]
id = "acme-level"
codec = "acme-level.js"
kind = "bin"
distance_mm = "data.level cm"
temperature_c = "data.temperature"
"""
CODEC = """
function decodeUplink({bytes: [level, temperature]}) {
  if (level === 0xee) Array(2**32 - 1).join();
  return {data: {level, temperature}};
}
"""
_FOREVER = b"\xee"
_BOOT_S = 180  # a join takes ten seconds, and another where a busy machine has missed its moment


class Street:
    """The tests' side of it."""

    def __init__(self, enter_network: list[str]) -> None:
        self._process = subprocess.Popen(
            [*enter_network, sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, what: str, count: int = 0, container: str = "corner") -> list[dict[str, Any]]:
        """Have its device ``join``, send ``uplinks`` and see them published, ``unheard`` ones, or
        such as its codec hangs at (``forever``); or have a simulated board ``boot``, with all its
        firmware, until it is read. Return all the container's states so far.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, count, container]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{what}: the street has ended"
        states: list[dict[str, Any]] = json.loads(line)
        return states

    def end(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):  # it may have ended by itself
            self._process.communicate(timeout=60)


class _Broker(Mosquitto):
    def __init__(self) -> None:  # it runs already
        self.port = OPEN_PORT


class _Board:
    """The device of a container, the market's of another make."""

    def __init__(self, container: str, dev_eui: str, subscriber: Subscriber) -> None:
        self._dev_eui = dev_eui
        self._topic = f"container/{container}/state"
        self._device = Device(bytes.fromhex(dev_eui), bytes(8), bytes.fromhex(APP_KEY))
        self._is_ours = dev_eui == DEV_EUI
        self._subscriber = subscriber
        self._sequence = itertools.count()

    def join(self, forwarder: Forwarder) -> None:
        forwarder.pull()
        forwarder.push(rxpk(self._device.join_request(), tmst=1_000_000))
        self._device.accept(base64.b64decode(forwarder.take_downlink()["data"]))

    def uplink(self, what: str) -> dict[str, Any]:
        if self._is_ours:
            return rxpk(self._device.uplink(BinReport(next(self._sequence) % 65536, 900, 4)))
        payload = _FOREVER if what == "forever" else bytes((90, 21))
        return rxpk(self._device.uplink(f_port=2, payload=payload))

    def boot(self) -> None:
        """Have it simulated until it has been read once more."""
        aim = len(self.states()) + 1
        deadline_s = time.monotonic() + _BOOT_S
        live = LiveStreet(GATEWAY_EUI, self._dev_eui, APP_KEY, 1700)
        with contextlib.closing(live):
            while len(self.states()) < aim:
                assert time.monotonic() < deadline_s, "the board has not been read"
                live.step()

    def states(self) -> dict[str, Any]:
        said = (json.loads(payload) for _, payload, _ in self._subscriber.of(self._topic))
        return {state["event_id"]: state for state in said}


def main() -> None:
    """Do what each line says, and answer it with all states so far."""
    with Subscriber(_Broker(), "stoep/#") as subscriber:
        boards = {
            "corner": _Board("corner", DEV_EUI, subscriber),
            "market": _Board("market", OTHER_EUI, subscriber),
            "kerb": _Board("kerb", BOARD_EUI, subscriber),
        }
        for line in sys.stdin:
            what, count, container = json.loads(line)
            board = boards[container]
            aim = len(board.states()) + count
            # New sockets: nothing waits in them that belongs to an earlier line.
            forwarder = Forwarder(bytes.fromhex(GATEWAY_EUI), 1700)
            if what == "boot":
                board.boot()
            elif what == "join":
                board.join(forwarder)
            for _ in range(count):
                uplink = board.uplink(what)
                if what == "unheard":
                    with contextlib.suppress(ConnectionRefusedError):
                        forwarder.send(0, json.dumps({"rxpk": [uplink]}).encode())
                else:
                    forwarder.push(uplink)
            if what == "uplinks":
                subscriber.wait_for(lambda board=board, aim=aim: len(board.states()) >= aim)
            forwarder.close()
            print(json.dumps(list(board.states().values())), flush=True)


if __name__ == "__main__":
    main()

"""The gateway process when the system has too little of something."""

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from gateway_process import Gateway
from gwmp_client import Forwarder

EUI = bytes.fromhex("0016c001ff10a235")
CONFIG = """
site = "street"
[mqtt]
port = 1
[gwmp]
port = 0
[basics_station]
port = 0
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
"""
FILES = 64
PATIENCE_S = 60


def test_connections_that_use_up_the_files_do_not_end_the_gateway(tmp_path: Path) -> None:
    scarce = ("prlimit", f"--nofile={FILES}:{FILES}")
    with Gateway(tmp_path, CONFIG, command=scarce) as gateway, ExitStack() as flood:
        port = json.loads((tmp_path / "ready.json").read_text())["basics_station_tcp"]
        for _ in range(2 * FILES):
            flood.enter_context(socket.create_connection(("127.0.0.1", port)))
        deadline = time.monotonic() + PATIENCE_S
        while "out of system resource" not in gateway.log():
            assert time.monotonic() < deadline, gateway.log()
            time.sleep(0.01)  # it is another process: nothing to be told by
        forwarder = Forwarder(EUI, gateway.port)
        forwarder.pull()
        forwarder.close()
        flood.close()
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as station:
            station.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert station.recv(64).startswith(b"HTTP/1.1 426")
        assert gateway.stop() == 0
        assert gateway.log().count("out of system resource") < 5

"""What a gateway that serves a town for years costs the machine it runs on.

One `name value unit` line per figure:

    service_start_ms                     from the process's start until it takes datagrams, with
                                         1 000 devices in the database; the median of five
    service_rss_mb                       its memory after uplinks of all of them
    service_write_bytes_per_uplink       what it had the kernel write (/proc/PID/io, write_bytes):
                                         commits, checkpoints and its log, at 5 uplinks/s
    service_db_growth_bytes_per_uplink   by how much the database's pages in use grew

The devices really join and accept what MAC commands ask of them; a Mosquitto takes every message.
Then uplinks come through 20 gateways at an even pace, each a bin's or a bay's report that is
published in all its default forms, and the gateways ask for downlinks and send their stats as the
reference forwarder does. Nothing is tuned for this: the database is on the disk of $TMPDIR, which
must not be in memory.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from pipeline import GATEWAYS, Bench, configuration, gateway_eui, note
from scale import import_devices, rss_mb, send_all

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from broker import Mosquitto
from gateway_process import Gateway

DEVICES = 1_000
STARTS = 5
UPLINKS_PER_S = 5
RUN_S = 300.0
PULL_EVERY_S = 10.0
STAT_EVERY_S = 30.0
WAL_HEADER_OCTETS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--seconds", type=float, default=RUN_S, help="of the even pace")
    parser.add_argument("--more", default="", help="TOML put before the configuration's tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stoep-bench-") as name:
        folder = Path(name)
        text = options.more
        with (
            Mosquitto(folder / "broker") as broker,
            Gateway(
                folder / "gateway",
                text + configuration(broker.port, options.devices, registered=False),
            ) as gateway,
        ):
            import_devices(gateway, options.devices)
            bench = Bench(gateway, broker, options.devices)
            bench.join()
            bench.agree()
            start_ms(bench)
            bench.attach()
            send_all(bench)
            print(f"service_rss_mb {rss_mb(gateway):.0f} MB", flush=True)
            at_an_even_pace(bench, options.seconds)
            assert gateway.stop() == 0, gateway.log()


def start_ms(bench: Bench) -> None:
    gateway = bench.gateway
    starts_ms, cpu_ms = [], []
    for _ in range(STARTS):
        assert gateway.stop() == 0, gateway.log()
        began = time.monotonic()
        gateway.start()
        starts_ms.append((time.monotonic() - began) * 1000)
        cpu_ms.append(bench.gateway_cpu_s() * 1000)
    note(f"starts: {', '.join(f'{ms:.0f}' for ms in starts_ms)} ms")
    note(f"of CPU: {', '.join(f'{ms:.0f}' for ms in cpu_ms)} ms")
    print(f"service_start_ms {statistics.median(starts_ms):.0f} ms", flush=True)


def at_an_even_pace(bench: Bench, seconds: float) -> None:
    gateway = bench.gateway
    count = round(UPLINKS_PER_S * seconds)
    datagrams = [data for _, data in bench.frames(count, UPLINKS_PER_S)]
    before, pages, written = bench.recorded(), used_octets(bench), write_bytes(gateway)
    checkpoints = wal_generation(gateway)
    cpu_s = bench.gateway_cpu_s()
    began = time.monotonic()
    with closing(Forwarders(gateway.port)) as forwarders:
        for number, data in enumerate(datagrams):
            due = began + number / UPLINKS_PER_S
            while (wait_s := due - time.monotonic()) > 0:
                forwarders.step()
                bench.drain()
                time.sleep(min(wait_s, 0.1))
            bench.socket.send(data)
    bench.settle(before + count)
    assert bench.recorded() == before + count, "uplinks were lost"
    wrote = write_bytes(gateway) - written
    grew = used_octets(bench) - pages
    note(
        f"{count} uplinks in {seconds:.0f} s: {wrote / 1e6:.1f} MB written,"
        f" {wal_generation(gateway) - checkpoints} checkpoints, the database grew by"
        f" {grew / 1e6:.2f} MB, {1e3 * (bench.gateway_cpu_s() - cpu_s) / count:.1f} ms CPU an"
        f" uplink, {rss_mb(gateway):.0f} MB of memory"
    )
    print(f"service_write_bytes_per_uplink {wrote / count:.0f} B")
    print(f"service_db_growth_bytes_per_uplink {grew / count:.0f} B")


class Forwarders:
    """What forwarders send beside uplinks."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._pull_at = self._stat_at = 0.0

    def step(self) -> None:
        now = time.monotonic()
        if now >= self._pull_at:
            self._pull_at = now + PULL_EVERY_S
            self._of_each(lambda: (b"\x02", b""))
        if now >= self._stat_at:
            self._stat_at = now + STAT_EVERY_S
            self._of_each(lambda: (b"\x00", self._stat()))
        try:
            while True:
                self._socket.recv(10_000)
        except BlockingIOError:
            pass

    def _of_each(self, what: Callable[[], tuple[bytes, bytes]]) -> None:
        for index in range(GATEWAYS):
            kind, body = what()
            self._socket.send(b"\x02\x00\x00" + kind + gateway_eui(index) + body)

    def _stat(self) -> bytes:
        stat = {
            "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} GMT",
            "rxnb": 10,
            "rxok": 9,
            "rxfw": 9,
            "ackr": 100.0,
            "dwnb": 0,
            "txnb": 0,
        }
        return json.dumps({"stat": stat}).encode()

    def close(self) -> None:
        self._socket.close()


def write_bytes(gateway: Gateway) -> int:
    """Return what the kernel counts as written for the process (proc(5), /proc/PID/io)."""
    assert gateway.process is not None
    lines = Path(f"/proc/{gateway.process.pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def used_octets(bench: Bench) -> int:
    def pragma(name: str) -> int:
        return int(bench.database.execute(f"PRAGMA {name}").fetchone()[0])

    return pragma("page_size") * (pragma("page_count") - pragma("freelist_count"))


def wal_generation(gateway: Gateway) -> int:
    """Return how often the log was begun anew (sqlite.org/fileformat.html, 4.1)."""
    with (gateway.folder / "stoep.db-wal").open("rb") as log:
        return int.from_bytes(log.read(WAL_HEADER_OCTETS)[12:16], "big")


if __name__ == "__main__":
    main()

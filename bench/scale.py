"""What 10 000 devices cost a gateway that starts with all it knows of them.

One `name value unit` line per figure:

    scale_start_ms       from the process's start until it takes datagrams, the database warm
    scale_rss_mb         its memory after an uplink of every device
    scale_toml_start_ms  the same with a [[device]] table for each in the configuration
    scale_toml_rss_mb

The devices really join first and accept what MAC commands ask of them, so that sessions, nonces and
states are in the database; then the gateway is stopped and started, and every device sends once.
The first two figures are those of an operator of so many devices, who brings them in by
``stoep device import`` and has them in the database. Containers and bays are in the configuration
either way. The start is the median of five.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline import GATEWAYS, Bench, app_key, asset, configuration, dev_eui, note

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from broker import Mosquitto
from gateway_process import Gateway

DEVICES = 10_000
STARTS = 5
UPLINKS_PER_S = 1500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=DEVICES)
    count = parser.parse_args().devices
    with (
        tempfile.TemporaryDirectory(prefix="stoep-bench-") as folder,
        Mosquitto(Path(folder) / "broker") as broker,
        Gateway(Path(folder) / "gateway", configuration(broker.port, count)) as gateway,
    ):
        bench = Bench(gateway, broker, count)
        bench.join()
        bench.agree()
        measure(bench, "scale_toml")
        assert gateway.stop() == 0, gateway.log()
        text = configuration(broker.port, count, registered=False)
        (gateway.folder / "stoep.toml").write_text(text)
        gateway.start()
        import_devices(gateway, count)
        measure(bench, "scale")
        assert gateway.stop() == 0, gateway.log()


def measure(bench: Bench, name: str) -> None:
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
    print(f"{name}_start_ms {statistics.median(starts_ms):.0f} ms", flush=True)
    bench.attach()
    before_mb = rss_mb(gateway)
    send_all(bench)
    note(f"memory: {before_mb:.0f} MB after the start, {rss_mb(gateway):.0f} MB after the uplinks")
    print(f"{name}_rss_mb {rss_mb(gateway):.0f} MB", flush=True)


def import_devices(gateway: Gateway, count: int) -> None:
    lines = ["dev_eui,app_key,asset"]
    lines += [f"{dev_eui(i).hex()},{app_key(i).hex()},{asset(i)}" for i in range(count)]
    file = gateway.folder / "devices.csv"
    file.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "stoep_tools.cli", "device"]
    command += ["import", "--config", str(gateway.folder / "stoep.toml"), str(file)]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    note(f"{count} devices imported in {time.monotonic() - began:.1f} s")


def send_all(bench: Bench) -> None:
    """Send an uplink of every device and wait until all are recorded and published."""
    before = bench.recorded()
    began = time.monotonic()
    datagrams = [data for _, data in bench.frames(len(bench.devices), UPLINKS_PER_S)]
    for number, data in enumerate(datagrams):
        if number % GATEWAYS == 0:
            due = began + number / UPLINKS_PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            bench.drain()
        bench.socket.send(data)
    bench.settle(before + len(datagrams))
    assert bench.recorded() == before + len(datagrams), "uplinks were lost"


def rss_mb(gateway: Gateway) -> float:
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()

"""What one core of the gateway carries, from datagrams in to QoS 1 acknowledgements out.

One `name value unit` line per figure:

    pipeline_uplinks_per_s   the highest rate at which, for 30 s, every uplink sent was recorded and
                             published and neither the outbox nor the way to it grew
    pipeline_p99_ms          at 141 uplinks/s (a full 8-channel concentrator): from the datagram's
                             sending to its message at a subscriber, beyond the 200 ms window

Core 0 runs the gateway (all its threads, SQLite's fsyncs included), core 1 this load generator and
a Mosquitto of its own. 1 000 devices, four bins to one bay, really join over the air interface
first; then pre-built encrypted frames go out, one rxpk per PUSH_DATA, through 20 gateways. Every
default message is published. Times are of the monotonic clock of one machine.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import select
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import paho.mqtt.client as paho
from broker import Mosquitto
from gateway_process import Gateway
from gwmp_client import Device, rxpk
from paho.mqtt.enums import CallbackAPIVersion
from stoep_protocol.messages import BayReport, BinReport, Status

DEVICES = 1000
BINS = 800
GATEWAYS = 20
FULL_CONCENTRATOR_PER_S = 141
WINDOW_MS = 200
GATEWAY_CORE, OTHER_CORE = 0, 1
PROBE_S, RUN_S = 8.0, 30.0
STEP = 1.1
WAVE_S = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, help="measure this rate alone, do not search")
    parser.add_argument("--seconds", type=float, default=RUN_S)
    parser.add_argument("--start", type=float, default=3000.0, help="where the search begins")
    parser.add_argument("--skip-latency", action="store_true")
    parser.add_argument(
        "--profile", type=Path, help="where py-spy (if installed) writes its stacks"
    )
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("pipeline: needs two cores")
    os.sched_setaffinity(0, {OTHER_CORE})
    command = ("taskset", "-c", str(GATEWAY_CORE))
    with (
        tempfile.TemporaryDirectory(prefix="stoep-bench-") as folder,
        Mosquitto(Path(folder) / "broker") as broker,
        Gateway(Path(folder) / "gateway", configuration(broker.port), command=command) as gateway,
    ):
        bench = Bench(gateway, broker)
        bench.join()
        if not options.skip_latency:
            print(f"pipeline_p99_ms {bench.latency_p99_ms(options.seconds):.1f} ms", flush=True)
        bench.profile = options.profile
        if options.rate:
            print("sustained" if bench.sustains(options.rate, options.seconds) else "NOT sustained")
        else:
            rate = bench.highest_rate(options.start, options.seconds)
            print(f"pipeline_uplinks_per_s {rate:.0f} 1/s")
        assert gateway.stop() == 0, gateway.log()


def note(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


def configuration(broker_port: int) -> str:
    parts = [
        'site = "bench"\ntimezone = "UTC"\n[store]\npath = "stoep.db"\n',
        f"[mqtt]\nport = {broker_port}\n[gwmp]\nport = 0\n",
        f"[lorawan]\ndedup_window_ms = {WINDOW_MS}\n",
    ]
    parts += [
        f'[[gateway]]\nid = "kerb-{index}"\neui = "{gateway_eui(index).hex()}"\n'
        for index in range(GATEWAYS)
    ]
    for index in range(DEVICES):
        kind = "container" if index < BINS else "bay"
        parts.append(
            f'[[device]]\ndev_eui = "{dev_eui(index).hex()}"\napp_key = "{app_key(index).hex()}"\n'
            f'asset = "{kind}/{kind}-{index}"\n'
        )
        where = f'[[{kind}]]\nid = "{kind}-{index}"\nlat = -15.8\nlon = 35.0\n'
        if kind == "container":
            parts.append(f"{where}capacity_l = 1100\ndepth_mm = 1500\nfull_mm = 300\n")
        else:
            parts.append(f'{where}street = "High Street"\n')
    return "".join(parts)


def gateway_eui(index: int) -> bytes:
    return bytes.fromhex("0016c001ff100000")[:-2] + index.to_bytes(2, "big")


def dev_eui(index: int) -> bytes:
    return bytes.fromhex("70b3d57ed0000000")[:-2] + index.to_bytes(2, "big")


def app_key(index: int) -> bytes:
    return index.to_bytes(16, "big")


class Bench:
    def __init__(self, gateway: Gateway, broker: Mosquitto) -> None:
        self.gateway = gateway
        self.broker = broker
        self.profile: Path | None = None
        self.devices = [Device(dev_eui(i), bytes(8), app_key(i)) for i in range(DEVICES)]
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", gateway.port))
        self.socket.setblocking(False)
        self.sequence = 0
        self.tmst = 0
        database = f"file:{gateway.folder / 'stoep.db'}?mode=ro"
        self.database = sqlite3.connect(database, uri=True, isolation_level=None)

    def join(self) -> None:
        """Join all devices, a tenth of a second after the other for each hundred."""
        began = time.monotonic()
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as down:
            down.connect(("127.0.0.1", self.gateway.port))
            down.settimeout(10)
            for index in range(GATEWAYS):
                down.send(b"\x02\x00\x00\x02" + gateway_eui(index))
                down.recv(100)
            for first in range(0, DEVICES, 50):
                waiting = {}
                for device in self.devices[first : first + 50]:
                    self.socket.send(self.datagram(device.join_request(), first))
                    waiting[self.tmst] = device
                while waiting:
                    data = down.recv(10_000)
                    txpk = json.loads(data[4:])["txpk"]
                    device = waiting.pop(txpk["tmst"] - 5_000_000)
                    device.accept(base64.b64decode(txpk["data"]))
                    eui = gateway_eui(first % GATEWAYS)
                    down.send(b"\x02" + data[1:3] + b"\x05" + eui)
        self.drain()
        note(f"{DEVICES} devices joined in {time.monotonic() - began:.1f} s")

    def datagram(self, phy_payload: bytes, number: int) -> bytes:
        self.tmst += 1
        body = json.dumps({"rxpk": [rxpk(phy_payload, self.tmst)]}, separators=(",", ":"))
        token = (number & 0xFFFF).to_bytes(2, "big")
        return b"\x02" + token + b"\x00" + gateway_eui(number % GATEWAYS) + body.encode()

    def frames(self, count: int) -> Iterator[tuple[str, bytes]]:
        """Yield (start of the event id, datagram): the devices in turn, a status now and then."""
        for number in range(count):
            index = number % DEVICES
            if not index:
                self.sequence += 1
            device = self.devices[index]
            f_cnt = device.f_cnt_up
            report: object
            if f_cnt % 24 == 23:
                report = Status(firmware=(1, 0, 0), battery_mv=3600, charge_used_mah=f_cnt)
            elif index < BINS:
                report = BinReport(self.sequence, 1400 - self.sequence % 1000, 4)
            else:
                report = BayReport(self.sequence % 2, self.sequence, 30, 60)
            yield f"{device.dev_eui.hex()}/{f_cnt}", self.datagram(device.uplink(report), number)

    # Throughput.

    def highest_rate(self, start: float, seconds: float) -> float:
        rate, best = start, 0.0
        while self.sustains(rate, PROBE_S):
            best, rate = rate, rate * STEP
        while best and not self.sustains(best, seconds):
            best /= STEP
        if not best:
            rate = start
            while not self.sustains(rate := rate / STEP, seconds):
                pass
            best = rate
        return best

    def sustains(self, rate: float, seconds: float) -> bool:
        """Send at ``rate`` and tell whether everything arrived and nothing piled up."""
        datagrams = [data for _, data in self.frames(int(rate * seconds))]
        recorded_before = self.recorded()
        profiler = self.start_profiler(seconds)
        backlog: list[tuple[float, int]] = []  # outbox rows, and uplinks sent but not recorded
        began = time.monotonic()
        sampled = began
        sent, total = 0, len(datagrams)
        send = self.socket.send
        while sent < total:
            now = time.monotonic()
            due = min(total, int((now - began) * rate) + 1)
            for data in datagrams[sent:due]:
                send(data)
            sent = max(sent, due)
            self.drain()
            if now - sampled >= 1:
                sampled = now
                waiting = sent - (self.recorded() - recorded_before)
                backlog.append((now - began, self.outbox() + waiting))
            time.sleep(WAVE_S)
        took = time.monotonic() - began
        if profiler is not None:
            profiler.join()
        self.settle(recorded_before + total)
        recorded = self.recorded() - recorded_before
        late = [depth for at, depth in backlog if at > seconds / 2]
        early = [depth for at, depth in backlog if 2 < at <= seconds / 2]
        growth = statistics.median(late) - statistics.median(early) if late and early else 0.0
        # Half the run lies between the two medians: a pile that grows by a hundredth of the rate
        # every second would show as that much, times half the seconds.
        allowed = max(0.01 * rate * seconds / 2, 0.1 * rate)
        sustained = (
            recorded == total and growth <= allowed and took < seconds * 1.01 and self.outbox() == 0
        )
        note(
            f"{rate:.0f}/s for {took:.1f} s: {recorded} of {total} recorded, backlog"
            f" {[depth for _, depth in backlog]}: {'sustained' if sustained else 'NOT sustained'}"
        )
        return sustained

    def start_profiler(self, seconds: float) -> Thread | None:
        if self.profile is None:
            return None
        assert self.gateway.process is not None
        py_spy = str(Path(sys.executable).with_name("py-spy"))
        command = [py_spy, "record", "--gil", "-r", "200", "-f", "raw", "-d", str(int(seconds - 2))]
        command += ["-o", str(self.profile), "-p", str(self.gateway.process.pid)]
        self.profile = None
        thread = Thread(target=lambda: subprocess.run(command, check=True, capture_output=True))
        thread.start()
        return thread

    def settle(self, recorded: int) -> None:
        """Wait until everything is recorded and published, or nothing moves any more."""
        last, moved = (-1, -1), time.monotonic()
        while time.monotonic() - moved < 4:
            self.drain()
            state = (self.recorded(), self.outbox())
            if state == (recorded, 0):
                return
            if state != last:
                last, moved = state, time.monotonic()
            time.sleep(0.1)

    def recorded(self) -> int:
        row = self.database.execute("SELECT max(uplink_id) FROM uplink").fetchone()
        return int(row[0] or 0)

    def outbox(self) -> int:
        query = "SELECT ifnull(max(outbox_id) - min(outbox_id) + 1, 0) FROM outbox"
        return int(self.database.execute(query).fetchone()[0])

    def drain(self) -> None:
        try:
            while True:
                self.socket.recv(100)
        except BlockingIOError:
            pass

    # Latency.

    def latency_p99_ms(self, seconds: float) -> float:
        """Send as a full concentrator does and time each message at a subscriber."""
        sent_at: dict[str, float] = {}
        took_ms: list[float] = []

        def on_message(_client: object, _userdata: object, message: paho.MQTTMessage) -> None:
            now = time.monotonic()
            event_id = json.loads(message.payload)["event_id"].partition(":")[0]
            dev_eui, _, f_cnt = event_id.split("-")
            began = sent_at.get(f"{dev_eui}/{f_cnt}")
            if began is not None:
                took_ms.append((now - began) * 1000 - WINDOW_MS)

        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.on_message = on_message
        client.connect(*self.broker.address)
        for kind in ("container", "bay", "device"):
            client.subscribe(f"stoep/v1/bench/{kind}/#", qos=1)
        frames = list(self.frames(int(FULL_CONCENTRATOR_PER_S * seconds)))
        began = time.monotonic()
        for number, (name, data) in enumerate(frames):
            due = began + number / FULL_CONCENTRATOR_PER_S
            while (wait_s := due - time.monotonic()) > 0:
                if select.select([client.socket()], [], [], wait_s)[0]:
                    client.loop_read()
                client.loop_misc()
                if client.want_write():
                    client.loop_write()
            sent_at[name] = time.monotonic()
            self.socket.send(data)
            self.drain()
        quiet = time.monotonic()
        while time.monotonic() - quiet < 1:
            client.loop(0.1)
        client.disconnect()
        took_ms.sort()
        share = len(took_ms) // 100
        note(
            f"{len(frames)} uplinks, {len(took_ms)} messages; beyond the window: median"
            f" {took_ms[len(took_ms) // 2]:.1f} ms, p99 {took_ms[-share]:.1f} ms,"
            f" worst {took_ms[-1]:.1f} ms"
        )
        assert len(took_ms) >= len(frames)
        return took_ms[-share]


if __name__ == "__main__":
    main()

"""What one core of the gateway carries, from datagrams in to QoS 1 acknowledgements out.

One `name value unit` line per figure:

    pipeline_uplinks_per_s   the highest rate at which, for 30 s, every uplink sent was recorded and
                             published and neither the outbox nor the way to it grew
    pipeline_cpu_us          what the gateway's process (all threads, user and system) spends on one
                             uplink at that rate; it hardly depends on what else the machine does
    pipeline_p99_ms          at 141 uplinks/s (a full 8-channel concentrator): from the datagram's
                             sending to its message at a subscriber, beyond the 200 ms window

Core 0 runs the gateway (all its threads, SQLite's fsyncs included), core 1 this load generator and
a Mosquitto of its own. 10 000 devices, four bins to one bay, really join over the air interface
first and accept what MAC commands ask of them, for that happens once in the life of a session; then
pre-built encrypted frames go out, one rxpk per PUSH_DATA, through 20 gateways. Every default
message is published. Times are of the monotonic clock of one machine.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import paho.mqtt.client as paho
from broker import Mosquitto
from gateway_process import Gateway
from gwmp_client import Device, rxpk
from paho.mqtt.enums import CallbackAPIVersion
from stoep_protocol.lorawan import frames as lorawan
from stoep_protocol.lorawan import mac_commands
from stoep_protocol.lorawan.crypto import DOWN
from stoep_protocol.messages import BayReport, BinReport, Status

DEVICES = 10_000
GATEWAYS = 20
FULL_CONCENTRATOR_PER_S = 141
WINDOW_MS = 200
GATEWAY_CORE, OTHER_CORE = 0, 1
PROBE_S, RUN_S = 8.0, 30.0
STEP = 1.1
WAVE_S = 0.002
DOWNLINKS_PER_S = 280  # 43 ms apart and the air's time at each gateway
CHANNELS = 8
QUIET_S = 6.0  # till the last answers of before are on the air
MAC_ROUNDS = 8
# What a device answers that can do all it is asked: LinkADR, DutyCycle, RXParamSetup, DevStatus,
# NewChannel, RXTimingSetup, TxParamSetup, DlChannel (LoRaWAN 1.0.3, 5).
ACCEPTED = {
    0x03: b"\x07",
    0x04: b"",
    0x05: b"\x07",
    0x06: b"\xff\x10",
    0x07: b"\x03",
    0x08: b"",
    0x09: b"",
    0x0A: b"\x03",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, help="measure this rate alone, do not search")
    parser.add_argument("--seconds", type=float, default=RUN_S)
    parser.add_argument("--start", type=float, default=3000.0, help="where the search begins")
    parser.add_argument("--devices", type=int, default=DEVICES)
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
        Gateway(
            Path(folder) / "gateway", configuration(broker.port, options.devices), command=command
        ) as gateway,
    ):
        bench = Bench(gateway, broker, options.devices)
        bench.join()
        bench.agree()
        if not options.skip_latency:
            print(f"pipeline_p99_ms {bench.latency_p99_ms(options.seconds):.1f} ms", flush=True)
        bench.profile = options.profile
        if options.rate:
            print("sustained" if bench.sustains(options.rate, options.seconds) else "NOT sustained")
        else:
            rate = bench.highest_rate(options.start, options.seconds)
            print(f"pipeline_uplinks_per_s {rate:.0f} 1/s")
        print(f"pipeline_cpu_us {bench.cpu_us:.0f} us")
        assert gateway.stop() == 0, gateway.log()


def note(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


def configuration(broker_port: int, devices: int, *, registered: bool = True) -> str:
    parts = [
        'site = "bench"\ntimezone = "UTC"\n[store]\npath = "stoep.db"\n',
        f"[mqtt]\nport = {broker_port}\n[gwmp]\nport = 0\n",
        f'[lorawan]\nregion = "US915"\ndedup_window_ms = {WINDOW_MS}\n',
    ]
    parts += [
        f'[[gateway]]\nid = "kerb-{index}"\neui = "{gateway_eui(index).hex()}"\n'
        for index in range(GATEWAYS)
    ]
    for index in range(devices):
        if registered:
            parts.append(
                f'[[device]]\ndev_eui = "{dev_eui(index).hex()}"\n'
                f'app_key = "{app_key(index).hex()}"\nasset = "{asset(index)}"\n'
            )
        kind, _, name = asset(index).partition("/")
        where = f'[[{kind}]]\nid = "{name}"\nlat = -15.8\nlon = 35.0\n'
        if kind == "container":
            parts.append(f"{where}capacity_l = 1100\ndepth_mm = 1500\nfull_mm = 300\n")
        else:
            parts.append(f'{where}street = "High Street"\n')
    return "".join(parts)


def is_bin(index: int) -> bool:
    return index % 5 < 4


def asset(index: int) -> str:
    kind = "container" if is_bin(index) else "bay"
    return f"{kind}/{kind}-{index}"


def gateway_eui(index: int) -> bytes:
    return bytes.fromhex("0016c001ff100000")[:-2] + index.to_bytes(2, "big")


def dev_eui(index: int) -> bytes:
    return bytes.fromhex("70b3d57ed0000000")[:-2] + index.to_bytes(2, "big")


def app_key(index: int) -> bytes:
    return index.to_bytes(16, "big")


def accepted(f_opts: bytes) -> bytes:
    """Return the FOpts with which a device accepts all that a downlink's ask of it."""
    requests, _ = mac_commands.decode(DOWN, f_opts)
    return b"".join(bytes((cid,)) + ACCEPTED[cid] for cid, *_ in requests)


class Bench:
    def __init__(self, gateway: Gateway, broker: Mosquitto, devices: int) -> None:
        self.gateway = gateway
        self.broker = broker
        self.profile: Path | None = None
        self.cpu_us = 0.0
        self.devices = [Device(dev_eui(i), bytes(8), app_key(i)) for i in range(devices)]
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.attach()
        self.sequence = 0
        self.tmst = 0.0
        self.asked: dict[int, Device] = {}  # by the gateway's counter
        self.through: dict[Device, bytes] = {}
        database = f"file:{gateway.folder / 'stoep.db'}?mode=ro"
        self.database = sqlite3.connect(database, uri=True, isolation_level=None)

    def attach(self) -> None:
        """Send to where the gateway listens now."""
        self.socket.connect(("127.0.0.1", self.gateway.port))

    def join(self) -> None:
        """Join all devices; who gets no answer asks again."""
        began = time.monotonic()

        def whose(tmst: int, _phy_payload: bytes) -> Device | None:
            return self.asked.get((tmst - 5_000_000) % 2**32) or self.asked.get(
                (tmst - 6_000_000) % 2**32
            )

        with closing(self.pulling()) as down:
            missing: Sequence[Device] = self.devices
            while missing:
                answers = self.exchange(down, missing, Device.join_request, whose)
                for device, phy_payload in answers.items():
                    device.accept(phy_payload)
                missing = [device for device in missing if device not in answers]
        note(f"{len(self.devices)} devices joined in {time.monotonic() - began:.1f} s")

    def agree(self) -> None:
        """Have all devices accept what they are asked by MAC command, until nothing is asked."""
        began = time.monotonic()
        by_dev_addr = {device.dev_addr: device for device in self.devices}

        def data_frame(phy_payload: bytes) -> lorawan.DataFrame:
            frame = lorawan.parse(phy_payload)
            assert isinstance(frame, lorawan.DataFrame)
            return frame

        def whose(_tmst: int, phy_payload: bytes) -> Device | None:
            return by_dev_addr[data_frame(phy_payload).dev_addr]

        def uplink(device: Device) -> bytes:
            status = Status(firmware=(1, 0, 0), battery_mv=3600)
            return device.uplink(status, f_opts=speaking[device])

        speaking = dict.fromkeys(self.devices, b"")
        heard: set[Device] = set()
        with closing(self.pulling()) as down:
            for _ in range(MAC_ROUNDS):
                answers = self.exchange(down, list(speaking), uplink, whose)
                heard.update(answers)
                speaking = {device: b"" for device in speaking if device not in heard}
                for device, phy_payload in answers.items():
                    speaking[device] = accepted(data_frame(phy_payload).f_opts)
                if not speaking:
                    break
        note(
            f"{len(self.devices) - len(speaking)} devices settled in"
            f" {time.monotonic() - began:.1f} s"
        )

    def pulling(self) -> socket.socket:
        """Return the socket to which all gateways get their downlinks."""
        down = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        down.connect(("127.0.0.1", self.gateway.port))
        down.settimeout(10)
        for index in range(GATEWAYS):
            down.send(b"\x02\x00\x00\x02" + gateway_eui(index))
            down.recv(100)
        down.setblocking(False)
        return down

    def exchange(
        self,
        down: socket.socket,
        devices: Sequence[Device],
        frame: Callable[[Device], bytes],
        whose: Callable[[int, bytes], Device | None],
    ) -> dict[Device, bytes]:
        """Send a frame of each device, through all gateways in turn; return what comes back."""
        answers: dict[Device, bytes] = {}
        self.asked.clear()
        time.sleep(QUIET_S)
        self.tmst += QUIET_S * 1e6
        start = time.monotonic()
        for number, device in enumerate(devices):
            while time.monotonic() < start + number / DOWNLINKS_PER_S:
                self.take_downlinks(down, whose, answers)
                time.sleep(WAVE_S)
            data = self.datagram(frame(device), number, 1e6 / DOWNLINKS_PER_S)
            self.asked[int(self.tmst)] = device
            self.through[device] = gateway_eui(number % GATEWAYS)
            self.socket.send(data)
        until = time.monotonic() + 1
        while len(answers) < len(devices) and time.monotonic() < until:
            self.take_downlinks(down, whose, answers)
            time.sleep(WAVE_S)
        return answers

    def take_downlinks(
        self,
        down: socket.socket,
        whose: Callable[[int, bytes], Device | None],
        answers: dict[Device, bytes],
    ) -> None:
        self.drain()
        try:
            while True:
                data = down.recv(10_000)
                txpk = json.loads(data[4:])["txpk"]
                phy_payload = base64.b64decode(txpk["data"])
                device = whose(txpk["tmst"], phy_payload)
                if device is not None:
                    answers[device] = phy_payload
                    down.send(b"\x02" + data[1:3] + b"\x05" + self.through[device])
        except BlockingIOError:
            pass

    def datagram(self, phy_payload: bytes, number: int, after_us: float) -> bytes:
        """Return a PUSH_DATA by the gateway and on the channel whose turn it is."""
        self.tmst = (self.tmst + after_us) % 2**32
        reception = rxpk(
            phy_payload, int(self.tmst), freq=round(903.9 + number % CHANNELS * 0.2, 1)
        )
        body = json.dumps({"rxpk": [reception]}, separators=(",", ":"))
        token = (number & 0xFFFF).to_bytes(2, "big")
        return b"\x02" + token + b"\x00" + gateway_eui(number % GATEWAYS) + body.encode()

    def frames(self, count: int, rate: float) -> Iterator[tuple[str, bytes]]:
        """Yield (start of the event id, datagram): the devices in turn, a status now and then."""
        for number in range(count):
            index = number % len(self.devices)
            if not index:
                self.sequence += 1
            device = self.devices[index]
            f_cnt = device.f_cnt_up
            report: object
            if f_cnt % 24 == 23:
                report = Status(firmware=(1, 0, 0), battery_mv=3600, charge_used_mah=f_cnt)
            elif is_bin(index):
                report = BinReport(self.sequence, 1400 - self.sequence % 1000, 4)
            else:
                report = BayReport(self.sequence % 2, self.sequence, 30, 60)
            yield (
                f"{device.dev_eui.hex()}/{f_cnt}",
                self.datagram(device.uplink(report), number, 1e6 / rate),
            )

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
        datagrams = [data for _, data in self.frames(int(rate * seconds), rate)]
        recorded_before, cpu_before = self.recorded(), self.gateway_cpu_s()
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
        self.cpu_us = (self.gateway_cpu_s() - cpu_before) * 1e6 / max(1, recorded)
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
            f"{rate:.0f}/s for {took:.1f} s: {recorded} of {total} recorded,"
            f" {self.cpu_us:.0f} µs CPU each, backlog"
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

    def gateway_cpu_s(self) -> float:
        """Return what the gateway's threads have used, user and system."""
        assert self.gateway.process is not None
        stat = Path(f"/proc/{self.gateway.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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
        rate = FULL_CONCENTRATOR_PER_S
        frames = list(self.frames(int(rate * seconds), rate))
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

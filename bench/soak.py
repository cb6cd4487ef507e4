"""Whether a gateway that has served a town for a week is still the one that was started.

Seven simulated days of hourly reports of 2 000 devices through the real gateway process and a real
Mosquitto; the gateway's clock is driven (docs/developer.md, "Simulated time"), the rest is real.
One line a day on stderr; at the end one `name value unit` line per figure:

    soak_rss_mb                       memory at the end of the last day
    soak_rss_growth_mb                by how much that is more than at the end of the first
    soak_fds                          open files at the end of the last day
    soak_fds_growth                   and how many more than at the end of the first
    soak_outbox_rows                  messages waiting at the end of a day, the most of all days;
                                      the broker, in real time, is given ten seconds to catch up
    soak_write_bytes_per_uplink       what the kernel wrote for the process on the last day; many
                                      uplinks share a commit, so service.py tells of a real day
    soak_db_growth_bytes_per_uplink   by how much the database's pages in use grew on the last day
    soak_cpu_us_per_uplink            user and system, on the last day
    soak_lost_uplinks                 sent and not recorded

The devices join and settle in real time before. Uplinks come in a hundred waves an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pipeline import GATEWAYS, Bench, configuration, gateway_eui, is_bin, note
from scale import import_devices, rss_mb
from service import used_octets, write_bytes

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from broker import Mosquitto
from gateway_process import Gateway
from gwmp_client import rxpk
from stoep_hardware.clock_channel import ClockChannel
from stoep_protocol.messages import BayReport, BinReport

DEVICES, DAYS = 2_000, 7
WAVES_PER_H = 100
HOUR_MS = 3_600_000
AFTER_WINDOW_MS = 400
CATCH_UP_S = 10.0
STAT_EVERY_WAVES = 8
UP, ACK = True, False
PULL_RESP = 3


class Figures(NamedTuple):
    """What a day has left behind, all of it since the start."""

    rss_mb: float
    fds: int
    outbox: int
    written: int
    pages: int
    cpu_s: float
    uplinks: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--hours-a-day", type=int, default=24, help="fewer: for a short look")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="stoep-bench-") as folder,
        Mosquitto(Path(folder) / "broker") as broker,
        Gateway(
            Path(folder) / "gateway",
            configuration(broker.port, options.devices, registered=False),
        ) as gateway,
    ):
        import_devices(gateway, options.devices)
        bench = Bench(gateway, broker, options.devices)
        bench.join()
        bench.agree()
        assert gateway.stop() == 0, gateway.log()
        gateway._command.append("--simulated-clock")
        gateway.start()
        with closing(Days(bench)) as days:
            run(days, options.days, options.hours_a_day)
        assert gateway.process is not None
        assert gateway.process.wait(60) == 0, gateway.log()


def run(days: Days, count: int, hours_a_day: int) -> None:
    before = days.figures()
    ends = []
    for day in range(1, count + 1):
        began = time.monotonic()
        days.live(hours_a_day)
        now = days.figures()
        uplinks = max(1, now.uplinks - before.uplinks)
        note(
            f"day {day}: RSS {now.rss_mb:.1f} MB, {now.fds} open files, outbox {now.outbox},"
            f" {(now.written - before.written) / uplinks:.0f} B written and"
            f" {(now.pages - before.pages) / uplinks:.0f} B of growth an uplink,"
            f" {1e6 * (now.cpu_s - before.cpu_s) / uplinks:.0f} µs CPU;"
            f" {uplinks} uplinks in {time.monotonic() - began:.0f} s"
        )
        previous, before = before, now
        ends.append(now)
    first, last = ends[0], ends[-1]
    uplinks = max(1, last.uplinks - previous.uplinks)
    print(f"soak_rss_mb {last.rss_mb:.1f} MB")
    print(f"soak_rss_growth_mb {last.rss_mb - first.rss_mb:.1f} MB")
    print(f"soak_fds {last.fds} files")
    print(f"soak_fds_growth {last.fds - first.fds} files")
    print(f"soak_outbox_rows {max(end.outbox for end in ends)} rows")
    print(f"soak_write_bytes_per_uplink {(last.written - previous.written) / uplinks:.0f} B")
    print(f"soak_db_growth_bytes_per_uplink {(last.pages - previous.pages) / uplinks:.0f} B")
    print(f"soak_cpu_us_per_uplink {1e6 * (last.cpu_s - previous.cpu_s) / uplinks:.0f} us")
    print(f"soak_lost_uplinks {days.sent - last.uplinks} uplinks")


class Days:
    """Drives the gateway's clock and sends what its devices and forwarders have to say."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        gateway = bench.gateway
        ready = json.loads((gateway.folder / "ready.json").read_text())
        self._channel = ClockChannel(
            ready["clock_tcp"],
            ready["gwmp_udp"],
            utc_start_ms=time.time_ns() // 1_000_000,
            forwarders=GATEWAYS,
            last_words=gateway.log,
        )
        self._now_ms = 0
        self._wave = 0
        self._token = 0
        self._reports = 0
        self._recorded_before = bench.recorded()
        self.sent = 0

    def live(self, hours: int) -> None:
        devices = self._bench.devices
        waves = min(WAVES_PER_H, len(devices))
        for _ in range(hours):
            self._reports += 1
            for wave in range(waves):
                self._advance(self._now_ms + HOUR_MS // waves - AFTER_WINDOW_MS)
                self._forwarders_speak()
                for index in range(wave, len(devices), waves):
                    self._uplink(index)
                self._advance(self._now_ms + AFTER_WINDOW_MS)

    def figures(self) -> Figures:
        bench, gateway = self._bench, self._bench.gateway
        assert gateway.process is not None
        until = time.monotonic() + CATCH_UP_S
        while bench.outbox() and time.monotonic() < until:
            self._advance(self._now_ms + 1)  # also asks whether it lives
            time.sleep(0.05)
        return Figures(
            rss_mb(gateway),
            len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir())),
            bench.outbox(),
            write_bytes(gateway),
            used_octets(bench),
            bench.gateway_cpu_s(),
            bench.recorded() - self._recorded_before,
        )

    def close(self) -> None:
        self._channel.close()

    def _advance(self, until_ms: int) -> None:
        while True:
            for forwarder, _, datagram in self._channel.advance(until_ms):
                if datagram[3] == PULL_RESP:
                    head = b"\x02" + datagram[1:3] + b"\x05"
                    self._channel.send(forwarder, ACK, head + gateway_eui(forwarder))
            self._now_ms = self._channel.idle_at_ms
            if self._now_ms >= until_ms:
                return

    def _forwarders_speak(self) -> None:
        self._wave += 1
        for forwarder in range(GATEWAYS):
            self._send(forwarder, b"\x02", b"", up=ACK)
            if self._wave % STAT_EVERY_WAVES == 0:
                stat = {"stat": {"rxnb": 10, "rxok": 9, "rxfw": 9, "ackr": 100.0, "dwnb": 0}}
                self._send(forwarder, b"\x00", json.dumps(stat).encode())

    def _uplink(self, index: int) -> None:
        device = self._bench.devices[index]
        report: BinReport | BayReport
        if is_bin(index):
            report = BinReport(self._reports, 1400 - 40 * (self._reports % 24), 4)
        else:
            report = BayReport(self._reports % 2, self._reports, 30, 60)
        phy_payload = device.uplink(report)
        heard = rxpk(phy_payload, self._now_ms * 1000 % 2**32, freq=903.9)
        body = json.dumps({"rxpk": [heard]}, separators=(",", ":")).encode()
        self._send(index % GATEWAYS, b"\x00", body)
        self.sent += 1

    def _send(self, forwarder: int, kind: bytes, body: bytes, *, up: bool = UP) -> None:
        self._token = (self._token + 1) & 0xFFFF
        head = b"\x02" + self._token.to_bytes(2, "big") + kind + gateway_eui(forwarder)
        self._channel.send(forwarder, up, head + body)


if __name__ == "__main__":
    main()

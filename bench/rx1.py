"""How many confirmed uplinks are answered in time, over four gateways.

One `name value unit` line per figure:

    rx1_met_pct        US915 (no duty cycle), in real time, 1 000 confirmed uplinks a minute: the
                       share whose acknowledgement a forwarder took with 60 ms to spare
    rx1_worst_ms       the least that was to spare among them
    rx1_duty_used_pct  EU868, in simulated time, the same load for as long as it takes to use up an
                       hour's airtime: what was sent, of what the sub-bands' duty cycle allows

The forwarders keep the laws of the air: what comes with less than 60 ms to spare is refused, and so
is what overlaps another transmission of theirs. An acknowledgement counts when its device takes it:
right MIC, right counter, ACK bit. All is seeded. Devices are personalised (ABP), for joining would
use the airtime that is measured; they send at SF7, where ADR would have them, and accept what MAC
commands ask of them, in an uplink each before the measurement begins.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import select
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import accepted, note

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from broker import free_port
from gateway_process import Gateway
from gwmp_client import rxpk
from lorawan_keys import new_key
from stoep_protocol.lorawan import frames
from stoep_protocol.lorawan.airtime import time_on_air_us

GATEWAYS = 4
DEVICES = 250
PER_MINUTE = 1000
SPARE_US = 60_000
GUARD_US = 42_500  # of the reference forwarder between two transmissions
PULL_S = 10
EU868_MINUTES = 12  # 312 acknowledgements in RX2 at SF12, one after the other, take six
RX2_MHZ = {"US915": 923.3, "EU868": 869.525}
# Share of an hour that EU868 allows (ETSI EN 300 220-2), by the frequencies that downlinks use.
ALLOWED_US = {"868.0-868.6": 36_000_000, "869.4-869.65": 360_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of US915")
    parser.add_argument("--minutes", type=float, default=EU868_MINUTES, help="simulated, of EU868")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stoep-bench-") as folder:
        real_time(Path(folder) / "US915", options.seconds)
        duty_cycle(Path(folder) / "EU868", options.minutes)


def configuration(region: str) -> str:
    parts = [
        'site = "bench"\ntimezone = "UTC"\n[store]\npath = "stoep.db"\n',
        f'[mqtt]\nport = {free_port()}\n[gwmp]\nport = 0\n[lorawan]\nregion = "{region}"\n',
    ]
    parts += [
        f'[[gateway]]\nid = "kerb-{index}"\neui = "{gateway_eui(index).hex()}"\n'
        for index in range(GATEWAYS)
    ]
    for index in range(DEVICES):
        device = Device(index)
        parts.append(
            f'[[device]]\ndev_eui = "70b3d57ed000{index:04x}"\ndev_addr = "{device.dev_addr:08x}"\n'
            f'nwk_s_key = "{device.key.hex()}"\napp_s_key = "{device.key.hex()}"\n'
        )
    return "".join(parts)


def gateway_eui(index: int) -> bytes:
    return bytes.fromhex("0016c001ff1000") + bytes((index,))


class Device:
    """A personalised device that has only confirmed uplinks to send."""

    def __init__(self, index: int) -> None:
        self.dev_addr = 0x26000000 + index
        self.key = index.to_bytes(16, "big")
        self._key = new_key(self.key)
        self.f_cnt_up = 0
        self.next_f_cnt_down = 0
        self._answers = b""

    def uplink(self) -> bytes:
        phy_payload = frames.encode_data(
            frames.CONFIRMED_UP,
            self.dev_addr,
            self.f_cnt_up,
            self._key,
            self._key,
            f_opts=self._answers,
            f_port=100,
            payload=bytes(11),
        )
        self.f_cnt_up += 1
        self._answers = b""
        return phy_payload

    def takes(self, frame: frames.DataFrame) -> bool:
        """Whether this is a new downlink of this device that acknowledges."""
        f_cnt = frames.full_f_cnt(self.next_f_cnt_down, frame.f_cnt)
        if f_cnt < self.next_f_cnt_down or not frames.verify(frame, self._key, f_cnt):
            return False
        self.next_f_cnt_down = f_cnt + 1
        self._answers = accepted(frame.f_opts)
        return frame.ack


@dataclass
class Tally:
    """What became of the acknowledgements."""

    uplinks: int = 0
    acknowledged: set[tuple[int, int]] = field(default_factory=set)
    spare_us: list[int] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    rx2: int = 0


class Forwarder:
    """A packet forwarder and its concentrator, whose counter starts anywhere."""

    def __init__(self, index: int, region: str, port: int) -> None:
        self.eui = gateway_eui(index)
        self.region = region
        self.offset_us = 1_000_000_000 * (index + 1)
        self.on_air: list[tuple[int, int]] = []
        self.used_us = dict.fromkeys(ALLOWED_US, 0)
        self.sent = self.received = 0
        self.up, self.down = _socket(port), _socket(port)

    def pull(self) -> None:
        self._send(self.down, b"\x02\x00\x01\x02" + self.eui)

    def push(self, reception: dict[str, object]) -> None:
        body = json.dumps({"rxpk": [reception]}, separators=(",", ":")).encode()
        self._send(self.up, b"\x02\x00\x00\x00" + self.eui + body)

    def counter(self, now_us: int) -> int:
        return (now_us + self.offset_us) % 2**32

    def take(self, now_us: int, devices: list[Device], tally: Tally) -> None:
        """Read both sockets; put on the air what can be, answer for each."""
        for sock in (self.up, self.down):
            try:
                while True:
                    data = sock.recv(65_535)
                    self.received += 1
                    if data[3] == 3:
                        error = self._transmit(json.loads(data[4:])["txpk"], now_us, devices, tally)
                        body = json.dumps({"txpk_ack": {"error": error}}).encode()
                        self._send(self.down, b"\x02" + data[1:3] + b"\x05" + self.eui + body)
            except BlockingIOError:
                pass

    def _transmit(
        self, txpk: dict[str, object], now_us: int, devices: list[Device], tally: Tally
    ) -> str:
        spare_us = (txpk["tmst"] - self.counter(now_us) + 2**31) % 2**32 - 2**31
        phy_payload = base64.b64decode(txpk["data"])
        sf, bw_hz = (int(part) for part in txpk["datr"].removeprefix("SF").split("BW"))
        air_us = time_on_air_us(len(phy_payload), sf, bw_hz * 1000, crc=False)
        starts_us = now_us + spare_us
        ends_us = starts_us + air_us
        error = "NONE"
        self.on_air = [span for span in self.on_air if span[1] > now_us - 1_000_000]
        if spare_us < SPARE_US:
            error = "TOO_LATE"
        elif any(starts_us < e + GUARD_US and s < ends_us + GUARD_US for s, e in self.on_air):
            error = "COLLISION_PACKET"
        tally.errors[error] = tally.errors.get(error, 0) + 1
        if error != "NONE":
            return error
        self.on_air.append((starts_us, ends_us))
        if self.region == "EU868":
            self.used_us["868.0-868.6" if txpk["freq"] < 868.6 else "869.4-869.65"] += air_us
        tally.spare_us.append(spare_us)
        tally.rx2 += txpk["freq"] == RX2_MHZ[self.region] and sf in (8, 12)
        frame = frames.parse(phy_payload)
        assert isinstance(frame, frames.DataFrame)
        device = devices[frame.dev_addr - 0x26000000]
        assert device.takes(frame), "a downlink that its device does not understand"
        if device.f_cnt_up > 1:
            tally.acknowledged.add((frame.dev_addr, device.f_cnt_up))
        return error

    def _send(self, sock: socket.socket, data: bytes) -> None:
        sock.send(data)
        self.sent += 1


def _socket(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


class Street:
    """The devices and what the four gateways hear of them."""

    def __init__(self, region: str, port: int, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.region = region
        self.devices = [Device(index) for index in range(DEVICES)]
        self.forwarders = [Forwarder(index, region, port) for index in range(GATEWAYS)]
        self.tally = Tally()

    def times_s(self, seconds: float) -> list[float]:
        """Return when uplinks end, devices know nothing of each other; before 0 one of each."""
        count = int(PER_MINUTE * seconds / 60)
        early_s = 60 * DEVICES / PER_MINUTE
        return sorted(
            [self.chance.uniform(-early_s, 0) for _ in range(DEVICES)]
            + [self.chance.uniform(0, seconds) for _ in range(count)]
        )

    def speak(self, number: int, now_us: int) -> None:
        """Have the device whose turn it is end an uplink now."""
        if number == DEVICES:
            self.tally = Tally()
        phy_payload = self.devices[number % DEVICES].uplink()
        self.tally.uplinks += 1
        if self.region == "US915":
            freq = round(903.9 + 0.2 * self.chance.randrange(8), 1)
        else:
            freq = self.chance.choice((868.1, 868.3, 868.5))
        home = self.chance.randrange(GATEWAYS)
        for index, forwarder in enumerate(self.forwarders):
            snr_db = self.chance.uniform(4, 11) - (
                0 if index == home else self.chance.uniform(0, 14)
            )
            if index == home or snr_db > -5:
                tmst = forwarder.counter(now_us)
                forwarder.push(rxpk(phy_payload, tmst, freq=freq, lsnr=round(snr_db, 1)))

    def take(self, now_us: int) -> None:
        for forwarder in self.forwarders:
            forwarder.take(now_us, self.devices, self.tally)

    def report(self) -> str:
        tally = self.tally
        return (
            f"{self.region}: {tally.uplinks} confirmed uplinks, {len(tally.acknowledged)}"
            f" acknowledged ({tally.rx2} in RX2), forwarders said {tally.errors}"
        )


def real_time(folder: Path, seconds: float) -> None:
    with Gateway(folder, configuration("US915")) as gateway:
        street = Street("US915", gateway.port)
        began = time.monotonic()
        sockets = [sock for f in street.forwarders for sock in (f.up, f.down)]
        pull_at = 0.0
        times_s = street.times_s(seconds)
        due = [(at_s - times_s[0] + 0.5, number) for number, at_s in enumerate(times_s)]
        ends_s = due[-1][0] + 3
        due.reverse()
        while due or time.monotonic() - began < ends_s:
            now_s = time.monotonic() - began
            if now_s >= pull_at:
                pull_at += PULL_S
                for forwarder in street.forwarders:
                    forwarder.pull()
            while due and due[-1][0] <= now_s:
                street.speak(due.pop()[1], round(now_s * 1e6))
            next_s = min(pull_at, due[-1][0] if due else ends_s)
            select.select(sockets, [], [], max(0.0, next_s - (time.monotonic() - began)))
            street.take(round((time.monotonic() - began) * 1e6))
        assert gateway.stop() == 0, gateway.log()
        note(gateway.log().splitlines()[-1])
    note(street.report())
    tally = street.tally
    print(f"rx1_met_pct {100 * len(tally.acknowledged) / tally.uplinks:.2f} %")
    print(f"rx1_worst_ms {min(tally.spare_us, default=0) / 1000:.0f} ms", flush=True)


def duty_cycle(folder: Path, minutes: float) -> None:
    with Gateway(folder, configuration("EU868"), "--simulated-clock") as gateway:
        street = Street("EU868", gateway.port)
        ready = json.loads((folder / "ready.json").read_text())
        with socket.create_connection(("127.0.0.1", ready["clock_tcp"])) as tcp:
            clock = Lockstep(tcp, street)
            pull_ms = 0
            times_s = street.times_s(60 * minutes)
            for number, at_s in enumerate(times_s):
                at_ms = round((at_s - times_s[0]) * 1000)
                while pull_ms <= at_ms:
                    clock.advance(pull_ms)
                    for forwarder in street.forwarders:
                        forwarder.pull()
                    pull_ms += 1000 * PULL_S
                clock.advance(at_ms)
                street.speak(number, 1000 * at_ms)
            clock.advance(clock.now_ms + 10_000)
    note(street.report())
    for name, allowed_us in ALLOWED_US.items():
        shares = [100 * f.used_us[name] / allowed_us for f in street.forwarders]
        note(
            f"{name} MHz: {', '.join(f'{share:.1f}' for share in shares)} % of each gateway's hour"
        )
        assert max(shares) <= 100, "more than the duty cycle allows"
    used_us = sum(sum(forwarder.used_us.values()) for forwarder in street.forwarders)
    allowed_us = GATEWAYS * sum(ALLOWED_US.values())
    print(f"rx1_duty_used_pct {100 * used_us / allowed_us:.1f} %")


class Lockstep:
    """Moves the gateway's simulated time and reads what it sends at each stop."""

    def __init__(self, tcp: socket.socket, street: Street) -> None:
        self._lines = tcp.makefile("rwb")
        self._street = street
        self.now_ms = 0
        self._ask({"utc_start_ms": 1_767_225_600_000})

    def advance(self, until_ms: int) -> None:
        """Let time pass; the forwarders answer orders at the time at which they come."""
        forwarders = self._street.forwarders
        while True:
            sent = sum(forwarder.sent for forwarder in forwarders)
            answer = self._ask({"advance_to_ms": until_ms, "datagrams": sent})
            self.now_ms = answer["idle_at_ms"]
            while sum(forwarder.received for forwarder in forwarders) < answer["datagrams"]:
                self._street.take(1000 * self.now_ms)
            if self.now_ms >= until_ms and sum(f.sent for f in forwarders) == sent:
                return

    def _ask(self, request: dict[str, int]) -> dict[str, int]:
        self._lines.write(json.dumps(request).encode() + b"\n")
        self._lines.flush()
        answer = json.loads(self._lines.readline())
        assert "error" not in answer, answer
        return answer


if __name__ == "__main__":
    main()

"""What WebSocket clients can do to the Basics Station server: connect anywhere, say anything."""

from __future__ import annotations

import json
from collections import Counter

from fuzz_shapes import Octets, altered
from stoep_gateway.forwarders.basics_station import (
    Action,
    Alive,
    BasicsStationServer,
    CloseConnection,
    Closed,
    Connected,
    Event,
    SendText,
    TextReceived,
)
from stoep_gateway.forwarders.links import Link, Links
from stoep_gateway.lns import channel_plan
from stoep_gateway.lns.frames import Tick, Transmit, UplinkFrame, Window
from stoep_protocol.lorawan import regions

__all__ = ["Target"]

EUIS = tuple(bytes.fromhex("0016c001ff10a2") + bytes((last,)) for last in (0x35, 0x36, 0x37))
HOSTS = ("192.0.2.1", "198.51.100.7", "2001:db8::1")
UPINFO = {
    "rctx": 3,
    "xtime": (5 << 48) + 1_000_000,
    "gpstime": 0,
    "fts": -1,
    "rssi": -107,
    "snr": -3.25,
    "rxtime": 1_767_225_600.25,
}
MESSAGES = (
    {"router": "0016:c001:ff10:a235"},
    {"msgtype": "version", "station": "2.0.6(rpi/std)", "protocol": 2, "features": "rmtsh gps"},
    {
        "msgtype": "updf",
        "MHdr": 64,
        "DevAddr": -41_990_128,
        "FCtrl": 2,
        "FCnt": 7,
        "FOpts": "0307",
        "FPort": 10,
        "FRMPayload": "0011aabb",
        "MIC": -1_234_567_890,
        "RefTime": 0.0,
        "DR": 5,
        "Freq": 868_100_000,
        "upinfo": UPINFO,
    },
    {
        "msgtype": "jreq",
        "MHdr": 0,
        "JoinEui": "00-00-00-00-00-00-00-00",
        "DevEui": "70-B3-D5-7E-D0-00-00-01",
        "DevNonce": 5,
        "MIC": 42,
        "RefTime": 0.0,
        "DR": 5,
        "Freq": 868_100_000,
        "upinfo": UPINFO,
    },
    {
        "msgtype": "propdf",
        "FRMPayload": "e00102030405",
        "DR": 5,
        "Freq": 868_100_000,
        "upinfo": UPINFO,
    },
    {
        "msgtype": "dntxed",
        "diid": 1,
        "DevEui": "70-B3-D5-7E-D0-00-00-01",
        "rctx": 3,
        "xtime": (5 << 48) + 2_000_000,
        "txtime": 1_767_225_601.25,
        "DR": 5,
        "Freq": 868_100_000,
        "gpstime": 0,
    },
    {"msgtype": "timesync", "txtime": 12345},
)
PATHS = ("/router-info", *(f"/router/{eui.hex()}" for eui in EUIS), "/router/::1", "/", "/../x")
RX1 = Window(1_000_000, 868_100_000, 7, 125_000, 14, 5)
RX2 = Window(2_000_000, 869_525_000, 12, 125_000, 27, 0)
UTC = 1_767_225_600_000
MOST_OPEN = 40


class Target:
    """One server for the whole run, with the wires that a driver would be."""

    def __init__(self) -> None:
        links = Links([Link(EUIS[0]), Link(EUIS[1], ["198.51.100.0/24"]), Link(EUIS[2])])
        plan = channel_plan.for_region(regions.by_name("EU868"))
        self.server = BasicsStationServer(links, plan, tokens={EUIS[2]: "secret"})
        self.now = 0
        self.connections = 0
        self.open: list[int] = []
        self.told: Counter[str] = Counter()

    def seeds(self) -> list[bytes]:
        steps = bytearray()
        for number in range(len(MESSAGES)):
            steps += bytes((1, 1, 0, number, 0))
        return [
            bytes((0, 1, 1, 0, 0)) + bytes(steps),
            bytes((0, 1, 0, 0, 0, 1, 1, 0, 0, 0)),
            bytes((0, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 2, 0, 3, 1, 0, 9, 9, 1, 1, 0, 5, 0)),
            bytes((2, 1, 0, 40)) + json.dumps(MESSAGES[1]).encode(),
        ]

    def __call__(self, data: bytes) -> None:
        octets = Octets(data)
        for _ in range(24):
            if not octets:
                break
            kind = octets.number() % 6
            self.now += octets.number() ** 2
            self.step(kind, octets)
        deadline = self.server.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.take(Tick())
            later = self.server.next_deadline()
            assert later is None or later > self.now

    def step(self, kind: int, octets: Octets) -> None:
        if kind == 0:
            self.connections += 1
            self.open.append(self.connections)
            path, host = octets.pick(PATHS), octets.pick(HOSTS)
            bits = octets.number()
            self.take(
                Connected(
                    self.connections,
                    path if bits < 200 else octets.take(bits - 200).decode("latin-1"),
                    "lns.example:3001" if bits & 1 else octets.take(8).decode("latin-1"),
                    (host, 40_001),
                    "secret" if bits & 2 else octets.take(6).decode("latin-1"),
                    secure=bool(bits & 4),
                )
            )
            while len(self.open) > MOST_OPEN:
                self.take(Closed(self.open.pop(0)))
        elif kind == 3:
            context = ((5 << 48) + octets.number(4), 3) if octets.number() else None
            self.take(
                Transmit(
                    octets.number(),
                    octets.pick(EUIS),
                    0,
                    RX1.freq_hz,
                    7,
                    125_000,
                    14,
                    octets.take(20) or b"\0",
                    dev_eui=bytes(8),
                    context=context,
                    window=RX1,
                    fallback=RX2 if octets.number() & 1 else None,
                )
            )
        elif self.open:
            connection = self.open[-1 - octets.number() % len(self.open)]
            if kind == 1:
                message = altered(octets.pick(MESSAGES), octets)
                self.take(TextReceived(connection, json.dumps(message)))
            elif kind == 2:
                text = octets.take(octets.number()).decode("latin-1")
                self.take(TextReceived(connection, text))
            elif kind == 4:
                self.open.remove(connection)
                self.take(Closed(connection))
            else:
                self.take(Alive(connection, octets.number() * 7.5))

    def take(self, event: Event) -> None:
        actions: list[Action] = self.server.handle(event, self.now, UTC + self.now)
        for action in actions:
            if type(action) is UplinkFrame:
                assert 0 < len(action.phy_payload) <= 255
                assert action.gateway_eui in EUIS
            elif type(action) is SendText:
                json.loads(action.text)
            elif type(action) is CloseConnection and action.connection in self.open:
                self.open.remove(action.connection)
                self.take(Closed(action.connection))

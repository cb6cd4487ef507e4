"""Datagrams for the GWMP machine: any octets, and well-formed ones with something wrong inside."""

from __future__ import annotations

import json
from typing import Any

from fuzz_shapes import Octets, altered
from stoep_gateway.forwarders.gwmp import DatagramReceived, GwmpServer, SendDatagram
from stoep_gateway.lns.frames import Tick, Transmit, UplinkFrame

__all__ = ["Target"]

EUIS = tuple(bytes.fromhex("0016c001ff10a2") + bytes((last,)) for last in (0x35, 0x36))
ADDRESSES = (("127.0.0.1", 1), ("127.0.0.1", 2), ("::1", 3, 0, 0), ("192.0.2.7", 4))
RXPK = {
    "jver": 1,
    "tmst": 3_512_348_611,
    "time": "2026-01-31T05:30:00.000000Z",
    "tmms": 1_234_567_890_123,
    "chan": 2,
    "rfch": 0,
    "freq": 868.1,
    "mid": 0,
    "stat": 1,
    "modu": "LORA",
    "datr": "SF7BW125",
    "codr": "4/5",
    "rssi": -35,
    "rssis": -36,
    "lsnr": 5.1,
    "foff": -12,
    "size": 14,
    "data": "gEIAACYAAAAKUBQeKA==",
}
STAT = {
    "time": "2026-01-31 05:30:00 GMT",
    "lati": 46.24,
    "long": 3.2523,
    "alti": 145,
    "rxnb": 2,
    "rxok": 2,
    "rxfw": 2,
    "ackr": 100.0,
    "dwnb": 2,
    "txnb": 2,
    "temp": 23.2,
}
TX_ACK = {"txpk_ack": {"error": "TX_POWER", "warn": "TX_POWER", "value": 20}}
PUSH_DATA, PULL_DATA, TX_ACK_KIND = 0, 2, 5


class Target:
    """One server for the whole run, so that what it keeps of an input shows as memory."""

    def __init__(self) -> None:
        self.server = GwmpServer(EUIS)
        self.now = 0

    def seeds(self) -> list[bytes]:
        whole = json.dumps({"rxpk": [RXPK], "stat": STAT}).encode()
        return [
            b"\x00\x20\x00\x02\x00\x01\x00" + EUIS[0] + whole,
            b"\x00\x20\x00\x02\x00\x01\x02" + EUIS[0],
            b"\x00\x20\x00\x02\x00\x01\x05" + EUIS[0] + json.dumps(TX_ACK).encode(),
            b"\x01\x20\x00\x00\x07\x02\xff",
            b"\x02\x20\x00\x00\x07\x02\xff",
            b"\x03\x20\x00\x00\x07\x02\xff",
        ]

    def __call__(self, data: bytes) -> None:
        octets = Octets(data)
        shape = octets.number() % 4
        self.now += octets.number()
        address = octets.pick(ADDRESSES)
        if shape == 0:
            self.take(octets.rest(), address)
            return
        eui = octets.pick(EUIS)
        token = octets.take(2).ljust(2, b"\0")
        if shape == 3:
            order = Transmit(
                1, eui, octets.number(4), 868_100_000, 12, 125_000, 14, octets.take(40)
            )
            for action in self.server.handle(order, self.now):
                if type(action) is SendDatagram:
                    token = action.data[1:3]
            body: Any = altered(TX_ACK, octets)
            kind = TX_ACK_KIND
        else:
            body = {"rxpk": [altered(RXPK, octets)]}
            if shape == 2:
                body = altered(body | {"stat": altered(STAT, octets)}, octets)
            kind = PUSH_DATA
        self.take(b"\x02" + token + bytes((PULL_DATA,)) + eui, address)
        self.take(b"\x02" + token + bytes((kind,)) + eui + json.dumps(body).encode(), address)

    def take(self, datagram: bytes, address: Any) -> None:
        server = self.server
        for action in server.handle(DatagramReceived(datagram, address), self.now):
            if type(action) is UplinkFrame:
                assert 0 < len(action.phy_payload) <= 255
                assert 0 <= action.tmst_us < 2**32
                assert action.gateway_eui in EUIS
            elif type(action) is SendDatagram:
                assert action.address == address
        deadline = server.next_deadline()
        if deadline is not None and deadline <= self.now:
            server.handle(Tick(), self.now)
            later = server.next_deadline()
            assert later is None or later > self.now

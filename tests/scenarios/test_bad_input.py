"""Whatever comes in over air and network: counted, logged in a few lines, and life goes on."""

from __future__ import annotations

import base64
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from broker import Mosquitto, Subscriber
from load import BAY, CONTAINER, PULL_DATA, PUSH_DATA, TX_ACK, Device, Forwarder, Uplink
from mortal_gateway import GATEWAY_EUI, MortalGateway, configuration
from stoep_protocol.lorawan import frames
from stored import Up, facts
from waiting import PATIENCE_S

STRANGER_EUI = bytes.fromhex("0016c001ff10dead")
DEVICES = 8
FLOOD = 3000
AT_ONCE = 50  # datagrams that certainly fit into the gateway's buffer
LOGGED_AGAIN_AFTER_S = 60  # the same reason
FORGOTTEN_AFTER_S = 2.5  # RX1 and half a second: what comes before is a late copy


@dataclass(slots=True)
class Street:
    """A running gateway, and what it is expected to count."""

    gateway: MortalGateway
    forwarder: Forwarder
    city: Subscriber
    expected: Counter[str]

    def expect(self, reason: str, times: int = 1) -> None:
        self.expected[reason] += times

    def push_frames(self, phy_payloads: list[bytes]) -> None:
        self.forwarder.push_json({"rxpk": [self.forwarder.rxpk(phy) for phy in phy_payloads]})

    def push_body(self, body: bytes, kind: int = PUSH_DATA, eui: bytes = GATEWAY_EUI) -> None:
        self.push_raw(b"\x02\x12\x34" + bytes((kind,)) + eui + body)

    def push_raw(self, datagram: bytes) -> None:
        self.forwarder.push_raw(datagram)
        if self.forwarder.datagrams % AT_ONCE == 0:
            self.forwarder.catch_up()

    def still_works(self) -> None:
        """Show that a good uplink gets through after all that came before it."""
        uplink = self.forwarder.push_new(self.forwarder.devices[0].report())
        self.forwarder.wait(lambda: self._arrived(uplink), "a good uplink is published")

    def recovers(self) -> int:
        """Send good uplinks until one gets through; return how many were sent."""
        device = self.forwarder.devices[0]
        deadline = time.monotonic() + PATIENCE_S
        sent = [device.report()]
        while not self._arrived(sent[-1]):
            assert time.monotonic() < deadline, "no good uplink is published any more"
            sent.append(device.report())
            self.forwarder.push(sent[-1:])
            self.forwarder.listen(0.1)
        return len(sent)

    def _arrived(self, uplink: Uplink) -> bool:
        cause = f"{uplink.device.dev_eui.hex()}-{uplink.app_nonce}-{uplink.f_cnt}:state".encode()
        return any(cause in payload for _, payload, _ in list(self.city.messages))


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    devices = [Device(number, (CONTAINER, BAY)[number % 2]) for number in range(1, DEVICES + 1)]
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker, "stoep/#", client_id="city") as city,
        Forwarder(GATEWAY_EUI, devices) as forwarder,
        MortalGateway(tmp_path / "gateway", configuration(devices, broker.port)) as gateway,
    ):
        forwarder.attach(gateway.port)
        forwarder.join(devices)
        yield Street(gateway, forwarder, city, Counter())


def _random_datagrams(street: Street, chance: random.Random) -> int:
    """Return how many octet strings without any sense were sent."""
    for _ in range(300):
        street.push_raw(chance.randbytes(chance.randrange(600)))
    for _ in range(100):
        # A header that is almost right.
        header = bytes((chance.choice((1, 2, 3)), 0, 0, chance.randrange(256)))
        street.push_raw(header + chance.randbytes(8 + chance.randrange(40)))
    return 400


def _bad_json(street: Street, chance: random.Random) -> None:
    uplink = street.forwarder.devices[0].report()
    body = json.dumps({"rxpk": [street.forwarder.rxpk(uplink.phy_payload)]}).encode()
    for length in range(len(body)):
        street.push_body(body[:length])
    street.expect("gwmp_json", len(body))
    for _ in range(50):
        street.push_body(chance.randbytes(chance.randrange(1, 300)))
    street.expect("gwmp_json", 50)
    for hostile in (
        b"[" * 30_000,
        b'{"rxpk":' * 3000,
        b"null",
        b"[]",
        b'{"rxpk":[{"tmst":' + b"9" * 10_000 + b"}]}",
        b'{"rxpk":[{"freq":NaN}]}',
    ):
        street.push_body(hostile)
        street.forwarder.catch_up()
        street.expect("gwmp_json")
    for wrong in ({"rxpk": 5}, {"rxpk": {}}, {"rxpk": [{}] * 300}):
        street.push_body(json.dumps(wrong).encode())
        street.expect("gwmp_rxpk")
    street.push_body(json.dumps({"stat": [1, 2]}).encode())
    street.expect("gwmp_stat")


def _bad_receptions(street: Street) -> None:
    good = street.forwarder.rxpk(street.forwarder.devices[0].report().phy_payload)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("rxpk_crc", {"stat": -1}),
        ("rxpk_no_crc", {"stat": 0}),
        ("rxpk_modulation", {"modu": "FSK", "datr": 50_000}),
        ("rxpk_modulation", {"datr": "SF99BW125"}),
        ("rxpk_base64", {"data": "@@@@"}),
        ("rxpk_fields", {"data": None}),
        ("rxpk_fields", {"freq": "868.1"}),
        ("rxpk_fields", {"freq": [868.1]}),
        ("rxpk_range", {"tmst": -1}),
        ("rxpk_range", {"tmst": 1 << 40}),
        ("rxpk_range", {"tmst": True}),
        ("rxpk_range", {"rssi": -1e9}),
        ("rxpk_size", {"data": base64.b64encode(bytes(256)).decode()}),
        ("rxpk_size", {"data": ""}),
    ]
    rxpk: list[Any] = [5, None, [], {}, "x"]
    rxpk += [good | changes for _, changes in wrong]
    street.push_body(json.dumps({"rxpk": rxpk}).encode())
    street.expect("rxpk_fields", 5)
    for reason, _ in wrong:
        street.expect(reason)


def _bad_frames(street: Street, chance: random.Random) -> None:
    device = street.forwarder.devices[1]
    assert device.dev_addr is not None
    forged = []
    for bit in range(20):
        phy_payload = bytearray(device.report().phy_payload)
        phy_payload[-1 - bit % 4] ^= 1 << bit % 8
        forged.append(bytes(phy_payload))
    street.push_frames(forged)
    street.expect("mic", 20)
    unknown = [bytearray(device.report().phy_payload) for _ in range(10)]
    for phy_payload in unknown:
        phy_payload[1:5] = chance.randbytes(3) + b"\xff"
    street.push_frames([bytes(phy_payload) for phy_payload in unknown])
    street.expect("unknown_dev_addr", 10)
    strangers = [Device(1000 + number, BAY) for number in range(10)]
    street.push_frames([stranger.join_request().phy_payload for stranger in strangers])
    street.expect("unknown_dev_eui", 10)
    # A known DevEUI, and a key that is not its own.
    for stranger in strangers[:5]:
        stranger.dev_eui = device.dev_eui
    street.push_frames([stranger.join_request().phy_payload for stranger in strangers[:5]])
    street.expect("join_mic", 5)
    street.push_frames(
        [b"\x01" + bytes(20), b"\xe0" + bytes(20), bytes(22), b"\x40", b"\x40" + bytes(300 - 60)]
    )
    street.expect("frame_version")
    street.expect("frame_reserved")
    street.expect("frame_length")
    street.expect("frame_truncated")
    street.expect("unknown_dev_addr")
    downlink = frames.encode_data(
        frames.UNCONFIRMED_DOWN,
        device.dev_addr,
        0,
        *device._session_keys,
        f_port=1,
        payload=b"x",
    )
    street.push_frames([downlink])
    street.expect("not_an_uplink")


def _undecodable(street: Street) -> int:
    """Return how many uplinks were sent that are authentic and say nothing known."""
    device = street.forwarder.devices[2]
    assert device.dev_addr is not None
    for f_port, payload in ((10, b"\xff"), (11, b""), (99, b"hello")):
        device.f_cnt += 1
        street.push_frames(
            [
                frames.encode_data(
                    frames.UNCONFIRMED_UP,
                    device.dev_addr,
                    device.f_cnt,
                    *device._session_keys,
                    f_port=f_port,
                    payload=payload,
                )
            ]
        )
    device.f_cnt += 1
    return 3


def _replays(street: Street, old: list[Uplink]) -> None:
    joins = [uplink for uplink in old if uplink.f_cnt is None]
    street.push_frames([uplink.phy_payload for uplink in joins])
    street.expect("dev_nonce_replayed", len(joins))
    newest: dict[Device, Uplink] = {up.device: up for up in old if up.f_cnt is not None}
    for uplink in old:
        if uplink.f_cnt is not None:
            street.push_frames([uplink.phy_payload])
            is_newest = newest[uplink.device] is uplink
            street.expect("repeated_uplink" if is_newest else "f_cnt_replayed")


def test_bad_input_is_counted_and_stops_nothing(street: Street) -> None:
    chance = random.Random(7)
    forwarder, gateway = street.forwarder, street.gateway
    started = time.monotonic()
    for _ in range(3):
        for device in forwarder.devices[3:]:
            forwarder.push_new(device.report())
    street.still_works()
    old = [uplink for uplink in forwarder.sent if uplink.device in forwarder.devices[3:]]
    replay_at = time.monotonic() + FORGOTTEN_AFTER_S

    nonsense = _random_datagrams(street, chance)
    street.still_works()
    _bad_json(street, chance)
    street.still_works()
    _bad_receptions(street)
    _bad_frames(street, chance)
    undecodable = _undecodable(street)
    street.still_works()
    for _ in range(50):
        street.push_body(b"", PULL_DATA, STRANGER_EUI)
        street.push_body(b"{}", PUSH_DATA, STRANGER_EUI)
    for _ in range(10):
        street.push_body(b"", TX_ACK)
    street.expect("gwmp_tx_ack_unasked", 10)
    forwarder.listen(max(0.0, replay_at - time.monotonic()))
    _replays(street, old)
    street.still_works()
    for _ in range(FLOOD // AT_ONCE):
        for _ in range(AT_ONCE):
            forwarder.pull()
        forwarder.listen(0.002)
    attempts = street.recovers()
    assert gateway.stop() == 0

    # Published: everything that came by way of the gateway, by reason.
    (*_, (_, payload, _)) = street.city.of("/gateway/kerb-1/state")
    rejected = Counter(json.loads(payload)["rejected"])
    limited = rejected.pop("gateway_rate_limit")
    assert 0 < limited < FLOOD + attempts
    assert rejected == street.expected

    # Logged: everything, in one line per reason and minute and one at the end.
    log = gateway.log()
    counted = {name: int(n) for name, n in re.findall(r"rejected\.(\S+)=(\d+)", log)}
    assert counted.pop("gateway_rate_limit") == limited
    assert {reason: counted.pop(reason) for reason in street.expected} == street.expected
    assert counted["gateway_not_registered"] >= 100
    # An uplink that cannot be decoded is accepted: the device's fault, not its gateway's.
    payloads = {reason for reason in counted if reason.startswith("payload_")}
    assert sum(counted.pop(reason) for reason in payloads) == undecodable
    assert sum(counted.values()) == nonsense + 100
    reasons = len(set(re.findall(r"rejected\.(\S+)=", log)))
    minutes = int((time.monotonic() - started) / LOGGED_AGAIN_AFTER_S) + 1
    assert log.count(": rejected ") <= reasons * minutes
    assert len(log.splitlines()) <= reasons * minutes + 30
    assert "Traceback" not in log
    assert not any(device.app_key.hex() in log.lower() for device in forwarder.devices)

    # Recorded: what was good, once; what could not be decoded, as it came.
    with gateway.opened() as connection:
        found, problems = facts(connection)
        raw = connection.execute(
            "SELECT frm_payload FROM uplink WHERE undecodable IS NOT NULL ORDER BY uplink_id"
        ).fetchall()
    assert problems == []
    assert raw == [(b"\xff",), (b"",), (b"hello",)]
    accepted = sum(isinstance(fact, Up) for fact in found)
    good = sum(uplink.f_cnt is not None for uplink in forwarder.sent) + undecodable
    assert good < accepted <= good + attempts
    # Answered: the joins, and nothing else.
    answers = [frames.parse(phy_payload) for phy_payload in forwarder.downlinks]
    assert {type(answer) for answer in answers} == {frames.EncryptedJoinAccept}
    assert len(answers) == sum(up.f_cnt is None for up in forwarder.sent)

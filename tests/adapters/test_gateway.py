"""The whole gateway process between a real UDP socket and a real Mosquitto."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from stoep_protocol.messages import BayReport, BinReport

GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
BIN_EUI = bytes.fromhex("70b3d57ed0000001")
JOIN_EUI = bytes(8)

CONFIG = """
site = "street"
timezone = "UTC"
[store]
path = "stoep.db"
[mqtt]
port = {port}
[gwmp]
port = 0
[lorawan]
dedup_window_ms = 20
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
full_mm = 300
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, broker: Mosquitto) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway", CONFIG.format(port=broker.port)) as running:
        yield running


@pytest.fixture
def forwarder(gateway: Gateway) -> Iterator[Forwarder]:
    forwarder = Forwarder(GATEWAY_EUI, gateway.port)
    forwarder.pull()
    yield forwarder
    forwarder.close()


def joined(forwarder: Forwarder) -> Device:
    device = Device(BIN_EUI, JOIN_EUI, APP_KEY)
    forwarder.push(rxpk(device.join_request(), tmst=1_000_000))
    device.accept(data_of(forwarder.take_downlink()))
    return device


def data_of(txpk: dict) -> bytes:
    import base64

    return base64.b64decode(txpk["data"])


def payloads(subscriber: Subscriber, part: str) -> list[dict]:
    return [json.loads(payload) for _, payload, _ in subscriber.of(part)]


def test_a_device_joins_and_its_reading_is_published(broker, gateway, forwarder):
    device = joined(forwarder)
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4))))
        subscriber.wait_for(lambda: subscriber.of("container/corner/state"))
        (state,) = payloads(subscriber, "container/corner/state")
    assert state["fill_pct"] == 50
    assert state["event_id"]

"""Every way into a real gateway process: a Basics Station, another network server, Class C."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import chirpstack_events
import pytest
from broker import Mosquitto, Subscriber
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from paho.mqtt import publish
from station import Station
from stoep_gateway.control_client import Client
from stoep_protocol.lorawan import frames
from stoep_protocol.messages import BinReport, encode
from waiting import wait_until

GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
DEV_EUI = bytes.fromhex("70b3d57ed0000001")
PATIENCE_S = 60

CONFIG = f"""
site = "street"
[mqtt]
port = {{port}}
[gwmp]
port = 0
[basics_station]
port = 0
[lorawan]
dedup_window_ms = 20
rx1_delay_s = 15
[[source]]
id = "city"
kind = "chirpstack"
application = "{chirpstack_events.APPLICATION}"
port = {{port}}
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
device_class = "C"
asset = "container/corner"
[[device]]
dev_eui = "{chirpstack_events.DEV_EUI.hex()}"
source = "city"
asset = "container/market"
[[container]]
id = "corner"
lat = 52.0
lon = 4.0
capacity_l = 1100
depth_mm = 1500
[[container]]
id = "market"
lat = 52.0
lon = 4.0
capacity_l = 1100
depth_mm = 1500
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, broker: Mosquitto) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway", CONFIG.format(port=broker.port)) as running:
        yield running


def ready(gateway: Gateway) -> dict:
    return json.loads((gateway.folder / "ready.json").read_text())


def ask(gateway: Gateway, command: str, **members: object) -> dict:
    with closing(Client(Path(ready(gateway)["control"]))) as client:
        return client.ask(command, **members)


def events(city: Subscriber, part: str) -> list[dict]:
    return [json.loads(payload) for _, payload, _ in city.of(part)]


async def test_a_board_joins_and_reports_by_way_of_a_basics_station(broker, gateway):
    device = Device(DEV_EUI, bytes(8), APP_KEY)
    station = Station(GATEWAY_EUI, f"ws://127.0.0.1:{ready(gateway)['basics_station_tcp']}")
    async with asyncio.timeout(PATIENCE_S):
        await station.start()
        assert station.config["region"] == "EU863"
        await station.uplink(device.join_request(), xtime=0x10_0000_0001)
        accept = await station.take_downlink()
        assert accept.xtime == 0x10_0000_0001
        device.accept(bytes(accept.payload))
        await station.transmitted(accept, accept.rx1)
        with Subscriber(broker, "stoep/v1/street/#") as city:
            report = device.uplink(BinReport(1, 900, 4), confirmed=True)
            await station.uplink(report, xtime=0x10_0100_0000)
            order = await station.take_downlink()
            assert device.downlink(bytes(order.payload), 0).ack
            await station.transmitted(order, order.rx1)
            await asyncio.to_thread(city.wait_for, lambda: events(city, "corner/state"))
        await station.stop()


def test_an_uplink_of_another_network_server_is_published_like_our_own(broker, gateway):
    f_port, payload = encode(BinReport(7, 750, 4))
    message = chirpstack_events.message(
        chirpstack_events.uplink(3, payload, f_port=f_port, seconds=0)
    )
    with (
        Subscriber(broker, "stoep/v1/street/#") as city,
        Subscriber(broker, "application/#") as commands,
    ):

        def arrived() -> bool:
            # Until the gateway has subscribed nobody keeps the message; twice is once.
            host, port = broker.address
            publish.single(chirpstack_events.topic("up"), message, qos=1, hostname=host, port=port)
            return bool(events(city, "market/state"))

        wait_until(arrived, "its message")
        state = events(city, "market/state")[0]
        assert state["fill_pct"] == 50
        assert (state["radio"]["f_cnt_up"], state["radio"]["gateways"]) == (3, 2)

        dev_eui = chirpstack_events.DEV_EUI.hex()
        answer = ask(gateway, "device.send", dev_eui=dev_eui, f_port=13, payload="a0")
        commands.wait_for(lambda: commands.of("/command/down"))
        (_, payload, _) = commands.of("/command/down")[0]
        order = json.loads(payload)
        assert (order["fPort"], base64.b64decode(order["data"])) == (13, b"\xa0")
        assert answer["downlink_id"] == 1
    assert {state["event_id"] for state in events(city, "market/state")} == {state["event_id"]}


def test_a_class_c_board_gets_its_downlink_at_once(broker, gateway):
    device = Device(DEV_EUI, bytes(8), APP_KEY)
    with (
        closing(Forwarder(GATEWAY_EUI, gateway.port)) as forwarder,
        Subscriber(broker, "stoep/v1/street/#") as city,
    ):
        forwarder.pull()
        forwarder.push(rxpk(device.join_request(), tmst=1_000_000))
        device.accept(base64.b64decode(forwarder.take_downlink()["data"]))
        forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4)), tmst=9_000_000))
        city.wait_for(lambda: events(city, "corner/state"))
        downlink = {"dev_eui": DEV_EUI.hex(), "f_port": 20, "payload": "0102", "confirmed": True}
        answer = ask(gateway, "device.send", **downlink)
        txpk = forwarder.take_downlink()
        assert txpk["imme"] is True
        assert (txpk["freq"], txpk["datr"]) == (869.525, "SF12BW125")
        frame = device.downlink(base64.b64decode(txpk["data"]), 0)
        assert frame.m_type == frames.CONFIRMED_DOWN
        forwarder.push(rxpk(device.uplink(ack=True), tmst=15_000_000))
        city.wait_for(lambda: events(city, f"device/{DEV_EUI.hex()}/event")[1:])
        joined, ended = events(city, f"device/{DEV_EUI.hex()}/event")
        assert joined["event"] == "joined"
        assert (ended["event"], ended["downlink_id"]) == (
            "downlink_acknowledged",
            answer["downlink_id"],
        )

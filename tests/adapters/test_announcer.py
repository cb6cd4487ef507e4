"""What Home Assistant would find on a real Mosquitto beside a running gateway."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber
from gateway_process import Gateway

CONFIG = """
site = "street"
[store]
path = "stoep.db"
[mqtt]
port = {port}
[home_assistant]
[gwmp]
port = 0
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
"""
CORNER = """
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
"""
SQUARE = """
[[container]]
id = "square.1"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
"""
CONTAINER = "homeassistant/device/stoep-street-container-corner/config"
BOARD = "homeassistant/device/stoep-street-device-70b3d57ed0000001/config"
KERB = "homeassistant/device/stoep-street-gateway-kerb-1/config"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, broker: Mosquitto) -> Iterator[Gateway]:
    running = Gateway(tmp_path / "gateway", CONFIG.format(port=broker.port) + CORNER)
    yield running
    running.kill()


def send(broker: Mosquitto, topic: str, payload: str, *, retain: bool = False) -> None:
    with Subscriber(broker, "no/such/topic") as client:
        client._client.publish(topic, payload, 1, retain).wait_for_publish(60)


def retained(broker: Mosquitto, wanted: set[str]) -> None:
    """Wait until a newcomer is given these announcements."""
    with Subscriber(broker, "homeassistant/device/+/config") as subscriber:
        subscriber.wait_for(
            lambda: wanted <= {topic for topic, payload, _ in subscriber.messages if payload}
        )


def test_all_is_announced_retained_and_again_when_home_assistant_starts(broker, gateway):
    gateway.start()
    retained(broker, {CONTAINER, BOARD, KERB})
    with Subscriber(broker, "homeassistant/#") as subscriber:
        subscriber.wait_for(lambda: len(subscriber.messages) >= 3)
        assert all(was_retained for _, _, was_retained in subscriber.messages[:3])
        subscriber.messages.clear()
        send(broker, "homeassistant/status", "online")
        subscriber.wait_for(
            lambda: (
                {CONTAINER, BOARD, KERB}
                <= {topic for topic, _, was in subscriber.messages if not was}
            ),
            "the announcements again",
        )
    assert gateway.stop() == 0


def test_what_has_left_is_taken_back_and_what_others_announce_is_left(broker, gateway):
    gateway.start()
    retained(broker, {CONTAINER, BOARD, KERB})
    assert gateway.stop() == 0
    others = {
        "homeassistant/device/zigbee/config": {
            "device": {"identifiers": ["x"]},
            "origin": {"name": "z"},
        },
        "homeassistant/device/stoep-elsewhere-bay-1/config": {
            "device": {"identifiers": ["stoep/elsewhere/bay/1"]},
            "origin": {"name": "Stoep"},
        },
    }
    for topic, message in others.items():
        send(broker, topic, json.dumps(message), retain=True)
    send(broker, "homeassistant/device/odd/config", "no json", retain=True)
    with Subscriber(broker, "homeassistant/#") as subscriber:
        subscriber.wait_for(lambda: len(subscriber.messages) == 6)
        subscriber.messages.clear()
        config = CONFIG.format(port=broker.port).replace("container/corner", "container/square.1")
        (gateway.folder / "stoep.toml").write_text(config + SQUARE)
        gateway.start()
        subscriber.wait_for(lambda: (CONTAINER, b"", False) in subscriber.messages, "its end")
        subscriber.wait_for(lambda: subscriber.of("container-square-1"))
    with Subscriber(broker, "homeassistant/#") as newcomer:
        newcomer.wait_for(lambda: len(newcomer.messages) >= 6)
        topics = {topic for topic, *_ in newcomer.messages}
    assert set(others) | {BOARD, KERB, "homeassistant/device/odd/config"} <= topics
    assert CONTAINER not in topics
    assert gateway.stop() == 0


def test_a_broker_that_forgot_everything_is_told_again(tmp_path, broker, gateway):
    gateway.start()
    retained(broker, {CONTAINER, BOARD, KERB})
    broker.kill()
    for file in (tmp_path / "broker").glob("*.db"):
        file.unlink()
    broker.start()
    retained(broker, {CONTAINER, BOARD, KERB})
    assert gateway.stop() == 0


def test_a_container_is_announced_again_when_a_board_stands_for_it(broker, gateway):
    gateway.start()
    retained(broker, {CONTAINER, BOARD, KERB})
    with Subscriber(broker, "homeassistant/#") as subscriber:
        subscriber.wait_for(lambda: subscriber.of("container-corner"))
        (before,) = [json.loads(payload) for _, payload, _ in subscriber.of("container-corner")]
        assert before["device"]["via_device"] == "stoep/street/device/70b3d57ed0000001"
        subscriber.messages.clear()
        config = CONFIG.format(port=broker.port) + CORNER
        other = config.replace('dev_eui = "70b3d57ed0000001"', 'dev_eui = "70b3d57ed0000002"')
        (gateway.folder / "stoep.toml").write_text(other)
        gateway.process.send_signal(signal.SIGHUP)
        subscriber.wait_for(lambda: (BOARD, b"", False) in subscriber.messages, "the board's end")
        subscriber.wait_for(lambda: subscriber.of("container-corner"), "the container again")
        after = json.loads(subscriber.of("container-corner")[-1][1])
        assert after["device"]["via_device"] == "stoep/street/device/70b3d57ed0000002"
        assert after["availability"][1]["topic"].endswith("/70b3d57ed0000002/availability")
    assert gateway.stop() == 0

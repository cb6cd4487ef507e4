"""The whole gateway process between a real UDP socket and a real Mosquitto."""

import base64
import json
import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from stoep_gateway.cli import main
from stoep_protocol.lorawan import network_frames
from stoep_protocol.messages import BinReport

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
rx1_delay_s = 15
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
    return base64.b64decode(txpk["data"])


def payloads(subscriber: Subscriber, part: str) -> list[dict]:
    return [json.loads(payload) for _, payload, _ in subscriber.of(part)]


def states(subscriber: Subscriber) -> list[dict]:
    return payloads(subscriber, "container/corner/state")


def test_a_device_joins_and_its_reading_is_published(broker, gateway, forwarder):
    device = joined(forwarder)
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4))))
        subscriber.wait_for(lambda: states(subscriber))
        (state,) = states(subscriber)
    assert state["fill_pct"] == 50
    assert state["event_id"].startswith("70b3d57ed0000001-1-0")


def test_a_confirmed_uplink_is_acknowledged(gateway, forwarder):
    device = joined(forwarder)
    forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4), confirmed=True), tmst=4_294_900_000))
    txpk = forwarder.take_downlink()
    assert txpk["tmst"] == 14_932_704  # the counter wraps
    assert device.downlink(data_of(txpk), 0).ack


def test_rx2_after_a_refused_rx1(gateway, forwarder):
    device = joined(forwarder)
    forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4), confirmed=True), tmst=5))
    assert forwarder.take_downlink(error="COLLISION_PACKET")["tmst"] == 15_000_005
    txpk = forwarder.take_downlink()
    assert (txpk["tmst"], txpk["freq"], txpk["datr"]) == (16_000_005, 869.525, "SF12BW125")


def test_bad_input_is_counted_by_reason_and_stops_nothing(broker, gateway, forwarder):
    device = joined(forwarder)
    used_request = network_frames.encode_join_request(device.app_key, JOIN_EUI, BIN_EUI, 1)
    first, second = device.uplink(BinReport(1, 900, 4)), device.uplink(BinReport(2, 900, 4))
    dice = random.Random(2)
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        forwarder.push(rxpk(first), rxpk(second))
        subscriber.wait_for(lambda: len(states(subscriber)) == 2)
        # A restart forgets what it has just heard, so that a replay is not a mere late copy.
        assert gateway.stop() == 0
        gateway.start()
        with (
            closing(Forwarder(bytes(8), gateway.port)) as stranger,
            closing(Forwarder(GATEWAY_EUI, gateway.port)) as noisy,
            closing(Forwarder(GATEWAY_EUI, gateway.port)) as good,
        ):
            whole = json.dumps({"rxpk": [rxpk(first)]}).encode()
            for length in range(0, 200, 10):
                noisy.up.send(b"\x02\0\0\0" + GATEWAY_EUI + whole[:length])
            for _ in range(500):
                stranger.up.send(dice.randbytes(dice.randint(0, 200)))
                noisy.up.send(b"\x02\0\0" + dice.randbytes(dice.randint(0, 60)))
            stranger.send(0, whole)
            good.push(
                rxpk(first),
                rxpk(device.uplink(BinReport(3, 900, 4))[:-4] + bytes(4)),
                rxpk(Device(bytes(8), JOIN_EUI, APP_KEY).join_request()),
                rxpk(Device(BIN_EUI, JOIN_EUI, bytes(16)).join_request()),
                rxpk(used_request),
                rxpk(b"\xff" * 20),
                rxpk(first, stat=-1),
            )
            good.push(rxpk(device.uplink(BinReport(4, 780, 4))))
            subscriber.wait_for(lambda: len(states(subscriber)) == 3)
        assert states(subscriber)[-1]["fill_pct"] == 60
        told = len(subscriber.of("gateway/kerb-1/state"))
        assert gateway.stop() == 0
        subscriber.wait_for(lambda: len(subscriber.of("gateway/kerb-1/state")) > told)
        rejected = payloads(subscriber, "gateway/kerb-1/state")[-1]["rejected"]
    expected = {
        "f_cnt_replayed": 1,
        "mic": 1,
        "unknown_dev_eui": 1,
        "join_mic": 1,
        "dev_nonce_replayed": 1,
        "frame_version": 1,
        "rxpk_crc": 1,
        "gwmp_json": 20,
    }
    assert {reason: rejected.get(reason) for reason in expected} == expected
    log = gateway.log()
    assert "rejected.gateway_not_registered=" in log
    assert "rejected.gwmp_version=" in log
    lines = [line for line in log.splitlines() if " rejected " in line]
    reasons = {line.split(" rejected ")[1].split(" ")[0] for line in lines}
    assert len(lines) <= 2 * len(reasons)
    assert "Traceback" not in log


def test_a_restart_goes_on_where_it_was(broker, gateway, forwarder):
    device = joined(forwarder)
    before = device.uplink(BinReport(1, 900, 4))
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        forwarder.push(rxpk(before))
        subscriber.wait_for(lambda: len(states(subscriber)) == 1)
        gateway.kill()
        gateway.start()
        with closing(Forwarder(GATEWAY_EUI, gateway.port)) as again:
            again.pull()
            again.push(rxpk(before))
            again.push(rxpk(device.uplink(BinReport(2, 780, 4), confirmed=True)))
            assert device.downlink(data_of(again.take_downlink()), 0).ack
            subscriber.wait_for(lambda: len(states(subscriber)) >= 2)
        assert gateway.stop() == 0
    assert [state["fill_pct"] for state in states(subscriber)][-1] == 60
    assert "rejected.repeated_uplink=1" in gateway.log()
    with closing(sqlite3.connect(gateway.folder / "stoep.db")) as connection:
        rows = connection.execute("SELECT f_cnt_up FROM uplink ORDER BY uplink_id").fetchall()
        assert rows == [(0,), (1,)]
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_a_stop_in_the_deduplication_window_loses_nothing(tmp_path, broker):
    config = CONFIG.format(port=broker.port).replace("window_ms = 20", "window_ms = 2000")
    with Gateway(tmp_path / "slow", config) as gateway:
        with closing(Forwarder(GATEWAY_EUI, gateway.port)) as forwarder:
            forwarder.pull()
            device = joined(forwarder)
            forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4))))
        assert gateway.stop() == 0
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        subscriber.wait_for(lambda: states(subscriber))


def test_a_commit_that_fails_ends_the_process_before_anything_leaves(broker, gateway, forwarder):
    device = joined(forwarder)
    with closing(sqlite3.connect(gateway.folder / "stoep.db")) as connection, connection:
        connection.execute("UPDATE frame_counter SET f_cnt_up = 10")
    with Subscriber(broker, "stoep/v1/street/container/#") as subscriber:
        forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4), confirmed=True)))
        assert gateway.process.wait(60) == 1
        assert "a frame counter was claimed twice" in gateway.log()
        assert subscriber.messages == []
    forwarder.down.setblocking(False)
    with pytest.raises(OSError, match=r"unavailable|refused"):
        forwarder.down.recv(1000)


def test_a_stop_while_commits_fail_ends(tmp_path, broker):
    config = CONFIG.format(port=broker.port).replace("window_ms = 20", "window_ms = 2000")
    with (
        Gateway(tmp_path / "slow", config) as gateway,
        closing(Forwarder(GATEWAY_EUI, gateway.port)) as forwarder,
    ):
        forwarder.pull()
        device = joined(forwarder)
        with closing(sqlite3.connect(gateway.folder / "stoep.db")) as connection, connection:
            connection.execute("UPDATE frame_counter SET f_cnt_up = 10")
        forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4))))
        assert gateway.stop() == 1
        assert gateway.log().splitlines()[-1].endswith("a frame counter was claimed twice")


def test_another_way_to_say_stop(gateway):
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.process.wait(60) == 0
    assert "stopping" in gateway.log()


def test_an_impatient_operator(gateway):
    gateway.process.send_signal(signal.SIGINT)
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.process.wait(60) in (0, 130)  # by whether it has stopped listening to signals
    assert "Traceback" not in gateway.log()


def test_a_ready_file_that_cannot_be_written_says_so(tmp_path, capfd):
    config = tmp_path / "stoep.toml"
    config.write_text(CONFIG.format(port=1))
    ready_file = tmp_path / "nowhere" / "ready.json"
    assert main(["run", "--config", str(config), "--ready-file", str(ready_file)]) == 1
    expected = f"--ready-file {ready_file}: No such file or directory"
    assert capfd.readouterr().err.splitlines()[-1] == expected


def test_a_second_gateway_on_the_same_store_says_so(gateway, capfd):
    config = str(gateway.folder / "stoep.toml")
    assert main(["run", "--config", config]) == 1
    assert "another gateway has it open" in capfd.readouterr().err


def test_a_port_that_is_taken_says_so(tmp_path, gateway, capfd):
    config = tmp_path / "second.toml"
    config.write_text(CONFIG.format(port=1).replace("port = 0", f"port = {gateway.port}"))
    assert main(["run", "--config", str(config)]) == 1
    said = capfd.readouterr().err
    assert f"UDP 127.0.0.1:{gateway.port} cannot be listened at" in said
    assert f'ss -lpn "sport = :{gateway.port}"' in said


def test_check_reports_what_it_has_read(gateway, capsys):
    assert main(["check", "--config", str(gateway.folder / "stoep.toml")]) == 0
    assert "gateways: 1, devices: 1, containers: 1, bays: 0" in capsys.readouterr().out


def test_every_mistake_in_the_configuration_is_told_at_once(tmp_path, capsys):
    config = tmp_path / "stoep.toml"
    config.write_text(CONFIG.format(port=0) + "[gwpm]\n")
    assert main(["run", "--config", str(config)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2

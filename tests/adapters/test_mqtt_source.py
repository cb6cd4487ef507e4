"""The source's driver against a real Mosquitto: nothing is lost between broker and disk."""

import asyncio
import datetime
import gc
import ipaddress
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber
from chirpstack_api.integration import integration_pb2 as pb
from chirpstack_events import APPLICATION, DEV_EUI, device_info, message, topic, uplink
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.json_format import Parse
from mqtt_publisher import alive_clients
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from stoep_gateway.config_model import SourceConfig
from stoep_gateway.errors import FatalError
from stoep_gateway.integrations import mqtt_inbox
from stoep_gateway.integrations.events import SourceDownlink, SourceEvent, SourceUplink
from stoep_gateway.integrations.mqtt_source import MqttSource
from stoep_gateway.lns.frames import Rejected
from stoep_gateway.metrics import Metrics
from waiting import PATIENCE_S, until, wait_until

SUPPORT = Path(__file__).parents[1] / "support"


class Running:
    """A source with what it delivered, acknowledged at once unless ``hold``."""

    def __init__(self, port: int, *, hold: bool = False, **fields):
        self.taken: list[SourceUplink | SourceEvent | Rejected] = []
        self.done = []
        self.metrics = Metrics()
        self._hold = hold
        fields = {"kind": "chirpstack", "application": APPLICATION} | fields
        password = fields.pop("password", None)
        self.source = MqttSource(
            SourceConfig(id="ns", port=port, **fields),
            "test",
            self._deliver,
            self.metrics,
            lambda: time.time_ns() // 1_000_000,
            password,
        )
        self._task = asyncio.create_task(self.source.run())

    def _deliver(self, taken, done):
        self.taken.append(taken)
        self.done.append(done)
        if not self._hold:
            done()

    @property
    def counters(self) -> list[int]:
        return [one.f_cnt_up for one in self.taken if isinstance(one, SourceUplink)]

    async def connected(self):
        await until(lambda: self.source.connected)

    async def stop(self):
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=0.2)


class Sender:
    """ChirpStack's side of the broker."""

    def __init__(self, port: int, qos: int = 1):
        self._qos = qos
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, where: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(where, payload, self._qos, retain).wait_for_publish(PATIENCE_S)

    def uplinks(self, first: int, last: int) -> None:
        infos = [
            self._client.publish(topic("up"), message(uplink(n)), self._qos)
            for n in range(first, last + 1)
        ]
        for info in infos:
            info.wait_for_publish(PATIENCE_S)


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker", "log_type all\n") as running:
        yield running


async def test_events_come_in_as_they_are_published(broker):
    running = Running(broker.port)
    await running.connected()
    with Sender(broker.port) as sender:
        await asyncio.to_thread(sender.uplinks, 0, 99)
        await asyncio.to_thread(sender.send, topic("up"), b"not JSON")
        await asyncio.to_thread(
            sender.send,
            topic("ack"),
            message(pb.AckEvent(device_info=device_info(), acknowledged=True)),
        )
        await until(lambda: len(running.taken) >= 102)
    await running.stop()
    assert running.counters == list(range(100))
    assert [getattr(one, "reason", "") or one.kind for one in running.taken[100:]] == [
        "source_malformed",
        "acknowledged",
    ]
    assert running.metrics.counts["source_messages"] == 102


async def test_what_was_not_done_comes_again_and_what_was_does_not(broker):
    running = Running(broker.port, hold=True)
    await running.connected()
    with Sender(broker.port) as sender:
        await asyncio.to_thread(sender.uplinks, 0, 9)
    await until(lambda: len(running.taken) == 10)
    for done in running.done[:4]:
        done()
    await until(lambda: acknowledged(broker) == 4)  # else a new connection may overtake them
    await running.stop()
    again = Running(broker.port)
    await until(lambda: len(again.taken) >= 6)
    await again.stop()
    assert again.counters == [4, 5, 6, 7, 8, 9]


async def test_nothing_is_acknowledged_before_what_came_earlier(broker):
    running = Running(broker.port, hold=True)
    await running.connected()
    with Sender(broker.port) as sender:
        await asyncio.to_thread(sender.uplinks, 0, 5)
    await until(lambda: len(running.taken) == 6)
    for n in (5, 2, 1, 3):
        running.done[n]()
    await running.stop()
    again = Running(broker.port, hold=True)
    await until(lambda: len(again.taken) >= 6)
    for n in (3, 2, 1, 0):
        again.done[n]()
    await until(lambda: acknowledged(broker) == 4)
    await again.stop()
    last = Running(broker.port)
    await until(lambda: len(last.taken) >= 2)
    await last.stop()
    assert again.counters == [0, 1, 2, 3, 4, 5]
    assert last.counters == [4, 5]


async def test_done_after_the_connection_ended_acknowledges_nothing_else(broker):
    running = Running(broker.port, hold=True)
    await running.connected()
    with Sender(broker.port) as sender:
        await asyncio.to_thread(sender.uplinks, 0, 2)
        await until(lambda: len(running.taken) == 3)
        await asyncio.to_thread(broker.stop)
        await until(lambda: not running.source.connected)
        await asyncio.to_thread(broker.start)
    await until(lambda: len(running.taken) == 6)
    for done in running.done[:3]:
        done()  # of the first connection: its message ids mean other messages by now
    await running.stop()
    again = Running(broker.port)
    await until(lambda: len(again.taken) >= 3)
    await again.stop()
    assert again.counters == [0, 1, 2]


async def test_an_outage_is_told_once_and_what_came_in_it_is_not_lost(broker, caplog):
    caplog.set_level(logging.INFO, logger="stoep_gateway.integrations.mqtt_source")
    running = Running(broker.port)
    await running.connected()
    for round_ in range(2):
        await asyncio.to_thread(broker.stop)
        await until(lambda: not running.source.connected)
        await until(lambda round_=round_: caplog.text.count("is away") == round_ + 1)
        await asyncio.to_thread(broker.start)
        with Sender(broker.port) as sender:
            await asyncio.to_thread(sender.uplinks, 50 * round_, 50 * round_ + 49)
        await until(lambda round_=round_: len(set(running.counters)) == 50 * round_ + 50)
    await running.stop()
    assert list(dict.fromkeys(running.counters)) == list(range(100))
    assert caplog.text.count("is away") == 2
    assert caplog.text.count("is back after") == 2
    told = [record.journal for record in caplog.records if hasattr(record, "journal")]
    away_and_back = [(("EVENT", f"source_{what}"), ("SOURCE", "ns")) for what in ("away", "back")]
    assert told == 2 * away_and_back


async def test_what_an_ended_connection_held_is_let_go_before_the_next(broker, monkeypatch):
    made = alive_clients(monkeypatch)
    gc.disable()
    try:
        running = Running(broker.port)
        for _ in range(2):
            await running.connected()
            await asyncio.to_thread(broker.stop)
            await until(lambda: not running.source.connected)
            await asyncio.to_thread(broker.start)
        await running.connected()
        assert len(made) == 1
        await running.stop()
    finally:
        gc.enable()


async def test_a_connection_that_is_lost_with_its_subscription_is_an_outage(monkeypatch, caplog):
    monkeypatch.setattr(mqtt_inbox, "_CONNECT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(mqtt_inbox, "_LONGEST_PAUSE_S", 0.01)
    asked = 0

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.read(100)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK of MQTT 3.1.1
        await reader.read(100)
        writer.close()
        asked += 1

    failures = []  # each would end the gateway
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1])
    await until(lambda: asked >= 5)
    await running.stop()
    server.close()
    assert failures == []
    assert caplog.text.count("is away") == 1


async def test_what_is_published_while_we_are_away_waits_at_the_broker(broker):
    running = Running(broker.port)
    await running.connected()
    await running.stop()
    with Sender(broker.port) as sender:
        await asyncio.to_thread(sender.uplinks, 0, 199)
    again = Running(broker.port)
    await until(lambda: len(again.taken) >= 200)
    await again.stop()
    assert again.counters == list(range(200))


def start_taker(port: int, path: Path, *manner: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SUPPORT / "source_taker.py"), str(port), str(path), *manner]
    environ = os.environ | {"PYTHONPATH": str(SUPPORT)}
    return subprocess.Popen(command, env=environ)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def taken_by(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_client_that_acknowledges_by_itself_loses_what_it_had_in_hand(broker, tmp_path):
    """The instrument: a kill between acknowledgement and record does lose events."""
    path = tmp_path / "taken"
    taker = start_taker(broker.port, path, "careless")
    try:
        with Sender(broker.port) as sender:
            wait_until(lambda: subscribed(broker), "the subscription")
            sender.uplinks(0, 9)
        wait_until(lambda: acknowledged(broker) >= 10, "the acknowledgements")
    finally:
        end(taker)
    again = start_taker(broker.port, path)
    try:
        with Sender(broker.port) as sender:
            sender.uplinks(10, 10)
        wait_until(lambda: taken_by(path), "the event after the kill")
    finally:
        end(again)
    assert taken_by(path) == [uplink(10).deduplication_id]


def subscribed(broker) -> bool:
    return b"Sending SUBACK to stoep-test-ns" in log_of(broker)


def acknowledged(broker) -> int:
    return log_of(broker).count(b"Received PUBACK from stoep-test-ns")


def log_of(broker) -> bytes:
    log = broker._directory / "mosquitto.log"
    return log.read_bytes() if log.exists() else b""


@pytest.mark.slow
def test_kills_between_delivery_and_record_lose_nothing(broker, tmp_path):
    path = tmp_path / "taken"
    first = start_taker(broker.port, path)
    try:
        wait_until(lambda: subscribed(broker), "the subscription")
    finally:
        end(first)
    expected = [uplink(n).deduplication_id for n in range(600)]
    with Sender(broker.port) as sender:
        for kill in range(6):
            taker = start_taker(broker.port, path, *(("hold",) if kill % 3 == 2 else ()))
            try:
                sender.uplinks(100 * kill, 100 * kill + 99)
                wait_until(lambda: len(taken_by(path)) >= 80 * kill + 13, "some events")  # noqa: B023
            finally:
                end(taker)
    last = start_taker(broker.port, path)
    try:
        wait_until(lambda: set(taken_by(path)) >= set(expected), "all events")
    finally:
        end(last)
    lines = taken_by(path)
    assert list(dict.fromkeys(lines)) == expected
    assert len(lines) > len(expected)  # some did come again: the kills hit


async def test_a_downlink_is_what_chirpstack_understands_and_its_end_comes_back(broker):
    running = Running(broker.port)
    downlink = SourceDownlink(4711, DEV_EUI, 13, b"\x01\x02", confirmed=True)
    assert await running.source.send(downlink) is False
    await running.connected()
    with Subscriber(broker, "application/+/device/+/command/down") as commands:
        assert await running.source.send(downlink) is True
        await asyncio.to_thread(commands.wait_for, lambda: commands.messages)
    ((where, payload, retained),) = commands.messages
    command = Parse(payload, pb.DownlinkCommand())
    assert where.split("/")[3] == command.dev_eui == DEV_EUI.hex()
    assert (command.f_port, command.data, command.confirmed) == (13, b"\x01\x02", True)
    assert not retained
    answer = pb.TxAckEvent(device_info=device_info(), queue_item_id=command.id)
    with Sender(broker.port) as sender:
        await asyncio.to_thread(sender.send, topic("txack"), message(answer))
    await until(lambda: running.taken)
    await running.stop()
    assert (running.taken[0].kind, running.taken[0].downlink_id) == ("sent", 4711)


async def test_a_chirpstack_that_publishes_with_qos_0_is_told_of_once(broker, caplog):
    running = Running(broker.port)
    await running.connected()
    with Sender(broker.port, qos=0) as sender:
        await asyncio.to_thread(sender.uplinks, 0, 9)
        await until(lambda: len(running.taken) == 10)
    await running.stop()
    assert caplog.text.count("set qos=1 under [integration.mqtt]") == 1


async def test_the_things_stack_is_heard_with_qos_0_and_nothing_is_kept_for_us(broker, caplog):
    fields = {"kind": "the_things_stack", "application": "bins@ttn"}
    ids = {"device_id": "market-1", "dev_eui": "70B3D57ED0001A2B", "dev_addr": "260BABCD"}

    def send(f_cnt):
        up = {"end_device_ids": ids, "uplink_message": {"f_cnt": f_cnt, "f_port": 10}}
        with Sender(broker.port) as sender:
            sender.send("v3/bins@ttn/devices/market-1/up", json.dumps(up).encode())

    running = Running(broker.port, hold=True, **fields)
    await running.connected()
    await asyncio.to_thread(send, 1)
    await until(lambda: running.taken)
    with Subscriber(broker, "v3/#") as commands:
        assert await running.source.send(SourceDownlink(1, DEV_EUI, 13, b"x", device_id="market-1"))
        await asyncio.to_thread(commands.wait_for, lambda: commands.messages)
    assert commands.messages[0][0] == "v3/bins@ttn/devices/market-1/down/push"
    await running.stop()
    await asyncio.to_thread(send, 2)
    again = Running(broker.port, **fields)
    await again.connected()
    await asyncio.to_thread(send, 3)
    await until(lambda: again.taken)
    await again.stop()
    assert running.counters == [1]
    assert again.counters == [3]
    assert "qos=1" not in caplog.text


async def test_a_wrong_password_is_told_with_the_keys_to_look_at(tmp_path, caplog):
    passwords = tmp_path / "passwords"
    passwords.touch()
    command = ["mosquitto_passwd", "-b", str(passwords), "stoep", "right"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    passwords.chmod(0o644)
    more = f"password_file {passwords}\n"
    with Mosquitto(tmp_path / "broker", more) as broker:
        running = Running(broker.port, username="stoep", password="wrong")
        await until(lambda: "is away" in caplog.text)
        assert 'see username and password_file of [[source]] "ns"' in caplog.text
        await running.stop()
        running = Running(broker.port, username="stoep", password="right")
        await running.connected()
        await running.stop()


class Refusing:
    """A broker that accepts the connection and refuses the subscription."""

    async def __call__(self, reader, writer):
        try:
            while True:
                first = (await reader.readexactly(1))[0]
                length = shift = 0
                while True:
                    octet = (await reader.readexactly(1))[0]
                    length |= (octet & 0x7F) << shift
                    shift += 7
                    if not octet & 0x80:
                        break
                body = await reader.readexactly(length)
                if first >> 4 == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif first >> 4 == 8:
                    filters = body.count(b"application/")
                    writer.write(bytes((0x90, 2 + filters)) + body[:2] + b"\x80" * filters)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def test_a_subscription_that_is_refused_is_told(caplog):
    server = await asyncio.start_server(Refusing(), "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1], username="stoep")
    await until(lambda: "is away" in caplog.text)
    assert f"it does not let stoep subscribe to application/{APPLICATION}/" in caplog.text
    assert not running.source.connected
    await running.stop()
    server.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return a self-signed certificate for this host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


async def test_tls_with_the_operators_own_authority(tmp_path, caplog):
    cert_file, key_file = certificate(tmp_path / "tls")
    other, _ = certificate(tmp_path / "other")
    more = f"certfile {cert_file}\nkeyfile {key_file}\n"
    with Mosquitto(tmp_path / "broker", more) as broker:
        running = Running(broker.port, tls=True, ca_file=str(cert_file))
        await running.connected()
        assert await running.source.send(SourceDownlink(1, DEV_EUI, 13, b"x"))
        await running.stop()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ResourceWarning
            )  # paho leaves the socket to the collector
            running = Running(broker.port, tls=True, ca_file=str(other))
            await until(lambda: "is away" in caplog.text)
            await running.stop()
            gc.collect()
        assert "certificate verify failed" in caplog.text


async def test_an_authority_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(FatalError, match=r'\[\[source\]\] "ns": ca_file .*nothing'):
        Running(1, tls=True, ca_file=str(tmp_path / "nothing"))


@pytest.mark.parametrize("application", ["+", "#", "bins/+", "my bins", ""])
async def test_an_application_that_is_no_part_of_a_topic_is_told(application):
    config = SourceConfig.model_construct(
        id="ns", kind="chirpstack", application=application, tls=False
    )
    with pytest.raises(FatalError, match="cannot be part of a topic"):
        MqttSource(config, "test", lambda _taken, _done: None, Metrics(), lambda: 0)

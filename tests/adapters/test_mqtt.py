"""The publisher against real brokers: Mosquitto, and amqtt, which knows no MQTT 5."""

import asyncio
import gc
import json
import logging
import threading
import time
import warnings

import pytest
from aiomqtt.exceptions import MqttConnectError
from amqtt.broker import Broker as Amqtt
from broker import Mosquitto, Subscriber, free_port
from mqtt_publisher import Running, alive_clients, rows
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from stoep_gateway.app import _cancel
from stoep_gateway.publish import mqtt
from stoep_gateway.publish.availability import gateway_availability
from stoep_gateway.publish.wire import Wire
from waiting import PATIENCE_S, until


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
async def publisher(broker):
    running = Running(broker.port)
    yield running
    await running.stop()


def event_ids(subscriber: Subscriber, topic: str = "street/") -> list[int]:
    return [json.loads(payload)["event_id"] for _, payload, _ in subscriber.of(topic)]


async def test_every_row_is_published_once_in_order_and_deleted(broker, publisher):
    with Subscriber(broker, "street/#") as subscriber:
        publisher.add(rows(1, 2500))
        await publisher.drained()
        await asyncio.to_thread(subscriber.wait_for, lambda: len(subscriber.messages) >= 2500)
        assert event_ids(subscriber) == list(range(1, 2501))
    await publisher.stop()
    assert publisher.deleted == list(range(1, 2501))
    assert publisher.metrics.counts["published"] == 2500


async def test_mqtt_5_where_the_broker_has_it(broker, publisher):
    await until(lambda: publisher.publisher.connected)
    assert publisher.publisher._paho._protocol == 5


async def test_retained_rows_are_retained(broker, publisher):
    publisher.add(rows(1, 1, retain=1))
    publisher.add(rows(2, 2, retain=0))
    await publisher.drained()
    with Subscriber(broker, "street/#") as late:
        await asyncio.to_thread(late.wait_for, lambda: late.messages)
        assert [(topic, retained) for topic, _, retained in late.messages] == [("street/1", True)]


async def test_messages_that_are_larger_than_a_connection_takes_at_once(broker, publisher):
    publisher.add([row._replace(payload=b"x" * 20_000) for row in rows(1, 400)])
    await publisher.drained()
    assert publisher.metrics.counts["published"] == 400


async def test_an_outage_is_logged_once_and_loses_nothing(broker, publisher, caplog):
    caplog.set_level(logging.INFO, logger="stoep_gateway.publish.mqtt")
    await until(lambda: publisher.publisher.connected)
    with Subscriber(broker, "street/#", client_id="lasting") as subscriber:
        publisher.add(rows(1, 300))
        await publisher.drained()
        await asyncio.to_thread(broker.stop)
        publisher.add(rows(301, 600))
        await until(lambda: not publisher.publisher.connected)
        await until(lambda: "is away" in caplog.text)
        publisher.add(rows(601, 900))
        await asyncio.to_thread(broker.start)
        await publisher.drained()
        await asyncio.to_thread(
            subscriber.wait_for, lambda: set(event_ids(subscriber)) == set(range(1, 901))
        )
        for topic in range(7):
            seen = list(dict.fromkeys(event_ids(subscriber, f"street/{topic}")))
            assert seen == sorted(seen)
    told = [record.getMessage().split(" ")[2:4] for record in caplog.records]
    assert told.count(["is", "away:"]) == 1
    assert told.count(["is", "back"]) == 1


async def test_what_an_ended_connection_held_is_let_go_before_the_next(
    broker, publisher, monkeypatch
):
    monkeypatch.setattr(mqtt, "_LONGEST_PAUSE_S", 0.01)
    made = alive_clients(monkeypatch)
    gc.disable()
    try:
        for round_ in range(3):
            await until(lambda: publisher.publisher.connected)
            publisher.add(rows(round_ * 800 + 1, round_ * 800 + 800))
            await asyncio.to_thread(broker.stop)
            attempts = publisher.attempts()
            await until(lambda attempts=attempts: publisher.attempts() >= attempts + 5)
            await asyncio.to_thread(broker.start)
        await until(lambda: publisher.publisher.connected)
        assert len(made) == 1
    finally:
        gc.enable()


async def test_a_broker_that_dies_amid_messages(broker, publisher):
    with Subscriber(broker, "street/#", client_id="lasting") as subscriber:
        for round_ in range(4):
            publisher.add(rows(round_ * 800 + 1, round_ * 800 + 800))
            await until(lambda: publisher.outbox.in_flight or not len(publisher.outbox))
            await asyncio.to_thread(broker.stop)
            await asyncio.to_thread(broker.start)
        await publisher.drained()
        await asyncio.to_thread(
            subscriber.wait_for, lambda: set(event_ids(subscriber)) == set(range(1, 3201))
        )


async def test_a_gateway_that_starts_before_its_broker(tmp_path, caplog):
    with Mosquitto(tmp_path) as broker:
        broker.stop()
        running = Running(broker.port)
        running.add(rows(1, 5))
        await until(lambda: "is away" in caplog.text)
        await asyncio.to_thread(broker.start)
        await running.drained()
        await running.stop()
    assert running.deleted == [1, 2, 3, 4, 5]
    assert caplog.text.count("is away") == 1
    told = [record.journal for record in caplog.records if hasattr(record, "journal")]
    assert told[0] == (("EVENT", "broker_away"),)


async def test_a_broker_without_mqtt_5():
    port = free_port()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        broker = Amqtt(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
                "auth": {"allow-anonymous": True},
            }
        )
    await broker.start()
    running = Running(port)
    running.add(rows(1, 20))
    await running.drained()
    assert running.publisher._paho._protocol == 4
    assert running.metrics.counts["published"] == 20
    await running.stop()
    await broker.shutdown()


class Refusing:
    """A broker that accepts connections and says nothing, or one that refuses each message."""

    def __init__(self, puback: bytes | None, connack_properties: bytes = b""):
        self.puback = puback
        self.connack_properties = connack_properties
        self.connections = 0
        self.unanswered = 0  # messages taken while `puback` is empty
        self.pings = 0

    async def __call__(self, reader, writer):
        self.connections += 1
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
                if self.puback is None:
                    continue
                if first >> 4 == 1:
                    properties = self.connack_properties
                    writer.write(bytes((0x20, 3 + len(properties), 0, 0, len(properties))))
                    writer.write(properties)
                elif first >> 4 == 12:
                    self.pings += 1
                    writer.write(b"\xd0\x00")
                elif first >> 4 == 3 and not self.puback:
                    self.unanswered += 1
                elif first >> 4 == 3:
                    topic = int.from_bytes(body[:2], "big")
                    writer.write(b"\x40\x03" + body[2 + topic : 4 + topic] + self.puback)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def test_a_message_that_the_broker_refuses_is_told_and_does_not_block(caplog):
    server = await asyncio.start_server(Refusing(b"\x87"), "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1])
    running.add(rows(1, 3))
    await running.drained()
    await running.stop()
    server.close()
    assert running.metrics.counts["publish_refused"] == 3
    assert running.metrics.counts["published"] == 0
    told = [record.getMessage() for record in caplog.records]
    assert sum("refuses messages ×1: Not authorized" in line for line in told) == 1


@pytest.mark.parametrize("code", [0x86, 0x87, 0x05])
async def test_a_wrong_password_is_told_with_the_keys_to_look_at(code):
    running = Running(free_port())
    told = running.publisher._explained(MqttConnectError(code), ended=False)
    assert str(told).endswith(", see username and password_file under [mqtt]")
    busy = MqttConnectError(0x88)
    assert str(running.publisher._explained(busy, ended=False)) == str(busy)
    await running.stop()


async def test_no_more_is_in_flight_than_the_broker_takes():
    slow = Refusing(b"", connack_properties=b"\x21\x00\x03")  # Receive Maximum 3
    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1])
    running.add(rows(1, 10))
    await until(lambda: slow.unanswered == 3)
    for _ in range(100):
        await asyncio.sleep(0)
    assert slow.unanswered == 3
    assert running.outbox.in_flight == 3
    await running.stop()
    server.close()


async def test_the_library_keeps_an_idle_connection_alive():
    broker = Refusing(b"\x00")
    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1], keepalive_s=1)
    await until(lambda: broker.pings >= 2)
    running.add(rows(1, 3))
    await running.drained()
    assert broker.connections == 1
    await running.stop()
    server.close()


async def test_a_broker_over_its_quota_is_tried_again_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(mqtt, "_LONGEST_PAUSE_S", 0.01)
    refusing = Refusing(b"\x97")
    server = await asyncio.start_server(refusing, "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1])
    running.add(rows(1, 3))
    await until(lambda: refusing.connections >= 2)
    assert len(running.outbox) == 3
    refusing.puback = b"\x00"
    await running.drained()
    await running.stop()
    server.close()
    assert running.deleted == [1, 2, 3]


async def test_a_broker_that_never_answers_is_given_up_and_left_no_socket(monkeypatch, caplog):
    monkeypatch.setattr(mqtt, "_CONNECT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(mqtt, "_LONGEST_PAUSE_S", 0.01)
    silent = Refusing(None)
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1])
    await until(lambda: silent.connections >= 4)
    silent.puback = b"\x00"
    running.add(rows(1, 2))
    await running.drained()
    await running.stop()
    server.close()
    assert caplog.text.count("is away") == 1


async def test_a_connection_that_is_lost_with_its_connack_is_an_outage(monkeypatch, caplog):
    monkeypatch.setattr(mqtt, "_LONGEST_PAUSE_S", 0.01)
    greeted = 0

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        await reader.read(100)
        writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK of MQTT 5
        writer.close()
        greeted += 1

    caplog.set_level(logging.INFO, logger="stoep_gateway.publish.mqtt")
    failures = []  # each would end the gateway
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1], availability=announcement)
    running.add(rows(1, 2))
    await until(lambda: greeted >= 5 or running._task.done())
    assert not running._task.done()
    assert failures == []
    await _cancel([running._task])  # again and again: one that comes with a CONNACK is lost
    server.close()
    assert len(running.outbox) == 2
    assert 1 <= caplog.text.count("is away") <= caplog.text.count("is back") + 1


async def test_a_connection_that_breaks_in_the_turn_of_a_message_is_an_outage(broker, publisher):
    """aiomqtt registers the socket for writing one turn late; here it is closed in between."""
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    for round_ in range(5):
        await until(lambda: publisher.publisher.connected)
        await publisher.drained()
        broker.stop()  # without a turn of the loop: what the broker said last is still unread
        publisher.add(rows(round_ + 1, round_ + 1))
        await until(lambda: not publisher.publisher.connected)
        broker.start()
    await publisher.drained()
    assert failures == []


def announcement(state, reason):
    return gateway_availability("test", state, reason, 1_792_461_600_000)


AVAILABILITY = announcement("online", None).topic


def told(subscriber: Subscriber) -> list[tuple[str, str | None]]:
    messages = [json.loads(payload) for _, payload, _ in subscriber.of(AVAILABILITY)]
    return [(it["state"], it["reason"]) for it in messages]


async def test_the_gateway_says_when_it_comes_and_goes_and_the_broker_when_it_dies(broker):
    with Subscriber(broker, "#") as subscriber:

        async def heard(state, reason):
            there = lambda: told(subscriber)[-1:] == [(state, reason)]  # noqa: E731
            await asyncio.to_thread(subscriber.wait_for, there, f"{state} {reason}")

        first = Running(broker.port, availability=announcement)
        first.add(rows(1, 1))
        await first.drained()
        await heard("online", None)
        await asyncio.to_thread(subscriber.wait_for, lambda: len(subscriber.messages) == 2)
        assert [topic for topic, *_ in subscriber.messages] == [AVAILABILITY, "street/1"]
        await first.publisher.farewell()
        await first.stop()
        await heard("offline", "stopped")
        second = Running(broker.port, availability=announcement)
        await heard("online", None)
        await second.stop()  # without a word, as a process that dies
        await heard("offline", "connection_lost")
        third = Running(broker.port, availability=announcement)
        await heard("online", None)
        with Subscriber(broker, "#") as late:
            await asyncio.to_thread(late.wait_for, lambda: len(late.messages) == 1)
            assert late.messages[0][::2] == (AVAILABILITY, True)
        await third.publisher.farewell()
        await third.stop()
    assert len(told(subscriber)) == 6


async def test_what_is_said_aside_counts_among_what_the_broker_takes_at_once():
    slow = Refusing(b"", connack_properties=b"\x21\x00\x03")  # Receive Maximum 3
    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    running = Running(server.sockets[0].getsockname()[1], availability=announcement)
    running.add(rows(1, 10))
    await until(lambda: slow.unanswered == 3)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (slow.unanswered, running.outbox.in_flight) == (3, 2)
    await running.stop()
    server.close()


def received_properties(port: int, topic: str) -> list:
    """Subscribe with MQTT 5; return where messages gather."""
    messages = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    subscribed = threading.Event()
    client.on_message = lambda _client, _data, message: messages.append(message)
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.subscribe(topic, qos=1)
    client.loop_start()
    assert subscribed.wait(PATIENCE_S)
    return [client, messages]


async def test_events_expire_at_the_broker_and_states_do_not(broker):
    client, messages = received_properties(broker.port, "street/#")
    running = Running(broker.port, wire=Wire("json", 7 * 86_400))
    running.add(rows(1, 1, retain=1))
    running.add(rows(2, 2, retain=0))
    await running.drained()
    await until(lambda: len(messages) == 2)
    client.disconnect()
    client.loop_stop()
    state, event = (it.properties.json() for it in messages)
    assert state == {"ContentType": "application/json", "PayloadFormatIndicator": 1}
    assert 604_790 <= event.pop("MessageExpiryInterval") <= 604_800  # less what the broker held it
    assert event == state
    await running.stop()


async def test_an_event_that_nobody_took_in_time_is_gone_and_the_state_is_there(broker):
    away = Subscriber(broker, "street/#", client_id="away")
    away._client.disconnect()
    away._client.loop_stop()
    running = Running(broker.port, wire=Wire("json", 1))
    running.add(rows(1, 1, retain=1))
    running.add(rows(2, 2, retain=0))
    await running.drained()
    await running.stop()
    patience = time.monotonic() + 2.5  # the broker's clock counts seconds
    await until(lambda: time.monotonic() > patience)
    running = Running(broker.port, wire=Wire("json", 60))
    with Subscriber(broker, "street/#", client_id="away") as back:
        running.add(rows(3, 3))
        await running.drained()
        await asyncio.to_thread(back.wait_for, lambda: 3 in event_ids(back))
        assert 2 not in event_ids(back)
        assert 1 in event_ids(back)
    await running.stop()


async def test_shared_subscribers_divide_the_events_exactly(broker, publisher):
    taken: list[list[int]] = [[], []]
    subscribers = []
    for mine in taken:
        client, _ = received_properties(broker.port, "$share/city/street/#")
        client.on_message = lambda _client, _data, message, mine=mine: mine.append(
            json.loads(message.payload)["event_id"]
        )
        subscribers.append(client)
    publisher.add(rows(1, 2000))
    await publisher.drained()
    await until(lambda: len(taken[0]) + len(taken[1]) >= 2000)
    for client in subscribers:
        client.disconnect()
        client.loop_stop()
    assert sorted(taken[0] + taken[1]) == list(range(1, 2001))
    assert min(map(len, taken)) > 500

"""The broker that other tests rest on keeps what it must keep."""

from broker import Mosquitto, Subscriber
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion


def publish(broker, payload):
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect(*broker.address)
    client.loop_start()
    client.publish("street/state", payload, qos=1, retain=True).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def test_a_restarted_broker_keeps_sessions_and_retained_messages(tmp_path):
    with Mosquitto(tmp_path) as broker:
        with Subscriber(broker, "street/#", client_id="lasting") as subscriber:
            publish(broker, b"1")
            subscriber.wait_for(lambda: len(subscriber.messages) == 1)
            broker.stop()
            broker.start()
            publish(broker, b"2")
            subscriber.wait_for(lambda: subscriber.messages[-1][1] == b"2")
            assert [payload for _, payload, retained in subscriber.messages if not retained] == [
                b"1",
                b"2",
            ]
        with Subscriber(broker) as late:
            late.wait_for(lambda: late.messages == [("street/state", b"2", True)])

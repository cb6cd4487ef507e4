"""The whole chain: the real firmware, from an echo in a bin to a message at a real broker."""

import json
from itertools import pairwise

import pytest
from broker import Subscriber
from stoep_hardware.engine import US_PER_S
from stoep_hardware.scenario import Street

HOUR_MS = 3_600_000


def street(directory, broker, **options):
    directory.mkdir(exist_ok=True)
    return Street(directory, broker=broker.address, **options)


def messages(subscriber, kind, suffix):
    return [
        json.loads(payload)
        for topic, payload, _ in subscriber.of(f"/{kind}/")
        if topic.endswith(f"/{suffix}")
    ]


def violations(here):
    return [what for device in here.devices.values() for what in device.board.violations]


def spectrum(here):
    frames = []
    here.air.observe(lambda _, frame: frames.append((frame.start_us, frame.freq_hz, frame.payload)))
    return frames


def test_an_echo_in_a_bin_becomes_a_message(broker, tmp_path):
    with (
        Subscriber(broker, "stoep/v1/blantyre/#") as subscriber,
        street(tmp_path / "gateway", broker, containers=1, bays=0, micropython=0) as here,
    ):
        (container,) = here.containers.values()
        truth = {}
        measure = container.distance_mm

        def listen_in(t_us):
            truth[t_us] = measure(t_us)
            return truth[t_us]

        container.distance_mm = listen_in
        here.run_until(3 * HOUR_MS)
        summary = here.summary()
        assert summary["containers_joined"] == 1
        assert summary["join_requests"] == 1
        subscriber.wait_for(lambda: len(messages(subscriber, "container", "state")) >= 3)
        states = messages(subscriber, "container", "state")
        assert [state["sequence"] for state in states] == list(range(len(states)))
        assert {state["distance_mm"] for state in states} <= set(truth.values())
        assert violations(here) == []


def test_any_distance_sensor_fills_the_gateways_picture(broker, tmp_path):
    """Each container has another, and of each the gateway is told what its waste looked like."""
    sensors = ("a02yyuw", "maxbotix", "hcsr04", "jsnsr04t", "vl53l1x")
    options = {"containers": 5, "bays": 0, "micropython": 0, "bin_sensors": sensors}
    with (
        Subscriber(broker, "stoep/v1/blantyre/#") as subscriber,
        street(tmp_path / "gateway", broker, **options) as here,
    ):
        truth = {name: set() for name in here.containers}

        def listen_in(name, measure):
            def distance_mm(t_us):
                seen = measure(t_us)
                truth[name].add(seen)
                return seen

            return distance_mm

        for name, container in here.containers.items():
            container.distance_mm = listen_in(name, container.distance_mm)
        here.run_until(4 * HOUR_MS)
        assert here.summary()["containers_joined"] == len(sensors)
        subscriber.wait_for(
            lambda: len(messages(subscriber, "container", "state")) >= here.summary()["sent"] - 5
        )
        for name in here.containers:
            states = messages(subscriber, f"container/{name}", "state")
            assert len(states) >= 3
            for state in states:
                told_mm = state["distance_mm"]
                if state["reason"] == "echo_blocked":
                    assert min(filter(None, truth[name])) < 300, "the MaxBotix' dead zone"
                elif told_mm is None:
                    assert None in truth[name]
                else:
                    assert min(abs(told_mm - mm) for mm in truth[name] if mm) <= 10, name
        assert violations(here) == []


@pytest.mark.slow
def test_both_runtimes_in_one_street_send_the_same_as_one_alone(broker, tmp_path):
    """The same seed gives the same frames, whichever runtime the firmware is on."""

    def run(name, micropython):
        options = {"containers": 2, "bays": 2, "micropython": micropython}
        with street(tmp_path / name, broker, **options) as here:
            frames = spectrum(here)
            here.run_until(2 * HOUR_MS)
            assert violations(here) == []
            summary = here.summary()
            assert summary["containers_joined"] == summary["bays_joined"] == 2
            assert summary["micropython_devices"] == micropython
            return frames

    mixed = run("mixed", 2)
    assert mixed == run("again", 2)
    assert mixed == run("cpython", 0)


@pytest.mark.slow
def test_what_the_bays_report_is_what_cars_did(broker, tmp_path):
    """Every stay is seen, but for those too short to be one and for the field's own tricks."""
    with (
        Subscriber(broker, "stoep/v1/blantyre/bay/#") as subscriber,
        street(tmp_path / "gateway", broker, containers=0, bays=4, micropython=0) as here,
    ):
        here.run_until(12 * HOUR_MS)
        subscriber.wait_for(
            lambda: len(messages(subscriber, "bay", "state")) >= here.summary()["sent"] - 4
        )
        long_enough_us = 120 * US_PER_S
        stays = [
            until_us - t_us
            for bay in here.bays.values()
            for (t_us, occupied), (until_us, _) in pairwise(bay.changes)
            if occupied
        ]
        expected = sum(length_us > long_enough_us for length_us in stays)
        events = messages(subscriber, "bay", "event")
        seen = sum(event["state"] == "occupied" for event in events)
        assert expected > 10
        assert 0.9 * expected <= seen <= 1.1 * len(stays) + 1
        for name, bay in here.bays.items():
            topic = f"/bay/{name}/state"
            last = json.loads(subscriber.of(topic)[-1][1])
            if here.engine.now_us - bay.changes[-1][0] > long_enough_us:
                assert (last["state"] == "occupied") is bay.is_occupied, name
        assert violations(here) == []

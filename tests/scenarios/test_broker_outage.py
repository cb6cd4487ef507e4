"""The broker goes away and comes back: every recorded message arrives, none of them changed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber
from load import BAY, CONTAINER, Device, Forwarder
from mortal_gateway import GATEWAY_EUI, MortalGateway, configuration
from stored import Unsent, facts
from waiting import wait_until

pytestmark = pytest.mark.slow

BUNDLE = 50  # frames in one datagram, as after a forwarder's backlog


def _devices(number: int, kinds: tuple[str, ...] = (CONTAINER, BAY)) -> list[Device]:
    return [Device(at, kinds[at % len(kinds)]) for at in range(1, number + 1)]


def _report(forwarder: Forwarder, chance: random.Random, reports: int) -> None:
    for _ in range(reports):
        device = chance.choice(forwarder.devices)
        confirmed = device.awaits is None and chance.random() < 0.2
        forwarder.push_new(device.report(confirmed=confirmed))
        forwarder.listen(chance.choice((0.0, 0.002)))


def _answered(forwarder: Forwarder) -> None:
    """Wait until all that was sent is recorded: what was sent last is acknowledged."""
    for device in forwarder.devices:
        if device.awaits is None:
            forwarder.push_new(device.report(confirmed=True))
    forwarder.wait(lambda: not any(device.awaits for device in forwarder.devices), "acknowledged")


def _expected(forwarder: Forwarder) -> set[str]:
    """Return what names each uplink in its messages' event ids."""
    return {
        f"{uplink.device.dev_eui.hex()}-{uplink.app_nonce}-{uplink.f_cnt}"
        for uplink in forwarder.sent
        if uplink.f_cnt is not None
    }


def _event_ids(messages: Iterable[tuple[str, bytes, bool]]) -> list[str]:
    return [json.loads(payload)["event_id"] for _, payload, _ in messages]


def _causes(city: Subscriber) -> set[str]:
    return {event_id.split(":")[0] for event_id in _event_ids(city.messages)}


def _same_when_repeated(city: Subscriber) -> None:
    different = {(topic, payload) for topic, payload, _ in city.messages}
    assert len(different) == len({json.loads(payload)["event_id"] for _, payload in different})


def _in_order(city: Subscriber) -> None:
    """First arrivals on a topic come as they were recorded; a repetition may come later."""
    newest: dict[str, tuple[str, int]] = {}
    seen = set()
    for topic, payload, _ in city.messages:
        message = json.loads(payload)
        if topic.endswith("/state") and "radio" in message and message["event_id"] not in seen:
            seen.add(message["event_id"])
            f_cnt_up = message["radio"]["f_cnt_up"]
            assert newest.get(topic, ("", -1))[1] < f_cnt_up
            newest[topic] = topic, f_cnt_up


def test_nothing_is_missing_after_three_outages(tmp_path: Path) -> None:
    devices = _devices(6)
    chance = random.Random(3)
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker, "stoep/#", client_id="city") as city,
        Forwarder(GATEWAY_EUI, devices) as forwarder,
        MortalGateway(tmp_path / "gateway", configuration(devices, broker.port)) as gateway,
    ):
        forwarder.attach(gateway.port)
        forwarder.join(devices)
        for outage in range(1, 4):
            _report(forwarder, chance, 30)
            broker.stop()  # with messages on their way
            _report(forwarder, chance, 30)
            _answered(forwarder)  # devices get their acknowledgements all the same
            broker.start()
            wait_until(lambda: gateway.log().count(" is back") == outage, "connected again")  # noqa: B023
        _answered(forwarder)
        city.wait_for(lambda: _expected(forwarder) <= _causes(city), "every uplink's message")
        assert gateway.stop() == 0
        with gateway.opened() as connection:
            found, problems = facts(connection)
        with Subscriber(broker, "stoep/+/+/+/+/state") as late:
            assets = len(devices)
            late.wait_for(lambda: len(late.of("/bay/") + late.of("/container/")) == assets)
    assert problems == []
    assert not [fact for fact in found if isinstance(fact, Unsent)]
    _same_when_repeated(city)
    _in_order(city)
    # What is retained is the newest state of each asset.
    newest = {f"{d.dev_eui.hex()}-{d.app_nonce}-{d.f_cnt - 1}:state" for d in devices}
    assert newest == set(_event_ids(late.of("/bay/") + late.of("/container/")))
    log = gateway.log()
    assert log.count(" is away") == log.count(" is back") == 3


def test_an_outage_that_outgrows_memory_and_a_kill_in_it(tmp_path: Path) -> None:
    """More messages than the publisher holds, and more than a page of them after a restart."""
    devices = _devices(8, (BAY,))
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker, "stoep/#", client_id="city") as city,
        Forwarder(GATEWAY_EUI, devices) as forwarder,
        MortalGateway(tmp_path / "gateway", configuration(devices, broker.port)) as gateway,
    ):
        forwarder.attach(gateway.port)
        forwarder.join(devices)
        broker.stop()
        _flood(forwarder, 3000)
        gateway.kill()
        gateway.start()
        forwarder.attach(gateway.port)
        _flood(forwarder, 3000)
        broker.start()
        city.wait_for(
            lambda: len(city.messages) > 12_000 and _expected(forwarder) <= _causes(city),
            "every uplink's message",
            timeout_s=60,
        )
        assert gateway.stop() == 0
        with gateway.opened() as connection:
            found, problems = facts(connection)
    assert problems == []
    assert not [fact for fact in found if isinstance(fact, Unsent)]
    _same_when_repeated(city)
    _in_order(city)


def _flood(forwarder: Forwarder, reports: int) -> None:
    """Send reports in bundles, as fast as they are taken in."""
    for first in range(0, reports, BUNDLE):
        uplinks = [
            forwarder.devices[at % len(forwarder.devices)].report()
            for at in range(first, first + BUNDLE)
        ]
        forwarder.sent += uplinks
        forwarder.push(uplinks)
        forwarder.wait_for_acks()
    _answered(forwarder)

"""The gateway dies ten times at random moments under load and forgets nothing that it had recorded.

This says nothing about power cuts, for the kernel keeps what a killed process wrote; see
test_power_cut.py.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Hashable, Iterator
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber
from load import BAY, CONTAINER, Device, Forwarder
from mortal_gateway import GATEWAY_EUI, MortalGateway, configuration
from stored import Join, Unsent, Up, facts

KILLS = 10
DEVICES = 12
RESTLESS = 2  # devices that join again and again
LONGEST_LIFE_S = 0.6
REPLAY = 20  # old frames in one datagram

pytestmark = pytest.mark.slow


def _live(
    forwarder: Forwarder, active: list[Device], chance: random.Random, until: float
) -> Iterator[None]:
    """Send everything again that was ever sent, then new frames until the time is over."""
    old = list(forwarder.sent)
    for first in range(0, len(old), REPLAY):
        forwarder.push(old[first : first + REPLAY])
        forwarder.ease()
        yield
    while time.monotonic() < until:
        device = chance.choice(active)
        restless = device in forwarder.devices[-RESTLESS:]
        if not device.awaits and (not device.joined or (restless and chance.random() < 0.1)):
            forwarder.push_new(device.join_request())
        elif device.joined:
            confirmed = not device.awaits and chance.random() < 0.3
            forwarder.push_new(device.report(confirmed=confirmed))
        yield


def test_ten_kills_under_load(tmp_path: Path) -> None:
    chance = random.Random(10)
    devices = [Device(number, (CONTAINER, BAY)[number % 2]) for number in range(1, DEVICES + 1)]
    steady = {device.dev_eui for device in devices[:-RESTLESS]}
    recorded: set[Hashable] = set()
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker, client_id="city") as city,
        Forwarder(GATEWAY_EUI, devices) as forwarder,
        MortalGateway(tmp_path / "gateway", configuration(devices, broker.port)) as gateway,
    ):
        for life in range(KILLS + 1):
            if life:
                gateway.start()
            forwarder.attach(gateway.port)
            # More devices join with every life, so that a kill can come between join and uplink.
            active = devices[: 3 + life] + devices[-RESTLESS:]
            until = time.monotonic() + chance.uniform(0.02, LONGEST_LIFE_S)
            for _ in _live(forwarder, active, chance, until):
                forwarder.listen(chance.choice((0.0, 0.001, 0.004)))
                if life < KILLS and time.monotonic() >= until:
                    break
            if life < KILLS:
                gateway.kill()
            else:
                forwarder.wait_for_acks()
                assert gateway.stop() == 0
            forwarder.listen(0)
            for device in devices:
                device.awaits = None
            with gateway.opened() as connection:
                found, problems = facts(connection)
            assert problems == []
            # What was known at the last death is known at this one, and so is what anybody had
            # been told before.
            assert _lasting(recorded, steady) <= found
            assert _lasting(_told(city, devices), steady) <= found
            recorded |= found
        uplinks = {fact for fact in _lasting(recorded, steady) if isinstance(fact, Up)}
        unsent = {fact for fact in recorded if isinstance(fact, Unsent)}
        # Old frames come in their order, so what a kill had taken is accepted in the next life.
        assert uplinks == _sent(forwarder, steady)
        city.wait_for(lambda: unsent <= _messages(city), "all that was in the outbox")
        city.wait_for(lambda: uplinks <= _told(city, devices), "every uplink's message")
    # A message that came twice came twice the same.
    different = _messages(city)
    assert len({json.loads(message.payload)["event_id"] for message in different}) == len(different)
    acknowledged = sum(len(device.acknowledged) for device in devices)
    assert acknowledged > KILLS
    assert len(forwarder.sent) > 20 * KILLS
    print(
        f"{KILLS} kills, {len(forwarder.sent)} frames, {len(uplinks)} uplinks of steady devices,"
        f" {acknowledged} acknowledged in time, {len(city.messages)} messages,"
        f" {len(different)} different"
    )


def _lasting(facts: set[Hashable], steady: set[bytes]) -> set[Hashable]:
    """Without what a later join may end, or the broker's acknowledgement."""
    return {
        fact
        for fact in facts
        if isinstance(fact, Join) or (isinstance(fact, Up) and fact.dev_eui in steady)
    }


def _told(city: Subscriber, devices: list[Device]) -> set[Hashable]:
    """What messages, join-accepts and acknowledgements have said."""
    told: set[Hashable] = set()
    for message in _messages(city):
        if "/gateway/" not in message.topic:
            event_id = json.loads(message.payload)["event_id"]
            dev_eui, app_nonce, what = event_id.split(":", 1)[0].split("-")
            join = Join(bytes.fromhex(dev_eui), int(app_nonce))
            told.add(join if what == "join" else Up(*join, int(what)))
    for device in devices:
        if device.app_nonce is not None:
            told.add(Join(device.dev_eui, device.app_nonce))
        told.update(Up(device.dev_eui, up.app_nonce, up.f_cnt) for up in device.acknowledged)
    return told


def _sent(forwarder: Forwarder, steady: set[bytes]) -> set[Up]:
    return {
        Up(uplink.device.dev_eui, uplink.app_nonce, uplink.f_cnt)
        for uplink in forwarder.sent
        if uplink.device.dev_eui in steady and uplink.f_cnt is not None
    }


def _messages(city: Subscriber) -> set[Unsent]:
    return {Unsent(topic, payload) for topic, payload, _ in city.messages}

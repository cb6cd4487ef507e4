"""The gateway dies ten times at random moments under load and forgets nothing that it had recorded.

Devices join and report, commands come over the control socket, the broker goes and comes back; a
timer kills whatever the gateway is at, now and then while it starts. `make test` tries one seed,
`make test-system` twenty: two hundred kills.

This says nothing about power cuts, for the kernel keeps what a killed process wrote; see
test_power_cut.py.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from broker import Mosquitto, Subscriber
from load import BAY, CONTAINER, Device, Forwarder
from lorawan_keys import new_key
from mortal_gateway import GATEWAY_EUI, MortalGateway, configuration
from site_operator import SiteOperator
from stoep_gateway.control_client import GatewayAway
from stoep_gateway.lns.queue import MAX_ATTEMPTS
from stoep_protocol.lorawan import frames, network_frames
from stored import Ended, Forgiven, Given, Join, Unsent, Up, Waiting, facts, told_by

SEEDS = range(10, 10 + int(os.environ.get("STOEP_KILL_SEEDS", "1")))
KILLS = 10
REGION = "US915"  # its downlinks are short; one at SF12 would last longer than a life
DEVICES = 12
RESTLESS = 2  # devices that join again and again, and are forgiven for it
LONGEST_LIFE_S = 1.0
LONGEST_START_S = 1.5
REPLAY = 20  # old frames in one datagram

pytestmark = pytest.mark.slow


class Street:
    """Everything around one gateway."""

    def __init__(self, seed: int, broker: Mosquitto, city: Subscriber, folder: Path) -> None:
        self.chance = random.Random(seed)
        kinds = (CONTAINER, BAY)
        devices = [Device(number, kinds[number % 2]) for number in range(1, DEVICES + 1)]
        self.broker = broker
        self.city = city
        self.gateway = MortalGateway(folder, configuration(devices, broker.port, region=REGION))
        self.forwarder = Forwarder(GATEWAY_EUI, devices, region=REGION)
        self.lasting, self.restless = devices[:-RESTLESS], devices[-RESTLESS:]
        self.operator = SiteOperator(self.forwarder, self.restless, self.chance)
        self.residents = [guest.device for guest in self.operator.residents]
        # Whose sessions last.
        self.steady = {device.dev_eui for device in self.lasting + self.residents}
        self.broker_is_up = True
        self.outages = 0
        self._messages: set[Unsent] = set()
        self._told: set[Hashable] = set()
        self._read = 0

    def live(self, life: int, until_s: float) -> None:
        """Send all that was ever sent, then new frames and commands, until the gateway is dead."""
        process = self.gateway.process
        assert process is not None
        steps = self._steps(life, until_s)
        while process.poll() is None and next(steps, self) is None:
            self.forwarder.listen(self.chance.choice((0.0, 0.001, 0.004)))

    def _steps(self, life: int, until_s: float) -> Iterator[None]:
        forwarder, operator, chance = self.forwarder, self.operator, self.chance
        old = list(forwarder.sent)
        for first in range(0, len(old), REPLAY):
            forwarder.push(old[first : first + REPLAY])
            forwarder.ease()
            yield
        until = time.monotonic() + until_s
        while time.monotonic() < until:
            if chance.random() < 0.2:
                try:
                    operator.step()
                except GatewayAway:
                    return
            elif life < KILLS and chance.random() < 0.01:
                self.turn_broker(on=not self.broker_is_up)
            else:
                self._send(life)
            yield

    def _send(self, life: int) -> None:
        # More devices join with every life, so that a kill can come between join and uplink.
        guests = [guest.device for guest in self.operator.guests if guest.is_there]
        device = self.chance.choice(self.lasting[: 3 + life] + self.restless + guests)
        restless = device.dev_eui not in self.steady
        if device.awaits is None and (
            not device.joined or (restless and self.chance.random() < 0.1)
        ):
            self.forwarder.push_new(device.join_request())
        elif device.joined:
            confirmed = device.awaits is None and self.chance.random() < 0.3
            self.forwarder.push_new(device.report(confirmed=confirmed))

    def turn_broker(self, *, on: bool) -> None:
        if on == self.broker_is_up:
            return
        self.broker_is_up = on
        if on:
            self.broker.start()
        else:
            self.broker.stop()
            self.outages += 1

    def known(self) -> tuple[set[Hashable], list[str]]:
        """What the dead gateway's database holds, and what is wrong with it."""
        with self.gateway.opened() as connection:
            found, problems = facts(connection)
        return found, problems + self.operator.find(found)

    def due(self) -> set[Hashable]:
        """What anybody was told so far and must be there for good."""
        told = self.published().copy()
        for device in self.forwarder.devices:
            if device.app_nonce is not None:
                told.add(Join(device.dev_eui, device.app_nonce))
            told.update(Up(device.dev_eui, up.app_nonce, up.f_cnt) for up in device.acknowledged)
        for answered in self.operator.answered:
            told |= answered.lasting
        return self.only_lasting(told)

    def only_lasting(self, found: Iterable[Hashable]) -> set[Hashable]:
        """Without what a later join or command may end, or the broker's acknowledgement."""
        return {
            fact
            for fact in found
            if isinstance(fact, Join | Forgiven | Ended | Given)
            or (isinstance(fact, Up) and fact.dev_eui in self.steady)
        }

    def sent(self) -> set[Up]:
        return {
            Up(uplink.device.dev_eui, uplink.app_nonce, uplink.f_cnt)
            for uplink in self.forwarder.sent
            if uplink.device.dev_eui in self.steady and uplink.f_cnt is not None
        }

    def messages(self) -> set[Unsent]:
        """All that the city got."""
        for topic, payload, _ in self.city.messages[self._read :]:
            self._read += 1
            self._messages.add(Unsent(topic, payload))
            self._told.add(told_by(topic, payload))
        return self._messages

    def published(self) -> set[Hashable]:
        """What messages have said."""
        self.messages()
        return self._told


@pytest.mark.parametrize("seed", SEEDS)
def test_ten_kills_under_load(seed: int, tmp_path: Path) -> None:
    recorded: set[Hashable] = set()
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker, client_id="city") as city,
    ):
        street = Street(seed, broker, city, tmp_path / "gateway")
        gateway, forwarder, operator = street.gateway, street.forwarder, street.operator
        with closing(forwarder), closing(gateway):
            for life in range(KILLS + 1):
                _live(street, life)
                forwarder.listen(0)
                for device in forwarder.devices:
                    device.awaits = None
                found, problems = street.known()
                assert problems == []
                # What was known at the last death is known at this one, and so is what anybody had
                # been told before; a downlink waits, or has ended and never waits again.
                assert street.only_lasting(recorded) <= found
                assert street.due() <= found
                for number, waiting in operator.sends.items():
                    assert (waiting in found) != (Ended(number) in found), waiting
                recorded |= found
            uplinks = {fact for fact in street.only_lasting(recorded) if isinstance(fact, Up)}
            unsent = {fact for fact in recorded if isinstance(fact, Unsent)}
            # Old frames come in their order, so what a kill had taken is accepted in the next life.
            assert uplinks == street.sent()
            city.wait_for(lambda: unsent <= street.messages(), "all that was in the outbox")
            ended = {fact for fact in found if isinstance(fact, Ended)}
            city.wait_for(lambda: ended <= street.published(), "every downlink's end")
    messages = street.messages()
    # A message that came twice came twice the same.
    assert len({json.loads(message.payload)["event_id"] for message in messages}) == len(messages)
    carried = _carried(forwarder)
    ends = Counter(json.loads(message.payload)["event"] for message in messages if _is_end(message))
    _check_ends(messages, operator, carried)
    _check_joins(forwarder, operator)
    acknowledged = sum(len(device.acknowledged) for device in forwarder.devices)
    # How much a life holds is up to the machine; that all of it happened is not.
    assert len(forwarder.sent) > 10 * KILLS
    assert acknowledged
    assert operator.sends
    assert ends["downlink_sent"] + ends["downlink_acknowledged"]
    print(
        f"seed {seed}: {KILLS} kills, {street.outages} outages of the broker,"
        f" {len(forwarder.sent)} frames, {len(uplinks)} uplinks of steady devices,"
        f" {acknowledged} acknowledged in time, {len(forwarder.accepts)} join-accepts,"
        f" {len(operator.answered)} commands answered, {len(operator.sends)} downlinks queued,"
        f" {sum(carried.values())} sent, ends {dict(ends)}, {len(city.messages)} messages,"
        f" {len(messages)} different"
    )


def _live(street: Street, life: int) -> None:
    """Live one life; the last one ends in good order."""
    gateway, forwarder, operator, chance = (
        street.gateway,
        street.forwarder,
        street.operator,
        street.chance,
    )
    if life < KILLS and chance.random() < 0.1:
        gateway.launch()
        with gateway.dies_in(chance.uniform(0, LONGEST_START_S)):
            pass
        return
    if life == KILLS:
        street.turn_broker(on=True)
    gateway.start()
    forwarder.attach(gateway.port)
    operator.connect(gateway.control)
    try:
        if life < KILLS:
            with gateway.dies_in(chance.uniform(0.01, LONGEST_LIFE_S)):
                street.live(life, LONGEST_LIFE_S)
            return
        operator.register_all()
        street.live(life, LONGEST_LIFE_S)
        forwarder.wait_for_acks()
        assets = {device.dev_eui for device in street.lasting}
        sent = {up for up in street.sent() if up.dev_eui in assets}
        forwarder.wait(lambda: sent <= street.published(), "every uplink's message")
    finally:
        operator.close()
    assert gateway.stop() == 0


def _is_end(message: Unsent) -> bool:
    return isinstance(told_by(*message), Ended)


def _carried(forwarder: Forwarder) -> Counter[bytes]:
    """Return how often each queued payload went out; no counter went out with two frames."""
    by_counter: dict[tuple[int, int], bytes] = {}
    carried: Counter[bytes] = Counter()
    for phy_payload in forwarder.downlinks:
        frame = frames.parse(phy_payload)
        if isinstance(frame, frames.DataFrame):
            assert by_counter.setdefault((frame.dev_addr, frame.f_cnt), phy_payload) == phy_payload
            for device in forwarder.devices:
                payload = device.payload_of(frame)
                if payload is not None:
                    carried[payload] += 1
    assert max(carried.values()) <= MAX_ATTEMPTS
    return carried


def _check_ends(
    messages: Iterable[Unsent], operator: SiteOperator, carried: Counter[bytes]
) -> None:
    """What is said to have been sent was: the forwarder had it."""
    sends: dict[int, Waiting] = operator.sends
    assert len({waiting.payload for waiting in sends.values()}) == len(sends)
    for message in messages:
        said = json.loads(message.payload)
        if said.get("event") == "downlink_sent" and said["downlink_id"] in sends:
            assert carried[sends[said["downlink_id"]].payload], said


def _check_joins(forwarder: Forwarder, operator: SiteOperator) -> None:
    """Each DevNonce was answered once and, after it was forgiven, once again."""
    answers: dict[tuple[bytes, int | None], set[int]] = {}
    accepts: dict[tuple[bytes, int], bytes] = {}
    for request, phy_payload in forwarder.accepts:
        device = request.device
        app_nonce = network_frames.decode_join_accept(
            phy_payload, new_key(device.app_key)
        ).app_nonce
        answers.setdefault((device.dev_eui, request.dev_nonce), set()).add(app_nonce)
        assert accepts.setdefault((device.dev_eui, app_nonce), phy_payload) == phy_payload
    for (dev_eui, dev_nonce), app_nonces in answers.items():
        assert len(app_nonces) <= 1 + operator.forgiven[dev_eui], dev_nonce

"""The gateway's power fails: what it had told the world is on the disk, at every cut.

The real gateway runs under a system-call trace while devices join and report; then its disk is
rebuilt as it would have been at each moment that it published or answered, and at many others.
"""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from broker import Mosquitto, Subscriber
from load import BAY, CONTAINER, PULL_RESP, Device, Forwarder, Uplink
from lorawan_keys import new_key
from mortal_gateway import DATABASE, GATEWAY_EUI, MortalGateway, configuration
from mqtt_wire import published
from power_cut import Claim, Disk, Report, examine, lay_out, torn
from site_operator import Answered, SiteOperator
from stoep_protocol.lorawan import frames, network_frames
from stored import Down, Join, Session, Tried, Unsent, Up, Waiting, facts, told_by
from traced_files import UNIX, Recording, Snapshot, record

REPORTS = 120
DEVICES = 8
RESTARTS = 6
REGION = "US915"  # its downlinks are short
AVAILABILITY = "stoep/v1/test/availability"
CHECKPOINTS = "wal_autocheckpoint = 50"  # pages; the gateway's is 4000

pytestmark = pytest.mark.slow


class Run(NamedTuple):
    """What the lives of one gateway left behind."""

    recordings: list[Recording]
    answers: list[list[Answered]]  # of commands, by life
    broker_port: int
    forwarder: Forwarder
    devices: list[Device]  # those in the configuration
    config: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Record two lives: from an empty folder to a kill, and from there to a stop in good order.

    In the second, the log is moved into the database many times.
    """
    return _run(tmp_path_factory.mktemp("run"), ["", CHECKPOINTS], REPORTS)


def _run(folder: Path, lives: list[str], reports: int) -> Run:
    devices = [Device(number, (CONTAINER, BAY)[number % 2]) for number in range(1, DEVICES + 1)]
    chance = random.Random(2)
    recordings, answers = [], []
    with (
        Mosquitto(folder / "broker") as broker,
        Subscriber(broker, client_id="city") as city,
        Forwarder(GATEWAY_EUI, devices, region=REGION) as forwarder,
    ):
        operator = SiteOperator(forwarder, (), chance)
        config = configuration(devices, broker.port, region=REGION)
        gateway = MortalGateway(folder / "gateway", config)
        for life, pragma in enumerate(lives):
            before = Snapshot(gateway.state)
            trace = folder / f"trace-{life}"
            try:
                gateway.start(trace, pragma)
                forwarder.attach(gateway.port)
                forwarder.join(devices)
                operator.connect(gateway.control)
                _load(forwarder, operator, reports, chance)
                operator.close()
                forwarder.wait(
                    lambda: _settled(forwarder, devices, city), "published and acknowledged"
                )
                if life:
                    assert gateway.stop() == 0
            finally:
                gateway.kill()
            recordings.append(record(trace, before, gateway.folder))
            answers.append(operator.answered.copy())
            operator.answered.clear()
        return Run(recordings, answers, broker.port, forwarder, devices, config)


def _load(
    forwarder: Forwarder, operator: SiteOperator, reports: int, chance: random.Random
) -> None:
    """Send reports, some confirmed, now one by one and now many at once, and give commands."""
    devices = list(forwarder.devices)
    for guest in operator.guests:
        devices.remove(guest.device)
    for _ in range(reports):
        there = [guest.device for guest in operator.guests if guest.is_there]
        device = chance.choice(devices * 2 + there)
        if not device.joined:
            forwarder.push_new(device.join_request())
        else:
            confirmed = device in devices and chance.random() < 0.3
            forwarder.push_new(device.report(confirmed=confirmed))
        if chance.random() < 0.3:
            operator.step()
        forwarder.listen(chance.choice((0.0, 0.005, 0.01)))


def _settled(forwarder: Forwarder, devices: list[Device], city: Subscriber) -> bool:
    uplinks = [uplink for uplink in _uplinks(forwarder) if uplink.device in devices]
    if any(device.awaits for device in devices):
        return False
    seen = {json.loads(payload)["event_id"].split(":")[0] for _, payload, _ in city.messages}
    return all(f"{up.device.dev_eui.hex()}-{up.app_nonce}-{up.f_cnt}" in seen for up in uplinks)


def _uplinks(forwarder: Forwarder) -> list[Uplink]:
    return [uplink for uplink in forwarder.sent if uplink.f_cnt is not None]


# What the sends rest on.


def _publish_claims(recording: Recording, broker_port: int) -> Iterator[Claim]:
    streams: dict[int, list[tuple[int, bytes]]] = {}
    for send in recording.sends:
        if send.connection is not None and send.port == broker_port:
            streams.setdefault(send.connection, []).append((send.start, send.data))
    for chunks in streams.values():
        for at, topic, payload, _ in published(chunks):
            if topic == AVAILABILITY:  # the connection's own birth: true while it lasts
                continue
            yield Claim(at, "published", frozenset([Unsent(topic, payload)]))
            said = told_by(topic, payload)
            if said is not None:
                yield Claim(at, "published", frozenset([said]), lasting=True)


def _command_claims(recording: Recording, answers: list[Answered]) -> Iterator[Claim]:
    sends = [send for send in recording.sends if send.port == UNIX]
    for send, answered in zip(sends, answers, strict=True):
        assert json.loads(send.data) == answered.answer
        yield Claim(send.start, "answered by command", answered.facts)
        yield Claim(send.start, "answered by command", answered.lasting, lasting=True)


def _answer_claims(recording: Recording, run: Run) -> Iterator[Claim]:
    tries: Counter[bytes] = Counter()
    for send in recording.sends:
        if send.connection is None and send.data[3] == PULL_RESP:
            phy_payload, uplink = run.forwarder.answered(send.data)
            tries.update(_carried(run, phy_payload))
            rests_on = frozenset(_attempts(run, phy_payload, tries))
            yield Claim(send.start, "answered", rests_on)
            if uplink is not None:
                rests_on = frozenset(_behind(phy_payload, uplink, run.devices))
                yield Claim(send.start, "answered", rests_on, lasting=True)


def _carried(run: Run, phy_payload: bytes) -> list[bytes]:
    """Return the queued payload in a downlink, if there is one."""
    frame = frames.parse(phy_payload)
    if not isinstance(frame, frames.DataFrame):
        return []
    payloads = [device.payload_of(frame) for device in run.forwarder.devices]
    return [payload for payload in payloads if payload is not None]


def _attempts(run: Run, phy_payload: bytes, tries: Counter[bytes]) -> Iterator[Tried]:
    for payload in _carried(run, phy_payload):
        for answered in [answered for life in run.answers for answered in life]:
            for fact in answered.facts:
                if isinstance(fact, Waiting) and fact.payload == payload:
                    yield Tried(fact.downlink_id, tries[payload])


def _behind(phy_payload: bytes, uplink: Uplink, steady: list[Device]) -> Iterator[Hashable]:
    """What must be on the disk before this answer to an uplink may leave, and stay there."""
    device = uplink.device
    frame = frames.parse(phy_payload)
    if isinstance(frame, frames.EncryptedJoinAccept):
        accept = network_frames.decode_join_accept(phy_payload, new_key(device.app_key))
        yield Join(device.dev_eui, accept.app_nonce)
        # Else it asked again, for the accept came too late, or a command ended its session.
        if device in steady and accept.app_nonce == device.app_nonce:
            yield Session(accept.dev_addr, device.nwk_s_key)
        return
    assert isinstance(frame, frames.DataFrame)
    if device not in steady:
        return
    assert frames.verify(frame, new_key(device.nwk_s_key), frame.f_cnt)
    assert uplink.confirmed == frame.ack
    yield Session(frame.dev_addr, device.nwk_s_key)
    yield Down(frame.dev_addr, frame.f_cnt)
    yield Up(device.dev_eui, uplink.app_nonce, uplink.f_cnt)


# What must hold.


def _examined(run: Run, life: int, scratch: Path) -> Report:
    scratch.mkdir()
    recording = run.recordings[life]
    publishes = list(_publish_claims(recording, run.broker_port))
    answers = list(_answer_claims(recording, run))
    commands = list(_command_claims(recording, run.answers[life]))
    claims = publishes + answers + commands
    return examine(recording, DATABASE, claims, facts, scratch, seed=life)


@pytest.mark.parametrize("life", [0, 1])
def test_nothing_leaves_before_the_sync_that_covers_it(life: int, run: Run, tmp_path: Path) -> None:
    report = _examined(run, life, tmp_path / "scratch")
    assert report.violations == []
    joins = 0 if life else DEVICES
    assert report.claims > 2 * REPORTS + 2 * joins
    assert report.unsynced_changes > 0
    print(report)


def test_the_second_life_has_checkpoints_in_its_middle(run: Run) -> None:
    """Else the cuts would say nothing of the moment when the log is moved into the database."""
    recording = run.recordings[1]
    database = recording.root
    for name in DATABASE.split("/"):
        database = database.first_entries[name]
    moved = [change.start for change in recording.changes if change.node is database]
    sends = [send.start for send in recording.sends]
    assert sum(sends[0] < at < sends[-1] for at in moved) > 50


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_a_gateway_that_does_not_sync_is_caught(synchronous: str, tmp_path: Path) -> None:
    careless = _run(tmp_path / "run", [f"synchronous = {synchronous}"], 20)
    report = _examined(careless, 0, tmp_path / "scratch")
    assert any("published, but not stored" in violation for violation in report.violations)
    assert any("answered, but not stored" in violation for violation in report.violations)
    assert any("by command, but not stored" in violation for violation in report.violations)


@pytest.mark.parametrize("seed", range(RESTARTS))
def test_after_a_cut_no_counter_is_used_twice(seed: int, run: Run, tmp_path: Path) -> None:
    """Start the gateway on what a cut left and send it everything again that was ever sent."""
    chance = random.Random(seed)
    life = chance.randrange(len(run.recordings))
    recording = run.recordings[life]
    at = chance.choice(recording.syncs).end + chance.randrange(30)
    disk = Disk(recording)
    disk.advance(at)
    forwarder = run.forwarder
    gateway = MortalGateway(tmp_path / "gateway", run.config)
    lay_out(disk.files(torn(chance)), gateway.state)
    with gateway.opened() as connection:
        before, problems = facts(connection)
    assert problems == []
    # Not the devices: what this gateway answers is of another world.
    with Forwarder(GATEWAY_EUI, region=REGION) as again:
        try:
            gateway.start()
            again.attach(gateway.port)
            for first in range(0, len(forwarder.sent), 20):
                again.push(forwarder.sent[first : first + 20])
                again.wait_for_acks()
            assert gateway.stop() == 0
        finally:
            gateway.kill()
        with gateway.opened() as connection:
            after, problems = facts(connection)
        answered_again = _downlinks(again.downlinks)
    assert problems == []
    assert {fact for fact in before if isinstance(fact, Up | Join)} <= after
    steady = {device.dev_eui for device in run.devices}
    sent = {Up(up.device.dev_eui, up.app_nonce, up.f_cnt) for up in _uplinks(forwarder)}
    sent = {up for up in sent if up.dev_eui in steady}
    # Whatever the cut had taken is accepted now, once; the rest was known.
    accepted = {fact for fact in after if isinstance(fact, Up) and fact.dev_eui in steady}
    assert accepted == sent
    answered = _downlinks(_sent_before(run.recordings, life, at))
    assert answered.isdisjoint(answered_again)


def _sent_before(recordings: list[Recording], life: int, at: int) -> Iterator[bytes]:
    for number, recording in enumerate(recordings[: life + 1]):
        for send in recording.sends:
            in_time = number < life or send.start < at
            if in_time and send.connection is None and send.data[3] == PULL_RESP:
                yield base64.b64decode(json.loads(send.data[4:])["txpk"]["data"])


def _downlinks(phy_payloads: Iterable[bytes]) -> set[tuple[int, int]]:
    """Return (DevAddr, FCntDown) of all data frames, each of them used but once."""
    parsed = [frames.parse(phy_payload) for phy_payload in phy_payloads]
    data = [frame for frame in parsed if isinstance(frame, frames.DataFrame)]
    counters = {(frame.dev_addr, frame.f_cnt) for frame in data}
    assert len(counters) == len(data)
    return counters

"""The gateway's power fails: what it had told the world is on the disk, at every cut.

The real gateway runs under a system-call trace while devices join and report; then its disk is
rebuilt as it would have been at each moment that it published or answered, and at many others.
"""

from __future__ import annotations

import base64
import json
import random
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
from stoep_protocol.lorawan import frames
from stored import Down, Join, Session, Unsent, Up, facts
from traced_files import Recording, Snapshot, record

REPORTS = 120
DEVICES = 8
RESTARTS = 6
CHECKPOINTS = "wal_autocheckpoint = 50"  # pages; SQLite's default is 1000

pytestmark = pytest.mark.slow


class Run(NamedTuple):
    """What the lives of one gateway left behind."""

    recordings: list[Recording]
    broker_port: int
    forwarder: Forwarder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Record two lives: from an empty folder to a kill, and from there to a stop in good order.

    In the second, the log is moved into the database many times.
    """
    return _run(tmp_path_factory.mktemp("run"), ["", CHECKPOINTS], REPORTS)


def _run(folder: Path, lives: list[str], reports: int) -> Run:
    devices = [Device(number, (CONTAINER, BAY)[number % 2]) for number in range(1, DEVICES + 1)]
    chance = random.Random(2)
    recordings = []
    with (
        Mosquitto(folder / "broker") as broker,
        Subscriber(broker, client_id="city") as city,
        Forwarder(GATEWAY_EUI, devices) as forwarder,
    ):
        gateway = MortalGateway(folder / "gateway", configuration(devices, broker.port))
        for life, pragma in enumerate(lives):
            before = Snapshot(gateway.state)
            trace = folder / f"trace-{life}"
            try:
                gateway.start(trace, pragma)
                forwarder.attach(gateway.port)
                forwarder.join(devices)
                _load(forwarder, reports, chance)
                forwarder.wait(lambda: _settled(forwarder, city), "published and acknowledged")
                if life:
                    assert gateway.stop() == 0
            finally:
                gateway.kill()
            recordings.append(record(trace, before, gateway.folder))
        return Run(recordings, broker.port, forwarder)


def _load(forwarder: Forwarder, reports: int, chance: random.Random) -> None:
    """Send reports, some confirmed, now one by one and now many at once."""
    for _ in range(reports):
        device = chance.choice(forwarder.devices)
        forwarder.push_new(device.report(confirmed=chance.random() < 0.3))
        forwarder.listen(chance.choice((0.0, 0.005, 0.01)))


def _settled(forwarder: Forwarder, city: Subscriber) -> bool:
    uplinks = _uplinks(forwarder)
    if any(device.awaits for device in forwarder.devices):
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
            yield Claim(at, "published", frozenset([Unsent(topic, payload)]))
            if "/gateway/" not in topic:
                event_id = json.loads(payload)["event_id"]
                yield Claim(at, "published", frozenset([_cause(event_id)]), lasting=True)


def _cause(event_id: str) -> Up | Join:
    dev_eui, app_nonce, what = event_id.split(":", 1)[0].split("-")
    if what == "join":
        return Join(bytes.fromhex(dev_eui), int(app_nonce))
    return Up(bytes.fromhex(dev_eui), int(app_nonce), int(what))


def _answer_claims(recording: Recording, forwarder: Forwarder) -> Iterator[Claim]:
    for send in recording.sends:
        if send.connection is None and send.data[3] == PULL_RESP:
            phy_payload, uplink = forwarder.answered(send.data)
            rests_on = frozenset(_behind(phy_payload, uplink))
            yield Claim(send.start, "answered", rests_on, lasting=True)


def _behind(phy_payload: bytes, uplink: Uplink) -> Iterator[Hashable]:
    """What must be on the disk before this answer to an uplink may leave."""
    device = uplink.device
    frame = frames.parse(phy_payload)
    if isinstance(frame, frames.EncryptedJoinAccept):
        accept = frames.decode_join_accept(phy_payload, new_key(device.app_key))
        yield Join(device.dev_eui, accept.app_nonce)
        if accept.app_nonce == device.app_nonce:  # else it asked again: the accept came too late
            yield Session(accept.dev_addr, device.nwk_s_key)
        return
    assert isinstance(frame, frames.DataFrame)
    assert frames.verify(frame, new_key(device.nwk_s_key), frame.f_cnt)
    assert frame.ack
    assert uplink.confirmed
    yield Session(frame.dev_addr, device.nwk_s_key)
    yield Down(frame.dev_addr, frame.f_cnt)
    yield Up(device.dev_eui, uplink.app_nonce, uplink.f_cnt)


# What must hold.


def _examined(run: Run, life: int, scratch: Path) -> Report:
    scratch.mkdir()
    recording = run.recordings[life]
    publishes = list(_publish_claims(recording, run.broker_port))
    answers = list(_answer_claims(recording, run.forwarder))
    return examine(recording, DATABASE, publishes + answers, facts, scratch, seed=life)


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
    gateway = MortalGateway(tmp_path / "gateway", configuration(forwarder.devices, run.broker_port))
    lay_out(disk.files(torn(chance)), gateway.state)
    with gateway.opened() as connection:
        before, problems = facts(connection)
    assert problems == []
    # Not the devices: what this gateway answers is of another world.
    with Forwarder(GATEWAY_EUI) as again:
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
    sent = {Up(up.device.dev_eui, up.app_nonce, up.f_cnt) for up in _uplinks(forwarder)}
    # Whatever the cut had taken is accepted now, once; the rest was known.
    assert {fact for fact in after if isinstance(fact, Up)} == sent
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

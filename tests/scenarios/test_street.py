"""The street with a real gateway process and a real broker, and devices without firmware."""

import json
import sqlite3
import time
from collections import Counter

import pytest
from broker import Subscriber
from plain_device import plain_device
from stoep_hardware.clock_channel import ClockChannel, GatewayGoneError
from stoep_hardware.devices import DeviceCrashedError
from stoep_hardware.scenario import Street

HOUR_MS = 3_600_000


def street(directory, broker, **options):
    directory.mkdir(exist_ok=True)
    options = {"containers": 4, "bays": 0, "micropython": 0, "planning_at": None} | options
    return Street(directory, broker=broker.address, make_device=plain_device, **options)


def states(subscriber):
    return [
        json.loads(payload)
        for topic, payload, _ in subscriber.of("/container/")
        if topic.endswith("/state")
    ]


def test_every_container_joins_and_every_report_is_published(broker, tmp_path):
    with (
        Subscriber(broker, "stoep/v1/blantyre/#") as subscriber,
        street(tmp_path / "gateway", broker) as here,
    ):
        here.run_until(6 * HOUR_MS)
        summary = here.summary()
        assert summary["containers_joined"] == 4
        assert summary["simulated_s"] == 6 * 3600
        assert summary["sent"] >= 4 * 5
        subscriber.wait_for(lambda: len(states(subscriber)) == summary["sent"])
        by_eui = Counter(state["dev_eui"] for state in states(subscriber))
        assert by_eui == {eui.hex(): number for eui, number in here.sent.items()}


def test_what_is_published_is_what_is_in_the_container(broker, tmp_path):
    with (
        Subscriber(broker, "stoep/v1/blantyre/container/#") as subscriber,
        street(tmp_path / "gateway", broker, containers=1, bin_interval_s=600) as here,
    ):
        (container,) = here.containers.values()
        container.false_mm = None
        here.run_until(HOUR_MS)
        here.collect(container.name, HOUR_MS)
        here.run_until(2 * HOUR_MS)
        subscriber.wait_for(lambda: len(states(subscriber)) == here.summary()["sent"])
        distances = [state["distance_mm"] for state in states(subscriber)]
        full = container.true_distance_mm(0)
        assert full < container.depth_mm / 2
        assert any(abs(mm - full) < 120 for mm in distances[:5] if mm is not None)
        assert any(abs(mm - container.depth_mm) < 120 for mm in distances[-5:] if mm is not None)
        with pytest.raises(KeyError):
            here.collect("no-such-container", 0)


def spectrum(here):
    """Every frame on the air, of devices and gateways, as it is sent."""
    frames = []
    here.air.observe(lambda _, frame: frames.append((frame.start_us, frame.freq_hz, frame.payload)))
    return frames


def test_the_same_seed_gives_the_same_frames_times_and_answers(broker, tmp_path):
    def run(name, seed):
        with street(tmp_path / name, broker, seed=seed) as here:
            frames = spectrum(here)
            here.run_until(3 * HOUR_MS)
            return frames, here.summary(), here.forwarder_counts()

    first = run("first", 1)
    assert len(first[0]) > 12
    assert any(frame[2][0] >> 5 == 1 for frame in first[0])  # join-accepts are among them
    assert first == run("again", 1)
    assert first[0] != run("other", 2)[0]


def test_how_finely_it_is_stepped_changes_nothing(broker, tmp_path):
    with street(tmp_path / "whole", broker) as here:
        whole = spectrum(here)
        here.run_until(HOUR_MS)
    with street(tmp_path / "steps", broker) as here:
        steps = spectrum(here)
        passed_ms = 0
        while here.now_ms < HOUR_MS:
            passed_ms += here.step(min(7_001, HOUR_MS - here.now_ms))
        assert passed_ms == HOUR_MS
    assert whole == steps


def test_over_a_slow_backhaul_answers_come_in_the_second_window(broker, tmp_path):
    """0.4 s there, 0.2 s of deduplication, 0.4 s back: RX1 is over, and the gateway is told so."""

    def confirming(here, planned):
        device, radio = plain_device(here, planned)
        device.confirmed_every = 1
        return device, radio

    options = {"containers": 2, "bays": 0, "micropython": 0, "backhaul_ms": 400}
    (tmp_path / "gateway").mkdir()
    with Street(
        tmp_path / "gateway", broker=broker.address, make_device=confirming, **options
    ) as here:
        downlinks = []
        here.air.observe(
            lambda _, frame: frame.iq_inverted and downlinks.append((frame.freq_hz, frame.sf))
        )
        here.run_until(3 * HOUR_MS)
        summary = here.summary()
        assert summary["join_requests"] == summary["containers_joined"] == 2
        assert [len(one.downlinks) for one in here.devices.values()] == [
            len(one.sent) for one in here.devices.values()
        ]
        joined_in_rx1, answers = downlinks[:2], downlinks[2:]
        assert all(sf == 7 for _, sf in joined_in_rx1)
        assert set(answers) == {(869_525_000, 12)}
        assert len(answers) == summary["sent"] > 4
        # Too late is too early to the reference forwarder: its arithmetic is unsigned.
        assert here.forwarder_counts()["tx_TOO_EARLY"] == summary["sent"]


def test_a_gateway_that_dies_ends_the_run_with_a_clear_error(broker, tmp_path):
    with street(tmp_path / "gateway", broker, containers=1) as here:
        here.run_until(60_000)
        here.gateway.kill()
        with pytest.raises(GatewayGoneError, match=r"gateway(.|\n)*exit code -9"):
            here.run_until(HOUR_MS)


def test_the_gateway_ends_with_its_street_even_if_a_board_ends_badly(broker, tmp_path):
    def crash():
        raise DeviceCrashedError("at last")

    here = street(tmp_path / "gateway", broker, containers=2)
    gateway = here.gateway
    first, second = here.devices.values()
    closed = []
    first.close = lambda: closed.append(first)
    second.close = crash
    with pytest.raises(DeviceCrashedError, match="at last"):
        here.close()
    assert closed == [first]
    assert not gateway.is_running


def test_a_configuration_that_does_not_fit_is_reported_with_the_gateways_words(
    broker, tmp_path, monkeypatch
):
    monkeypatch.setattr("stoep_hardware.street_files.SITE", "not a site")
    with pytest.raises(GatewayGoneError, match=r"stoep\.toml:2"):
        street(tmp_path / "gateway", broker)


class Killer:
    """Kills a gateway while it works: so many exchanges on, somewhere in the next milliseconds."""

    def __init__(self, monkeypatch, random):
        self._random = random
        self._gateway = None
        ask = ClockChannel._ask

        def ask_and_maybe_kill(channel, question):
            if self._gateway is not None:
                self._left -= 1
                if self._left == 0:
                    channel._tcp.sendall(json.dumps(question).encode() + b"\n")
                    until = time.perf_counter() + self._random.uniform(0, 0.004)
                    while time.perf_counter() < until:
                        pass  # nothing is waited for: the point of death is the draw
                    self._gateway.kill()
                    raise GatewayGoneError("killed")
            return ask(channel, question)

        monkeypatch.setattr(ClockChannel, "_ask", ask_and_maybe_kill)

    def arm(self, gateway):
        self._gateway = gateway
        self._left = self._random.randrange(5, 150)

    def disarm(self):
        self._gateway = None


@pytest.mark.slow
def test_ten_kills_lose_nothing_recorded_and_accept_no_counter_twice(broker, tmp_path, monkeypatch):
    """Devices go on through each outage; what the gateway recorded before a kill stays."""
    directory = tmp_path / "gateway"
    with (
        Subscriber(broker, "stoep/v1/blantyre/container/#") as subscriber,
        street(directory, broker, containers=8, bin_interval_s=30) as here,
    ):
        random = here.engine.random("kills")
        killer = Killer(monkeypatch, random)
        here.run_until(600_000)
        before = uplinks(directory)
        for _ in range(10):
            killer.arm(here.gateway)
            with pytest.raises(GatewayGoneError, match="killed"):
                here.run_until(here.now_ms + HOUR_MS)
            killer.disarm()
            here.kill_gateway()
            recorded = uplinks(directory)
            assert before < recorded
            before = recorded
            here.run_until(here.now_ms + random.randrange(0, 60_000))
            here.start_gateway()
        here.run_until(here.now_ms + 600_000)
        recorded = uplinks(directory)
        assert before < recorded
        sent = {
            (device.dev_eui.hex(), f_cnt)
            for device in here.devices.values()
            for _, f_cnt, _ in device.sent
        }
        assert recorded <= sent
        subscriber.wait_for(lambda: published(subscriber) >= recorded)
        # A duplicate is the same message again, with the same id.
        by_id = {}
        for state in states(subscriber):
            assert by_id.setdefault(state["event_id"], state) == state


def published(subscriber):
    """Return the uplinks of which there is a message, as (dev_eui, f_cnt)."""
    return {(state["dev_eui"], state["radio"]["f_cnt_up"]) for state in states(subscriber)}


def uplinks(directory):
    """Return what the gateway has recorded, as (dev_eui, f_cnt); no device has joined twice."""
    database = sqlite3.connect(directory / "stoep.db")
    try:
        rows = database.execute("SELECT dev_eui, session_id, f_cnt_up FROM uplink").fetchall()
    finally:
        database.close()
    assert len(rows) == len(set(rows))
    assert len({eui for eui, _, _ in rows}) == len({session for _, session, _ in rows})
    return {(eui.hex(), f_cnt) for eui, _, f_cnt in rows}


@pytest.mark.slow
def test_a_broker_that_goes_away_costs_nothing(broker, tmp_path):
    """Nothing recorded is missing afterwards; what comes twice has the same id."""
    directory = tmp_path / "gateway"
    with (
        Subscriber(broker, "stoep/v1/blantyre/container/#", client_id="lasting") as subscriber,
        street(directory, broker, containers=4, bin_interval_s=120) as here,
    ):
        here.run_until(HOUR_MS)
        for _ in range(2):
            broker.stop()
            here.run_until(here.now_ms + HOUR_MS)
            broker.start()
            here.run_until(here.now_ms + HOUR_MS)
        expected = uplinks(directory)
        assert len(expected) == here.summary()["sent"]
        with Subscriber(broker, "stoep/v1/blantyre/container/#") as late:
            late.wait_for(lambda: len(late.messages) == 4)  # retained: the last states
        subscriber.wait_for(lambda: published(subscriber) >= expected)
        by_id = {}
        for state in states(subscriber):
            assert by_id.setdefault(state["event_id"], state) == state

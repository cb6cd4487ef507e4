"""The whole gateway, with a system clock that the test holds: wrong at boot, set later, jumping."""

import asyncio
import base64
import contextlib
import datetime
import json
import logging
import sqlite3
import time
from contextlib import closing

import pytest
from broker import Mosquitto, Subscriber
from gwmp_client import Device, Forwarder, rxpk
from stoep_gateway import app, config, timing
from stoep_protocol.messages import BinReport
from waiting import until

GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
BIN_EUI = bytes.fromhex("70b3d57ed0000001")
CONFIG = """
site = "street"
[mqtt]
port = {port}
[gwmp]
port = 0
[lorawan]
dedup_window_ms = 20
rx1_delay_s = 15
[time]
{time}
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
asset = "container/corner"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
full_mm = 300
"""
HOUR_MS = 3_600_000
NEAR_S = 60  # the clocks are hours off, and a busy machine seconds


class System:
    """The system's clock, ``off_ms`` wrong."""

    def __init__(self, off_ms: int = 0, *, synchronised: bool = False) -> None:
        self.off_ms = off_ms
        self.synchronised = synchronised
        self.boot = "first"

    def utc_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.off_ms

    def boot_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def boot_id(self) -> str:
        return self.boot

    def is_synchronised(self) -> bool:
        return self.synchronised

    def is_kept(self) -> bool:
        return False

    def synchronise(self) -> None:
        self.off_ms = 0
        self.synchronised = True


@pytest.fixture
def system(monkeypatch):
    system = System()
    monkeypatch.setattr(app, "SystemTime", lambda: system)
    monkeypatch.setattr(timing, "POLL_S", 0.02)
    return system


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as running:
        yield running


class Town:
    """A gateway in this process, a forwarder, and a device that has joined."""

    def __init__(self, folder, broker, more=""):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "stoep.toml").write_text(CONFIG.format(port=broker.port, time=more))
        self.device = Device(BIN_EUI, bytes(8), APP_KEY)

    @contextlib.asynccontextmanager
    async def running(self):
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        run = app.run(config.load(self.folder / "stoep.toml"), ready_file=ready)
        task = asyncio.create_task(run)
        try:
            await until(lambda: ready.exists() or task.done(), "ready")
            if task.done():
                await task
            port = json.loads(ready.read_text())["gwmp_udp"]
            self.forwarder = Forwarder(GATEWAY_EUI, port)
            await asyncio.to_thread(self.forwarder.pull)
            yield self
            self.forwarder.close()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def join(self):
        request = rxpk(self.device.join_request(), tmst=1_000_000)
        await asyncio.to_thread(self.forwarder.push, request)
        txpk = await asyncio.to_thread(self.forwarder.take_downlink)
        self.device.accept(base64.b64decode(txpk["data"]))

    async def report(self, sequence, distance_mm):
        uplink = rxpk(self.device.uplink(BinReport(sequence, distance_mm, 4)))
        await asyncio.to_thread(self.forwarder.push, uplink)
        await until(lambda: len(self.rows("SELECT 1 FROM uplink")) >= sequence, "recorded")

    def rows(self, query):
        with closing(sqlite3.connect(self.folder / "stoep.db")) as connection:
            return connection.execute(query).fetchall()


def ms(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def off_by(told_ms: int, happened_ms: int) -> float:
    return abs(told_ms - happened_ms) / 1000


@pytest.mark.parametrize("off_h", [-9600, 2400, -480_000])
async def test_what_was_heard_with_a_wrong_clock_is_told_with_the_right_one(
    tmp_path, broker, system, off_h
):
    system.off_ms = off_h * HOUR_MS
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        async with Town(tmp_path / "gateway", broker).running() as town:
            joined_ms = time.time_ns() // 1_000_000
            await town.join()
            await town.report(1, 900)
            heard_ms = time.time_ns() // 1_000_000
            await town.report(2, 600)
            wrong = town.rows("SELECT min(received_utc_ms) FROM uplink")[0][0]
            assert off_by(wrong, heard_ms) > 1000
            assert not subscriber.of("container/corner") + subscriber.of("device/")
            assert len(town.rows("SELECT 1 FROM held")) == 2
            system.synchronise()
            states = "container/corner/state"
            await until(lambda: len(subscriber.of(states)) >= 2, "both readings")
            await until(lambda: len(subscriber.of("street/availability")) >= 2, "said again")
            (*_, (_, online, _)) = subscriber.of("street/availability")
            assert off_by(ms(json.loads(online)["time_utc"]), heard_ms) < NEAR_S
            times = [ms(json.loads(it)["measured_utc"]) for _, it, _ in subscriber.of(states)]
            assert times == sorted(times)
            assert all(off_by(it, heard_ms) < NEAR_S for it in times)
            await until(lambda: subscriber.of("device/70b3d57ed0000001/event"), "the join")
            (join,) = [json.loads(it) for _, it, _ in subscriber.of("000001/event")]
            assert off_by(ms(join["time_utc"]), joined_ms) < NEAR_S
            for told_ms in town.rows(
                "SELECT received_utc_ms FROM uplink UNION SELECT created_utc_ms FROM device_session"
                " UNION SELECT joined_utc_ms FROM dev_nonce"
            ):
                assert off_by(told_ms[0], heard_ms) < NEAR_S
            assert town.rows("SELECT * FROM held") == town.rows("SELECT * FROM provisional") == []
            (latest,) = town.rows("SELECT state FROM latest WHERE asset = 'container/corner'")
            assert off_by(json.loads(latest[0])[1], heard_ms) < NEAR_S


async def test_a_gateway_that_ends_before_it_knows_the_time(tmp_path, broker, system):
    system.off_ms = -400 * 24 * HOUR_MS
    town = Town(tmp_path / "gateway", broker)
    async with town.running():
        await town.join()
        heard_ms = time.time_ns() // 1_000_000
        await town.report(1, 900)
    system.synchronise()
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        async with town.running():
            await until(lambda: subscriber.of("container/corner/state"), "the state")
            (state,) = [json.loads(it) for _, it, _ in subscriber.of("container/corner/state")]
            assert off_by(ms(state["measured_utc"]), heard_ms) < NEAR_S
            assert off_by(town.rows("SELECT received_utc_ms FROM uplink")[0][0], heard_ms) < NEAR_S


async def test_a_machine_that_was_off_meanwhile_tells_it_as_it_was_recorded(
    tmp_path, broker, system
):
    system.off_ms = -40 * 24 * HOUR_MS
    town = Town(tmp_path / "gateway", broker)
    async with town.running():
        await town.join()
        recorded_ms = system.utc_ms()
        await town.report(1, 900)
    system.boot = "second"
    system.synchronise()
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        async with town.running():
            await until(lambda: subscriber.of("container/corner/state"), "the state")
            (state,) = [json.loads(it) for _, it, _ in subscriber.of("container/corner/state")]
            assert off_by(ms(state["measured_utc"]), recorded_ms) < NEAR_S
            assert town.rows("SELECT * FROM held") == []


def cut_off(*_):
    """Tell nothing more: the power is gone."""
    asyncio.current_task().cancel()


async def test_a_power_cut_after_the_correction_leaves_what_was_held_corrected(
    tmp_path, broker, system, monkeypatch
):
    system.off_ms = -400 * 24 * HOUR_MS
    town = Town(tmp_path / "gateway", broker)
    with monkeypatch.context() as cut:
        cut.setattr(timing.Timing, "_tell", cut_off)
        async with town.running():
            await town.join()
            heard_ms = time.time_ns() // 1_000_000
            await town.report(1, 900)
            system.synchronise()
            await until(lambda: not town.rows("SELECT 1 FROM provisional"), "the correction")
    assert len(town.rows("SELECT 1 FROM held")) == 1
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        async with town.running():
            await until(lambda: subscriber.of("container/corner/state"), "the state")
            (state,) = [json.loads(it) for _, it, _ in subscriber.of("container/corner/state")]
            assert off_by(ms(state["measured_utc"]), heard_ms) < NEAR_S
            await until(lambda: not town.rows("SELECT 1 FROM held"), "nothing is held")


async def test_after_the_wait_messages_go_as_they_are(tmp_path, broker, system, caplog):
    system.off_ms = -400 * 24 * HOUR_MS
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        town = Town(tmp_path / "gateway", broker, "wait_min = 0")
        async with town.running():
            await town.join()
            recorded_ms = system.utc_ms()
            await town.report(1, 900)
            await until(lambda: subscriber.of("container/corner/state"), "the state")
            (state,) = [json.loads(it) for _, it, _ in subscriber.of("container/corner/state")]
            assert off_by(ms(state["measured_utc"]), recorded_ms) < NEAR_S
    assert "still not synchronised after 0 min" in caplog.text


async def test_a_clock_that_is_trusted_is_not_asked(tmp_path, broker, system, caplog):
    system.off_ms = -400 * 24 * HOUR_MS
    caplog.set_level(logging.INFO, "stoep_gateway")
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        async with Town(tmp_path / "gateway", broker, "trust_clock = true").running() as town:
            await town.join()
            await town.report(1, 900)
            await until(lambda: subscriber.of("container/corner/state"), "the state")
    assert "synchronised" not in caplog.text


async def test_a_jump_is_told_once_and_followed(tmp_path, broker, system, caplog):
    system.synchronised = True
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        async with Town(tmp_path / "gateway", broker).running() as town:
            await town.join()
            await town.report(1, 900)
            system.off_ms = 366 * 24 * HOUR_MS
            await until(lambda: "stepped" in caplog.text, "the jump")
            await town.report(2, 600)
            await until(lambda: len(subscriber.of("container/corner/state")) == 2, "the state")
            last = json.loads(subscriber.of("container/corner/state")[-1][1])
            assert off_by(ms(last["measured_utc"]), system.utc_ms()) < NEAR_S
    assert caplog.text.count("stepped by +316224") == 1

"""A running gateway takes its configuration anew, on SIGHUP and on ``stoep gateway reload``."""

import asyncio
import base64
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from broker import Mosquitto, Subscriber
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from stoep_gateway import device_cli, reloading
from stoep_gateway.cli import main
from stoep_gateway.planning import cli as plan_cli
from stoep_protocol.messages import BinReport
from waiting import PATIENCE_S, wait_until

GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
BIN_EUI = bytes.fromhex("70b3d57ed0000001")
JOIN_EUI = bytes(8)
CONFIG = """
site = "street"
[mqtt]
port = {port}
[gwmp]
port = 0
[lorawan]
dedup_window_ms = 20
rx1_delay_s = 15
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
SECOND_EUI = bytes.fromhex("0016c001ff10a236")
SECOND_GATEWAY = """
[[gateway]]
id = "kerb-2"
eui = "0016c001ff10a236"
"""
SECOND_DEVICE = """
[[device]]
dev_eui = "70b3d57ed0000002"
app_key = "2b7e151628aed2a6abf7158809cf4f3d"
asset = "container/second"
[[container]]
id = "second"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
"""
ABP_DEVICE = """
[[device]]
dev_eui = "70b3d57ed0000003"
dev_addr = "260b0001"
nwk_s_key = "000102030405060708090a0b0c0d0e0f"
app_s_key = "{app_s_key}"
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, broker: Mosquitto) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway", CONFIG.format(port=broker.port)) as running:
        yield running


@pytest.fixture
def forwarder(gateway: Gateway) -> Iterator[Forwarder]:
    forwarder = Forwarder(GATEWAY_EUI, gateway.port)
    forwarder.pull()
    yield forwarder
    forwarder.close()


def joined(forwarder: Forwarder, eui: bytes = BIN_EUI, app_key: bytes = APP_KEY) -> Device:
    device = Device(eui, JOIN_EUI, app_key)
    forwarder.push(rxpk(device.join_request(), tmst=1_000_000))
    device.accept(base64.b64decode(forwarder.take_downlink()["data"]))
    return device


class Operator:
    """Edits the file and has it taken; ``said`` is what the command printed last."""

    def __init__(self, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = gateway.folder / "stoep.toml"
        self.text = self.file.read_text()
        self._socket = str(gateway.folder / "stoep.db.sock")
        self._capsys = capsys
        self.said = ""

    def reload(self, text: str) -> int:
        self.file.write_text(text)
        code = main(["reload", "--socket", self._socket])
        out = self._capsys.readouterr()
        self.said = (out.out + out.err).replace(f"{self.file.parent}/", "")
        return code


@pytest.fixture
def operator(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(gateway, capsys)


def is_answered(port: int, eui: bytes) -> bool:
    """Whether a forwarder is registered: strangers get no PULL_ACK."""
    forwarder = Forwarder(eui, port)
    forwarder.down.settimeout(0.3)
    try:
        forwarder.pull()
    except TimeoutError:
        return False
    finally:
        forwarder.close()
    return True


def test_gateways_come_change_and_go(broker, gateway, forwarder, operator):
    assert not is_answered(gateway.port, SECOND_EUI)
    assert operator.reload(operator.text + SECOND_GATEWAY) == 0
    assert operator.said == "reloaded: 1 [[gateway]] added\n"
    assert is_answered(gateway.port, SECOND_EUI)

    with Subscriber(broker, "stoep/v1/street/gateway/+/state") as subscriber:
        barred = SECOND_GATEWAY + 'addresses = ["192.0.2.0/24"]\n'
        assert operator.reload(operator.text + barred) == 0
        assert operator.said == "reloaded: 1 [[gateway]] changed\n"
        assert not is_answered(gateway.port, SECOND_EUI)

        renamed = operator.text.replace("kerb-1", "roof")
        assert operator.reload(renamed) == 0
        assert operator.said == "reloaded: 1 [[gateway]] changed, 1 [[gateway]] removed\n"
        forwarder.push(stat={"rxnb": 1})

        def told(name: str) -> list[bool]:
            return [json.loads(it)["online"] for _, it, _ in subscriber.of(f"gateway/{name}/")]

        subscriber.wait_for(lambda: True in told("roof"))
        assert told("kerb-2")[-1] is False
        # Its old topic does not go on saying that it is online.
        assert told("kerb-1") == [] or told("kerb-1")[-1] is False


def test_a_frame_that_waits_for_copies_outlives_its_gateway(broker, tmp_path, capsys):
    config = CONFIG.format(port=broker.port).replace("window_ms = 20", "window_ms = 2000")
    with Gateway(tmp_path / "gateway", config) as gateway:
        forwarder = Forwarder(GATEWAY_EUI, gateway.port)
        forwarder.pull()
        device = joined(forwarder)
        with Subscriber(broker, "stoep/v1/street/#") as subscriber:
            forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4))))
            operator = Operator(gateway, capsys)
            without = operator.text.replace(GATEWAY_EUI.hex(), SECOND_EUI.hex())
            assert operator.reload(without) == 0
            assert not is_answered(gateway.port, GATEWAY_EUI)
            subscriber.wait_for(lambda: subscriber.of("container/corner/state"))
        forwarder.close()
        assert gateway.stop() == 0


def test_devices_and_containers(broker, gateway, forwarder, operator):
    device = joined(forwarder)
    assert operator.reload(operator.text + SECOND_DEVICE) == 0
    assert operator.said == "reloaded: 1 [[container]] added, 1 [[device]] added\n"
    second_key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3d")
    second = joined(forwarder, bytes.fromhex("70b3d57ed0000002"), second_key)
    deeper = operator.text.replace("depth_mm = 1500", "depth_mm = 2100")
    assert operator.reload(deeper) == 0
    assert operator.said == (
        "reloaded: 1 [[container]] changed, 1 [[container]] removed, 1 [[device]] changed,"
        " 1 [[device]] removed\n"
    )
    with Subscriber(broker, "stoep/v1/street/#") as subscriber:
        forwarder.push(rxpk(second.uplink(BinReport(1, 900, 4))))  # of nobody any more
        forwarder.push(rxpk(device.uplink(BinReport(1, 1200, 4))))  # on its session of before
        subscriber.wait_for(lambda: subscriber.of("container/corner/state"))
        (state,) = [json.loads(it) for _, it, _ in subscriber.of("container/corner/state")]
        assert state["fill_pct"] == 50
        assert not subscriber.of("container/second")
    wait_until(lambda: "device_not_registered" in gateway.log(), "a rejection in the log")


def test_other_keys_end_the_session(gateway, forwarder, operator):
    device = joined(forwarder)
    assert operator.reload(operator.text.replace(APP_KEY.hex(), "11" * 16)) == 0
    forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4), confirmed=True)))
    wait_until(lambda: "unknown_dev_addr" in gateway.log(), "a rejection in the log")
    # DevNonces are forgiven: no join-request under the old key fits the new one.
    joined(forwarder, app_key=bytes.fromhex("11" * 16))


def test_a_device_that_does_not_join_keeps_its_counters_while_it_is_away(gateway, operator, capsys):
    def shown() -> dict:
        socket = str(gateway.folder / "stoep.db.sock")
        assert device_cli.main(["show", "70b3d57ed0000003", "--json", "--socket", socket]) == 0
        return json.loads(capsys.readouterr().out)

    abp = ABP_DEVICE.format(app_s_key="101112131415161718191a1b1c1d1e1f")
    assert operator.reload(operator.text + abp) == 0
    begun = shown()
    assert operator.reload(operator.text) == 0
    assert operator.reload(operator.text + abp) == 0
    assert shown() == begun
    assert operator.reload(operator.text + ABP_DEVICE.format(app_s_key="22" * 16)) == 0
    assert operator.reload(operator.text + ABP_DEVICE.format(app_s_key="22" * 16)) == 0
    assert operator.said == "reloaded: nothing has changed\n"


def test_what_needs_a_restart_is_named_and_the_rest_applied(gateway, operator):
    text = operator.text.replace("rx1_delay_s = 15", "rx1_delay_s = 5").replace(
        "[gwmp]", 'keepalive_s = 30\n[gwmp]\nbind = "::1"'
    )
    assert operator.reload(f"{text}\n[http]\n{SECOND_GATEWAY}\n[adr]\nenabled = false\n") == 4
    assert operator.said == (
        "reloaded: 1 [[gateway]] added, [adr] enabled\n"
        "needs a restart: [mqtt] keepalive_s, [gwmp] bind, [lorawan] rx1_delay_s, [http]\n"
    )
    assert is_answered(gateway.port, SECOND_EUI)


def test_a_file_with_mistakes_changes_nothing(gateway, forwarder, operator):
    wrong = operator.text.replace(GATEWAY_EUI.hex(), "0016") + "[[truck]]\nid = 't'\n"
    assert operator.reload(wrong) == 2
    assert operator.said.splitlines() == [
        "stoep.toml:12: eui: an EUI is a string of 16 hexadecimal digits",
        '''stoep.toml:24: [[truck]] needs "capacity_l"''',
        '''stoep.toml:24: [[truck]] needs "depot"''',
        '''stoep.toml:24: [[truck]] needs "disposal"''',
        "nothing was changed",
    ]
    joined(forwarder)


async def test_signals_during_a_reload_are_one_more(tmp_path, monkeypatch):
    begun, go_on, reading = [], threading.Event(), threading.Event()

    def read(old):
        begun.append(old)
        reading.set()
        go_on.wait(PATIENCE_S)
        raise ValueError("0123456789abcdef")  # of a kind that nobody foresaw

    monkeypatch.setattr(reloading, "_read", read)
    config = SimpleNamespace(path=tmp_path / "stoep.toml")
    reloader = reloading.Reloader(config, *[None] * 5)
    assert not reloader.is_awaited
    first = asyncio.create_task(reloader.reload())
    await asyncio.to_thread(reading.wait, PATIENCE_S)
    assert not reloader.is_awaited  # it may have read already what was written since
    second = asyncio.create_task(reloader.reload())
    await asyncio.sleep(0)
    assert reloader.is_awaited
    go_on.set()
    for task in (first, second):
        assert (await task).mistakes == [f"{config.path}: cannot be read: ValueError"]
    assert not reloader.is_awaited
    assert len(begun) == 2


def test_sighup_is_a_reload_and_logs_what_came_of_it(gateway, forwarder, operator):
    operator.file.write_text(operator.text.replace("[gwmp]", "[gwmp]\nnonsense = 1"))
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in gateway.log(), "the mistakes in the log")
    assert 'unknown key "nonsense" in [gwmp]' in gateway.log()
    text = operator.text.replace("[gwmp]", "keepalive_s = 30\n[gwmp]")
    operator.file.write_text(text + SECOND_GATEWAY)
    for _ in range(100):
        gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "restart: [mqtt] keepalive_s" in gateway.log(), "the end of the reload")
    assert "reloaded: 1 [[gateway]] added" in gateway.log()
    assert is_answered(gateway.port, SECOND_EUI)
    assert gateway.stop() == 0


def test_rounds_begin_with_a_truck(gateway, operator, capsys):
    depot = (
        '[[place]]\nid = "yard"\nkind = "depot"\nlat = -15.8\nlon = 35.0\n'
        '[[place]]\nid = "dump"\nkind = "disposal"\nlat = -15.9\nlon = 35.0\n'
        '[[truck]]\nid = "t"\ncapacity_l = 14000\ndepot = "yard"\ndisposal = "dump"\n'
    )
    assert operator.reload(operator.text + depot + "[planning]\nthreshold_pct = 70\n") == 0
    assert "2 [[place]] added, 1 [[truck]] added" in operator.said
    assert "[planning] enabled, [planning] threshold_pct" in operator.said
    assert plan_cli.main(["show", "--socket", str(gateway.folder / "stoep.db.sock")]) == 0
    assert "t" in capsys.readouterr().out


def test_no_gateway_to_ask(tmp_path, capsys):
    assert main(["reload", "--socket", str(tmp_path / "none.sock")]) == 3
    assert "no gateway is running" in capsys.readouterr().err


def test_a_file_in_conf_d_is_taken_and_warned_of(gateway, operator):
    folder = gateway.folder / "conf.d"
    folder.mkdir()
    (folder / "second.toml").write_text(f"[adr]\nmargn_db = 3\n{SECOND_GATEWAY}")
    assert operator.reload(operator.text) == 0
    assert operator.said.splitlines() == [
        "reloaded: 1 [[gateway]] added",
        (
            'conf.d/second.toml:2: unknown key "margn_db" in [adr] (did you mean "margin_db"?);'
            " ignored"
        ),
    ]
    assert is_answered(gateway.port, SECOND_EUI)


def test_a_table_of_containers_and_an_event_are_taken_and_broken_ones_are_not(gateway, operator):
    table = gateway.folder / "bins.csv"
    text = operator.text + '[[asset_file]]\npath = "bins.csv"\n'
    table.write_text("id;lat;lon;capacity_l;depth_mm\nb;-15,8;35,0;1100;1500\n")
    event = '[[event]]\nid = "market"\nweekly = ["sat"]\n'
    assert operator.reload(text + event) == 0
    assert operator.said == "reloaded: 1 [[container]] added, 1 [[event]] added\n"
    table.write_text("id;lat;lon;capacity_l;depth_mm\nb;-15,8;35,0;1100;deep\nb;35;-15,8;1;1\n")
    assert operator.reload(text + event) == 2
    assert operator.said.splitlines() == [
        'bins.csv:2: depth_mm must be a whole number (column E, "depth_mm")',
        'bins.csv:3: id "b" is already used by the container at bins.csv:2 (column A, "id")',
        (
            "bins.csv:3: lat and lon are swapped: -15.8, 35 is near the other places"
            ' (column B, "lat")'
        ),
        "nothing was changed",
    ]
    table.write_text("id;lat;lon;capacity_l;depth_mm\nb;-15,8;35,0;1100;1800\n")
    assert operator.reload(text) == 0
    assert operator.said == "reloaded: 1 [[container]] changed, 1 [[event]] removed\n"

"""Devices managed while the real gateway process runs, and after it was killed."""

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from stoep_protocol.messages import BinReport
from waiting import wait_until

GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
EUI = "70b3d57ed0000001"
KEY = "2b7e151628aed2a6abf7158809cf4f3c"
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
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
full_mm = 300
[[place]]
id = "yard"
kind = "depot"
lat = -15.7
lon = 35.0
[[place]]
id = "dump"
kind = "disposal"
lat = -15.7
lon = 35.1
[[truck]]
id = "truck-1"
capacity_l = 14000
depot = "yard"
disposal = "dump"
"""
FILE = f"dev_eui,app_key,asset\n{EUI},{KEY},container/corner\n"


class Site:
    """A gateway, its forwarder, and the command; no broker answers."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.forwarder = Forwarder(GATEWAY_EUI, gateway.port)
        self.forwarder.pull()
        self.tmst_us = 0

    def stoep(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        config = ["--config", str(self.gateway.folder / "stoep.toml")]
        if arguments[0] == "plan":
            config = ["--socket", str(self.gateway.folder / "stoep.db.sock")]
        done = subprocess.run(
            [sys.executable, "-m", "stoep_tools.cli", *arguments, *config],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done
        return done.stdout if code == 0 else done.stderr

    def show(self, *arguments: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.stoep("device", "show", EUI, "--json", *arguments))
        return shown

    def send(self, phy_payload: bytes) -> None:
        self.tmst_us += 10_000_000
        self.forwarder.push(rxpk(phy_payload, tmst=self.tmst_us))

    def answer(self, phy_payload: bytes) -> bytes:
        """Send an uplink; return what comes down for it."""
        self.send(phy_payload)
        return base64.b64decode(self.forwarder.take_downlink()["data"])

    def reject(self, phy_payload: bytes, reason: str) -> None:
        """Send an uplink that is rejected."""
        before = self.gateway.log().count(f"rejected {reason} ")
        self.send(phy_payload)
        wait_until(lambda: self.gateway.log().count(f"rejected {reason} ") > before, reason)

    def restart(self) -> None:
        self.gateway.kill()
        self.gateway.start()
        self.forwarder.close()
        self.forwarder = Forwarder(GATEWAY_EUI, self.gateway.port)
        self.forwarder.pull()


@pytest.fixture
def config() -> Iterator[str]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # a port at which nobody will ever listen
        yield CONFIG.format(port=nobody.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path, config: str) -> Iterator[Site]:
    with Gateway(tmp_path / "gateway", config) as gateway:
        running = Site(gateway)
        yield running
        running.forwarder.close()


def test_a_device_s_life(site: Site) -> None:
    device = Device(bytes.fromhex(EUI), bytes(8), bytes.fromhex(KEY))
    site.reject(device.join_request(), "unknown_dev_eui")
    said = site.stoep("device", "import", "-", stdin=FILE)
    assert said == "standard input: 1 added, 0 changed, 0 unchanged\n"
    for _ in range(2):
        device.accept(site.answer(device.join_request()))
    assert device.downlink(site.answer(device.uplink(BinReport(1, 900, 4), confirmed=True)), 0).ack
    shown = site.show()
    assert shown["session"] == {
        "dev_addr": f"{device.dev_addr:08x}",
        "joined_utc": shown["session"]["joined_utc"],
        "f_cnt_up": 0,
        "f_cnt_down": 1,
        "data_rate": 5,
        "tx_power": 0,
        "repetitions": 1,
    }
    assert shown["last_heard_utc"] >= shown["session"]["joined_utc"] >= shown["created_utc"]
    assert shown["dev_nonces"] == 2

    site.restart()  # killed: what was answered has been kept
    assert site.show("--show-keys")["app_key"] == KEY
    assert device.downlink(site.answer(device.uplink(confirmed=True)), 1).ack

    assert "disabled" in site.stoep("device", "disable", EUI)
    site.reject(device.uplink(confirmed=True), "device_disabled")
    site.stoep("device", "enable", EUI)
    assert device.downlink(site.answer(device.uplink(confirmed=True)), 2).ack

    said = site.stoep("device", "send", EUI, "13", "a10118")
    assert said == f"{EUI}: downlink 1 is queued\n"
    frame = device.downlink(site.answer(device.uplink(BinReport(2, 890, 4))), 3)
    assert (frame.f_port, len(frame.frm_payload)) == (13, 3)

    device.dev_nonce = 1  # flashed anew
    site.reject(device.join_request(), "dev_nonce_replayed")
    said = site.stoep("device", "forgive-nonce", EUI)
    assert said == f"{EUI}: DevNonces forgiven: 2\n"
    device.accept(site.answer(device.join_request()))
    assert device.downlink(site.answer(device.uplink(confirmed=True)), 0).ack

    said = site.stoep("device", "rotate-key", EUI, "--show-keys")
    new_key = said.split()[-1]
    site.reject(device.uplink(confirmed=True), "unknown_dev_addr")
    site.reject(device.join_request(), "join_mic")
    device = Device(bytes.fromhex(EUI), bytes(8), bytes.fromhex(new_key))
    device.accept(site.answer(device.join_request()))
    assert device.downlink(site.answer(device.uplink(confirmed=True)), 0).ack
    site.restart()
    assert site.show("--show-keys")["app_key"] == new_key
    assert device.downlink(site.answer(device.uplink(confirmed=True)), 1).ack

    site.stoep("device", "remove", EUI)
    site.restart()
    site.reject(device.uplink(confirmed=True), "unknown_dev_addr")
    assert "no device" in site.stoep("device", "show", EUI, code=1)
    # Added again: LoRaWAN 1.0.4 has the device take no JoinNonce that is not above the last.
    site.stoep("device", "import", "-", stdin=FILE.replace(KEY, new_key))
    assert device.accept(site.answer(device.join_request())).app_nonce == 5
    for secret in (KEY, new_key):
        assert secret not in site.gateway.log()


def test_no_key_lies_in_the_open(site: Site) -> None:
    site.stoep("device", "import", "-", stdin=FILE)
    keys = ["--dev-addr", "260b0001", "--nwk-s-key", "11" * 16, "--app-s-key", "22" * 16]
    site.stoep("device", "add", "70b3d57ed0000002", *keys)
    device = Device(bytes.fromhex(EUI), bytes(8), bytes.fromhex(KEY))
    device.accept(site.answer(device.join_request()))
    assert site.gateway.stop() == 0
    folder = site.gateway.folder
    on_disk = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    for key in (KEY, "11" * 16, "22" * 16):
        assert bytes.fromhex(key) not in on_disk
        assert key.encode() not in on_disk
    assert (folder / "stoep.db.key").stat().st_mode & 0o777 == 0o600
    assert not (folder / "stoep.db.sock").exists()
    assert "no gateway is running there" in site.stoep("device", "list", code=3)


def test_a_database_without_its_key(site: Site) -> None:
    site.stoep("device", "import", "-", stdin=FILE)
    assert site.gateway.stop() == 0
    key = site.gateway.folder / "stoep.db.key"
    kept = key.rename(key.with_name("kept"))
    command = ["gateway", "run"]
    assert "the key is missing" in site.stoep(*command, code=1)
    assert not key.exists()
    key.write_text("00" * 32)
    key.chmod(0o600)
    assert "is not the key that sealed" in site.stoep(*command, code=1)
    key.chmod(0o644)
    assert f"chmod 600 {key}" in site.stoep(*command, code=1)
    kept.replace(key)
    site.restart()
    assert site.show("--show-keys")["app_key"] == KEY


def test_a_personalised_device_is_heard_at_once(site: Site) -> None:
    keys = ["--dev-addr", "260b0001", "--nwk-s-key", "11" * 16, "--app-s-key", "22" * 16]
    site.stoep("device", "add", EUI, *keys)
    device = Device(bytes.fromhex(EUI), bytes(8), bytes.fromhex(KEY))
    device.personalise(0x260B0001, b"\x11" * 16, b"\x22" * 16)
    assert device.downlink(site.answer(device.uplink(confirmed=True)), 0).ack
    site.restart()
    assert device.downlink(site.answer(device.uplink(confirmed=True)), 1).ack
    assert site.show()["session"]["f_cnt_up"] == 1


def test_the_running_gateway_plans(site: Site) -> None:
    site.stoep("device", "import", "-", stdin=FILE)
    assert "corner: has sent no level yet" in site.stoep("plan", "show")
    device = Device(bytes.fromhex(EUI), bytes(8), bytes.fromhex(KEY))
    device.accept(site.answer(device.join_request()))
    device.downlink(site.answer(device.uplink(BinReport(1, 290, 4), confirmed=True)), 0)
    line, _ = site.stoep("plan", "show", "--json").splitlines()
    assert [stop["id"] for stop in json.loads(line)["stops"]] == ["corner", "dump"]
    planned = site.stoep("plan", "show", "--at", "2026-10-20T06:00Z")
    assert planned.startswith("2026-10-20, truck-1: 1 container, ")


def test_while_simulated_time_stands_still(tmp_path: Path, config: str) -> None:
    with Gateway(tmp_path / "gateway", config, "--simulated-clock") as gateway:
        site = Site(gateway)
        assert "1 added" in site.stoep("device", "import", "-", stdin=FILE)
        assert "70b3d57ed0000001  OTAA  enabled" in site.stoep("device", "list")
        assert "truck-1: nothing to do" in site.stoep("plan", "show", "--at", "2026-10-20T06:00Z")
        site.forwarder.close()

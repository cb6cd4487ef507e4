"""A gateway that comes back from an old copy: its devices go on, and no number is used twice."""

import base64
import json
import time
import zipfile
from contextlib import closing

import pytest
from broker import Mosquitto
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from stoep_gateway.cli import main
from stoep_protocol.lorawan import frames
from stoep_protocol.messages import BinReport

GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
FIRST, SECOND = bytes.fromhex("70b3d57ed0000001"), bytes.fromhex("70b3d57ed0000002")
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
[[device]]
dev_eui = "70b3d57ed0000002"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
"""


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as running:
        yield running


def tmst():
    return time.monotonic_ns() // 1000 % 2**32


def joined(forwarder, device):
    forwarder.push(rxpk(device.join_request(), tmst=tmst()))
    return device.accept(base64.b64decode(forwarder.take_downlink()["data"]))


def acknowledged(forwarder, device):
    """Return the counter of the downlink that acknowledges one more uplink."""
    forwarder.push(rxpk(device.uplink(BinReport(1, 900, 4), confirmed=True), tmst=tmst()))
    phy_payload = base64.b64decode(forwarder.take_downlink()["data"])
    f_cnt = frames.parse(phy_payload).f_cnt
    assert device.downlink(phy_payload, f_cnt).ack
    return f_cnt


def test_after_an_old_copy_no_counter_comes_again(tmp_path, broker, capsys):
    first, second = (Device(eui, bytes(8), APP_KEY) for eui in (FIRST, SECOND))
    copy = tmp_path / "copy.zip"
    with Gateway(tmp_path / "gateway", CONFIG.format(port=broker.port)) as gateway:
        config = ["--config", str(gateway.folder / "stoep.toml")]
        with closing(Forwarder(GATEWAY_EUI, gateway.port)) as forwarder:
            forwarder.pull()
            joined(forwarder, first)
            acknowledged(forwarder, first)
            assert main(["backup", str(copy), *config]) == 0
            # All that comes now is lost.
            used = acknowledged(forwarder, first)
            given = joined(forwarder, second).app_nonce
        assert main(["restore", str(copy), *config]) == 1  # it runs, and its database is there
        assert gateway.stop() == 0
        for path in gateway.folder.glob("stoep.db*"):
            if path.suffix != ".key":
                path.rename(path.with_name("old-" + path.name))
        assert main(["restore", str(copy), *config]) == 0
        gateway.start()
        with closing(Forwarder(GATEWAY_EUI, gateway.port)) as forwarder:
            forwarder.pull()
            again = acknowledged(forwarder, first)
            assert used < again < used + 16_384  # MAX_FCNT_GAP
            assert joined(forwarder, second).app_nonce > given
            acknowledged(forwarder, second)
        assert gateway.stop() == 0
    with zipfile.ZipFile(copy) as opened:
        assert json.loads(opened.read("manifest.json"))["site"] == "street"
    assert "downlink counters skipped" in capsys.readouterr().out

"""``stoep gateway doctor`` over a real control socket, and without a gateway."""

import asyncio
import dataclasses
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from gateway_process import Gateway
from gwmp_client import Forwarder, rxpk
from hand_clock import HandClock
from lns_values import GATEWAY
from stoep_gateway import config as configuration
from stoep_gateway.assets import registry
from stoep_gateway.cli import main
from stoep_gateway.control import ControlServer, socket_path
from stoep_gateway.doctor import command
from stoep_gateway.doctor.command import COMMAND, Doctor, mosquitto_queue, ports_sent_to
from stoep_gateway.doctor.facts import SLOW_S, MachineFacts, StorageFacts
from stoep_gateway.forwarders import links
from stoep_gateway.forwarders.gwmp import DatagramReceived, GwmpServer
from stoep_gateway.gateways import GatewayMonitor
from stoep_gateway.lns.airtime import SubBandUse
from stoep_gateway.lns.channel_plan import for_region
from stoep_gateway.lns.scheduler import Account
from stoep_gateway.lns.sessions import Sessions
from stoep_gateway.metrics import Histogram, Metrics
from stoep_protocol.lorawan.regions import by_name

CONFIG = """
site = "test"
[mqtt]
host = "127.0.0.1"
port = {broker}
[gwmp]
port = {gwmp}
[[gateway]]
id = "roof"
eui = "{eui}"
"""

WELL = MachineFacts(
    clock_synchronised=True,
    disk_free_octets=20_000_000_000,
    disk_octets=30_000_000_000,
    database_octets=5_300_000,
    storage=StorageFacts("mmcblk0", 32_000_000_000),
    backup_s=3 * 86_400,
    files=(),
)
WELL_SAID = (
    "clock synchronised, 20 GB free of 30 GB, database 5.3 MB, mmcblk0 tells no wear,"
    " last copy 3 d ago"
)


class Site:
    """A configuration and everything that a running gateway has for its doctor."""

    def __init__(self, folder: Path, gwmp: int, broker: int) -> None:
        self.file = folder / "stoep.toml"
        self.file.write_text(CONFIG.format(gwmp=gwmp, broker=broker, eui=GATEWAY.hex()))
        self.config = configuration.load(self.file)
        self.clock = HandClock()
        self.broker = (True, 0)
        self.registry = registry.build(self.config)
        self.links = links.of(self.config.gateways, self.config.gwmp)
        self.machine = GwmpServer(self.links)
        use = SubBandUse(868_000_000, 868_600_000, 9.9, 10.0)
        parts = SimpleNamespace(
            config=self.config,
            clock=self.clock,
            registry=self.registry,
            links=self.links,
            monitor=GatewayMonitor(self.registry.gateways, self.links),
            metrics=Metrics(),
            scheduler=SimpleNamespace(
                accounts=lambda _: {GATEWAY: Account((use,), 0, {}, None)},
            ),
            outbox=self,
            publisher=self,
            store=SimpleNamespace(commit_s=Histogram((SLOW_S,))),
            memory=SimpleNamespace(states={}, sessions=Sessions(()), configurations={}),
            sources_connected=lambda: {"city": self.connected},
        )
        self.doctor = Doctor(parts, for_region(by_name("EU868")))

    octets, limit_octets, oldest_utc_ms = 0, 1000, None

    @property
    def connected(self) -> bool:
        return self.broker[0]

    def __len__(self) -> int:  # of its outbox
        return self.broker[1]

    def hear(self, kind: int) -> None:
        datagram = bytes((2, 0, 0, kind)) + GATEWAY + (b"{}" if kind == 0 else b"")
        self.machine.handle(DatagramReceived(datagram, ("192.0.2.1", kind)), self.clock.now_ms())

    async def diagnosed(self, *arguments: str) -> int:
        """Run the command against a socket that answers for this site; return its exit code."""
        server = ControlServer(socket_path(self.config, {}))
        server.register(COMMAND, self.doctor.answer)
        await server.open()
        try:
            return await asyncio.to_thread(main, ["doctor", "--config", str(self.file), *arguments])
        finally:
            await server.close()


@pytest.fixture(autouse=True)
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be a machine that nothing is wrong with, whichever it is."""
    monkeypatch.setattr(command.machine, "look", lambda *_: WELL)
    monkeypatch.setattr(command, "mosquitto_queue", lambda: None)


@pytest.fixture
def taken() -> Iterator[int]:
    """Take a TCP port, where a broker could be."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def free() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path, free: int, taken: int) -> Site:
    return Site(tmp_path, free, taken)


async def test_the_running_gateway_says_what_is_wrong(site, capsys):
    site.clock.pass_ms(3_000_000)
    assert await site.diagnosed() == 1
    text = capsys.readouterr().out
    assert "\nroof     never heard since the start\n" in text
    assert "error[never-heard]: roof: nothing has come from it in the 50 min" in text
    assert "warning[duty-cycle]: roof: in 868-868.6 MHz it has sent 0.99 %" in text


@pytest.mark.parametrize("table", ["", "[time]\ntrust_clock = true\n"])
async def test_a_clock_that_is_not_synchronised_and_one_that_is_trusted(
    site, monkeypatch, capsys, table
):
    unsynchronised = dataclasses.replace(WELL, clock_synchronised=False)
    monkeypatch.setattr(command.machine, "look", lambda *_: unsynchronised)
    site.file.write_text(site.file.read_text() + table)
    site.doctor.reconfigure(configuration.load(site.file))
    await site.diagnosed()
    assert ("[clock-unsynchronised]" in capsys.readouterr().out) == (not table)
    main(["doctor", "--config", str(site.file)])  # and without a gateway
    assert ("[clock-unsynchronised]" in capsys.readouterr().out) == (not table)


async def test_a_gateway_that_is_heard(site, capsys):
    site.clock.pass_ms(1000)
    site.hear(0)
    site.hear(2)
    site.broker = (False, 12)
    site.clock.pass_ms(5000)
    assert await site.diagnosed("--json") == 1
    answer = json.loads(capsys.readouterr().out)
    (gateway,) = answer["gateways"]
    assert gateway == {
        "id": "roof",
        "eui": GATEWAY.hex(),
        "protocol": "gwmp",
        "address": "192.0.2.1:2",
        "connected": True,
        "seen_s": 5,
        "round_trip_ms": None,
        "receptions": 0,
        "downlinks": 0,
        "downlinks_sent": 0,
    }
    broker, source, *_ = answer["findings"]
    assert [broker["code"], source["code"]] == ["broker", "source"]
    assert "12 messages wait" in broker["what"]
    site.broker = (True, 0)
    assert await site.diagnosed() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "test, up 6 s",
        f"machine  {WELL_SAID}",
        f"broker   127.0.0.1:{site.config.mqtt.port} there",
    ]
    assert lines[3].startswith("devices  none")
    assert lines[4].startswith("roof     Semtech UDP at 192.0.2.1:2, heard 5 s ago")
    assert lines[-1] == "1 warning."


def test_without_a_gateway_ports_and_broker_are_looked_at(site, capsys):
    assert main(["doctor", "--config", str(site.file)]) == 1
    text = capsys.readouterr().out
    assert text.startswith("test, not running\nmachine  clock synchronised")
    assert "\nerror[not-running]: the gateway is not running" in text
    assert text.endswith("\n1 error.\n")
    assert "its ports are free" in text
    assert "error[port]" not in text
    assert "[broker]" not in text


def test_a_port_that_somebody_has_and_a_broker_that_is_not_there(tmp_path, free, taken, capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        somebody.bind(("127.0.0.1", 0))
        port = somebody.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            nobody = listener.getsockname()[1]
        site = Site(tmp_path, port, nobody)
        assert main(["doctor", "--config", str(site.file), "--json"]) == 1
    findings = {it["code"]: it for it in json.loads(capsys.readouterr().out)["findings"]}
    assert sorted(findings) == ["broker", "not-running", "port"]
    assert f"UDP 127.0.0.1:{port}" in findings["port"]["what"]
    assert f"127.0.0.1:{nobody}" in findings["broker"]["what"]


def test_without_gateway_and_configuration(tmp_path, capsys):
    assert main(["doctor", "--socket", str(tmp_path / "none.sock")]) == 3
    assert "--config FILE" in capsys.readouterr().err


def test_mistakes_in_the_configuration_come_first(tmp_path, capsys):
    file = tmp_path / "stoep.toml"
    file.write_text("site = 7\n")
    assert main(["doctor", "--config", str(file)]) == 2
    assert f"{file}:1:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("main_file", "included", "queue"),
    [
        ("listener 1883\n", None, 1000),
        ("max_queued_messages 5\n", None, 5),
        ("max_queued_messages 5\ninclude_dir {folder}\n", "max_queued_messages 100000 \n", 100_000),
        ("include_dir {folder}\nmax_queued_messages 0\n", "max_queued_messages 7\n", 0),
        ("include_dir {folder}\n", "#max_queued_messages 7\n", 1000),
        ("include_dir {folder}/none\n", None, 1000),
    ],
)
def test_what_mosquitto_keeps(tmp_path, main_file, included, queue):
    (tmp_path / "conf.d").mkdir()
    file = tmp_path / "mosquitto.conf"
    file.write_text(main_file.format(folder=tmp_path / "conf.d"))
    if included is not None:
        (tmp_path / "conf.d" / "stoep.conf").write_text(included)
    assert mosquitto_queue(file) == queue


def test_no_mosquitto_or_one_that_cannot_be_read(tmp_path):
    assert mosquitto_queue(tmp_path / "mosquitto.conf") is None
    (tmp_path / "mosquitto.conf").write_bytes(b"\xff")
    assert mosquitto_queue(tmp_path / "mosquitto.conf") is None


def test_a_real_gateway_is_diagnosed(tmp_path, free, capsys):
    """Two gateways: one that only pushes, and one that is not registered."""
    broker = free  # nobody is there
    text = CONFIG.format(gwmp=0, broker=broker, eui=GATEWAY.hex())
    with Gateway(tmp_path, text) as gateway:
        known, stranger = (Forwarder(eui, gateway.port) for eui in (GATEWAY, bytes(8)))
        stranger.send(2)
        known.push(*[rxpk(b"", freq=903.9)] * 40)
        code = main(["doctor", "--config", str(tmp_path / "stoep.toml"), "--json"])
        answer = json.loads(capsys.readouterr().out)
        known.close()
        stranger.close()
        assert gateway.stop() == 0
    assert code == 1
    found = {it["code"]: it for it in answer["findings"]}
    assert found["no-pull"]["gateway"] == "roof"
    assert "never asked for downlinks" in found["no-pull"]["what"]
    assert "0000000000000000" in found["not-registered"]["what"]
    assert found["broker"]["level"] == "error"
    assert found["unreadable"]["what"].startswith("40 of its")


def test_where_programs_of_this_machine_send_to(tmp_path):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forwarder,
    ):
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        assert port not in ports_sent_to()
        forwarder.connect(("127.0.0.1", port))
        assert port in ports_sent_to()
    assert ports_sent_to(tmp_path) == ()


def test_the_systems_table_of_ipv6_sockets(tmp_path):
    """Lines of a little-endian machine, as all that this runs on are."""
    mapped, loopback, other = (
        "0000000000000000FFFF00000100007F:06C4",
        "00000000000000000000000001000000:06C3",
        "B80D0120000000000000000001000000:06C2",
    )
    lines = ["sl local remote st"]
    lines += [f" 1: {loopback} {remote} 01 0:0" for remote in (mapped, loopback, other)]
    (tmp_path / "udp6").write_text("\n".join(lines))
    assert ports_sent_to(tmp_path) == (0x6C3, 0x6C4)

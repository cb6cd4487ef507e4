"""What others get to see: no core dump, no socket beyond loopback, no secret in words."""

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from broker import Mosquitto
from gateway_process import Gateway
from gwmp_client import Device, Forwarder, rxpk
from stoep_protocol.lorawan.crypto import derive_session_keys
from stoep_protocol.messages import BinReport
from waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "gateway/stoep_gateway/example.toml"
GATEWAY_EUI = bytes.fromhex("0016c001ff10a235")
LOOPBACK = {"0100007F", "00000000000000000000000001000000"}  # of proc_pid_net(5), little-endian

DUMPS = """
import ctypes, os, resource
from stoep_gateway.secrecy import keep_memory_private
keep_memory_private({environ})
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)
os.abort()
"""


@pytest.mark.parametrize(
    ("environ", "after"), [({}, "(1, 1) 1"), ({"NOTIFY_SOCKET": "@x"}, "(1, 1) 0")]
)
def test_a_crash_leaves_no_core(tmp_path: Path, environ: dict[str, str], after: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", DUMPS.format(environ=environ)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == -6, run.stderr
    assert run.stdout.strip() == after
    assert list(tmp_path.iterdir()) == []


FORBIDDEN = """
import resource
from stoep_gateway.secrecy import keep_memory_private
def refuse(*_):
    raise PermissionError("not permitted")
resource.setrlimit = refuse
keep_memory_private({"NOTIFY_SOCKET": "@x"})
"""


def test_a_manager_that_lets_no_limit_be_changed_does_not_keep_it_from_starting() -> None:
    subprocess.run([sys.executable, "-c", FORBIDDEN], check=True)


def test_the_gateway_does_so_at_its_start(tmp_path: Path) -> None:
    with Gateway(tmp_path, 'site = "test"\n[mqtt]\nport = 1\n[gwmp]\nport = 0\n') as gateway:
        assert gateway.process is not None
        limits = Path(f"/proc/{gateway.process.pid}/limits").read_text().splitlines()
    (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
    assert core == ["1", "1"]


LISTENING = """
import json, os, re, sys
from pathlib import Path
from stoep_gateway import app
from stoep_tools import cli

def ready(*_):
    mine = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{fd}")}
    found = []
    for kind, listens in (("tcp", "0A"), ("udp", "07"), ("raw", "07"), ("udplite", "07")):
        for version in ("", "6"):
            table = Path(f"/proc/self/net/{kind}{version}")
            for line in table.read_text().splitlines()[1:] if table.exists() else ():
                _, local, _, state, *rest = line.split()
                if f"socket:[{rest[5]}]" in mine and state == listens:
                    found.append((kind, local.partition(":")[0]))
    Path("sockets.json").write_text(json.dumps(found))
    raise KeyboardInterrupt

app._leave_to_stay = ready
sys.exit(cli.main(["gateway", "run", "--config", "stoep.toml"]))
"""


def listening(folder: Path, config: str) -> list[tuple[str, str]]:
    (folder / "stoep.toml").write_text(config)
    run = subprocess.run(
        [sys.executable, "-c", LISTENING],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 130, run.stderr
    return [(kind, where) for kind, where in json.loads((folder / "sockets.json").read_text())]


def test_the_example_listens_on_loopback_alone(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for port in ("1700", "1883"):  # somebody may be there
        text = text.replace(f"port = {port}", f"port = {0 if port == '1700' else 1}")
    found = listening(tmp_path, text)
    assert ("udp", "0100007F") in found
    assert {where for _, where in found} <= LOOPBACK


def test_every_port_that_is_configured_without_an_address_is_on_loopback(tmp_path: Path) -> None:
    text = 'site = "test"\n[mqtt]\nport = 1\n[gwmp]\nport = 0\n[basics_station]\nport = 0\n'
    found = listening(tmp_path, text + "[http]\nport = 0\n")
    assert sorted(kind for kind, _ in found) == ["tcp", "tcp", "udp"]
    assert {where for _, where in found} <= LOOPBACK


def test_the_look_at_sockets_sees_one_that_is_open_to_all(tmp_path: Path) -> None:
    text = 'site = "test"\n[mqtt]\nport = 1\n[gwmp]\nport = 0\nbind = "0.0.0.0"\n'
    assert ("udp", "00000000") in listening(tmp_path, text)


# No secret in words.

APP_KEY = "2b7e151628aed2a6abf7158809cf4f3c"
ABP_NWK, ABP_APP = "8f1d36a47c5be209d3a4b5c6e7f80912", "c0ffee254a6b8d1e3f507192b3d4e5f6"
ADDED_KEY = "5e9d0c3b7a1f48e2966d8b4c2a7f1e03"
BAD_KEY = "77e1c2d3a4b5968778695a4b3c2d1e0f1122"  # too long: what a slip of a hand makes
PASSWORD = "Tr0ub4dor-and-three"
TOKEN = "Bearer 9c1f0a7d55e2"
MASTER = "d1c2b3a4f5e60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f01"

CONFIGURATION = f"""\
site = "test"
[mqtt]
port = {{port}}
username = "gateway"
password_file = "broker.password"
[store]
key_file = "master.key"
[gwmp]
port = 0
[basics_station]
port = 0
[lorawan]
dedup_window_ms = 20
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[gateway]]
id = "kerb-2"
eui = "0016c001ff10a236"
token_file = "station.token"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "{APP_KEY}"
asset = "container/corner"
[[device]]
dev_eui = "70b3d57ed0000002"
dev_addr = "01020304"
nwk_s_key = "{ABP_NWK}"
app_s_key = "{ABP_APP}"
[[container]]
id = "corner"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1500
"""
GIVEN = {"stoep.toml", "broker.password", "station.token", "master.key", "devices.csv"}


def spellings(secret: bytes) -> Iterator[bytes]:
    """Yield in what forms a secret might stand in a text."""
    yield secret
    yield secret[::-1]
    for octets in (secret, secret[::-1]):
        yield octets.hex().encode()
        yield octets.hex().upper().encode()
        yield octets.hex(" ").encode()
        yield octets.hex(":").encode()
        yield base64.b64encode(octets).rstrip(b"=")
        yield repr(octets)[2:-1].encode()
        yield str(list(octets))[1:-1].encode()


class Secretive:
    """A gateway with secrets, everything that commands about it say, and what was found in both."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        for name, text in (
            ("broker.password", PASSWORD + "\n"),
            ("station.token", TOKEN + "\n"),
            ("master.key", MASTER + "\n"),
        ):
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        self.config = CONFIGURATION.format(port=broker_port)
        self.gateway = Gateway(folder, self.config, "--verbose")
        self.folder = folder
        self.said = b""

    def stoep(self, *arguments: str, stdin: str = "") -> int:
        run = subprocess.run(
            [sys.executable, "-m", "stoep_tools.cli", *arguments],
            cwd=self.folder,
            input=stdin.encode(),
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.said += run.stdout + run.stderr
        return run.returncode

    def with_config(self, text: str, *arguments: str) -> int:
        file = self.folder / "stoep.toml"
        file.write_text(text)
        try:
            return self.stoep(*arguments, "--config", "stoep.toml")
        finally:
            file.write_text(self.config)

    def everything(self) -> Iterator[tuple[str, bytes]]:
        yield "what commands said", self.said
        for file in self.folder.rglob("*"):
            if file.is_file() and file.name not in GIVEN:
                yield file.name, file.read_bytes()


def test_no_secret_is_ever_put_into_words(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", "allow_anonymous false\n") as broker:
        folder = tmp_path / "gateway"
        folder.mkdir()
        site = Secretive(folder, broker.port)
        refused_configurations(site)
        with site.gateway as gateway:
            session_keys = life(site, gateway)
            wait_until(lambda: "is away" in gateway.log(), "the broker refuses")
            commands(site, folder)
            assert gateway.stop() == 0
        (folder / "master.key").write_text(MASTER[::-1] + "\n")
        assert site.with_config(site.config, "gateway", "run") != 0
    keys = [*map(bytes.fromhex, (APP_KEY, ABP_NWK, ABP_APP, ADDED_KEY, BAD_KEY, MASTER))]
    texts = [it.encode() for it in (PASSWORD, TOKEN, TOKEN.split()[1])]
    for name, data in site.everything():
        for secret in [*keys, *texts, *session_keys]:
            for spelling in spellings(secret):
                assert spelling not in data, (name, spelling)
    assert len(session_keys) == 2
    # The search does find what is there.
    assert b"70b3d57ed0000001" in site.said + gateway.log().encode()
    assert spelled_in(APP_KEY, (folder / "stoep.toml").read_bytes())


def spelled_in(key: str, data: bytes) -> bool:
    return any(it in data for it in spellings(bytes.fromhex(key)))


def refused_configurations(site: Secretive) -> None:
    for wrong in (
        site.config.replace(APP_KEY, BAD_KEY),
        site.config.replace(f'"{APP_KEY}"', APP_KEY),  # quotes forgotten: no TOML
        site.config.replace("app_key", "appkey"),
        site.config.replace(f'"{ABP_APP}"', f'["{ABP_APP}"]'),
        site.config.replace('"01020304"', f'"{ABP_NWK}"'),
        site.config.replace("password_file", "password") + f'x = "{PASSWORD}"\n',
        site.config.replace('"70b3d57ed0000002"', f'"{ADDED_KEY}"'),
    ):
        assert site.with_config(wrong, "gateway", "check") != 0
    assert site.with_config(wrong, "gateway", "run") != 0


def life(site: Secretive, gateway: Gateway) -> list[bytes]:
    """Join, report, and send what is no good; return the session's keys."""
    device = Device(bytes.fromhex("70b3d57ed0000001"), bytes(8), bytes.fromhex(APP_KEY))
    with closing(Forwarder(GATEWAY_EUI, gateway.port)) as forwarder:
        forwarder.pull()
        forwarder.push(rxpk(device.join_request(), 1_000_000))
        txpk = forwarder.take_downlink()
        accept = device.accept(base64.b64decode(txpk["data"]))
        forwarder.push(rxpk(device.uplink(BinReport(1, 700, 4)), 9_000_000))
        forwarder.push(rxpk(device.uplink(f_port=10, payload=b"\xff\xff"), 10_000_000))
        forwarder.push(rxpk(bytes.fromhex("40") + bytes.fromhex(APP_KEY), 11_000_000))
        forwarder.send(0, b'{"rxpk":[{"data":"' + APP_KEY.encode() + b'"}]}')
    ready = json.loads((gateway.folder / "ready.json").read_text())
    for path, token in (("0016c001ff10a236", "x" + TOKEN), ("nowhere", TOKEN)):
        with socket.create_connection(("127.0.0.1", ready["basics_station_tcp"])) as station:
            station.settimeout(60)
            station.sendall(
                f"GET /router/{path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nAuthorization: {token}\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            while station.recv(4096):
                pass
    keys = derive_session_keys(device.app_key, accept.app_nonce, accept.net_id, device.dev_nonce)
    return list(keys)


def commands(site: Secretive, folder: Path) -> None:
    added = {"dev_eui": "70b3d57ed0000003", "app_key": ADDED_KEY}
    control = str(folder / "stoep.db.sock")
    for request in (
        {"command": "device.add", "device": added},
        {"command": "device.add", "device": {**added, "dev_eui": ADDED_KEY}},
        {"command": "device.add", "device": {**added, "app_key": BAD_KEY}},
        {"command": "device.add", **added},
        {"command": "device.add", "devices": [[ADDED_KEY]]},
        {"command": ADDED_KEY},
        {"command": "device.show", "dev_eui": ADDED_KEY},
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(control)
            client.sendall(json.dumps(request).encode() + b"\n")
            site.said += client.makefile("rb").readline()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(control)
        client.settimeout(60)
        client.sendall(b'{"command": "device.add", "app_key": "' + ADDED_KEY.encode() + b"\n")
        site.said += client.makefile("rb").readline()
    for text in (
        f"dev_eui,app_key\n70b3d57ed0000003,{ADDED_KEY}\n",
        f"dev_eui,app_key\n{ADDED_KEY},70b3d57ed0000004\n",
        f"dev_eui,app_key\n70b3d57ed0000005,{BAD_KEY}\n",
        f'dev_eui,app_key\n70b3d57ed0000006,"{ADDED_KEY}\n',
    ):
        (folder / "devices.csv").write_text(text)
        site.stoep("device", "import", "--config", "stoep.toml", "devices.csv")
    site.stoep("device", "list", "--config", "stoep.toml")
    site.stoep("device", "show", "--config", "stoep.toml", "70b3d57ed0000001")
    site.stoep("gateway", "doctor", "--config", "stoep.toml")

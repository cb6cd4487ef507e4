"""Registering boards: at a real gateway over its control socket, and in other servers' formats."""

import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from chirpstack_api.api import device_pb2
from gateway_process import Gateway
from google.protobuf import json_format
from stoep_gateway.control_client import socket_beside
from stoep_tools.flash import registration
from stoep_tools.flash.errors import GATEWAY_REFUSED, FlashError
from stoep_tools.flash.ledger import Entry, Ledger
from stoep_tools.flash.registration import Registered

CONFIG = """\
site = "test"
[store]
path = "stoep.db"
[mqtt]
port = {port}
[gwmp]
port = 0
[lorawan]
region = "EU868"
[[gateway]]
id = "roof"
eui = "0016c001ff10a235"
[[container]]
id = "market-1"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1250
"""
STOEP = [sys.executable, "-m", "stoep_tools.cli"]
MACS = [bytes.fromhex(f"34b7da0c1d{n:02x}") for n in range(3)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "bench" / "boards.db") as made:
        yield made


@pytest.fixture
def entries(ledger: Ledger) -> list[Entry]:
    for mac in MACS:
        ledger.issue(mac, "heltec_wifi_lora_32_v3", "bin", "EU868")
    first = ledger.entries()[0].identity.dev_eui
    ledger.place(first, asset="container/market-1", name="lid; says \"Größe\" #1: 'x'")
    return ledger.entries()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with socket.socket() as nobody:  # bound and not listening: there is no broker
        nobody.bind(("127.0.0.1", 0))
        with Gateway(folder, CONFIG.format(port=nobody.getsockname()[1])) as running:
            yield running


@pytest.fixture
def options(gateway: Gateway) -> Iterator[list[str]]:
    said = ["--socket", str(socket_beside(gateway.folder / "stoep.db"))]
    yield said
    for device in listed(said):
        assert subprocess.run([*STOEP, "device", "remove", device["dev_eui"], *said], check=True)


def listed(options: list[str]) -> list[dict[str, str]]:
    command = [*STOEP, "device", "list", "--json", "--show-keys", *options]
    devices: list[dict[str, str]] = json.loads(subprocess.check_output(command))
    return devices


def no_key(text: str, entries: list[Entry]) -> bool:
    return not any(entry.identity.app_key.hex() in text.lower() for entry in entries)


def test_a_gateway_lists_what_was_registered(entries: list[Entry], options: list[str]) -> None:
    would = registration.register(STOEP, entries, options=options, dry_run=True)
    assert would == Registered(3, 0, 0)
    assert listed(options) == []
    assert registration.register(STOEP, entries, options=options) == Registered(3, 0, 0)
    devices = {device["dev_eui"]: device for device in listed(options)}
    for entry in entries:
        device = devices[entry.identity.dev_eui.hex()]
        assert device["app_key"] == entry.identity.app_key.hex()
        assert device["join_eui"] == entry.identity.join_eui.hex()
        assert device["lorawan"] == "1.0.4"
        assert device.get("asset") == entry.asset
        assert device.get("name") == entry.name
    # Again: nothing is done. With another key: it is that.
    assert registration.register(STOEP, entries, options=options) == Registered(0, 0, 3)
    assert registration.register(["no-such-program"], []) == Registered(0, 0, 0)
    identity = replace(entries[0].identity, app_key=bytes(range(16)))
    other = replace(entries[0], identity=identity)
    assert registration.register(STOEP, [other], options=options) == Registered(0, 1, 0)
    assert registration.forgive_nonce(STOEP, identity.dev_eui, options=options) == 0


@pytest.mark.parametrize("name", ["boards.csv", "boards.yaml"])
def test_a_gateway_imports_what_was_exported(
    name: str, entries: list[Entry], options: list[str], tmp_path: Path
) -> None:
    file = tmp_path / name
    write = registration.stoep_csv if name.endswith("csv") else registration.stoep_yaml
    registration.write_secret(file, write(entries))
    assert file.stat().st_mode & 0o777 == 0o600
    for done in ("3 added, 0 changed, 0 unchanged", "0 added, 0 changed, 3 unchanged"):
        command = [*STOEP, "device", "import", str(file), *options]
        assert subprocess.check_output(command, text=True) == f"{file}: {done}\n"
    assert {device["app_key"] for device in listed(options)} == {
        entry.identity.app_key.hex() for entry in entries
    }


def test_what_the_gateway_does_not_take_is_told_by_device(
    entries: list[Entry], options: list[str]
) -> None:
    lost = replace(entries[2], asset="container/market-2")
    with pytest.raises(FlashError) as caught:
        registration.register(STOEP, [*entries[:2], lost], options=options)
    assert caught.value.exit_code == GATEWAY_REFUSED
    text = str(caught.value)
    assert f'{lost.identity.dev_eui.hex()}: asset "container/market-2" is not an asset' in text
    assert "market-1" in text
    assert "standard input" not in text
    assert no_key(text, entries)
    assert listed(options) == []


def test_no_gateway_and_no_stoep_are_told(entries: list[Entry], tmp_path: Path) -> None:
    away = ["--socket", str(tmp_path / "nobody.sock")]
    with pytest.raises(FlashError, match="no gateway answers") as caught:
        registration.register(STOEP, entries, options=away)
    assert caught.value.exit_code == GATEWAY_REFUSED
    with pytest.raises(FlashError, match="cannot be run"):
        registration.register([str(tmp_path / "stoep")], entries)
    with pytest.raises(FlashError, match="no gateway answers"):
        registration.forgive_nonce(STOEP, bytes(8), options=away)


SSH = """\
#!/bin/sh
[ "$1" = PI ] || { echo "ssh: Could not resolve hostname $1: Name or service not known" >&2
exit 255; }
shift
echo Welcome to this machine
exec sh -c "$*"
"""


def test_by_ssh(
    entries: list[Entry], options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    command = ["ssh", "PI", *STOEP]
    assert registration.register(command, entries, options=options) == Registered(3, 0, 0)
    with pytest.raises(FlashError, match="ssh failed: ssh: Could not resolve hostname PO"):
        registration.register(["ssh", "PO", *STOEP], entries, options=options)
    with pytest.raises(FlashError, match="was not found"):
        registration.register(["ssh", "PI", "no-such-stoep"], entries)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('what?')", "no answer that is understood"),
        ("print('[1]')", "no answer that is understood"),
        ("import sys; sys.stderr.write(sys.stdin.read()); sys.exit(1)", "the gateway refused"),
        ("import sys; sys.stderr.write(sys.stdin.read().upper()); sys.exit(9)", "ended with 9"),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
    ],
)
def test_whatever_it_says_no_key_is_repeated(program: str, said: str, entries: list[Entry]) -> None:
    with pytest.raises(FlashError) as caught:
        registration.register([sys.executable, "-c", program], entries)
    assert caught.value.exit_code == GATEWAY_REFUSED
    assert said in str(caught.value)
    assert no_key(str(caught.value) + repr(caught.value), entries)


# Others' formats.

# "CSV File Reference", thethingsindustries.com/docs: its minimal example's columns, and the test
# file of the converter, lorawan-stack/pkg/devicetemplates/testdata/all_columns.csv.
THINGS_STACK_MINIMAL = (
    "dev_eui;join_eui;frequency_plan_id;lorawan_version;lorawan_phy_version;app_key"
)
THINGS_STACK_ALL = (
    "id;dev_eui;join_eui;name;description;frequency_plan_id;lorawan_version;lorawan_phy_version;"
    "brand_id;model_id;hardware_version;firmware_version;band_id;app_key;nwk_key;rx1_delay;"
    "supports_32_bit_f_cnt;dev_addr;app_s_key;f_nwk_s_int_key;last_f_cnt_up;last_n_f_cnt_down;"
    "last_a_f_cnt_down;supports_class_c;vendor_id;vendor_profile_id"
)
# "JSON File Reference", there.
THINGS_STACK_OBJECT = """{
  "ids": {"device_id": "my-device", "dev_eui": "0102030405060708", "join_eui": "0102030405060708"},
  "name": "My Device",
  "description": "Living room temperature sensor",
  "lorawan_version": "MAC_V1_0_2",
  "lorawan_phy_version": "PHY_V1_0_2_REV_B",
  "frequency_plan_id": "EU_863_870_TTN",
  "supports_join": true,
  "root_keys": {"app_key": {"key": "01020304050607080102030405060708"}}
}"""


def test_the_things_stacks_csv_has_its_columns_and_no_others(entries: list[Entry]) -> None:
    rows = list(csv.reader(io.StringIO(registration.things_stack_csv(entries)), delimiter=";"))
    columns, *devices = rows
    assert set(THINGS_STACK_MINIMAL.split(";")) <= set(columns) <= set(THINGS_STACK_ALL.split(";"))
    for entry, row in zip(entries, devices, strict=True):
        device = dict(zip(columns, row, strict=True))
        assert bytes.fromhex(device["dev_eui"]) == entry.identity.dev_eui
        assert bytes.fromhex(device["app_key"]) == entry.identity.app_key
        assert re.fullmatch(r"[a-z0-9](?:-?[a-z0-9]){2,35}", device["id"])
        assert (device["lorawan_version"], device["lorawan_phy_version"]) == (
            "MAC_V1_0_4",
            "RP002_V1_0_3",
        )
    assert devices[0][columns.index("name")] == entries[0].name
    assert devices[1][columns.index("name")] == entries[1].identity.dev_eui.hex()


def shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key != "description"}
    return type(value)


def test_the_things_stacks_json_is_as_its_documentation_has_it(entries: list[Entry]) -> None:
    text = registration.things_stack_json(entries)
    devices = [json.loads(line) for line in text.splitlines()]
    assert len(devices) == len(entries)
    for entry, device in zip(entries, devices, strict=True):
        assert shape(device) == shape(json.loads(THINGS_STACK_OBJECT))
        assert device["root_keys"]["app_key"]["key"] == entry.identity.app_key.hex().upper()


def test_every_region_has_a_plan_of_the_things_stack(entries: list[Entry]) -> None:
    regions = ["EU868", "US915", "AU915", "IN865", "AS923", "AS923-2", "AS923-3", "AS923-4"]
    for lorawan in ("1.0.3", "1.0.4"):
        for region in regions:
            entry = replace(entries[0], region=region, lorawan=lorawan)
            assert json.loads(registration.things_stack_json([entry]))["frequency_plan_id"]


def test_chirpstack_takes_its_requests(entries: list[Entry]) -> None:
    application, profile = "8f0a2bd2-0c5c-4a32-9d4f-0f8ec4d7d3ab", "a1b2c3d4-0000-4000-8000-1234567"
    lines = registration.chirpstack(entries, application, profile).splitlines()
    assert len(lines) == 2 * len(entries)
    for entry, first, second in zip(entries, lines[::2], lines[1::2], strict=True):
        # Unknown members are an error here.
        device = json_format.Parse(first, device_pb2.CreateDeviceRequest()).device
        keys = json_format.Parse(second, device_pb2.CreateDeviceKeysRequest()).device_keys
        identity = entry.identity
        assert (device.dev_eui, keys.dev_eui) == (identity.dev_eui.hex(),) * 2
        assert device.join_eui == identity.join_eui.hex()
        assert (device.application_id, device.device_profile_id) == (application, profile)
        assert keys.nwk_key == identity.app_key.hex()
        assert not keys.app_key
    assert registration.chirpstack([], application, profile) == ""


def test_our_files_say_what_they_should(entries: list[Entry]) -> None:
    devices = yaml.safe_load(registration.stoep_yaml(entries))
    assert [device.get("name") for device in devices] == [entries[0].name, None, None]
    assert "asset" not in devices[1]
    assert yaml.safe_load(registration.stoep_yaml([])) == []
    bare = registration.stoep_csv(entries[1:])
    assert bare.splitlines()[0] == "dev_eui,join_eui,app_key,lorawan"
    rows = list(csv.DictReader(io.StringIO(registration.stoep_csv(entries))))
    assert [row["asset"] for row in rows] == ["container/market-1", "", ""]


def test_a_secret_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FlashError, match="cannot be written"):
        registration.write_secret(tmp_path / "nowhere" / "x", "secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").touch()
    with pytest.raises(FlashError, match="cannot be written"):
        registration.write_secret(tmp_path / "folder", "secret")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]

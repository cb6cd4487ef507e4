"""``stoep device``, from its arguments and standard input to the gateway and back."""

import asyncio
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from device_network import MemoryNetwork, commands
from stoep_gateway import device_cli
from stoep_gateway.assets.calibration import Answer
from stoep_gateway.assets.states import DeviceState
from stoep_gateway.device_network import Activity
from stoep_protocol.calibration import STEP_ECHOES, echo

EUI = "70b3d57ed0000001"
OTHER = "70b3d57ed0000002"
KEY = "2b7e151628aed2a6abf7158809cf4f3c"
IN_FILE = "00000000000000f1"
HEADING = "dev_eui,app_key,name,asset\n"
DEVICES = f"{HEADING}{EUI},{KEY},lid one,container/a\n{OTHER},{KEY},,\n"


class Site:
    """A gateway's control socket on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "control.sock"
        self.network: MemoryNetwork
        self._folder = folder
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        self.network = MemoryNetwork(self._folder)
        server = commands(self.network, self.socket)
        await server.open()
        self._ready.set()
        await self._stop.wait()
        await server.close()

    def __enter__(self) -> "Site":
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as running:
        yield running


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def stoep_device(*arguments: str | Path, stdin: str = "") -> tuple[int, str, str]:
        standard_input = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        monkeypatch.setattr(sys, "stdin", standard_input)
        code = device_cli.main([*map(str, arguments), "--socket", str(site.socket)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return stoep_device


def test_import_from_standard_input(site: Site, run: Run) -> None:
    done = "standard input: 2 added, 0 changed, 0 unchanged\n"
    dry = run("import", "-", "--dry-run", stdin=DEVICES)
    assert dry == (0, done.replace("2 added", "would be 2 added"), "")
    assert site.network.rows == {}
    assert run("import", "-", stdin=DEVICES) == (0, done, "")
    assert len(site.network.rows) == 2
    code, out, _ = run("import", "-", "--json", stdin=DEVICES)
    assert (code, json.loads(out)) == (0, {"ok": True, "added": 0, "changed": 0, "unchanged": 2})


def test_every_mistake_with_its_line(site: Site, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(
        "dev_eui,app_key,adr,asset\n"
        f"{EUI},{KEY},true,container/c\n"
        f"{OTHER},{KEY},maybe,\n"
        f"{EUI},{KEY},,\n"
        f"1,{KEY},,\n"
        f"{OTHER[:-1]}3,{KEY},,,more\n",
        encoding="utf-8",
    )
    assert run("import", file) == (
        2,
        "",
        (
            f'{file}:2: asset "container/c" is not an asset (did you mean "container/b"?)\n'
            f"{file}:3: adr must be true or false\n"
            f'{file}:4: dev_eui "{EUI}" was given before\n'
            f"{file}:5: dev_eui: an EUI is a string of 16 hexadecimal digits\n"
            f"{file}:6: has 5 values, the first line 4 columns\n"
        ),
    )
    assert site.network.rows == {}
    file = tmp_path / "devices.yaml"
    file.write_text(f"- dev_eui: {EUI}\n  app_key: 12\n\n- dev_eui: {OTHER}\n", encoding="utf-8")
    code, out, err = run("import", file)
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == (f"{file}:2: app_key: a key is a string of 32 hexadecimal digits")
    assert err.splitlines()[1].startswith(f'{file}:4: the device needs one of: "app_key"')
    code, _, err = run("import", tmp_path / "nowhere.csv")
    assert (code, err) == (
        2,
        f"{tmp_path}/nowhere.csv: cannot be read: No such file or directory\n",
    )


def test_what_was_exported_is_imported(site: Site, run: Run, tmp_path: Path) -> None:
    assert run("import", "-", stdin=DEVICES)[0] == 0
    before = dict(site.network.registry.devices)
    for name in ("all.csv", "all.yaml"):
        file = tmp_path / name
        assert run("export", "--output", file) == (0, "", "")
        assert KEY not in file.read_text(encoding="utf-8")
        unchanged = f"{file}: 0 added, 0 changed, 3 unchanged\n"
        assert run("import", file) == (0, unchanged, "")
        assert run("export", "--output", file, "--show-keys") == (0, "", "")
        assert KEY in file.read_text(encoding="utf-8")
        assert file.stat().st_mode & 0o777 == 0o600
        assert run("import", file) == (0, unchanged, "")
        for eui in (EUI, OTHER):
            assert run("remove", eui)[0] == 0
        assert run("import", file) == (0, f"{file}: 2 added, 0 changed, 1 unchanged\n", "")
        assert site.network.registry.devices == before
    assert not list(tmp_path.glob("*.partial"))
    code, out, _ = run("export", "--show-keys", "--format", "yaml")
    assert (code, out) == (0, (tmp_path / "all.yaml").read_text(encoding="utf-8"))
    code, _, err = run("export", "--output", tmp_path / "nowhere" / "x")
    assert (code, err.count("\n")) == (1, 1)


def test_add_and_look(site: Site, run: Run) -> None:
    spelt = EUI.upper()
    added = run("add", spelt, "--name", "lid", "--asset", "bay/c")
    assert added == (1, "", f'asset "bay/c" is already that of device {IN_FILE}\n')
    code, out, _ = run("add", spelt, "--name", "li\u202ed", "--asset", "container/a")
    assert (code, out) == (
        0,
        (
            f"{EUI}: registered with a new AppKey:"
            f" stoep device show {EUI} --show-keys --socket {site.socket}\n"
        ),
    )
    key = site.network.registry.devices[bytes.fromhex(EUI)].app_key
    assert key is not None
    assert run("add", OTHER, "--app-key", "-", "--no-adr", stdin=f"{KEY}\n") == (
        0,
        f"{OTHER}: registered\n",
        "",
    )
    site.network.activities[bytes.fromhex(OTHER)] = Activity(
        dev_addr=0x260B0001, f_cnt_up=1, f_cnt_down=2, last_heard_utc_ms=1_700_000_000_000
    )
    code, out, _ = run("list")
    assert (code, [line.split(None, 3) for line in out.splitlines()]) == (
        0,
        [
            ["DevEUI", "by", "state", "asset        name         last heard"],
            [IN_FILE, "OTAA", "enabled,", "file  bay/c"],
            [EUI, "OTAA", "enabled", r"container/a  'li\u202ed'"],
            [OTHER, "OTAA", "enabled", "2023-11-14T22:13:20.000Z"],
        ],
    )
    assert key.hex() not in out
    for command in (("list",), ("show", EUI), ("list", "--json"), ("export",)):
        assert key.hex() not in run(*command)[1]
        assert key.hex() in run(*command, "--show-keys")[1]
    code, out, _ = run("show", OTHER)
    shown = dict(line.split("  ", 1) for line in out.splitlines())
    assert {name: value.strip() for name, value in shown.items()} | {"created utc": ""} == {
        "dev eui": OTHER,
        "join eui": "0" * 16,
        "lorawan": "1.0.3",
        "device class": "A",
        "adr": "no",
        "enabled": "yes",
        "activation": "OTAA",
        "managed": "store",
        "created utc": "",
        "changed utc": "2023-11-14T22:13:20.000Z",
        "last heard utc": "2023-11-14T22:13:20.000Z",
        "dev nonces": "0",
        "queued": "0",
        "session dev addr": "260b0001",
        "session joined utc": "-",
        "session f cnt up": "1",
        "session f cnt down": "2",
    }
    assert "It is in the gateway's configuration" in run("show", IN_FILE)[1]
    assert json.loads(run("show", OTHER, "--json")[1])["session"]["f_cnt_up"] == 1


def test_change_one(site: Site, run: Run) -> None:
    run("import", "-", stdin=DEVICES)
    eui = bytes.fromhex(EUI)
    said = f"{EUI}: disabled: neither heard nor answered\n"
    assert run("disable", EUI) == (0, said, "")
    assert not site.network.registry.devices[eui].enabled
    assert run("enable", EUI) == (0, f"{EUI}: enabled\n", "")
    code, out, _ = run("rotate-key", EUI, "--show-keys")
    device = site.network.registry.devices[eui]
    assert device.app_key is not None
    said = f"{EUI}: has to join again, with its new AppKey: {device.app_key.hex()}\n"
    assert (code, out) == (0, said)
    code, out, _ = run("rotate-key", EUI, "--app-key", "-", stdin=f"{KEY}\n")
    assert KEY not in out
    assert site.network.registry.devices[eui].app_key == bytes.fromhex(KEY)
    site.network.activities[eui] = Activity(dev_nonces=4)
    assert run("forgive-nonce", EUI) == (0, f"{EUI}: DevNonces forgiven: 4\n", "")
    assert run("send", EUI, "13", "a1 01", "--expires", "60") == (
        0,
        f"{EUI}: downlink 1 is queued\n",
        "",
    )
    assert run("send", EUI, "0", "") == (1, "", "f_port is a whole number from 1 to 223\n")
    assert run("flush", EUI) == (0, f"{EUI}: downlinks forgotten: 1\n", "")
    assert run("remove", EUI) == (0, f"{EUI}: removed\n", "")
    assert run("show", EUI) == (
        1,
        "",
        f"no device {EUI} is registered; stoep device list shows those that are\n",
    )
    assert run("disable", IN_FILE)[0] == 1


def test_personalised_and_foreign_devices(site: Site, run: Run) -> None:
    keys = ("--nwk-s-key", KEY, "--app-s-key", KEY)
    assert run("add", EUI, "--dev-addr", "260b0001", *keys)[0] == 0
    assert run("add", OTHER, "--source", "other", "--device-class", "C")[0] == 0
    assert run("add", "01" * 8, "--source", "nobody")[0] == 1
    by = {
        device["dev_eui"]: device["activation"] for device in json.loads(run("list", "--json")[1])
    }
    assert by == {IN_FILE: "OTAA", EUI: "ABP", OTHER: "other"}


def test_more_than_a_page(run: Run) -> None:
    euis = [f"70b3d57ed1{number:06x}" for number in range(1200)]
    rows = "".join(f"{eui},{KEY},,\n" for eui in euis)
    assert run("import", "-", stdin=HEADING + rows)[0] == 0
    devices = json.loads(run("list", "--json")[1])
    assert [device["dev_eui"] for device in devices] == [IN_FILE, *euis]


@pytest.mark.parametrize(
    "arguments", [["show", "70b3"], ["frob"], [], ["list", "--config", "a", "--socket", "b"]]
)
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        device_cli.main(arguments)
    assert raised.value.code == 2
    assert "usage: stoep device" in capsys.readouterr().err


def test_without_a_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = tmp_path / "export.csv"
    export.write_text(DEVICES, encoding="utf-8")
    nobody = ["--socket", str(tmp_path / "nobody.sock")]
    for arguments in (["list"], ["import", str(export)], ["enable", EUI]):
        assert device_cli.main([*arguments, *nobody]) == 3
        assert capsys.readouterr().err.startswith(
            f"{tmp_path}/nobody.sock: no gateway is running there\n"
        )
    (tmp_path / "stoep.toml").write_text('site = "town"\n')
    assert device_cli.main(["list", "--config", str(tmp_path / "stoep.toml")]) == 3
    assert capsys.readouterr().err.startswith(f"{tmp_path}/stoep.db.sock: no gateway")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("dev_eui,adr\n1,maybe\n", encoding="utf-8")
    assert device_cli.main(["import", str(wrong), *nobody]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/nobody.sock: no gateway is running there",
        f"{wrong}:2: adr must be true or false",
    ]

    of_file = ["--file", str(export)]
    assert device_cli.main(["list", *of_file]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"{EUI}  OTAA  enabled  container/a  lid one",
        f"{OTHER}  OTAA  enabled",
    ]
    assert device_cli.main(["show", EUI, *of_file, "--json", "--show-keys"]) == 0
    assert json.loads(capsys.readouterr().out)["app_key"] == KEY
    assert device_cli.main(["show", "01" * 8, *of_file]) == 1
    assert device_cli.main(["export", *of_file, "--format", "yaml", "--show-keys"]) == 0
    (tmp_path / "export.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    arguments = ["export", "--file", str(tmp_path / "export.yaml"), "--show-keys"]
    assert device_cli.main(arguments) == 0
    columns = capsys.readouterr().out.splitlines()
    assert columns[0].startswith("dev_eui,join_eui,app_key,lorawan,")
    assert [line.split(",")[:3] for line in columns[1:]] == [
        [EUI, "0" * 16, KEY],
        [OTHER, "0" * 16, KEY],
    ]
    assert device_cli.main(["export", *of_file]) == 0  # an export without keys is one, too
    (tmp_path / "keyless.csv").write_text(capsys.readouterr().out, encoding="utf-8")
    assert device_cli.main(["list", "--file", str(tmp_path / "keyless.csv")]) == 0
    assert "source" not in capsys.readouterr().out


def test_as_ssh_would_call_it(site: Site) -> None:
    """The process's own standard input and exit code."""
    command = [sys.executable, "-m", "stoep_tools.cli", "device", "import", "-"]

    def piped(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "--socket", site.socket],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    done = piped(DEVICES)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "standard input: 2 added, 0 changed, 0 unchanged\n"
    failed = piped(DEVICES.replace("container/a", "container/z"))
    assert failed.returncode == 2
    assert failed.stderr.startswith('standard input:2: asset "container/z" is not an asset')


def test_a_reader_that_goes_away(site: Site) -> None:
    script = (
        f"{sys.executable} -m stoep_tools.cli device list --socket {site.socket} | true;"
        ' test "${PIPESTATUS[0]}" = 0'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_value_of_a_request_is_kept_in_the_list_of_processes() -> None:
    """What takes a key takes it from standard input as well."""
    for action in ("add", "rotate-key"):
        assert (
            '"-"'
            in subprocess.run(
                [sys.executable, "-m", "stoep_tools.cli", "device", action, "--help"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )


def test_configure(site: Site, run: Run) -> None:
    run("import", "-", stdin=DEVICES)
    bay = IN_FILE
    assert run("configure", EUI, "--interval", "60", "--mode", "on-change", "--change", "4") == (
        0,
        f"{EUI}: will be told: interval_min 60, mode on_change, change_cm 4\n",
        "",
    )
    assert run("configure", EUI, "--change", "factory", "--history", "6") == (
        0,
        f"{EUI}: will be told: interval_min 60, mode on_change, history 6\n",
        "",
    )
    code, out, _ = run("configure", EUI, OTHER, "--confirmed-every", "9", "--json")
    assert code == 0
    wanted = [answer["configuration"]["wanted"] for answer in json.loads(out)]
    assert wanted == [
        {"interval_min": 60, "mode": "on_change", "history": 6, "confirmed_every": 9},
        {"confirmed_every": 9},
    ]
    factory = f"{EUI}: will be told: what it was flashed with\n"
    assert run("configure", EUI, "--anew") == (0, factory, "")
    shown = run("show", EUI)[1]
    assert re.search("configuration state +pending\n", shown)
    assert re.search("configuration wanted +what it was flashed with\n", shown)

    # One cannot; the others are told all the same.
    code, out, error = run("configure", bay, OTHER, "--history", "2")
    assert (code, out) == (1, f"{OTHER}: will be told: confirmed_every 9, history 2\n")
    assert error == f"{bay}: history says nothing to a device of bay/c\n"
    assert run("configure", "--containers", "--interval", "20")[1].startswith(f"{EUI}: will")
    assert run("configure", "--bays", "--settle", "5") == (
        0,
        f"{bay}: will be told: settle_s 5\n",
        "",
    )
    assert run("configure", EUI, "--interval", "31")[2] == (
        f"{EUI}: interval_min cannot be 31; the nearest are 30 and 35\n"
    )
    assert run("configure", EUI, "--mode", "often")[0] == 1
    for wrong in ((), (EUI, "--bays"), ("--bays", "--containers")):
        with pytest.raises(SystemExit) as raised:
            run("configure", *wrong)
        assert raised.value.code == 2


def test_calibrate(site: Site, run: Run) -> None:
    run("import", "-", stdin=DEVICES)
    code, out, error = run("calibrate", IN_FILE)
    assert (code, error) == (0, "")
    assert out.startswith(f"{IN_FILE}: will take its field for that of the empty bay. A magnet")
    assert "in 15 min or never" in out
    code, out, _ = run("calibrate", EUI, "--distance-cm", "90", "--expires", "3600", "--json")
    assert (code, json.loads(out)["step"], json.loads(out)["expires_s"]) == (0, "echoes", 3600)
    assert site.network.queued[-1][2].hex() == "8202185a"
    refused = run("calibrate", EUI, "--car")
    assert refused == (1, "", "no car stands on a container\n")
    answer = Answer(1_700_000_000_000, STEP_ECHOES, 0, (None, echo(120, 22), echo(57, 8)))
    site.network.activities[bytes.fromhex(EUI)] = Activity(health=DeviceState(1, answers=(answer,)))
    shown = run("show", EUI)[1]
    assert re.search(r"(?m)^echoes +done, 2023-11-14T22:13:20.000Z$", shown)
    assert re.search(r"(?m)^echoes 1 +the floor.*1200 mm, as expected", shown)
    assert re.search(r"(?m)^echoes 2 +something fixed answers at 570 mm.*: a seam", shown)


SCANNED = "LW:D0:0000000000000000:70B3D57ED0000002:00000000"


def test_a_device_is_placed_and_an_odd_place_is_told(site: Site, run: Run) -> None:
    assert run("import", "-", stdin=DEVICES)[0] == 0
    place = ("place", EUI, "--lat", "-15.8", "--lon", "35.0005")  # 54 m east of its asset
    would = run(*place, "--dry-run")
    assert would == (0, "would be 1 placed, 0 unchanged\n", "")
    assert run(*place) == (0, "1 placed, 0 unchanged\n", "")
    assert run(*place) == (0, "0 placed, 1 unchanged\n", "")
    shown = json.loads(run("show", EUI, "--json")[1])
    assert (shown["asset"], shown["lat"], shown["lon"]) == ("container/a", -15.8, 35.0005)
    assert re.search(r"(?m)^lon +35\.0005$", run("show", EUI)[1])
    # Another asset, by its label; a place that is 1.1 km from where that asset should be.
    code, out, err = run("place", SCANNED, "--asset", "container/b", "--lat=-15.79", "--lon=35")
    assert (code, out) == (0, "1 placed, 0 unchanged\n")
    assert err == (
        f"warning: {OTHER} at -15.790000, 35.000000 is 1112 m away from container/b, which is"
        " configured to be at -15.800000, 35.000000\n"
    )
    # What is exported is imported as it was, and a device can be taken away from its asset.
    exported = run("export")[1]
    assert f"{OTHER},0000000000000000,1.0.3,A,true,true,,container/b,-15.79,35.0" in exported
    assert run("import", "-", stdin=exported)[1].endswith("0 added, 0 changed, 3 unchanged\n")
    assert run("place", OTHER, "--asset", "none") == (0, "1 placed, 0 unchanged\n", "")
    assert json.loads(run("show", OTHER, "--json")[1])["lat"] == -15.79
    assert "asset" not in json.loads(run("show", OTHER, "--json")[1])


def test_scanned_lines_are_placed_all_or_none(site: Site, run: Run, tmp_path: Path) -> None:
    assert run("import", "-", stdin=DEVICES)[0] == 0
    file = tmp_path / "places.csv"
    heading = "dev_eui;asset;lat;lon\n"
    good = f"{SCANNED};container/b;-15.8;35\n"
    file.write_text(
        heading
        + good
        + f"{EUI};container/c;;\n"
        + "70b3d57ed0000003;bay/c;;\n"
        + f"{EUI};;95;35\n"
        + f"{EUI};;-15.8;\n"
        + f"{SCANNED}:C0000;container/b;;\n"
        + f"{SCANNED.lower()};container/b;;\n"
        + f"{EUI};;;\n"
        + f"{IN_FILE};container/a;;\n"
        + f"{EUI};;north;35\n",
        encoding="utf-8",
    )
    code, out, err = run("place", "--file", file)
    assert (code, out) == (2, "")
    told = err.splitlines()
    for line, says in (
        (3, 'asset "container/c" is not an asset (did you mean "container/b"?)'),
        (4, 'no device 70b3d57ed0000003 is registered (did you mean "70b3d57ed0000'),
        (5, "was given before"),
        (7, "its checksum is wrong"),
        (8, "without Caps Lock"),
        (9, "says no place"),
        (10, "is in the gateway's configuration"),
        (11, "lat must be a number of degrees"),
    ):
        assert any(one.startswith(f"{file}:{line}: ") and says in one for one in told), (line, err)
    assert not any(one.startswith(f"{file}:2: ") for one in told)
    assert "asset" not in json.loads(run("show", OTHER, "--json")[1])
    file.write_text(heading + good, encoding="utf-8")
    code, out, _ = run("place", "--file", file, "--json")
    assert (code, json.loads(out)["changed"]) == (0, 1)
    assert json.loads(run("show", OTHER, "--json")[1])["asset"] == "container/b"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([EUI], "say DEV_EUI and where"),
        (["--asset", "container/a"], "say DEV_EUI and where"),
        ([EUI, "--file", "x.csv"], "say DEV_EUI and where"),
        (["--file", "x.csv", "--lat", "1", "--lon", "2"], "say DEV_EUI and where"),
    ],
)
def test_a_place_needs_a_device_and_where(
    arguments: list[str], says: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("place", *arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([EUI, "--asset", "contaner/a"], "asset"),
        ([EUI, "--asset", "container/ab"], 'did you mean "container/'),
        ([EUI, "--lat", "-15.8"], '"lat" and "lon" belong together'),
        ([EUI, "--lat", "nan", "--lon", "35"], "lat"),
        ([EUI, "--lat", "91", "--lon", "35"], "lat"),
        ([OTHER, "--asset", "container/a"], f"already that of device {EUI}"),
        ([IN_FILE, "--asset", "container/b"], "in the gateway's configuration"),
        (["70b3d57ed00000ff", "--asset", "container/b"], "no device 70b3d57ed00000ff"),
        (["wombat", "--asset", "container/b"], "16 hexadecimal digits"),
    ],
)
def test_a_place_that_cannot_be_is_refused(
    arguments: list[str], says: str, site: Site, run: Run
) -> None:
    assert run("import", "-", stdin=DEVICES)[0] == 0
    before = dict(site.network.rows)
    code, out, err = run("place", *arguments)
    assert (code, out) == (1, "")
    assert says in err
    assert site.network.rows == before

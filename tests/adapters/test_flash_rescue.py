"""The rescuing commands of `stoep flash`, on the real MicroPython over a pseudo-terminal."""

import io
import json
import tarfile

import pytest
from board_on_pty import BoardOnPty, make_image, read_image
from stoep_firmware.store import make_record
from stoep_hardware import board_data, micropython_runtime
from stoep_tools.flash import board_commands, command, filesystem
from stoep_tools.flash.errors import USAGE
from stoep_tools.flash.ledger import Ledger, default_path
from stoep_tools.flash.repl import Repl

pytestmark = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)

KEY = "2b7e151628aed2a6abf7158809cf4f3c"
BOARD = board_data.load("heltec_wifi_lora_32_v3")
CONFIG = {
    "kind": "bin",
    "dev_eui": "70b3d57ed0000001",
    "join_eui": "70b3d57ed0000000",
    "app_key": KEY,
    "region": "EU868",
    "interval_s": 600,
    "mode": 2,
    "board": BOARD.wiring(),
}
RECORD = make_record(6, [(41).to_bytes(4, "little") + bytes(80), b"mark"])


@pytest.fixture
def image(tmp_path):
    files = {
        "main.py": b"import time\ntime.sleep_ms(60000)\n",
        "config.json": json.dumps(CONFIG).encode(),
        "session.0": RECORD,
    }
    path = tmp_path / "vfs.img"
    path.write_bytes(make_image(files))
    return path


@pytest.fixture
def run(image, tmp_path, monkeypatch, capsys):
    """Give what runs a command on the board; returns exit code, its JSON and all that was said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with BoardOnPty(image) as board:
        monkeypatch.setattr(
            board_commands,
            "Repl",
            lambda device, ask: Repl(device, ask=ask, pulse=board.pulse, wait_s=60),
        )

        def run(*words):
            code = command.main([*words, "--port", board.port])
            said = capsys.readouterr()
            assert KEY not in said.out + said.err
            return code, json.loads(said.out) if "--json" in words else None, said.out + said.err

        yield run


def test_a_board_is_read_back_without_its_key(run, tmp_path):
    code, answer, _ = run("show", "--json")
    assert code == 0
    assert answer["board"] == BOARD.name  # by its own file: no ledger has it
    assert answer["config"]["app_key"] == "(hidden)"
    assert answer["config"]["interval_s"] == 600
    code, _, said = run("show", "--save", "config.json")
    assert code == 0
    assert "70B3 D57E D000 0001" in said
    assert "WITH ITS KEY" in said
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


def test_an_update_brings_what_this_board_needs(run, image):
    code, answer, _ = run("update", "--json")
    assert code == 0
    wanted = filesystem.firmware_files(BOARD, "bin", "EU868")
    assert set(answer["written"]) | set(answer["kept"]) == set(wanted)
    assert json.loads(read_image(image.read_bytes())["config.json"]) == CONFIG
    code, _, said = run("update")
    assert (code, said.strip()) == (0, "it has our newest files already")


def test_a_reset_is_undone_by_a_backup(run, image):
    code, answer, _ = run("backup", "--json")
    assert code == 0
    archive = answer["file"]
    assert archive.startswith("70b3d57ed0000001-")
    assert run("reset")[0] == USAGE  # nobody is there to say yes
    code, answer, _ = run("reset", "--yes", "--json")
    assert code == 0
    bare = json.loads(read_image(image.read_bytes())["config.json"])
    assert "mode" not in bare
    assert bare["app_key"] == KEY
    code, answer, _ = run("restore", archive, "--yes", "--json")
    assert (code, answer["dev_nonce"]) == (0, 41)
    assert json.loads(read_image(image.read_bytes())["config.json"]) == CONFIG
    assert run("restore", "vfs.img", "--yes", "--json")[1]["exit_code"] == USAGE


def test_a_board_that_replaces_another_has_its_place_in_the_ledger(run, image, tmp_path):
    old, ours = bytes.fromhex("34b7da0c1d2e"), bytes.fromhex("240ac4000001")
    with Ledger(default_path()) as book:
        lost = book.issue(old, BOARD.name, "bin", "EU868").entry
        spare = book.issue(ours, BOARD.name, "bin", "EU868").entry
    code, answer, _ = run("backup", "spare.tar", "--json")
    assert code == 0
    with tarfile.open("spare.tar") as archive:
        files = {one.name: archive.extractfile(one).read() for one in archive.getmembers()}
    config = json.loads(files["config.json"]) | {"dev_eui": lost.identity.dev_eui.hex()}
    files["config.json"] = json.dumps(config).encode()
    with tarfile.open("lost.tar", "w") as archive:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    assert run("restore", "lost.tar", "--yes", "--json")[1]["exit_code"] == USAGE
    code, answer, _ = run("restore", "lost.tar", "--replace", "--yes", "--json")
    assert code == 0
    with Ledger(default_path()) as book:
        now = book.of_mac(ours)
        assert now.identity == lost.identity
        assert now.dev_nonce == answer["dev_nonce"] == 41
        # What the replaced chip would be given, should it come again, nobody else has.
        assert book.of_mac(old).identity == spare.identity
        assert len({entry.mac for entry in book.entries()}) == 2

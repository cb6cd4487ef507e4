"""Update, reset, back-up and restore on the real MicroPython over a pseudo-terminal, with cuts."""

import json
import stat

import pytest
from board_on_pty import BoardOnPty, make_image, read_image
from stoep_firmware.store import Store, make_record
from stoep_hardware import micropython_runtime
from stoep_tools.flash import backup
from stoep_tools.flash.errors import BOARD_FAILED, USAGE, FlashError
from stoep_tools.flash.repl import Repl

pytestmark = pytest.mark.skipif(
    not micropython_runtime.is_available(), reason=micropython_runtime.why_unavailable()
)

KEY = "2b7e151628aed2a6abf7158809cf4f3c"
CONFIG = {
    "kind": "bin",
    "dev_eui": "70b3d57ed0000001",
    "join_eui": "70b3d57ed0000000",
    "app_key": KEY,
    "region": "EU868",
    "interval_s": 600,
    "mode": 2,
    "certification": True,
    "board": {"id": 1},
}
MAIN = b"""from stoep_firmware import version
import time
print("firmware", version.NAME)
time.sleep_ms(60000)
"""


def firmware(name, **more):
    return {
        "boot.py": b"# boot of " + name,
        "main.py": MAIN,
        "stoep_firmware/__init__.py": b"",
        "stoep_firmware/version.py": b"NAME = '%s'\n" % name,
        "stoep_firmware/same.py": b"# the same in all\n" * 200,
        "stoep_protocol/__init__.py": b"",
        **{f"stoep_firmware/{path}.py": octets for path, octets in more.items()},
    }


OLD = firmware(b"old", stale=b"# gone in the new\n" * 30)
NEW = firmware(b"new", fresh=b"# not in the old\n" * 90)
SESSIONS = {
    "session.0": make_record(6, [(41).to_bytes(4, "little") + bytes(80), b"mark"]),
    "session.1": make_record(7, [(42).to_bytes(4, "little") + bytes(80), b"mark"]),
}
OWN = {"config.json": json.dumps(CONFIG).encode(), "notes.txt": b"ours", **SESSIONS}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "vfs.img"
    path.write_bytes(make_image(OLD | OWN))
    return path


@pytest.fixture
def board(image):
    with BoardOnPty(image) as board:
        yield board


def hold(board):
    return Repl(board.port, pulse=board.pulse, wait_s=60)


def runs(files):
    """Return the firmware that starts, as it would be flashed; boot.py is not part of it."""
    return backup._firmware_of({"/" + path: data for path, data in files.items()})


def own(files):
    return {path: files[path] for path in OWN}


def without_boot(files):
    return {path: data for path, data in files.items() if path != "boot.py"}


def test_an_update_sends_what_differs_and_leaves_the_rest(board):
    told = []
    with hold(board) as repl:
        before = board.carried
        done = backup.update(repl, NEW, lambda done, whole: told.append((done, whole)))
        sent = board.carried - before
        assert set(done.written) == {
            *("boot.py", "main.py", "stoep_firmware/version.py", "stoep_firmware/fresh.py")
        }
        assert "stoep_firmware/same.py" in done.kept
        assert "/stoep_firmware/stale.py" in done.removed
        assert backup.installed(repl).leftovers == ()
        again = backup.update(repl, NEW)
        assert (again.written, again.removed) == ((), ())
        third = backup.update(repl, OLD)
        assert "main.py" in third.written
    assert sent < 20_000
    assert (
        told[-1][0]
        == told[-1][1]
        == len(NEW["stoep_firmware/version.py"]) + len(NEW["stoep_firmware/fresh.py"])
    )
    files = board.files()
    assert runs(files) == without_boot(OLD)
    assert own(files) == OWN
    assert files["boot.py"] == OLD["boot.py"]
    # Nothing but what was there and the one firmware.
    assert len(files) == len(OLD) + len(OWN)


def test_after_an_update_the_new_firmware_starts(board):
    with hold(board) as repl:
        backup.update(repl, NEW)
        repl.reset()
    with Repl(board.port, pulse=lambda _serial: None, wait_s=60) as repl:
        assert repl.value("__import__('stoep_firmware.version').version.NAME") == "new"
        assert repl.value("__import__('sys').path[0]") == "/stoep.a"


@pytest.mark.slow
def test_a_cut_anywhere_in_an_update_leaves_the_old_or_the_new(image):
    start = image.read_bytes()
    with BoardOnPty(image) as board, hold(board) as repl:
        begun = board.carried
        backup.update(repl, NEW)
        octets = board.carried - begun
    seen = set()
    for part in range(16):
        image.write_bytes(start)
        with BoardOnPty(image) as board:
            with hold(board) as repl:
                board.cut_after = board.carried + octets * (2 * part + 1) // 32
                with pytest.raises(FlashError) as told:
                    backup.update(repl, NEW, finish="stoep flash update --port X")
            assert told.value.exit_code == BOARD_FAILED
            assert told.value.remedy.endswith("stoep flash update --port X")
            files = read_image(image.read_bytes())
            running = runs(files)
            assert running in (without_boot(OLD), without_boot(NEW))
            assert own(files) == OWN
            is_new = running == without_boot(NEW)
            seen.add(is_new)
            if "still runs" in told.value.message:
                assert not is_new
            elif "runs the new" in told.value.message:
                assert is_new
            board.plug_in()
            with hold(board) as repl:
                backup.update(repl, NEW)
                assert backup.installed(repl).leftovers == ()
            files = board.files()
            assert runs(files) == without_boot(NEW)
            assert own(files) == OWN
            assert len(files) == len(NEW) + len(OWN)
    assert seen == {False, True}


def test_an_update_that_does_not_fit_leaves_the_old(board):
    big = firmware(b"big", big=bytes(700_000))
    with hold(board) as repl:
        with pytest.raises(FlashError, match="are free") as told:
            backup.update(repl, big)
        assert "still runs the firmware it had" in told.value.message
    assert runs(board.files()) == without_boot(OLD)


def test_configuration_is_read_with_its_keys_hidden(board, tmp_path):
    target = tmp_path / "config.json"
    with hold(board) as repl:
        assert backup.read_config(repl) == CONFIG | {"app_key": "(hidden)"}
        backup.save_config(repl, target)
        with pytest.raises(FlashError, match="is there already") as told:
            backup.save_config(repl, target)
        repl.write("/config.json", KEY.encode())
        with pytest.raises(FlashError, match="damaged") as damaged:
            backup.read_config(repl)
        repl.remove("/config.json")
        with pytest.raises(FlashError, match="has no config"):
            backup.read_config(repl)
    assert json.loads(target.read_text()) == CONFIG
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert told.value.exit_code == USAGE
    assert KEY not in repr(damaged.value)


class Records:
    def __init__(self, files):
        self.files = files

    def read(self, name):
        return self.files.get(name)


def dev_nonce(files):
    return Store(lambda *_: b"", Records(files)).dev_nonce()


def test_a_factory_reset_keeps_identity_and_dev_nonce_alone(board):
    with hold(board) as repl:
        assert backup.factory_reset(repl) == 42
        assert backup.factory_reset(repl) == 42
    files = board.files()
    config = json.loads(files["config.json"])
    kept = ("kind", "dev_eui", "join_eui", "app_key", "region", "board")
    assert config == {name: CONFIG[name] for name in kept} | {"interval_s": 3600}
    assert "session.1" not in files
    assert dev_nonce(files) == 42
    assert b"mark" not in files["session.0"]
    assert runs(files) == without_boot(OLD)
    assert files["notes.txt"] == b"ours"


def test_a_cut_in_a_factory_reset_never_loses_a_dev_nonce(image):
    start = image.read_bytes()
    with BoardOnPty(image) as board, hold(board) as repl:
        begun = board.carried
        backup.factory_reset(repl)
        octets = board.carried - begun
    for part in range(6):
        image.write_bytes(start)
        with BoardOnPty(image) as board:
            with hold(board) as repl:
                board.cut_after = board.carried + octets * (2 * part + 1) // 12
                with pytest.raises(FlashError) as told:
                    backup.factory_reset(repl)
            assert KEY not in repr(told.value)
            files = read_image(image.read_bytes())
            assert dev_nonce(files) == 42
            assert json.loads(files["config.json"])["app_key"] == KEY
            board.plug_in()
            with hold(board) as repl:
                assert backup.factory_reset(repl) == 42
            assert "session.1" not in board.files()


def test_what_was_backed_up_is_restored_but_not_its_session(board, tmp_path):
    archive = tmp_path / "board.tar"
    with hold(board) as repl:
        backup.update(repl, NEW)
        names = backup.back_up(repl, archive)
        assert len(names) == len(NEW) + len(OWN)
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        # The board goes on: another configuration, another firmware, further DevNonces.
        backup.update(repl, OLD)
        repl.write("/config.json", json.dumps(CONFIG | {"mode": 0}).encode())
        later = make_record(8, [(99).to_bytes(4, "little") + bytes(80), b"mark"])
        repl.write("/session.0", later)
        assert backup.restore(repl, archive) == 99
    files = board.files()
    assert runs(files) == without_boot(NEW)
    assert json.loads(files["config.json"]) == CONFIG
    assert dev_nonce(files) == 99
    assert "session.1" not in files
    assert b"mark" not in files["session.0"]


def test_another_boards_backup_is_refused(board, tmp_path):
    archive = tmp_path / "board.tar"
    other = json.dumps(CONFIG | {"dev_eui": "70b3d57ed00000ff"}).encode()
    with hold(board) as repl:
        backup.back_up(repl, archive)
        repl.write("/config.json", other)
        with pytest.raises(FlashError, match="the backup is of 70b3d57ed0000001") as told:
            backup.restore(repl, archive)
        assert told.value.exit_code == USAGE
        assert repl.read("/config.json") == other
        assert backup.restore(repl, archive, onto_another=True) == 42
        assert json.loads(repl.read("/config.json")) == CONFIG


def test_what_is_no_backup_is_refused(board, tmp_path):
    (tmp_path / "x").write_bytes(b"no tar")
    with pytest.raises(FlashError, match="no backup"):
        backup.read_archive(tmp_path / "x")

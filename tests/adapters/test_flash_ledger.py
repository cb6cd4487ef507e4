"""The ledger: what was issued stays issued, once, whatever happens to who issues it."""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import ledger_writer
import pytest
from ledger_writer import mac_of
from power_cut import Claim, examine
from stoep_tools.flash import ledger as ledger_module
from stoep_tools.flash.errors import USAGE, FlashError
from stoep_tools.flash.identity import MAX_DEV_NONCE, SAFE_STEP, EuiRange, dev_eui_of
from stoep_tools.flash.ledger import STATES, Entry, Issued, Ledger, default_path, listing
from syscall_trace import TracedProcess
from traced_files import Snapshot, record

BOARD = ("heltec_wifi_lora_32_v3", "bin", "EU868")
EUIS = "70b3d57ed0000000-70b3d57ed0ffffff"
LINE_OCTETS = len(b'{"mac": "34b7da000000", "dev_eui": "34b7dafffe000000", "app_key": ""}') + 32


class Clock:
    """A clock that goes on by a second at each look."""

    def __init__(self) -> None:
        self.now_ms = 1_795_321_600_000

    def __call__(self) -> int:
        self.now_ms += 1000
        return self.now_ms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bench" / "boards.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path, now_ms=Clock()) as made:
        yield made


def issue(ledger: Ledger, number: int = 1, **said: Any) -> Issued:
    return ledger.issue(mac_of(number), *BOARD, **said)


# What it says.


def test_a_chip_is_issued_its_identity_once(ledger: Ledger, path: Path) -> None:
    first = issue(ledger)
    assert not first.again
    assert first.entry.identity.dev_eui == dev_eui_of(mac_of(1))
    assert (first.entry.number, first.entry.dev_nonce, first.entry.flashed) == (1, 0, 1)
    with Ledger(path) as other:
        again = issue(other, asset="container/a")
        assert again.again
        assert again.entry.identity == first.entry.identity
        assert (again.entry.asset, again.entry.flashed) == ("container/a", 2)
        assert issue(other).entry.asset == "container/a", "what is not said stays"
        assert other.of_mac(mac_of(1)) == other.of(first.entry.identity.dev_eui)
        assert other.find_mac(mac_of(2)) is None
        with pytest.raises(FlashError, match="no board with MAC 34b7da000002"):
            other.of_mac(mac_of(2))
        with pytest.raises(FlashError, match="JoinEUI"):
            issue(other, join_eui=b"\1" * 8)
    assert len(ledger.entries()) == 1


def test_states_come_with_their_times_and_begin_anew_with_each_flashing(ledger: Ledger) -> None:
    dev_eui = issue(ledger).entry.identity.dev_eui
    times = [ledger.of(dev_eui).times["issued"]]
    for state in STATES[1:]:
        assert ledger.unfinished() or state not in STATES[:3]
        entry = ledger.mark(dev_eui, state)
        assert entry.state == state
        times.append(entry.times[state])
    assert times == sorted(times)
    assert ledger.unfinished() == []
    entry = issue(ledger).entry
    assert (entry.state, list(entry.times)) == ("issued", ["issued"])
    assert [it.number for it in ledger.unfinished()] == [1]
    # A label may be printed before a gateway is there.
    ledger.mark(dev_eui, "labelled")
    assert ledger.mark(dev_eui, "written").state == "labelled"
    with pytest.raises(FlashError):
        ledger.mark(dev_eui, "lost")
    with pytest.raises(FlashError, match="no board with DevEUI"):
        ledger.mark(bytes(8), "written")


def test_a_board_that_is_flashed_again_goes_on_with_its_dev_nonce(ledger: Ledger) -> None:
    assert issue(ledger, dev_nonce=None).entry.dev_nonce == 0
    ledger.mark(dev_eui_of(mac_of(1)), "written")
    assert issue(ledger, dev_nonce=None).entry.dev_nonce == SAFE_STEP
    assert 0 < issue(ledger).entry.dev_nonce - SAFE_STEP < 100, "it was not written"
    assert issue(ledger, dev_nonce=SAFE_STEP + 70).entry.dev_nonce == SAFE_STEP + 70
    assert issue(ledger, dev_nonce=3).entry.dev_nonce == SAFE_STEP + 70, "never back"
    assert issue(ledger, 2, dev_nonce=9).entry.dev_nonce == 9, "of a board that was another's"
    known = issue(ledger, dev_nonce=MAX_DEV_NONCE).entry
    with pytest.raises(FlashError, match="used up") as caught:
        issue(ledger)
    assert "new key" in caught.value.remedy
    assert ledger.of_mac(mac_of(1)) == known, "nothing was noted"
    fresh = issue(ledger, new_key=True).entry
    assert fresh.dev_nonce == 0
    assert fresh.identity.dev_eui == known.identity.dev_eui
    assert fresh.identity.app_key != known.identity.app_key


def test_no_dev_eui_is_issued_twice(ledger: Ledger) -> None:
    theirs = dev_eui_of(mac_of(2)).hex()
    assert issue(ledger, 1, euis=EuiRange.parse(f"{theirs}-{theirs}")).entry.number == 1
    with pytest.raises(FlashError, match="issued to another board"):
        issue(ledger, 2)
    with pytest.raises(FlashError, match="used up"):
        issue(ledger, 3, euis=EuiRange.parse(f"{theirs}-{theirs}"))
    assert len(ledger.entries()) == 1
    given = [
        issue(ledger, number, euis=EuiRange.parse(EUIS)).entry.identity.dev_eui.hex()
        for number in (2, 3, 2)
    ]
    assert given == ["70b3d57ed0000000", "70b3d57ed0000001", "70b3d57ed0000000"]


def test_the_listing_has_no_keys(ledger: Ledger) -> None:
    entry = issue(ledger, asset="container/a", name="lid, left", serial="17").entry
    ledger.mark(entry.identity.dev_eui, "written")
    issue(ledger, 2)
    text = listing(ledger.entries())
    lines = text.splitlines()
    assert lines[0].startswith("number,mac,dev_eui,join_eui,board,kind,region,lorawan,asset,name,")
    assert lines[1].startswith("1,34:b7:da:00:00:01,34b7dafffe000001,0000000000000000,heltec")
    assert 'container/a,"lid, left",17,0,1,written,2026-11-22T04:26:' in lines[1]
    assert len(lines) == 3
    for it in ledger.entries():
        assert it.identity.app_key.hex() not in (text + repr(it) + str(it)).lower()


def test_it_says_where_a_board_belongs(ledger: Ledger) -> None:
    dev_eui = issue(ledger).entry.identity.dev_eui
    assert ledger.place(dev_eui, asset="bay/1").asset == "bay/1"
    entry = ledger.place(dev_eui, name="by the gate", serial="7")
    assert (entry.asset, entry.name, entry.serial) == ("bay/1", "by the gate", "7")


def test_where_it_is() -> None:
    assert default_path({"HOME": "/home/a"}) == Path("/home/a/.local/share/stoep/boards.db")
    assert default_path({"HOME": "/h", "XDG_DATA_HOME": "/d"}) == Path("/d/stoep/boards.db")


# Its key.


def test_keys_are_sealed_and_the_key_is_its_owners(ledger: Ledger, path: Path) -> None:
    keys = [issue(ledger, number).entry.identity.app_key for number in range(20)]
    secret = path.with_name("boards.db.key")
    assert [file.stat().st_mode & 0o777 for file in (path, secret)] == [0o600, 0o600]
    assert path.parent.stat().st_mode & 0o077 == 0
    for file in path.parent.iterdir():
        content = file.read_bytes()
        for key in keys:
            assert key not in content
            assert key.hex().encode() not in content.lower()


@pytest.mark.parametrize(
    ("spoil", "said", "remedy"),
    [
        (lambda key: key.unlink(), "is missing", "put the key file back"),
        (lambda key: key.write_text("00" * 32), "is not the key of the ledger", "belongs to it"),
        (lambda key: key.write_text("no key"), "is not a key", "right file"),
        (lambda key: key.write_bytes(b"\xff" * 64), "is not a key", "right file"),
        (lambda key: key.chmod(0o644), "others may read", "chmod 600"),
    ],
)
def test_a_key_that_is_not_right_is_told(spoil: Any, said: str, remedy: str, path: Path) -> None:
    with Ledger(path) as ledger:
        kept = issue(ledger).entry
    secret = path.with_name("boards.db.key")
    copy = secret.read_bytes()
    spoil(secret)
    with pytest.raises(FlashError, match=said) as caught:
        Ledger(path)
    assert remedy in caught.value.remedy
    assert caught.value.exit_code == USAGE
    secret.unlink(missing_ok=True)
    secret.write_bytes(copy)
    secret.chmod(0o600)
    with Ledger(path) as ledger:
        assert ledger.entries() == [kept]


def test_the_key_may_lie_elsewhere(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "stick" / "key"
    secret.parent.mkdir()
    with Ledger(path, secret) as ledger:
        kept = issue(ledger).entry
    assert not path.with_name("boards.db.key").exists()
    with pytest.raises(FlashError, match="is missing"):
        Ledger(path)
    with Ledger(path, secret) as ledger:
        assert ledger.entries() == [kept]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE board SET app_key = (SELECT app_key FROM board WHERE number = 2) WHERE number = 1",
        "UPDATE board SET app_key = zeroblob(44) WHERE number = 1",
    ],
)
def test_a_key_that_was_altered_or_moved_does_not_open(change: str, path: Path) -> None:
    with Ledger(path) as ledger:
        issue(ledger, 1)
        issue(ledger, 2)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(change)
    connection.close()
    with Ledger(path) as ledger, pytest.raises(FlashError, match="was altered"):
        ledger.of_mac(mac_of(1))


# Its file.


def test_what_is_no_ledger_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(FlashError, match="is no ledger"):
        Ledger(path)
    assert path.read_bytes() == before
    path.write_text("a shopping list, longer than a header of SQLite's, that is not a database" * 9)
    with pytest.raises(FlashError, match="not a database"):
        Ledger(path)
    path.unlink()
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(FlashError, match="newer stoep"):
        Ledger(path)


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "boards.db", tmp_path):
        with pytest.raises(FlashError) as caught:
            Ledger(place)
        assert caught.value.exit_code == USAGE
        assert "write" in caught.value.remedy


def test_a_run_that_holds_it_is_waited_for_and_then_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_PATIENCE_S", 0.01)
    with Ledger(path) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FlashError, match="locked") as caught:
            issue(ledger)
        assert "another run" in caught.value.remedy
        other.execute("ROLLBACK")
        other.close()
        assert issue(ledger).entry.number == 1


FULL = """
import resource, signal, sys
from pathlib import Path
from ledger_writer import mac_of
from stoep_tools.flash.errors import FlashError
from stoep_tools.flash.ledger import Ledger

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
ledger = Ledger(path)
board = ("heltec_wifi_lora_32_v3", "bin", "EU868")
ledger.issue(mac_of(1), *board)
limit = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
issued = 1
for number in range(2, 2000):
    try:
        ledger.issue(mac_of(number), *board, name="n" * 2000)
    except FlashError as error:
        assert "nothing was issued" in str(error), error
        assert error.remedy, error
        break
    issued += 1
else:
    raise AssertionError("it was never full")
print(issued)
assert len(ledger.entries()) == issued
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert not ledger.issue(mac_of(number), *board).again
"""


def test_a_full_disk_issues_nothing(path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(ledger_writer.__file__).parent)}
    command = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Ledger(path) as ledger:
        assert len(ledger.entries()) == int(done.stdout) + 1
    assert check(path) == "ok"


def check(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


# Several at once, and their ends.


class Benches:
    """Writers as processes, and what they have said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]

    def start(self, first: int, count: int, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, ledger_writer.__file__, str(self.path), str(first), str(count)]
        return subprocess.Popen([*command, str(self.port), *more], stderr=subprocess.PIPE)

    def accept(self) -> socket.socket:
        self._server.settimeout(120)
        return self._server.accept()[0]

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def benches(path: Path) -> Iterator[Benches]:
    made = Benches(path)
    yield made
    made.close()


def lines(told: socket.socket) -> list[dict[str, Any]]:
    """Return what a writer said until its end; half a line was not said."""
    data = b""
    with told:
        while piece := told.recv(65536):
            data += piece
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def holds(entries: dict[str, Entry], said: list[dict[str, Any]]) -> None:
    for one in said:
        entry = entries[one["mac"]]
        assert entry.identity.dev_eui.hex() == one["dev_eui"]
        assert entry.identity.app_key.hex() == one["app_key"]
        assert entry.dev_nonce >= one["dev_nonce"]
        assert entry.flashed >= one["flashed"]


def by_mac(path: Path) -> dict[str, Entry]:
    with Ledger(path) as ledger:
        found = ledger.entries()
    assert len({entry.identity.dev_eui for entry in found}) == len(found)
    assert len({entry.identity.app_key for entry in found}) == len(found)
    return {entry.mac.hex(): entry for entry in found}


def test_several_runs_at_once_share_a_range(benches: Benches, path: Path) -> None:
    runs = [benches.start(1000 * number, 15, EUIS) for number in range(3)]
    said = [lines(benches.accept()) for _ in runs]
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
    entries = by_mac(path)
    assert len(entries) == 45
    for one in said:
        holds(entries, one)
    euis = sorted(entry.identity.dev_eui.hex() for entry in entries.values())
    assert euis == [f"70b3d57ed00000{number:02x}" for number in range(45)], "none left out"


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 10):
                dev_eui = issue(ledger, number, euis=EuiRange.parse(EUIS)).entry.identity.dev_eui
                ledger.mark(dev_eui, "written")
        except BaseException as error:  # noqa: BLE001 - it is told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    entries = ledger.entries()
    assert len({entry.identity.dev_eui for entry in entries}) == 40
    assert {entry.state for entry in entries} == {"written"}


def test_what_was_said_before_a_kill_is_there(benches: Benches, path: Path) -> None:
    chance = random.Random(5)
    said: list[dict[str, Any]] = []
    for life in range(12):
        run = benches.start(100 * life, 60)
        told = benches.accept()
        data = b""
        # It dies in the middle of what comes after so many octets of what it says.
        until = chance.randrange(1, 40 * LINE_OCTETS)
        while len(data) < until and (piece := told.recv(until - len(data))):
            data += piece
        run.send_signal(signal.SIGKILL)
        with told:
            while piece := told.recv(65536):
                data += piece
        run.communicate(timeout=120)
        said += [json.loads(line) for line in data.split(b"\n")[:-1]]
        entries = by_mac(path)
        holds(entries, said)
        assert check(path) == "ok"
    assert len(said) > 24
    assert len(entries) >= len({one["mac"] for one in said})


def test_what_was_said_before_a_power_cut_is_there(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()
    before = Snapshot(root)
    database = "bench/boards.db"
    with socket.create_server(("127.0.0.1", 0)) as sink:
        port = sink.getsockname()[1]
        command = [sys.executable, ledger_writer.__file__, str(root / database), "0", "12"]
        environ = TracedProcess([*command, str(port)], tmp_path / "trace", cwd=tmp_path)
        with environ as traced:
            said = lines(sink.accept()[0])
            assert traced.wait(120) == 0, (tmp_path / "trace.stderr").read_text()
    recording = record(tmp_path / "trace", before, tmp_path)
    sends = [send for send in recording.sends if send.port == port]
    assert [json.loads(send.data) for send in sends] == said
    claims = [
        Claim(send.start, "issued", frozenset([fact(one)]), lasting=True)
        for send, one in zip(sends, said, strict=True)
    ]
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def read(_: sqlite3.Connection) -> tuple[set[Hashable], list[str]]:
        try:
            entries = by_mac(scratch / database)
        except FlashError as error:
            return set(), [str(error)]
        return {
            (mac, entry.identity.dev_eui.hex(), entry.identity.app_key.hex())
            for mac, entry in entries.items()
        }, []

    report = examine(recording, database, claims, read, scratch, seed=3, other_cuts=150)
    assert report.violations == []
    assert report.claims == len(said) == 22
    assert report.states > report.cuts
    assert report.unsynced_changes > 0


def fact(said: dict[str, Any]) -> tuple[str, str, str]:
    return said["mac"], said["dev_eui"], said["app_key"]

"""The power-cut instrument, proven on a small program: what is right passes, what is not does not.

What SQLite promises is its documentation's: in WAL mode ``synchronous=FULL`` makes a commit
durable and ``NORMAL`` does not; in DELETE mode only ``EXTRA`` syncs the directory after removing
the journal, which is what commits.
"""

from __future__ import annotations

import json
import random
import socket
import sqlite3
import sys
from collections.abc import Hashable
from pathlib import Path

import pytest
import tiny_writer
from mqtt_wire import encode_publish, published
from power_cut import ALL, NONE, Claim, Disk, Report, examine, torn
from syscall_trace import Call, TracedProcess, UnreadableTraceError
from traced_files import Recording, Snapshot, record

ROWS = 40


def _run(way: str, tmp_path: Path, database: str = "tiny.db") -> tuple[Recording, int]:
    root = tmp_path / "state"
    root.mkdir()
    before = Snapshot(root)
    with socket.create_server(("127.0.0.1", 0)) as sink:
        port = sink.getsockname()[1]
        command = [sys.executable, tiny_writer.__file__, way, root / database, str(port), str(ROWS)]
        with TracedProcess(command, tmp_path / "trace", cwd=tmp_path) as traced:
            assert traced.wait(60) == 0, (tmp_path / "trace.stderr").read_text()
    return record(tmp_path / "trace", before, tmp_path), port


def _stored(connection: sqlite3.Connection) -> tuple[set[Hashable], list[str]]:
    if not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
        return set(), []
    return {row[0] for row in connection.execute("SELECT event_id FROM outbox")}, []


def _examine(way: str, tmp_path: Path, database: str = "tiny.db") -> Report:
    recording, port = _run(way, tmp_path, database)
    chunks = [(send.start, send.data) for send in recording.sends if send.port == port]
    claims = []
    for message in published(chunks):
        event_id = json.loads(message.payload)["event_id"]
        claims.append(Claim(message.at, "published", frozenset([event_id]), lasting=True))
    assert len(claims) == ROWS
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return examine(recording, database, claims, _stored, scratch, seed=2, other_cuts=100)


@pytest.mark.parametrize("way", ["full", "extra-delete"])
def test_a_writer_that_waits_for_the_disk_passes(way: str, tmp_path: Path) -> None:
    report = _examine(way, tmp_path)
    assert report.violations == []
    assert report.claims == ROWS
    assert report.cuts > ROWS
    assert report.states > report.cuts  # there were unsynced writes to lose


@pytest.mark.parametrize("way", ["off", "normal", "early", "full-delete"])
def test_a_writer_that_does_not_is_caught(way: str, tmp_path: Path) -> None:
    report = _examine(way, tmp_path)
    lost = [violation for violation in report.violations if "not stored" in violation]
    assert lost
    # A kill would have shown nothing, except where the publish itself came too early.
    after_a_kill = [violation for violation in lost if "all written" in violation]
    assert bool(after_a_kill) == (way == "early")


def test_a_database_in_a_folder_whose_name_was_never_synced_is_lost(tmp_path: Path) -> None:
    report = _examine("full", tmp_path, "new/tiny.db")
    assert any("not stored" in violation for violation in report.violations)


def _traced(code: str, tmp_path: Path) -> Recording:
    root = tmp_path / "state"
    root.mkdir()
    (root / "old").write_bytes(b"before")
    before = Snapshot(root)
    command = [sys.executable, "-c", code]
    with TracedProcess(command, tmp_path / "trace", cwd=root) as traced:
        assert traced.wait(60) == 0, (tmp_path / "trace.stderr").read_text()
    return record(tmp_path / "trace", before, root)


def _end(recording: Recording) -> Disk:
    disk = Disk(recording)
    disk.advance(1 << 61)
    return disk


SYNCED = "os.fsync(f.fileno()); d = os.open('.', os.O_RDONLY); os.fsync(d)"


@pytest.mark.parametrize(
    ("code", "synced", "written"),
    [
        ("open('a', 'w').write('x')", {"old": b"before"}, {"old": b"before", "a": b"x"}),
        # The file was synced, its name was not.
        (
            "f = open('a', 'w'); f.write('x'); f.flush(); os.fsync(f.fileno())",
            {"old": b"before"},
            {"old": b"before", "a": b"x"},
        ),
        # The name was synced, the file was not.
        (
            "open('a', 'w').write('x'); os.fsync(os.open('.', os.O_RDONLY))",
            {"old": b"before", "a": b""},
            {"old": b"before", "a": b"x"},
        ),
        (
            f"f = open('a', 'w'); f.write('x'); f.flush(); {SYNCED}; f.write('y')",
            {"old": b"before", "a": b"x"},
            {"old": b"before", "a": b"xy"},
        ),
        (
            f"f = open('a', 'w'); f.write('x'); f.flush(); {SYNCED}; os.rename('a', 'old')",
            {"old": b"before", "a": b"x"},
            {"old": b"x"},
        ),
        ("os.unlink('old')", {"old": b"before"}, {}),
        ("open('old', 'a').write('!')", {"old": b"before"}, {"old": b"before!"}),
        ("os.truncate(os.open('old', os.O_RDWR), 8)", {"old": b"before"}, {"old": b"before\0\0"}),
        (
            "f = os.open('old', os.O_RDWR); os.pwrite(f, b'XY', 8); os.fdatasync(f)",
            {"old": b"before\0\0XY"},
            {"old": b"before\0\0XY"},
        ),
    ],
)
def test_what_a_cut_leaves(
    code: str, synced: dict[str, bytes], written: dict[str, bytes], tmp_path: Path
) -> None:
    disk = _end(_traced(f"import os; {code}", tmp_path))
    assert disk.files(NONE) == synced
    assert disk.files(ALL) == written


def test_a_torn_write_leaves_whole_sectors_of_before_and_after(tmp_path: Path) -> None:
    code = "import os; os.pwrite(os.open('old', os.O_RDWR), b'n' * 10_000, 0)"
    disk = _end(_traced(code, tmp_path))
    seen = set()
    for seed in range(50):
        left = disk.files(torn(random.Random(seed)))["old"]
        new = bytes(left[at] == ord("n") for at in range(0, len(left), 512))
        seen.add(new)
        assert all(
            left[at : at + 512] in (b"n" * 512, bytes(512), b"n" * (10_000 % 512), b"before")
            or left[at : at + 512] == b"before" + bytes(506)
            for at in range(0, len(left), 512)
        )
    assert len(seen) > 20


def test_a_write_that_overlaps_a_sync_is_not_covered_by_it(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()
    before = Snapshot(root)
    trace = tmp_path / "trace"
    a = "".join(f"\\x{octet:02x}" for octet in str(root / "a").encode())
    folder = "".join(f"\\x{octet:02x}" for octet in str(root).encode())
    trace.write_text(
        f'1     openat(AT_FDCWD, "{a}", O_WRONLY|O_CREAT, 0666) = 3\n'
        f'1 openat(AT_FDCWD, "{folder}", O_RDONLY) = 4\n'
        "1 fsync(4) = 0\n"
        '1 pwrite64(3, "\\x61", 1, 0) = 1\n'
        '1 pwrite64(3, "\\x62", 1, 1 <unfinished ...>\n'
        "2 fdatasync(3 <unfinished ...>\n"
        "1 <... pwrite64 resumed>) = 1\n"
        "2 <... fdatasync resumed>) = 0\n"
        "1 +++ killed by SIGKILL +++\n"
    )
    recording = record(trace, before, tmp_path)
    disk = _end(recording)
    assert disk.files(NONE) == {"a": b"a"}
    assert disk.files(ALL) == {"a": b"ab"}
    early = Disk(recording)
    early.advance(7)  # just before the sync has returned
    assert early.files(NONE) == {"a": b""}


@pytest.mark.parametrize(
    "code",
    [
        "import mmap; f = open('old', 'r+b'); mmap.mmap(f.fileno(), 0)[0] = 1",
        "import os; os.writev(os.open('old', os.O_WRONLY), [b'a'])",
        "import os; f = open('old', 'r+b', buffering=0); f.read(1); f.write(b'x')",
        "import os; os.link('old', 'new')",
        "import os; os.posix_fallocate(os.open('old', os.O_RDWR), 0, 100)",
        "import subprocess; subprocess.run(['true'])",
    ],
)
def test_what_it_cannot_follow_it_refuses(code: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableTraceError):
        _traced(code, tmp_path)


def test_publish_packets_are_found_across_sends_with_the_place_of_their_first_octet() -> None:
    connect_5 = bytes.fromhex("101000044d51545405020000000000000000")
    assert len(connect_5) == 2 + connect_5[1]
    one = b"\x32\x0c\x00\x03a/b\x00\x01\x03\x23\x00\x07x"  # with a topic alias among its properties
    two = encode_publish("c", b"y" * 200, 2)
    plain = list(published([(7, two[:50]), (8, two[50:] + two[:1]), (9, two[1:])]))
    assert [(found.at, found.topic, found.payload) for found in plain] == [
        (7, "c", b"y" * 200),
        (8, "c", b"y" * 200),
    ]
    (found,) = published([(1, connect_5 + one[:3]), (2, one[3:])])
    assert (found.at, found.topic, found.payload) == (1, "a/b", b"x")


def test_calls_keep_their_order() -> None:
    assert Call(1, 2, "fsync", "3", 0).done
    assert not Call(1, 2, "fsync", "3", -1).done
    assert not Call(1, 2, "fsync", "3", None).done

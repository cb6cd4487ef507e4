"""What would be on the disk had the power gone at a given moment, from a trace of system calls.

A kill proves nothing about ``fsync``: the kernel keeps what the program wrote. So a traced run
is played back onto a disk of our own that forgets, as strictly as POSIX lets it:

- What a file holds is durable once an ``fsync`` or ``fdatasync`` of that file has returned that
  began after the write had ended. Writes and changes of length since then may be there or not,
  each for itself, in any combination, and may be torn at sector boundaries. Where a later write
  lies beyond a lost one there are zeros. A sector is old or new, never garbage: SQLite takes that
  for granted too ("powersafe overwrite").
- A directory's entries (create, rename, unlink) are durable only once the *directory* was synced;
  syncing the file is not enough. Until then each change may be there or not. A rename is whole or
  not at all.
- SQLite's ``-shm`` is left out: it is mapped memory, made anew by whoever first opens the database.

``Disk`` gives the state of the directory at any cut; ``examine`` cuts at many, opens each result
with SQLite, and asks whether what the program had by then told the world is there.
"""

from __future__ import annotations

import random
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from traced_files import Entries, Node, Recording, Resize, Sync, Write

__all__ = ["ALL", "NONE", "Claim", "Disk", "Report", "Survival", "examine", "lay_out", "torn"]

SECTORS = (512, 4096)

Change = Write | Resize | Entries
Survival = Callable[[Change], Iterable[Change]]


def NONE(change: Change) -> Iterable[Change]:  # noqa: N802 (it stands where a constant would)
    """Nothing unsynced survives."""
    return ()


def ALL(change: Change) -> Iterable[Change]:  # noqa: N802
    """Everything survives, as after a kill."""
    return (change,)


def torn(chance: random.Random) -> Survival:
    """A random subset survives, writes torn at sectors of 512 or 4096 octets."""
    sector = chance.choice(SECTORS)
    likelihood = chance.choice((0.1, 0.5, 0.9))

    def survive(change: Change) -> Iterator[Change]:
        fate = chance.random()
        if type(change) is not Write or fate < likelihood / 2:
            if fate < likelihood:
                yield change
            return
        at, end = change.offset, change.offset + len(change.data)
        while at < end:
            until = min((at // sector + 1) * sector, end)
            if chance.random() < likelihood:
                piece = change.data[at - change.offset : until - change.offset]
                yield Write(change.start, change.end, change.node, at, piece)
            at = until

    return survive


class Disk:
    """Plays a recording forward; the durable state in full, what is not durable as a list."""

    def __init__(self, recording: Recording) -> None:
        self._root = recording.root
        # Changes count from their start, because the disk may be quick, syncs from their end.
        self._events: list[tuple[int, Change | Sync]] = sorted(
            [(change.start, change) for change in recording.changes]
            + [(sync.end, sync) for sync in recording.syncs],
            key=lambda event: event[0],
        )
        self._next = 0
        self._synced = 0
        self._contents: dict[Node, bytearray] = {}
        self._entries: dict[Node, dict[str, Node]] = {}
        for node in recording.nodes:
            if node.is_folder:
                self._entries[node] = dict(node.first_entries)
            else:
                self._contents[node] = bytearray(node.first_content)
        self._pending: dict[Node, list[Change]] = {}

    def advance(self, at: int) -> None:
        """Go on to just before place ``at`` of the trace; never back."""
        while self._next < len(self._events) and self._events[self._next][0] < at:
            event = self._events[self._next][1]
            self._next += 1
            if type(event) is Sync:
                self._sync(event)
            else:
                self._pending.setdefault(event.node, []).append(event)

    def _sync(self, sync: Sync) -> None:
        self._synced += 1
        pending = self._pending.pop(sync.node, [])
        for change in pending:
            if change.end < sync.start:
                _apply(change, self._contents, self._entries)
        rest = [change for change in pending if change.end >= sync.start]
        if rest:
            self._pending[sync.node] = rest

    @property
    def syncs(self) -> int:
        """How many syncs have returned: as long as it stays, so does what is durable."""
        return self._synced

    @property
    def unsynced(self) -> int:
        """How many changes are not durable."""
        return sum(map(len, self._pending.values()))

    def files(self, survive: Survival) -> dict[str, bytes]:
        """Return the files after a cut here, by path relative to the root."""
        contents: dict[Node, bytearray] = {}
        entries: dict[Node, dict[str, Node]] = {}
        for node, pending in self._pending.items():
            if node.is_folder:
                entries[node] = dict(self._entries[node])
            else:
                contents[node] = bytearray(self._contents[node])
            for change in pending:
                for surviving in survive(change):
                    _apply(surviving, contents, entries)
        found: dict[str, bytes] = {}
        folders = [("", self._root)]
        while folders:
            prefix, folder = folders.pop()
            for name, node in entries.get(folder, self._entries[folder]).items():
                if node.is_folder:
                    folders.append((f"{prefix}{name}/", node))
                else:
                    found[prefix + name] = bytes(contents.get(node, self._contents[node]))
        return found


def _apply(
    change: Change, contents: dict[Node, bytearray], entries: dict[Node, dict[str, Node]]
) -> None:
    if type(change) is Entries:
        folder = entries[change.node]
        for name, node in change.names:
            if node is None:
                folder.pop(name, None)
            else:
                folder[name] = node
        return
    content = contents[change.node]
    if type(change) is Resize:
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
    elif type(change) is Write:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data


@dataclass(frozen=True, slots=True)
class Claim:
    """At place ``at`` the world is told something that rests on ``facts``; ``what`` names it.

    A ``lasting`` claim must hold after every later cut too.
    """

    at: int
    what: str
    facts: frozenset[Hashable]
    lasting: bool = False


@dataclass(slots=True)
class Report:
    """What was tried and what was wrong."""

    cuts: int = 0
    states: int = 0
    unsynced_changes: int = 0  # the largest number at a cut
    claims: int = 0
    violations: list[str] = field(default_factory=list)


def examine(
    recording: Recording,
    database: str,
    claims: list[Claim],
    read: Callable[[sqlite3.Connection], tuple[set[Hashable], list[str]]],
    scratch: Path,
    *,
    seed: int,
    other_cuts: int = 200,
    torn_per_cut: int = 2,
) -> Report:
    """Cut the power at every claim and at ``other_cuts`` random places, and open what is left.

    At each cut a disk with only what was synced; at the random ones also with all that was
    written, and with random parts of it. SQLite must find each sound; ``read`` returns the facts
    in it and what is wrong with them; the facts of every claim made by then must be there.
    """
    chance = random.Random(seed)
    moments = [change.start + 1 for change in recording.changes]
    moments += [sync.end + 1 for sync in recording.syncs]
    others = set(chance.sample(moments, min(other_cuts, len(moments))))
    claims = sorted(claims, key=lambda claim: claim.at)
    starts = [claim.at for claim in claims]
    disk = Disk(recording)
    report = Report(claims=len(claims))
    synced = _Left(set(), [])
    syncs = -1
    for at in sorted(others.union(starts)):
        disk.advance(at)
        report.cuts += 1
        report.unsynced_changes = max(report.unsynced_changes, disk.unsynced)
        if disk.syncs != syncs:  # else it is the same disk as at the last cut
            syncs = disk.syncs
            synced = _left(disk.files(NONE), database, read, scratch)
            report.states += 1
        fates = [("synced only", synced)]
        if at in others and disk.unsynced:
            survivals = [ALL] + [torn(chance) for _ in range(torn_per_cut)]
            for name, survive in zip(
                ("all written", *["torn"] * torn_per_cut), survivals, strict=True
            ):
                fates.append((name, _left(disk.files(survive), database, read, scratch)))
                report.states += 1
        made = claims[: bisect_right(starts, at)]
        due = [claim for claim in made if claim.lasting or claim.at == at]
        for name, left in fates:
            complaints = list(left.problems)
            complaints += [
                f"{claim.what}, but not stored: {sorted(map(repr, claim.facts - left.facts))}"
                for claim in due
                if not claim.facts <= left.facts
            ]
            report.violations += [f"cut at {at}, {name}: {what}" for what in complaints]
    return report


class _Left(NamedTuple):
    facts: set[Hashable]
    problems: list[str]


def _left(
    files: dict[str, bytes],
    database: str,
    read: Callable[[sqlite3.Connection], tuple[set[Hashable], list[str]]],
    scratch: Path,
) -> _Left:
    """Open what a cut left as SQLite does after one."""
    lay_out(files, scratch)
    (scratch / database).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(scratch / database, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")  # this copy need not survive anything
        result = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if result != [("ok",)]:
            return _Left(set(), [f"integrity: {result[0][0]}"])
        return _Left(*read(connection))
    except sqlite3.DatabaseError as error:
        return _Left(set(), [f"cannot be read: {error}"])
    finally:
        connection.close()


def lay_out(files: dict[str, bytes], folder: Path) -> None:
    """Make ``folder`` hold these files and no others."""
    for old in sorted(folder.rglob("*"), reverse=True):
        if old.is_dir():
            old.rmdir()
        else:
            old.unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)

"""Bringing a gateway back from a copy: never over what is there, and no number used twice.

A copy is what ``stoep gateway backup`` wrote, or a database alone, such as the one that was put
aside before a migration.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoep_gateway.config import Config
from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.keeping import archive, passphrase
from stoep_gateway.keeping.archive import Archive, Entry, Manifest
from stoep_gateway.keeping.backup import copy_database
from stoep_gateway.keeping.files import create, give_to_owner, sync_folder
from stoep_gateway.keeping.skipping import skips
from stoep_gateway.publish.messages import utc
from stoep_gateway.store.faults import fatal
from stoep_gateway.store.migrate import latest_version, migrate
from stoep_gateway.store.sealing import Sealer, key_path

__all__ = ["Plan", "Restored", "carry_out", "plan"]

_SQLITE = b"SQLite format 3\0"
_MODE_DATABASE = 0o640
_MODE_SECRET = 0o600
_MAX_COUNTER = 0xFFFF_FFFF
_BESIDE = ("", "-wal", "-shm", "-journal")
_COUNT_DEVICES = (
    "SELECT count(*) FROM (SELECT dev_eui FROM device UNION SELECT dev_eui FROM device_session)"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done; ``manifest`` None: the copy is a database alone.

    ``config_files`` are put where nothing is, ``kept`` are there already with other contents,
    ``replaced`` are moved aside first; ``key`` is where the sealing key will be written.
    """

    copy: Path
    manifest: Manifest | None
    made_utc_ms: int
    schema: int
    database: Path
    key_file: Path
    key: Path | None
    config_files: tuple[tuple[Entry, Path], ...]
    kept: tuple[Path, ...]
    replaced: tuple[Path, ...]
    elsewhere: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, and by how much it skipped."""

    devices: int
    uplinks: int
    f_cnt_down: int
    enough: bool
    forgotten_downlinks: int


def plan(
    copy: Path,
    config_path: Path,
    config: Config | None,
    *,
    replace_config: bool = False,
    with_key: bool = False,
) -> Plan:
    """Look at everything and change nothing.

    ``config`` is what ``config_path`` holds, None: there is no such file, or it shall be replaced.
    Raises `FatalError` for what forbids it.
    """
    if _is_database(copy):
        if config is None:
            raise FatalError(f"{copy}: is a database alone: --config has to name a configuration")
        manifest, schema = None, _schema(copy)
        made_utc_ms = copy.stat().st_mtime_ns // 1_000_000
    else:
        with closing(Archive(copy)) as opened:
            manifest = opened.manifest
            for entry in manifest.files:
                opened.copy(entry.name, None)
        schema, made_utc_ms = manifest.schema, manifest.made_utc_ms
    if schema > latest_version():
        raise StoreCorrupt(
            f"{copy}: its version {schema} is newer than this program's {latest_version()};"
            f" install {'a newer program' if manifest is None else 'stoep ' + manifest.program}"
        )
    database = _database(config_path, config, manifest)
    _refuse_to_overwrite(database)
    key_file = database.with_name(database.name + ".key")
    if config is not None:
        key_file = key_path(config.store, os.environ)
    key = None
    if with_key:
        if manifest is None or manifest.entry(archive.KEY) is None:
            raise FatalError(f"{copy}: has no sealing key; it was made without --with-key")
        if key_file.exists():
            raise FatalError(f"{key_file}: a key is there already; move it away, or use it")
        key = key_file
    files, kept, replaced, elsewhere = _configuration(
        copy, config_path, manifest, replace=replace_config
    )
    return Plan(
        copy,
        manifest,
        made_utc_ms,
        schema,
        database,
        key_file,
        key,
        files,
        kept,
        replaced,
        elsewhere,
    )


def carry_out(wanted: Plan, ask: Callable[[], str]) -> Restored:
    """Do it; ``ask`` returns the key's passphrase. Raises `FatalError`; then nothing is changed,

    or, for a disk that filled up in between, configuration files were put back and no database.
    """
    try:
        with ExitStack() as stack:
            wanted.database.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(wanted.database))
            _refuse_to_overwrite(wanted.database)
            opened = (
                None
                if wanted.manifest is None
                else stack.enter_context(closing(Archive(wanted.copy)))
            )
            key = None if wanted.key is None else _opened_key(opened, ask())
            partial = stack.enter_context(_partial(wanted.database))
            _extract(wanted, opened, partial)
            check_value, restored = _prepare(wanted, partial)
            if key is not None and Sealer(key).check_value != check_value:
                raise FatalError(f"{wanted.copy}: its key is not the one that sealed its database")
            if opened is not None:
                for entry, path in wanted.config_files:
                    _put_config(opened, entry, path, aside=path in wanted.replaced)
            if key is not None:
                assert wanted.key is not None
                _put(wanted.key, key.hex().encode() + b"\n", _MODE_SECRET)
            _into_place(partial, wanted.database, _MODE_DATABASE)
    except OSError as error:
        where = error.filename or wanted.database
        raise FatalError(f"{where}: {error.strerror}") from error
    return restored


# Looking.


def _is_database(copy: Path) -> bool:
    try:
        with copy.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise FatalError(f"{copy}: cannot be read: {error.strerror}") from error


def _schema(copy: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as it:
            return int(it.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        raise fatal(copy, error) from error


def _database(config_path: Path, config: Config | None, manifest: Manifest | None) -> Path:
    """Return where the database will be: as configured, else as far from the file as it was."""
    if config is not None:
        return config.store.path
    assert manifest is not None
    was, folder = Path(manifest.database), Path(manifest.config).parent
    if was.is_relative_to(folder):
        return config_path.absolute().parent / was.relative_to(folder)
    return was


def _refuse_to_overwrite(database: Path) -> None:
    there = [path for end in _BESIDE if (path := Path(f"{database}{end}")).exists()]
    if there:
        moves = "; ".join(f"mv {path} {path}.old" for path in there)
        raise FatalError(
            f"{database}: a database is there, and is not overwritten. Stop the gateway and move it"
            f" away: {moves}"
        )


def _configuration(
    copy: Path, config_path: Path, manifest: Manifest | None, *, replace: bool
) -> tuple[tuple[tuple[Entry, Path], ...], tuple[Path, ...], tuple[Path, ...], tuple[Entry, ...]]:
    """Return what to put where, what stays although it differs, what is moved aside, the rest."""
    if manifest is None:
        return (), (), (), ()
    folder = config_path.absolute().parent
    main = archive.CONFIG + Path(manifest.config).name
    files, kept, replaced, elsewhere = [], [], [], []
    for entry in manifest.files:
        if entry.name in (archive.DATABASE, archive.KEY):
            continue
        inside = Path(entry.name.removeprefix(archive.CONFIG))
        if inside.is_absolute() or ".." in inside.parts or inside == Path(entry.name):
            elsewhere.append(entry)
            continue
        path = config_path.absolute() if entry.name == main else folder / inside
        if not path.exists():
            files.append((entry, path))
        elif not _is_same(copy, entry, path):
            if replace:
                files.append((entry, path))
                replaced.append(path)
            else:
                kept.append(path)
    return tuple(files), tuple(kept), tuple(replaced), tuple(elsewhere)


def _is_same(copy: Path, entry: Entry, path: Path) -> bool:
    with closing(Archive(copy)) as opened:
        return path.read_bytes() == opened.read(entry.name)


# Doing.


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Keep a gateway from starting on a database meanwhile."""
    with Path(f"{database.resolve()}.lock").open("w") as file:
        give_to_owner(Path(file.name))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FatalError(f"{database}: a gateway has it open; stop it first") from None
        yield


@contextmanager
def _partial(database: Path) -> Iterator[Path]:
    partial = database.with_name(database.name + ".partial")
    try:
        yield partial
    finally:
        for end in _BESIDE:
            with suppress(OSError):
                Path(f"{partial}{end}").unlink(missing_ok=True)


def _opened_key(opened: Archive | None, phrase: str) -> bytes:
    assert opened is not None
    return passphrase.unlock(opened.read(archive.KEY), phrase)


def _extract(wanted: Plan, opened: Archive | None, partial: Path) -> None:
    if opened is None:
        copy_database(wanted.copy, partial)
        return
    with create(partial) as file:
        opened.copy(archive.DATABASE, file)


def _prepare(wanted: Plan, partial: Path) -> tuple[bytes | None, Restored]:
    """Check a database, bring it to this program's version, and have its counters skip."""
    now_utc_ms = time.time_ns() // 1_000_000
    skip = skips(now_utc_ms - wanted.made_utc_ms)
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:

            def one(query: str) -> Any:
                return connection.execute(query).fetchone()[0]

            if one("PRAGMA user_version") != wanted.schema:
                raise StoreCorrupt(
                    f"{wanted.copy}: its database is of another version than it says"
                )
            if (found := one("PRAGMA integrity_check(1)")) != "ok":
                raise StoreCorrupt(f"{wanted.copy}: its database is damaged: {found}")
            migrate(connection, partial, copy_first=False)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "UPDATE frame_counter SET f_cnt_down = min(f_cnt_down + ?, ?)",
                (skip.f_cnt_down, _MAX_COUNTER),
            )
            # Most have been sent since; what a device was told days ago may be wrong today.
            forgotten = connection.execute("DELETE FROM downlink").rowcount
            for table in ("device_session", "downlink"):  # their numbers name events
                (last,) = connection.execute(
                    "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,)
                ).fetchone()
                connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
                connection.execute(
                    "INSERT INTO sqlite_sequence VALUES (?, ?)", (table, last + skip.numbers)
                )
            connection.execute(
                "INSERT INTO restored SELECT ?, ?, ? + max("
                " (SELECT ifnull(max(app_nonce), 0) FROM dev_nonce),"
                " (SELECT ifnull(max(app_nonce), 0) FROM restored))",
                (now_utc_ms, wanted.made_utc_ms, skip.numbers),
            )
            connection.execute("COMMIT")
            sealing = connection.execute("SELECT check_value FROM sealing").fetchone()
            return None if sealing is None else sealing[0], Restored(
                one(_COUNT_DEVICES),
                one("SELECT count(*) FROM uplink"),
                skip.f_cnt_down,
                skip.enough,
                forgotten,
            )
    except sqlite3.Error as error:
        raise fatal(partial, error) from error


def _put_config(opened: Archive, entry: Entry, path: Path, *, aside: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if aside:
        path.replace(path.with_name(f"{path.name}.before-{utc(time.time_ns() // 1_000_000)}"))
    _put(path, opened.read(entry.name), (entry.mode or _MODE_SECRET) & 0o777)
    if os.geteuid() == 0 and entry.group is not None:
        with suppress(LookupError):  # no such group here
            shutil.chown(path, group=entry.group)


def _put(path: Path, data: bytes, mode: int) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        with create(partial) as file:
            file.write(data)
        _into_place(partial, path, mode)
    finally:
        partial.unlink(missing_ok=True)


def _into_place(partial: Path, path: Path, mode: int) -> None:
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.chmod(mode)
    give_to_owner(partial)
    partial.rename(path)
    sync_folder(path.parent)

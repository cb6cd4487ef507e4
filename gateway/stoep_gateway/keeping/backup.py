"""A copy of the gateway in one file, made while it runs or while it does not."""

from __future__ import annotations

import datetime
import io
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from stoep_gateway.config import Config, named_paths
from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.keeping import archive, passphrase, uplinks
from stoep_gateway.keeping.archive import Manifest
from stoep_gateway.keeping.files import create, replacing
from stoep_gateway.publish.messages import utc
from stoep_gateway.store import copied_mark
from stoep_gateway.store.faults import fatal
from stoep_gateway.store.sealing import Sealer

__all__ = ["back_up", "copy_database", "default_name"]

_STEP = 1 << 20
_SYNC_STEPS = 4  # little waits to be written when an uplink is to be
_LONGEST_PAUSE_S = 1.0


def back_up(config: Config, target: Path, key: tuple[bytes, str] | None = None) -> Manifest:
    """Copy database and configuration into ``target``, with a key and its passphrase if given.

    Raises `FatalError`; then there is no such file, or what was there before.
    """
    database = target.with_name(target.name + ".partial.db")
    try:
        made_utc_ms = time.time_ns() // 1_000_000
        schema, check_value = copy_database(config.store.path, database)
        if key is not None and check_value not in (None, Sealer(key[0]).check_value):
            raise FatalError(f"the key is not the one that sealed {config.store.path}")
        with replacing(target) as file:
            writer = archive.Writer(file)
            with database.open("rb") as source:
                writer.add(archive.DATABASE, source, pause=_Pause(file.fileno()))
            for name, path in _configuration(config):
                writer.add(name, io.BytesIO(path.read_bytes()), path)
            if key is not None:
                writer.add(archive.KEY, io.BytesIO(passphrase.lock(*key)))
            manifest = writer.finish(
                program=version("stoep"),
                schema=schema,
                site=config.site,
                made_utc=utc(made_utc_ms),
                made_utc_ms=made_utc_ms,
                config=os.path.abspath(config.path),  # noqa: PTH100 (not where links lead)
                database=os.path.abspath(config.store.path),  # noqa: PTH100
                check_value=None if check_value is None else check_value.hex(),
                left_out=tuple(map(str, _left_out(config))),
            )
        with suppress(OSError):  # for the doctor; who makes a copy may not write there
            copied_mark(config.store.path).touch(0o600)
    except OSError as error:
        raise FatalError(
            f"{error.filename or target}: {error.strerror}; nothing was kept"
        ) from None
    finally:
        with suppress(OSError):
            database.unlink(missing_ok=True)
    return manifest


def copy_database(source: Path, target: Path) -> tuple[int, bytes | None]:
    """Copy a database as it is at this moment; return its version and the check value of its key.

    ``source`` may be in use: a reader's snapshot does not change, and holds nobody up. Raises
    `FatalError`, also for a database that is damaged.
    """
    try:
        create(target).close()
        with (
            uplinks.connect(source) as reader,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
            target.open("rb") as written,
        ):
            # Without a transaction of its own the copying would begin anew after each commit.
            reader.execute("BEGIN")
            (schema,) = reader.execute("PRAGMA user_version").fetchone()
            if not schema:
                raise StoreCorrupt(f"{source}: no gateway has written it")
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute("PRAGMA journal_mode = OFF").fetchall()
            pause = _Pause(written.fileno())
            try:
                (page,) = reader.execute("PRAGMA page_size").fetchone()
                reader.backup(copy, pages=_STEP // page, progress=lambda *_: pause())
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # it needs no other file
                (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
                sealing = copy.execute("SELECT check_value FROM sealing").fetchone()
            except sqlite3.OperationalError as error:
                raise fatal(target, error) from error
            if found != "ok":
                raise StoreCorrupt(f"{source}: is damaged: {found}; restore an older copy")
            os.fsync(written.fileno())
    except OSError as error:
        raise FatalError(f"{error.filename or target}: {error.strerror}") from error
    return schema, None if sealing is None else sealing[0]


def _left_out(config: Config) -> list[Path]:
    """Return the files that the configuration names and a copy does not hold: secrets, mostly."""
    known = {config.store.path, config.control.path, config.planning.distances}
    known.update(it.path for it in config.asset_files)
    return sorted({path for _, path in named_paths(config)} - known)


def default_name(site: str) -> str:
    """Return what a copy that is made now may be called."""
    return f"stoep-{site}-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}.zip"


def _configuration(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield each file of the configuration with its name in the archive."""
    folder = Path(os.path.abspath(config.path)).parent  # noqa: PTH100 (not where links lead)
    files = [*config.files, *(it.path for it in config.asset_files)]
    if config.planning.distances is not None:
        files.append(config.planning.distances)
    for number, path in enumerate(dict.fromkeys(files)):
        inside = Path(os.path.abspath(path))  # noqa: PTH100
        if inside.is_relative_to(folder):
            yield archive.CONFIG + str(inside.relative_to(folder)), path
        else:
            yield f"elsewhere/{number}-{path.name}", path


class _Pause:
    """Gives way after each megabyte for as long as it took, and has it written before the next.

    So an uplink's commit finds the disk with little to do.
    """

    def __init__(self, descriptor: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self._descriptor = descriptor
        self._sleep = sleep
        self._steps = 0
        self._since_s = time.monotonic()

    def __call__(self) -> None:
        self._steps += 1
        if self._steps % _SYNC_STEPS == 0:
            os.fdatasync(self._descriptor)
        self._sleep(min(time.monotonic() - self._since_s, _LONGEST_PAUSE_S))
        self._since_s = time.monotonic()

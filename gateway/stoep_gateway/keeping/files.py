"""Files that are there whole, for their owner alone, and outlive a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["create", "give_to_owner", "replacing", "sync_folder"]

_MODE = 0o600


def create(path: Path) -> IO[bytes]:
    """Open a new file that nobody else may read, in the place of one that was left over."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE), "w+b")


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Give a new file that takes the place of ``target`` when all is written."""
    partial = target.with_name(target.name + ".partial")
    try:
        with create(partial) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        sync_folder(target.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def give_to_owner(path: Path) -> None:
    """Give a file that root makes to whom its folder belongs: the gateway's user, under systemd."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Keeps what `roads` has found in files beside the store: a town's roads take seconds to read."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stoep_gateway.planning.road_tags import Lorry
from stoep_gateway.planning.roads_model import Found, Spot
from stoep_gateway.planning.ways import RoadsError

__all__ = ["matrix"]

_KEPT = 4  # sets of places, the last ones used
_MOST_OCTETS = 300_000_000  # of a map: minutes, and gigabytes of memory
_FORM = 1  # to be raised when another release would find something else


def matrix(
    file: Path, spots: Sequence[Spot], lorry: Lorry, *, left: bool, folder: Path | None
) -> Found:
    """Do as ``roads.matrix``, and keep the result in ``folder`` until ``file`` changes.

    A file that is kept is whole or is not used; without permission to write, nothing is kept.
    """
    try:
        stat = file.stat()
    except OSError as error:
        raise RoadsError(f"cannot be read: {error.strerror}") from error
    if stat.st_size > _MOST_OCTETS:
        raise RoadsError(f"has more than {_MOST_OCTETS // 10**6} MB: cut the town out of it")
    asked = (_FORM, str(file), stat.st_mtime_ns, stat.st_size, lorry, left, *spots)
    name = f"roads-{hashlib.sha256(repr(asked).encode()).hexdigest()[:32]}.npz"
    found = None if folder is None else _kept(folder / name, len(spots))
    if found is None:
        from stoep_gateway.planning import roads  # noqa: PLC0415 (scipy, which takes half a second)

        found = roads.matrix(file, spots, lorry, left=left)
        if folder is not None:
            with contextlib.suppress(OSError):
                _keep(folder / name, found)
    return found


def _kept(file: Path, count: int) -> Found | None:
    try:
        with file.open("rb") as octets, np.load(octets, allow_pickle=False) as kept:
            found = Found(kept["metres"], kept["seconds"], kept["off_m"], kept["across"])
        with contextlib.suppress(OSError):
            os.utime(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # there is none, or half of one
    good = (
        found.metres.shape == found.seconds.shape == (count, count)
        and found.off_m.shape == found.across.shape == (count,)
        and found.metres.dtype == found.seconds.dtype == np.dtype(np.int32)
        and found.off_m.dtype == np.dtype(np.float64)
        and found.across.dtype == np.dtype(np.bool_)
    )
    return found if good else None


def _keep(file: Path, found: Found) -> None:
    """Write a file that is there as a whole or not at all, and remove those not used of late."""
    descriptor, name = tempfile.mkstemp(".part", "roads-", file.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            np.savez_compressed(
                out,
                metres=found.metres,
                seconds=found.seconds,
                off_m=found.off_m,
                across=found.across,
            )
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    last = sorted(file.parent.glob("roads-*.npz"), key=_used_ns, reverse=True)
    # A part may be what a run that was ended has left; one at work would only keep nothing.
    for old in (*last[_KEPT:], *file.parent.glob("roads-*.part")):
        old.unlink(missing_ok=True)


def _used_ns(file: Path) -> float:
    try:
        return file.stat().st_mtime_ns
    except OSError:  # another run has removed it
        return -math.inf

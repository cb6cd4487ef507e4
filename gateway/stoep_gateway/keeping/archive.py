"""The file that ``stoep gateway backup`` writes: a ZIP archive with a manifest.

``manifest.json`` tells what the rest is, with sizes and SHA-256; ``stoep.db`` is the database,
``config/…`` the configuration's files, ``key.json`` the sealing key under a passphrase.
"""

from __future__ import annotations

import grp
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from stoep_gateway.errors import FatalError

__all__ = ["CONFIG", "DATABASE", "FORMAT", "KEY", "Archive", "Entry", "Manifest", "Writer"]

FORMAT = 1
DATABASE = "stoep.db"
KEY = "key.json"
CONFIG = "config/"
_MANIFEST = "manifest.json"
_MANIFEST_OCTETS = 4 * 1024 * 1024
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive; ``path``, ``mode`` and ``group`` tell of a file as it was."""

    name: str
    octets: int
    sha256: str
    path: str | None = None
    mode: int | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the archive is of. ``check_value`` recognises the sealing key, None: nothing is sealed.

    ``left_out`` are files that the configuration names and the archive does not hold.
    """

    format: int
    program: str
    schema: int
    site: str
    made_utc: str
    made_utc_ms: int
    config: str
    database: str
    check_value: str | None
    left_out: tuple[str, ...]
    files: tuple[Entry, ...]

    def entry(self, name: str) -> Entry | None:
        """Return what is known of a file of the archive, None: it is not in it."""
        return next((it for it in self.files if it.name == name), None)


class _Versions(BaseModel):
    format: int
    program: str


class Writer:
    """Writes an archive into a new, open file; `finish` is the last call."""

    def __init__(self, file: IO[bytes]) -> None:
        # Level 1: a third of the octets for a tenth of the processor's time of level 9.
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._entries: list[Entry] = []

    def add(
        self,
        name: str,
        source: IO[bytes],
        was: Path | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """Copy an open file, that ``was`` there, into the archive.

        ``pause`` is called after each megabyte.
        """
        digest, octets = hashlib.sha256(), 0
        with self._zip.open(name, "w", force_zip64=True) as member:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                octets += len(chunk)
                member.write(chunk)
                pause()
        entry = Entry(name, octets, digest.hexdigest())
        if was is not None:
            facts = was.stat()
            entry = replace(
                entry, path=str(was.absolute()), mode=facts.st_mode & 0o777, group=_group(facts)
            )
        self._entries.append(entry)

    def finish(self, **values: Any) -> Manifest:
        """Write the manifest with these values beside ``format`` and ``files``, and end."""
        manifest = Manifest(format=FORMAT, files=tuple(self._entries), **values)
        self._zip.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")
        self._zip.close()
        return manifest


class Archive:
    """An archive to be read; raises `FatalError` for what is none, or is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
            info = self._zip.getinfo(_MANIFEST)
            if info.file_size > _MANIFEST_OCTETS:
                raise self._damaged("its manifest is too large")
            text = self._zip.read(info)
            if (values := _Versions.model_validate_json(text)).format > FORMAT:
                raise FatalError(
                    f"{path}: was made by a newer program, {values.program}; install that one"
                )
            self.manifest = TypeAdapter(Manifest).validate_json(text, strict=True)
        except OSError as error:
            raise FatalError(f"{path}: cannot be read: {error.strerror}") from error
        except ValidationError:
            raise self._damaged("its manifest is not ours") from None
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
            raise self._damaged(str(error)) from None

    def copy(self, name: str, target: IO[bytes] | None) -> None:
        """Copy a file of the archive into an open one, or only check it. Raises `FatalError`."""
        entry = self.manifest.entry(name)
        if entry is None:
            raise self._damaged(f"it has no {name}")
        digest, octets = hashlib.sha256(), 0
        try:
            with self._zip.open(name) as member:
                while chunk := member.read(_CHUNK):
                    digest.update(chunk)
                    octets += len(chunk)
                    if octets > entry.octets:
                        break
                    if target is not None:
                        target.write(chunk)
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError) as error:
            raise self._damaged(str(error)) from None
        if (octets, digest.hexdigest()) != (entry.octets, entry.sha256):
            raise self._damaged(f"{name} is not what was written")

    def read(self, name: str) -> bytes:
        """Return a small file of the archive. Raises `FatalError`."""
        target = io.BytesIO()
        self.copy(name, target)
        return target.getvalue()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _damaged(self, why: str) -> FatalError:
        return FatalError(f"{self._path}: is no copy of a gateway, or damaged: {why}")


def _group(facts: os.stat_result) -> str | None:
    try:
        return grp.getgrgid(facts.st_gid).gr_name
    except KeyError:
        return None

"""What the machine that the gateway runs on tells: clock, disk, card, files, the last copy.

The service's sandbox hides some of it from the gateway, and permissions some from whoever asks:
None is what cannot be seen from here.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from stoep_gateway.config import Config, named_paths
from stoep_gateway.doctor.facts import FileFacts, MachineFacts, StorageFacts
from stoep_gateway.store import copied_mark
from stoep_gateway.system_time import kernel_is_synchronised

__all__ = ["look"]

_SYS = Path("/sys")
_SECTOR = 512
_SECRETS = re.compile(r"(password_file|token_file|key_file|client_key|tls_key)$")
_OTHERS = 0o007
_CONNECT_S = 3.0
_ENOUGH_S = 3600  # of uptime, to speak of a day


def look(database: Path, config: Config | None = None, *, sys: Path = _SYS) -> MachineFacts:
    """Return what can be seen; with ``config`` the files that it names, too."""
    free, size = _disk(database.parent)
    return MachineFacts(
        clock_synchronised=kernel_is_synchronised(),
        disk_free_octets=free,
        disk_octets=size,
        database_octets=_size(database),
        storage=_storage(database, sys),
        backup_s=_age_s(copied_mark(database)),
        files=None if config is None else tuple(_files(config)),
        context_broker=None if config is None else _context_broker(config),
    )


def _disk(folder: Path) -> tuple[int | None, int | None]:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None, None
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _size(database: Path) -> int | None:
    try:
        return database.stat().st_size
    except OSError:
        return None


def _age_s(file: Path) -> float | None:
    try:
        return max(0.0, time.time() - file.stat().st_mtime)
    except OSError:
        return None


def _storage(database: Path, sys: Path) -> StorageFacts | None:
    """Return the drive that a file is on; None: none that can be told of."""
    try:
        number = (database if database.exists() else database.parent).stat().st_dev
        found = (sys / f"dev/block/{os.major(number)}:{os.minor(number)}").resolve(strict=True)
        drive = found.parent if (found / "partition").exists() else found
        sectors = int((drive / "size").read_text())
        written = int((drive / "stat").read_text().split()[6]) * _SECTOR
    except (OSError, ValueError, IndexError):
        return None
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return StorageFacts(
        drive.name,
        sectors * _SECTOR,
        None if up_s < _ENOUGH_S else round(written * 86_400 / up_s),
        *_wear(drive / "device"),
    )


def _wear(device: Path) -> tuple[int | None, int | None]:
    """Return the used life in per cent and the "pre end of life" state of an eMMC (JESD84-B51).

    Ordinary SD cards have neither.
    """
    try:
        used = max(int(word, 16) for word in (device / "life_time").read_text().split())
        state = int((device / "pre_eol_info").read_text(), 16)
    except (OSError, ValueError):
        return None, None
    return (10 * min(used, 10) if used else None), state or None


def _context_broker(config: Config) -> str:
    """Return why the context broker is not reached; "" if it is, or there is none."""
    if config.ngsi_ld is None or config.ngsi_ld.url is None:
        return ""
    url = urlsplit(config.ngsi_ld.url)
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), _CONNECT_S).close()
    except (OSError, ValueError) as error:
        return f"{config.ngsi_ld.url}: {getattr(error, 'strerror', None) or error}"
    return ""


def _files(config: Config) -> Iterator[FileFacts]:
    """Yield what is wrong with the files that a configuration names."""
    for key, path in named_paths(config):
        if key.endswith(("_file", "_cert", "_key", "_ca")):
            yield from _file(path, key, secret=bool(_SECRETS.search(key)))
    if config.store.key_file is None:
        beside = config.store.path.with_name(config.store.path.name + ".key")
        if beside.exists():
            yield from _file(beside, "key_file", secret=True)
    if any(it.app_key or it.nwk_s_key for it in config.devices):
        for path in config.files:
            yield from _file(path, "devices' keys", secret=True)


def _file(path: Path, what: str, *, secret: bool) -> Iterator[FileFacts]:
    try:
        found = path.stat()
    except FileNotFoundError:
        yield FileFacts(str(path), what, "missing")
        return
    except OSError:  # whoever asks may not look there, though the gateway may
        return
    if not found.st_size:
        yield FileFacts(str(path), what, "empty")
    elif secret and found.st_mode & _OTHERS:
        yield FileFacts(str(path), what, "readable")

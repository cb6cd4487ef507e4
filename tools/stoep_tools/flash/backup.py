"""Reads a board back, updates it, resets it, backs it up and restores it; no image is flashed.

An update never mixes two firmwares: the new one is written whole into a folder of its own, in
which nothing runs, and becomes the board's with the one rename that replaces main.py. Before it the
board runs the old firmware, after it the new one; what is left over then is removed, by the next
update if not by this. main.py says which folder that is, by `sys.path[0]`, which costs a wake
nothing; a board as flashed has it in the root.

DevNonces never go back, and no session is ever brought back: its counters would be used twice.
"""

import io
import json
import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from stoep_firmware.store import Store

from . import sensors
from .errors import BOARD_FAILED, USAGE, FlashError
from .identity import session_record
from .repl import BoardError, Repl

CONFIG = "/config.json"
_SESSIONS = ("/session.0", "/session.1")
_KEYS = ("app_key", "nwk_s_key", "app_s_key")
_HIDDEN = "(hidden)"

_PACKAGES = ("stoep_firmware", "stoep_protocol")
_FOLDERS = ("", "/stoep.a", "/stoep.b")  # where a firmware may be; "" as it is flashed
_SWITCH = 'import sys\n\nsys.path[0] = "{}"\n'
_SWITCHED = re.compile(rb'^sys\.path\[0\] = "(/stoep\.[ab])"$', re.M)
_SPARE = 16 * 1024  # left free of what an update takes

# What a board is, as against how it behaves; a factory reset keeps only these.
_IDENTITY = (
    *("kind", "dev_eui", "join_eui", "app_key", "region", "lorawan", "board"),
    *sensors.NAMES,
)
_INTERVAL_S = 3600

Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Installed:
    """The firmware of a board: in which folder it runs, its hashes by path below that folder.

    `leftovers`: files of an update that has not come to its end.
    """

    folder: str
    hashes: Mapping[str, str]
    leftovers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did, by path."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]


def _no_progress(_done: int, _all: int) -> None:
    pass


# ---- configuration ------------------------------------------------------------------------------


def read_config(repl: Repl, *, keys: bool = False) -> dict[str, Any]:
    """Return config.json; unless `keys` are asked for they are hidden."""
    data = repl.read(CONFIG)
    if data is None:
        raise FlashError("the board has no config.json", "give it an identity: stoep flash")
    try:
        config = json.loads(data)
        if not isinstance(config, dict):
            raise TypeError
    except (ValueError, TypeError):
        # What it says instead may be a key.
        raise FlashError(
            "the board's config.json is damaged", "flash it again: stoep flash"
        ) from None
    if not keys:
        config = {name: _HIDDEN if name in _KEYS else value for name, value in config.items()}
    return config


def save_config(repl: Repl, path: Path) -> None:
    """Write config.json with its keys into a new file that only its owner may read."""
    _write_private(path, json.dumps(read_config(repl, keys=True), indent=2).encode() + b"\n")


# ---- update -------------------------------------------------------------------------------------


def installed(repl: Repl) -> Installed:
    """Look what firmware a board has."""
    main = repl.read("/main.py") or b""
    folder = _folder_of(main)
    found = repl.list()
    ours = [path for path in found if _tree(path) == folder and not path.endswith(".new")]
    hashes = {path[len(folder) + 1 :]: octets for path, octets in repl.hashes(ours).items()}
    leftovers = [path for path in found if _tree(path) not in (None, folder)]
    leftovers += [path for path in found if path.endswith(".new")]
    return Installed(folder, hashes, tuple(sorted(set(leftovers))))


def update(
    repl: Repl,
    files: Mapping[str, bytes],
    progress: Progress = _no_progress,
    *,
    finish: str = "stoep flash update",
) -> Updated:
    """Give a board the firmware `files` (as `filesystem.firmware_files` makes them), whole.

    Configuration, identity and session stay. Only what differs goes over the line. `finish` is
    the command that a person is told when this does not come to its end.
    """
    what = "still runs the firmware it had"
    try:
        now = installed(repl)
        tree = {path: data for path, data in files.items() if "/" in path}
        wanted = {path: sha256(data).hexdigest() for path, data in tree.items()}
        folder = now.folder
        written: list[str] = []
        kept: list[str] = []
        if now.hashes != wanted:
            folder = next(name for name in _FOLDERS[1:] if name != now.folder)
            written, kept = _write_tree(repl, now, folder, tree, wanted, progress)
        for path in sorted(files):
            if "/" not in path and path != "main.py" and repl.read(f"/{path}") != files[path]:
                repl.write(f"/{path}", files[path])
                written.append(path)
        main = (_SWITCH.format(folder) if folder else "").encode() + files["main.py"]
        if repl.read("/main.py") != main:
            what = "runs the firmware it had or the new one, each whole"
            repl.write("/main.py", main)
            written.append("main.py")
        what = "runs the new firmware, with rests of the old one beside it"
        removed = installed(repl).leftovers
        for path in removed:
            repl.remove(path)
    except FlashError as problem:
        raise FlashError(
            f"{problem.message}; the board {what}",
            f"{problem.remedy}; then finish it: {finish}" if problem.remedy else finish,
            problem.exit_code,
        ) from problem
    return Updated(tuple(written), tuple(kept), removed)


def _write_tree(
    repl: Repl,
    now: Installed,
    folder: str,
    tree: Mapping[str, bytes],
    wanted: Mapping[str, str],
    progress: Progress,
) -> tuple[list[str], list[str]]:
    """Write a firmware into a folder in which none runs; returns what was written and copied."""
    there = repl.hashes([path for path in repl.list() if _tree(path) == folder])
    for path in there:
        if wanted.get(path[len(folder) + 1 :]) != there[path]:
            repl.remove(path)  # of an update before
    missing = [path for path in tree if there.get(f"{folder}/{path}") != wanted[path]]
    same = [path for path in missing if now.hashes.get(path) == wanted[path]]
    written = [path for path in missing if path not in same]
    free, _ = repl.free()
    octets = sum(len(tree[path]) for path in missing)
    if octets + _SPARE > free:
        raise FlashError(
            f"the update takes {octets} octets, {free} are free on the board",
            "remove what is not ours, or flash the board anew: stoep flash",
            BOARD_FAILED,
        )
    octets = sum(len(tree[path]) for path in written)
    done = 0
    copied = {path: _copy(repl, f"{now.folder}/{path}", f"{folder}/{path}") for path in same}
    written += [path for path in same if not copied[path]]
    for path in written:
        before = done
        repl.write(
            f"{folder}/{path}",
            tree[path],
            lambda part, _all, before=before: progress(before + part, octets),  # type: ignore[misc]
        )
        done += len(tree[path])
    found = repl.hashes([f"{folder}/{path}" for path in tree])
    if found != {f"{folder}/{path}": octets for path, octets in wanted.items()}:
        raise FlashError(
            "what was written cannot be read back", "run the same command again", BOARD_FAILED
        )
    return written, [path for path in same if path not in written]


def _copy(repl: Repl, source: str, target: str) -> bool:
    return bool(repl.value(f"_s_copy({source!r}, {target!r})", 30))


def _folder_of(main: bytes) -> str:
    found = _SWITCHED.search(main)
    return found[1].decode() if found else ""


def _tree(path: str) -> str | None:
    """Return the folder of a firmware that a file belongs to, None if it is not of one."""
    for folder in _FOLDERS:
        rest = path[len(folder) :]
        if path.startswith(folder) and rest.startswith(tuple(f"/{name}/" for name in _PACKAGES)):
            return folder
    return None


# ---- factory reset ------------------------------------------------------------------------------


def factory_reset(repl: Repl, *, finish: str = "stoep flash reset") -> int:
    """Forget how the board was configured, and its session; returns its next DevNonce.

    It keeps who it is. What was configured over the air is told to it again when it has joined.
    """
    what = "is as it was"
    try:
        config = read_config(repl, keys=True)
        dev_nonce = _dev_nonce(_records(repl), _rtc(repl))
        record = session_record(dev_nonce)
        bare = {name: config[name] for name in _IDENTITY if name in config}
        bare["interval_s"] = _INTERVAL_S
        what = "has forgotten only a part"
        repl.run("import machine\nmachine.RTC().memory(b'')")
        repl.write(CONFIG, json.dumps(bare, separators=(",", ":")).encode() + b"\n")
        # The DevNonce first: as long as the other record is there, that one counts.
        repl.write(_SESSIONS[0], record)
        repl.remove(_SESSIONS[1])
    except FlashError as problem:
        raise FlashError(
            f"{problem.message}; the board {what}",
            f"{problem.remedy}; then finish it: {finish}" if problem.remedy else finish,
            problem.exit_code,
        ) from problem
    return dev_nonce


class _Kept:
    """What a board has kept, as the firmware's store asks for it."""

    def __init__(self, records: Mapping[str, bytes]) -> None:
        self._records = records

    def read(self, name: str) -> bytes | None:
        return self._records.get("/" + name)

    def write(self, name: str, data: bytes) -> None:
        raise AssertionError(f"{name}: nothing is written here")


def _dev_nonce(records: Mapping[str, bytes], rtc: bytes = b"") -> int:
    return Store(lambda *_: rtc, _Kept(records)).dev_nonce()


def _records(repl: Repl) -> dict[str, bytes]:
    found = {path: repl.read(path) for path in _SESSIONS}
    return {path: data for path, data in found.items() if data is not None}


def _rtc(repl: Repl) -> bytes:
    try:
        return bytes(repl.value("__import__('machine').RTC().memory()"))
    except BoardError:
        return b""


# ---- all files ----------------------------------------------------------------------------------


def back_up(repl: Repl, path: Path, progress: Progress = _no_progress) -> list[str]:
    """Write every file of the board into a new tar archive that only its owner may read."""
    names = sorted(repl.list())
    files = {}
    for at, name in enumerate(names):
        data = repl.read(name)
        if data is not None:
            files[name] = data
        progress(at + 1, len(names))
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(data), stat.S_IRUSR | stat.S_IWUSR
            archive.addfile(entry, io.BytesIO(data))
    _write_private(path, target.getvalue())
    return list(files)


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the files of an archive, by path from the board's root."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for entry in archive:
                file = archive.extractfile(entry) if entry.isfile() else None
                if file is not None:
                    found["/" + entry.name.lstrip("/")] = file.read()
    except (OSError, tarfile.TarError) as problem:
        raise FlashError(f"{path} is no backup: {problem}", exit_code=USAGE) from None
    return found


def restore(
    repl: Repl,
    path: Path,
    progress: Progress = _no_progress,
    *,
    onto_another: bool = False,
    finish: str = "stoep flash restore",
) -> int:
    """Bring back what an archive holds, but for the session; returns the next DevNonce.

    What else is on the board stays. `onto_another`: the board may have another identity, which it
    then loses; there must not be two with one.
    """
    files = read_archive(path)
    theirs = _dev_eui(files.get(CONFIG))
    ours = _dev_eui(repl.read(CONFIG))
    if not onto_another and ours is not None and theirs is not None and ours != theirs:
        raise FlashError(
            f"the backup is of {theirs}, the board is {ours}",
            "if this board replaces that one, which must never run again: --replace",
            USAGE,
        )
    # Of another device's records the DevNonce counts as well: it can only be too high.
    dev_nonce = max(
        _dev_nonce({name: files[name] for name in _SESSIONS if name in files}),
        _dev_nonce(_records(repl), _rtc(repl)),
    )
    record = session_record(dev_nonce)
    firmware = _firmware_of(files)
    rest = _rest_of(files)
    try:
        repl.run("import machine\nmachine.RTC().memory(b'')")
        repl.write(_SESSIONS[0], record)
        repl.remove(_SESSIONS[1])
        for name in rest:
            repl.write(name, files[name])
    except FlashError as problem:
        raise FlashError(
            f"{problem.message}; the board has a part of the backup only",
            f"{problem.remedy}; then finish it: {finish}" if problem.remedy else finish,
            problem.exit_code,
        ) from problem
    if firmware:
        update(repl, firmware, progress, finish=finish)
    return dev_nonce


def _firmware_of(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the firmware that runs in a backup as it would be flashed, {} if there is none."""
    main = files.get("/main.py")
    if main is None:
        return {}
    folder = _folder_of(main)
    found = {name[len(folder) + 1 :]: files[name] for name in files if _tree(name) == folder}
    found["main.py"] = main.removeprefix(_SWITCH.format(folder).encode())
    return found


def _rest_of(files: Mapping[str, bytes]) -> Iterable[str]:
    return [
        name
        for name in sorted(files)
        if name not in (*_SESSIONS, "/main.py") and _tree(name) is None and name[-4:] != ".new"
    ]


def _dev_eui(config: bytes | None) -> str | None:
    try:
        return str(json.loads(config or b"")["dev_eui"])
    except (ValueError, TypeError, KeyError):
        return None


def _write_private(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FlashError(f"{path} is there already", "choose another name", USAGE) from None
    except OSError as problem:
        raise FlashError(f"{path} cannot be written: {problem.strerror}", exit_code=USAGE) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

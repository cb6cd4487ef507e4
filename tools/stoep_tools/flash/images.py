"""MicroPython images for a board: is it one, whole, for this chip, and one that is known?

Formats: ESP-IDF "App Image Format" (image header, segments, checksum, appended SHA-256) and
"Partition Tables" (32 octets an entry, at 0x8000 of flash).
"""

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from hashlib import md5, sha256
from importlib import resources
from operator import xor
from pathlib import Path

from stoep_hardware.board_data import BoardData

from .errors import BOARD_FAILED, USAGE, FlashError

OLDEST = (1, 27)  # what the firmware is tested with begins here
_MAGIC = 0xE9
_CHIPS = {  # esp_chip_id_t of the image header
    0x0000: "esp32",
    0x0002: "esp32s2",
    0x0005: "esp32c3",
    0x0009: "esp32s3",
    0x000C: "esp32c2",
    0x000D: "esp32c6",
    0x0010: "esp32h2",
    0x0012: "esp32p4",
    0x0014: "esp32c61",
    0x0017: "esp32c5",
}
_HEADER = 24
_SEGMENT = 8
_APP_MAGIC = bytes.fromhex("3254cdab")  # 0xABCD5432, of an application's first segment
_TABLE = 0x8000  # where flash has the partition table
_TABLE_OCTETS = 0xC00
_ENTRY = 32
_LEAST = 512 * 1024  # of our files, twice over
_FILE_SYSTEMS = ("vfs", "ffat")  # partitions that MicroPython looks for
_BANNER = re.compile(
    rb"MicroPython (?:\(with v2\.0 preview\) )?v(\d+)\.(\d+)(?:\.(\d+))?([-.\w]*) on \d{4}-\d\d"
)
_OTHERS = (
    (b"UF2\n", "a UF2 file, for bootloaders that look like a disk"),
    (b"\x7fELF", "an ELF file, which a linker has made"),
    (b"PK\x03\x04", "a ZIP archive: unpack it"),
    (b"\x1f\x8b", "compressed with gzip: unpack it"),
    (b"<", "a web page, not the file that it offers"),
)


@dataclass(frozen=True, slots=True)
class Image:
    """A MicroPython image that was checked; `data` is what was checked, and what is flashed.

    `vfs_offset` is where this version has its file system (it moved from 0x200000 to 0x220000),
    `vfs_size` is 0 where that takes what flash there is: see `file_system`.
    """

    path: Path
    chip: str
    version: str
    sha256: str
    vfs_offset: int
    vfs_size: int
    data: bytes = field(repr=False)

    def file_system(self, flash_bytes: int) -> tuple[int, int]:
        """Return offset and size of the file system on a board with so much flash."""
        size = self.vfs_size or flash_bytes - self.vfs_offset
        if size < _LEAST or self.vfs_offset + size > flash_bytes:
            raise FlashError(
                f"{self.path.name} does not fit a board with {flash_bytes >> 20} MiB of flash",
                "take the image for less flash, or a board with more",
                USAGE,
            )
        return self.vfs_offset, size


@dataclass(frozen=True, slots=True)
class Known:
    """An image that somebody vouches for."""

    name: str
    chip: str
    version: str
    sha256: str
    url: str = ""


def load(path: Path, board: BoardData) -> Image:
    """Read an image and check all that can be told from the file itself. Raises FlashError."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise FlashError(f"{path}: {problem.strerror}", "name the file", USAGE) from None
    refuse = _Refusal(path, board)
    _check_kind(data, refuse)
    offset = board.flash["firmware_offset"]
    chip = _chip_of(data)
    if chip != board.chip:
        refuse(f"is for an {_name(chip)}, a {board.title} has an {_name(board.chip)}")
    if data[_HEADER + _SEGMENT :].startswith(_APP_MAGIC):
        refuse("holds the application alone, for updates over the air: take the .bin without app")
    partitions = list(_partitions(data[_TABLE - offset :][:_TABLE_OCTETS]))
    if not partitions:
        refuse("holds no partition table: it was cut short, or is a bootloader alone")
    _check_whole(data, "bootloader", refuse)
    for partition in partitions:
        if partition.kind == 0 and partition.label in ("factory", "ota_0"):
            application = data[max(partition.offset - offset, 0) :]
            if _chip_of(application) != board.chip:
                refuse("was cut short: it has no application")
            _check_whole(application, "application", refuse)
    where = _file_system(partitions, refuse)
    if len(data) + offset > where[0]:
        refuse("is longer than what it has room for")
    digest = sha256(data).hexdigest()
    image = Image(path, board.chip, _version(data, refuse), digest, *where, data)
    image.file_system(board.flash["size"])
    return image


def check(path: Path, board: BoardData, known: Sequence[Known]) -> Image:
    """Read an image, and check that it is known by its hash. Raises FlashError."""
    image = load(path, board)
    for one in known:
        if one.sha256 == image.sha256:
            if (one.chip, one.version) != (image.chip, image.version):
                raise FlashError(
                    f"{path.name} is MicroPython {image.version} for {image.chip}, but the "
                    f"manifest has it as {one.version} for {one.chip}",
                    "correct the manifest",
                    USAGE,
                )
            return image
    for one in known:
        if one.name == path.name:
            raise FlashError(
                f"{path.name} is not the file of that name: its SHA-256 is {image.sha256}, "
                f"not {one.sha256}",
                f"download it again{f' from {one.url}' if one.url else ''}",
                USAGE,
            )
    raise FlashError(
        f"{path.name} (MicroPython {image.version} for {image.chip}) is not known: SHA-256 "
        f"{image.sha256}",
        "if you have it from https://micropython.org/download, run it again with --trust, which "
        f"enters it in {user_manifest()}",
        USAGE,
    )


def trust(path: Path, board: BoardData, manifest: Path | None = None) -> Image:
    """Check an image as far as it goes by itself, and enter it in the user's manifest."""
    image = load(path, board)
    manifest = user_manifest() if manifest is None else manifest
    if any(one.sha256 == image.sha256 for one in manifests(manifest)):
        return image
    entry = (
        f'[[image]]\nname = "{_toml(path.name)}"\nchip = "{image.chip}"\n'
        f'version = "{image.version}"\nsha256 = "{image.sha256}"\n'
    )
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        before = manifest.read_text("utf-8") if manifest.exists() else ""
        new = manifest.with_suffix(".new")
        new.write_text(f"{before.rstrip()}\n\n{entry}".lstrip(), "utf-8")
        new.replace(manifest)
    except OSError as problem:
        raise FlashError(f"{manifest}: {problem.strerror}", "", BOARD_FAILED) from None
    return image


def user_manifest(
    environment: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Path:
    """Return where a user's own manifest lies, whether it is there or not."""
    if platform == "win32":
        base = Path(environment.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "stoep" / "firmware.toml"


def manifests(user: Path | None = None) -> list[Known]:
    """Read the manifest that comes with us and the user's. Raises FlashError with the entry."""
    ours = (resources.files("stoep_tools.flash") / "firmware.toml").read_text("utf-8")
    known = _parse(ours, "firmware.toml")
    user = user_manifest() if user is None else user
    if user.exists():
        try:
            known += _parse(user.read_text("utf-8"), str(user))
        except OSError as problem:
            raise FlashError(f"{user}: {problem.strerror}", "", USAGE) from None
    return known


def _parse(text: str, name: str) -> list[Known]:
    try:
        entries = tomllib.loads(text).get("image", [])
    except tomllib.TOMLDecodeError as problem:
        raise FlashError(f"{name}: {problem}", "correct it, or delete it", USAGE) from None
    known = []
    for number, entry in enumerate(entries, 1):
        fields = {key: str(value) for key, value in entry.items()}
        try:
            one = Known(**fields)
        except TypeError:
            raise FlashError(
                f"{name}, image {number}: it has {', '.join(fields) or 'nothing'}",
                "an image has name, chip, version, sha256 and may have url",
                USAGE,
            ) from None
        if not re.fullmatch("[0-9a-f]{64}", one.sha256):
            raise FlashError(
                f"{name}, image {number} ({one.name}): its sha256 is not 64 hexadecimal digits",
                "write them in lower case",
                USAGE,
            )
        known.append(one)
    return known


class _Refusal:
    """Refuses a file, and says which one would do."""

    def __init__(self, path: Path, board: BoardData) -> None:
        self._path = path
        self._board = board

    def __call__(self, what: str) -> None:
        page = {"esp32": "ESP32_GENERIC", "esp32s3": "ESP32_GENERIC_S3"}.get(self._board.chip, "")
        raise FlashError(
            f"{self._path.name} {what}",
            f"for a {self._board.title} take the .bin of https://micropython.org/download/{page}",
            USAGE,
        )


@dataclass(frozen=True, slots=True)
class _Partition:
    kind: int  # 0 an application, 1 data
    offset: int
    size: int
    label: str


def _check_kind(data: bytes, refuse: _Refusal) -> None:
    if not data:
        refuse("is empty")
    if data[0] != _MAGIC or len(data) < _HEADER + _SEGMENT:
        for start, what in _OTHERS:
            if data.startswith(start):
                refuse(f"is {what}")
        refuse(f"is no image for an ESP32 (it begins with {data[0]:#04x}, not 0xe9)")


def _chip_of(image: bytes) -> str:
    if image[:1] != bytes([_MAGIC]) or len(image) < _HEADER:
        return ""
    number = int.from_bytes(image[12:14], "little")
    return _CHIPS.get(number, f"chip {number}")


def _name(chip: str) -> str:
    return re.sub(r"^ESP32(?=.)", "ESP32-", chip.upper())


def _partitions(table: bytes) -> Iterator[_Partition]:
    """Read the entries; nothing if their MD5 is wrong."""
    found = []
    for at in range(0, len(table) - _ENTRY + 1, _ENTRY):
        entry = table[at : at + _ENTRY]
        if entry[:2] == b"\xaa\x50":
            label = entry[12:28].rstrip(b"\0").decode("ascii", "replace")
            offset, size = (int.from_bytes(entry[n : n + 4], "little") for n in (4, 8))
            found.append(_Partition(entry[2], offset, size, label))
        elif entry[:2] == b"\xeb\xeb":
            if md5(table[:at], usedforsecurity=False).digest() != entry[16:]:
                return
        else:
            break
    yield from found


def _check_whole(image: bytes, what: str, refuse: _Refusal) -> None:
    """Compare an image's checksum, and the hash behind it if it has one."""
    at = _HEADER
    checksum = 0xEF
    for _ in range(image[1]):
        size = int.from_bytes(image[at + 4 : at + 8], "little")
        at += _SEGMENT
        checksum = reduce(xor, image[at : at + size], checksum)
        at += size
    at = at // 16 * 16 + 15  # the checksum is the last octet of its line of 16
    if at >= len(image):
        refuse(f"was cut short: its {what} is not whole")
    if image[at] != checksum:
        refuse(f"is damaged: the checksum of its {what} is wrong")
    at += 1
    if image[23] == 1 and sha256(image[:at]).digest() != image[at : at + 32]:
        refuse(f"is damaged: the hash of its {what} is wrong")


def _file_system(partitions: Sequence[_Partition], refuse: _Refusal) -> tuple[int, int]:
    """Return where MicroPython will look for its file system, and its size, 0 for the rest.

    Without an entry it begins behind the last partition (ports/esp32/main.c, since 1.26).
    """
    entry = next((part for part in partitions if part.label in _FILE_SYSTEMS), None)
    if entry is None:
        return max(part.offset + part.size for part in partitions), 0
    if entry.label != "vfs":
        refuse("has a FAT file system: ours is LittleFS")
    return entry.offset, entry.size


def _version(data: bytes, refuse: _Refusal) -> str:
    banner = _BANNER.search(data)
    if banner is None:
        refuse("is not MicroPython")
        raise AssertionError
    major, minor, patch = int(banner[1]), int(banner[2]), int(banner[3] or 0)
    version = f"{major}.{minor}.{patch}{banner[4].decode()}"
    if (major, minor) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        refuse(f"is MicroPython {version}: our firmware needs {oldest} or newer")
    return version


def _toml(text: str) -> str:
    return re.sub(r'[\x00-\x1f"\\\x7f]', "_", text)

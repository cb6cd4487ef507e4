"""What a person types, pastes or scans: which board is meant, and where boards belong.

Where a DevEUI is asked for, the text of a label's QR code does as well, as a hand scanner types it
(LoRa Alliance TR005): ``LW:D0:JOINEUI:DEVEUI:PROFILE``, then, each if it is there and in this
order, ``:O``wner, ``:S``erial, ``:P``roprietary and ``:C``hecksum.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import USAGE, FlashError
from .identity import dev_eui_of, eui_of
from .labels import crc
from .ledger import Entry

COLUMNS = ("dev_eui", "mac", "asset", "name", "serial")
_TEXTS = ("asset", "name", "serial")
_MOST_OCTETS = 1024 * 1024
_TR005 = re.compile(
    r"LW:D0:(?P<join_eui>[0-9A-F]{16}):(?P<dev_eui>[0-9A-F]{16}):[0-9A-F]{8}"
    r"(?::O[0-9A-Z $%*+./-]+)?(?::S(?P<serial>[0-9A-Z $%*+./-]+))?(?::P[0-9A-Z $%*+./-]+)?"
    r"(?::C(?P<crc>[0-9A-F]{4}))?"
)
_NOWHERE = "none"
_ASSET = re.compile(r"(container|bay)/[^/\s]+")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a label's QR code says."""

    dev_eui: bytes
    join_eui: bytes
    serial: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a CSV of boards; `texts` are asset, name and serial, those that it says."""

    line: int
    dev_eui: bytes | None
    mac: bytes | None
    texts: Mapping[str, str]

    def is_of(self, mac: bytes, dev_eui: bytes) -> bool:
        """Tell whether it is about the board with this chip and this DevEUI."""
        if self.mac is not None and self.mac != mac:
            return False
        return self.dev_eui is None or self.dev_eui == dev_eui


def read_qr(text: str) -> Scan:
    """Read the text of a QR code by TR005. Raises `FlashError`."""
    found = _TR005.fullmatch(text)
    if found is None:
        hint = "scan it again, or type the DevEUI that stands beside the code"
        if text.upper() != text and _TR005.fullmatch(text.upper()):
            hint = "the scanner types small letters: switch Caps Lock off"
        elif re.match(r"(?i)lw[^:]d0", text):
            hint = (
                "the scanner types for another keyboard: set it, or the computer, to English (US)"
            )
        raise FlashError(f"{text!r} is no code of a LoRaWAN device (TR005)", hint, USAGE)
    said = text.rpartition(":C")[0]
    if found["crc"] is not None and crc(said.encode()) != int(found["crc"], 16):
        raise FlashError(f"{text!r} was misread: its checksum is wrong", "scan it again", USAGE)
    return Scan(bytes.fromhex(found["dev_eui"]), bytes.fromhex(found["join_eui"]), found["serial"])


def read_dev_eui(text: str) -> bytes:
    """Return the DevEUI that was typed, or scanned from a label. Raises `FlashError`."""
    text = text.strip()
    return read_qr(text).dev_eui if text[:2].upper() == "LW" else eui_of(text, "a DevEUI")


def check_asset(text: str, what: str = "--asset") -> str:
    """Return an asset as it should be written, "" for "none". Raises `FlashError`."""
    if text == _NOWHERE:
        return ""
    if not _ASSET.fullmatch(text):
        raise FlashError(
            f"{what}: {text!r} is no asset",
            "write container/ID or bay/ID, with the ID of the gateway's configuration, or none",
            USAGE,
        )
    return text


def read_csv(path: Path) -> list[Row]:
    """Read a CSV of boards, as spreadsheets save it. Raises `FlashError` with the line.

    A heading names the columns, of `COLUMNS`: a DevEUI (or a scanned code) or a MAC, and what is
    to be said of the board. An empty field says nothing.
    """
    text = _text_of(path)
    heading = text.partition("\n")[0]
    separator = max(",;\t", key=heading.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        _check_columns(names, path)
        reader.fieldnames = names
        for fields in reader:
            row = _row(fields, f"{path}, line {reader.line_num}", reader.line_num)
            if row is not None:
                rows.append(row)
    except csv.Error as problem:
        raise FlashError(f"{path}, line {reader.line_num + 1}: {problem}", "", USAGE) from None
    _check_once(rows, path)
    if not rows:
        raise FlashError(f"{path} names no board", "a line below the heading for each", USAGE)
    return rows


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise FlashError(f"{path}: {problem.strerror}", "name the file", USAGE) from None
    try:
        if len(data) > _MOST_OCTETS or b"\0" in data:
            raise UnicodeError
        return data.decode("utf-8-sig")
    except UnicodeError:
        raise FlashError(
            f"{path} is no CSV in UTF-8", "save it as “CSV UTF-8” in the spreadsheet", USAGE
        ) from None


def _check_columns(names: Sequence[str], path: Path) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not {"dev_eui", "mac"} & set(names) or len(set(names)) != len(names):
        what = f"has a column {unknown[0]!r}" if unknown else "does not say which board"
        raise FlashError(
            f"{path}, line 1: the heading {what}",
            "dev_eui or mac, then asset, name, serial, as needed",
            USAGE,
        )


def _row(fields: Mapping[str | None, str | list[str] | None], where: str, line: int) -> Row | None:
    if None in fields:
        raise FlashError(f"{where}: more fields than the heading", 'quote a comma: "…"', USAGE)
    said = {key or "": value.strip() for key, value in fields.items() if isinstance(value, str)}
    if not any(said.values()):
        return None
    try:
        dev_eui = read_dev_eui(said["dev_eui"]) if said.get("dev_eui") else None
        mac = _mac_of(said["mac"]) if said.get("mac") else None
        if dev_eui is None and mac is None:
            raise FlashError("neither a DevEUI nor a MAC", "say which board it is", USAGE)
        texts = {key: said[key] for key in _TEXTS if said.get(key)}
        if "asset" in texts:
            texts["asset"] = check_asset(texts["asset"], "asset")
    except FlashError as problem:
        raise FlashError(f"{where}: {problem.message}", problem.remedy, USAGE) from None
    return Row(line, dev_eui, mac, texts)


def _mac_of(text: str) -> bytes:
    digits = re.sub("[:. -]", "", text)
    if not re.fullmatch("[0-9A-Fa-f]{12}", digits):
        raise FlashError(f"{text!r} is no MAC", "12 hexadecimal digits, 34:b7:da:0c:1d:2e", USAGE)
    return bytes.fromhex(digits)


def _check_once(rows: Iterable[Row], path: Path) -> None:
    """Raise `FlashError` where two lines are about one board, or one place is given twice."""
    for what in ("dev_eui", "mac", "asset"):
        seen: dict[object, int] = {}
        for row in rows:
            value = row.texts.get(what) if what == "asset" else getattr(row, what)
            if not value:
                continue
            if value in seen:
                shown = value.hex() if isinstance(value, bytes) else value
                raise FlashError(
                    f"{path}, line {row.line}: {shown} is in line {seen[value]} already",
                    "leave one of them",
                    USAGE,
                )
            seen[value] = row.line


def texts_of(rows: Sequence[Row], mac: bytes, known: Entry | None) -> Mapping[str, str]:
    """Return what the file says of a board that is to be flashed, {} if nothing."""
    dev_eui = dev_eui_of(mac) if known is None else known.identity.dev_eui
    return next((row.texts for row in rows if row.is_of(mac, dev_eui)), {})


def entry_of(row: Row, entries: Sequence[Entry], path: Path) -> Entry:
    """Return the board in the ledger that a line is about. Raises `FlashError`."""
    for entry in entries:
        if row.is_of(entry.mac, entry.identity.dev_eui):
            return entry
    which = (row.dev_eui or row.mac or b"").hex()
    raise FlashError(
        f"{path}, line {row.line}: no board {which} is in the ledger",
        "stoep flash list shows those that are",
        USAGE,
    )

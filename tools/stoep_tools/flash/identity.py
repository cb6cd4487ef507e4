"""Whose a board is: its EUIs and its key, and what the firmware is told of them.

A DevEUI is the chip's MAC as an EUI-64: FF-FE between its third and fourth octet, nothing else
changed (IEEE's "Guidelines for Use of EUI"; not IPv6's modified form, which flips a bit). Or it is
the next free one of a range that somebody was assigned. A JoinEUI that nobody gives is all zeros,
which our gateway and ChirpStack take as it is. AppKeys come from the operating system.

A board that is flashed again has to go on with its DevNonces, or no network lets it join: either
those that its own records hold (`dev_nonce_of`), or `SAFE_STEP` beyond where it began last time.
It is told by a record like its own that holds nothing but the next DevNonce (`session_record`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from stoep_firmware import store
from stoep_firmware.refusal import refusal
from stoep_hardware import board_data
from stoep_protocol.errors import EncodeError
from stoep_protocol.lorawan import regions
from stoep_protocol.messages import Configuration, encode
from stoep_protocol.schema import REFUSED_UNSUPPORTED

from stoep_tools.flash import sensors
from stoep_tools.flash.errors import USAGE, FlashError

__all__ = [
    "DEFAULT_JOIN_EUI",
    "KINDS",
    "MAX_DEV_NONCE",
    "SAFE_STEP",
    "SESSION_NAMES",
    "EuiRange",
    "Identity",
    "config",
    "config_json",
    "dev_eui_of",
    "dev_nonce_of",
    "eui_of",
    "grouped",
    "new_identity",
    "session_record",
]

DEFAULT_JOIN_EUI = bytes(8)
KINDS = ("bin", "bay")
MAX_DEV_NONCE = 0xFFFF
# What a board uses that no network answers, by joining.py's back-off: in EU868 425 in a month, 4100
# in a year; in US915 and AS923 1100 in a month. One that is still behind is refused until it has
# counted past them, 48 in its first hour.
SAFE_STEP = 1024
SESSION_NAMES = ("session.0", "session.1")  # what the firmware calls its records

_EUI_OCTETS = 8
_MAC_OCTETS = 6
_KEY_OCTETS = 16
_INTERVAL_S = 3600
_LONGEST_S = 1920 * 60

_VERSIONS = ("1.0.3", "1.0.4")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a board is in LoRaWAN; EUIs and key big-endian, as they are written."""

    dev_eui: bytes
    join_eui: bytes
    app_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EuiRange:
    """Assigned DevEUIs, both ends included."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``70b3d57ed0000000-70b3d57ed00000ff``. Raises `FlashError`."""
        ends = text.split("-") if text.count("-") == 1 else []
        euis = [int.from_bytes(eui_of(end, "an end of the range")) for end in ends]
        if len(euis) != 2 or euis[0] > euis[1]:
            raise FlashError(
                f"{text!r} is no range of DevEUIs",
                "write the first and the last, 70b3d57ed0000000-70b3d57ed00000ff",
                USAGE,
            )
        return cls(*euis)

    def __iter__(self) -> Iterator[bytes]:
        return (eui.to_bytes(_EUI_OCTETS) for eui in range(self.first, self.last + 1))

    def __str__(self) -> str:
        return f"{self.first:016x}-{self.last:016x}"


def eui_of(text: str, what: str = "an EUI") -> bytes:
    """Return the eight octets of an EUI, however grouped. Raises `FlashError`."""
    digits = "".join(character for character in text if character not in ":-. ")
    try:
        octets = bytes.fromhex(digits)
    except ValueError:
        octets = b""
    if len(octets) != _EUI_OCTETS:
        raise FlashError(f"{what} is 16 hexadecimal digits", "70b3d57ed0000001, say", USAGE)
    return octets


def grouped(eui: bytes) -> str:
    """Return an EUI for people: ``70B3 D57E D000 0001``."""
    digits = eui.hex().upper()
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def dev_eui_of(mac: bytes) -> bytes:
    """Return the EUI-64 of a MAC of six octets."""
    if len(mac) != _MAC_OCTETS:
        raise FlashError(f"a chip's MAC has six octets, not {len(mac)}", exit_code=USAGE)
    return mac[:3] + b"\xff\xfe" + mac[3:]


def new_identity(
    mac: bytes,
    is_taken: Callable[[bytes], bool],
    join_eui: bytes | None = None,
    euis: EuiRange | None = None,
) -> Identity:
    """Return a new identity for a chip, with a new random key.

    ``is_taken`` says of a DevEUI whether the ledger has issued it. Raises `FlashError`.
    """
    if euis is None:
        dev_eui = dev_eui_of(mac)
        if is_taken(dev_eui):
            raise FlashError(
                f"DevEUI {dev_eui.hex()} of this chip's MAC was issued to another board",
                "give a range of DevEUIs",
                USAGE,
            )
    else:
        free = next((eui for eui in euis if not is_taken(eui)), None)
        if free is None:
            raise FlashError(f"the range {euis} is used up", "give another range", USAGE)
        dev_eui = free
    join_eui = DEFAULT_JOIN_EUI if join_eui is None else join_eui
    return Identity(dev_eui, join_eui, secrets.token_bytes(_KEY_OCTETS))


def config(
    identity: Identity,
    board: str,
    kind: str,
    region: str,
    *,
    adr: bool = True,
    lorawan: str = "1.0.4",
    parts: Mapping[str, Any] = MappingProxyType({}),
    **behaviour: int,
) -> dict[str, Any]:
    """Return what config.json says (docs/developer.md). Raises `FlashError`, never with a key.

    ``board`` is the name of a board file; ``parts`` is what is wired to it (`sensors`),
    ``behaviour`` holds ``interval_s`` (an hour unless
    given), ``mode`` and the others of config.json.
    """
    try:
        data = board_data.load(board)
    except FileNotFoundError:
        known = ", ".join(board_data.names())
        raise FlashError(f"there is no board {board!r}", f"one of: {known}", USAGE) from None
    try:
        regions.by_name(region)
    except (KeyError, ValueError):
        raise FlashError(f"there is no region {region!r}", exit_code=USAGE) from None
    try:
        data.check_region(region)
    except ValueError as error:
        raise FlashError(str(error), "take a board for this band", USAGE) from None
    if kind not in KINDS:
        raise FlashError(f"a board is a bin's or a bay's, not {kind!r}", exit_code=USAGE)
    if lorawan not in _VERSIONS:
        raise FlashError(f"LoRaWAN {lorawan!r} is none of {', '.join(_VERSIONS)}", exit_code=USAGE)
    interval_s = behaviour.pop("interval_s", _INTERVAL_S)
    if not 60 <= interval_s <= _LONGEST_S:
        raise FlashError(f"interval_s is 60 to {_LONGEST_S}, not {interval_s}", exit_code=USAGE)
    _check(kind, behaviour)
    return {
        "kind": kind,
        "dev_eui": identity.dev_eui.hex(),
        "join_eui": identity.join_eui.hex(),
        "app_key": identity.app_key.hex(),
        "region": region,
        "interval_s": interval_s,
        **sensors.check(kind, parts),
        **behaviour,
        **({} if adr else {"adr": False}),
        "lorawan": lorawan,
        "board": data.wiring(parts.get("sensor") if kind == "bay" else None),
    }


def _check(kind: str, behaviour: Mapping[str, int]) -> None:
    """Raise `FlashError` for what a board would refuse as a configuration, too."""
    for name, value in behaviour.items():
        try:
            payload = encode(Configuration(**{name: value}))[1]
        except TypeError:
            raise FlashError(f"a board has no {name}", exit_code=USAGE) from None
        except EncodeError as error:
            raise FlashError(str(error), exit_code=USAGE) from None
        refused = refusal(payload, kind == "bay")
        if refused == REFUSED_UNSUPPORTED:
            raise FlashError(f"a {kind}'s board has no {name}", exit_code=USAGE)
        if refused:
            raise FlashError(f"{name}: a board would refuse {value}", exit_code=USAGE)


def config_json(identity: Identity, board: str, kind: str, region: str, **said: Any) -> bytes:
    """Return config.json: `config` as the board reads it."""
    made = config(identity, board, kind, region, **said)
    return json.dumps(made, separators=(",", ":")).encode() + b"\n"


class _Records:
    """Storage as the firmware asks for it, of files that were read back."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, name: str) -> bytes | None:
        return self._files.get(name)

    def write(self, name: str, data: bytes) -> None:
        raise AssertionError(f"{name} is only read: {len(data)} octets")


def dev_nonce_of(files: Mapping[str, bytes]) -> int | None:
    """Return the next DevNonce by a board's own records, None if none of them is sound.

    ``files`` holds what was read back, by name (`SESSION_NAMES`), of whatever firmware's age.
    """
    found = store.Store(lambda *_: b"", _Records(files)).dev_nonce()
    # None and zero differ: only a record that was written says that nothing was used.
    return found or (0 if any(map(_is_sound, files.values())) else None)


def _is_sound(record: bytes) -> bool:
    return store.parse_record(record) is not None


def session_record(dev_nonce: int) -> bytes:
    """Return the first ``session.0`` of a board that goes on with this DevNonce.

    It belongs to no device, for its mark is empty: the firmware takes the DevNonce alone from it.
    """
    if not 0 <= dev_nonce <= MAX_DEV_NONCE:
        raise FlashError(
            "this board's DevNonces are used up", "give it a new key: a new identity", USAGE
        )
    return store.make_record(0, [dev_nonce.to_bytes(4, "little"), b""])

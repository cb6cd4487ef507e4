"""How what has to survive is kept, through sleep, reset and power loss.

RTC memory holds everything, written before every frame leaves; it survives deep sleep and most
resets. Storage holds what a device needs after a power loss, in two records written in turn, so
that a cut in the middle of a write leaves the older one. Every record carries a CRC.

RTC memory is written before storage: after a reset between the two it is ahead, never behind.

    record   = magic, generation : u32, section*, CRC-32 of all before it : u32
    section  = length : u16, octets
"""

import struct
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_firmware._types import Storage

_MAGIC = b"SW2"
_NAMES = ("session.0", "session.1")


class Store:
    """Keeps lists of byte strings in RTC memory and, durably, in storage.

    The generation counts writes to storage; its lowest bit says which of the two records.
    """

    def __init__(self, rtc_memory: "Callable[..., bytes]", storage: "Storage") -> None:
        self._rtc_memory = rtc_memory
        self._storage = storage
        self._generation = 0

    def load_rtc(self) -> "list[bytes] | None":
        """Return the sections of RTC memory, None after a power loss."""
        record = bytes(self._rtc_memory())
        sections = parse_record(record)
        if sections is not None:
            self._generation = _generation(record)
        return sections

    def load_storage(self) -> "list[bytes] | None":
        """Return the newest sound record of storage, None if there is none."""
        newest = None
        for name in _NAMES:
            record = self._storage.read(name) or b""
            sections = parse_record(record)
            if sections is not None and (newest is None or _generation(record) > self._generation):
                newest = sections
                self._generation = _generation(record)
        return newest

    def save_rtc(self, sections: "list[bytes]") -> None:
        """Write RTC memory: no wear, microseconds."""
        self._rtc_memory(make_record(self._generation, sections))

    def save_storage(self, sections: "list[bytes]") -> None:
        """Write the older of the two records; it is durable when this returns.

        Write RTC memory before, so that it never lags behind, and after, for the generation.
        Raises `OSError` as storage does; the newer record is untouched then.
        """
        generation = self._generation + 1
        self._storage.write(_NAMES[generation & 1], make_record(generation, sections))
        self._generation = generation


def _generation(record: bytes) -> int:
    generation: int = struct.unpack_from("<I", record, len(_MAGIC))[0]
    return generation


def make_record(generation: int, sections: "list[bytes]") -> bytes:
    """Return one record."""
    out = _MAGIC + struct.pack("<I", generation)
    for section in sections:
        out += struct.pack("<H", len(section)) + section
    return out + struct.pack("<I", crc32(out))


def parse_record(record: bytes) -> "list[bytes] | None":
    """Return the sections of a record, None if it is damaged, absent or of another version."""
    end = len(record) - 4
    at = len(_MAGIC) + 4
    if end < at or record[: len(_MAGIC)] != _MAGIC:
        return None
    if struct.unpack_from("<I", record, end)[0] != crc32(record[:end]):
        return None
    sections = []
    while at < end:
        length = record[at] | record[at + 1] << 8
        sections.append(record[at + 2 : at + 2 + length])
        at += 2 + length
    return sections

"""How what has to survive is kept, through sleep, reset and power loss.

RTC memory holds everything, written before every frame leaves; it survives deep sleep and most
resets. Storage holds what a device needs after a power loss, in two records written in turn, so
that a cut in the middle of a write leaves the older one. Every record carries a CRC.

RTC memory is written before storage: after a reset between the two it is ahead, never behind, and
says that storage still owes a write. A reset in the middle of writing RTC memory is a power loss.

    RTC memory = strikes : u8, mark : u8, record with 1 for number if storage owes a write, else 0
    record     = layout, number : u32, section*, CRC-32 of all before it : u32
    section    = length : u16, octets

In storage the number counts writes; its lowest bit says which of the two records. Of a record of
another layout only one thing is known: its first section begins with the next DevNonce as u32.
"""

import struct
from binascii import crc32

from stoep_firmware.session import LAYOUT

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from collections.abc import Callable

    from stoep_firmware._types import Storage


_ANY_LAYOUT = b"SW"  # what every layout begins with; the third octet tells them apart
_NAMES = ("session.0", "session.1")
RTC_SIZE = 2048  # of MicroPython's RTC memory on ESP32
_MOST_STRIKES = const(15)
_HEAD = const(7)  # layout and number
BROWN_OUT = 3  # a mark: the starts before this one ended in brown-outs


class Store:
    """Keeps lists of byte strings in RTC memory and, durably, in storage.

    `owing`: what RTC memory holds has to be in storage too before anybody hears of it. Set it
    before `save_rtc`; it outlives a reset and ends with the next `save_storage`.
    """

    def __init__(self, rtc_memory: "Callable[..., bytes]", storage: "Storage") -> None:
        self._rtc_memory = rtc_memory
        self._storage = storage
        self._number = -1  # of the newest record in storage, -1 until it has been looked for
        self._strikes = 0
        self._mark = 0
        self.marked = 0
        self.owing = False

    def begin(self) -> int:
        """Return how many starts in a row before this one did not reach `end`; count this one.

        15 is 15 or more. A power loss forgets them. `marked` is then what the last start left.
        """
        strikes, self.marked, record = self._rtc()
        self._strikes = min(strikes + 1, _MOST_STRIKES)
        self._write_rtc(record)
        return strikes

    def end(self, strikes: int) -> None:
        """Note that this start has ended well, as if after so many that did not."""
        self._strikes = strikes
        self.mark(0)

    def mark(self, part: int) -> None:
        """Note what is being done, 0 to 15, for the start after a reset."""
        self._mark = part
        self._write_rtc(self._rtc()[2])

    def load_rtc(self) -> "list[bytes] | None":
        """Return the sections of RTC memory, None after a power loss."""
        record = self._rtc()[2]
        sections = parse_record(record)
        self.owing = sections is not None and _number(record) > 0
        return sections

    def load_storage(self) -> "list[bytes] | None":
        """Return the newest sound record of storage, None if there is none or of another layout."""
        self._number = -1
        newest = None
        for record in self._records():
            if _number(record) > self._number:
                self._number = _number(record)
                newest = parse_record(record)
        return newest

    def dev_nonce(self) -> int:
        """Return the first DevNonce that no sound record of any layout says was used."""
        nonce = 0
        for record in self._records() + [self._rtc()[2]]:
            if _sound(record) and len(record) >= _HEAD + 10:
                nonce = max(nonce, struct.unpack_from("<I", record, _HEAD + 2)[0])
        return nonce

    def save_rtc(self, sections: "list[bytes]") -> bool:
        """Write RTC memory: no wear, microseconds. False if it does not hold this.

        Then it holds nothing, for what it held is outdated: the next start is as after a power
        loss.
        """
        return self._write_rtc(make_record(int(self.owing), sections))

    def save_storage(self, sections: "list[bytes]") -> None:
        """Write the older of the two records; it is durable when this returns.

        Write RTC memory before, so that it never lags behind, and after, for `owing`.
        Raises `OSError` as storage does; the newer record is untouched then.
        """
        if self._number < 0:
            self.load_storage()
        number = self._number + 1
        self._storage.write(_NAMES[number & 1], make_record(number, sections))
        self._number = number
        self.owing = False

    def _rtc(self) -> "tuple[int, int, bytes]":
        """Return strikes, mark and record of RTC memory. Earlier firmware wrote only a record."""
        memory = bytes(self._rtc_memory())
        if len(memory) >= 2 and _checked(memory[0]) and _checked(memory[1]):
            return memory[0] & 15, memory[1] & 15, memory[2:]
        return 0, 0, memory

    def _write_rtc(self, record: bytes) -> bool:
        head = bytes([value | (15 - value) << 4 for value in (self._strikes, self._mark)])
        fits = len(head) + len(record) <= RTC_SIZE
        self._rtc_memory(head + record if fits else head)
        return fits

    def _records(self) -> "list[bytes]":
        """Return the sound records of storage."""
        records = [self._storage.read(name) or b"" for name in _NAMES]
        return [record for record in records if _sound(record)]


def _checked(octet: int) -> bool:
    return octet >> 4 == 15 - (octet & 15)


def _number(record: bytes) -> int:
    number: int = struct.unpack_from("<I", record, _HEAD - 4)[0]
    return number


def _sound(record: bytes) -> bool:
    end = len(record) - 4
    return (
        end >= _HEAD
        and record.startswith(_ANY_LAYOUT)
        and struct.unpack_from("<I", record, end)[0] == crc32(record[:end])
    )


def make_record(number: int, sections: "list[bytes]") -> bytes:
    """Return one record."""
    parts = [LAYOUT, struct.pack("<I", number)]
    for section in sections:
        parts += [struct.pack("<H", len(section)), section]
    crc = 0
    for part in parts:
        crc = crc32(part, crc)
    # Added up one by one they would leave 10 kB of garbage.
    return b"".join(parts + [struct.pack("<I", crc)])


def parse_record(record: bytes) -> "list[bytes] | None":
    """Return the sections of a record, None if it is damaged, absent or of another layout."""
    if not _sound(record) or not record.startswith(LAYOUT):
        return None
    sections = []
    at = _HEAD
    end = len(record) - 4
    while at < end:
        length = record[at] | record[at + 1] << 8
        sections.append(record[at + 2 : at + 2 + length])
        at += 2 + length
    return sections

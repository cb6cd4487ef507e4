"""The board's own storage on MicroPython's littlefs, on flash in RAM that wears and can be cut.

Runs on the real MicroPython, whose VfsLfs2 is the board's, from test_files_on_littlefs.

usage: micropython littlefs_board.py cuts WRITES | full | wear BLOCKS FILES RECORD WRITES
"""

import os
import sys

import vfs
from stoep_firmware.device.files import Files
from stoep_firmware.store import Store

ENOSPC = 28
BLOCK = 4096  # what ESP32's flash erases at once


class Flash:
    """NOR flash: erasing sets bits, writing clears them; both may be cut in the middle.

    After `left` operations the power fails: then nothing changes it any more.
    """

    def __init__(self, blocks, data=None):
        self.data = bytearray(b"\xff" * (blocks * BLOCK) if data is None else data)
        self.erases = [0] * blocks
        self.left = None
        self.torn = 0  # how many eighths of the operation that is cut are still done
        self.reused = 0  # octets that were written without having been erased

    def readblocks(self, block, buffer, offset=0):
        at = block * BLOCK + offset
        buffer[:] = memoryview(self.data)[at : at + len(buffer)]
        return self._verdict()

    def writeblocks(self, block, buffer, offset):
        at = block * BLOCK + offset
        length = self._done(len(buffer))
        self.reused += sum(octet != 0xFF for octet in self.data[at : at + length])
        self.data[at : at + length] = memoryview(buffer)[:length]
        return self._verdict()

    def ioctl(self, op, argument):
        if op == 4:
            return len(self.erases)
        if op == 5:
            return BLOCK
        if op == 6:
            self.erases[argument] += 1
            at = argument * BLOCK
            length = self._done(BLOCK)
            self.data[at : at + length] = b"\xff" * length
        return self._verdict()

    def _done(self, length):
        if self.left is None:
            return length
        self.left -= 1
        if self.left < -1:
            return 0
        return length if self.left >= 0 else length * self.torn // 8

    def _verdict(self):
        return -5 if self.left is not None and self.left < 0 else 0


def mount(flash):
    vfs.mount(vfs.VfsLfs2(flash), "/flash")
    os.chdir("/flash")


def unmount():
    os.chdir("/")
    vfs.umount("/flash")


def rtc_memory(data=None):
    return b""


def record(number):
    return [b"%08d" % number * 30]


LENGTH = 3 + 4 + 2 + 240 + 4


def stored():
    sections = Store(rtc_memory, Files()).load_storage()
    return None if sections is None else int(sections[0][:8])


def cuts(writes):
    """Cut every operation of every write: before it, in its middle and after it."""
    flash = Flash(8)
    vfs.VfsLfs2.mkfs(flash)
    count = 0
    for number in range(writes):
        sound = flash.data
        operations = 0
        survived = False
        while not survived:
            for torn in (0, 3, 8):
                # What comes after a cut has its own flash: nothing of the life before reaches it.
                flash = Flash(8, sound)
                mount(flash)
                store = Store(rtc_memory, Files())
                store.load_storage()
                flash.left, flash.torn = operations, torn
                try:
                    store.save_storage(record(number))
                    survived = flash.left >= 0
                except OSError:
                    pass
                flash.left = -1
                unmount()
                assert flash.reused == 0
                flash = Flash(8, flash.data)
                mount(flash)
                found = stored()
                if survived:
                    assert found == number
                    unmount()
                    break
                count += 1
                assert found == number or found == (number - 1 if number else None), found
                # Not only the newest: no file is cut, a new one may be empty.
                lengths = {len(Files().read(name) or b"") for name in ("session.0", "session.1")}
                assert lengths <= {0, LENGTH}, lengths
                # And storage goes on from there.
                Store(rtc_memory, Files()).save_storage(record(number + 1))
                assert stored() == number + 1
                unmount()
                assert flash.reused == 0
            operations += 1
    print(count, "cuts")


def refused(write, *arguments):
    """Return the error code with which a write is refused, or 0."""
    try:
        write(*arguments)
    except OSError as problem:
        return problem.errno
    return 0


def full():
    """Fill the file system: writing raises, and what was there stays."""
    flash = Flash(16)
    vfs.VfsLfs2.mkfs(flash)
    mount(flash)
    store = Store(rtc_memory, Files())
    store.save_storage(record(1))
    store.save_storage(record(2))
    fillers = 0
    while refused(Files().write, f"filler{fillers}", bytes(2000)) != ENOSPC:
        fillers += 1
    for number in range(3, 40):
        assert refused(store.save_storage, record(number)) == ENOSPC
        assert stored() == 2
    unmount()
    mount(flash)
    assert stored() == 2
    os.remove("filler0")  # noqa: PTH107 - MicroPython
    Store(rtc_memory, Files()).save_storage(record(50))
    assert stored() == 50
    print("kept")


def wear(blocks, files, size, writes):
    """Print erases a write, and how much more than the mean the most worn block gets."""
    flash = Flash(blocks)
    vfs.VfsLfs2.mkfs(flash)
    mount(flash)
    for number in range(files):
        Files().write(f"file{number}.mpy", bytes(BLOCK - 1000))
    free = os.statvfs("/flash")[3]
    store = Store(rtc_memory, Files())
    section = bytes(size - 3 - 4 - 2 - 4)
    store.save_storage([section])
    flash.erases = [0] * blocks
    for _ in range(writes):
        store.save_storage([section])
    print(free, sum(flash.erases) / writes, max(flash.erases))


if __name__ == "__main__":
    {"cuts": cuts, "full": full, "wear": wear}[sys.argv[1]](*[int(n) for n in sys.argv[2:]])

"""What a board does with the file system that was flashed, on the real MicroPython.

usage: micropython flash_board.py IMAGE BLOCKS [AFTERWARDS]: mounts it as a board does, runs the
modules that it holds, and writes to it. What flash holds behind the image is garbage. AFTERWARDS
is the file that the flash goes to in the end.
"""
# ruff: noqa: PTH116, PTH123, PTH208, UP028, UP031

import os
import sys

import vfs

BLOCK = 4096


class Flash:
    """Blocks of flash in RAM; what lies behind the image is whatever was there before."""

    def __init__(self, image, blocks):
        self.data = bytearray(image)
        self.data.extend(b"\x5a" * (blocks * BLOCK - len(image)))

    def readblocks(self, block, buffer, offset=0):
        at = block * BLOCK + offset
        buffer[:] = memoryview(self.data)[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset):
        at = block * BLOCK + offset
        self.data[at : at + len(buffer)] = buffer

    def ioctl(self, op, argument):
        if op == 4:
            return len(self.data) // BLOCK
        if op == 5:
            return BLOCK
        if op == 6:
            at = argument * BLOCK
            self.data[at : at + BLOCK] = b"\xff" * BLOCK
        return 0


class Anything:
    """In place of the modules that only a board has."""

    def __getattr__(self, name):
        return None


def module_names(folder):
    for name in sorted(os.listdir(folder)):
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            for inner in module_names(path):
                yield inner
        elif name.endswith(".mpy"):
            path = path[1:-4]
            yield (path[:-9] if path.endswith("/__init__") else path).replace("/", ".")


def main(image, blocks, afterwards=None):
    with open(image, "rb") as file:
        flash = Flash(file.read(), blocks)
    host = vfs.VfsPosix("/")
    vfs.umount("/")
    vfs.mount(flash, "/")  # the file system is found out, as on a board
    os.chdir("/")
    sys.path[:] = ["", ".frozen"]
    for name in ("machine", "esp32"):
        sys.modules[name] = Anything()
    count = 0
    for name in module_names(""):
        __import__(name)
        count += 1
    print(count, "modules")
    # Enough to leave the blocks of the image behind.
    for number in range(200):
        with open("session.%d" % (number % 2), "wb") as file:
            file.write(b"%04d" % number * 100)
    with open("large", "wb") as file:
        for number in range(100):
            file.write(bytes([number]) * BLOCK)
    vfs.umount("/")
    vfs.mount(flash, "/")
    with open("session.1", "rb") as file:
        print(file.read(4).decode())
    with open("large", "rb") as file:
        print(sum(file.read(BLOCK) == bytes([number]) * BLOCK for number in range(100)))
    print(os.statvfs("/")[2], "blocks")
    with open("boot.py") as file:
        print(file.read() != "")
    vfs.umount("/")
    vfs.mount(host, "/")
    if afterwards:
        with open(afterwards, "wb") as file:
            file.write(flash.data)


main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])

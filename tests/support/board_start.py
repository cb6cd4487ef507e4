# ruff: noqa: BLE001, PTH123, RUF005, SIM115, UP031 - for MicroPython
"""What the ROM and MicroPython do before a board's own program; runs in MicroPython on a PC."""

import vfs

vfs.umount("/")  # first of all: like a board, it has no files until it has started
vfs.mount(vfs.VfsPosix("/"), "/pc")

import sys  # noqa: E402

import uos  # noqa: E402


class Flash:
    """Flash in a file; every block is there or not when the power goes."""

    def __init__(self, path):
        self._file = open(path, "r+b")
        self._file.seek(0, 2)
        self._blocks = self._file.tell() // 4096

    def readblocks(self, block, buffer, offset=0):
        self._file.seek(block * 4096 + offset)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        self._file.seek(block * 4096 + offset)
        self._file.write(buffer)
        self._file.flush()

    def ioctl(self, operation, _argument):
        if operation == 4:
            return self._blocks
        if operation == 5:
            return 4096
        return 0


def start(image, folders, cause, hold_ms):
    flash = Flash("/pc" + image)
    vfs.umount("/pc")
    paths = []
    for at, folder in enumerate(folders):
        vfs.mount(vfs.VfsPosix(folder), "/sim%d" % at)
        paths.append("/sim%d" % at)
    vfs.mount(vfs.VfsLfs2(flash), "/")
    uos.chdir("/")
    sys.path[:] = paths + ["", ".frozen", "/lib"]
    import board_cause

    board_cause.begin(cause, hold_ms)
    sys.stdout.write("\x06")
    for name in ("boot.py", "main.py"):
        try:
            uos.stat(name)
        except OSError:
            continue
        try:
            with open(name) as file:
                exec(file.read(), {"__name__": "__main__"})
        except Exception as problem:
            sys.print_exception(problem)
        except KeyboardInterrupt as problem:
            sys.print_exception(problem)
            break

"""A board's ROM bootloader on a PTY, with the faults of a bench; run by mock_board.py.

PyPI esp32-mock-bootloader answers; what stands around it here is the serial line, which may be
paced, cut or lossy, and the flash, which is a file, is erased before it is written and may have a
bad cell. Commands come as lines on standard input and are each answered by one line; its end ends
the process.
"""

import argparse
import contextlib
import errno
import mmap
import os
import pty
import select
import socket
import struct
import sys
import termios
import threading
import time
import tty
import zlib
from pathlib import Path

from esp32_mock_bootloader import protocol, registers, server

SECTOR = 4096
BITS_AN_OCTET = 10  # start bit, 8, stop bit
SPEEDS = {
    getattr(termios, f"B{baud}"): baud for baud in (9600, 115200, 230400, 460800, 921600, 1500000)
}


class Flash:
    """NOR flash in a file: what is begun to be written is erased first."""

    def __init__(self, path, size):
        if not path.exists() or path.stat().st_size != size:
            path.write_bytes(b"\xff" * size)
        self.file = path.open("r+b")
        self.data = mmap.mmap(self.file.fileno(), size)
        self.bad_cell = None
        self.at = 0
        self.inflate = None

    def _begin(self, payload):
        size, _, _, self.at = struct.unpack_from("<IIII", payload)
        first = self.at // SECTOR * SECTOR
        self.erase_region(first, -(-(self.at + size - first) // SECTOR) * SECTOR)

    def begin_defl(self, payload):
        self._begin(payload)
        self.inflate = zlib.decompressobj()

    def begin_plain(self, payload):
        self._begin(payload)

    def _put(self, data):
        self.data[self.at : self.at + len(data)] = data
        if self.bad_cell is not None and self.at <= self.bad_cell < self.at + len(data):
            self.data[self.bad_cell] ^= 0x10
        self.at += len(data)

    def write_defl_block(self, payload):
        (length,) = struct.unpack_from("<I", payload)
        self._put(self.inflate.decompress(payload[16 : 16 + length]))

    def write_plain_block(self, payload):
        (length,) = struct.unpack_from("<I", payload)
        self._put(payload[16 : 16 + length])

    def end_defl(self):
        self.inflate = None

    def erase_all(self):
        self.erase_region(0, len(self.data))

    def erase_region(self, offset, size):
        self.data[offset : offset + size] = b"\xff" * len(self.data[offset : offset + size])

    def read(self, offset, length):
        return self.data[offset : offset + length]

    md5_stub_response = server.FlashImage.md5_stub_response


class Line:
    """The serial line, as what the mock takes for a PTY."""

    def __init__(self, link, paced):
        self.link = link
        self.paced = paced
        self.master = None
        self.deaf = False
        self.pull_after = None  # octets to the board
        self.stop_after = None
        self.lose_after = None  # octets from the board
        self.free_at = 0.0
        self.octets = [0, 0]  # to the board, from it
        self.plug()

    def plug(self):
        """Make a new port, known by the same name."""
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(slave))
        os.close(slave)
        self.pull_after = self.stop_after = self.lose_after = None

    def pull(self):
        """Pull the cable: the port is gone."""
        self.link.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self.master)
        self.master = None

    def opened(self):
        """Wait until somebody opens the port; False if nobody has for a moment."""
        if self.master is None:
            time.sleep(0.005)
            return False
        poll = select.poll()
        poll.register(self.master, select.POLLIN)
        if any(event & select.POLLHUP for _, event in poll.poll(0)):
            time.sleep(0.005)
            return False
        return True

    def _pace(self, octets):
        if not self.paced:
            return
        baud = SPEEDS.get(termios.tcgetattr(self.master)[5], 115200)
        now = time.monotonic()
        self.free_at = max(self.free_at, now) + octets * BITS_AN_OCTET / baud
        if self.free_at > now + 0.002:
            time.sleep(self.free_at - now)

    def set_timeout(self, timeout):
        pass

    def ignore_eof_for_disconnect(self):
        return False

    def recv(self, _size):
        """Return what came from the host, until a frame's end if one is on its way."""
        data = b""
        while True:
            if self.master is None:
                return b""
            ready, _, _ = select.select([self.master], [], [], 0.02)
            if not ready:
                if data:
                    return data
                raise TimeoutError
            try:
                chunk = os.read(self.master, 4096)
            except OSError as problem:
                if problem.errno not in (errno.EIO, errno.EBADF):
                    raise
                return b""
            self.octets[0] += len(chunk)
            self._pace(len(chunk))
            if self.pull_after is not None and self.octets[0] >= self.pull_after:
                self.pull()
                return b""
            if self.stop_after is not None and self.octets[0] >= self.stop_after:
                self.deaf = True
            if self.deaf:
                raise TimeoutError
            data += chunk
            if data.endswith(b"\xc0"):
                return data

    def sendall(self, data):
        if self.master is None:
            raise OSError(errno.EIO, "the cable is pulled")
        before = self.octets[1]
        self.octets[1] += len(data)
        self._pace(len(data))
        if self.lose_after is not None and before <= self.lose_after < self.octets[1]:
            lost = self.lose_after - before
            data = data[:lost] + data[lost + 1 :]
        while data:
            select.select([], [self.master], [])
            data = data[os.write(self.master, data) :]


def slip_decode_frames(raw):
    """As the mock's, in a hundredth of its time."""
    parts = raw.split(b"\xc0")
    # Before the first end and behind the last is no frame.
    return [
        part.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
        for part in parts[1:-1]
        if part
    ]


def receive_acknowledgement(line, _stop, buffered):
    """As the mock's `_recv_slip_payload`, which takes a busy host for one that has gone."""
    until = time.monotonic() + 20
    while (payload := server._consume_slip_frame(buffered)) is None:
        with contextlib.suppress(TimeoutError):
            chunk = line.recv(4096)
            if not chunk:
                return None
            buffered.extend(chunk)
        if time.monotonic() > until:
            return None
    return payload


def obey(line, flash):
    for command in sys.stdin:
        name, *numbers = command.split()
        n = int(numbers[0]) if numbers else 0
        if name == "pull_after":
            line.pull_after = line.octets[0] + n
        elif name == "stop_after":
            line.stop_after = line.octets[0] + n
        elif name == "lose_after":
            line.lose_after = line.octets[1] + n
        elif name == "plug":
            line.plug()
        elif name == "pull":
            line.pull()
        elif name == "deaf":
            line.deaf = True
        elif name == "hear":
            line.deaf = False
            line.stop_after = None
        elif name == "bad_cell":
            flash.bad_cell = n
        elif name == "sound":
            flash.bad_cell = None
        elif name == "octets":
            print(*line.octets, flush=True)
            continue
        else:
            raise SystemExit(f"no such command: {name}")
        print("done", flush=True)
    os._exit(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--link", type=Path, required=True)
    parser.add_argument("--flash", type=Path, required=True)
    parser.add_argument("--chip", default="esp32s3")
    parser.add_argument("--mac", default="240ac4000001")
    parser.add_argument("--megabytes", type=int, default=8)
    parser.add_argument("--paced", action="store_true")
    options = parser.parse_args()
    size = options.megabytes << 20
    mac = tuple(bytes.fromhex(options.mac))
    registers.mac_bytes_for_chip = lambda _chip: mac
    registers.rom_profile.cache_clear()
    protocol.MOCK_FLASH_ID = protocol.MOCK_FLASH_ID & 0xFFFF | (size.bit_length() - 1) << 16
    server._FLASH_END_IDLE_SEC = float("inf")
    server.slip_decode_frames = slip_decode_frames
    server._recv_slip_payload = receive_acknowledgement
    flash = Flash(options.flash, size)
    line = Line(options.link, options.paced)
    print("ready", flush=True)
    threading.Thread(target=obey, args=(line, flash), daemon=True).start()
    while True:
        if line.opened():  # opening resets a board: what runs then is the ROM's loader
            with contextlib.suppress(OSError, socket.timeout, ValueError):
                server.handle_client(
                    server.BootloaderConnection(pty=line),
                    threading.Event(),
                    options.chip,
                    flash=flash,
                )


if __name__ == "__main__":
    main()

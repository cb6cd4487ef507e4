"""MicroPython images that are none: the layout of a real one, around what compresses as it does.

Made by ESP-IDF's documented formats: header, segments, checksum, hash, partition table.
"""

import random
import struct
import zlib
from hashlib import md5, sha256

CHIP_IDS = {"esp32": 0, "esp32s3": 9, "esp32c3": 5}
FIRMWARE_OFFSETS = {"esp32": 0x1000, "esp32s3": 0, "esp32c3": 0}
BANNER = b"MicroPython v1.29.0 on 2026-08-11\0; Generic ESP32S3 module with ESP32S3\0"
APPLICATION = struct.pack("<I", 0xABCD5432) + bytes(252)
NVS = (1, 2, 0x9000, 0x6000, "nvs")
PHY = (1, 1, 0xF000, 0x1000, "phy_init")


def image(chip, *segments):
    """Return header, segments, checksum and hash."""
    out = struct.pack("<BBBBI", 0xE9, len(segments), 2, 0x2F, 0x40081000)
    out += struct.pack("<B3xHBHH4xB", 0xEE, CHIP_IDS[chip], 0, 0, 0xFFFF, 1)
    checksum = 0xEF
    for segment in segments:
        out += struct.pack("<II", 0x3F400020, len(segment)) + segment
        for octet in segment:
            checksum ^= octet
    out += bytes(15 - len(out) % 16) + bytes([checksum])
    return out + sha256(out).digest()


def table(*partitions):
    out = b"".join(
        struct.pack("<2sBBII16sI", b"\xaa\x50", kind, sub, offset, size, label.encode(), 0)
        for kind, sub, offset, size, label in partitions
    )
    out += b"\xeb\xeb" + b"\xff" * 14 + md5(out).digest()
    return out.ljust(0xC00, b"\xff")


def application(chip="esp32s3", size=40_000, banner=BANNER, seed=1):
    """Return an application; what it holds compresses to about two thirds, as a real one's."""
    noise = random.Random(seed)
    code = b"".join(noise.randbytes(60) + bytes(36) for _ in range(size // 96))
    return image(chip, APPLICATION + banner, code)


def firmware(chip="esp32s3", *, app=None, factory=0x1F0000, extra=(), boot=None):
    """Return a combined image, as micropython.org's .bin is."""
    app = application(chip) if app is None else app
    boot = image(chip, bytes(64), b"bootloader" * 100) if boot is None else boot
    at = FIRMWARE_OFFSETS[chip]
    out = boot.ljust(0x8000 - at, b"\xff")
    out += table(NVS, PHY, (0, 0, 0x10000, factory, "factory"), *extra)
    return out.ljust(0x10000 - at, b"\xff") + app


def compressed(data):
    return len(zlib.compress(data, 9)) / len(data)

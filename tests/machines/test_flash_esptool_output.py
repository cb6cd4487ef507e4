"""What esptool's output means: recorded from esptool 5.6, and what older ones say otherwise."""

import pytest
from stoep_tools.flash import esptool_output as output
from stoep_tools.flash.errors import BOARD_FAILED, NO_BOARD, USAGE, FlashError

FLASH_ID = """\
esptool v5.6.0
Serial port /dev/ttyUSB0:
Connecting....
Detecting chip type... ESP32-S3
Connected to ESP32-S3 on /dev/ttyUSB0:
Chip type:          ESP32-S3 (QFN56) (revision v0.2)
Features:           Wi-Fi, BT 5 (LE), Dual Core + LP Core, 240MHz
Crystal frequency:  40MHz
MAC:                f4:12:fa:01:02:ab

Uploading stub flasher...
Detected flash size: 8MB
"""
WRITING = """\
Writing '00000000' at 0x00000000...
Comparing flash contents against new data...
Writing at 0x00001000 ━━━                 12.5% 16.00kB/391.53kB [0s]
Writing at 0x00001800 ━━━━━━              50.0% 32.00kB/391.53kB [0s]
Wrote 8192 bytes (400 compressed) at 0x00000000 in 0.8 seconds (6597.8 kbit/s).
Verifying written data...
Hash of data verified.
Writing '00200000' at 0x00200000...
Comparing flash contents against new data...
'00200000' at 0x00200000 already in flash, skipping write.
"""


def test_chip_mac_and_flash_are_read():
    mac = bytes.fromhex("f412fa0102ab")
    assert output.chip(FLASH_ID) == output.Chip("esp32s3", mac, 8 << 20)
    small = FLASH_ID.replace("ESP32-S3", "ESP32").replace("8MB", "512KB")
    assert output.chip(small) == output.Chip("esp32", mac, 512 << 10)


@pytest.mark.parametrize("missing", ["Connected to", "MAC:", "Detected flash size"])
def test_what_is_not_said_is_not_made_up(missing):
    with pytest.raises(FlashError):
        output.chip(FLASH_ID.replace(missing, "?"))


def test_progress_grows_and_ends_at_all():
    heard = []
    writing = output.Writing([(0, 8192), (0x200000, 4096)], lambda *at: heard.append(at))
    for line in WRITING.splitlines():
        writing.line(line)
    total = 8192 + 4096
    assert heard == [(0x1000, total), (0x1800, total), (8192, total), (total, total)]
    assert (writing.finished, writing.skipped) == (2, 4096)


def test_an_address_beyond_the_piece_counts_as_its_end_at_most():
    heard = []
    writing = output.Writing([(0x1000, 100)], lambda *at: heard.append(at))
    writing.line("Writing at 0x00009000 ━ 100.0%")
    writing.line("Writing at 0x00000500 ━ 1.0%")
    assert heard == [(100, 100), (0, 100)]


@pytest.mark.parametrize(
    ("said", "message", "exit_code"),
    [
        (
            "A fatal error occurred: Failed to connect to ESP32: Wrong boot mode detected (0x13)!",
            "does not answer",
            NO_BOARD,
        ),
        ("A fatal error occurred: Could not open COM99, the port is busy", "not there", NO_BOARD),
        (
            "A fatal error occurred: This chip is ESP32-S3, not ESP32. Wrong chip argument?",
            "the chip is an ESP32-S3, not ESP32",
            USAGE,
        ),
        ("fatal error occurred: MD5 of file does not match data in flash!", "not what was", 4),
        (
            "Verification failed (digest mismatch).\nfatal error occurred: Verification failed.",
            "",
            4,
        ),
        ("Writing at 0x1\nA serial exception error occurred: write failed", "unplugged", 4),
        ("fatal error occurred: Packet content transfer stopped", "line to the board", 4),
        ("Traceback (most recent call last):\nValueError: a surprise", "a surprise", BOARD_FAILED),
        ("", "esptool failed", BOARD_FAILED),
    ],
)
def test_every_failure_says_what_and_what_to_do(said, message, exit_code):
    failure = output.failure(said, "/dev/ttyNONE", "hold BOOT (GPIO0), press RST, let go")
    assert message in failure.message
    assert failure.remedy
    assert failure.exit_code == exit_code

"""How long boards take to be flashed, by the real esptool and serial lines at 921600 baud.

`flash_one_s`, `flash_ten_s`: one board, and ten at once, from detection to the last verified hash:
MicroPython and the file system. The boards are PyPI esp32-mock-bootloader behind lines that take
ten bits an octet at the baud rate that esptool sets, so 115200 until it has changed it. The image
is as long as MicroPython 1.29's for an ESP32-S3 and compresses as well. Not in it: how long flash
takes to be erased and written, which a mock does not need.

`--boards N` for another number than ten.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

import micropython_image
from mock_board import MockBoard
from stoep_hardware import board_data
from stoep_tools.flash import filesystem, images
from stoep_tools.flash.esptool import Esptool
from stoep_tools.flash.together import at_once

BOARD = board_data.load("heltec_wifi_lora_32_v3")
APPLICATION_BYTES = 1_650_000


def flash(port: str, image: images.Image) -> None:
    """Flash one board as the command does."""
    chip = Esptool(port, stay=True).detect()
    offset, size = image.file_system(chip.flash_bytes)
    config = chip.mac.hex().encode() * 60
    files = {**filesystem.firmware_files(BOARD, "bin", "EU868"), "config.json": config}
    vfs = filesystem.build(files, size)
    regions = [(BOARD.flash["firmware_offset"], image.data), (offset, vfs)]
    Esptool(port, chip=chip.name).write(regions)


def seconds(count: int, image: images.Image) -> float:
    """Flash so many boards at once."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        boards = [
            stack.enter_context(
                MockBoard(folder, name=str(n), mac=f"240ac40000{n:02x}", paced=True)
            )
            for n in range(count)
        ]
        begun = time.monotonic()
        done = at_once({board.port: partial(flash, board.port, image) for board in boards})
        took_s = time.monotonic() - begun
        for board in boards:
            if done[board.port] is not None:
                raise SystemExit(str(done[board.port]))
            assert board.flash(0, len(image.data)) == image.data
        return took_s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--boards", type=int, default=10)
    options = parser.parse_args()
    application = micropython_image.application(size=APPLICATION_BYTES)
    data = micropython_image.firmware(app=application)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "firmware.bin"
        path.write_bytes(data)
        image = images.load(path, BOARD)
    one_s = seconds(1, image)
    print(f"flash_one_s {one_s:.1f} s", flush=True)
    ten_s = seconds(options.boards, image)
    print(f"flash_ten_s {ten_s:.1f} s", flush=True)
    print(f"# {options.boards} boards take {ten_s / one_s:.2f} times as long", file=sys.stderr)


if __name__ == "__main__":
    main()

"""The board's storage on the real MicroPython's littlefs: cut, filled, and worn."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import dual_wakes
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests/support/littlefs_board.py"
DOCUMENT = ROOT / "docs/developer.md"
ENDURANCE = 100_000  # erases of a block that makers of SPI NOR flash warrant


def board(*arguments: str | int) -> str:
    micropython = shutil.which("micropython", path=str(Path(sys.executable).parent))
    if micropython is None:
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    run = subprocess.run(
        [
            micropython,
            "-X",
            "heapsize=64M",
            "tests/support/littlefs_board.py",
            *map(str, arguments),
        ],
        cwd=ROOT,
        env={"MICROPYPATH": "protocol:firmware:.frozen"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_storage_cut_at_every_operation_of_the_flash_holds_the_old_or_the_new_record() -> None:
    # Enough writes for the file system to rewrite and to move its metadata.
    count = int(board("cuts", 120).split()[0])
    assert count > 1000


def test_full_storage_raises_and_keeps_what_is_there() -> None:
    assert board("full") == "kept\n"


def _writes_a_year(interval_s: int, downlinks: bool) -> float:
    """Return how often a device that reports so writes storage; RTC memory is never lost."""
    device = dual_wakes.Device(interval_s=interval_s)
    device.wake()
    before = device.board.storage.writes
    reports = 320
    for _ in range(reports):
        device.sleep()
        device.down = [{}] if downlinks else []
        device.wake()
    return (device.board.storage.writes - before) / reports * 365.25 * 86400 / interval_s


def test_flash_lasts_the_years_that_are_stated() -> None:
    stated = re.search(
        r"every minute with a downlink each lasts (\d+) years; "
        r"hourly with a downlink each (\d+) years",
        " ".join(DOCUMENT.read_text().split()),
    )
    assert stated
    device = dual_wakes.Device()
    device.wake()
    size = max(len(data) for data in device.board.storage.content.values())
    assert size < 400
    _, erases, worst = board("wear", 512, 40, 400, 6000).split()
    assert float(erases) < 1.04
    most_writes = ENDURANCE * 6000 / int(worst)
    for interval_s, years in ((60, int(stated[1])), (3600, int(stated[2]))):
        measured = most_writes / _writes_a_year(interval_s, True)
        assert years <= measured < 2 * years, (interval_s, measured)

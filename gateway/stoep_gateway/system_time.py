"""The system's clock and how far it can be believed: adjtimex(2), and the machine's own clock."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

__all__ = ["SystemTime", "kernel_is_synchronised"]

_REFUSED, _TIME_ERROR = -1, 5  # adjtimex(2): the latter if the clock is not synchronised
_AGREE_S = 300
_TIMEX_OCTETS = 512  # struct timex has 208
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_DEVICE_TREE = Path("/proc/device-tree")
_CLOCKS = Path("/sys/class/rtc")


def kernel_is_synchronised() -> bool | None:
    """Whether NTP or the like keeps the kernel's clock; None where a sandbox forbids to ask."""
    asked = ctypes.create_string_buffer(_TIMEX_OCTETS)  # modes 0: only look
    state = ctypes.CDLL(None).adjtimex(asked)
    return None if state == _REFUSED else bool(state != _TIME_ERROR)


class SystemTime:
    """Linux's clock; tests have one of their own."""

    def utc_ms(self) -> int:
        """Return the system's UTC, right or wrong."""
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        """Return the time since the machine has started, sleep included."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def boot_id(self) -> str:
        """Return what names this start of the machine, "" if nothing does."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def is_synchronised(self) -> bool:
        """Whether NTP or the like keeps the kernel's clock.

        Where the kernel cannot be asked (systemd's ``ProtectClock``): systemd-timesyncd says so.
        """
        kernel = kernel_is_synchronised()
        return _TIMESYNCD.exists() if kernel is None else kernel

    def is_kept(self) -> bool:
        """Whether the machine has a clock that runs while it is off, and that says the same.

        PCs, servers and their virtual machines do; a board with a device tree may have none, or
        one whose battery is missing.
        """
        if not _DEVICE_TREE.exists():
            return True
        for told in _CLOCKS.glob("rtc*/since_epoch"):
            try:
                if abs(int(told.read_text(encoding="ascii")) - time.time()) < _AGREE_S:
                    return True
            except (OSError, ValueError):
                continue
        return False

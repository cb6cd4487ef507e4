"""A microcontroller without anything connected."""

import board_cause
import uos

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5


def reset_cause():
    return board_cause.told["cause"]


def unique_id():
    return b"\x24\x0a\xc4\x00\x00\x01"


def freq(freq_hz=None):
    return 80_000_000


def reset():
    uos.system("kill -USR2 $PPID")


def deepsleep(ms=0):
    uos.system("kill -USR1 $PPID")


class RTC:
    kept = b""

    def memory(self, data=None):
        if data is None:
            return RTC.kept
        RTC.kept = bytes(data)
        return None

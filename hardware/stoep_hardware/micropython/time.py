"""MicroPython's time, found before the built-in one: the simulator's clocks."""

from struct import pack, unpack

import _link as link
from utime import gmtime, localtime, mktime, ticks_add, ticks_diff

__all__ = ("gmtime", "localtime", "mktime", "ticks_add", "ticks_diff")

_TICKS = 0x3FFFFFFF


def time_ns():
    return link.clock_us() * 1000


def time():
    return link.clock_us() // 1_000_000


def ticks_us():
    return unpack("<Q", link.ask(link.TICKS_US, b"", 8))[0] & _TICKS


def ticks_ms():
    return unpack("<Q", link.ask(link.TICKS_US, b"", 8))[0] // 1000 & _TICKS


def sleep_us(us):
    link.spend(us + link.SLEEP_CALL_US)


def sleep_ms(ms):
    if ms * 1000 >= link.IDLE_FROM_US:
        link.changed()
        link.ask(link.IDLE, pack("<I", ms * 1000), 1)
    else:
        link.spend(ms * 1000 + link.SLEEP_CALL_US)


def sleep(seconds):
    sleep_ms(int(seconds * 1000))

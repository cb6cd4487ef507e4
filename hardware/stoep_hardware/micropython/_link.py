"""The wire to the simulator, from inside MicroPython: file descriptor 3.

A message is an operation, the microseconds spent here since the last message, a length, and that
many octets. Messages without an answer are gathered until one needs its answer. An answer begins
with the real-time clock in microseconds.
"""

import sys
from struct import pack_into, unpack

from micropython import const

PIN_INIT = const(1)
PIN_WRITE = const(2)
PIN_READ = const(3)
SPI_INIT = const(4)
SPI_WRITE = const(5)
SPI_TRANSFER = const(6)
I2C_INIT = const(7)
I2C_READ = const(8)
I2C_WRITE = const(9)
I2C_SCAN = const(10)
UART_INIT = const(11)
UART_ANY = const(12)
UART_READ = const(13)
RTC_GET = const(14)
RTC_SET = const(15)
CLOCK = const(16)
TICKS_US = const(17)
ADC_READ = const(18)
IDLE = const(19)
LIGHT = const(20)
DEEP = const(21)
EXT0 = const(22)
EXT1 = const(23)
ENTROPY = const(24)
FREQ = const(25)
SYNC = const(26)
WDT_START = const(27)
WDT_FEED = const(28)
TIME_PULSE = const(29)

_STABLE = const(0xFFFFFFFF)
_LONGEST_US = const(1_000_000)  # in which nothing is told
_HEAD = const(7)

_file = open(3, "r+b")
_pending = bytearray(2048)
_used = 0

spent_us = 0  # since the last message
messages = 0  # sent so far
changes = 0  # of them those that may change the level of a line
_clock_us = 0  # of the last answer
_clock_messages = -1  # of them when it came


def tell(operation, payload):
    """Send a message that has no answer, some time before the next that has one."""
    global _used, spent_us, messages
    size = _HEAD + len(payload)
    if _used + size > len(_pending):
        flush()
    if size > len(_pending):
        head = bytearray(_HEAD)
        pack_into("<BIH", head, 0, operation, spent_us, len(payload))
        _file.write(head)
        _file.write(payload)
    else:
        pack_into("<BIH", _pending, _used, operation, spent_us, len(payload))
        _pending[_used + _HEAD : _used + size] = payload
        _used += size
    spent_us = 0
    messages += 1


def ask(operation, payload, size):
    """Send a message and return the `size` octets of its answer."""
    global _clock_us, _clock_messages
    tell(operation, payload)
    flush()
    answer = receive(8 + size)
    _clock_us = unpack("<Q", answer)[0]
    _clock_messages = messages
    return answer[8:]


def clock_us():
    """Return the real-time clock, from the last answer if nothing has been sent since."""
    if _clock_messages != messages:
        ask(CLOCK, b"", 0)
    else:
        spend(CALL_US)
    return _clock_us + spent_us


def receive(size):
    """Return the next octets; the program ends when the simulator has gone."""
    data = _file.read(size)
    if len(data) != size:
        sys.exit(1)
    return data


def flush():
    """Send what has gathered."""
    global _used
    if _used:
        _file.write(memoryview(_pending)[:_used])
        _used = 0


def spend(us):
    """Let time pass here; the next message tells."""
    global spent_us
    spent_us += us
    if spent_us > _LONGEST_US:
        ask(SYNC, b"", 0)


def changed():
    """Note that a line may have changed its level."""
    global changes
    changes += 1


def begin():
    """Wait for the wake and learn about it; until then nothing here may be used."""
    global unique_id, reset_cause, wake_reason, freq_hz
    global PIN_US, CALL_US, SLEEP_CALL_US, IDLE_FROM_US, WAKE_PINS
    (
        unique_id,
        reset_cause,
        wake_reason,
        WAKE_PINS,
        freq_hz,
        PIN_US,
        CALL_US,
        SLEEP_CALL_US,
        IDLE_FROM_US,
    ) = unpack("<6sBBQIIIII", receive(36))


class Line:
    """Reads one pin, and spares a message where the simulator has said how long its level stays."""

    def __init__(self, number):
        self._number = bytes((number,))
        self._level = 0
        self._stays_us = 0
        self._messages = -1
        self._changes = -1

    def read(self):
        """Return the level."""
        global spent_us
        if self._stays_us and spent_us < _LONGEST_US:
            if self._stays_us == _STABLE:
                if self._changes == changes:
                    spent_us += PIN_US
                    return self._level
            elif self._messages == messages and spent_us + PIN_US < self._stays_us:
                spent_us += PIN_US
                return self._level
        self._level, self._stays_us = unpack("<BI", ask(PIN_READ, self._number, 5))
        self._messages = messages
        self._changes = changes
        return self._level

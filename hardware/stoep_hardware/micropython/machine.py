"""MicroPython's machine, as far as the firmware uses it, on the simulator's side of a wire."""

import sys
from errno import ENODEV
from struct import pack, unpack

import _link as link

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5
EXT0_WAKE = 2
PIN_WAKE = 2
EXT1_WAKE = 3
TIMER_WAKE = 4

_UART_BUFFER = 256
_RTC_MEMORY = 2048
_EXIT_ASLEEP = 75


class Pin:
    """machine.Pin."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2

    def __init__(self, number, mode=0, pull=None, *, value=None, hold=None):
        self.number = number
        self._line = link.Line(number)
        link.changed()
        link.tell(
            link.PIN_INIT,
            pack(
                "BBBbb",
                number,
                mode,
                pull or 0,
                -1 if value is None else int(bool(value)),
                -1 if hold is None else int(bool(hold)),
            ),
        )

    def __call__(self, level=None):
        if level is None:
            return self._line.read()
        link.changed()
        link.tell(link.PIN_WRITE, bytes((self.number, 1 if level else 0)))
        return None

    value = __call__


class SPI:
    """machine.SPI."""

    def __init__(self, _id, *, baudrate, polarity, phase, sck, mosi, miso):
        link.tell(
            link.SPI_INIT,
            pack("<IBBBBB", baudrate, polarity, phase, sck.number, mosi.number, miso.number),
        )

    def write(self, out):
        link.changed()
        link.tell(link.SPI_WRITE, out)

    def readinto(self, buffer, write=0):
        link.changed()
        size = len(buffer)
        buffer[:] = link.ask(link.SPI_TRANSFER, bytes((write,)) * size, size)

    def write_readinto(self, out, buffer):
        link.changed()
        buffer[:] = link.ask(link.SPI_TRANSFER, out, len(buffer))


class I2C:
    """machine.I2C."""

    def __init__(self, _id, *, scl, sda, freq):
        link.tell(link.I2C_INIT, pack("<IBB", freq, scl.number, sda.number))

    def readfrom_mem(self, address, register, count, *, addrsize=8):
        payload = pack("<BHBH", address, register, addrsize, count)
        answer = link.ask(link.I2C_READ, payload, 1 + count)
        if not answer[0]:
            raise OSError(ENODEV)
        return answer[1:]

    def readfrom_mem_into(self, address, register, buffer):
        buffer[:] = self.readfrom_mem(address, register, len(buffer))

    def writeto_mem(self, address, register, data, *, addrsize=8):
        head = pack("<BHB", address, register, addrsize)
        if not link.ask(link.I2C_WRITE, head + bytes(data), 1)[0]:
            raise OSError(ENODEV)

    def scan(self):
        answer = link.ask(link.I2C_SCAN, b"", 16)
        return list(answer[1 : 1 + answer[0]])


class UART:
    """machine.UART."""

    INV_RX = 4

    def __init__(self, _id, *, baudrate, tx, rx, timeout=0, invert=0):
        settings = (baudrate, tx.number, rx.number, timeout, int(invert == self.INV_RX))
        link.tell(link.UART_INIT, pack("<IBBIB", *settings))

    def any(self):
        return unpack("<H", link.ask(link.UART_ANY, b"", 2))[0]

    def read(self, count=_UART_BUFFER):
        size = unpack("<H", link.ask(link.UART_READ, pack("<H", count), 2))[0]
        return link.receive(size) if size else None

    def readinto(self, buffer, count=None):
        data = self.read(len(buffer) if count is None else count)
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    def write(self, data):
        return len(data)


class ADC:
    """machine.ADC."""

    def __init__(self, pin):
        self._pin = pin

    def read_uv(self):
        return unpack("<I", link.ask(link.ADC_READ, bytes((self._pin.number,)), 4))[0]


class RTC:
    """machine.RTC, its memory alone."""

    def memory(self, data=None):
        if data is None:
            size = unpack("<H", link.ask(link.RTC_GET, b"", 2))[0]
            return link.receive(size) if size else b""
        if len(data) > _RTC_MEMORY:
            raise ValueError("buffer too long")
        link.tell(link.RTC_SET, data)
        return None


class WDT:
    """machine.WDT."""

    def __init__(self, _id=0, *, timeout=5000):
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        link.tell(link.WDT_START, pack("<I", timeout))

    def feed(self):
        link.tell(link.WDT_FEED, b"")


def time_pulse_us(pin, level, timeout_us=1_000_000):
    payload = pack("<BBI", pin.number, 1 if level else 0, timeout_us)
    return unpack("<i", link.ask(link.TIME_PULSE, payload, 4))[0]


def unique_id():
    return link.unique_id


def reset_cause():
    return link.reset_cause


def wake_reason():
    return link.wake_reason


def freq(freq_hz=None):
    if freq_hz is None:
        return link.freq_hz
    link.freq_hz = freq_hz
    link.tell(link.FREQ, pack("<I", freq_hz))
    return None


def lightsleep(ms=0):
    link.changed()
    link.wake_reason = link.ask(link.LIGHT, pack("<I", ms), 1)[0]


def deepsleep(ms=0):
    link.tell(link.DEEP, pack("<I", ms))
    link.flush()
    sys.exit(_EXIT_ASLEEP)

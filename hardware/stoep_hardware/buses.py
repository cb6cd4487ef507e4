"""The microcontroller's SPI, I2C and UART, and how long a transfer takes it.

Times of a call are estimates for MicroPython at 80 MHz; those on the wire follow the bus.
"""

from collections import ChainMap
from typing import NoReturn, Protocol

from .board_data import BoardData
from .engine import US_PER_MS

CALL_US = 20
SPI_CALL_US = 60
I2C_CALL_US = 120
UART_BUFFER_BYTES = 256
ENODEV = 19


class SimulationError(Exception):
    """The simulation cannot go on: the firmware did what the model has no answer to."""


class Processor(Protocol):
    """Whose time a transfer takes."""

    @property
    def t_us(self) -> int:
        """Its own now."""
        ...

    def advance(self, us: int) -> None:
        """Let time pass."""
        ...

    def hang(self, what: str) -> NoReturn:
        """Never come back from this call."""
        ...


class SpiSlave(Protocol):
    """A chip behind chip select."""

    def configure_bus(self, baudrate: int, polarity: int, phase: int, t_us: int) -> None:
        """Take notice of the bus."""
        ...

    def transfer(self, out: bytes, t_us: int) -> bytes:
        """Exchange bytes."""
        ...


class I2cSlave(Protocol):
    """A chip with registers, whose numbers have 8 bits, or 16 if it has a `WIDE` that is true."""

    def read(self, sub_address: int, count: int, t_us: int) -> bytes | None:
        """Read registers; None is a NAK."""
        ...

    def write(self, sub_address: int, data: bytes, t_us: int) -> bool:
        """Write registers; False is a NAK."""
        ...


class UartSource(Protocol):
    """A chip that talks."""

    def sent(self, after_us: int, until_us: int) -> bytes:
        """Return what came between two times."""
        ...


class Buses:
    """The three buses, and who is on them. One named in `hanging` never comes back from a call."""

    def __init__(self, mcu: Processor, data: BoardData) -> None:
        self.spi_slave: SpiSlave | None = None
        self.i2c_slaves: dict[int, I2cSlave] = {}  # on the sensor's bus
        self.display_slaves: dict[int, I2cSlave] = {}  # on the display's, which may be the same
        self.uart_source: UartSource | None = None
        self.uart_baudrate = 9_600
        self.uart_idles_low = False  # as RS232's levels do
        self.hanging: set[str] = set()  # of "spi", "i2c", "uart"
        self._mcu = mcu
        self._data = data
        self.forget()

    def forget(self) -> None:
        """Be as after a reset: nothing is made."""
        self._spi: tuple[int, bool] | None = None
        self._i2c: tuple[int, ChainMap[int, I2cSlave]] | None = None
        self._uart_timeout_us: int | None = None
        self._is_uart_heard = False
        self._is_uart_inverted = False
        self._uart_since_us = 0
        self._uart_buffer = bytearray()

    def _may_hang(self, bus: str) -> None:
        if bus in self.hanging:
            self._mcu.hang(f"a call of {bus}")

    def uart_lost(self, until_us: int) -> None:
        """Lose what the UART was sent in light sleep, in which it has no clock."""
        self._uart_since_us = until_us

    def spi_init(
        self, baudrate: int, polarity: int, phase: int, sck: int, mosi: int, miso: int
    ) -> None:
        """machine.SPI(); on other pins than the board's nobody answers."""
        self._mcu.advance(CALL_US)
        wired = self._data.spi
        is_wired = (sck, mosi, miso) == (wired["sck"], wired["mosi"], wired["miso"])
        self._spi = (baudrate, is_wired)
        if is_wired and self.spi_slave is not None:
            self.spi_slave.configure_bus(baudrate, polarity, phase, self._mcu.t_us)

    def spi_transfer(self, out: bytes) -> bytes:
        """Exchange bytes with whoever is selected."""
        if self._spi is None:
            raise SimulationError("SPI is used before it is made")
        self._may_hang("spi")
        baudrate, is_wired = self._spi
        self._mcu.advance(SPI_CALL_US + len(out) * 8_000_000 // baudrate)
        if not is_wired or self.spi_slave is None:
            return b"\xff" * len(out)
        return self.spi_slave.transfer(out, self._mcu.t_us)

    def i2c_init(self, freq: int, scl: int, sda: int) -> None:
        """machine.I2C(); the last one made is the one that is used."""
        self._mcu.advance(CALL_US)
        buses = ((self._data.display, self.display_slaves), (self._data.i2c, self.i2c_slaves))
        reached = [
            slaves
            for wired, slaves in buses
            if wired is not None and (scl, sda) == (wired["scl"], wired["sda"])
        ]
        self._i2c = (freq, ChainMap(*reached))

    def i2c_read(self, address: int, register: int, count: int, bits: int = 8) -> bytes | None:
        """readfrom_mem(); None for OSError(ENODEV)."""
        slave = self._i2c_slave(address, count + 2 + bits // 8)
        if slave is None:
            return None
        if _is_wide(slave) and bits == 8:
            return b"\xff" * count  # it waits for the rest of the number
        _check(slave, bits)
        return slave.read(register, count, self._mcu.t_us)

    def i2c_write(self, address: int, register: int, data: bytes, bits: int = 8) -> bool:
        """writeto_mem(); False for OSError(ENODEV)."""
        slave = self._i2c_slave(address, len(data) + 1 + bits // 8)
        if slave is None:
            return False
        _check(slave, bits)
        return slave.write(register, data, self._mcu.t_us)

    def i2c_scan(self) -> list[int]:
        """i2c.scan()."""
        self._may_hang("i2c")
        self._mcu.advance(112 * I2C_CALL_US)
        return sorted(self._i2c[1]) if self._i2c is not None else []

    def _i2c_slave(self, address: int, octets: int) -> I2cSlave | None:
        if self._i2c is None:
            raise SimulationError("I2C is used before it is made")
        self._may_hang("i2c")
        freq, slaves = self._i2c
        self._mcu.advance(I2C_CALL_US + octets * 9_000_000 // freq)
        return slaves.get(address)

    def uart_init(
        self, baudrate: int, tx: int, rx: int, timeout_ms: int, inverted: bool = False
    ) -> None:
        """machine.UART(); `inverted` is INV_RX."""
        self._mcu.advance(CALL_US)
        is_wired = rx == self._data.uart["rx"] and tx == self._data.uart["tx"]
        self._is_uart_heard = is_wired and baudrate == self.uart_baudrate
        self._is_uart_inverted = inverted
        self._uart_timeout_us = timeout_ms * US_PER_MS
        self._uart_since_us = self._mcu.t_us
        self._uart_buffer.clear()

    def uart_any(self) -> int:
        """uart.any()."""
        self._may_hang("uart")
        self._mcu.advance(CALL_US)
        self._fill_uart()
        return len(self._uart_buffer)

    def uart_read(self, count: int) -> bytes:
        """uart.read(count): what is there, waiting up to the timeout for more; b"" for None."""
        self._may_hang("uart")
        self._mcu.advance(CALL_US)
        self._fill_uart()
        if len(self._uart_buffer) < count and self._uart_timeout_us:
            until_us = self._mcu.t_us + self._uart_timeout_us
            while len(self._uart_buffer) < count and self._mcu.t_us < until_us:
                self._mcu.advance(min(1_000, until_us - self._mcu.t_us))
                self._fill_uart()
        data = bytes(self._uart_buffer[:count])
        del self._uart_buffer[:count]
        return data

    def _fill_uart(self) -> None:
        if self._uart_timeout_us is None:
            raise SimulationError("UART is used before it is made")
        if self.uart_source is not None and self._is_uart_heard:
            octets = self.uart_source.sent(self._uart_since_us, self._mcu.t_us)
            if self._is_uart_inverted != self.uart_idles_low:
                octets = bytes(octet ^ 0xFF for octet in octets)  # as many, and wrong
            self._uart_buffer += octets
            del self._uart_buffer[UART_BUFFER_BYTES:]  # a full buffer takes no more
        self._uart_since_us = self._mcu.t_us


def _is_wide(slave: I2cSlave) -> bool:
    return getattr(slave, "WIDE", False)


def _check(slave: I2cSlave, bits: int) -> None:
    if bits != (16 if _is_wide(slave) else 8):
        raise SimulationError(f"{type(slave).__name__} is asked for a register of {bits} bits")

"""A magnetometer on a bus of its own, and the firmware's driver on that, without a board."""

import importlib

from stoep_hardware.chips import magnetometers
from stoep_hardware.engine import US_PER_MS, Engine

OCTET_US = 90  # at 100 kHz
COUNTS_PER_UT = 68.42


class Field:
    """A field that a test sets, in microtesla."""

    def __init__(self, *ut, celsius=20.0):
        self.history = [(0, ut)]
        self.celsius = celsius
        self.callbacks = []

    def field_ut(self, t_us):
        return next(ut for since_us, ut in reversed(self.history) if since_us <= t_us)

    def temperature_c(self, t_us):
        return self.celsius

    def on_change(self, callback):
        self.callbacks.append(callback)


class MagnetBench:
    """`chip` in `field`, and `open()` for its driver.

    `fails_at`: the numbers of transactions that get no answer.
    """

    def __init__(self, name, *ut, driver=None, **options):
        self.engine = Engine()
        self.field = Field(*ut)
        self.chip = magnetometers.make(name, self.engine, self.field, **options)
        self.module = importlib.import_module(f"stoep_firmware.drivers.{driver or name}")
        self.edges = []
        self.chip.on_int = lambda level, t_us: self.edges.append((level, t_us))
        self.transactions = 0
        self.fails_at = set()
        self.t_us = 0

    def open(self):
        return self.module.open_sensor(self)

    def go(self, ms):
        self.t_us += round(ms * US_PER_MS)
        self.engine.run_until(self.t_us)

    def become(self, *ut):
        self.field.history.append((self.t_us, ut))
        for callback in self.field.callbacks:
            callback()

    def look(self, sensor, ms=None):
        """Wait as a board does; the field in counts of a LIS3MDL, or None."""
        self.go(sensor.CONVERSION_MS if ms is None else ms)
        return sensor.field() if sensor.fresh() else None

    def measured(self, sensor):
        """Measure anew."""
        sensor.measure()
        return self.look(sensor)

    # machine.I2C

    def _answered(self, address, octets):
        self.transactions += 1
        self.t_us += octets * OCTET_US
        self.engine.run_until(self.t_us)
        if address != self.chip.address or self.transactions in self.fails_at:
            raise OSError(19)

    def readfrom_mem(self, address, register, count):
        self._answered(address, 3 + count)
        data = self.chip.read(register, count, self.t_us)
        if data is None:
            raise OSError(19)
        return data

    def writeto_mem(self, address, register, data):
        self._answered(address, 2 + len(data))
        if not self.chip.write(register, data, self.t_us):
            raise OSError(19)


def counts(*ut):
    """Return microtesla as the detector has it."""
    return tuple(round(part * COUNTS_PER_UT) for part in ut)

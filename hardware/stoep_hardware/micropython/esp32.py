"""MicroPython's esp32, as far as the firmware uses it."""

import _link as link

WAKEUP_ALL_LOW = False
WAKEUP_ANY_HIGH = True


def wake_on_ext0(pin, level):
    _arm(link.EXT0, () if pin is None else (pin,), level)


def wake_on_ext1(pins, level):
    _arm(link.EXT1, pins or (), level)


def _arm(operation, pins, level):
    numbers = bytes([pin.number for pin in pins])
    for number in numbers:
        if not link.WAKE_PINS >> number & 1:
            raise ValueError("invalid pin")
    link.tell(operation, bytes((1 if level else 0,)) + numbers)

"""MicroPython's esp32, as far as the firmware uses it."""

import _link as link

WAKEUP_ALL_LOW = False
WAKEUP_ANY_HIGH = True


def wake_on_ext0(pin, level):
    number = b"" if pin is None else bytes((pin.number,))
    _ask(link.EXT0, bytes((1 if level else 0,)) + number)


def wake_on_ext1(pins, level):
    numbers = bytes([pin.number for pin in pins or ()])
    _ask(link.EXT1, bytes((1 if level else 0,)) + numbers)


def _ask(operation, payload):
    if not link.ask(operation, payload, 1)[0]:
        raise ValueError("invalid pin")

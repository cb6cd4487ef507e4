"""What small_micropython.mjs runs first: the modules that its MicroPython lacks."""

import builtins
import gc
import sys

import _host
import uos  # not `os`, which the simulator has one of
from uctypes import addressof

_LINK = 3
# Every look at an attribute of `_host` would leave an object behind.
_sample = _host.sample
_read = _host.read
_write = _host.write
_encrypt = _host.encrypt


class _Wire:
    """The wire to the simulator, for `open(3)`."""

    def write(self, data):
        _sample(gc.mem_alloc())
        _write(addressof(data), len(data))

    def read(self, size):
        _sample(gc.mem_alloc())
        data = bytearray(size)
        _read(addressof(data), size)
        return bytes(data)


class _Aes:
    def __init__(self, key, mode):
        self._key = bytes(key)

    def encrypt(self, data):
        _sample(gc.mem_alloc())
        out = bytearray(len(data))
        _encrypt(addressof(self._key), addressof(data), len(data), addressof(out))
        return bytes(out)


class _Cryptolib:
    aes = _Aes


def _open(name, mode="r"):
    return _Wire() if name == _LINK else _real_open(name, mode)


def _import(*arguments):
    module = _real_import(*arguments)
    _sample(gc.mem_alloc())
    return module


_real_open = open
_real_import = __import__
_host.know(id(_open))
builtins.open = _open
builtins.__import__ = _import
sys.modules["cryptolib"] = _Cryptolib
sys.path[:] = ["/modules", ".frozen"]


def wake(main):
    """Like start.py."""
    import _link

    _link.begin()
    _host.begin()
    uos.chdir("/device")
    __import__("stoep_firmware.device.boot")
    main()


def loaded():
    return " ".join([name for name in sys.modules if name.startswith("stoep_")])
